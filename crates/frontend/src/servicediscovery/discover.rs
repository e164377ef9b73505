//! DiscoverInstances: who is there, by the names of namespace and service, in random order, so that
//! clients that take the first spread over all.

use super::shown;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::discovery::{DiscoveryInstance, DiscoveryService, Namespace};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Snapshot;
use store::kinds::discovery_instance_prefix;
use wire::servicediscovery as sd;

/// Instances in an answer when the caller names no number. Source: API reference.
const RESULTS_DEFAULT: usize = 100;

fn find(
    snapshot: &Snapshot,
    namespace: Option<String>,
    service: Option<String>,
) -> Result<Vec<(Arc<Namespace>, Arc<DiscoveryService>)>, Fault> {
    let (namespace, service) = (namespace.unwrap_or_default(), service.unwrap_or_default());
    let all = snapshot.scan::<Namespace>("");
    let named: Vec<_> = all.filter(|(_, it)| it.name == namespace).map(|(_, it)| it).collect();
    if named.is_empty() {
        return Err(shown::no_namespace(&namespace));
    }
    // Several private namespaces may have one name, each in its VPC.
    let services = snapshot.scan::<DiscoveryService>("").filter(|(_, it)| it.name == service);
    let found: Vec<_> = services
        .filter_map(|(_, service)| {
            let of = named.iter().find(|namespace| namespace.id == service.namespace)?;
            Some((Arc::clone(of), service))
        })
        .collect();
    if found.is_empty() { Err(shown::no_service(&service)) } else { Ok(found) }
}

fn has_all(instance: &DiscoveryInstance, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| instance.attributes.get(key) == Some(value))
}

pub async fn discover(
    cx: &Context,
    _caller: &Caller,
    input: sd::DiscoverInstancesRequest,
) -> Result<sd::DiscoverInstancesResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let found = find(&snapshot, input.namespace_name, input.service_name)?;
    let required = input.query_parameters.unwrap_or_default();
    let optional = input.optional_parameters.unwrap_or_default();
    let filter = input.health_status.unwrap_or(sd::HealthStatusFilter::HealthyOrElseAll);
    let mut told = Vec::new();
    for (namespace, service) in &found {
        let prefix = discovery_instance_prefix(&service.id);
        let all = snapshot.scan::<DiscoveryInstance>(&prefix).map(|(_, instance)| instance);
        let all: Vec<_> = all.filter(|instance| has_all(instance, &required)).collect();
        let liked: Vec<_> = all.iter().filter(|it| has_all(it, &optional)).cloned().collect();
        let chosen = if liked.is_empty() { all } else { liked };
        let chosen = by_health(service, chosen, &filter);
        told.extend(chosen.iter().map(|instance| show(namespace, service, instance)));
    }
    shuffle(&mut told, cx.random());
    let limit = input.max_results.and_then(|n| usize::try_from(n).ok());
    told.truncate(limit.unwrap_or(RESULTS_DEFAULT));
    let revision = found.iter().map(|(_, service)| service.instances_revision).max();
    Ok(sd::DiscoverInstancesResponse { instances: Some(told), instances_revision: revision })
}

pub async fn revision(
    cx: &Context,
    _caller: &Caller,
    input: sd::DiscoverInstancesRevisionRequest,
) -> Result<sd::DiscoverInstancesRevisionResponse, Fault> {
    let found = find(&cx.store.snapshot(), input.namespace_name, input.service_name)?;
    let instances_revision = found.iter().map(|(_, service)| service.instances_revision).max();
    Ok(sd::DiscoverInstancesRevisionResponse { instances_revision })
}

/// Ignored for services without a check of health, as AWS does.
fn by_health(
    service: &DiscoveryService,
    mut all: Vec<Arc<DiscoveryInstance>>,
    filter: &sd::HealthStatusFilter,
) -> Vec<Arc<DiscoveryInstance>> {
    if service.custom_health_threshold.is_none() {
        return all;
    }
    match filter.as_str() {
        "HEALTHY" => all.retain(|instance| instance.healthy),
        "UNHEALTHY" => all.retain(|instance| !instance.healthy),
        "HEALTHY_OR_ELSE_ALL" if all.iter().any(|instance| instance.healthy) => {
            all.retain(|instance| instance.healthy);
        }
        _ => {}
    }
    all
}

fn show(
    namespace: &Namespace,
    service: &DiscoveryService,
    instance: &DiscoveryInstance,
) -> sd::HttpInstanceSummary {
    sd::HttpInstanceSummary {
        attributes: Some(instance.attributes.clone()),
        health_status: Some(shown::health(service, instance)),
        instance_id: Some(instance.id.clone()),
        namespace_name: Some(namespace.name.clone()),
        service_name: Some(service.name.clone()),
    }
}

fn shuffle<T>(items: &mut [T], mut random: u128) {
    for last in (1..items.len()).rev() {
        let bound = last as u128 + 1;
        items.swap(last, (random % bound) as usize);
        random = (random / bound) ^ random.rotate_left(29).wrapping_mul(0x9e37_79b9);
    }
}
