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
