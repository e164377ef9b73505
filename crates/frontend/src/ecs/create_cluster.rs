//! CreateCluster: makes a cluster, or answers with the one of that name that is there.

use super::{clusters, names, settings, strategy, tags};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::cluster::{Cluster, ClusterStatus};
use wire::ecs::{CreateClusterRequest, CreateClusterResponse};

pub async fn create_cluster(
    cx: &Context,
    caller: &Caller,
    input: CreateClusterRequest,
) -> Result<CreateClusterResponse, Fault> {
    let name = names::cluster(&cx.locality, input.cluster_name.as_deref())?;
    let mut made = clusters::new(name, cx);
    let insights = settings::effective(cx, caller, clusters::CONTAINER_INSIGHTS);
    made.settings.insert(clusters::CONTAINER_INSIGHTS.to_owned(), insights);
    clusters::read_settings(input.settings, &mut made.settings)?;
    made.configuration = clusters::read_configuration(input.configuration.as_ref());
    made.service_connect_namespace = clusters::read_namespace(input.service_connect_defaults)?;
    made.capacity_providers = strategy::providers(input.capacity_providers)?;
    let given = input.default_capacity_provider_strategy.as_deref();
    made.default_capacity_provider_strategy = strategy::read(given, &made.capacity_providers)?;
    made.tags = tags::RULES.read(input.tags.clone())?;

    let cluster = cx
        .transact(|txn| {
            let known = txn.get::<Cluster>(made.name.as_str());
            if let Some(known) = known.filter(|known| known.status == ClusterStatus::Active) {
                return Ok(known);
            }
            let cluster = std::sync::Arc::new(made.clone());
            txn.put_arc(cluster.clone());
            Ok(cluster)
        })
        .await?;
    let snapshot = cx.store.snapshot();
    let shown = clusters::show(cx, &snapshot, &cluster, clusters::Shown::CHANGED);
    Ok(CreateClusterResponse { cluster: Some(shown) })
}
