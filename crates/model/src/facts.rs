//! A task's status is derived, never stored. What is stored are five facts, each with one writer and each
//! moving only forward; `last_status` reads them. If several parts wrote one status column they would have
//! to agree on an order for ever; facts need no agreement. The test enumerates every reachable set of facts
//! and shows that the derived status never goes back and that every dead end is STOPPED.

use crate::ids::{InstanceId, ZoneName};
use serde::{Deserialize, Serialize};

/// What is wanted. Writer: frontend (StopTask) or the service plan. Running → Stopped, never back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Desired {
    Running,
    Stopped,
}

/// Where the task is. Writer: placement, once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Placement {
    pub instance: InstanceId,
    pub zone: ZoneName,
}

/// The network interface. Writer: the instance's session (placement chooses its address, once).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum InterfaceFact {
    NotNeeded,
    Wanted,
    Attached,
    Released,
}

/// The containers, all together. Writer: the instance's session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ContainersFact {
    /// The agent has not said that it has the task.
    Unseen,
    /// The agent has it: images are pulled, containers are made.
    Accepted,
    Running,
    /// An essential container ended, or the agent was told to stop; others may still be ending.
    Stopping,
    Stopped,
}

/// Load balancer targets and service discovery. Writer: targets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum TargetFact {
    NotNeeded,
    Wanted,
    Registered,
    Draining,
    Gone,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub desired: Desired,
    pub placed: Option<Placement>,
    pub interface: InterfaceFact,
    pub containers: ContainersFact,
    pub target: TargetFact,
}

/// What AWS calls `lastStatus`, in the order in which a task goes through it.
/// Source: ECS developer guide, task-lifecycle-explanation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum TaskStatus {
    Provisioning,
    Pending,
    Activating,
    Running,
    Deactivating,
    Stopping,
    Deprovisioning,
    Stopped,
}

impl TaskStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Activating => "ACTIVATING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

impl Facts {
    /// A task as RunTask makes it.
    pub fn new(interface: InterfaceFact, target: TargetFact) -> Self {
        Self {
            desired: Desired::Running,
            placed: None,
            interface,
            containers: ContainersFact::Unseen,
            target,
        }
    }

    /// Nothing of the task runs, and nothing ever will: either the containers ended, or it was told to stop
    /// before it had a place (placement never places such a task).
    fn ended(&self) -> bool {
        self.containers == ContainersFact::Stopped
            || (self.desired == Desired::Stopped && self.placed.is_none())
    }

    fn holds_target(&self) -> bool {
        matches!(self.target, TargetFact::Registered | TargetFact::Draining)
    }

    fn holds_interface(&self) -> bool {
        self.placed.is_some()
            && matches!(self.interface, InterfaceFact::Wanted | InterfaceFact::Attached)
    }

    pub fn last_status(&self) -> TaskStatus {
        if self.ended() {
            return match self.holds_interface() || self.holds_target() {
                true => TaskStatus::Deprovisioning,
                false => TaskStatus::Stopped,
            };
        }
        if self.desired == Desired::Stopped || self.containers == ContainersFact::Stopping {
            return match self.holds_target() {
                true => TaskStatus::Deactivating,
                false => TaskStatus::Stopping,
            };
        }
        match (&self.placed, self.containers) {
            (None, _) => TaskStatus::Provisioning,
            (Some(_), ContainersFact::Unseen) => TaskStatus::Pending,
            (Some(_), ContainersFact::Running) if self.target != TargetFact::Wanted => {
                TaskStatus::Running
            }
            (Some(_), _) => TaskStatus::Activating,
        }
    }

    /// What AWS calls `desiredStatus`: STOPPED also once the containers are ending by themselves.
    pub fn desired_status(&self) -> Desired {
        match self.containers >= ContainersFact::Stopping {
            true => Desired::Stopped,
            false => self.desired,
        }
    }
}
