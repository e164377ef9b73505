//! How a task stands in the eyes of its service.

use super::{ServiceTask, ServiceView};
use model::Timestamp;
use model::balancing::TargetState;
use model::container::Health;
use model::facts::{Desired, TaskStatus};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It does not run yet, or its checks have not said anything.
    Starting,
    /// It runs, nothing checks it, and it has not run long enough to be trusted.
    Settling {
        until: Timestamp,
    },
    Healthy,
    Unhealthy,
    /// Its checks fail, and the service's grace period is not over.
    Excused {
        until: Timestamp,
    },
    /// It was told to stop, or is stopping by itself.
    Ending,
    Ended,
}

impl Standing {
    /// What is let go first has the lowest.
    pub(super) fn worth(self) -> u8 {
        match self {
            Self::Ending | Self::Ended => 0,
            Self::Unhealthy => 1,
            Self::Starting | Self::Excused { .. } => 2,
            Self::Settling { .. } => 3,
            Self::Healthy => 4,
        }
    }

    /// Whether a rollout may count it as there.
    pub(super) fn stands(self) -> bool {
        matches!(self, Self::Healthy | Self::Settling { .. })
    }
}

pub(super) fn of(seen: &ServiceTask<'_>, view: ServiceView<'_>) -> Standing {
    let task = seen.task;
    if task.last_status() == TaskStatus::Stopped {
        return Standing::Ended;
    }
    if task.facts.desired_status() == Desired::Stopped {
        return Standing::Ending;
    }
    if task.last_status() != TaskStatus::Running {
        return Standing::Starting;
    }
    let since = task.started_at.unwrap_or(task.created_at);
    match verdict(seen) {
        Some(Health::Healthy) => Standing::Healthy,
        Some(Health::Unhealthy) => {
            let grace = view.service.health_check_grace_period_seconds.unwrap_or(0);
            let until = since.plus_seconds(i64::from(grace));
            if view.now < until { Standing::Excused { until } } else { Standing::Unhealthy }
        }
        Some(Health::Unknown) => Standing::Starting,
        None => {
            let until = since.plus_ms(view.settle_ms);
            if view.now < until { Standing::Settling { until } } else { Standing::Healthy }
        }
    }
}

/// Containers and targets together: healthy when all are, unhealthy when one is. None: nothing
/// checks the task. Source: ECS developer guide, service-load-balancing.
fn verdict(seen: &ServiceTask<'_>) -> Option<Health> {
    let targets = seen.targets.iter().map(|target| match target.state {
        TargetState::Healthy => Health::Healthy,
        TargetState::Unhealthy => Health::Unhealthy,
        TargetState::Initial => Health::Unknown,
    });
    seen.health.into_iter().chain(targets).reduce(|one, other| match (one, other) {
        (Health::Unhealthy, _) | (_, Health::Unhealthy) => Health::Unhealthy,
        (Health::Unknown, _) | (_, Health::Unknown) => Health::Unknown,
        (Health::Healthy, Health::Healthy) => Health::Healthy,
    })
}
