//! The messages between the control plane and an agent. The control plane sends which tasks the
//! instance should have; the agent reports what happened, never what should follow. Either side may
//! repeat itself at any time: a list replaces a list, facts only move forward. A gap in the
//! sequence asks for the whole.

use crate::container::{ContainerPhase, Health};
use crate::credentials::Hidden;
use crate::credentials::SessionKeys;
use crate::discovery::NameTable;
use crate::document::Tags;
use crate::facts::{ContainersFact, Desired, InterfaceFact};
use crate::ids::{
    ClusterName, Digest, Family, InstanceId, TaskDefinitionRevision, TaskId, VpcId, ZoneName,
};
use crate::network::Cidr;
use crate::task::{Stop, TaskInterface};
use crate::task_definition::TaskTemplate;
use crate::time::Timestamp;
use crate::vpc_table::{InterfaceChanges, VpcTable};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Rises when a message's meaning changes; both sides name theirs in the first message.
pub const PROTOCOL_VERSION: u32 = 1;

/// A task as its instance must run it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Assignment {
    pub task: TaskId,
    pub cluster: ClusterName,
    pub task_arn: String,
    pub cluster_arn: String,
    pub family: Family,
    pub revision: TaskDefinitionRevision,
    pub desired: Desired,
    /// Overrides applied.
    pub template: Arc<TaskTemplate>,
    /// The ids of its containers, in the order of the template, as their ARNs show them.
    pub container_ids: Vec<crate::ids::ContainerId>,
    pub interface: Option<TaskInterface>,
    pub subnet: Option<AssignedSubnet>,
    /// The control plane's own knowledge: at or past Accepted, an agent that has no trace of the
    /// task must not start it (it ran before) but report it stopped.
    pub containers_fact: ContainersFact,
    /// Why the task can't be started, found before it was handed over (a log group that isn't
    /// there, say), in ECS's words. The agent starts nothing and reports TaskFailedToStart with it.
    pub start_failure: Option<String>,
    /// For containers whose image needs a user of its own (`repositoryCredentials`), by container
    /// name. In memory only: an agent must not write them down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub registry_credentials: BTreeMap<String, RegistryCredentials>,
    /// Environment variables from secrets and parameters, by container name. In memory only, too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, BTreeMap<String, Hidden>>,
    pub launch_type: Option<String>,
    pub zone: ZoneName,
    pub region: String,
    /// What the endpoints in the task's network tell it of itself.
    #[serde(default)]
    pub inside: Inside,
}

/// What only the task itself is told, at 169.254.170.2.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Inside {
    /// As DescribeTasks shows them, in the order of the template; part of the metadata's URIs.
    pub runtime_ids: Vec<String>,
    /// The ARNs of its containers, in the order of the template.
    pub container_arns: Vec<String>,
    /// Part of the path of the task role's credentials; None: there is no such role.
    pub credentials: Option<String>,
    pub service_name: Option<String>,
    pub tags: Tags,
    /// As in `use1-az1`.
    pub zone_id: String,
}

/// Whom to be towards a private registry; a password that can't be printed by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryCredentials {
    pub username: String,
    pub password: String,
}

impl fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryCredentials({}, …)", self.username)
    }
}

/// What the runtime must know of the network that a task's interface is in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AssignedSubnet {
    pub vpc_cidr: Cidr,
    pub cidr: Cidr,
    pub gateway: Ipv4Addr,
    /// Every subnet of the VPC, this one too: what its router must know.
    pub vpc_subnets: Vec<Cidr>,
}

/// How the agent reaches our own registry, for image names that resolve to it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RegistryAccess {
    /// The host part of image names that mean our registry, as in `000000000000.dkr.ecr.…`.
    pub host: String,
    /// `http://127.0.0.1:4566`.
    pub endpoint: String,
    /// Every host part of image names that means our registry, `host` among them.
    #[serde(default)]
    pub names: BTreeSet<String>,
    pub username: String,
    pub password: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ToAgent {
    /// Answers Hello. Everything sent in this session belongs to `epoch`.
    Welcome { protocol: u32, instance: InstanceId, epoch: u64, registry: RegistryAccess },
    /// The whole list: what is not in it must be stopped and removed.
    Assignments { sequence: u64, tasks: Vec<Arc<Assignment>> },
    /// Changes since `sequence - 1`. An agent at another sequence asks for the whole with Resync.
    Changes { sequence: u64, upsert: Vec<Arc<Assignment>>, remove: Vec<TaskId> },
    /// Reports up to this number are durable.
    Reported { number: u64 },
    /// Log records of this container up to the offset are durable.
    Logged { task: TaskId, container: String, offset: u64, failure: Option<LogFailure> },
    /// Keys of a task's role. None: there are none for this task (any more).
    Keys { task: TaskId, keys: Option<SessionKeys> },
    /// What resolvers answer, by VPC, each table whole. `everything`: a VPC that is not named is
    /// not there.
    Names { everything: bool, tables: BTreeMap<VpcId, Arc<NameTable>> },
    /// What the instance must know of VPCs, each table whole; before the first assignment, and
    /// before those that need it. `all`: every VPC there is, at the session's start and when one
    /// has gone; what an instance has of others goes, too.
    Networks { sequence: u64, all: Option<BTreeSet<VpcId>>, tables: Vec<Arc<VpcTable>> },
    /// Interfaces that came to a VPC whose table was sent, changed in it or went from it. Networks
    /// and Interfaces share a sequence; an agent that sees a gap asks for the whole with Resync.
    Interfaces { sequence: u64, vpc: VpcId, changes: InterfaceChanges },
    /// The session ends here; the agent keeps its tasks and calls again, unless `retry` is false.
    Refused { reason: String, retry: bool },
}

/// Why log records could not be stored; the agent decides what becomes of the task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogFailure {
    GroupMissing,
    Storage,
    /// They are not this instance's to write.
    NotYours,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ToControl {
    Hello(Hello),
    Heartbeat,
    /// Asks for the whole list.
    Resync,
    /// Numbered from 1 in each session; kept by the agent until Reported.
    Report {
        number: u64,
        report: TaskReport,
    },
    Logs(LogBatch),
    /// Asks for keys of a task's role: the first, or new ones in good time.
    KeysWanted {
        task: TaskId,
        cluster: ClusterName,
    },
    /// What tasks that run here have used, as counted at `at`. Lost, it is missed by nobody but a
    /// metric.
    Usage {
        at: Timestamp,
        tasks: Vec<TaskUsage>,
    },
}

/// What a task has used: CPU time since it began, memory just now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TaskUsage {
    pub task: TaskId,
    pub cluster: ClusterName,
    pub cpu_nanoseconds: u64,
    pub memory_bytes: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    /// The id it was given at first; None the first time.
    pub instance: Option<InstanceId>,
    pub name: String,
    pub cpu_architecture: String,
    pub cpu_units: u32,
    pub memory_mib: u32,
    pub boot_id: String,
    pub agent_version: String,
    /// The zone it was told to be in; None: that of the control plane's own machine.
    #[serde(default)]
    pub zone: Option<ZoneName>,
    /// How other instances reach it; None: they can't.
    #[serde(default)]
    pub underlay: Option<Ipv4Addr>,
    /// Everything the agent has, also what the control plane may have forgotten.
    pub tasks: Vec<TaskReport>,
}

/// What has been seen of one task, whole. A later report says at least as much as an earlier one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskReport {
    pub task: TaskId,
    pub cluster: ClusterName,
    pub containers_fact: ContainersFact,
    /// Wanted until attached; Released when nothing of the sandbox is left.
    pub interface: InterfaceFact,
    pub containers: Vec<ContainerReport>,
    pub times: ReportTimes,
    /// Set when the task ends by itself.
    pub stop: Option<Stop>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ReportTimes {
    pub pull_started_at: Option<Timestamp>,
    pub pull_stopped_at: Option<Timestamp>,
    pub connectivity_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub execution_stopped_at: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ContainerReport {
    pub name: String,
    pub phase: ContainerPhase,
    pub image_digest: Option<Digest>,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    pub health: Health,
    /// When the health was found; health goes back and forth, so that its time says which is newer.
    pub health_at: Option<Timestamp>,
    pub restart_count: u32,
    pub started_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
}

/// Log records of one container. `offset..end` is their range in the container's spool: a range
/// that was stored before is not stored again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LogBatch {
    pub task: TaskId,
    /// None: of an agent that is older than this field.
    #[serde(default)]
    pub cluster: Option<ClusterName>,
    pub container: String,
    pub group: String,
    pub stream: String,
    pub create_group: bool,
    pub offset: u64,
    pub end: u64,
    pub events: Vec<LogLine>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Timestamp,
    pub message: String,
}
