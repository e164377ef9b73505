//! What can go wrong in the world below: the kernel, the disk, the processes of ours. Shown to
//! operators, never to clients whole.

use crate::spec::TaskId;
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{what}: {source}")]
    System { what: String, source: io::Error },
    #[error("task {0} is not known to this runtime")]
    UnknownTask(TaskId),
    #[error("the supervisor of task {0} is gone")]
    SupervisorGone(TaskId),
    #[error("removing task {task} took longer than {after_ms} ms")]
    RemoveTimedOut { task: TaskId, after_ms: u64 },
    #[error("{0}")]
    Refused(String),
    #[error("the kernel refused {what}: {source}")]
    Netlink { what: String, source: io::Error },
}

impl Failure {
    /// For `map_err`: says what was being done.
    pub fn of(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}
