//! Services come true: wake, snapshot, plan, commit. The plan is `plan::service::reconcile`; the
//! commit writes the progress, the tasks to start and the tasks to stop together, and only if wish
//! and progress are what the plan read. Which tasks a service has is an index folded from the
//! store; what a commit of ours has started is put into it at once, so that the next plan knows.

use crate::Context;
use crate::agenda::Agenda;
use crate::follow::{Follow, Step};
use crate::limits::SERVICE_SETTLE_MS;
use model::balancing::{Target, TargetGroup, TargetHealth, TargetState};
use model::container::Health;
use model::facts::{TargetFact, TaskStatus};
use model::instance::{Instance, InstanceState};
use model::limits::INACTIVE_SERVICE_KEPT_SECONDS;
use model::network::Subnet;
use model::service::{
    Deployment, PropagateTags, SERVICE_GROUP_PREFIX, Service, ServiceProgress, ServiceTemplate,
};
use model::task::{NetworkRequest, StopCode, Task, TaskOverrides};
use model::task_definition::TaskDefinition;
use model::{
    DeploymentId, Digest, Document, InstanceId, ServiceName, SubnetId, Tags, TaskId, Timestamp,
    ZoneName,
};
use plan::draft::Draft;
use plan::service::{ServicePlan, ServiceTask, ServiceView, TargetSeen};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::kinds::{service_key, target_key, task_definition_key, task_key};
use store::{CommitFailure, Snapshot, TransactFailure, Txn};

/// The keys of tags that ECS sets itself.
const TAG_CLUSTER: &str = "aws:ecs:clusterName";
const TAG_SERVICE: &str = "aws:ecs:serviceName";
/// Source: Elastic Load Balancing user guide, target health reason codes.
const NOT_REGISTERED: &str = "Target is not registered to the target group";
const DRAINING: &str = "Target deregistration is in progress";
/// How long a service rests after a storage failure, in milliseconds.
const STANDSTILL_MS: i64 = 250;

#[derive(Default)]
struct Index {
    /// The tasks of each service, by their keys.
    tasks: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Task>>>,
    /// Which service's a task is.
    owner: BTreeMap<Arc<str>, Arc<str>>,
    /// The same by the task's id, as targets name it.
    of: BTreeMap<TaskId, Arc<str>>,
    draining: Draining,
    /// Services to look at.
    dirty: BTreeSet<Arc<str>>,
}

/// What is to be left.
#[derive(Default, PartialEq)]
struct Draining {
    /// Their tasks are to run elsewhere.
    instances: BTreeSet<InstanceId>,
    /// Those whose instances all drain.
    zones: BTreeSet<ZoneName>,
}

impl Draining {
    fn read(snapshot: &Snapshot) -> Self {
        let mut found = Self::default();
        let mut stay = BTreeSet::new();
        for (_, instance) in snapshot.scan::<Instance>("") {
            if instance.state == InstanceState::Draining {
                found.instances.insert(instance.id.clone());
                found.zones.insert(instance.zone.clone());
            } else {
                stay.insert(instance.zone.clone());
            }
        }
        found.zones.retain(|zone| !stay.contains(zone));
        found
    }

    fn has(&self, task: &Task) -> bool {
        let placed = task.facts.placed.as_ref();
        placed.is_some_and(|placed| self.instances.contains(&placed.instance))
    }
}

impl Index {
    fn rebuild(&mut self, snapshot: &Snapshot) {
        self.tasks.clear();
        self.owner.clear();
        self.of.clear();
        for (key, task) in snapshot.scan::<Task>("") {
            self.fold(Arc::from(key), Some(task));
        }
        self.draining = Draining::read(snapshot);
        self.all(snapshot);
    }

    fn all(&mut self, snapshot: &Snapshot) {
        self.dirty.extend(snapshot.scan::<Service>("").map(|(key, _)| Arc::from(key)));
    }

    fn fold(&mut self, key: Arc<str>, task: Option<Arc<Task>>) {
        let Some(task) = task else {
            let Some(owner) = self.owner.remove(&key) else { return };
            if let Some(tasks) = self.tasks.get_mut(&owner) {
                if let Some(task) = tasks.remove(&key) {
                    self.of.remove(&task.id);
                }
                if tasks.is_empty() {
                    self.tasks.remove(&owner);
                }
            }
            self.dirty.insert(owner);
            return;
        };
        let Some(name) = task.group.strip_prefix(SERVICE_GROUP_PREFIX) else { return };
        let owner = service_key(&task.cluster, &ServiceName::from(name));
        let owner: Arc<str> = Arc::from(owner);
        self.owner.insert(Arc::clone(&key), Arc::clone(&owner));
        self.of.insert(task.id.clone(), Arc::clone(&owner));
        self.tasks.entry(Arc::clone(&owner)).or_default().insert(key, task);
        self.dirty.insert(owner);
    }

    /// Which instances drain concerns every service: those with tasks there, those that wait for
    /// room, those that even their zones out.
    fn drains(&mut self, snapshot: &Snapshot) {
        let draining = Draining::read(snapshot);
        if self.draining != draining {
            self.draining = draining;
            self.all(snapshot);
        }
    }

    /// The service of the task that is this target.
    fn target(&mut self, snapshot: &Snapshot, key: &str) {
        let target = snapshot.get::<Target>(key);
        let task = target.as_ref().and_then(|target| target.task.as_ref());
        self.dirty.extend(task.and_then(|task| self.of.get(task)).cloned());
    }
}

/// `rests`: services start nothing and stop nothing any more.
pub async fn run(cx: &Context, rests: &AtomicBool) {
    let mut tasks = Follow::<Task>::new(&cx.store);
    let mut services = Follow::<Service>::new(&cx.store);
    let mut progress = Follow::<ServiceProgress>::new(&cx.store);
    let mut targets = Follow::<Target>::new(&cx.store);
    let mut health = Follow::<TargetHealth>::new(&cx.store);
    let mut instances = Follow::<Instance>::new(&cx.store);
    let mut index = Index::default();
    let mut agenda = Agenda::default();
    // Nothing is planned before it is known which tasks there are: a service without any would
    // start them all again.
    match tasks.next().await {
        Ok(Step::Everything(snapshot)) => index.rebuild(&snapshot),
        Ok(Step::Changes(_)) => panic!("everything comes first"),
        Err(_) => return,
    }
    loop {
        let woken = tokio::select! {
            step = tasks.next() => step.map(|step| match step {
                Step::Everything(snapshot) => index.rebuild(&snapshot),
                Step::Changes(changes) => {
                    changes.into_iter().for_each(|(key, task)| index.fold(key, task));
                }
            }),
            step = services.next() => step.map(|step| touched(step, &mut index)),
            step = progress.next() => step.map(|step| touched(step, &mut index)),
            step = targets.next() => step.map(|step| reached_anew(cx, step, &mut index)),
            step = health.next() => step.map(|step| reached_anew(cx, step, &mut index)),
            step = instances.next() => step.map(|_| index.drains(&cx.store.snapshot())),
            () = tokio::time::sleep(agenda.sleep(cx.now())) => Ok(()),
        };
        if woken.is_err() {
            return;
        }
        while let Some(key) = agenda.due(cx.now()) {
            agenda.set(Arc::clone(&key), None);
            index.dirty.insert(key);
        }
        if rests.load(Ordering::SeqCst) {
            continue;
        }
        while let Some(key) = index.dirty.pop_first() {
            match reconcile(cx, &mut index, &key).await {
                Ok(again_at) => agenda.set(key, again_at),
                Err(failure) => {
                    tracing::error!(service = %key, %failure, "a service stands still; trying on");
                    agenda.set(key, Some(cx.now().plus_ms(STANDSTILL_MS)));
                }
            }
        }
    }
}

fn touched<T>(step: Step<T>, index: &mut Index) {
    match step {
        Step::Everything(snapshot) => index.all(&snapshot),
        Step::Changes(changes) => index.dirty.extend(changes.into_iter().map(|(key, _)| key)),
    }
}

fn reached_anew<T>(cx: &Context, step: Step<T>, index: &mut Index) {
    match step {
        Step::Everything(snapshot) => index.all(&snapshot),
        Step::Changes(changes) => {
            let snapshot = cx.store.snapshot();
            changes.iter().for_each(|(key, _)| index.target(&snapshot, key));
        }
    }
}

/// Brings one service a step on. Returns when to look again if nothing happens before.
async fn reconcile(
    cx: &Context,
    index: &mut Index,
    key: &str,
) -> Result<Option<Timestamp>, TransactFailure<CommitFailure>> {
    let none = BTreeMap::new();
    let tasks = index.tasks.get(key).unwrap_or(&none);
    let draining = &index.draining;
    let done = cx.store.transact(|txn| Ok::<_, CommitFailure>(step(cx, txn, key, tasks, draining)));
    let (done, _) = done.await?;
    for task in done.started {
        let key: Arc<str> = Arc::from(task_key(&task.cluster, &task.id));
        index.fold(key, Some(task));
    }
    Ok(done.again_at)
}

#[derive(Default)]
struct Done {
    started: Vec<Arc<Task>>,
    again_at: Option<Timestamp>,
}

fn step(
    cx: &Context,
    txn: &mut Txn,
    key: &str,
    tasks: &BTreeMap<Arc<str>, Arc<Task>>,
    draining: &Draining,
) -> Done {
    let now = cx.now();
    let Some(service) = txn.get::<Service>(key) else { return Done::default() };
    let progress = txn.get::<ServiceProgress>(key);
    if let Some(gone_at) = progress.as_ref().and_then(|progress| progress.inactive_at) {
        let forget_at = gone_at.plus_seconds(INACTIVE_SERVICE_KEPT_SECONDS);
        if now >= forget_at {
            txn.delete::<Service>(key);
            txn.delete::<ServiceProgress>(key);
            return Done::default();
        }
        return Done { again_at: Some(forget_at), ..Done::default() };
    }
    let folded = plan::service::fold(&service, progress.as_deref());
    let targets: Vec<Vec<Reached>> =
        tasks.values().map(|task| reached(txn, &folded, task)).collect();
    let targets: Vec<Vec<TargetSeen<'_>>> =
        targets.iter().map(|all| all.iter().map(Reached::seen).collect()).collect();
    let pairs = tasks.values().zip(&targets);
    let seen: Vec<ServiceTask<'_>> = pairs
        .map(|(task, targets)| {
            let (health, leaving) = (health(txn, task), draining.has(task));
            ServiceTask { task, health, targets, leaving }
        })
        .collect();
    let view = ServiceView {
        service: &service,
        progress: progress.as_deref(),
        tasks: &seen,
        zones: &zones(txn, &folded, draining),
        settle_ms: SERVICE_SETTLE_MS,
        now,
    };
    let plan = plan::service::reconcile(view, &mut || cx.random());
    if !plan.changes(progress.as_deref()) {
        return Done { again_at: plan.again_at, ..Done::default() };
    }
    let started = match start(cx, txn, &service, &plan, tasks) {
        Ok(started) => started,
        Err(missing) => {
            // A definition is not deleted while a service is on it, so that this can't be; a plan
            // that can't be carried out is not written down as if it had been.
            tracing::error!(service = key, definition = missing, "the task definition is gone");
            return Done::default();
        }
    };
    for halt in &plan.stop {
        let Some(task) = txn.get::<Task>(&task_key(&service.cluster, &halt.task)) else { continue };
        let mut task = (*task).clone();
        if task.request_stop(StopCode::ServiceSchedulerInitiated, &halt.reason, now) {
            txn.put(task);
        }
    }
    txn.put(plan.progress);
    Done { started, again_at: plan.again_at }
}

/// What the checks of a task's essential containers say; None when there are none.
fn health(txn: &Txn, task: &Task) -> Option<Health> {
    if task.last_status() != TaskStatus::Running {
        return None;
    }
    let key = task_definition_key(&task.family, task.revision);
    let definition = txn.snapshot().get::<TaskDefinition>(&key)?;
    let checked: Vec<&str> = definition.template.checked().collect();
    (!checked.is_empty()).then(|| task.health(&checked))
}

/// The zones that the service's subnets are in, without those that are to be left.
fn zones(txn: &Txn, progress: &ServiceProgress, draining: &Draining) -> Vec<ZoneName> {
    let primary = progress.primary();
    let subnets = primary.map_or(&[][..], |primary| &primary.template.network.subnets);
    let found = subnets.iter().filter_map(|id| txn.snapshot().get::<Subnet>(id.as_str()));
    let zones = found.map(|subnet| subnet.zone.clone());
    let zones: BTreeSet<ZoneName> = zones.filter(|zone| !draining.zones.contains(zone)).collect();
    zones.into_iter().collect()
}

/// A target that a running task should be, and what was found of it.
struct Reached {
    group: String,
    port: u16,
    state: TargetState,
    reason: Option<String>,
}

impl Reached {
    fn seen(&self) -> TargetSeen<'_> {
        let reason = self.reason.as_deref();
        TargetSeen { group: &self.group, port: self.port, state: self.state, reason }
    }
}

/// What is known of a task's targets. Read without a guard: what is found later wakes us again.
fn reached(txn: &Txn, progress: &ServiceProgress, task: &Task) -> Vec<Reached> {
    let Some(interface) = &task.interface else { return Vec::new() };
    if task.last_status() != TaskStatus::Running {
        return Vec::new();
    }
    let by = task.started_by.as_deref();
    let mut all = progress.deployments.iter().chain(&progress.finished);
    let deployment = all.find(|known| Some(known.id.as_str()) == by);
    let links = deployment.map_or(&[][..], |known| &known.template.load_balancers);
    let id = interface.private_ip.to_string();
    let found = links.iter().map(|link| {
        let key = target_key(&link.group(), &id, link.container_port);
        let target = txn.snapshot().get::<Target>(&key);
        let target = target.filter(|target| target.task.as_ref() == Some(&task.id));
        let health = txn.snapshot().get::<TargetHealth>(&key);
        let (state, reason) = match (target, health) {
            // Somebody has taken it away by hand. Where the group is gone nothing can be said.
            (None, _) if txn.snapshot().get::<TargetGroup>(link.group().as_str()).is_none() => {
                (TargetState::Initial, None)
            }
            (None, _) => (TargetState::Unhealthy, Some(NOT_REGISTERED.to_owned())),
            (Some(target), _) if target.draining_since.is_some() => {
                (TargetState::Unhealthy, Some(DRAINING.to_owned()))
            }
            (Some(_), None) => (TargetState::Initial, None),
            (Some(_), Some(health)) => {
                (health.state, health.description.clone().or_else(|| health.reason.clone()))
            }
        };
        let group = link.target_group_arn.clone();
        Reached { group, port: link.container_port, state, reason }
    });
    found.collect()
}

/// Writes the tasks to start. Err: the definition that is missing.
fn start(
    cx: &Context,
    txn: &mut Txn,
    service: &Service,
    plan: &ServicePlan,
    tasks: &BTreeMap<Arc<str>, Arc<Task>>,
) -> Result<Vec<Arc<Task>>, String> {
    let mut started = Vec::with_capacity(plan.start.len());
    let mut alike: BTreeMap<(&DeploymentId, Option<&ZoneName>), Vec<TaskId>> = BTreeMap::new();
    for start in &plan.start {
        let kind = (&start.deployment, start.zone.as_ref());
        alike.entry(kind).or_default().push(start.task.clone());
    }
    for ((id, zone), ids) in alike {
        let found = plan.progress.deployments.iter().find(|known| known.id == *id);
        let Some(deployment) = found else { continue };
        let network = network(txn, &deployment.template, zone);
        started.extend(make(cx, txn, service, deployment, &network, ids, tasks)?);
    }
    for task in &started {
        txn.put_arc(Arc::clone(task));
    }
    Ok(started)
}

/// Where the tasks may be: anywhere in the service's subnets, or in those of one zone.
fn network(txn: &Txn, template: &ServiceTemplate, zone: Option<&ZoneName>) -> NetworkRequest {
    let mut network = template.network.clone();
    if let Some(zone) = zone {
        let there = |id: &SubnetId| {
            let subnet = txn.snapshot().get::<Subnet>(id.as_str());
            subnet.is_some_and(|subnet| subnet.zone == *zone)
        };
        network.subnets.retain(there);
    }
    network
}

fn make(
    cx: &Context,
    txn: &Txn,
    service: &Service,
    deployment: &Deployment,
    network: &NetworkRequest,
    ids: Vec<TaskId>,
    tasks: &BTreeMap<Arc<str>, Arc<Task>>,
) -> Result<Vec<Arc<Task>>, String> {
    let template = &deployment.template;
    let key = task_definition_key(&template.family, template.revision);
    let definition = txn.snapshot().get::<TaskDefinition>(&key).ok_or(key)?;
    let overrides = TaskOverrides::default();
    let tags = tags(service, &definition);
    let group = service.group();
    let draft = Draft {
        cluster: &service.cluster,
        family: &template.family,
        revision: template.revision,
        template: &definition.template,
        overrides: &overrides,
        overrides_document: &no_overrides(&definition),
        platform_version: &template.platform_version,
        group: &group,
        started_by: Some(deployment.id.as_str()),
        enable_execute_command: template.enable_execute_command,
        tags: &tags,
        network,
        target: target(template),
        now: cx.now(),
    };
    let providers = providers(template, tasks, ids.len());
    let mut mint = || cx.random();
    let pairs = ids.into_iter().zip(providers);
    let images = images(deployment, &definition);
    let tasks = pairs.map(|(id, provider)| {
        let task = draft.task(id, provider, &mut mint);
        Arc::new(Task { images: images.clone(), ..task })
    });
    Ok(tasks.collect())
}

/// The deployment's images, but for containers that find out anew each time.
fn images(deployment: &Deployment, definition: &TaskDefinition) -> BTreeMap<String, Digest> {
    let containers = definition.template.containers.iter().filter(|container| !container.unpinned);
    let settled = containers.filter_map(|container| {
        let digest = deployment.images.get(&container.name)?;
        Some((container.name.clone(), digest.clone()))
    });
    settled.collect()
}

/// What the echo of no overrides looks like: each container by its name.
fn no_overrides(definition: &TaskDefinition) -> Document {
    let containers = definition.template.containers.iter();
    let names: Vec<_> = containers.map(|c| serde_json::json!({ "name": c.name })).collect();
    let echo =
        serde_json::json!({ "containerOverrides": names, "inferenceAcceleratorOverrides": [] });
    Document::new(echo.to_string())
}

/// Whether something has to take its tasks up.
fn target(template: &ServiceTemplate) -> TargetFact {
    match template.load_balancers.is_empty() && template.registries.is_empty() {
        true => TargetFact::NotNeeded,
        false => TargetFact::Wanted,
    }
}

fn providers(
    template: &ServiceTemplate,
    tasks: &BTreeMap<Arc<str>, Arc<Task>>,
    count: usize,
) -> Vec<Option<String>> {
    if template.strategy.is_empty() {
        return vec![None; count];
    }
    let mut there = BTreeMap::new();
    for task in tasks.values().filter(|task| task.last_status() < TaskStatus::Deactivating) {
        if let Some(provider) = &task.capacity_provider {
            *there.entry(provider.clone()).or_insert(0) += 1;
        }
    }
    plan::strategy::assign(&template.strategy, &there, count).into_iter().map(Some).collect()
}

fn tags(service: &Service, definition: &TaskDefinition) -> Tags {
    let mut tags = match service.propagate_tags {
        None => Tags::new(),
        Some(PropagateTags::Service) => service.tags.clone(),
        Some(PropagateTags::TaskDefinition) => definition.tags.clone(),
    };
    if service.enable_managed_tags {
        tags.insert(TAG_CLUSTER.to_owned(), service.cluster.to_string());
        tags.insert(TAG_SERVICE.to_owned(), service.name.to_string());
    }
    tags
}
