//! ListServices: the ARNs of a cluster's services, ten a page unless asked otherwise. Deleted ones
//! that have drained are not listed.

use super::page::Page;
use super::{clusters, service};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::service::Service;
use store::kinds::{service_key, service_prefix};
use wire::ecs::{
    LaunchType, ListServicesRequest, ListServicesResponse, ResourceManagementType,
    SchedulingStrategy,
};

/// Source: API reference, ListServices (maxResults).
const PAGE_ITEMS_DEFAULT: usize = 10;

pub async fn list_services(
    cx: &Context,
    _caller: &Caller,
    input: ListServicesRequest,
) -> Result<ListServicesResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let cluster = clusters::active(cx, &snapshot, input.cluster.as_deref())?;
    let launch_type = input.launch_type.as_ref().map(LaunchType::as_str);
    let scheduling = input.scheduling_strategy.as_ref().map(SchedulingStrategy::as_str);
    let kind = input.resource_management_type.as_ref().map(ResourceManagementType::as_str);
    let filters =
        [Some("ListServices"), Some(cluster.name.as_str()), launch_type, scheduling, kind];
    let token = input.next_token.as_deref();
    let page = Page::new(&filters, token, input.max_results, PAGE_ITEMS_DEFAULT)?;
    let prefix = service_prefix(&cluster.name);
    let after = page.after().map(|name| service_key(&cluster.name, &name.into()));
    let wanted = |service: &Service| {
        let template = &service.wanted.template;
        launch_type.is_none_or(|wanted| template.launch_type.as_deref() == Some(wanted))
            && scheduling.is_none_or(|wanted| wanted == "REPLICA")
            && kind.is_none_or(|wanted| wanted == "CUSTOMER")
    };
    let found = snapshot
        .scan_from::<Service>(&prefix, after.as_deref().unwrap_or(""))
        .filter(|(key, _)| !service::is_inactive(&snapshot, key))
        .map(|(_, service)| service)
        .filter(|service| wanted(service));
    let (found, next_token) = page.take(found, |service| service.name.as_str());
    let arns = found.iter().map(|service| service::arn(cx, service)).collect();
    Ok(ListServicesResponse { service_arns: Some(arns), next_token })
}
