//! The texts of service events and of rollouts, as production shows them.

use super::TargetSeen;
use model::service::Service;
use model::{DeploymentId, TaskId, ZoneName};
use std::collections::BTreeMap;
use std::fmt::Write;

pub const CIRCUIT_BROKEN: &str = "ECS deployment circuit breaker: tasks failed to start.";
/// The reason of a deployment that StopServiceDeployment ended.
pub const STOPPED: &str = "Service deployment stopped by user.";
pub const UNHEALTHY: &str = "Task failed container health checks";
/// The `stoppedReason` of tasks whose instance drains. Source: AWS Batch user guide,
/// ecs-managed-instances-instance-draining.
pub const DRAINED: &str = "Task stopped during instance draining";

pub fn in_progress(id: &DeploymentId) -> String {
    format!("ECS deployment {id} in progress.")
}

pub fn completed(id: &DeploymentId) -> String {
    format!("ECS deployment {id} completed.")
}

pub fn rolling_back_to(id: &DeploymentId) -> String {
    format!("ECS deployment circuit breaker: rolling back to deploymentId {id}.")
}

/// The `stoppedReason` of tasks that are not wanted any more.
pub fn scaling(id: &DeploymentId) -> String {
    format!("Scaling activity initiated by (deployment {id})")
}

pub fn steady(service: &Service) -> String {
    format!("(service {}) has reached a steady state.", service.name)
}

fn listed(tasks: &[TaskId]) -> String {
    tasks.iter().fold(String::new(), |mut text, id| {
        write!(text, " (task {id})").expect("a string takes all");
        text
    })
}

pub fn started(service: &Service, tasks: &[TaskId], unhealthy: usize) -> String {
    let count = tasks.len();
    let mut text =
        format!("(service {}) has started {count} tasks:{}.", service.name, listed(tasks));
    if unhealthy > 0 {
        let replaced = unhealthy.min(count);
        write!(text, " Amazon ECS replaced {replaced} tasks due to an unhealthy status.")
            .expect("a string takes all");
    }
    text
}

pub fn registered(service: &Service, count: usize, group: &str) -> String {
    format!("(service {}) registered {count} targets in (target-group {group})", service.name)
}

pub fn deregistered(service: &Service, count: usize, group: &str) -> String {
    format!("(service {}) deregistered {count} targets in (target-group {group})", service.name)
}

pub fn draining(service: &Service, count: usize) -> String {
    format!("(service {}) has begun draining connections on {count} tasks.", service.name)
}

pub fn unhealthy(service: &Service, task: &TaskId, target: &TargetSeen<'_>) -> String {
    format!(
        "(service {}) (task {task}) (port {}) is unhealthy in (target-group {}) due to (reason {})",
        service.name,
        target.port,
        target.group,
        target.reason.unwrap_or("Health checks failed")
    )
}

/// The `stoppedReason` of a task that its load balancer's checks gave up.
pub fn failed_balancer_checks(group: &str) -> String {
    format!("Task failed ELB health checks in (target-group {group})")
}

pub fn stopped(service: &Service, tasks: &[TaskId]) -> String {
    let count = tasks.len();
    format!("(service {}) has stopped {count} running tasks:{}.", service.name, listed(tasks))
}

pub fn stopped_pending(service: &Service, count: usize) -> String {
    format!("(service {}) stopped {count} pending tasks.", service.name)
}

pub fn deployment_completed(service: &Service, id: &DeploymentId) -> String {
    format!("(service {}) (deployment {id}) deployment completed.", service.name)
}

pub fn failed(service: &Service, id: &DeploymentId) -> String {
    format!(
        "(service {}) (deployment {id}) deployment failed: tasks failed to start.",
        service.name
    )
}

pub fn rolling_back(service: &Service, id: &DeploymentId) -> String {
    format!("(service {}) rolling back to deployment {id}.", service.name)
}

pub fn cannot_start(service: &Service) -> String {
    format!("(service {}) is unable to consistently start tasks successfully.", service.name)
}

pub fn no_room(service: &Service) -> String {
    format!(
        "(service {}) was unable to place a task because no container instance met all of its \
         requirements.",
        service.name
    )
}

pub fn deadlock(service: &Service) -> String {
    format!(
        "(service {}) was unable to stop or start tasks during a deployment because of the service \
         deployment configuration. Update the minimumHealthyPercent or maximumPercent value and \
         try again.",
        service.name
    )
}

pub fn protected(service: &Service, id: &DeploymentId, count: usize) -> String {
    format!(
        "(service {}) was unable to reach steady state because (taskSet {id}) was unable to scale \
         in due to (reason {count} tasks under protection)",
        service.name
    )
}

/// The `stoppedReason` of tasks where there were too many. Source: developer guide,
/// track-service-rebalancing.
pub fn evening_out(id: &DeploymentId) -> String {
    format!("Availability-zone rebalancing initiated by (deployment {id})")
}

fn by_zone(zones: &BTreeMap<ZoneName, u32>) -> String {
    let each = zones.iter().map(|(zone, count)| format!("{count} tasks in {zone}"));
    each.collect::<Vec<_>>().join(", ")
}

pub fn even(service: &Service, zones: &BTreeMap<ZoneName, u32>) -> String {
    format!("(service {}) is AZ balanced with {}.", service.name, by_zone(zones))
}

pub fn uneven(service: &Service, zones: &BTreeMap<ZoneName, u32>) -> String {
    format!(
        "(service {}) is not AZ balanced with {}. AZ Rebalancing in progress.",
        service.name,
        by_zone(zones)
    )
}

pub fn started_for_balance(service: &Service, zone: &ZoneName, tasks: &[TaskId]) -> String {
    format!(
        "(service {}) has started {} tasks in {zone} to AZ Rebalance:{}.",
        service.name,
        tasks.len(),
        listed(tasks)
    )
}
