//! UpdateCluster: settings, configuration and Service Connect's namespace; what is not named stays.

use super::{clusters, names};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecs::{UpdateClusterRequest, UpdateClusterResponse};

pub async fn update_cluster(
    cx: &Context,
    _caller: &Caller,
    input: UpdateClusterRequest,
) -> Result<UpdateClusterResponse, Fault> {
    let name = names::cluster(&cx.locality, input.cluster.as_deref())?;
    let configuration = clusters::read_configuration(input.configuration.as_ref());
    let gives_namespace = input.service_connect_defaults.is_some();
    let namespace = clusters::read_namespace(input.service_connect_defaults)?;
    let cluster = cx
        .transact(|txn| {
            let mut cluster = (*clusters::active_in(txn, &name)?).clone();
            clusters::read_settings(input.settings.clone(), &mut cluster.settings)?;
            if configuration.is_some() {
                cluster.configuration.clone_from(&configuration);
            }
            // An empty namespace takes it away. Source: API reference.
            if gives_namespace {
                cluster.service_connect_namespace.clone_from(&namespace);
            }
            txn.put(cluster.clone());
            Ok(cluster)
        })
        .await?;
    let shown = clusters::show(cx, &cx.store.snapshot(), &cluster, clusters::Shown::CHANGED);
    Ok(UpdateClusterResponse { cluster: Some(shown) })
}
