//! PutClusterCapacityProviders: replaces the attached providers and the default strategy, both
//! whole.

use super::{clusters, names, strategy};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecs::{PutClusterCapacityProvidersRequest, PutClusterCapacityProvidersResponse};

pub async fn put_cluster_capacity_providers(
    cx: &Context,
    _caller: &Caller,
    input: PutClusterCapacityProvidersRequest,
) -> Result<PutClusterCapacityProvidersResponse, Fault> {
    let name = names::cluster(&cx.locality, input.cluster.as_deref())?;
    let providers = strategy::providers(input.capacity_providers)?;
    let given = input.default_capacity_provider_strategy.as_deref();
    let default = strategy::read(given, &providers)?;
    let cluster = cx
        .transact(|txn| {
            let mut cluster = (*clusters::active_in(txn, &name)?).clone();
            cluster.capacity_providers.clone_from(&providers);
            cluster.default_capacity_provider_strategy.clone_from(&default);
            txn.put(cluster.clone());
            Ok(cluster)
        })
        .await?;
    let shown = clusters::show(cx, &cx.store.snapshot(), &cluster, clusters::Shown::CHANGED);
    Ok(PutClusterCapacityProvidersResponse { cluster: Some(shown) })
}
