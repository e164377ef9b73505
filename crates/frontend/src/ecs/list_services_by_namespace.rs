//! ListServicesByNamespace: the ARNs of the services that are in a Cloud Map namespace by Service
//! Connect, over all clusters.

use super::page::Page;
use super::service;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::arn::Arn;
use model::cluster::Cluster;
use model::discovery::Namespace;
use model::service::{Service, ServiceProgress};
use store::Snapshot;
use wire::ecs::{self, ListServicesByNamespaceRequest, ListServicesByNamespaceResponse};

/// Source: API reference, ListServicesByNamespace (maxResults).
const PAGE_ITEMS_DEFAULT: usize = 10;

pub async fn list_services_by_namespace(
    cx: &Context,
    _caller: &Caller,
    input: ListServicesByNamespaceRequest,
) -> Result<ListServicesByNamespaceResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let given = input.namespace.unwrap_or_default();
    let Some(namespace) = namespace(cx, &snapshot, &given) else {
        return Err(not_found());
    };
    let filters = [Some("ListServicesByNamespace"), Some(namespace.id.as_str())];
    let token = input.next_token.as_deref();
    let page = Page::new(&filters, token, input.max_results, PAGE_ITEMS_DEFAULT)?;
    let after = page.after().map(str::to_owned);
    let found = snapshot
        .scan_from::<Service>("", after.as_deref().unwrap_or(""))
        .filter(|(key, _)| !service::is_inactive(&snapshot, key))
        .filter(|(key, service)| {
            let named = connected_to(&snapshot, key, service);
            named.is_some_and(|named| means(cx, &namespace, &named))
        });
    let (found, next_token) = page.take(found, |(key, _)| key);
    let arns = found.iter().map(|(_, service)| service::arn(cx, service)).collect();
    Ok(ListServicesByNamespaceResponse { service_arns: Some(arns), next_token })
}

fn not_found() -> Fault {
    ecs::ErrorCode::NamespaceNotFoundException.fault("The specified namespace was not found.")
}

/// What a service calls the namespace that it is in; none is its cluster's.
fn connected_to(snapshot: &Snapshot, key: &str, service: &Service) -> Option<String> {
    let progress = snapshot.get::<ServiceProgress>(key).map(|found| found.value);
    let folded = plan::service::fold(service, progress.as_deref());
    let connect = folded.deployments.first()?.template.connect.clone()?;
    let connect: ecs::ServiceConnectConfiguration = serde_json::from_str(connect.as_str()).ok()?;
    connect.namespace.or_else(|| {
        let cluster = snapshot.get::<Cluster>(service.cluster.as_str())?;
        cluster.service_connect_namespace.clone()
    })
}

fn namespace(cx: &Context, snapshot: &Snapshot, given: &str) -> Option<std::sync::Arc<Namespace>> {
    snapshot.scan::<Namespace>("").map(|(_, it)| it).find(|known| means(cx, known, given))
}

/// Namespaces are called by name or by ARN.
fn means(cx: &Context, namespace: &Namespace, named: &str) -> bool {
    match Arn::parse(named) {
        None => namespace.name == named,
        Some(arn) => {
            let id = arn.kind_and_rest().map(|(_, id)| id);
            cx.locality.owns(&arn) && id == Some(namespace.id.as_str())
        }
    }
}
