//! ListServiceDeployments: a service's deployments, the newest first, by status and time.

use super::page::Page;
use super::service::{self, deployments};
use super::{clusters, names};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::PAGE_ITEMS_MAX;
use wire::ecs::{
    ListServiceDeploymentsRequest, ListServiceDeploymentsResponse, ServiceDeploymentStatus,
};

pub async fn list_service_deployments(
    cx: &Context,
    _caller: &Caller,
    input: ListServiceDeploymentsRequest,
) -> Result<ListServiceDeploymentsResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let cluster = names::cluster(&cx.locality, input.cluster.as_deref())?;
    clusters::active(cx, &snapshot, Some(cluster.as_str()))?;
    let name = service::name(&cx.locality, &cluster, input.service.as_deref())?;
    let folded = deployments::folded(&snapshot, &cluster, &name);
    let (record, folded) = folded.ok_or_else(service::not_found)?;
    let wanted = input.status.unwrap_or_default();
    let statuses: Vec<&str> = wanted.iter().map(ServiceDeploymentStatus::as_str).collect();
    let statuses = statuses.join(",");
    let between = input.created_at.unwrap_or_default();
    let filters = [
        Some("ListServiceDeployments"),
        Some(cluster.as_str()),
        Some(name.as_str()),
        Some(statuses.as_str()),
    ];
    let token = input.next_token.as_deref();
    let page = Page::new(&filters, token, input.max_results, PAGE_ITEMS_MAX)?;
    let fits = |at: wire::Timestamp| {
        between.after.as_ref().is_none_or(|after| at >= *after)
            && between.before.as_ref().is_none_or(|before| at <= *before)
    };
    let mut after = page.after().map(str::to_owned);
    let items = deployments::all(&folded)
        .into_iter()
        // Enters behind the last item of the page before.
        .filter(|deployment| match &after {
            Some(last) => {
                if deployment.id.as_str() == last {
                    after = None;
                }
                false
            }
            None => true,
        })
        .filter(|deployment| fits(super::time(deployment.created_at)))
        .filter(|deployment| {
            wanted.is_empty() || wanted.contains(&deployments::status(deployment))
        });
    let items: Vec<_> = items.collect();
    let (items, next_token) = page.take(items.into_iter(), |deployment| deployment.id.as_str());
    let shown = items.into_iter().map(|deployment| deployments::brief(cx, &record, deployment));
    Ok(ListServiceDeploymentsResponse { service_deployments: Some(shown.collect()), next_token })
}
