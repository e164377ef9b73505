//! What a runtime tells: events as they happen, and the whole observed state to whoever asks. Facts
//! only, never what should follow from them. Each container fact names the attempt it belongs to.

use crate::spec::{SandboxSpec, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    pub task: TaskId,
    pub kind: EventKind,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EventKind {
    SandboxReady {
        at: Timestamp,
    },
    /// The sandbox could not be made; nothing of it runs.
    SandboxFailed {
        reason: String,
        at: Timestamp,
    },
    ContainerStarted {
        name: String,
        attempt: u32,
        pid: u32,
        at: Timestamp,
    },
    /// The container's program never ran. `reason` is what ECS would show.
    ContainerStartFailed {
        name: String,
        attempt: u32,
        reason: String,
        code: i32,
        at: Timestamp,
    },
    ContainerExited {
        name: String,
        attempt: u32,
        exit: ContainerExit,
    },
    Health {
        name: String,
        attempt: u32,
        health: HealthFact,
    },
    /// The container's spool holds records beyond what was last acknowledged; see `spool`.
    LogGrew {
        name: String,
    },
    /// Something an operator should know: a limit clamped, log lines dropped.
    Warning {
        text: String,
    },
    /// The supervisor is gone and with it all containers. Nothing is started again.
    SandboxLost {
        at: Timestamp,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContainerExit {
    /// As a shell would say it: 128 + the signal's number when a signal ended it.
    pub code: i32,
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for want of memory.
    pub out_of_memory: bool,
    pub at: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum HealthStatus {
    Unknown,
    Healthy,
    Unhealthy,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HealthFact {
    pub status: HealthStatus,
    /// Of the last check, cut to 4 KiB.
    pub output: String,
    pub at: Timestamp,
}

/// A task as its supervisor knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ObservedTask {
    pub supervisor_pid: u32,
    pub sandbox: ObservedSandbox,
    pub containers: Vec<ObservedContainer>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ObservedSandbox {
    Making,
    Ready { at: Timestamp },
    Failed { reason: String, at: Timestamp },
}

/// The newest attempt of a container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ObservedContainer {
    pub name: String,
    pub attempt: u32,
    pub phase: ObservedPhase,
    pub started_at: Option<Timestamp>,
    pub health: Option<HealthFact>,
    pub log: ObservedLog,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ObservedPhase {
    Starting,
    Running { pid: u32 },
    StartFailed { reason: String, code: i32, at: Timestamp },
    Exited(ContainerExit),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ObservedLog {
    /// Where the spool ends, in bytes from its beginning.
    pub end: u64,
    /// Up to where it was acknowledged.
    pub acknowledged: u64,
    /// Lines dropped because nobody read fast enough or the disk was full.
    pub lines_dropped: u64,
}

/// What `recover` found of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    pub task: TaskId,
    /// None when the task was lost before its spec was written down.
    pub spec: Option<SandboxSpec>,
    pub state: RecoveredState,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecoveredState {
    /// Its supervisor answers; events go on from here.
    Live(ObservedTask),
    /// Its supervisor is gone; `remove` clears what is left.
    Lost,
}

/// What a task uses, at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    pub cpu_nanoseconds: u64,
    pub memory_bytes: u64,
    pub pids: u64,
    pub containers: Vec<ContainerUsage>,
    /// Of the task's interface.
    #[serde(default)]
    pub network: NetworkUsage,
    /// None where it has no bound of its own.
    #[serde(default)]
    pub storage: Option<StorageUsage>,
    /// What all of this machine's processes used of its CPUs since it started.
    #[serde(default)]
    pub machine_cpu_nanoseconds: u64,
    #[serde(default)]
    pub machine_cpus: u32,
}

/// What all containers of a task wrote, and may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StorageUsage {
    pub used_bytes: u64,
    pub bytes_max: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NetworkUsage {
    pub received_bytes: u64,
    pub received_packets: u64,
    pub received_errors: u64,
    pub received_dropped: u64,
    pub sent_bytes: u64,
    pub sent_packets: u64,
    pub sent_errors: u64,
    pub sent_dropped: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ContainerUsage {
    pub name: String,
    pub cpu_nanoseconds: u64,
    pub memory_bytes: u64,
    pub out_of_memory_kills: u64,
    #[serde(default)]
    pub cpu_user_nanoseconds: u64,
    #[serde(default)]
    pub cpu_kernel_nanoseconds: u64,
    #[serde(default)]
    pub throttling: Throttling,
    /// 0 where the kernel doesn't keep it.
    #[serde(default)]
    pub memory_peak_bytes: u64,
    /// The least ceiling that holds for it: its own or its task's. `u64::MAX`: none.
    #[serde(default)]
    pub memory_limit_bytes: u64,
    /// The kernel's own accounts, as it names them.
    #[serde(default)]
    pub memory_details: BTreeMap<String, u64>,
    #[serde(default)]
    pub pids: u64,
}

/// How a task's ceiling of CPU held its containers back; it is the task's, told for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_nanoseconds: u64,
}
