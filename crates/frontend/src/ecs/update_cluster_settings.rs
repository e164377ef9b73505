//! UpdateClusterSettings: the older call for settings alone.

use super::{clusters, names};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecs::{UpdateClusterSettingsRequest, UpdateClusterSettingsResponse};

pub async fn update_cluster_settings(
    cx: &Context,
    _caller: &Caller,
    input: UpdateClusterSettingsRequest,
) -> Result<UpdateClusterSettingsResponse, Fault> {
    let name = names::cluster(&cx.locality, input.cluster.as_deref())?;
    let cluster = cx
        .transact(|txn| {
            let mut cluster = (*clusters::active_in(txn, &name)?).clone();
            clusters::read_settings(input.settings.clone(), &mut cluster.settings)?;
            txn.put(cluster.clone());
            Ok(cluster)
        })
        .await?;
    let shown = clusters::show(cx, &cx.store.snapshot(), &cluster, clusters::Shown::CHANGED);
    Ok(UpdateClusterSettingsResponse { cluster: Some(shown) })
}
