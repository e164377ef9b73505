//! What a task's containers need next. The agent's actor folds in what the runtime told
//! (`Observed`), asks `step`, performs the steps and waits for the next event or for `wake_at`. The
//! report says what was seen, whole, each time. A task's end is decided once and kept (`Ending`):
//! what is seen while containers stop never revives it.
//!
//! Semantics: ECS API reference, ContainerDefinition (dependsOn, startTimeout, stopTimeout,
//! essential, restartPolicy), and the developer guide's pages on them.

mod ending;
mod observed;
mod report;
mod texts;

pub use observed::{Ending, Event, Exit, Image, Observed, ObservedContainer, Run, Sandbox};

use crate::limits;
use ending::Judgement;
use model::Timestamp;
use model::container::Health;
use model::facts::{ContainersFact, Desired};
use model::session::{Assignment, TaskReport};
use model::task::{Stop, StopCode};
use model::task_definition::{ContainerTemplate, DependencyCondition, TaskTemplate};

/// Something to ask the runtime for. Asked for once; doing it twice must be doing it once all the
/// same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    CreateSandbox,
    /// Ends in `ImagePulled` or `PullFailed`.
    PullImage {
        container: String,
    },
    /// May come with or before the sandbox is ready: launches are performed in order. The attempt
    /// is from 1; a higher one is a restart.
    StartContainer {
        container: String,
        attempt: u32,
    },
    /// The container's stop signal.
    StopContainer {
        container: String,
    },
    /// SIGKILL.
    KillContainer {
        container: String,
    },
    /// Ends in `LogDrained`: when all the ended container wrote is stored or can't be.
    DrainLog {
        container: String,
    },
    /// Ends in `SandboxRemoved`. Ends whatever still lives.
    RemoveSandbox,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Next {
    /// In the order in which they are to be asked for.
    pub steps: Vec<Step>,
    /// When to ask again if nothing happens before.
    pub wake_at: Option<Timestamp>,
    pub report: TaskReport,
    /// Nothing is left, and nothing more will be asked for: the actor may end once the report is
    /// durable.
    pub finished: bool,
}

/// Decides what to ask for now, and marks it as asked for.
pub fn step(assignment: &Assignment, observed: &mut Observed, now: Timestamp) -> Next {
    let mut round = Round { assignment, observed, now, steps: Vec::new(), wake_at: None };
    round.observed.note_first_end(&assignment.template);
    round.decide_end();
    if round.waits_to_retry() {
        // What was refused a moment ago is not asked for again at once.
    } else if round.observed.ending.is_some() {
        round.stop();
    } else {
        round.start();
    }
    round.note_deadlines();
    let Round { steps, wake_at, .. } = round;
    let report = report::report(assignment, observed);
    let finished = matches!(observed.sandbox, Sandbox::Removed { .. });
    Next { steps, wake_at, report, finished }
}

struct Round<'a> {
    assignment: &'a Assignment,
    observed: &'a mut Observed,
    now: Timestamp,
    steps: Vec<Step>,
    wake_at: Option<Timestamp>,
}

impl Round<'_> {
    fn ask(&mut self, step: Step) {
        self.observed.begun(&step, self.now);
        self.steps.push(step);
    }

    /// Whether the time has come; if not, it is a time to wake at.
    fn is_due(&mut self, at: Timestamp) -> bool {
        if self.now < at {
            self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
        }
        self.now >= at
    }

    fn waits_to_retry(&mut self) -> bool {
        let retry_at = self.observed.retry_at.take();
        match retry_at {
            Some(at) if !self.is_due(at) => {
                self.observed.retry_at = retry_at;
                true
            }
            _ => false,
        }
    }

    fn decide_end(&mut self) {
        if self.observed.ending.is_some() {
            return;
        }
        if let Some(ending) = self.never_begins() {
            self.observed.ending = Some(ending);
            self.observed.sandbox = Sandbox::Removed { at: self.now };
            return;
        }
        match ending::judge(self.assignment, self.observed, self.now) {
            Judgement::Ends(ending) => self.observed.ending = Some(ending),
            Judgement::GoesOn { .. } => {}
        }
    }

    /// When what is under way now, and what was just asked for, will have taken too long.
    fn note_deadlines(&mut self) {
        if self.observed.ending.is_some() {
            return;
        }
        match ending::judge(self.assignment, self.observed, self.now) {
            Judgement::Ends(_) => self.wake_at = Some(self.now),
            Judgement::GoesOn { look_again_at: Some(at) } => {
                self.is_due(at);
            }
            Judgement::GoesOn { look_again_at: None } => {}
        }
    }

    /// A task of which nothing was begun here and nothing shall be.
    fn never_begins(&self) -> Option<Ending> {
        if self.observed.began_at.is_some() || self.observed.sandbox != Sandbox::None {
            return None;
        }
        let stop =
            |code, reason: &str| Some(Stop { code, reason: reason.to_owned(), at: self.now });
        let assignment = self.assignment;
        let stop = if assignment.desired == Desired::Stopped {
            None
        } else if assignment.containers_fact >= ContainersFact::Accepted {
            let ran = assignment.containers_fact >= ContainersFact::Running;
            let failed = StopCode::TaskFailedToStart;
            stop(if ran { StopCode::EssentialContainerExited } else { failed }, texts::NO_TRACE)
        } else if let Some(reason) = &assignment.start_failure {
            stop(StopCode::TaskFailedToStart, reason)
        } else {
            return None;
        };
        Some(Ending { at: self.now, stop, blocked: None })
    }

    /// Towards RUNNING: sandbox and images side by side, then containers as their dependencies
    /// allow.
    fn start(&mut self) {
        if self.observed.holds_starts {
            return;
        }
        if self.observed.sandbox == Sandbox::None {
            self.ask(Step::CreateSandbox);
        }
        let template = &self.assignment.template;
        for container in &template.containers {
            if self.observed.container(&container.name).is_some_and(|c| c.image == Image::Unasked) {
                self.ask(Step::PullImage { container: container.name.clone() });
            }
        }
        let is_present = |c: &ObservedContainer| matches!(c.image, Image::Present { .. });
        if !self.observed.containers.iter().all(is_present) {
            return;
        }
        // A launch can allow another one (volumesFrom), wherever it stands in the list.
        while let Some((container, attempt)) = self.next_launch(template) {
            self.ask(Step::StartContainer { container, attempt });
        }
    }

    fn next_launch(&self, template: &TaskTemplate) -> Option<(String, u32)> {
        template.containers.iter().zip(&self.observed.containers).find_map(|(container, seen)| {
            let launch = match &seen.run {
                Run::Idle => is_ready(template, container, self.observed),
                Run::Exited { .. } => restarts(container, seen),
                _ => false,
            };
            launch.then(|| (container.name.clone(), seen.attempt + 1))
        })
    }

    /// Towards nothing: containers in the reverse order of their dependencies, then logs, then the
    /// sandbox.
    fn stop(&mut self) {
        if matches!(self.observed.sandbox, Sandbox::Removed { .. }) {
            return;
        }
        if self.observed.sandbox == Sandbox::None {
            // It failed before there was anything to remove.
            self.observed.sandbox = Sandbox::Removed { at: self.now };
            return;
        }
        let template = &self.assignment.template;
        let mut defies = false;
        for container in &template.containers {
            defies |= self.stop_container(container);
        }
        let live = self.observed.is_live();
        if !live {
            self.observed.ended_at = self.observed.ended_at.or(Some(self.now));
        }
        if (!live && self.logs_are_out() && self.end_is_known()) || defies {
            self.remove();
        }
    }

    /// Returns whether the container outlived even SIGKILL.
    fn stop_container(&mut self, container: &ContainerTemplate) -> bool {
        let Some(seen) = self.observed.container(&container.name) else { return false };
        let name = container.name.clone();
        let timeout_seconds = i64::from(container.stop_timeout_seconds);
        let (stopped_at, killed_at) = (seen.stop_sent_at, seen.kill_sent_at);
        let refused = seen.stop_refused;
        match seen.run {
            Run::Starting { since } => {
                return self.is_due(since.plus_seconds(limits::LAUNCH_TIMEOUT_SECONDS));
            }
            Run::Running { .. } => {}
            _ => return false,
        }
        if has_live_dependent(&self.assignment.template, &container.name, self.observed) {
            return false;
        }
        match (stopped_at, killed_at) {
            (None, _) => {
                self.ask(Step::StopContainer { container: name });
                self.is_due(self.now.plus_seconds(timeout_seconds));
                false
            }
            (Some(at), None) => {
                if self.is_due(at.plus_seconds(timeout_seconds)) {
                    self.ask(Step::KillContainer { container: name });
                    self.is_due(self.now.plus_seconds(limits::KILL_TIMEOUT_SECONDS));
                } else if refused {
                    self.ask(Step::StopContainer { container: name });
                }
                false
            }
            (Some(_), Some(at)) => self.is_due(at.plus_seconds(limits::KILL_TIMEOUT_SECONDS)),
        }
    }

    /// Whether nothing that ended containers wrote would be lost with the sandbox.
    fn logs_are_out(&mut self) -> bool {
        let mut waiting = false;
        for container in &self.assignment.template.containers {
            let Some(seen) = self.observed.container(&container.name) else { continue };
            if container.log.is_none() || seen.attempt == 0 || seen.drained {
                continue;
            }
            waiting = true;
            if !seen.drain_asked {
                self.ask(Step::DrainLog { container: container.name.clone() });
            }
        }
        let ended_at = self.observed.ended_at.unwrap_or(self.now);
        !waiting || self.is_due(ended_at.plus_seconds(limits::LOG_DRAIN_TIMEOUT_SECONDS))
    }

    /// See `Observed::keep_trace`. It waits for the control plane as long as that takes.
    fn end_is_known(&self) -> bool {
        let known = self.observed.known.max(self.assignment.containers_fact);
        !self.observed.keeps_trace || known == ContainersFact::Stopped
    }

    fn remove(&mut self) {
        let asked_at = self.observed.remove_asked_at;
        let again_at = asked_at.map(|at| at.plus_seconds(limits::REMOVE_TIMEOUT_SECONDS));
        if again_at.is_none_or(|at| self.is_due(at)) {
            self.ask(Step::RemoveSandbox);
            self.is_due(self.now.plus_seconds(limits::REMOVE_TIMEOUT_SECONDS));
        }
    }
}

/// Whether everything the container waits for has come about.
fn is_ready(template: &TaskTemplate, container: &ContainerTemplate, observed: &Observed) -> bool {
    let sources = container.volumes_from.iter();
    let mounted = sources
        .map(|v| observed.container(&v.container))
        .all(|source| source.is_none_or(|s| s.attempt > 0));
    mounted
        && container.depends_on.iter().all(|dependency| {
            let mut pairs = template.containers.iter().zip(&observed.containers);
            let on = pairs.find(|(on, _)| on.name == dependency.container);
            on.is_some_and(|(on, seen)| is_met(dependency.condition, on, seen))
        })
}

/// A container that will be restarted has not completed.
fn is_met(
    condition: DependencyCondition,
    on: &ContainerTemplate,
    seen: &ObservedContainer,
) -> bool {
    let exit = match &seen.run {
        Run::Exited { exit, .. } if !restarts(on, seen) => Some(exit.code),
        _ => None,
    };
    match condition {
        DependencyCondition::Start => seen.started_at.is_some(),
        DependencyCondition::Complete => exit.is_some(),
        DependencyCondition::Success => exit == Some(0),
        DependencyCondition::Healthy => seen.health == Health::Healthy && seen.run.is_live(),
    }
}

/// Whether an exited container is started again: it must have run for the attempt period since it
/// was last started, and its exit code must not be one that is ignored.
fn restarts(container: &ContainerTemplate, seen: &ObservedContainer) -> bool {
    let Some(policy) = container.restart_policy.as_ref().filter(|p| p.enabled) else {
        return false;
    };
    let Run::Exited { exit, since, .. } = &seen.run else { return false };
    exit.at >= since.plus_seconds(i64::from(policy.attempt_period_seconds))
        && !policy.ignored_exit_codes.contains(&exit.code)
}

fn has_live_dependent(template: &TaskTemplate, name: &str, observed: &Observed) -> bool {
    template.containers.iter().zip(&observed.containers).any(|(container, seen)| {
        seen.run.is_live() && container.depends_on.iter().any(|d| d.container == name)
    })
}
