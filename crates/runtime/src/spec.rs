//! What the agent asks of a runtime, as data: a VPC, a sandbox, a container. Everything is resolved
//! by then: commands are merged with the image's, overrides are applied, names stand for nothing
//! else.

use crate::limits;
pub use model::network::Cidr;
pub use model::vpc_table::{
    AclRule, AclTable, Gateway, GroupRule, GroupTable, InterfaceChanges, Peer, Place, Ports,
    SubnetTable, TableInterface, Traffic, VpcTable, WayOut,
};
pub use model::{SecurityGroupId, TaskId, Timestamp, VpcId};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// What a task's containers share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SandboxSpec {
    pub task: TaskId,
    pub hostname: String,
    /// Without one the task has only its loopback interface.
    pub network: Option<NetworkSpec>,
    pub dns: DnsSpec,
    /// Lines of /etc/hosts beside localhost and the task's own name.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// CPU units of the whole task, 1024 a core; a ceiling. None: no ceiling.
    pub cpu_units: Option<u32>,
    /// Memory of the whole task; a ceiling. None: no ceiling.
    pub memory_mib: Option<u64>,
    pub pids_max: u32,
    /// Task-scoped volumes, by name; containers name them in their mounts.
    pub volumes: Vec<String>,
    /// Bytes the task may write to root file systems and volumes. See `Runtime::enforces_storage`.
    pub ephemeral_storage_gib: Option<u32>,
    /// The agent's own note, given back by `recover`.
    pub note: String,
}

impl SandboxSpec {
    /// A sandbox without network or ceilings.
    pub fn new(task: TaskId) -> Self {
        Self {
            hostname: task.as_str().chars().take(12).collect(),
            task,
            network: None,
            dns: DnsSpec::default(),
            extra_hosts: Vec::new(),
            cpu_units: None,
            memory_mib: None,
            pids_max: limits::PIDS_PER_TASK_DEFAULT,
            volumes: Vec::new(),
            ephemeral_storage_gib: None,
            note: String::new(),
        }
    }
}

/// A task's interface, `eth0`. Its VPC must have been given to `ensure_vpc` before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NetworkSpec {
    pub vpc: VpcId,
    pub address: Ipv4Addr,
    /// Of the subnet; what the task sees as its netmask.
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    pub mac: [u8; 6],
    /// Bytes; None: the kernel's default of 1500.
    pub mtu: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DnsSpec {
    pub nameservers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// One run of a container. A restart is another launch with a higher `attempt`; it keeps what the
/// container wrote to its root file system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContainerLaunch {
    pub name: String,
    /// From 1. A launch whose attempt is not higher than one already made is ignored.
    pub attempt: u32,
    pub rootfs: RootfsSpec,
    /// Program and arguments; the program is looked for in the container's PATH.
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    /// None: `/`. Made when it isn't there.
    pub cwd: Option<String>,
    /// `user`, `uid`, `user:group`, `uid:gid` and mixtures. None: root.
    pub user: Option<String>,
    /// Shares relative to the task's other containers, and nothing else.
    pub cpu_units: Option<u32>,
    /// A ceiling within the task's.
    pub memory_mib: Option<u64>,
    pub memory_reservation_mib: Option<u64>,
    /// Capabilities beside the default ones, as in `SYS_PTRACE`.
    pub capabilities_add: Vec<String>,
    /// Capabilities to take away; `ALL` takes all.
    pub capabilities_drop: Vec<String>,
    pub ulimits: Vec<Ulimit>,
    pub mounts: Vec<MountSpec>,
    /// Containers whose mounts this one gets too; they must have been launched before.
    pub volumes_from: Vec<VolumesFrom>,
    /// Paths the image declares as volumes; each gets a volume of its own unless `mounts` covers
    /// it.
    pub image_volumes: Vec<String>,
    /// Whether a small init runs as process 1, reaps orphans and forwards signals.
    pub init: bool,
    pub health: Option<HealthSpec>,
    pub log: LogSpec,
}

impl ContainerLaunch {
    /// A plain container: root, `/`, default capabilities, nothing mounted.
    pub fn new(name: &str, layers: Vec<PathBuf>, argv: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            attempt: 1,
            rootfs: RootfsSpec { layers, read_only: false },
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            env: Vec::new(),
            cwd: None,
            user: None,
            cpu_units: None,
            memory_mib: None,
            memory_reservation_mib: None,
            capabilities_add: Vec::new(),
            capabilities_drop: Vec::new(),
            ulimits: Vec::new(),
            mounts: Vec::new(),
            volumes_from: Vec::new(),
            image_volumes: Vec::new(),
            init: false,
            health: None,
            log: LogSpec::default(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RootfsSpec {
    /// Unpacked layers, lowest first. They are never written to.
    pub layers: Vec<PathBuf>,
    pub read_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MountSpec {
    /// A name from `SandboxSpec::volumes`.
    pub volume: String,
    /// Absolute, inside the container.
    pub path: String,
    pub read_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumesFrom {
    pub container: String,
    pub read_only: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ulimit {
    /// ECS's name, as in `nofile`.
    pub name: String,
    /// -1: unlimited.
    pub soft: i64,
    pub hard: i64,
}

/// A command run inside the container on a schedule, by the supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HealthSpec {
    /// Program and arguments (CMD-SHELL is `/bin/sh -c …` by now).
    pub argv: Vec<String>,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    /// Failures in a row that make the container unhealthy.
    pub retries: u32,
    /// From its start; failures in it don't count.
    pub start_period_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogSpec {
    /// Whether a container waits when its log isn't read; else lines are dropped and counted.
    pub blocking: bool,
    /// Bytes of unread log.
    pub spool_bytes_max: u64,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self { blocking: false, spool_bytes_max: limits::LOG_SPOOL_BYTES_DEFAULT }
    }
}
