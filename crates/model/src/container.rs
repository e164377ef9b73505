//! What is known of one container of a task.

use crate::ids::{ContainerId, Digest};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What AWS shows as a container's `lastStatus`. Moves only forward, but for a restart by
/// `restartPolicy`, during which the container stays Running as far as AWS tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ContainerPhase {
    Pending,
    Running,
    Stopped,
}

impl ContainerPhase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Health {
    Unknown,
    Healthy,
    Unhealthy,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
        }
    }
}

/// A container as reported by the agent and stored with its task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ContainerState {
    pub name: String,
    pub id: ContainerId,
    pub phase: ContainerPhase,
    /// As in `<task id>-<number>`; set when the task is made, as on Fargate.
    pub runtime_id: String,
    pub image_digest: Option<Digest>,
    /// None while it runs, and when it never ran.
    pub exit_code: Option<i32>,
    /// Why it failed, in ECS's words, as in `OutOfMemoryError: …`.
    pub reason: Option<String>,
    pub health: Health,
    pub health_at: Option<Timestamp>,
    pub restart_count: u32,
    pub started_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
}

impl ContainerState {
    pub fn new(name: String, id: ContainerId, runtime_id: String) -> Self {
        Self {
            name,
            id,
            phase: ContainerPhase::Pending,
            runtime_id,
            image_digest: None,
            exit_code: None,
            reason: None,
            health: Health::Unknown,
            health_at: None,
            restart_count: 0,
            started_at: None,
            stopped_at: None,
        }
    }
}
