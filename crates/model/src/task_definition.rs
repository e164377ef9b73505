//! A task definition: the document as it will be echoed, and the template that decisions read. The
//! template has defaults filled in; what a field means is ECS's (API reference,
//! ContainerDefinition).

use crate::document::{Document, Tags};
use crate::ids::{Family, TaskDefinitionRevision};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TaskDefinitionStatus {
    Active,
    Inactive,
    DeleteInProgress,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskDefinition {
    pub family: Family,
    pub revision: TaskDefinitionRevision,
    pub status: TaskDefinitionStatus,
    pub registered_at: Timestamp,
    pub registered_by: String,
    pub deregistered_at: Option<Timestamp>,
    pub delete_requested_at: Option<Timestamp>,
    /// The members of AWS's TaskDefinition that came from the caller, defaults filled in.
    pub document: Document,
    pub template: Arc<TaskTemplate>,
    pub tags: Tags,
}

/// The newest revision number of a family; never goes back, also when revisions are deleted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskDefinitionFamily {
    pub family: Family,
    pub newest: TaskDefinitionRevision,
}

/// What a task of this definition is made of. Overrides applied to it give another one.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TaskTemplate {
    /// CPU units, 1024 a vCPU.
    pub cpu_units: u32,
    pub memory_mib: u32,
    pub ephemeral_storage_gib: u32,
    /// As in `X86_64` and `ARM64`.
    pub cpu_architecture: String,
    pub task_role_arn: Option<String>,
    pub execution_role_arn: Option<String>,
    pub containers: Vec<ContainerTemplate>,
    /// Names of task-scoped (bind) volumes.
    pub volumes: Vec<String>,
    /// The first field that we do not honour and a task would run wrongly without: it is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhonoured: Option<String>,
}

impl TaskTemplate {
    /// The essential containers with a health check: a task's health is theirs.
    pub fn checked(&self) -> impl Iterator<Item = &str> {
        let checked = self.containers.iter().filter(|c| c.essential && c.health_check.is_some());
        checked.map(|c| c.name.as_str())
    }
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ContainerTemplate {
    pub name: String,
    pub image: String,
    /// CPU units; 0 means none of its own.
    pub cpu_units: u32,
    /// Hard limit.
    pub memory_mib: Option<u32>,
    /// Soft limit.
    pub memory_reservation_mib: Option<u32>,
    pub essential: bool,
    pub entry_point: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    /// Environment variables whose values are looked up when the task starts: their names, and the
    /// `valueFrom` of each.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Each task finds out anew what the image's tag means; else all of a service's deployment have
    /// what the first of them found. ECS: `versionConsistency` is `disabled`.
    #[serde(default)]
    pub unpinned: bool,
    /// The secret with the user name and password for the image's registry.
    #[serde(default)]
    pub credentials_parameter: Option<String>,
    pub working_directory: Option<String>,
    pub user: Option<String>,
    pub depends_on: Vec<Dependency>,
    pub health_check: Option<HealthCheck>,
    pub start_timeout_seconds: Option<u32>,
    pub stop_timeout_seconds: u32,
    pub restart_policy: Option<RestartPolicy>,
    pub ulimits: Vec<Ulimit>,
    pub readonly_root: bool,
    pub mount_points: Vec<MountPoint>,
    pub volumes_from: Vec<VolumeFrom>,
    pub init_process: bool,
    pub capabilities_add: Vec<String>,
    pub capabilities_drop: Vec<String>,
    pub port_mappings: Vec<PortMapping>,
    pub log: Option<LogConfiguration>,
    pub interactive: bool,
    pub pseudo_terminal: bool,
    pub system_controls: BTreeMap<String, String>,
    pub docker_labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum DependencyCondition {
    Start,
    Complete,
    Success,
    Healthy,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dependency {
    pub container: String,
    pub condition: DependencyCondition,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HealthCheck {
    /// With its leading `CMD` or `CMD-SHELL`.
    pub command: Vec<String>,
    pub interval_seconds: u32,
    pub timeout_seconds: u32,
    pub retries: u32,
    pub start_period_seconds: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RestartPolicy {
    pub enabled: bool,
    pub ignored_exit_codes: Vec<i32>,
    pub attempt_period_seconds: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ulimit {
    /// As in `nofile`.
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MountPoint {
    pub volume: String,
    pub container_path: String,
    pub read_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeFrom {
    pub container: String,
    pub read_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortMapping {
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    pub name: Option<String>,
}

/// The `awslogs` driver's options.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogConfiguration {
    pub group: String,
    pub region: String,
    pub stream_prefix: String,
    pub create_group: bool,
    /// False: the container waits when the buffer is full. True: lines are dropped and counted.
    pub non_blocking: bool,
    pub buffer_bytes_max: u64,
    /// A line that matches starts a new event; others are appended to the one before.
    pub multiline_pattern: Option<String>,
    pub datetime_format: Option<String>,
}

impl LogConfiguration {
    /// `prefix/container/task`, as awslogs names it on Fargate.
    pub fn stream(&self, container: &str, task: &str) -> String {
        format!("{}/{container}/{task}", self.stream_prefix)
    }
}
