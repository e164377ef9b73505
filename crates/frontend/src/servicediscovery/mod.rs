//! AWS Cloud Map: namespaces, services in them, instances of those, and who is found. A file for
//! each noun, as most operations are a few lines. Names of private namespaces are answered by the
//! resolvers of their VPC, which follow these records (`plan::names`).

mod discover;
mod instances;
mod namespaces;
mod operations;
mod services;
mod shown;
mod tags;

use crate::cursor::{Cursor, page_items};
use crate::dispatch::{Route, route};
use crate::fault::Fault;
use wire::servicediscovery::ErrorCode;

pub const ROUTES: &[Route] = &[
    route!(servicediscovery, CreateHttpNamespaceRequest, namespaces::create_http),
    route!(servicediscovery, CreatePrivateDnsNamespaceRequest, namespaces::create_private),
    route!(
        servicediscovery,
        CreatePublicDnsNamespaceRequest,
        namespaces::create_public,
        ignores["name (kept; nobody outside is told)"]
    ),
    route!(
        servicediscovery,
        CreateServiceRequest,
        services::create,
        ignores["healthCheckConfig (kept; Route 53 checks nothing here)"]
    ),
    route!(servicediscovery, DeleteNamespaceRequest, namespaces::delete),
    route!(servicediscovery, DeleteServiceAttributesRequest, services::delete_attributes),
    route!(servicediscovery, DeleteServiceRequest, services::delete),
    route!(servicediscovery, DeregisterInstanceRequest, instances::deregister),
    route!(servicediscovery, DiscoverInstancesRequest, discover::discover),
    route!(servicediscovery, DiscoverInstancesRevisionRequest, discover::revision),
    route!(servicediscovery, GetInstanceRequest, instances::get),
    route!(servicediscovery, GetInstancesHealthStatusRequest, instances::health),
    route!(servicediscovery, GetNamespaceRequest, namespaces::get),
    route!(servicediscovery, GetOperationRequest, operations::get),
    route!(servicediscovery, GetServiceAttributesRequest, services::get_attributes),
    route!(servicediscovery, GetServiceRequest, services::get),
    route!(servicediscovery, ListInstancesRequest, instances::list),
    route!(servicediscovery, ListNamespacesRequest, namespaces::list),
    route!(servicediscovery, ListOperationsRequest, operations::list),
    route!(servicediscovery, ListServicesRequest, services::list),
    route!(servicediscovery, ListTagsForResourceRequest, tags::list),
    route!(
        servicediscovery,
        RegisterInstanceRequest,
        instances::register,
        ignores["attributes.AWS_ALIAS_DNS_NAME (kept; not resolved yet)"]
    ),
    route!(servicediscovery, TagResourceRequest, tags::tag),
    route!(servicediscovery, UntagResourceRequest, tags::untag),
    route!(servicediscovery, UpdateHttpNamespaceRequest, namespaces::update_http),
    route!(
        servicediscovery,
        UpdateInstanceCustomHealthStatusRequest,
        instances::update_custom_health
    ),
    route!(servicediscovery, UpdatePrivateDnsNamespaceRequest, namespaces::update_private),
    route!(servicediscovery, UpdateServiceAttributesRequest, services::update_attributes),
    route!(servicediscovery, UpdateServiceRequest, services::update),
];

fn invalid(text: impl Into<String>) -> Fault {
    ErrorCode::InvalidInput.fault(text)
}

/// An id, or the ARN of what has it.
fn id(text: Option<String>) -> String {
    let text = text.unwrap_or_default();
    match text.starts_with("arn:") {
        true => text.rsplit('/').next().unwrap_or_default().to_owned(),
        false => text,
    }
}

/// One page of a list whose keys rise: what to show, and the token of the next.
fn page<T>(
    cursor: &Cursor,
    items: impl Iterator<Item = (String, T)>,
    token: Option<&str>,
    max_results: Option<i32>,
) -> Result<(Vec<T>, Option<String>), Fault> {
    const PAGE_ITEMS: usize = 100;
    let after = cursor.after(token, || invalid("Invalid NextToken"))?;
    let limit = page_items(max_results, PAGE_ITEMS).clamp(1, PAGE_ITEMS);
    Ok(cursor.page(items, after.as_deref(), limit))
}
