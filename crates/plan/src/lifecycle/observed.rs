//! What an agent has seen of one task, and what it has already asked for. Facts come in as events,
//! in any order and more than once; what was asked for is marked, so that it is asked for once.

use super::texts;
use crate::lifecycle::Step;
use model::container::Health;
use model::facts::ContainersFact;
use model::task::Stop;
use model::task_definition::TaskTemplate;
use model::{Digest, Timestamp};

/// What the world told. Container facts name the attempt they belong to, from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The image is unpacked and can be launched.
    ImagePulled {
        container: String,
        digest: Option<Digest>,
        at: Timestamp,
    },
    /// `reason` in ECS's words where it has some; a missing `CannotPullContainerError` is put in
    /// front.
    PullFailed {
        container: String,
        reason: String,
        at: Timestamp,
    },
    SandboxReady {
        at: Timestamp,
    },
    SandboxFailed {
        reason: String,
        at: Timestamp,
    },
    /// The supervisor is gone and every container with it.
    SandboxLost {
        at: Timestamp,
    },
    /// Nothing is left of the sandbox.
    SandboxRemoved {
        at: Timestamp,
    },
    ContainerStarted {
        container: String,
        attempt: u32,
        at: Timestamp,
    },
    StartFailed {
        container: String,
        attempt: u32,
        reason: String,
        code: i32,
        at: Timestamp,
    },
    ContainerExited {
        container: String,
        attempt: u32,
        exit: Exit,
    },
    Health {
        container: String,
        attempt: u32,
        health: Health,
        at: Timestamp,
    },
    /// Everything the container wrote is stored, or was given up.
    LogDrained {
        container: String,
    },
    /// The control plane has made a report with this containers fact durable.
    Reported {
        containers_fact: ContainersFact,
    },
    /// The control plane has said, to this agent, what is wanted of the task.
    Assigned,
    /// A step could not even be asked for.
    StepFailed {
        step: Step,
        reason: String,
        at: Timestamp,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// As a shell would say it: 128 + the signal's number when a signal ended it.
    pub code: i32,
    pub signal: Option<i32>,
    pub out_of_memory: bool,
    pub at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sandbox {
    /// Never asked for.
    None,
    Creating {
        since: Timestamp,
    },
    Ready,
    Failed {
        reason: String,
        at: Timestamp,
    },
    Lost {
        at: Timestamp,
    },
    Removed {
        at: Timestamp,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Image {
    Unasked,
    Pulling,
    Present { at: Timestamp },
    Failed { reason: String, at: Timestamp },
}

/// The newest attempt of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Run {
    /// Never asked for.
    Idle,
    Starting {
        since: Timestamp,
    },
    Running {
        since: Timestamp,
    },
    StartFailed {
        reason: String,
        code: i32,
        at: Timestamp,
    },
    Exited {
        exit: Exit,
        since: Timestamp,
        reason: Option<String>,
    },
}

impl Run {
    /// Whether a process of the container may be there.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Running { .. })
    }

    pub fn ended_at(&self) -> Option<Timestamp> {
        match self {
            Self::StartFailed { at, .. } => Some(*at),
            Self::Exited { exit, .. } => Some(exit.at),
            _ => None,
        }
    }

    fn begun_at(&self) -> Option<Timestamp> {
        match self {
            Self::Starting { since } | Self::Running { since } => Some(*since),
            _ => None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObservedContainer {
    pub name: String,
    pub image: Image,
    pub image_digest: Option<Digest>,
    pub pull_asked_at: Option<Timestamp>,
    /// 0: never launched.
    pub attempt: u32,
    pub run: Run,
    /// Of the first attempt that started.
    pub started_at: Option<Timestamp>,
    pub health: Health,
    pub health_at: Option<Timestamp>,
    /// When the stop signal and SIGKILL were asked for, in this attempt.
    pub stop_sent_at: Option<Timestamp>,
    pub kill_sent_at: Option<Timestamp>,
    /// The stop signal did not get through; the time until SIGKILL runs all the same.
    pub stop_refused: bool,
    pub drain_asked: bool,
    pub drained: bool,
}

/// That and why the task ends. Decided once; nothing that is seen later changes it.
#[derive(Clone, PartialEq, Debug)]
pub struct Ending {
    pub at: Timestamp,
    /// None when it was told to end: then whoever told knows why.
    pub stop: Option<Stop>,
    /// The container whose dependency could not be met, and what to say of it.
    pub blocked: Option<(String, String)>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Observed {
    pub began_at: Option<Timestamp>,
    pub sandbox: Sandbox,
    pub ready_at: Option<Timestamp>,
    /// Outlasts the removal of what was lost.
    pub lost_at: Option<Timestamp>,
    pub remove_asked_at: Option<Timestamp>,
    pub ending: Option<Ending>,
    /// When the last of the containers was seen to have ended.
    pub ended_at: Option<Timestamp>,
    /// When the first essential container ended for good.
    pub first_end_at: Option<Timestamp>,
    /// In the order of the template.
    pub containers: Vec<ObservedContainer>,
    /// The most that the control plane is known to know.
    pub known: ContainersFact,
    /// See `keep_trace`.
    pub keeps_trace: bool,
    /// See `hold_starts`.
    pub holds_starts: bool,
    /// Nothing is asked for before this time, because what was asked last was refused.
    pub retry_at: Option<Timestamp>,
}

impl Observed {
    /// Nothing was seen and nothing asked for.
    pub fn new(template: &TaskTemplate) -> Self {
        let container = |name: &String| ObservedContainer {
            name: name.clone(),
            image: Image::Unasked,
            image_digest: None,
            pull_asked_at: None,
            attempt: 0,
            run: Run::Idle,
            started_at: None,
            health: Health::Unknown,
            health_at: None,
            stop_sent_at: None,
            kill_sent_at: None,
            stop_refused: false,
            drain_asked: false,
            drained: false,
        };
        Self {
            began_at: None,
            sandbox: Sandbox::None,
            ready_at: None,
            lost_at: None,
            remove_asked_at: None,
            ending: None,
            ended_at: None,
            first_end_at: None,
            known: ContainersFact::Unseen,
            keeps_trace: false,
            holds_starts: false,
            containers: template.containers.iter().map(|c| container(&c.name)).collect(),
            retry_at: None,
        }
    }

    pub fn container(&self, name: &str) -> Option<&ObservedContainer> {
        self.containers.iter().find(|c| c.name == name)
    }

    fn container_mut(&mut self, name: &str) -> Option<&mut ObservedContainer> {
        self.containers.iter_mut().find(|c| c.name == name)
    }

    /// The sandbox is then removed only once the control plane durably knows that the task has
    /// ended (`Event::Reported`): until then it is the only trace of the task. Without it an agent
    /// that dies between the removal and the report comes back to a task that looks as if it had
    /// never run, and runs it again, or has forgotten its exit codes.
    pub fn keep_trace(&mut self) {
        self.keeps_trace = true;
    }

    /// For a task that an earlier agent began: nothing new is started, and nothing started again,
    /// until the control plane has said what is wanted now (`Event::Assigned`). The earlier agent
    /// may have been told to stop the task, and nobody here remembers; what runs goes on running.
    pub fn hold_starts(&mut self) {
        self.holds_starts = true;
    }

    /// Whether a process of the task may be there.
    pub fn is_live(&self) -> bool {
        self.containers.iter().any(|c| c.run.is_live())
    }

    /// Folds a fact in. Stale and repeated ones change nothing.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::ImagePulled { container, digest, at } => {
                if let Some(found) = self.container_mut(container) {
                    found.pulled(digest.clone(), *at);
                }
            }
            Event::PullFailed { container, reason, at } => {
                if self.ending.is_some() {
                    // It was given up with the task; it is not why the container never ran.
                } else if let Some(found) = self.container_mut(container) {
                    found.pull_failed(reason, *at);
                }
            }
            Event::SandboxReady { at } => self.sandbox_ready(*at),
            Event::SandboxFailed { reason, at } => self.sandbox_failed(reason, *at),
            Event::SandboxLost { at } => self.sandbox_lost(*at),
            Event::SandboxRemoved { at } => self.sandbox_removed(*at),
            Event::ContainerStarted { container, attempt, at } => {
                if let Some(found) = self.container_mut(container) {
                    found.started(*attempt, *at);
                }
            }
            Event::StartFailed { container, attempt, reason, code, at } => {
                if let Some(found) = self.container_mut(container) {
                    found.start_failed(*attempt, reason, *code, *at);
                }
            }
            Event::ContainerExited { container, attempt, exit } => {
                if let Some(found) = self.container_mut(container) {
                    found.exited(*attempt, exit);
                }
            }
            Event::Health { container, attempt, health, at } => {
                if let Some(found) = self.container_mut(container) {
                    found.told_health(*attempt, *health, *at);
                }
            }
            Event::LogDrained { container } => {
                if let Some(found) = self.container_mut(container) {
                    found.drained = true;
                }
            }
            Event::Reported { containers_fact } => self.known = self.known.max(*containers_fact),
            Event::Assigned => self.holds_starts = false,
            Event::StepFailed { step, reason, at } => self.step_failed(step, reason, *at),
        }
    }

    fn sandbox_ready(&mut self, at: Timestamp) {
        if matches!(self.sandbox, Sandbox::None | Sandbox::Creating { .. }) {
            self.sandbox = Sandbox::Ready;
            self.ready_at = Some(at);
            self.began_at = self.began_at.or(Some(at));
        }
    }

    fn sandbox_failed(&mut self, reason: &str, at: Timestamp) {
        if matches!(self.sandbox, Sandbox::None | Sandbox::Creating { .. }) {
            let reason = texts::titled(texts::RESOURCE_INITIALIZATION, reason);
            self.began_at = self.began_at.or(Some(at));
            // What was launched into it in advance never ran.
            for container in self.containers.iter_mut().filter(|c| c.run.is_live()) {
                container.run = Run::Idle;
                container.attempt = 0;
            }
            self.sandbox = Sandbox::Failed { reason, at };
        }
    }

    fn sandbox_lost(&mut self, at: Timestamp) {
        if matches!(self.sandbox, Sandbox::Removed { .. } | Sandbox::Lost { .. }) {
            return;
        }
        self.began_at = self.began_at.or(Some(at));
        self.sandbox = Sandbox::Lost { at };
        self.lost_at = Some(at);
        self.end_live(at, texts::SUPERVISOR_LOST);
    }

    fn sandbox_removed(&mut self, at: Timestamp) {
        self.sandbox = Sandbox::Removed { at };
        self.end_live(at, texts::REMOVED_ALIVE);
    }

    /// The processes are gone with the sandbox; the kernel killed them.
    fn end_live(&mut self, at: Timestamp, reason: &str) {
        for container in &mut self.containers {
            let Some(since) = container.run.begun_at() else { continue };
            let exit = Exit { code: 137, signal: Some(9), out_of_memory: false, at };
            container.run = Run::Exited { exit, since, reason: Some(reason.to_owned()) };
        }
    }

    fn step_failed(&mut self, step: &Step, reason: &str, at: Timestamp) {
        match step {
            Step::CreateSandbox => self.sandbox_failed(reason, at),
            Step::PullImage { container } => {
                if let Some(found) = self.container_mut(container) {
                    found.pull_failed(reason, at);
                }
            }
            Step::StartContainer { container, attempt } => {
                if let Some(found) = self.container_mut(container) {
                    found.start_failed(*attempt, reason, texts::CODE_NEVER_RAN, at);
                }
            }
            Step::StopContainer { container } => {
                if let Some(found) = self.container_mut(container) {
                    found.stop_refused = true;
                }
                self.retry(at);
            }
            // The sandbox is removed under it when it lives on.
            Step::KillContainer { .. } => {}
            Step::DrainLog { container } => {
                if let Some(found) = self.container_mut(container) {
                    found.drained = true;
                }
            }
            Step::RemoveSandbox => {
                self.remove_asked_at = None;
                self.retry(at);
            }
        }
    }

    /// Kept once known: an end that is told later may have an earlier time.
    pub(super) fn note_first_end(&mut self, template: &TaskTemplate) {
        if self.first_end_at.is_some() {
            return;
        }
        let ending = self.ending.is_some();
        let pairs = template.containers.iter().zip(&self.containers);
        let essential = pairs.filter(|(container, _)| container.essential);
        let ended = essential.filter(|(container, seen)| {
            super::ending::has_ended(container, seen)
                || (ending && matches!(seen.run, Run::Exited { .. }))
        });
        self.first_end_at = ended.filter_map(|(_, seen)| seen.run.ended_at()).min();
    }

    fn retry(&mut self, at: Timestamp) {
        self.retry_at = Some(at.plus_seconds(crate::limits::RETRY_SECONDS));
    }

    /// Marks a step as asked for. `step` does so itself; agents need it only to tell what was asked
    /// for before they were there (a container that a restarted agent finds starting).
    pub fn begun(&mut self, step: &Step, now: Timestamp) {
        self.began_at = self.began_at.or(Some(now));
        match step {
            Step::CreateSandbox => {
                if self.sandbox == Sandbox::None {
                    self.sandbox = Sandbox::Creating { since: now };
                }
            }
            Step::PullImage { container } => {
                if let Some(found) = self.container_mut(container) {
                    found.pull_asked(now);
                }
            }
            Step::StartContainer { container, attempt } => {
                if let Some(found) = self.container_mut(container) {
                    found.launched(*attempt, now);
                }
            }
            Step::StopContainer { container } => {
                if let Some(found) = self.container_mut(container) {
                    found.stop_sent_at = found.stop_sent_at.or(Some(now));
                    found.stop_refused = false;
                }
            }
            Step::KillContainer { container } => {
                if let Some(found) = self.container_mut(container) {
                    found.kill_sent_at = found.kill_sent_at.or(Some(now));
                }
            }
            Step::DrainLog { container } => {
                if let Some(found) = self.container_mut(container) {
                    found.drain_asked = true;
                }
            }
            Step::RemoveSandbox => self.remove_asked_at = Some(now),
        }
    }
}

impl ObservedContainer {
    fn pull_asked(&mut self, now: Timestamp) {
        if self.image == Image::Unasked {
            self.image = Image::Pulling;
            self.pull_asked_at = Some(now);
        }
    }

    fn pulled(&mut self, digest: Option<Digest>, at: Timestamp) {
        if matches!(self.image, Image::Unasked | Image::Pulling) {
            self.image = Image::Present { at };
            self.pull_asked_at = self.pull_asked_at.or(Some(at));
        }
        if self.image_digest.is_none() {
            self.image_digest = digest;
        }
    }

    fn pull_failed(&mut self, reason: &str, at: Timestamp) {
        if matches!(self.image, Image::Unasked | Image::Pulling) {
            let reason = texts::titled(texts::CANNOT_PULL, reason);
            self.image = Image::Failed { reason, at };
            self.pull_asked_at = self.pull_asked_at.or(Some(at));
        }
    }

    fn launched(&mut self, attempt: u32, now: Timestamp) {
        if attempt <= self.attempt {
            return;
        }
        self.attempt = attempt;
        self.run = Run::Starting { since: now };
        if self.health != Health::Unknown {
            self.health = Health::Unknown;
            self.health_at = Some(now);
        }
        self.stop_sent_at = None;
        self.kill_sent_at = None;
        self.stop_refused = false;
        // What runs was pulled, also when another agent did it.
        if self.image == Image::Unasked {
            self.image = Image::Present { at: now };
        }
    }

    /// Whether a fact of this attempt is news of the present run.
    fn concerns(&mut self, attempt: u32, at: Timestamp) -> bool {
        if attempt > self.attempt {
            self.launched(attempt, at);
        }
        attempt == self.attempt && self.run.is_live()
    }

    fn started(&mut self, attempt: u32, at: Timestamp) {
        if self.concerns(attempt, at) && !matches!(self.run, Run::Running { .. }) {
            self.run = Run::Running { since: at };
            self.started_at = self.started_at.or(Some(at));
        }
    }

    fn start_failed(&mut self, attempt: u32, reason: &str, code: i32, at: Timestamp) {
        if self.concerns(attempt, at) && !matches!(self.run, Run::Running { .. }) {
            let reason = texts::titled(texts::CANNOT_START, reason);
            self.run = Run::StartFailed { reason, code, at };
        }
    }

    fn exited(&mut self, attempt: u32, exit: &Exit) {
        if !self.concerns(attempt, exit.at) {
            return;
        }
        let since = match self.run {
            Run::Running { since } => since,
            _ => exit.at,
        };
        self.started_at = self.started_at.or(Some(since));
        let reason = exit.out_of_memory.then(|| texts::OUT_OF_MEMORY.to_owned());
        self.run = Run::Exited { exit: exit.clone(), since, reason };
    }

    fn told_health(&mut self, attempt: u32, health: Health, at: Timestamp) {
        if attempt == self.attempt && self.run.is_live() && Some(at) >= self.health_at {
            self.health = health;
            self.health_at = Some(at);
        }
    }
}
