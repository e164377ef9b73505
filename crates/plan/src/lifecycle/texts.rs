//! What ECS says when a task or container fails. Source: ECS developer guide,
//! stopped-tasks-error-messages and stopped-task-error-codes; texts that AWS does not document are
//! ours in its form.

/// Exit code of a container that could not be asked for.
pub const CODE_NEVER_RAN: i32 = 128;

pub const CANNOT_PULL: &str = "CannotPullContainerError";
pub const CANNOT_START: &str = "CannotStartContainerError";
pub const RESOURCE_INITIALIZATION: &str = "ResourceInitializationError";

pub const ESSENTIAL_EXITED: &str = "Essential container in task exited";
pub const OUT_OF_MEMORY: &str = "OutOfMemoryError: container killed due to memory usage";
pub const SUPERVISOR_LOST: &str =
    "ContainerRuntimeError: the task's supervisor ended unexpectedly and the container with it";
pub const REMOVED_ALIVE: &str =
    "CannotStopContainerError: the container did not end in time and was removed";
pub const NO_TRACE: &str =
    "ContainerRuntimeError: the instance has no trace of the task any more; it is not run twice";
pub const SANDBOX_TIMEOUT: &str =
    "ContainerRuntimeTimeoutError: the task's sandbox was not ready in time";
pub const LAUNCH_TIMEOUT: &str =
    "ContainerRuntimeTimeoutError: could not transition to started; timed out after waiting 1m0s";
pub const START_TIMEOUT: &str =
    "ContainerRuntimeTimeoutError: the task's containers did not all start in time";

/// Puts an error's name in front of what has none.
pub fn titled(name: &str, reason: &str) -> String {
    let first = reason.split(':').next().unwrap_or_default();
    let has_name = first.ends_with("Error") && !first.contains(' ');
    match has_name {
        true => reason.to_owned(),
        false => format!("{name}: {reason}"),
    }
}

pub fn dependency(target: &str, on: &str, why: &str) -> String {
    format!("{CANNOT_START}: container ordering dependency [{on}] for target [{target}] {why}")
}

pub const TIMED_OUT: &str = "has timed out.";
pub const NOT_SUCCESSFUL: &str = "failed as the dependency did not exit successfully.";
pub const NEVER_STARTS: &str = "can't be met because the dependency will never start.";
pub const NEVER_HEALTHY: &str = "can't be met because the dependency ended without being healthy.";
