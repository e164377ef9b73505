//! Where tasks go. Zones are filled evenly for each group of tasks (availability is what a group
//! wants first); inside a zone the fullest instance that still fits is taken (so that large tasks
//! find whole machines), but tasks of a service go to where fewest of it are, so that a machine
//! that dies takes no more of it along than it must. A task's subnet decides its zone, and must
//! have an address left. What can't be placed says why, in data.
//!
//! The plan is optimistic: it relies on the rooms it was given, and a commit that finds one of them
//! changed is planned again. The order of demands is the order of placing. No step looks at every
//! instance: rooms are in trees ordered by what is free.

mod addresses;
mod fleet;
mod room;

pub use addresses::{Address, SubnetRoom};
pub use fleet::Fleet;

use model::instance::{Allocation, Instance, InstanceState};
use model::task::Task;
use model::{InstanceId, SubnetId, TaskId, ZoneName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A task that wants a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Demand {
    pub task: TaskId,
    pub cpu_units: u32,
    pub memory_mib: u32,
    /// As in `X86_64`.
    pub cpu_architecture: String,
    /// The subnets the task may be in, any of them; empty when it needs no address.
    pub subnets: Vec<SubnetId>,
    /// Tasks of one group are spread over zones; `family:…` or `service:…`.
    pub group: String,
}

impl Demand {
    pub fn of(task: &Task) -> Self {
        Self {
            task: task.id.clone(),
            cpu_units: task.cpu_units,
            memory_mib: task.memory_mib,
            cpu_architecture: task.cpu_architecture.clone(),
            subnets: task.network.subnets.clone(),
            group: task.group.clone(),
        }
    }
}

/// What is free of an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InstanceRoom {
    pub id: InstanceId,
    pub zone: ZoneName,
    pub cpu_architecture: String,
    pub cpu_units_free: u32,
    pub memory_mib_free: u32,
    /// Whether it takes tasks now. One that doesn't still makes its zone one that has instances.
    pub open: bool,
}

impl InstanceRoom {
    /// `reachable`: its session's lease is held.
    pub fn of(instance: &Instance, allocation: Option<&Allocation>, reachable: bool) -> Self {
        let (cpu_units, memory_mib) = allocation.map_or((0, 0), |a| (a.cpu_units, a.memory_mib));
        Self {
            id: instance.id.clone(),
            zone: instance.zone.clone(),
            cpu_architecture: instance.cpu_architecture.clone(),
            cpu_units_free: instance.cpu_units.saturating_sub(cpu_units),
            memory_mib_free: instance.memory_mib.saturating_sub(memory_mib),
            open: reachable && instance.state == InstanceState::Active,
        }
    }
}

/// How many tasks of each group are in each zone already.
pub type Spread = BTreeMap<String, BTreeMap<ZoneName, u32>>;

/// How many tasks of each service's group are on each instance already.
pub type Neighbours = BTreeMap<String, BTreeMap<InstanceId, u32>>;

/// Whether tasks of a group keep apart inside a zone, too. ECS: a service's group is named after
/// it.
pub fn keeps_apart(group: &str) -> bool {
    group.starts_with("service:")
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    pub task: TaskId,
    pub instance: InstanceId,
    /// The subnet's zone, or the instance's when the task has no subnet: what AWS shows as the
    /// task's.
    pub zone: ZoneName,
    /// None when the demand named no subnets.
    pub address: Option<Address>,
}

/// Why a task has no place, one for each thing that would have to change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    NoInstance,
    Architecture {
        wanted: String,
    },
    Cpu {
        wanted_units: u32,
        most_free_units: u32,
    },
    Memory {
        wanted_mib: u32,
        most_free_mib: u32,
    },
    /// There is room for each, but on no instance for both.
    CpuAndMemory {
        wanted_units: u32,
        wanted_mib: u32,
    },
    NoFreeAddress {
        subnet: SubnetId,
    },
    NoSuchSubnet {
        subnet: SubnetId,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInstance => write!(f, "no instance takes tasks"),
            Self::Architecture { wanted } => {
                write!(f, "no instance of architecture {wanted} takes tasks")
            }
            Self::Cpu { wanted_units, most_free_units } => write!(
                f,
                "RESOURCE:CPU ({wanted_units} units wanted, at most {most_free_units} free)"
            ),
            Self::Memory { wanted_mib, most_free_mib } => {
                write!(f, "RESOURCE:MEMORY ({wanted_mib} MiB wanted, at most {most_free_mib} free)")
            }
            Self::CpuAndMemory { wanted_units, wanted_mib } => write!(
                f,
                "RESOURCE:CPU and RESOURCE:MEMORY (no instance has both {wanted_units} units and \
                 {wanted_mib} MiB free)"
            ),
            Self::NoFreeAddress { subnet } => {
                write!(f, "insufficient free addresses in subnet '{subnet}'")
            }
            Self::NoSuchSubnet { subnet } => write!(f, "the subnet '{subnet}' does not exist"),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unplaceable {
    pub task: TaskId,
    /// Never empty.
    pub reasons: BTreeSet<Reason>,
}

impl Unplaceable {
    /// For `Task::waiting`.
    pub fn text(&self) -> String {
        let texts: Vec<String> = self.reasons.iter().map(ToString::to_string).collect();
        texts.join("; ")
    }
}

/// Every demand is in one of the two.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Placements {
    pub placed: Vec<Placed>,
    pub waiting: Vec<Unplaceable>,
}

/// Whether an instance can give tasks addresses of a subnet: it is in the subnet's zone, or nobody
/// is (a fleet of one machine serves every zone).
fn serves(instance_zone: &ZoneName, subnet_zone: &ZoneName, zones: &BTreeSet<ZoneName>) -> bool {
    instance_zone == subnet_zone || !zones.contains(subnet_zone)
}

/// Places what can be placed, first come, first served, as if no service had tasks yet.
pub fn place(
    demands: &[Demand],
    instances: &[InstanceRoom],
    subnets: &[SubnetRoom<'_>],
    spread: &Spread,
) -> Placements {
    place_beside(demands, instances, subnets, spread, &Neighbours::new())
}

/// As `place`, with services' tasks kept apart from those they have.
pub fn place_beside(
    demands: &[Demand],
    instances: &[InstanceRoom],
    subnets: &[SubnetRoom<'_>],
    spread: &Spread,
    neighbours: &Neighbours,
) -> Placements {
    let mut fleet = Fleet::new(instances, subnets, spread.clone());
    fleet.neighbours.clone_from(neighbours);
    let mut placements = Placements::default();
    for demand in demands {
        match fleet.place(demand) {
            Ok(placed) => placements.placed.push(placed),
            Err(unplaceable) => placements.waiting.push(unplaceable),
        }
    }
    placements
}
