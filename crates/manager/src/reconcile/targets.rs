//! Tasks of services are taken up where others look for them: targets of load balancers and a Cloud
//! Map instance while they run. The fact `target` and these records move in one commit, so that
//! neither is ever ahead: a task is RUNNING only once it can be found, and DEACTIVATING until it
//! can't be any more.
//!
//! A task that is to stop goes in two steps. First its targets drain: they get no new request, and
//! nobody tells its containers anything. When the last of them is gone (`draining`), the fact says
//! so, and only then is the instance told. A task that ends by itself loses its targets at once:
//! there is nobody left to answer.

use crate::Context;
use crate::follow::{Follow, Step};
use crate::limits::{RETRY_AFTER_MS, TARGETS_PER_COMMIT_MAX};
use model::balancing::{Target, TargetGroup, TargetHealth};
use model::discovery::{ATTRIBUTE_IPV4, ATTRIBUTE_PORT, DiscoveryInstance, DiscoveryService};
use model::facts::{ContainersFact, Desired, TargetFact};
use model::service::{
    SERVICE_GROUP_PREFIX, ServiceLoadBalancer, ServiceProgress, ServiceRegistryLink,
    ServiceTemplate,
};
use model::task::Task;
use model::task_definition::TaskDefinition;
use model::{DiscoveryServiceId, ServiceName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use store::kinds::{discovery_instance_key, service_key, target_key, task_definition_key};
use store::{CommitFailure, Txn};

/// Which tasks have a step to make, and which wait for their targets to be gone.
#[derive(Default)]
struct Work {
    due: BTreeSet<Arc<str>>,
    draining: BTreeSet<Arc<str>>,
}

impl Work {
    fn fold(&mut self, key: Arc<str>, task: Option<&Task>) {
        match task.is_some_and(|task| task.facts.target == TargetFact::Draining) {
            true => self.draining.insert(Arc::clone(&key)),
            false => self.draining.remove(&key),
        };
        if task.is_some_and(moves) {
            self.due.insert(key);
        }
    }

    fn take_up(&mut self, step: Step<Task>) {
        match step {
            Step::Everything(snapshot) => {
                *self = Self::default();
                for (key, task) in snapshot.scan::<Task>("") {
                    self.fold(Arc::from(key), Some(&task));
                }
            }
            Step::Changes(changes) => {
                changes.into_iter().for_each(|(key, task)| self.fold(key, task.as_deref()));
            }
        }
    }

    /// A target that went may have been the last that a task waited for.
    fn look_at_waiting(&mut self, step: &Step<Target>) {
        let gone = match step {
            Step::Everything(_) => true,
            Step::Changes(changes) => changes.iter().any(|(_, target)| target.is_none()),
        };
        if gone {
            self.due.extend(self.draining.iter().cloned());
        }
    }
}

pub async fn run(cx: &Context) {
    let mut tasks = Follow::<Task>::new(&cx.store);
    let mut targets = Follow::<Target>::new(&cx.store);
    let mut work = Work::default();
    loop {
        let woken = tokio::select! {
            step = tasks.next() => step.map(|step| work.take_up(step)),
            step = targets.next() => step.map(|step| work.look_at_waiting(&step)),
        };
        if woken.is_err() {
            return;
        }
        while !work.due.is_empty() {
            let due = work.due.iter().take(TARGETS_PER_COMMIT_MAX);
            let keys: Vec<Arc<str>> = due.cloned().collect();
            let moved = cx.store.transact(|txn| {
                keys.iter().for_each(|key| step(txn, cx, key));
                Ok::<(), CommitFailure>(())
            });
            match moved.await {
                Ok(_) => keys.iter().for_each(|key| {
                    work.due.remove(key);
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

/// Whether the task's target may have a step to make.
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
    let template = template(txn, &task);
    let fact = match runs(&task) {
        true => take_up(txn, cx, &task, template.as_deref(), now),
        false => let_go(txn, &task, template.as_deref(), now),
    };
    if fact == task.facts.target {
        return;
    }
    let mut changed = (*task).clone();
    changed.facts.target = fact;
    if fact == TargetFact::Gone {
        changed.deregistered_at = Some(now);
    }
    changed.settle(now);
    txn.put(changed);
}

fn take_up(
    txn: &mut Txn,
    cx: &Context,
    task: &Task,
    template: Option<&ServiceTemplate>,
    now: Timestamp,
) -> TargetFact {
    if let Some(template) = template {
        if let Some(link) = template.registries.first() {
            enlist(txn, cx, task, link, now);
        }
        for link in &template.load_balancers {
            register(txn, task, link, now);
        }
    }
    TargetFact::Registered
}

/// The fact as it is after this step: Draining while some target of the task is there.
fn let_go(
    txn: &mut Txn,
    task: &Task,
    template: Option<&ServiceTemplate>,
    now: Timestamp,
) -> TargetFact {
    if let Some(link) = template.and_then(|template| template.registries.first()) {
        delist(txn, task, link);
    }
    let ended = task.facts.containers >= ContainersFact::Stopping;
    let mut left = false;
    for target in own(txn, task, template) {
        let key = target_key(&target.group, &target.id, target.port);
        if ended {
            txn.delete::<Target>(&key);
            txn.delete::<TargetHealth>(&key);
            continue;
        }
        left = true;
        if target.draining_since.is_none() {
            txn.put(Target { draining_since: Some(now), ..(*target).clone() });
        }
    }
    if left { TargetFact::Draining } else { TargetFact::Gone }
}

/// What the task's deployment is made of.
fn template(txn: &Txn, task: &Task) -> Option<Arc<ServiceTemplate>> {
    let name = ServiceName::from(task.group.strip_prefix(SERVICE_GROUP_PREFIX)?);
    let key = service_key(&task.cluster, &name);
    let progress = txn.snapshot().get::<ServiceProgress>(&key)?;
    let all = progress.deployments.iter().chain(&progress.finished);
    let by = task.started_by.as_deref()?;
    let deployment = { all }.find(|known| known.id.as_str() == by)?;
    Some(Arc::clone(&deployment.template))
}

/// The targets that are this task. Where its deployment is off the record, all there are are asked.
fn own(txn: &mut Txn, task: &Task, template: Option<&ServiceTemplate>) -> Vec<Arc<Target>> {
    let Some(interface) = &task.interface else { return Vec::new() };
    let keys: Vec<String> = match template {
        Some(template) => {
            let links = template.load_balancers.iter();
            let id = interface.private_ip.to_string();
            links.map(|link| target_key(&link.group(), &id, link.container_port)).collect()
        }
        None => {
            let all = txn.snapshot().scan::<Target>("");
            let own = all.filter(|(_, target)| target.task.as_ref() == Some(&task.id));
            own.map(|(key, _)| key.to_owned()).collect()
        }
    };
    let found = keys.into_iter().filter_map(|key| txn.get::<Target>(&key));
    found.filter(|target| target.task.as_ref() == Some(&task.id)).collect()
}

/// Source: ECS developer guide, service-load-balancing: a target of type `ip`, at the port of the
/// container that the service names.
fn register(txn: &mut Txn, task: &Task, link: &ServiceLoadBalancer, now: Timestamp) {
    let group = link.group();
    let Some(interface) = &task.interface else { return };
    if txn.get::<TargetGroup>(group.as_str()).is_none() {
        tracing::warn!(task = %task.id, group = link.target_group_arn, "the target group is gone");
        return;
    }
    let target = Target {
        group,
        id: interface.private_ip.to_string(),
        address: interface.private_ip,
        port: link.container_port,
        zone: task.facts.placed.as_ref().map(|placed| placed.zone.to_string()),
        task: Some(task.id.clone()),
        registered_at: now,
        draining_since: None,
    };
    // What was found of whoever had the address before says nothing of this one.
    let key = target_key(&target.group, &target.id, target.port);
    txn.delete::<TargetHealth>(&key);
    txn.put(target);
}

/// `arn:aws:servicediscovery:REGION:ACCOUNT:service/srv-…`.
fn service_of(arn: &str) -> DiscoveryServiceId {
    DiscoveryServiceId::from(arn.rsplit_once('/').map_or(arn, |(_, id)| id))
}

fn delist(txn: &mut Txn, task: &Task, link: &ServiceRegistryLink) {
    let service = service_of(&link.registry_arn);
    let key = discovery_instance_key(&service, task.id.as_str());
    if txn.get::<DiscoveryInstance>(&key).is_some() {
        txn.delete::<DiscoveryInstance>(&key);
        touch(txn, &service);
    }
}

/// Source of the attributes: ECS developer guide, service-discovery.
fn enlist(txn: &mut Txn, cx: &Context, task: &Task, link: &ServiceRegistryLink, now: Timestamp) {
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
