//! Which tasks an instance should have, sent whole at first and after a gap, and as changes
//! otherwise. An agent is told of a task anew only when what it must do about it changes: that it
//! is there, that it must stop.

use crate::Context;
use crate::follow::{Follow, Step};
use crate::session::networks::Networks;
use crate::session::{keys, secrets};
use model::container::ContainerState;
use model::facts::{ContainersFact, Desired, TaskStatus};
use model::network::{Subnet, Vpc};
use model::session::{AssignedSubnet, Assignment, Inside, ToAgent};
use model::task::Task;
use model::task_definition::{TaskDefinition, TaskTemplate};
use model::{Digest, InstanceId, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Snapshot;
use store::kinds::task_definition_key;
use tokio::sync::{Notify, mpsc};

/// What has been sent, by the task's key.
#[derive(Default)]
struct Sent {
    sequence: u64,
    tasks: BTreeMap<Arc<str>, Arc<Assignment>>,
}

/// Returns when the session or the store is over.
pub async fn keep_sending(
    cx: &Context,
    instance: &InstanceId,
    resync: &Notify,
    outbox: &mpsc::Sender<ToAgent>,
) {
    let mut follow = Follow::<Task>::new(&cx.store);
    let mut sent = Sent::default();
    let mut networks = Networks::new(instance);
    loop {
        let message = tokio::select! {
            step = follow.next() => match step {
                Ok(Step::Everything(snapshot)) => Some(sent.everything(cx, instance, &snapshot)),
                Ok(Step::Changes(changes)) => sent.changes(cx, instance, changes),
                Err(_) => return,
            },
            () = resync.notified() => {
                networks = Networks::new(instance);
                Some(sent.whole())
            }
            () = networks.may_differ(cx) => None,
        };
        // A task's interface is told before the task.
        let Ok(tables) = networks.news(cx) else { return };
        for table in tables {
            if outbox.send(table).await.is_err() {
                return;
            }
        }
        if let Some(message) = message
            && outbox.send(message).await.is_err()
        {
            return;
        }
    }
}

impl Sent {
    fn everything(&mut self, cx: &Context, instance: &InstanceId, snapshot: &Snapshot) -> ToAgent {
        self.tasks.clear();
        for (key, task) in snapshot.scan::<Task>("") {
            if concerns(&task, instance) {
                self.tasks.insert(Arc::from(key), Arc::new(assign(cx, snapshot, &task)));
            }
        }
        self.whole()
    }

    fn whole(&mut self) -> ToAgent {
        self.sequence += 1;
        let tasks = self.tasks.values().map(Arc::clone).collect();
        ToAgent::Assignments { sequence: self.sequence, tasks }
    }

    fn changes(
        &mut self,
        cx: &Context,
        instance: &InstanceId,
        changes: Vec<(Arc<str>, Option<Arc<Task>>)>,
    ) -> Option<ToAgent> {
        let mut upsert = BTreeMap::new();
        let mut remove = BTreeMap::<Arc<str>, TaskId>::new();
        let mut snapshot = None;
        for (key, task) in changes {
            let task = task.filter(|task| concerns(task, instance));
            let known = self.tasks.get(&key);
            match (task, known) {
                (Some(task), Some(known))
                    if known.desired == task.facts.told() && known.inside.tags == task.tags => {}
                (Some(task), _) => {
                    let snapshot = snapshot.get_or_insert_with(|| cx.store.snapshot());
                    let mut assignment = assign(cx, snapshot, &task);
                    if let Some(known) = known {
                        // ECS: a task keeps the values it was started with.
                        assignment.secrets.clone_from(&known.secrets);
                        assignment.registry_credentials.clone_from(&known.registry_credentials);
                    }
                    let assignment = Arc::new(assignment);
                    self.tasks.insert(Arc::clone(&key), Arc::clone(&assignment));
                    upsert.insert(key, assignment);
                }
                (None, Some(known)) => {
                    remove.insert(Arc::clone(&key), known.task.clone());
                    upsert.remove(&key);
                    self.tasks.remove(&key);
                }
                (None, None) => {}
            }
        }
        if upsert.is_empty() && remove.is_empty() {
            return None;
        }
        self.sequence += 1;
        let (upsert, remove) = (upsert.into_values().collect(), remove.into_values().collect());
        Some(ToAgent::Changes { sequence: self.sequence, upsert, remove })
    }
}

fn concerns(task: &Task, instance: &InstanceId) -> bool {
    task.facts.placed.as_ref().is_some_and(|placed| placed.instance == *instance)
        && task.last_status() != TaskStatus::Stopped
}

fn assign(cx: &Context, snapshot: &Snapshot, task: &Task) -> Assignment {
    let definition =
        snapshot.get::<TaskDefinition>(&task_definition_key(&task.family, task.revision));
    let mut template = definition.as_ref().map(|d| plan::effective(&d.template, &task.overrides));
    for container in template.iter_mut().flat_map(|template| &mut template.containers) {
        if let Some(digest) = task.images.get(&container.name) {
            container.image = settled(&container.image, digest);
        }
    }
    let mut resolved = secrets::Resolved::default();
    let start_failure = match &template {
        None => Some("ResourceInitializationError: the task definition is gone".to_owned()),
        // What is ending needs no secrets any more.
        Some(_) if task.facts.desired == Desired::Stopped => None,
        Some(TaskTemplate { unhonoured: Some(field), .. }) => Some(format!(
            "ResourceInitializationError: Neargate does not support {field} yet, and the task \
             would not run as defined without it"
        )),
        Some(template) => match secrets::resolve(cx, snapshot, template) {
            Ok(found) => {
                resolved = found;
                missing_log_group(snapshot, template)
            }
            Err(why) => Some(why),
        },
    };
    Assignment {
        task: task.id.clone(),
        cluster: task.cluster.clone(),
        task_arn: cx.locality.task(&task.cluster, &task.id),
        cluster_arn: cx.locality.cluster(&task.cluster),
        family: task.family.clone(),
        revision: task.revision,
        // Not before its targets are gone: requests may still be on their way to it.
        desired: task.facts.told(),
        template: Arc::new(template.unwrap_or_default()),
        container_ids: task.containers.iter().map(|c| c.id.clone()).collect(),
        interface: task.interface.clone(),
        subnet: assigned_subnet(snapshot, task),
        containers_fact: task.facts.containers,
        start_failure: start_failure.filter(|_| {
            task.facts.desired == Desired::Running
                && task.facts.containers == ContainersFact::Unseen
        }),
        registry_credentials: resolved.registry_credentials,
        secrets: resolved.environment,
        launch_type: task.launch_type.clone(),
        zone: task.facts.placed.as_ref().map_or_else(|| cx.zone.clone(), |p| p.zone.clone()),
        region: cx.locality.region.to_string(),
        inside: inside(cx, snapshot, task),
    }
}

/// An image by its digest, in the same repository.
fn settled(image: &str, digest: &Digest) -> String {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    format!("{name}@{digest}")
}

fn inside(cx: &Context, snapshot: &Snapshot, task: &Task) -> Inside {
    let arn = |c: &ContainerState| cx.locality.container(&task.cluster, &task.id, &c.id);
    let zone = task.facts.placed.as_ref().map_or_else(|| cx.zone.clone(), |p| p.zone.clone());
    Inside {
        runtime_ids: task.containers.iter().map(|c| c.runtime_id.clone()).collect(),
        container_arns: task.containers.iter().map(arn).collect(),
        credentials: keys::role(snapshot, task).map(|_| keys::path(cx, &task.id)),
        // ECS: a service's tasks are of a group named after it.
        service_name: task.group.strip_prefix("service:").map(str::to_owned),
        tags: task.tags.clone(),
        zone_id: cx.locality.zone_id(zone.as_str()),
    }
}

/// ECS: developer guide, stopped-tasks-error-messages (ResourceInitializationError).
fn missing_log_group(snapshot: &Snapshot, template: &TaskTemplate) -> Option<String> {
    let logs = template.containers.iter().filter_map(|container| container.log.as_ref());
    let mut missing = logs.filter(|log| {
        !log.create_group && snapshot.get::<model::logs::LogGroup>(&log.group).is_none()
    });
    missing.next().map(|log| {
        format!(
            "ResourceInitializationError: failed to validate logger args: The task cannot find \
             the Amazon CloudWatch log group defined in the task definition. There is no log \
             group named {} in region {}.",
            log.group, log.region
        )
    })
}

fn assigned_subnet(snapshot: &Snapshot, task: &Task) -> Option<AssignedSubnet> {
    let interface = task.interface.as_ref()?;
    let subnet = snapshot.get::<Subnet>(interface.subnet.as_str())?;
    let vpc = snapshot.get::<Vpc>(interface.vpc.as_str())?;
    // AWS: the second address of a subnet is its router's.
    let gateway = subnet.cidr.nth(1)?;
    let siblings = snapshot.scan::<Subnet>("").filter(|(_, other)| other.vpc == subnet.vpc);
    let vpc_subnets = siblings.map(|(_, other)| other.cidr).collect();
    Some(AssignedSubnet { vpc_cidr: vpc.cidr, cidr: subnet.cidr, gateway, vpc_subnets })
}
