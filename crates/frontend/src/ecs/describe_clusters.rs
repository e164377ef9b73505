//! DescribeClusters: in the order they were asked for; what isn't there is a failure, not a fault.

use super::{clusters, names};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use model::cluster::Cluster;
use model::limits::DESCRIBE_IDS_MAX;
use wire::ecs::{DescribeClustersRequest, DescribeClustersResponse};

pub async fn describe_clusters(
    cx: &Context,
    _caller: &Caller,
    input: DescribeClustersRequest,
) -> Result<DescribeClustersResponse, Fault> {
    let shown = clusters::Shown::included(input.include.as_deref());
    let mut given = input.clusters.unwrap_or_default();
    if given.is_empty() {
        given.push(names::DEFAULT_CLUSTER.to_owned());
    }
    if given.len() > DESCRIBE_IDS_MAX {
        return Err(invalid_parameter("clusters can have at most 100 items."));
    }
    let snapshot = cx.store.snapshot();
    let (mut found, mut failures) = (Vec::with_capacity(given.len()), Vec::new());
    for text in &given {
        if text.is_empty() {
            return Err(invalid_parameter("Clusters can not be blank."));
        }
        let name = names::cluster(&cx.locality, Some(text))?;
        match snapshot.get::<Cluster>(name.as_str()) {
            Some(cluster) => found.push(clusters::show(cx, &snapshot, &cluster, shown)),
            None => failures.push(clusters::missing(cx.locality.cluster(&name))),
        }
    }
    Ok(DescribeClustersResponse { clusters: Some(found), failures: Some(failures) })
}
