//! A task: what was asked for, five facts, and what has been seen of its containers. A one-shot
//! thing: once stopped it never runs again.

use crate::container::{ContainerPhase, ContainerState, Health};
use crate::document::{Document, Tags};
use crate::facts::{ContainersFact, Desired, Facts, InterfaceFact, Placement, TaskStatus};
use crate::ids::{
    AttachmentId, ClusterName, Digest, Family, InterfaceId, SecurityGroupId, SubnetId,
    TaskDefinitionRevision, TaskId, VpcId,
};
use crate::network::Resolving;
use crate::session::TaskReport;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Why a task stopped. Source: botocore's TaskStopCode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    UserInitiated,
    ServiceSchedulerInitiated,
    SpotInterruption,
    TerminationNotice,
}

impl StopCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskFailedToStart => "TaskFailedToStart",
            Self::EssentialContainerExited => "EssentialContainerExited",
            Self::UserInitiated => "UserInitiated",
            Self::ServiceSchedulerInitiated => "ServiceSchedulerInitiated",
            Self::SpotInterruption => "SpotInterruption",
            Self::TerminationNotice => "TerminationNotice",
        }
    }
}

/// The first cause wins; it is written once, by whoever stops the task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stop {
    pub code: StopCode,
    /// `stoppedReason`.
    pub reason: String,
    pub at: Timestamp,
}

/// What RunTask's `networkConfiguration.awsvpcConfiguration` asked for.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct NetworkRequest {
    pub subnets: Vec<SubnetId>,
    pub security_groups: Vec<SecurityGroupId>,
    pub assign_public_ip: bool,
}

/// The address chosen for the task when it was placed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskInterface {
    pub attachment: AttachmentId,
    pub interface: InterfaceId,
    pub vpc: VpcId,
    pub subnet: SubnetId,
    pub private_ip: Ipv4Addr,
    /// With `assignPublicIp`.
    #[serde(default)]
    pub public_ip: Option<Ipv4Addr>,
    /// `02:` and five more pairs of hexadecimal digits.
    pub mac: String,
    pub private_dns_name: String,
    /// As the VPC's DHCP options said then. None: the task was placed before they had effect.
    #[serde(default)]
    pub resolving: Option<Resolving>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ContainerOverride {
    pub name: String,
    pub command: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    pub cpu_units: Option<u32>,
    pub memory_mib: Option<u32>,
    pub memory_reservation_mib: Option<u32>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TaskOverrides {
    pub containers: Vec<ContainerOverride>,
    pub cpu_units: Option<u32>,
    pub memory_mib: Option<u32>,
    pub ephemeral_storage_gib: Option<u32>,
    pub task_role_arn: Option<String>,
    pub execution_role_arn: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub cluster: ClusterName,
    pub family: Family,
    pub revision: TaskDefinitionRevision,
    pub overrides: TaskOverrides,
    /// `TaskOverride` as it will be echoed.
    pub overrides_document: Document,
    /// CPU units of the whole task, overrides applied.
    pub cpu_units: u32,
    pub memory_mib: u32,
    pub ephemeral_storage_gib: u32,
    pub cpu_architecture: String,
    /// None when a capacity provider was used.
    pub launch_type: Option<String>,
    pub capacity_provider: Option<String>,
    pub platform_version: String,
    pub group: String,
    pub started_by: Option<String>,
    pub enable_execute_command: bool,
    pub tags: Tags,
    pub network: NetworkRequest,

    pub facts: Facts,
    pub stop: Option<Stop>,
    /// Why it is not placed yet; None once it is.
    pub waiting: Option<String>,
    pub interface: Option<TaskInterface>,
    pub containers: Vec<ContainerState>,
    /// Rises with every change that a client can see.
    pub version: u64,

    pub created_at: Timestamp,
    pub placed_at: Option<Timestamp>,
    pub pull_started_at: Option<Timestamp>,
    pub pull_stopped_at: Option<Timestamp>,
    pub connectivity_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub stopping_at: Option<Timestamp>,
    pub execution_stopped_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
    /// What its containers' images are, by container, where its service's deployment has settled
    /// that: the same for all of its tasks, whatever a tag means by now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, Digest>,
    /// When nobody sent it anything any more: from then on its containers are told to end.
    #[serde(default)]
    pub deregistered_at: Option<Timestamp>,
    /// Scale-in and deployments leave the task alone until then. Writer: frontend.
    #[serde(default)]
    pub protected_until: Option<Timestamp>,
}

impl Task {
    pub fn is_protected(&self, now: Timestamp) -> bool {
        self.protected_until.is_some_and(|until| until > now)
    }

    pub fn last_status(&self) -> TaskStatus {
        self.facts.last_status()
    }

    /// HEALTHY when all essential containers with a health check are, UNHEALTHY when one is, else
    /// UNKNOWN. Only containers named in `checked` count.
    pub fn health(&self, checked: &[&str]) -> Health {
        let mut all_healthy = true;
        let mut any = false;
        for container in &self.containers {
            if !checked.contains(&container.name.as_str()) {
                continue;
            }
            any = true;
            match container.health {
                Health::Unhealthy => return Health::Unhealthy,
                Health::Unknown => all_healthy = false,
                Health::Healthy => {}
            }
        }
        if any && all_healthy { Health::Healthy } else { Health::Unknown }
    }

    /// Gives the task its place, once, and never when it was told to stop. Returns whether it has
    /// it now.
    pub fn place(
        &mut self,
        placement: Placement,
        interface: Option<TaskInterface>,
        now: Timestamp,
    ) -> bool {
        if self.facts.desired == Desired::Stopped || self.facts.placed.is_some() {
            return false;
        }
        let wanted = self.facts.interface == InterfaceFact::Wanted;
        assert_eq!(wanted, interface.is_some(), "an interface exactly where one is wanted");
        self.facts.placed = Some(placement);
        self.interface = interface;
        self.waiting = None;
        self.placed_at = Some(now);
        self.settle(now);
        true
    }

    /// Asks for the task's end. The first cause is kept. Returns whether anything changed.
    pub fn request_stop(&mut self, code: StopCode, reason: &str, now: Timestamp) -> bool {
        if self.facts.desired == Desired::Stopped || self.last_status() == TaskStatus::Stopped {
            return false;
        }
        self.facts.desired = Desired::Stopped;
        if self.stop.is_none() {
            self.stop = Some(Stop { code, reason: reason.to_owned(), at: now });
        }
        self.settle(now);
        true
    }

    /// Folds in what the instance's session reports. Facts never go back; a stale or repeated
    /// report changes nothing. Returns whether anything changed.
    pub fn observe(&mut self, report: &TaskReport, now: Timestamp) -> bool {
        if self.facts.placed.is_none() {
            return false;
        }
        let before = self.clone();
        self.facts.containers = self.facts.containers.max(report.containers_fact);
        if self.facts.interface != InterfaceFact::NotNeeded {
            // An address is not free while anything might use it, whatever is claimed.
            let ended = self.facts.containers == ContainersFact::Stopped;
            let most = if ended { InterfaceFact::Released } else { InterfaceFact::Attached };
            self.facts.interface = self.facts.interface.max(report.interface.min(most));
        }
        for seen in &report.containers {
            if let Some(known) = self.containers.iter_mut().find(|c| c.name == seen.name) {
                observe_container(known, seen);
            }
        }
        let times = &report.times;
        for (known, seen) in [
            (&mut self.pull_started_at, times.pull_started_at),
            (&mut self.pull_stopped_at, times.pull_stopped_at),
            (&mut self.connectivity_at, times.connectivity_at),
            (&mut self.started_at, times.started_at),
            (&mut self.execution_stopped_at, times.execution_stopped_at),
        ] {
            *known = known.or(seen);
        }
        if self.stop.is_none() {
            self.stop.clone_from(&report.stop);
        }
        let changed = *self != before;
        if changed {
            self.settle(now);
        }
        changed
    }

    /// The instance is gone for good: whatever ran there counts as ended and its interface as
    /// released.
    pub fn lose_instance(&mut self, reason: &str, now: Timestamp) -> bool {
        if self.facts.placed.is_none() || self.last_status() == TaskStatus::Stopped {
            return false;
        }
        if self.stop.is_none() {
            let code = StopCode::TerminationNotice;
            self.stop = Some(Stop { code, reason: reason.to_owned(), at: now });
        }
        self.end_containers(now);
        if self.facts.interface != InterfaceFact::NotNeeded {
            self.facts.interface = InterfaceFact::Released;
        }
        self.settle(now);
        true
    }

    /// The instance was told to stop the task and has not said that it did: its containers count as
    /// ended. The interface stays as it is, so that its address is not handed out while it may
    /// still be in use.
    pub fn abandon(&mut self, reason: &str, now: Timestamp) -> bool {
        if self.facts.placed.is_none() || self.facts.containers == ContainersFact::Stopped {
            return false;
        }
        if self.stop.is_none() {
            let code = StopCode::TerminationNotice;
            self.stop = Some(Stop { code, reason: reason.to_owned(), at: now });
        }
        self.end_containers(now);
        self.settle(now);
        true
    }

    fn end_containers(&mut self, now: Timestamp) {
        self.facts.containers = ContainersFact::Stopped;
        for container in &mut self.containers {
            if container.phase != ContainerPhase::Stopped {
                container.phase = ContainerPhase::Stopped;
                container.stopped_at = Some(now);
            }
        }
        self.execution_stopped_at = self.execution_stopped_at.or(Some(now));
    }

    /// Sets what follows from a change: the version and the times of stopping and stopped.
    pub fn settle(&mut self, now: Timestamp) {
        self.version += 1;
        let status = self.last_status();
        if self.facts.desired_status() == Desired::Stopped {
            self.stopping_at = self.stopping_at.or(Some(now));
        }
        if status == TaskStatus::Stopped {
            self.stopped_at = self.stopped_at.or(Some(now));
            self.waiting = None;
            for container in &mut self.containers {
                container.phase = ContainerPhase::Stopped;
            }
        }
    }
}

/// Each field only gains, so that the order in which reports come makes no difference.
fn observe_container(known: &mut ContainerState, seen: &crate::session::ContainerReport) {
    if (seen.health_at, seen.health) > (known.health_at, known.health) {
        known.health = seen.health;
        known.health_at = seen.health_at;
    }
    known.phase = known.phase.max(seen.phase);
    known.restart_count = known.restart_count.max(seen.restart_count);
    known.exit_code = known.exit_code.or(seen.exit_code);
    if known.reason.is_none() {
        known.reason.clone_from(&seen.reason);
    }
    if known.image_digest.is_none() {
        known.image_digest.clone_from(&seen.image_digest);
    }
    known.started_at = known.started_at.or(seen.started_at);
    known.stopped_at = known.stopped_at.or(seen.stopped_at);
}
