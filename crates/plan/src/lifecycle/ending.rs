//! Whether a task goes on, and if not, why, in ECS's codes and words. Asked until the answer is no;
//! then the answer is kept.

use super::observed::{Ending, Image, Observed, ObservedContainer, Run, Sandbox};
use super::{is_met, restarts, texts};
use crate::limits;
use model::Timestamp;
use model::facts::{ContainersFact, Desired};
use model::limits::START_TIMEOUT_SECONDS;
use model::session::Assignment;
use model::task::{Stop, StopCode};
use model::task_definition::{ContainerTemplate, DependencyCondition};

pub enum Judgement {
    GoesOn { look_again_at: Option<Timestamp> },
    Ends(Ending),
}

/// A cause of the end, before it is put in words.
struct Cause {
    code: StopCode,
    reason: String,
    blocked: Option<String>,
}

impl Cause {
    fn failed_to_start(reason: &str) -> Self {
        Self { code: StopCode::TaskFailedToStart, reason: reason.to_owned(), blocked: None }
    }

    fn exited() -> Self {
        Self {
            code: StopCode::EssentialContainerExited,
            reason: texts::ESSENTIAL_EXITED.to_owned(),
            blocked: None,
        }
    }
}

pub fn judge(assignment: &Assignment, observed: &Observed, now: Timestamp) -> Judgement {
    let told = assignment.desired == Desired::Stopped
        // The control plane has already seen it end, told by an agent before this one.
        || assignment.containers_fact >= ContainersFact::Stopping
        // Somebody else removed it.
        || matches!(observed.sandbox, Sandbox::Removed { .. });
    if told {
        return Judgement::Ends(Ending { at: now, stop: None, blocked: None });
    }
    let mut look = Look { now, at: None };
    let found = sandbox_fault(assignment, observed, &mut look)
        .or_else(|| container_fault(assignment, observed, &mut look))
        .or_else(|| dependency_fault(assignment, observed, &mut look))
        .or_else(|| start_overdue(observed, &mut look));
    match found {
        None => Judgement::GoesOn { look_again_at: look.at },
        Some(Cause { code, reason, blocked }) => {
            let blocked = blocked.map(|container| (container, reason.clone()));
            let stop = Some(Stop { code, reason, at: now });
            Judgement::Ends(Ending { at: now, stop, blocked })
        }
    }
}

/// The earliest of the times at which something would be overdue.
struct Look {
    now: Timestamp,
    at: Option<Timestamp>,
}

impl Look {
    fn is_due(&mut self, at: Timestamp) -> bool {
        if self.now < at {
            self.at = Some(self.at.map_or(at, |before| before.min(at)));
        }
        self.now >= at
    }
}

fn sandbox_fault(assignment: &Assignment, observed: &Observed, look: &mut Look) -> Option<Cause> {
    match &observed.sandbox {
        Sandbox::Failed { reason, .. } => Some(Cause::failed_to_start(reason)),
        Sandbox::Creating { since } => look
            .is_due(since.plus_seconds(limits::SANDBOX_TIMEOUT_SECONDS))
            .then(|| Cause::failed_to_start(texts::SANDBOX_TIMEOUT)),
        Sandbox::Lost { .. } => {
            let ran = assignment.containers_fact >= ContainersFact::Running
                || observed.containers.iter().all(|c| c.started_at.is_some());
            Some(match ran {
                true => Cause::exited(),
                false => Cause::failed_to_start(texts::SUPERVISOR_LOST),
            })
        }
        _ => None,
    }
}

fn container_fault(assignment: &Assignment, observed: &Observed, look: &mut Look) -> Option<Cause> {
    let pairs = || assignment.template.containers.iter().zip(&observed.containers);
    for (container, seen) in pairs() {
        let fault = one_fault(container, seen, look);
        if fault.is_some() {
            return fault;
        }
    }
    // No essential container: the task lasts as long as any.
    pairs().all(|(container, seen)| has_ended(container, seen)).then(Cause::exited)
}

fn one_fault(
    container: &ContainerTemplate,
    seen: &ObservedContainer,
    look: &mut Look,
) -> Option<Cause> {
    if let Image::Failed { reason, .. } = &seen.image {
        return Some(Cause::failed_to_start(reason));
    }
    match &seen.run {
        Run::Starting { since } => look
            .is_due(since.plus_seconds(limits::LAUNCH_TIMEOUT_SECONDS))
            .then(|| Cause::failed_to_start(texts::LAUNCH_TIMEOUT)),
        Run::StartFailed { reason, .. } if container.essential && seen.started_at.is_none() => {
            Some(Cause::failed_to_start(reason))
        }
        _ => (container.essential && has_ended(container, seen)).then(Cause::exited),
    }
}

/// Whether a container has ended for good.
pub fn has_ended(container: &ContainerTemplate, seen: &ObservedContainer) -> bool {
    match &seen.run {
        Run::StartFailed { .. } => true,
        Run::Exited { .. } => !restarts(container, seen),
        _ => false,
    }
}

fn dependency_fault(
    assignment: &Assignment,
    observed: &Observed,
    look: &mut Look,
) -> Option<Cause> {
    let template = &assignment.template;
    for (container, seen) in template.containers.iter().zip(&observed.containers) {
        if seen.run != Run::Idle {
            continue;
        }
        for dependency in &container.depends_on {
            let on = template.containers.iter().zip(&observed.containers);
            let mut on = on.filter(|(c, _)| c.name == dependency.container);
            let why = match on.next() {
                // Registration refused it; a record that has it all the same must not wait for
                // ever.
                None => Some(texts::NEVER_STARTS),
                Some((on, seen_on)) => unmeetable(dependency.condition, on, seen_on, look),
            };
            if let Some(why) = why {
                let reason = texts::dependency(&container.name, &dependency.container, why);
                let cause = Cause::failed_to_start(&reason);
                return Some(Cause { blocked: Some(container.name.clone()), ..cause });
            }
        }
    }
    None
}

/// Why a condition can't come about any more.
fn unmeetable(
    condition: DependencyCondition,
    on: &ContainerTemplate,
    seen: &ObservedContainer,
    look: &mut Look,
) -> Option<&'static str> {
    if is_met(condition, on, seen) {
        return None;
    }
    if has_ended(on, seen) {
        return Some(match (condition, &seen.run) {
            (_, Run::StartFailed { .. }) => texts::NEVER_STARTS,
            (DependencyCondition::Healthy, _) => texts::NEVER_HEALTHY,
            _ => texts::NOT_SUCCESSFUL,
        });
    }
    let timeout = on.start_timeout_seconds.filter(|_| condition != DependencyCondition::Start);
    let due_at = seen.started_at?.plus_seconds(i64::from(timeout?));
    look.is_due(due_at).then_some(texts::TIMED_OUT)
}

fn start_overdue(observed: &Observed, look: &mut Look) -> Option<Cause> {
    let started = observed.containers.iter().all(can_not_or_did_start);
    let began_at = observed.began_at.filter(|_| !started)?;
    look.is_due(began_at.plus_seconds(START_TIMEOUT_SECONDS))
        .then(|| Cause::failed_to_start(texts::START_TIMEOUT))
}

/// RUNNING waits for every container that can start.
pub fn can_not_or_did_start(seen: &ObservedContainer) -> bool {
    seen.started_at.is_some() || matches!(seen.run, Run::StartFailed { .. })
}
