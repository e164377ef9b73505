//! What is overdue, as the control plane sees it. Every state of a task that isn't STOPPED has a
//! deadline here, so that none lasts for ever when whoever should end it doesn't. The agent keeps
//! finer ones (`lifecycle`); these are for when the agent is the one that hangs.

use crate::limits::RELEASE_TIMEOUT_SECONDS;
use model::Timestamp;
use model::facts::{ContainersFact, TaskStatus};
use model::limits::{
    ACCEPT_TIMEOUT_SECONDS, DEREGISTRATION_DELAY_SECONDS_MAX, PLACEMENT_TIMEOUT_SECONDS,
    START_TIMEOUT_SECONDS, STOP_GRACE_SECONDS, STOP_TIMEOUT_SECONDS_MAX,
};
use model::task::{StopCode, Task};

/// What a missed deadline asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OverdueAction {
    /// `Task::request_stop` with code and reason.
    Stop,
    /// The instance was told to stop the task and didn't say that it has. Its word is given up:
    /// `Task::abandon` with the reason. The address stays taken until the instance says that it is
    /// free, or is lost itself.
    Abandon,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overdue {
    pub action: OverdueAction,
    pub code: StopCode,
    pub reason: String,
    /// When the deadline was.
    pub since: Timestamp,
}

/// When the task's present state is overdue; None once it is STOPPED.
pub fn next_deadline(task: &Task) -> Option<Timestamp> {
    let placed_at = task.placed_at.unwrap_or(task.created_at);
    let stopping_at = task.stopping_at.unwrap_or(placed_at);
    let deadline = match task.last_status() {
        TaskStatus::Stopped => return None,
        TaskStatus::Provisioning => task.created_at.plus_seconds(PLACEMENT_TIMEOUT_SECONDS),
        TaskStatus::Pending => placed_at.plus_seconds(ACCEPT_TIMEOUT_SECONDS),
        // RUNNING may last. What is RUNNING but for its targets is theirs to end.
        TaskStatus::Running => return None,
        TaskStatus::Activating if task.facts.containers == ContainersFact::Running => return None,
        TaskStatus::Activating => {
            placed_at.plus_seconds(ACCEPT_TIMEOUT_SECONDS + START_TIMEOUT_SECONDS)
        }
        // Its targets have a delay of their own, and whoever lets go of them keeps to it.
        TaskStatus::Deactivating => {
            stopping_at.plus_seconds(DEREGISTRATION_DELAY_SECONDS_MAX + stop_seconds_max(task))
        }
        TaskStatus::Stopping => {
            // Until then its instance was not told.
            let told_at = task.deregistered_at.map_or(stopping_at, |at| at.max(stopping_at));
            told_at.plus_seconds(stop_seconds_max(task))
        }
        TaskStatus::Deprovisioning => {
            let ended_at = task.execution_stopped_at.unwrap_or(stopping_at).max(stopping_at);
            ended_at.plus_seconds(stop_seconds_max(task) + RELEASE_TIMEOUT_SECONDS)
        }
    };
    Some(deadline)
}

/// Containers may have to stop one after the other, each with a stop timeout of its own.
fn stop_seconds_max(task: &Task) -> i64 {
    let containers = i64::try_from(task.containers.len()).unwrap_or(i64::MAX);
    containers.saturating_mul(i64::from(STOP_TIMEOUT_SECONDS_MAX)) + STOP_GRACE_SECONDS
}

/// What of the task is overdue at `now`.
pub fn overdue(task: &Task, now: Timestamp) -> Option<Overdue> {
    let since = next_deadline(task).filter(|deadline| now >= *deadline)?;
    let (action, reason) = match task.last_status() {
        TaskStatus::Provisioning => (OverdueAction::Stop, waited(task)),
        TaskStatus::Pending => {
            let reason = "AGENT: the instance did not take the task in time".to_owned();
            (OverdueAction::Stop, reason)
        }
        TaskStatus::Activating => {
            (OverdueAction::Stop, "Timeout waiting for the task to start".to_owned())
        }
        _ => (OverdueAction::Abandon, "Timeout waiting for the task to stop".to_owned()),
    };
    let code = match action {
        OverdueAction::Stop => StopCode::TaskFailedToStart,
        OverdueAction::Abandon => StopCode::TerminationNotice,
    };
    Some(Overdue { action, code, reason, since })
}

fn waited(task: &Task) -> String {
    match &task.waiting {
        Some(waiting) => format!("Timeout waiting for capacity: {waiting}"),
        None => "Timeout waiting for capacity".to_owned(),
    }
}
