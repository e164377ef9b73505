//! Services of a namespace: how their instances are told to who asks for names, and by what their
//! health is known.

use super::{id, invalid, operations, page, shown, tags};
use crate::context::{Caller, Context};
use crate::cursor::Cursor;
use crate::fault::Fault;
use model::DiscoveryServiceId;
use model::discovery::{
    DiscoveryInstance, DiscoveryService, DnsConfig, DnsRecord, HealthCheckConfig, Namespace,
    NamespaceKind, RecordKind, RoutingPolicy,
};
use store::kinds::discovery_instance_prefix;
use wire::servicediscovery as sd;
use wire::servicediscovery::ErrorCode;

/// Attributes of one service. Source: API reference, UpdateServiceAttributes.
const ATTRIBUTES_MAX: usize = 30;
/// Seconds. Source: API reference, RecordTTL.
const TTL_SECONDS_MAX: i64 = 2_147_483_647;

pub async fn create(
    cx: &Context,
    _caller: &Caller,
    input: sd::CreateServiceRequest,
) -> Result<sd::CreateServiceResponse, Fault> {
    let in_dns = input.dns_config.as_ref().and_then(|dns| dns.namespace_id.clone());
    let namespace_id = id(input.namespace_id.or(in_dns));
    if namespace_id.is_empty() {
        return Err(invalid("NamespaceId is required"));
    }
    if input.health_check_config.is_some() && input.health_check_custom_config.is_some() {
        let text = "You can specify either HealthCheckConfig or HealthCheckCustomConfig, not both";
        return Err(invalid(text));
    }
    let custom = input.health_check_custom_config;
    let made = DiscoveryService {
        id: DiscoveryServiceId::mint(cx.random()),
        namespace: namespace_id.as_str().into(),
        name: input.name.unwrap_or_default(),
        description: input.description,
        dns: input.dns_config.map(read_dns).transpose()?,
        health_check: input.health_check_config.map(read_check),
        custom_health_threshold: custom.map(|it| it.failure_threshold.map_or(1, i64::from)),
        attributes: std::collections::BTreeMap::new(),
        creator_request_id: input.creator_request_id,
        created_at: cx.now(),
        tags: tags::RULES.read(input.tags)?,
        instances_revision: 1,
    };
    let http_only = input.r#type == Some(sd::ServiceTypeOption::Http);
    let service = cx
        .transact(|txn| {
            let namespace = txn.get::<Namespace>(&namespace_id);
            let namespace = namespace.ok_or_else(|| shown::no_namespace(&namespace_id))?;
            check(&made, namespace.kind, http_only)?;
            let all = txn.snapshot().scan::<DiscoveryService>("");
            let mut same = all.filter(|(_, known)| {
                known.namespace == made.namespace && known.name.eq_ignore_ascii_case(&made.name)
            });
            if let Some((_, known)) = same.next() {
                // The same call once more: it was done.
                let again = known.creator_request_id.is_some()
                    && known.creator_request_id == made.creator_request_id;
                return if again { Ok(known) } else { Err(exists(&known)) };
            }
            drop(same);
            // Written, so that of two made at once in one namespace the second sees the first.
            txn.put_arc(namespace);
            txn.put(made.clone());
            Ok(std::sync::Arc::new(made.clone()))
        })
        .await?;
    let snapshot = cx.store.snapshot();
    Ok(sd::CreateServiceResponse { service: Some(shown::service(cx, &snapshot, &service)) })
}

fn exists(known: &DiscoveryService) -> Fault {
    let fault = ErrorCode::ServiceAlreadyExists
        .fault(format!("Service already exists: {}", known.name))
        .with("ServiceId", known.id.to_string());
    match &known.creator_request_id {
        Some(request) => fault.with("CreatorRequestId", request.as_str()),
        None => fault,
    }
}

/// Source: API reference, CreateService.
fn check(made: &DiscoveryService, kind: NamespaceKind, http_only: bool) -> Result<(), Fault> {
    let dns = kind != NamespaceKind::Http;
    if made.dns.is_some() && (!dns || http_only) {
        return Err(invalid("DnsConfig can't be specified for a service of type HTTP"));
    }
    if made.dns.is_none() && dns && !http_only {
        return Err(invalid("DnsConfig is required for a service of a DNS namespace"));
    }
    if made.health_check.is_some() && kind != NamespaceKind::DnsPublic {
        return Err(invalid("HealthCheckConfig is for services of public DNS namespaces only"));
    }
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inner)
    };
    let named = match made.dns {
        Some(_) => made.name.split('.').all(label),
        None => made.name.chars().all(|c| c.is_ascii_graphic()) && !made.name.is_empty(),
    };
    match named && made.name.len() <= 127 {
        true => Ok(()),
        false => Err(invalid(format!("Invalid service name: {}", made.name))),
    }
}

fn read_check(given: sd::HealthCheckConfig) -> HealthCheckConfig {
    HealthCheckConfig {
        kind: given.r#type.map(|kind| kind.to_string()).unwrap_or_default(),
        resource_path: given.resource_path,
        failure_threshold: given.failure_threshold.map(i64::from),
    }
}

fn read_dns(given: sd::DnsConfig) -> Result<DnsConfig, Fault> {
    let records = read_records(given.dns_records)?;
    let routing = match given.routing_policy {
        None | Some(sd::RoutingPolicy::Multivalue) => RoutingPolicy::Multivalue,
        Some(_) => RoutingPolicy::Weighted,
    };
    let has = |kind| records.iter().any(|record| record.kind == kind);
    if has(RecordKind::Cname) && records.len() > 1 {
        return Err(invalid("A CNAME record can't be combined with other records"));
    }
    if has(RecordKind::Cname) && routing == RoutingPolicy::Multivalue {
        return Err(invalid("Routing policy MULTIVALUE can't be used with CNAME records"));
    }
    Ok(DnsConfig { routing, records })
}

fn read_records(given: Option<Vec<sd::DnsRecord>>) -> Result<Vec<DnsRecord>, Fault> {
    let mut records = Vec::<DnsRecord>::new();
    for record in given.unwrap_or_default() {
        let kind = match record.r#type.as_ref().map(sd::RecordType::as_str) {
            Some("A") => RecordKind::A,
            Some("AAAA") => RecordKind::Aaaa,
            Some("SRV") => RecordKind::Srv,
            Some("CNAME") => RecordKind::Cname,
            other => return Err(invalid(format!("Invalid record type: {other:?}"))),
        };
        let ttl = record.ttl.unwrap_or(0);
        let ttl_seconds = u32::try_from(ttl).ok().filter(|_| ttl <= TTL_SECONDS_MAX);
        let ttl_seconds = ttl_seconds.ok_or_else(|| invalid(format!("Invalid TTL: {ttl}")))?;
        if records.iter().any(|known| known.kind == kind) {
            return Err(invalid("A record type can be specified only once"));
        }
        records.push(DnsRecord { kind, ttl_seconds });
    }
    if records.is_empty() {
        return Err(invalid("DnsRecords can't be empty"));
    }
    Ok(records)
}

pub async fn get(
    cx: &Context,
    _caller: &Caller,
    input: sd::GetServiceRequest,
) -> Result<sd::GetServiceResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let found = shown::find_service(&snapshot, &id(input.id))?;
    Ok(sd::GetServiceResponse { service: Some(shown::service(cx, &snapshot, &found)) })
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: sd::ListServicesRequest,
) -> Result<sd::ListServicesResponse, Fault> {
    let filters = input.filters.unwrap_or_default();
    let asked: Vec<String> = filters.iter().map(|filter| format!("{filter:?}")).collect();
    let mut request = vec!["ListServices"];
    request.extend(asked.iter().map(String::as_str));
    let snapshot = cx.store.snapshot();
    let mut found = Vec::new();
    for (key, service) in snapshot.scan::<DiscoveryService>("") {
        let wanted = filters.iter().all(|filter| {
            let values = filter.values.as_deref().unwrap_or_default();
            let value = match filter.name {
                Some(sd::ServiceFilterName::NamespaceId) => service.namespace.as_str(),
                // All that is here is this account's own.
                _ => "SELF",
            };
            values.iter().any(|it| id(Some(it.clone())) == value)
        });
        if wanted {
            found.push((key.to_owned(), shown::service_summary(cx, &snapshot, &service)));
        }
    }
    let token = input.next_token.as_deref();
    let cursor = Cursor::new(&request);
    let (services, next_token) = page(&cursor, found.into_iter(), token, input.max_results)?;
    Ok(sd::ListServicesResponse { services: Some(services), next_token })
}

pub async fn update(
    cx: &Context,
    _caller: &Caller,
    input: sd::UpdateServiceRequest,
) -> Result<sd::UpdateServiceResponse, Fault> {
    let (id, operation) = (id(input.id), operations::mint(cx));
    let change = input.service.unwrap_or_default();
    let records = change.dns_config.map(|dns| read_records(dns.dns_records)).transpose()?;
    let check = change.health_check_config.map(read_check);
    let operation_id = cx
        .transact(|txn| {
            let found = txn.get::<DiscoveryService>(&id).ok_or_else(|| shown::no_service(&id))?;
            let mut changed = (*found).clone();
            changed.description = change.description.clone().or(changed.description);
            match (&mut changed.dns, &records) {
                (Some(dns), Some(records)) => dns.records.clone_from(records),
                (None, Some(_)) => {
                    return Err(invalid("DnsConfig can't be specified for a service of type HTTP"));
                }
                (_, None) => {}
            }
            // As AWS says it: what is left out is deleted.
            changed.health_check.clone_from(&check);
            txn.put(changed);
            Ok(operations::note(txn, "UPDATE_SERVICE", ("SERVICE", &id), &operation, cx.now()))
        })
        .await?;
    Ok(sd::UpdateServiceResponse { operation_id: Some(operation_id) })
}

pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: sd::DeleteServiceRequest,
) -> Result<sd::DeleteServiceResponse, Fault> {
    let id = id(input.id);
    cx.transact(|txn| {
        // RegisterInstance writes its service, so one that comes in between is noticed.
        let found = txn.get::<DiscoveryService>(&id).ok_or_else(|| shown::no_service(&id))?;
        let prefix = discovery_instance_prefix(&found.id);
        if txn.snapshot().count::<DiscoveryInstance>(&prefix) > 0 {
            let text = "Service contains registered instances; delete the instances before \
                        deleting the service";
            return Err(ErrorCode::ResourceInUse.fault(text));
        }
        txn.delete::<DiscoveryService>(&id);
        Ok(())
    })
    .await?;
    Ok(sd::DeleteServiceResponse {})
}

pub async fn get_attributes(
    cx: &Context,
    _caller: &Caller,
    input: sd::GetServiceAttributesRequest,
) -> Result<sd::GetServiceAttributesResponse, Fault> {
    let found = shown::find_service(&cx.store.snapshot(), &id(input.service_id))?;
    Ok(sd::GetServiceAttributesResponse {
        service_attributes: Some(sd::ServiceAttributes {
            attributes: Some(found.attributes.clone()),
            resource_owner: Some(cx.locality.account.to_string()),
            service_arn: Some(shown::service_arn(cx, &found)),
        }),
    })
}

pub async fn update_attributes(
    cx: &Context,
    _caller: &Caller,
    input: sd::UpdateServiceAttributesRequest,
) -> Result<sd::UpdateServiceAttributesResponse, Fault> {
    let (id, more) = (id(input.service_id), input.attributes.unwrap_or_default());
    cx.transact(|txn| {
        let found = txn.get::<DiscoveryService>(&id).ok_or_else(|| shown::no_service(&id))?;
        let mut changed = (*found).clone();
        changed.attributes.extend(more.clone());
        if changed.attributes.len() > ATTRIBUTES_MAX {
            let text = format!("A service can have at most {ATTRIBUTES_MAX} attributes");
            return Err(ErrorCode::ServiceAttributesLimitExceededException.fault(text));
        }
        txn.put(changed);
        Ok(())
    })
    .await?;
    Ok(sd::UpdateServiceAttributesResponse {})
}

pub async fn delete_attributes(
    cx: &Context,
    _caller: &Caller,
    input: sd::DeleteServiceAttributesRequest,
) -> Result<sd::DeleteServiceAttributesResponse, Fault> {
    let (id, names) = (id(input.service_id), input.attributes.unwrap_or_default());
    cx.transact(|txn| {
        let found = txn.get::<DiscoveryService>(&id).ok_or_else(|| shown::no_service(&id))?;
        let mut changed = (*found).clone();
        changed.attributes.retain(|name, _| !names.contains(name));
        txn.put(changed);
        Ok(())
    })
    .await?;
    Ok(sd::DeleteServiceAttributesResponse {})
}
