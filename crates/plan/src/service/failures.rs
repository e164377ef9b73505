//! Tasks that never ran: counting them, the delay they cause, and when they break the circuit.
//! Only tasks that went from PENDING to STOPPED count; one that ran and exited does not. Source:
//! ECS developer guide, service-throttle-logic and deployment-circuit-breaker.

use super::ServiceTask;
use model::facts::TaskStatus;
use model::service::{Deployment, Rollout};
use model::task::StopCode;
use model::{TaskId, Timestamp};

/// Failures in a row that cause no delay yet.
const FREE_FAILURES: u32 = 2;
const DELAY_FIRST_MS: i64 = 1_000;
/// Source: developer guide, service-throttle-logic.
const DELAY_MS_MAX: i64 = 27 * 60 * 1000;
const BREAKER_LEAST: u32 = 3;
const BREAKER_MOST: u32 = 200;

/// Half of the desired count, at least 3 and at most 200.
pub fn breaker_threshold(desired: u32) -> u32 {
    desired.div_ceil(2).clamp(BREAKER_LEAST, BREAKER_MOST)
}

/// How long after the last of `in_a_row` failures the next start waits, in milliseconds.
pub fn delay_ms(in_a_row: u32) -> i64 {
    let Some(doublings) = in_a_row.checked_sub(FREE_FAILURES + 1) else { return 0 };
    DELAY_FIRST_MS.saturating_mul(1i64 << doublings.min(30)).min(DELAY_MS_MAX)
}

/// Until when the deployment must not start tasks.
pub(super) fn held_until(deployment: &Deployment) -> Option<Timestamp> {
    let last = deployment.last_failure_at?;
    match delay_ms(deployment.failed_in_a_row) {
        0 => None,
        delay => Some(last.plus_ms(delay)),
    }
}

fn failed(seen: &ServiceTask<'_>) -> bool {
    let task = seen.task;
    let stopped = task.last_status() == TaskStatus::Stopped;
    let by_us = task.stop.as_ref().is_some_and(|stop| {
        matches!(stop.code, StopCode::ServiceSchedulerInitiated | StopCode::UserInitiated)
    });
    stopped && task.started_at.is_none() && !by_us
}

/// Folds the ends of a deployment's tasks in; each counts once, also when it is seen again. Tasks
/// that are off the record are forgotten here too.
pub(super) fn count(deployment: &mut Deployment, tasks: &[&ServiceTask<'_>], now: Timestamp) {
    deployment.counted.retain(|id| tasks.iter().any(|seen| seen.task.id == *id));
    for seen in tasks.iter().filter(|seen| failed(seen)) {
        if deployment.counted.insert(seen.task.id.clone()) {
            deployment.failed_tasks = deployment.failed_tasks.saturating_add(1);
            deployment.failed_in_a_row = deployment.failed_in_a_row.saturating_add(1);
            let at = seen.task.stopped_at.unwrap_or(now);
            deployment.last_failure_at = deployment.last_failure_at.max(Some(at));
            deployment.updated_at = now;
        }
    }
}

/// Tasks that ran and failed their checks count while the rollout goes on, as a failure to
/// start does.
pub(super) fn count_unhealthy(deployment: &mut Deployment, tasks: &[TaskId], now: Timestamp) {
    if deployment.rollout != Rollout::InProgress {
        return;
    }
    for id in tasks {
        if deployment.counted.insert(id.clone()) {
            deployment.failed_tasks = deployment.failed_tasks.saturating_add(1);
            deployment.failed_in_a_row = deployment.failed_in_a_row.saturating_add(1);
            deployment.last_failure_at = Some(now);
            deployment.updated_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_half_of_the_wish_within_bounds() {
        let thresholds = [(0, 3), (1, 3), (6, 3), (7, 4), (25, 13), (400, 200), (5000, 200)];
        for (desired, threshold) in thresholds {
            assert_eq!(breaker_threshold(desired), threshold, "{desired}");
        }
    }

    #[test]
    fn the_delay_grows_to_its_bound_and_begins_with_nothing() {
        assert_eq!((delay_ms(0), delay_ms(2), delay_ms(3), delay_ms(4)), (0, 0, 1_000, 2_000));
        assert_eq!(delay_ms(u32::MAX), DELAY_MS_MAX);
    }
}
