//! Tasks of services are taken up where others look for them: a Cloud Map instance while they run.
//! The fact `target` and the instance move in one commit, so that neither is ever ahead: a task is
//! RUNNING only once it can be found, and DEACTIVATING until it can't be any more.

use crate::Context;
use crate::follow::{Follow, Step};
use crate::limits::{RETRY_AFTER_MS, TARGETS_PER_COMMIT_MAX};
use model::discovery::{ATTRIBUTE_IPV4, ATTRIBUTE_PORT, DiscoveryInstance, DiscoveryService};
use model::facts::{ContainersFact, Desired, TargetFact};
use model::service::{SERVICE_GROUP_PREFIX, ServiceProgress, ServiceRegistryLink};
use model::task::Task;
use model::task_definition::TaskDefinition;
use model::{DiscoveryServiceId, ServiceName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use store::kinds::{discovery_instance_key, service_key, task_definition_key};
use store::{CommitFailure, Txn};

pub async fn run(cx: &Context) {
    let mut tasks = Follow::<Task>::new(&cx.store);
    let mut due = BTreeSet::new();
    loop {
        match tasks.next().await {
            Ok(Step::Everything(snapshot)) => {
                let all = snapshot.scan::<Task>("");
                due = all.filter(|(_, task)| moves(task)).map(|(key, _)| Arc::from(key)).collect();
            }
            Ok(Step::Changes(changes)) => {
                let moving = |task: &Option<Arc<Task>>| task.as_deref().is_some_and(moves);
                due.extend(
                    changes.into_iter().filter(|(_, task)| moving(task)).map(|(key, _)| key),
                );
            }
            Err(_) => return,
        }
        while !due.is_empty() {
            let keys: Vec<Arc<str>> = due.iter().take(TARGETS_PER_COMMIT_MAX).cloned().collect();
            let moved = cx.store.transact(|txn| {
                keys.iter().for_each(|key| step(txn, cx, key));
                Ok::<(), CommitFailure>(())
            });
            match moved.await {
                Ok(_) => keys.iter().for_each(|key| {
                    due.remove(key);
                }),
                Err(failure) => {
                    tracing::error!(%failure, "tasks could not be taken up or let go; trying on");
                    tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
                }
            }
        }
    }
}

fn runs(task: &Task) -> bool {
    task.facts.containers == ContainersFact::Running && task.facts.desired == Desired::Running
}

/// Whether the task's target has a step to make.
fn moves(task: &Task) -> bool {
    match task.facts.target {
        TargetFact::Wanted => runs(task),
        TargetFact::Registered | TargetFact::Draining => !runs(task),
        TargetFact::NotNeeded | TargetFact::Gone => false,
    }
}

fn step(txn: &mut Txn, cx: &Context, key: &str) {
    let Some(task) = txn.get::<Task>(key).filter(|task| moves(task)) else { return };
    let now = cx.now();
    let mut changed = (*task).clone();
    let link = registry(txn, &task);
    if runs(&task) {
        if let Some(link) = &link {
            register(txn, cx, &task, link, now);
        }
        changed.facts.target = TargetFact::Registered;
    } else {
        if let Some(link) = &link {
            let service = service_of(&link.registry_arn);
            let key = discovery_instance_key(&service, task.id.as_str());
            if txn.get::<DiscoveryInstance>(&key).is_some() {
                txn.delete::<DiscoveryInstance>(&key);
                touch(txn, &service);
            }
        }
        changed.facts.target = TargetFact::Gone;
    }
    changed.settle(now);
    txn.put(changed);
}

/// The registry that the task's deployment names.
fn registry(txn: &Txn, task: &Task) -> Option<ServiceRegistryLink> {
    let name = ServiceName::from(task.group.strip_prefix(SERVICE_GROUP_PREFIX)?);
    let key = service_key(&task.cluster, &name);
    let progress = txn.snapshot().get::<ServiceProgress>(&key)?;
    let all = progress.deployments.iter().chain(&progress.finished);
    let by = task.started_by.as_deref()?;
    let deployment = { all }.find(|known| known.id.as_str() == by)?;
    deployment.template.registries.first().cloned()
}

/// `arn:aws:servicediscovery:REGION:ACCOUNT:service/srv-…`.
fn service_of(arn: &str) -> DiscoveryServiceId {
    DiscoveryServiceId::from(arn.rsplit_once('/').map_or(arn, |(_, id)| id))
}

/// Source of the attributes: ECS developer guide, service-discovery.
fn register(txn: &mut Txn, cx: &Context, task: &Task, link: &ServiceRegistryLink, now: Timestamp) {
    let service = service_of(&link.registry_arn);
    if txn.get::<DiscoveryService>(service.as_str()).is_none() {
        tracing::warn!(task = %task.id, registry = link.registry_arn, "the registry is gone");
        return;
    }
    let mut attributes = BTreeMap::new();
    let mut put = |key: &str, value: String| attributes.insert(key.to_owned(), value);
    if let Some(interface) = &task.interface {
        put(ATTRIBUTE_IPV4, interface.private_ip.to_string());
    }
    if let Some(port) = link.port.or(link.container_port).or_else(|| first_port(txn, task, link)) {
        put(ATTRIBUTE_PORT, port.to_string());
    }
    if let Some(placed) = &task.facts.placed {
        put("AVAILABILITY_ZONE", placed.zone.to_string());
    }
    put("REGION", cx.locality.region.to_string());
    put("ECS_CLUSTER_NAME", task.cluster.to_string());
    let name = task.group.strip_prefix(SERVICE_GROUP_PREFIX).unwrap_or_default();
    put("ECS_SERVICE_NAME", name.to_owned());
    put("ECS_TASK_DEFINITION_FAMILY", task.family.to_string());
    txn.put(DiscoveryInstance {
        service: service.clone(),
        id: task.id.to_string(),
        attributes,
        creator_request_id: None,
        healthy: true,
        registered_at: now,
    });
    touch(txn, &service);
}

/// The port of the container the registry names, as its definition maps it.
fn first_port(txn: &Txn, task: &Task, link: &ServiceRegistryLink) -> Option<u16> {
    let name = link.container_name.as_deref()?;
    let key = task_definition_key(&task.family, task.revision);
    let definition = txn.snapshot().get::<TaskDefinition>(&key)?;
    let container = definition.template.containers.iter().find(|c| c.name == name)?;
    container.port_mappings.first().map(|mapping| mapping.container_port)
}

/// Whoever compares revisions sees that the service's instances have changed.
fn touch(txn: &mut Txn, service: &DiscoveryServiceId) {
    if let Some(known) = txn.get::<DiscoveryService>(service.as_str()) {
        let mut changed = (*known).clone();
        changed.instances_revision += 1;
        txn.put(changed);
    }
}
