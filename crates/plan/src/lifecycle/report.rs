//! What the agent tells the control plane of a task: everything seen, whole, each time. A function
//! of what was observed, so that a restarted agent tells the same again.

use super::ending::{can_not_or_did_start, has_ended};
use super::observed::{Image, Observed, ObservedContainer, Run, Sandbox};
use super::texts;
use model::container::ContainerPhase;
use model::facts::{ContainersFact, InterfaceFact};
use model::session::{Assignment, ContainerReport, ReportTimes, TaskReport};
use model::task_definition::ContainerTemplate;

pub fn report(assignment: &Assignment, observed: &Observed) -> TaskReport {
    let containers_fact = containers_fact(observed);
    let stopped = containers_fact == ContainersFact::Stopped;
    let pairs = assignment.template.containers.iter().zip(&observed.containers);
    let containers =
        pairs.map(|(template, seen)| container(template, seen, observed, stopped)).collect();
    TaskReport {
        task: assignment.task.clone(),
        cluster: assignment.cluster.clone(),
        containers_fact,
        interface: interface(assignment, observed),
        containers,
        times: times(observed, containers_fact),
        stop: observed.ending.as_ref().and_then(|e| e.stop.clone()),
    }
}

fn containers_fact(observed: &Observed) -> ContainersFact {
    let ended = !observed.is_live();
    let started = observed.containers.iter().all(can_not_or_did_start);
    if observed.ending.is_some() {
        return if ended { ContainersFact::Stopped } else { ContainersFact::Stopping };
    }
    if started {
        return ContainersFact::Running;
    }
    // Not before the sandbox is there: from Accepted on a task without a trace counts as run.
    match observed.ready_at {
        Some(_) => ContainersFact::Accepted,
        None => ContainersFact::Unseen,
    }
}

fn interface(assignment: &Assignment, observed: &Observed) -> InterfaceFact {
    if assignment.interface.is_none() {
        return InterfaceFact::NotNeeded;
    }
    match (&observed.sandbox, observed.ready_at) {
        (Sandbox::Removed { .. }, _) => InterfaceFact::Released,
        (_, Some(_)) => InterfaceFact::Attached,
        (_, None) => InterfaceFact::Wanted,
    }
}

fn container(
    template: &ContainerTemplate,
    seen: &ObservedContainer,
    observed: &Observed,
    stopped: bool,
) -> ContainerReport {
    let ending = observed.ending.as_ref();
    let ended =
        has_ended(template, seen) || (ending.is_some() && matches!(seen.run, Run::Exited { .. }));
    let phase = match () {
        () if ended || stopped => ContainerPhase::Stopped,
        () if seen.started_at.is_some() => ContainerPhase::Running,
        () => ContainerPhase::Pending,
    };
    let (exit_code, reason, stopped_at) = match &seen.run {
        Run::Exited { exit, reason, .. } if ended => {
            (Some(exit.code), reason.clone(), Some(exit.at))
        }
        Run::StartFailed { reason, code, at } => (Some(*code), Some(reason.clone()), Some(*at)),
        _ => (None, never_ran(seen, observed), observed.ended_at.filter(|_| stopped)),
    };
    ContainerReport {
        name: seen.name.clone(),
        phase,
        image_digest: seen.image_digest.clone(),
        exit_code,
        reason,
        health: seen.health,
        health_at: seen.health_at,
        restart_count: seen.attempt.saturating_sub(1),
        started_at: seen.started_at,
        stopped_at,
    }
}

/// Why a container that has no exit code has none.
fn never_ran(seen: &ObservedContainer, observed: &Observed) -> Option<String> {
    if let Image::Failed { reason, .. } = &seen.image {
        return Some(reason.clone());
    }
    let blocked = observed.ending.as_ref().and_then(|e| e.blocked.as_ref());
    match blocked.filter(|(name, _)| *name == seen.name) {
        Some((_, reason)) => Some(reason.clone()),
        None => observed.lost_at.map(|_| texts::SUPERVISOR_LOST.to_owned()),
    }
}

fn times(observed: &Observed, fact: ContainersFact) -> ReportTimes {
    let containers = &observed.containers;
    let pulled_at = |c: &ObservedContainer| match c.image {
        Image::Present { at } => Some(at),
        _ => None,
    };
    let all_pulled = containers.iter().all(|c| pulled_at(c).is_some());
    // When no essential container ran, execution stops when all is over.
    let ending_at = observed.ending.as_ref().map(|e| e.at);
    let over_at = observed.ended_at.or(ending_at).filter(|_| fact == ContainersFact::Stopped);
    let ran = containers.iter().all(can_not_or_did_start);
    ReportTimes {
        pull_started_at: containers.iter().filter_map(|c| c.pull_asked_at).min(),
        pull_stopped_at: all_pulled
            .then(|| containers.iter().filter_map(pulled_at).max())
            .flatten(),
        connectivity_at: observed.ready_at,
        started_at: ran.then(|| containers.iter().filter_map(|c| c.started_at).max()).flatten(),
        execution_stopped_at: observed.first_end_at.or(over_at),
    }
}
