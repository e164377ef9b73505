//! Which events the change of a record is. A function of the record before and after: whoever
//! follows the records writes what comes of it. Source: ECS developer guide, ecs_task_events,
//! ecs_service_events, ecs_service_deployment_events.

use model::event::{EventLevel, Happening};
use model::service::{Deployment, Rollout, ServiceProgress};
use model::task::Task;
use std::sync::Arc;

/// Something that happened, and what of the record it tells of: told once is enough.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    pub subject: String,
    pub happening: Happening,
}

/// A task's event, if its status, what is wanted of it or a container of it has changed.
pub fn of_task(before: Option<&Task>, now: &Arc<Task>) -> Option<Told> {
    let containers = |task: &Task| -> Vec<_> {
        task.containers.iter().map(|it| (it.name.clone(), it.phase, it.health)).collect()
    };
    let seen = |task: &Task| (task.last_status(), task.facts.desired, containers(task));
    if before.is_some_and(|before| seen(before) == seen(now)) {
        return None;
    }
    let subject = format!("{}/{}#{}", now.cluster, now.id, now.version);
    Some(Told { subject, happening: Happening::Task(Arc::clone(now)) })
}

/// A service's events, the oldest first: what its own events say, and how its deployments go.
pub fn of_service(before: Option<&ServiceProgress>, now: &ServiceProgress) -> Vec<Told> {
    let known =
        |id: &str| before.is_some_and(|before| before.events.iter().any(|event| event.id == id));
    let mut told = Vec::new();
    for deployment in now.finished.iter().chain(&now.deployments) {
        let rollout = |progress: &ServiceProgress| {
            let mut all = progress.deployments.iter().chain(&progress.finished);
            all.find(|known| known.id == deployment.id).map(|known| known.rollout)
        };
        if before.and_then(rollout) != Some(deployment.rollout) {
            told.push(of_deployment(now, deployment));
        }
    }
    for event in now.events.iter().rev().filter(|event| !known(&event.id)) {
        if let Some((name, level)) = action(&event.message) {
            let happening = Happening::ServiceAction {
                cluster: now.cluster.clone(),
                service: now.name.clone(),
                name: name.to_owned(),
                level,
                reason: event.message.clone(),
            };
            told.push(Told { subject: event.id.clone(), happening });
        }
    }
    told
}

fn of_deployment(progress: &ServiceProgress, deployment: &Deployment) -> Told {
    let (name, level) = match deployment.rollout {
        Rollout::InProgress => ("SERVICE_DEPLOYMENT_IN_PROGRESS", EventLevel::Info),
        Rollout::Completed => ("SERVICE_DEPLOYMENT_COMPLETED", EventLevel::Info),
        Rollout::Failed => ("SERVICE_DEPLOYMENT_FAILED", EventLevel::Error),
    };
    let happening = Happening::Deployment {
        cluster: progress.cluster.clone(),
        service: progress.name.clone(),
        deployment: deployment.id.clone(),
        name: name.to_owned(),
        level,
        reason: deployment.rollout_reason.clone(),
        updated_at: deployment.updated_at,
    };
    Told { subject: format!("{}#{name}", deployment.id), happening }
}

/// What of a service's own events EventBridge is told, by the words they are made of.
fn action(message: &str) -> Option<(&'static str, EventLevel)> {
    const ACTIONS: [(&str, &str, EventLevel); 5] = [
        ("has reached a steady state", "SERVICE_STEADY_STATE", EventLevel::Info),
        ("unable to consistently start tasks", "SERVICE_TASK_START_IMPAIRED", EventLevel::Warn),
        ("was unable to place a task", "SERVICE_TASK_PLACEMENT_FAILURE", EventLevel::Error),
        (
            "because of the service deployment configuration",
            "SERVICE_TASK_CONFIGURATION_FAILURE",
            EventLevel::Error,
        ),
        ("is unhealthy in (target-group", "TASK_TARGET_UNHEALTHY", EventLevel::Warn),
    ];
    let mut all = ACTIONS.iter();
    all.find(|(words, ..)| message.contains(words)).map(|(_, name, level)| (*name, *level))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::service::{ServiceEvent, ServiceTemplate};
    use model::task::NetworkRequest;
    use model::{DeploymentId, TaskDefinitionRevision, Timestamp};
    use std::collections::{BTreeMap, BTreeSet};

    fn deployment(rollout: Rollout) -> Deployment {
        let template = ServiceTemplate {
            family: "web".into(),
            revision: TaskDefinitionRevision(1),
            launch_type: None,
            strategy: Vec::new(),
            platform_version: "1.4.0".to_owned(),
            network: NetworkRequest::default(),
            enable_execute_command: false,
            load_balancers: Vec::new(),
            registries: Vec::new(),
            connect: None,
        };
        Deployment {
            id: DeploymentId::mint(1),
            revision_number: 1,
            template: Arc::new(template),
            rollout,
            rollout_reason: "because".to_owned(),
            was_completed: false,
            failed_tasks: 0,
            failed_in_a_row: 0,
            last_failure_at: None,
            counted: BTreeSet::new(),
            created_at: Timestamp(0),
            updated_at: Timestamp(7),
            finished_at: None,
            rolled_back_to: None,
            images: BTreeMap::new(),
        }
    }

    fn progress(rollout: Rollout, messages: &[&str]) -> ServiceProgress {
        let event = |message: &&str| ServiceEvent {
            id: format!("id of {message}"),
            at: Timestamp(0),
            message: (*message).to_owned(),
        };
        ServiceProgress {
            name: "web".into(),
            cluster: "default".into(),
            generation: 1,
            deployments: vec![deployment(rollout)],
            finished: Vec::new(),
            events: messages.iter().map(event).collect(),
            steady: false,
            targets_told: BTreeMap::new(),
            rebalance: None,
            rebalanced_at: None,
            inactive_at: None,
        }
    }

    fn names(told: &[Told]) -> Vec<String> {
        let name = |told: &Told| match &told.happening {
            Happening::Task(_) => panic!("no task is told of"),
            Happening::ServiceAction { name, .. } | Happening::Deployment { name, .. } => {
                name.clone()
            }
        };
        told.iter().map(name).collect()
    }

    #[test]
    fn what_is_new_is_told_once_and_in_order() {
        let began = progress(Rollout::InProgress, &["(service web) has started 1 tasks"]);
        assert_eq!(names(&of_service(None, &began)), ["SERVICE_DEPLOYMENT_IN_PROGRESS"]);
        assert_eq!(of_service(Some(&began), &began), []);
        let steady = "(service web) has reached a steady state.";
        let done = progress(Rollout::Completed, &[steady, "(service web) has started 1 tasks"]);
        let told = of_service(Some(&began), &done);
        assert_eq!(names(&told), ["SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_STEADY_STATE"]);
        assert_ne!(told[0].subject, of_service(None, &began)[0].subject);
    }
}
