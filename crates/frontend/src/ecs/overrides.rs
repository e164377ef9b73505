//! RunTask's overrides: checked against the definition, taken over into the model, and kept as they
//! will be echoed. Source: API reference, TaskOverride and ContainerOverride.

use super::definition::template::pairs;
use super::size;
use crate::fault::{Fault, client, invalid_parameter};
use model::Document;
use model::limits::OVERRIDES_BYTES_MAX;
use model::task::{ContainerOverride, TaskOverrides};
use model::task_definition::TaskTemplate;
use wire::ecs;

/// Sizes of ephemeral storage that may be asked for, in GiB.
const EPHEMERAL_STORAGE_GIB: std::ops::RangeInclusive<i32> = 21..=200;

/// What the task is made with, and what will be echoed.
pub fn read(
    given: Option<ecs::TaskOverride>,
    template: &TaskTemplate,
) -> Result<(TaskOverrides, Document), Fault> {
    let given = given.unwrap_or_default();
    check(&given, template)?;
    let json = serde_json::to_string(&given).expect("wire types have string keys only");
    if json.len() > OVERRIDES_BYTES_MAX {
        return Err(invalid_parameter("Container Overrides length must be at most 8192"));
    }
    let parse = |text: Option<&str>, parse: fn(&str) -> Option<u32>, what: &str| match text {
        None => Ok(None),
        Some(text) => match parse(text) {
            None => Err(client(format!("Invalid '{what}' setting for task."))),
            some => Ok(some),
        },
    };
    let overrides = TaskOverrides {
        cpu_units: parse(given.cpu.as_deref(), size::parse_cpu_units, "cpu")?,
        memory_mib: parse(given.memory.as_deref(), size::parse_memory_mib, "memory")?,
        ephemeral_storage_gib: storage(given.ephemeral_storage.as_ref())?,
        task_role_arn: given.task_role_arn.clone(),
        execution_role_arn: given.execution_role_arn.clone(),
        containers: given.container_overrides.iter().flatten().filter_map(container).collect(),
    };
    let document = echo(given, template);
    Ok((overrides, document))
}

/// The task that comes out of it must still be one that Fargate has.
pub fn check_effective(effective: &TaskTemplate) -> Result<(), Fault> {
    if !size::exists(effective.cpu_units, effective.memory_mib) {
        return Err(client("No Fargate configuration exists for given values."));
    }
    let cpu: u64 = effective.containers.iter().map(|c| u64::from(c.cpu_units)).sum();
    if cpu > u64::from(effective.cpu_units) {
        return Err(client(
            "The sum of all container 'cpu' values cannot be greater than the value of the task \
             'cpu'.",
        ));
    }
    for container in &effective.containers {
        let (hard, soft) = (container.memory_mib, container.memory_reservation_mib);
        if hard.max(soft).is_some_and(|mib| mib > effective.memory_mib) {
            return Err(client(format!(
                "The 'memory' setting for container '{}' is greater than for the task.",
                container.name
            )));
        }
        if let (Some(hard), Some(soft)) = (hard, soft)
            && hard < soft
        {
            return Err(client(format!(
                "Invalid setting for container '{}'. 'memory' must be greater than or equal to \
                 'memoryReservation'.",
                container.name
            )));
        }
    }
    Ok(())
}

fn check(given: &ecs::TaskOverride, template: &TaskTemplate) -> Result<(), Fault> {
    if given.inference_accelerator_overrides.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(invalid_parameter("Unsupported field 'inferenceAcceleratorOverrides'"));
    }
    for change in given.container_overrides.iter().flatten() {
        let Some(name) = change.name.as_deref() else {
            // An empty override is allowed and changes nothing. Source: API reference.
            if *change == ecs::ContainerOverride::default() {
                continue;
            }
            return Err(invalid_parameter(
                "Container name in container overrides can not be blank.",
            ));
        };
        if !template.containers.iter().any(|container| container.name == name) {
            return Err(invalid_parameter(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            )));
        }
        let refused = [
            (change.environment_files.as_ref().is_some_and(|l| !l.is_empty()), "environmentFiles"),
            (
                change.resource_requirements.as_ref().is_some_and(|l| !l.is_empty()),
                "resourceRequirements",
            ),
        ];
        if let Some((_, field)) = refused.iter().find(|(set, _)| *set) {
            return Err(client(format!("Neargate does not support {field} in overrides yet")));
        }
        let sizes = [change.cpu, change.memory, change.memory_reservation];
        if sizes.into_iter().flatten().any(|value| value < 0) {
            return Err(invalid_parameter(format!(
                "Sizes in the override for container named {name} must not be negative."
            )));
        }
    }
    Ok(())
}

fn storage(given: Option<&ecs::EphemeralStorage>) -> Result<Option<u32>, Fault> {
    match given.and_then(|storage| storage.size_in_gib) {
        None => Ok(None),
        Some(gib) if gib < *EPHEMERAL_STORAGE_GIB.start() => {
            Err(client("EphemeralStorage size should be at least 21"))
        }
        Some(gib) if gib > *EPHEMERAL_STORAGE_GIB.end() => {
            Err(client("EphemeralStorage size should be at most 200"))
        }
        Some(gib) => Ok(u32::try_from(gib).ok()),
    }
}

fn container(given: &ecs::ContainerOverride) -> Option<ContainerOverride> {
    let unsigned = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    Some(ContainerOverride {
        name: given.name.clone()?,
        command: given.command.clone().filter(|list| !list.is_empty()),
        environment: pairs(given.environment.as_deref()),
        cpu_units: unsigned(given.cpu),
        memory_mib: unsigned(given.memory),
        memory_reservation_mib: unsigned(given.memory_reservation),
    })
}

/// Every container is named in the echo, whether or not it was overridden.
fn echo(mut given: ecs::TaskOverride, template: &TaskTemplate) -> Document {
    let changes = given.container_overrides.get_or_insert_default();
    changes.retain(|change| change.name.is_some());
    for container in &template.containers {
        if !changes.iter().any(|change| change.name.as_deref() == Some(&container.name)) {
            let name = Some(container.name.clone());
            changes.push(ecs::ContainerOverride { name, ..Default::default() });
        }
    }
    given.inference_accelerator_overrides.get_or_insert_default();
    let json = serde_json::to_string(&given).expect("wire types have string keys only");
    Document::new(json)
}
