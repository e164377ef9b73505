//! How records are found and shown.

use crate::context::Context;
use crate::fault::Fault;
use model::discovery::{
    DiscoveryInstance, DiscoveryService, Namespace, NamespaceKind, RecordKind, RoutingPolicy,
};
use std::sync::Arc;
use store::Snapshot;
use store::kinds::discovery_instance_prefix;
use wire::servicediscovery as sd;
use wire::servicediscovery::ErrorCode;

pub fn time(at: model::Timestamp) -> wire::Timestamp {
    wire::Timestamp::from_unix_ms(at.0)
}

pub fn namespace_arn(cx: &Context, namespace: &Namespace) -> String {
    cx.locality.arn("servicediscovery", &format!("namespace/{}", namespace.id))
}

pub fn service_arn(cx: &Context, service: &DiscoveryService) -> String {
    cx.locality.arn("servicediscovery", &format!("service/{}", service.id))
}

pub fn no_namespace(id: &str) -> Fault {
    ErrorCode::NamespaceNotFound.fault(format!("Namespace not found: {id}"))
}

pub fn no_service(id: &str) -> Fault {
    ErrorCode::ServiceNotFound.fault(format!("Service not found: {id}"))
}

pub fn no_instance(id: &str) -> Fault {
    ErrorCode::InstanceNotFound.fault(format!("Instance not found: {id}"))
}

pub fn find_namespace(snapshot: &Snapshot, id: &str) -> Result<Arc<Namespace>, Fault> {
    snapshot.get::<Namespace>(id).map(|found| found.value).ok_or_else(|| no_namespace(id))
}

pub fn find_service(snapshot: &Snapshot, id: &str) -> Result<Arc<DiscoveryService>, Fault> {
    snapshot.get::<DiscoveryService>(id).map(|found| found.value).ok_or_else(|| no_service(id))
}

pub fn services_of(snapshot: &Snapshot, namespace: &Namespace) -> usize {
    let all = snapshot.scan::<DiscoveryService>("");
    all.filter(|(_, service)| service.namespace == namespace.id).count()
}

fn properties(namespace: &Namespace) -> sd::NamespaceProperties {
    let dns = namespace.kind != NamespaceKind::Http;
    sd::NamespaceProperties {
        dns_properties: Some(sd::DnsProperties {
            hosted_zone_id: namespace.hosted_zone.clone(),
            soa: dns.then_some(sd::SOA { ttl: Some(namespace.soa_ttl_seconds) }),
        }),
        http_properties: Some(sd::HttpProperties { http_name: Some(namespace.name.clone()) }),
    }
}

pub fn namespace(cx: &Context, snapshot: &Snapshot, it: &Namespace) -> sd::Namespace {
    sd::Namespace {
        arn: Some(namespace_arn(cx, it)),
        create_date: Some(time(it.created_at)),
        creator_request_id: it.creator_request_id.clone(),
        description: it.description.clone(),
        id: Some(it.id.to_string()),
        name: Some(it.name.clone()),
        properties: Some(properties(it)),
        resource_owner: Some(cx.locality.account.to_string()),
        service_count: i32::try_from(services_of(snapshot, it)).ok(),
        r#type: Some(it.kind.as_str().into()),
    }
}

pub fn namespace_summary(
    cx: &Context,
    snapshot: &Snapshot,
    it: &Namespace,
) -> sd::NamespaceSummary {
    let whole = namespace(cx, snapshot, it);
    sd::NamespaceSummary {
        arn: whole.arn,
        create_date: whole.create_date,
        description: whole.description,
        id: whole.id,
        name: whole.name,
        properties: whole.properties,
        resource_owner: whole.resource_owner,
        service_count: whole.service_count,
        r#type: whole.r#type,
    }
}

fn dns_config(it: &DiscoveryService) -> Option<sd::DnsConfig> {
    let dns = it.dns.as_ref()?;
    let record = |record: &model::discovery::DnsRecord| sd::DnsRecord {
        ttl: Some(i64::from(record.ttl_seconds)),
        r#type: Some(match record.kind {
            RecordKind::A => sd::RecordType::A,
            RecordKind::Aaaa => sd::RecordType::Aaaa,
            RecordKind::Srv => sd::RecordType::Srv,
            RecordKind::Cname => sd::RecordType::Cname,
        }),
    };
    Some(sd::DnsConfig {
        dns_records: Some(dns.records.iter().map(record).collect()),
        namespace_id: Some(it.namespace.to_string()),
        routing_policy: Some(match dns.routing {
            RoutingPolicy::Multivalue => sd::RoutingPolicy::Multivalue,
            RoutingPolicy::Weighted => sd::RoutingPolicy::Weighted,
        }),
    })
}

pub fn service(cx: &Context, snapshot: &Snapshot, it: &DiscoveryService) -> sd::Service {
    let instances = snapshot.count::<DiscoveryInstance>(&discovery_instance_prefix(&it.id));
    let small = |number: i64| i32::try_from(number).ok();
    sd::Service {
        arn: Some(service_arn(cx, it)),
        create_date: Some(time(it.created_at)),
        created_by_account: Some(cx.locality.account.to_string()),
        creator_request_id: it.creator_request_id.clone(),
        description: it.description.clone(),
        dns_config: dns_config(it),
        health_check_config: it.health_check.as_ref().map(|check| sd::HealthCheckConfig {
            failure_threshold: check.failure_threshold.and_then(small),
            resource_path: check.resource_path.clone(),
            r#type: Some(check.kind.as_str().into()),
        }),
        health_check_custom_config: it
            .custom_health_threshold
            .map(|threshold| sd::HealthCheckCustomConfig { failure_threshold: small(threshold) }),
        id: Some(it.id.to_string()),
        instance_count: i32::try_from(instances).ok(),
        name: Some(it.name.clone()),
        namespace_id: Some(it.namespace.to_string()),
        resource_owner: Some(cx.locality.account.to_string()),
        r#type: Some(match it.dns {
            Some(_) => sd::ServiceType::DnsHttp,
            None => sd::ServiceType::Http,
        }),
    }
}

pub fn service_summary(
    cx: &Context,
    snapshot: &Snapshot,
    it: &DiscoveryService,
) -> sd::ServiceSummary {
    let whole = service(cx, snapshot, it);
    sd::ServiceSummary {
        arn: whole.arn,
        create_date: whole.create_date,
        created_by_account: whole.created_by_account,
        description: whole.description,
        dns_config: whole.dns_config,
        health_check_config: whole.health_check_config,
        health_check_custom_config: whole.health_check_custom_config,
        id: whole.id,
        instance_count: whole.instance_count,
        name: whole.name,
        resource_owner: whole.resource_owner,
        r#type: whole.r#type,
    }
}

/// Health is something only of services that have a check of it.
pub fn health(service: &DiscoveryService, instance: &DiscoveryInstance) -> sd::HealthStatus {
    match service.custom_health_threshold {
        None => sd::HealthStatus::Unknown,
        Some(_) if instance.healthy => sd::HealthStatus::Healthy,
        Some(_) => sd::HealthStatus::Unhealthy,
    }
}
