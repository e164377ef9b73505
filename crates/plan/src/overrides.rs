//! What RunTask's overrides make of a task definition. Source: ECS API reference, TaskOverride and
//! ContainerOverride: a command replaces, environment variables are added or replace their
//! namesakes, sizes replace.

use model::task::{ContainerOverride, TaskOverrides};
use model::task_definition::{ContainerTemplate, TaskTemplate};

/// The template a task really runs. Overrides of containers that aren't there change nothing:
/// RunTask has refused them.
pub fn effective(template: &TaskTemplate, overrides: &TaskOverrides) -> TaskTemplate {
    let mut effective = template.clone();
    replace(&mut effective.cpu_units, overrides.cpu_units);
    replace(&mut effective.memory_mib, overrides.memory_mib);
    replace(&mut effective.ephemeral_storage_gib, overrides.ephemeral_storage_gib);
    if overrides.task_role_arn.is_some() {
        effective.task_role_arn.clone_from(&overrides.task_role_arn);
    }
    if overrides.execution_role_arn.is_some() {
        effective.execution_role_arn.clone_from(&overrides.execution_role_arn);
    }
    for change in &overrides.containers {
        if let Some(container) = effective.containers.iter_mut().find(|c| c.name == change.name) {
            apply(container, change);
        }
    }
    effective
}

fn apply(container: &mut ContainerTemplate, change: &ContainerOverride) {
    if change.command.is_some() {
        container.command.clone_from(&change.command);
    }
    for (name, value) in &change.environment {
        container.environment.insert(name.clone(), value.clone());
    }
    replace(&mut container.cpu_units, change.cpu_units);
    if change.memory_mib.is_some() {
        container.memory_mib = change.memory_mib;
    }
    if change.memory_reservation_mib.is_some() {
        container.memory_reservation_mib = change.memory_reservation_mib;
    }
}

fn replace(value: &mut u32, with: Option<u32>) {
    *value = with.unwrap_or(*value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn template() -> TaskTemplate {
        let container = |name: &str| ContainerTemplate {
            name: name.to_owned(),
            command: Some(vec!["serve".to_owned()]),
            environment: environment(&[("A", "1"), ("B", "2")]),
            memory_mib: Some(256),
            ..ContainerTemplate::default()
        };
        TaskTemplate {
            cpu_units: 256,
            memory_mib: 512,
            task_role_arn: Some("role".to_owned()),
            containers: vec![container("app"), container("side")],
            ..TaskTemplate::default()
        }
    }

    #[test]
    fn no_overrides_change_nothing() {
        assert_eq!(effective(&template(), &TaskOverrides::default()), template());
    }

    #[test]
    fn a_command_replaces_and_an_environment_is_merged_by_name() {
        let change = ContainerOverride {
            name: "app".to_owned(),
            command: Some(vec!["once".to_owned()]),
            environment: environment(&[("B", "3"), ("C", "4")]),
            memory_reservation_mib: Some(64),
            ..ContainerOverride::default()
        };
        let overrides = TaskOverrides {
            containers: vec![change],
            memory_mib: Some(1024),
            ..TaskOverrides::default()
        };
        let got = effective(&template(), &overrides);
        assert_eq!((got.cpu_units, got.memory_mib), (256, 1024));
        assert_eq!(got.task_role_arn.as_deref(), Some("role"));
        assert_eq!(got.containers[0].command, Some(vec!["once".to_owned()]));
        let merged = environment(&[("A", "1"), ("B", "3"), ("C", "4")]);
        assert_eq!(got.containers[0].environment, merged);
        assert_eq!(got.containers[0].memory_mib, Some(256));
        assert_eq!(got.containers[0].memory_reservation_mib, Some(64));
        assert_eq!(got.containers[1], template().containers[1]);
    }
}
