//! Instances of services. Every change raises the service's revision, by which clients of
//! DiscoverInstancesRevision know that there is something new.

use super::{id, invalid, operations, page, shown};
use crate::context::{Caller, Context};
use crate::cursor::Cursor;
use crate::fault::Fault;
use model::discovery::{
    ATTRIBUTE_CNAME, ATTRIBUTE_IPV4, ATTRIBUTE_IPV6, ATTRIBUTE_PORT, DiscoveryInstance,
    DiscoveryService, RecordKind,
};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use store::Txn;
use store::kinds::{discovery_instance_key, discovery_instance_prefix};
use wire::NoOutput;
use wire::servicediscovery as sd;
use wire::servicediscovery::ErrorCode;

const INITIAL_HEALTH: &str = "AWS_INIT_HEALTH_STATUS";
const ALIAS: &str = "AWS_ALIAS_DNS_NAME";
/// Source: API reference, RegisterInstance (Attributes).
const ATTRIBUTES_MAX: usize = 30;
const ATTRIBUTES_CHARS_MAX: usize = 5_000;

/// Raises the revision of a service's instances.
fn touch(txn: &mut Txn, service: &Arc<DiscoveryService>) {
    let mut touched = (**service).clone();
    touched.instances_revision += 1;
    txn.put(touched);
}

pub async fn register(
    cx: &Context,
    _caller: &Caller,
    input: sd::RegisterInstanceRequest,
) -> Result<sd::RegisterInstanceResponse, Fault> {
    let (service_id, operation) = (id(input.service_id), operations::mint(cx));
    let instance_id = input.instance_id.unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_/:.@-".contains(c);
    if instance_id.is_empty() || !instance_id.chars().all(allowed) {
        return Err(invalid(format!("Invalid instance id: {instance_id}")));
    }
    let attributes = input.attributes.unwrap_or_default();
    check_size(&attributes)?;
    let initial = match attributes.get(INITIAL_HEALTH).map(String::as_str) {
        None | Some("HEALTHY") => true,
        Some("UNHEALTHY") => false,
        Some(other) => return Err(invalid(format!("Invalid {INITIAL_HEALTH}: {other}"))),
    };
    let operation_id = cx
        .transact(|txn| {
            let service = txn.get::<DiscoveryService>(&service_id);
            let service = service.ok_or_else(|| shown::no_service(&service_id))?;
            check(&service, &attributes)?;
            if attributes.contains_key(INITIAL_HEALTH) && service.custom_health_threshold.is_none()
            {
                let text = format!("{INITIAL_HEALTH} needs a service with HealthCheckCustomConfig");
                return Err(invalid(text));
            }
            let known =
                txn.get::<DiscoveryInstance>(&discovery_instance_key(&service.id, &instance_id));
            let healthy = match (attributes.contains_key(INITIAL_HEALTH), &known) {
                (false, Some(known)) => known.healthy,
                _ => initial,
            };
            txn.put(DiscoveryInstance {
                service: service.id.clone(),
                id: instance_id.clone(),
                attributes: attributes.clone(),
                creator_request_id: input.creator_request_id.clone(),
                healthy,
                registered_at: known.map_or(cx.now(), |known| known.registered_at),
            });
            touch(txn, &service);
            let target = ("INSTANCE", instance_id.as_str());
            Ok(operations::note(txn, "REGISTER_INSTANCE", target, &operation, cx.now()))
        })
        .await?;
    Ok(sd::RegisterInstanceResponse { operation_id: Some(operation_id) })
}

fn check_size(attributes: &BTreeMap<String, String>) -> Result<(), Fault> {
    let own = attributes.keys().filter(|key| !key.starts_with("AWS_")).count();
    if own > ATTRIBUTES_MAX {
        return Err(invalid(format!("At most {ATTRIBUTES_MAX} custom attributes are allowed")));
    }
    let chars: usize = attributes.iter().map(|(k, v)| k.chars().count() + v.chars().count()).sum();
    if chars > ATTRIBUTES_CHARS_MAX {
        let text = format!("All attributes together may have {ATTRIBUTES_CHARS_MAX} characters");
        return Err(invalid(text));
    }
    Ok(())
}

/// Whether the attributes say what the service's records need.
fn check(service: &DiscoveryService, given: &BTreeMap<String, String>) -> Result<(), Fault> {
    let read = |name: &str| given.get(name).map(String::as_str);
    for (name, valid) in [
        (ATTRIBUTE_IPV4, read(ATTRIBUTE_IPV4).is_none_or(|it| it.parse::<Ipv4Addr>().is_ok())),
        (ATTRIBUTE_IPV6, read(ATTRIBUTE_IPV6).is_none_or(|it| it.parse::<Ipv6Addr>().is_ok())),
        (ATTRIBUTE_PORT, read(ATTRIBUTE_PORT).is_none_or(|it| it.parse::<u16>().is_ok())),
    ] {
        if !valid {
            let value = read(name).unwrap_or_default();
            return Err(invalid(format!("Invalid value for attribute {name}: {value}")));
        }
    }
    if read(ALIAS).is_some() {
        let own = given.keys().any(|key| key.starts_with("AWS_INSTANCE_"));
        return match own {
            true => {
                Err(invalid(format!("{ALIAS} can't be combined with AWS_INSTANCE_ attributes")))
            }
            false => Ok(()),
        };
    }
    let needed = |names: &[&str]| match names.iter().any(|name| given.contains_key(*name)) {
        true => Ok(()),
        false => Err(invalid(format!("Missing required attribute {}", names[0]))),
    };
    for record in service.dns.iter().flat_map(|dns| &dns.records) {
        match record.kind {
            RecordKind::A => needed(&[ATTRIBUTE_IPV4])?,
            RecordKind::Aaaa => needed(&[ATTRIBUTE_IPV6])?,
            RecordKind::Cname => needed(&[ATTRIBUTE_CNAME])?,
            RecordKind::Srv => {
                needed(&[ATTRIBUTE_PORT])?;
                needed(&[ATTRIBUTE_IPV4, ATTRIBUTE_IPV6])?;
            }
        }
    }
    Ok(())
}

pub async fn deregister(
    cx: &Context,
    _caller: &Caller,
    input: sd::DeregisterInstanceRequest,
) -> Result<sd::DeregisterInstanceResponse, Fault> {
    let (service_id, operation) = (id(input.service_id), operations::mint(cx));
    let instance_id = input.instance_id.unwrap_or_default();
    let operation_id = cx
        .transact(|txn| {
            let service = txn.get::<DiscoveryService>(&service_id);
            let service = service.ok_or_else(|| shown::no_service(&service_id))?;
            let key = discovery_instance_key(&service.id, &instance_id);
            txn.get::<DiscoveryInstance>(&key).ok_or_else(|| shown::no_instance(&instance_id))?;
            txn.delete::<DiscoveryInstance>(&key);
            touch(txn, &service);
            let target = ("INSTANCE", instance_id.as_str());
            Ok(operations::note(txn, "DEREGISTER_INSTANCE", target, &operation, cx.now()))
        })
        .await?;
    Ok(sd::DeregisterInstanceResponse { operation_id: Some(operation_id) })
}

pub async fn get(
    cx: &Context,
    _caller: &Caller,
    input: sd::GetInstanceRequest,
) -> Result<sd::GetInstanceResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let service = shown::find_service(&snapshot, &id(input.service_id))?;
    let instance_id = input.instance_id.unwrap_or_default();
    let key = discovery_instance_key(&service.id, &instance_id);
    let found = snapshot.get::<DiscoveryInstance>(&key);
    let found = found.ok_or_else(|| shown::no_instance(&instance_id))?;
    Ok(sd::GetInstanceResponse {
        instance: Some(sd::Instance {
            attributes: Some(found.attributes.clone()),
            created_by_account: Some(cx.locality.account.to_string()),
            creator_request_id: found.creator_request_id.clone(),
            id: Some(found.id.clone()),
        }),
        resource_owner: Some(cx.locality.account.to_string()),
    })
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: sd::ListInstancesRequest,
) -> Result<sd::ListInstancesResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let service = shown::find_service(&snapshot, &id(input.service_id))?;
    let prefix = discovery_instance_prefix(&service.id);
    let all = snapshot.scan::<DiscoveryInstance>(&prefix).map(|(key, instance)| {
        let summary = sd::InstanceSummary {
            attributes: Some(instance.attributes.clone()),
            created_by_account: Some(cx.locality.account.to_string()),
            id: Some(instance.id.clone()),
        };
        (key.to_owned(), summary)
    });
    let cursor = Cursor::new(&["ListInstances", service.id.as_str()]);
    let (instances, next_token) =
        page(&cursor, all, input.next_token.as_deref(), input.max_results)?;
    Ok(sd::ListInstancesResponse {
        instances: Some(instances),
        next_token,
        resource_owner: Some(cx.locality.account.to_string()),
    })
}

pub async fn health(
    cx: &Context,
    _caller: &Caller,
    input: sd::GetInstancesHealthStatusRequest,
) -> Result<sd::GetInstancesHealthStatusResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let service = shown::find_service(&snapshot, &id(input.service_id))?;
    let wanted = input.instances.unwrap_or_default();
    for id in &wanted {
        let key = discovery_instance_key(&service.id, id);
        if snapshot.get::<DiscoveryInstance>(&key).is_none() {
            return Err(shown::no_instance(id));
        }
    }
    let prefix = discovery_instance_prefix(&service.id);
    let all = snapshot
        .scan::<DiscoveryInstance>(&prefix)
        .filter(|(_, instance)| wanted.is_empty() || wanted.contains(&instance.id))
        .map(|(key, it)| (key.to_owned(), (it.id.clone(), shown::health(&service, &it))));
    let asked = wanted.join(",");
    let cursor = Cursor::new(&["GetInstancesHealthStatus", service.id.as_str(), &asked]);
    let (page, next_token) = page(&cursor, all, input.next_token.as_deref(), input.max_results)?;
    Ok(sd::GetInstancesHealthStatusResponse {
        next_token,
        status: Some(page.into_iter().collect()),
    })
}

pub async fn update_custom_health(
    cx: &Context,
    _caller: &Caller,
    input: sd::UpdateInstanceCustomHealthStatusRequest,
) -> Result<NoOutput, Fault> {
    let service_id = id(input.service_id);
    let instance_id = input.instance_id.unwrap_or_default();
    let healthy = input.status == Some(sd::CustomHealthStatus::Healthy);
    cx.transact(|txn| {
        let service = txn.get::<DiscoveryService>(&service_id);
        let service = service.ok_or_else(|| shown::no_service(&service_id))?;
        let key = discovery_instance_key(&service.id, &instance_id);
        let found = txn.get::<DiscoveryInstance>(&key);
        let found = found.ok_or_else(|| shown::no_instance(&instance_id))?;
        if service.custom_health_threshold.is_none() {
            let text = format!("Service {service_id} has no custom health check");
            return Err(ErrorCode::CustomHealthNotFound.fault(text));
        }
        if found.healthy != healthy {
            let mut changed = (*found).clone();
            changed.healthy = healthy;
            txn.put(changed);
            touch(txn, &service);
        }
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}
