//! A machine of the fleet, and how much of it is taken. Users never see one.

use crate::ids::{InstanceId, ZoneName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InstanceState {
    /// Takes tasks.
    Active,
    /// Takes no more tasks, and its services' tasks are to run elsewhere.
    Draining,
    /// Its session has been silent past lease and grace; its tasks are lost.
    Lost,
    /// An operator says that it never returns: what it held is given back, then its record goes.
    Forgotten,
}

impl InstanceState {
    /// That of an instance that is there.
    pub fn wished(drains: bool) -> Self {
        if drains { Self::Draining } else { Self::Active }
    }

    /// Whether what ran there counts as over.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Lost | Self::Forgotten)
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    /// The machine's host name.
    pub name: String,
    pub zone: ZoneName,
    /// As in `X86_64`.
    pub cpu_architecture: String,
    pub state: InstanceState,
    /// What an operator wished last, so that a machine that was lost while it drained, as when it
    /// boots, is not given tasks when it is back.
    #[serde(default)]
    pub drains: bool,
    /// What may be handed to tasks, overcommitment included. CPU units, 1024 a vCPU.
    pub cpu_units: u32,
    pub memory_mib: u32,
    pub registered_at: Timestamp,
    /// Changes with every boot of the machine: tasks of an earlier boot are gone.
    pub boot_id: String,
    pub agent_version: String,
    /// Rises with every session; reports of an older one are refused.
    pub session_epoch: u64,
    /// When its session was last heard of; refreshed rarely, the exact time is the session's own.
    pub seen_at: Timestamp,
    /// Whether load balancers are served there: it is the control plane's own machine.
    #[serde(default)]
    pub serves_balancers: bool,
    /// How other instances reach it; None: they can't.
    #[serde(default)]
    pub underlay: Option<Ipv4Addr>,
}

impl Instance {
    /// Whether it drains, or will when it is back. Records of earlier builds say it by their state
    /// alone.
    pub fn drains(&self) -> bool {
        self.drains || self.state == InstanceState::Draining
    }

    /// Which of all instances serves load balancers. When the state moved to another machine, the
    /// one that came last.
    pub fn balancing<'a>(all: impl Iterator<Item = &'a Self>) -> Option<&'a InstanceId> {
        let own = all.filter(|one| one.serves_balancers);
        own.max_by_key(|one| (one.registered_at, &one.id)).map(|one| &one.id)
    }
}

/// What placed tasks hold of an instance. Writer: the capacity manager. Placement relies on it: a
/// commit that finds it changed is planned again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Allocation {
    pub instance: InstanceId,
    pub cpu_units: u32,
    pub memory_mib: u32,
    pub tasks: u32,
}
