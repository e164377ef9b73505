//! ListClusters: the ARNs of active clusters.

use super::page::Page;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::PAGE_ITEMS_MAX;
use model::cluster::{Cluster, ClusterStatus};
use wire::ecs::{ListClustersRequest, ListClustersResponse};

pub async fn list_clusters(
    cx: &Context,
    _caller: &Caller,
    input: ListClustersRequest,
) -> Result<ListClustersResponse, Fault> {
    let token = input.next_token.as_deref();
    let page = Page::new(&[Some("ListClusters")], token, input.max_results, PAGE_ITEMS_MAX)?;
    let snapshot = cx.store.snapshot();
    let active = snapshot
        .scan_from::<Cluster>("", page.after().unwrap_or(""))
        .map(|(_, cluster)| cluster)
        .filter(|cluster| cluster.status == ClusterStatus::Active);
    let (clusters, next_token) = page.take(active, |cluster| cluster.name.as_str());
    let arns = clusters.iter().map(|cluster| cx.locality.cluster(&cluster.name)).collect();
    Ok(ListClustersResponse { cluster_arns: Some(arns), next_token })
}
