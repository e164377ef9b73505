//! How a task is shown. Its status is derived from its facts (`model::facts`); here they only get
//! AWS's names and shape.

use super::time;
use crate::context::Context;
use crate::tagging;
use model::AttachmentId;
use model::container::{ContainerPhase, ContainerState};
use model::facts::{Desired, InterfaceFact};
use model::task::Task;
use model::task_definition::{TaskDefinition, TaskTemplate};
use std::sync::Arc;
use store::Snapshot;
use store::kinds::task_definition_key;
use wire::ecs;

/// The definition a task was made of. It is there as long as the task is.
pub fn template(snapshot: &Snapshot, task: &Task) -> Option<Arc<TaskTemplate>> {
    let key = task_definition_key(&task.family, task.revision);
    let definition = snapshot.get::<TaskDefinition>(&key)?;
    Some(Arc::clone(&definition.template))
}

pub fn show(cx: &Context, snapshot: &Snapshot, task: &Task, with_tags: bool) -> ecs::Task {
    let template = template(snapshot, task);
    let template = template.as_deref();
    let arn = cx.locality.task(&task.cluster, &task.id);
    let attachment = AttachmentId::of_task(&task.id).to_string();
    let containers = task.containers.iter();
    let containers = containers.map(|c| container(cx, task, c, template, &arn, &attachment));
    let at = |time: Option<model::Timestamp>| time.map(super::time);
    ecs::Task {
        attachments: Some(attachments(task, &attachment)),
        attributes: Some(vec![ecs::Attribute {
            name: Some("ecs.cpu-architecture".to_owned()),
            value: Some(task.cpu_architecture.to_ascii_lowercase()),
            ..Default::default()
        }]),
        availability_zone: task.facts.placed.as_ref().map(|placed| placed.zone.to_string()),
        capacity_provider_name: task.capacity_provider.clone(),
        cluster_arn: Some(cx.locality.cluster(&task.cluster)),
        connectivity: task.connectivity_at.map(|_| ecs::Connectivity::Connected),
        connectivity_at: at(task.connectivity_at),
        containers: Some(containers.collect()),
        cpu: Some(task.cpu_units.to_string()),
        created_at: Some(time(task.created_at)),
        desired_status: Some(desired(task.facts.desired_status()).to_owned()),
        enable_execute_command: Some(task.enable_execute_command),
        ephemeral_storage: Some(ecs::EphemeralStorage {
            size_in_gib: i32::try_from(task.ephemeral_storage_gib).ok(),
        }),
        execution_stopped_at: at(task.execution_stopped_at),
        fargate_ephemeral_storage: Some(ecs::TaskEphemeralStorage {
            size_in_gib: i32::try_from(task.ephemeral_storage_gib).ok(),
            ..Default::default()
        }),
        group: Some(task.group.clone()),
        health_status: Some(task.health(&checked(template)).as_str().into()),
        inference_accelerators: Some(Vec::new()),
        last_status: Some(task.last_status().as_str().to_owned()),
        launch_type: Some(task.launch_type.as_deref().unwrap_or("FARGATE").into()),
        memory: Some(task.memory_mib.to_string()),
        overrides: serde_json::from_str(task.overrides_document.as_str()).ok(),
        platform_family: Some("Linux".to_owned()),
        platform_version: Some(task.platform_version.clone()),
        pull_started_at: at(task.pull_started_at),
        pull_stopped_at: at(task.pull_stopped_at),
        started_at: at(task.started_at),
        started_by: task.started_by.clone(),
        stop_code: task.stop.as_ref().map(|stop| stop.code.as_str().into()),
        stopped_at: at(task.stopped_at),
        stopped_reason: task.stop.as_ref().map(|stop| stop.reason.clone()),
        stopping_at: at(task.stopping_at),
        tags: Some(if with_tags { tagging::show(&task.tags) } else { Vec::new() }),
        task_arn: Some(arn),
        task_definition_arn: Some(cx.locality.task_definition(&task.family, task.revision)),
        version: i64::try_from(task.version).ok(),
        container_instance_arn: None,
    }
}

pub fn desired(desired: Desired) -> &'static str {
    match desired {
        Desired::Running => "RUNNING",
        Desired::Stopped => "STOPPED",
    }
}

/// The essential containers with a health check: a task's health is theirs.
fn checked(template: Option<&TaskTemplate>) -> Vec<&str> {
    template.into_iter().flat_map(TaskTemplate::checked).collect()
}

/// Source: API reference, Attachment (status).
fn attachment_status(task: &Task) -> &'static str {
    let never_placed = task.facts.placed.is_none() && task.stopped_at.is_some();
    match task.facts.interface {
        _ if never_placed => "DELETED",
        InterfaceFact::Released => "DELETED",
        InterfaceFact::Attached => "ATTACHED",
        InterfaceFact::Wanted if task.facts.placed.is_some() => "ATTACHING",
        InterfaceFact::Wanted | InterfaceFact::NotNeeded => "PRECREATED",
    }
}

fn attachments(task: &Task, id: &str) -> Vec<ecs::Attachment> {
    if task.facts.interface == InterfaceFact::NotNeeded {
        return Vec::new();
    }
    let detail = |name: &str, value: &str| ecs::KeyValuePair {
        name: Some(name.to_owned()),
        value: Some(value.to_owned()),
    };
    let details = match (&task.interface, task.network.subnets.as_slice()) {
        (Some(interface), _) => vec![
            detail("subnetId", interface.subnet.as_str()),
            detail("networkInterfaceId", interface.interface.as_str()),
            detail("macAddress", &interface.mac),
            detail("privateDnsName", &interface.private_dns_name),
            detail("privateIPv4Address", &interface.private_ip.to_string()),
        ],
        (None, [subnet]) => vec![detail("subnetId", subnet.as_str())],
        // Which of several it will be is decided with the task's place.
        (None, _) => Vec::new(),
    };
    vec![ecs::Attachment {
        id: Some(id.to_owned()),
        r#type: Some("ElasticNetworkInterface".to_owned()),
        status: Some(attachment_status(task).to_owned()),
        details: Some(details),
    }]
}

fn container(
    cx: &Context,
    task: &Task,
    state: &ContainerState,
    template: Option<&TaskTemplate>,
    task_arn: &str,
    attachment: &str,
) -> ecs::Container {
    let template = template.and_then(|t| t.containers.iter().find(|c| c.name == state.name));
    let change = task.overrides.containers.iter().find(|c| c.name == state.name);
    let cpu = change.and_then(|c| c.cpu_units).or(template.map(|c| c.cpu_units)).unwrap_or(0);
    let memory = change.and_then(|c| c.memory_mib).or(template.and_then(|c| c.memory_mib));
    let reservation = change
        .and_then(|c| c.memory_reservation_mib)
        .or(template.and_then(|c| c.memory_reservation_mib));
    let interface = task.interface.as_ref().map(|interface| ecs::NetworkInterface {
        attachment_id: Some(attachment.to_owned()),
        private_ipv4_address: Some(interface.private_ip.to_string()),
        ..Default::default()
    });
    ecs::Container {
        container_arn: Some(cx.locality.container(&task.cluster, &task.id, &state.id)),
        task_arn: Some(task_arn.to_owned()),
        name: Some(state.name.clone()),
        image: template.map(|c| c.image.clone()),
        image_digest: state.image_digest.as_ref().map(ToString::to_string),
        runtime_id: Some(state.runtime_id.clone()),
        last_status: Some(state.phase.as_str().to_owned()),
        exit_code: state.exit_code.filter(|_| state.phase == ContainerPhase::Stopped),
        // ECS has no word for why a task waits for its place; here it may wait for long.
        reason: state.reason.clone().or_else(|| task.waiting.clone()),
        network_bindings: Some(Vec::new()),
        network_interfaces: Some(interface.into_iter().collect()),
        health_status: Some(state.health.as_str().into()),
        cpu: Some(cpu.to_string()),
        memory: memory.map(|mib| mib.to_string()),
        memory_reservation: reservation.map(|mib| mib.to_string()),
        ..Default::default()
    }
}
