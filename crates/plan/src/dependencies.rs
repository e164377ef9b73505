//! Whether the containers of a task definition can all start in some order. RegisterTaskDefinition
//! refuses what can't, so that a task's plan need not expect it.

use model::task_definition::{ContainerTemplate, DependencyCondition, TaskTemplate};

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DependencyFault {
    #[error("container '{container}' depends on '{dependency}', which is no container of the task")]
    Unknown { container: String, dependency: String },
    #[error("container '{container}' depends on itself")]
    Itself { container: String },
    #[error("the dependencies of container '{container}' lead back to it")]
    Cycle { container: String },
    #[error(
        "container '{container}' waits for the end of '{dependency}', which is essential: the task \
         would end with it"
    )]
    EndOfEssential { container: String, dependency: String },
    #[error(
        "container '{container}' waits for '{dependency}' to be healthy, which has no health check"
    )]
    NoHealthCheck { container: String, dependency: String },
}

/// Looks at `dependsOn` and at `volumesFrom`, whose source must be there first as well.
pub fn check_dependencies(template: &TaskTemplate) -> Result<(), DependencyFault> {
    for container in &template.containers {
        for dependency in &container.depends_on {
            let on = find(template, container, &dependency.container)?;
            check_condition(container, on, dependency.condition)?;
        }
        for source in &container.volumes_from {
            find(template, container, &source.container)?;
        }
    }
    check_order(template)
}

fn find<'a>(
    template: &'a TaskTemplate,
    container: &ContainerTemplate,
    dependency: &str,
) -> Result<&'a ContainerTemplate, DependencyFault> {
    if container.name == dependency {
        return Err(DependencyFault::Itself { container: container.name.clone() });
    }
    template.containers.iter().find(|c| c.name == dependency).ok_or_else(|| {
        DependencyFault::Unknown {
            container: container.name.clone(),
            dependency: dependency.to_owned(),
        }
    })
}

fn check_condition(
    container: &ContainerTemplate,
    on: &ContainerTemplate,
    condition: DependencyCondition,
) -> Result<(), DependencyFault> {
    let names = || (container.name.clone(), on.name.clone());
    match condition {
        DependencyCondition::Complete | DependencyCondition::Success if on.essential => {
            let (container, dependency) = names();
            Err(DependencyFault::EndOfEssential { container, dependency })
        }
        DependencyCondition::Healthy if on.health_check.is_none() => {
            let (container, dependency) = names();
            Err(DependencyFault::NoHealthCheck { container, dependency })
        }
        _ => Ok(()),
    }
}

/// Takes away what depends on nothing that is left, until nothing can be taken away.
fn check_order(template: &TaskTemplate) -> Result<(), DependencyFault> {
    let mut left: Vec<&ContainerTemplate> = template.containers.iter().collect();
    loop {
        let (blocked, free): (Vec<_>, Vec<_>) =
            left.iter().copied().partition(|c| needs(c).any(|n| left.iter().any(|l| l.name == n)));
        match (blocked.first(), free.is_empty()) {
            (None, _) => return Ok(()),
            (Some(first), true) => {
                return Err(DependencyFault::Cycle { container: first.name.clone() });
            }
            (Some(_), false) => left = blocked,
        }
    }
}

/// Whom a container needs before it can start.
fn needs(container: &ContainerTemplate) -> impl Iterator<Item = &str> {
    let started = container.depends_on.iter().map(|d| d.container.as_str());
    started.chain(container.volumes_from.iter().map(|v| v.container.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::task_definition::{Dependency, HealthCheck, VolumeFrom};

    fn task(edges: &[(&str, &str, DependencyCondition)], essential: &[&str]) -> TaskTemplate {
        let container = |name: &str| ContainerTemplate {
            name: name.to_owned(),
            essential: essential.contains(&name),
            depends_on: edges
                .iter()
                .filter(|(from, _, _)| *from == name)
                .map(|(_, to, condition)| Dependency {
                    container: (*to).to_owned(),
                    condition: *condition,
                })
                .collect(),
            ..ContainerTemplate::default()
        };
        TaskTemplate {
            containers: ["a", "b", "c"].map(container).to_vec(),
            ..TaskTemplate::default()
        }
    }

    #[test]
    fn a_chain_and_a_diamond_are_fine() {
        use DependencyCondition::{Complete, Start, Success};
        assert_eq!(check_dependencies(&task(&[], &["a"])), Ok(()));
        let chain = task(&[("a", "b", Start), ("b", "c", Success)], &["a"]);
        assert_eq!(check_dependencies(&chain), Ok(()));
        let both = task(&[("a", "b", Complete), ("a", "c", Start), ("b", "c", Start)], &["a"]);
        assert_eq!(check_dependencies(&both), Ok(()));
    }

    #[test]
    fn what_can_never_start_is_refused() {
        use DependencyCondition::{Complete, Healthy, Start};
        let fault = |edges: &[_]| check_dependencies(&task(edges, &["a"])).expect_err("refused");
        assert!(matches!(fault(&[("a", "x", Start)]), DependencyFault::Unknown { .. }));
        assert!(matches!(fault(&[("a", "a", Start)]), DependencyFault::Itself { .. }));
        let cycle = [("a", "b", Start), ("b", "c", Start), ("c", "a", Start)];
        assert!(matches!(fault(&cycle), DependencyFault::Cycle { .. }));
        assert!(matches!(fault(&[("b", "a", Complete)]), DependencyFault::EndOfEssential { .. }));
        assert!(matches!(fault(&[("a", "b", Healthy)]), DependencyFault::NoHealthCheck { .. }));
    }

    #[test]
    fn a_cycle_through_volumes_is_a_cycle() {
        let mut template = task(&[("a", "b", DependencyCondition::Start)], &["a"]);
        template.containers[1].volumes_from =
            vec![VolumeFrom { container: "a".to_owned(), read_only: false }];
        let fault = check_dependencies(&template).expect_err("refused");
        assert_eq!(fault, DependencyFault::Cycle { container: "a".to_owned() });
    }

    #[test]
    fn a_health_check_makes_healthy_possible() {
        let mut template = task(&[("a", "b", DependencyCondition::Healthy)], &["a"]);
        template.containers[1].health_check = Some(HealthCheck {
            command: vec!["CMD".to_owned(), "true".to_owned()],
            interval_seconds: 30,
            timeout_seconds: 5,
            retries: 3,
            start_period_seconds: 0,
        });
        assert_eq!(check_dependencies(&template), Ok(()));
    }
}
