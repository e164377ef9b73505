//! A task's status is derived, never stored. What is stored are five facts, each with one writer
//! and each moving only forward; `last_status` reads them. If several parts wrote one status column
//! they would have to agree on an order for ever; facts need no agreement. The test enumerates
//! every reachable set of facts and shows that the derived status never goes back and that every
//! dead end is STOPPED.

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

/// Who may move a fact. One fact, one writer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Writer {
    /// `desired`: StopTask, the service plan, a deadline.
    Frontend,
    /// `placed`.
    Placement,
    /// `interface` and `containers`: the session of the instance that the task is on.
    Session,
    /// `target`.
    Targets,
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

    /// Nothing of the task runs, and nothing ever will: either the containers ended, or it was told
    /// to stop before it had a place (placement never places such a task).
    fn ended(&self) -> bool {
        self.containers == ContainersFact::Stopped
            || (self.desired == Desired::Stopped && self.placed.is_none())
    }

    fn holds_target(&self) -> bool {
        matches!(self.target, TargetFact::Registered | TargetFact::Draining)
    }

    /// What the task's instance is told is wanted: containers get their stop signal only once
    /// nobody sends them anything any more.
    pub fn told(&self) -> Desired {
        match self.holds_target() {
            true => Desired::Running,
            false => self.desired,
        }
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

    /// The legal moves, each of one fact by its writer: the table that the exhaustive test walks
    /// and that every writer is held to. A place is where the test puts a task that gets one.
    pub fn steps(&self, place: &Placement) -> Vec<(Writer, Facts)> {
        let mut steps = Vec::new();
        let stopped = self.last_status() == TaskStatus::Stopped;
        if self.desired == Desired::Running && !stopped {
            steps.push((Writer::Frontend, Facts { desired: Desired::Stopped, ..self.clone() }));
        }
        if self.placed.is_none() && self.desired == Desired::Running {
            steps.push((Writer::Placement, Facts { placed: Some(place.clone()), ..self.clone() }));
        }
        steps.extend(self.session_steps().map(|facts| (Writer::Session, facts)));
        steps.extend(self.target_steps().map(|facts| (Writer::Targets, facts)));
        steps
    }

    /// A session speaks only of tasks that are on its instance. Reports may be lost, so that a
    /// later fact is told without the ones before it.
    fn session_steps(&self) -> impl Iterator<Item = Facts> {
        use ContainersFact::{Accepted, Running, Stopped, Stopping};
        use InterfaceFact::{Attached, Released};
        let placed = self.placed.is_some();
        let containers = [Accepted, Running, Stopping, Stopped];
        let containers = containers.into_iter().filter(move |c| placed && *c > self.containers);
        // The address is given back only after the containers are gone.
        let ended = self.containers == Stopped;
        let interface = [Attached, Released].into_iter().filter(move |i| {
            placed
                && self.interface != InterfaceFact::NotNeeded
                && *i > self.interface
                && (ended || *i == Attached)
        });
        containers
            .map(|containers| Facts { containers, ..self.clone() })
            .chain(interface.map(|interface| Facts { interface, ..self.clone() }))
    }

    /// A target is registered only while the task is wanted and runs.
    fn target_steps(&self) -> impl Iterator<Item = Facts> {
        use TargetFact::{Draining, Gone, Registered, Wanted};
        let runs = self.containers == ContainersFact::Running && self.desired == Desired::Running;
        let targets: &[TargetFact] = match self.target {
            Wanted if runs => &[Registered],
            Wanted => &[],
            Registered => &[Draining, Gone],
            Draining => &[Gone],
            TargetFact::NotNeeded | Gone => &[],
        };
        // Targets let go only of what ends: a task that runs keeps its target.
        let targets = targets.iter().filter(move |t| runs == (**t == Registered));
        targets.map(|target| Facts { target: *target, ..self.clone() })
    }
}
