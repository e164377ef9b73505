//! From the runtime's words to the plan's: events as they come, and the whole state of a task that
//! was begun before this agent started.

use model::Timestamp;
use model::container::Health;
use plan::lifecycle::{Event, Exit, Observed, Step};
use runtime::{
    ContainerExit, EventKind, HealthStatus, ObservedContainer, ObservedPhase, ObservedSandbox,
    Recovered, RecoveredState,
};

/// None: nothing that decides anything.
pub fn event(kind: EventKind) -> Option<Event> {
    Some(match kind {
        EventKind::SandboxReady { at } => Event::SandboxReady { at },
        EventKind::SandboxFailed { reason, at } => Event::SandboxFailed { reason, at },
        EventKind::SandboxLost { at } => Event::SandboxLost { at },
        EventKind::ContainerStarted { name, attempt, at, .. } => {
            Event::ContainerStarted { container: name, attempt, at }
        }
        EventKind::ContainerStartFailed { name, attempt, reason, code, at } => {
            Event::StartFailed { container: name, attempt, reason, code, at }
        }
        EventKind::ContainerExited { name, attempt, exit: ended } => {
            Event::ContainerExited { container: name, attempt, exit: exit(&ended) }
        }
        EventKind::Health { name, attempt, health } => {
            let at = health.at;
            Event::Health { container: name, attempt, health: self::health(health.status), at }
        }
        EventKind::LogGrew { .. } | EventKind::Warning { .. } => return None,
    })
}

fn exit(ended: &ContainerExit) -> Exit {
    let ContainerExit { code, signal, out_of_memory, at } = *ended;
    Exit { code, signal, out_of_memory, at }
}

fn health(status: HealthStatus) -> Health {
    match status {
        HealthStatus::Unknown => Health::Unknown,
        HealthStatus::Healthy => Health::Healthy,
        HealthStatus::Unhealthy => Health::Unhealthy,
    }
}

/// Tells `observed` all that was found, as if it had been told event by event.
pub fn fold(observed: &mut Observed, found: &Recovered, now: Timestamp) {
    observed.begun(&Step::CreateSandbox, now);
    let live = match &found.state {
        RecoveredState::Live(live) => live,
        RecoveredState::Lost => {
            observed.observe(&Event::SandboxLost { at: now });
            return;
        }
    };
    match &live.sandbox {
        ObservedSandbox::Making => {}
        ObservedSandbox::Ready { at } => observed.observe(&Event::SandboxReady { at: *at }),
        ObservedSandbox::Failed { reason, at } => {
            observed.observe(&Event::SandboxFailed { reason: reason.clone(), at: *at });
        }
    }
    for container in &live.containers {
        fold_container(observed, container, now);
    }
}

fn fold_container(observed: &mut Observed, found: &ObservedContainer, now: Timestamp) {
    let (container, attempt) = (found.name.clone(), found.attempt);
    observed.begun(&Step::StartContainer { container: container.clone(), attempt }, now);
    if let Some(at) = found.started_at {
        observed.observe(&Event::ContainerStarted { container: container.clone(), attempt, at });
    }
    match &found.phase {
        ObservedPhase::Starting | ObservedPhase::Running { .. } => {}
        ObservedPhase::StartFailed { reason, code, at } => {
            let (reason, code, at) = (reason.clone(), *code, *at);
            let container = container.clone();
            observed.observe(&Event::StartFailed { container, attempt, reason, code, at });
        }
        ObservedPhase::Exited(ended) => {
            let (container, exit) = (container.clone(), exit(ended));
            observed.observe(&Event::ContainerExited { container, attempt, exit });
        }
    }
    if let Some(told) = &found.health {
        let (health, at) = (health(told.status), told.at);
        observed.observe(&Event::Health { container, attempt, health, at });
    }
}

/// The containers that have a spool, and where its unacknowledged part begins.
pub fn logs(found: &Recovered) -> Vec<(String, u64)> {
    match &found.state {
        RecoveredState::Live(live) => {
            let each = live.containers.iter();
            each.map(|c| (c.name.clone(), c.log.acknowledged)).collect()
        }
        RecoveredState::Lost => Vec::new(),
    }
}
