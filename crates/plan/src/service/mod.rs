//! What a service needs next: which tasks to start, which to stop, and how its deployments stand
//! after that. A function of the wish, the progress so far, the tasks as they are and the time; its
//! answer is the new progress and two lists, to be committed together if the progress is unchanged.
//! Carried out again on its own result it asks for nothing: a fixpoint.
//! Source of the rules: ECS developer guide, deployment-type-ecs, service-throttle-logic,
//! deployment-circuit-breaker, container-instance-draining.

mod events;
mod failures;
mod leaving;
mod rollout;
mod standing;
mod targets;
mod zones;

pub use failures::{breaker_threshold, delay_ms};
pub use rollout::{Counts, Moves, moves};
pub use standing::Standing;
pub use targets::TargetSeen;

use crate::limits::{
    SERVICE_DEPLOYMENTS_KEPT_MAX, SERVICE_EVENTS_MAX, SERVICE_STARTS_PER_PLAN_MAX,
    SERVICE_STOPS_PER_PLAN_MAX,
};
use model::container::Health;
use model::facts::TaskStatus;
use model::service::{Deployment, Rollout, Service, ServiceEvent, ServiceProgress, ServiceStatus};
use model::task::Task;
use model::{DeploymentId, Digest, TaskId, Timestamp, ZoneName, uuid};
use std::collections::BTreeMap;

/// An event that says the same is not repeated within.
const EVENT_REPEATED_AFTER_MS: i64 = 6 * 60 * 60 * 1000;

/// A task of the service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceTask<'a> {
    pub task: &'a Task,
    /// What its containers' checks say; None: none is checked.
    pub health: Option<Health>,
    /// The targets that it is, or should be, while it runs.
    pub targets: &'a [TargetSeen<'a>],
    /// Its instance drains: it is to run elsewhere.
    pub leaving: bool,
}

/// What the plan reads.
#[derive(Clone, Copy, Debug)]
pub struct ServiceView<'a> {
    pub service: &'a Service,
    pub progress: Option<&'a ServiceProgress>,
    pub tasks: &'a [ServiceTask<'a>],
    /// Those that its subnets are in.
    pub zones: &'a [ZoneName],
    /// How long a task that nothing checks must run before it counts as healthy.
    pub settle_ms: i64,
    pub now: Timestamp,
}

/// A task to start: of which deployment, under which id, and in this zone alone.
#[derive(Clone, PartialEq, Debug)]
pub struct Start {
    pub deployment: DeploymentId,
    pub task: TaskId,
    pub zone: Option<ZoneName>,
}

/// A task to stop, and why.
#[derive(Clone, PartialEq, Debug)]
pub struct Halt {
    pub task: TaskId,
    pub reason: String,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ServicePlan {
    pub progress: ServiceProgress,
    pub start: Vec<Start>,
    pub stop: Vec<Halt>,
    /// When to look again even if nothing happens until then.
    pub again_at: Option<Timestamp>,
}

impl ServicePlan {
    /// Whether there is anything to commit.
    pub fn changes(&self, before: Option<&ServiceProgress>) -> bool {
        !self.start.is_empty() || !self.stop.is_empty() || before != Some(&self.progress)
    }
}

/// The status a client sees.
pub fn status(service: &Service, progress: Option<&ServiceProgress>) -> ServiceStatus {
    match progress {
        Some(progress) if progress.inactive_at.is_some() => ServiceStatus::Inactive,
        _ => service.status,
    }
}

/// The progress with the wish folded in: a deployment that was asked for and never seen is the
/// primary from here on. What the frontend shows right after a call is this.
pub fn fold(service: &Service, progress: Option<&ServiceProgress>) -> ServiceProgress {
    let mut progress = progress.cloned().unwrap_or_else(|| ServiceProgress::new(service));
    let wanted = &service.wanted;
    if !progress.knows(&wanted.id) {
        let deployment = Deployment {
            id: wanted.id.clone(),
            revision_number: wanted.revision_number,
            template: wanted.template.clone(),
            rollout: Rollout::InProgress,
            rollout_reason: events::in_progress(&wanted.id),
            was_completed: false,
            failed_tasks: 0,
            failed_in_a_row: 0,
            last_failure_at: None,
            counted: std::collections::BTreeSet::new(),
            created_at: wanted.asked_at,
            updated_at: wanted.asked_at,
            finished_at: None,
            rolled_back_to: None,
            images: BTreeMap::new(),
        };
        progress.deployments.insert(0, deployment);
        progress.steady = false;
    }
    progress
}

/// The images of all of a task's containers; None while one is not known.
fn images(task: &Task) -> Option<BTreeMap<String, Digest>> {
    let pairs = task.containers.iter();
    pairs.map(|c| Some((c.name.clone(), c.image_digest.clone()?))).collect()
}

/// `mint` gives the ids of tasks to start and of events.
pub fn reconcile(view: ServiceView<'_>, mint: &mut dyn FnMut() -> u128) -> ServicePlan {
    let mut work = Work::new(view);
    work.tell_of_targets(mint);
    work.settle_images();
    if view.service.status == ServiceStatus::Draining {
        work.drain(mint);
    } else {
        work.count_failures();
        work.break_circuit(mint);
        work.let_pending_go(mint);
        work.tell_of_waiting(mint);
        work.roll(mint);
        work.complete(mint);
        work.even_zones(mint);
    }
    work.finish()
}

/// What a living task is to its service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Primary,
    /// Of an older deployment.
    Old,
    /// On an instance that drains, whichever deployment's it is.
    Leaving,
}

/// The plan while it is made.
struct Work<'a> {
    view: ServiceView<'a>,
    progress: ServiceProgress,
    /// The living tasks of each deployment.
    living: BTreeMap<DeploymentId, Vec<(ServiceTask<'a>, Standing)>>,
    start: Vec<Start>,
    stop: Vec<Halt>,
    again_at: Option<Timestamp>,
}

impl<'a> Work<'a> {
    fn new(view: ServiceView<'a>) -> Self {
        let progress = fold(view.service, view.progress);
        let mut living: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut again_at: Option<Timestamp> = None;
        for seen in view.tasks {
            let standing = standing::of(seen, view);
            if let Standing::Settling { until } | Standing::Excused { until } = standing {
                again_at = Some(again_at.map_or(until, |at| at.min(until)));
            }
            if matches!(standing, Standing::Ending | Standing::Ended) {
                continue;
            }
            let by = DeploymentId::from(seen.task.started_by.as_deref().unwrap_or_default());
            living.entry(by).or_default().push((*seen, standing));
        }
        Self { view, progress, living, start: Vec::new(), stop: Vec::new(), again_at }
    }

    /// What a deployment's images are is settled by its first task that has them all. Source: ECS
    /// developer guide, deployment-type-ecs (container image resolution).
    fn settle_images(&mut self) {
        for deployment in self.progress.deployments.iter_mut().filter(|it| it.images.is_empty()) {
            let by = Some(deployment.id.as_str());
            let tasks = self.view.tasks.iter().map(|seen| seen.task);
            let own = tasks.filter(|task| task.started_by.as_deref() == by);
            let all = own.filter_map(|task| Some((task.created_at, &task.id, images(task)?)));
            if let Some((_, _, images)) = all.min_by_key(|(at, id, _)| (*at, *id)) {
                deployment.images = images;
            }
        }
    }

    fn look_again(&mut self, at: Timestamp) {
        self.again_at = Some(self.again_at.map_or(at, |known| known.min(at)));
    }

    /// A deleted service lets go of everything; when the last task has stopped it is inactive.
    fn drain(&mut self, mint: &mut dyn FnMut() -> u128) {
        let primary = self.progress.deployments[0].id.clone();
        let all: Vec<TaskId> =
            self.living.values().flatten().map(|(seen, _)| seen.task.id.clone()).collect();
        self.halt(&all, &events::scaling(&primary), mint);
        let ended = |seen: &ServiceTask<'_>| seen.task.last_status() == TaskStatus::Stopped;
        if self.progress.inactive_at.is_none() && self.view.tasks.iter().all(ended) {
            self.progress.inactive_at = Some(self.view.now);
        }
    }

    /// A task that stopped without ever having run is a failure of its deployment, once; one that
    /// is healthy ends a row of failures.
    fn count_failures(&mut self) {
        let now = self.view.now;
        for deployment in &mut self.progress.deployments {
            let of = |seen: &&ServiceTask<'_>| {
                seen.task.started_by.as_deref() == Some(deployment.id.as_str())
            };
            let tasks: Vec<_> = self.view.tasks.iter().filter(of).collect();
            failures::count(deployment, &tasks, now);
            // Only one that came after the failures: an old healthy task says nothing about them.
            let newer = |seen: &ServiceTask<'_>| seen.task.started_at > deployment.last_failure_at;
            let healthy = self.living.get(&deployment.id).is_some_and(|living| {
                living.iter().any(|(seen, standing)| *standing == Standing::Healthy && newer(seen))
            });
            if healthy && deployment.failed_in_a_row > 0 {
                deployment.failed_in_a_row = 0;
                deployment.updated_at = now;
            }
        }
    }

    /// A rollout ends early by too many failures or by its owner's wish: back to the newest
    /// deployment that was complete, or, with none, no further starts.
    fn break_circuit(&mut self, mint: &mut dyn FnMut() -> u128) {
        let service = self.view.service;
        let primary = &self.progress.deployments[0];
        if primary.rollout != Rollout::InProgress {
            return;
        }
        let threshold = breaker_threshold(service.desired_count);
        let broken = service.rules.circuit_breaker && primary.failed_in_a_row >= threshold;
        let stopped = service.abort.as_ref().filter(|abort| abort.deployment == primary.id);
        let rollback = match stopped {
            Some(abort) => abort.rollback,
            None if broken => service.rules.rollback,
            None => return,
        };
        let failed = primary.id.clone();
        let reason = if stopped.is_some() { events::STOPPED } else { events::CIRCUIT_BROKEN };
        let now = self.view.now;
        let primary = &mut self.progress.deployments[0];
        primary.rollout = Rollout::Failed;
        reason.clone_into(&mut primary.rollout_reason);
        primary.updated_at = now;
        primary.finished_at = Some(now);
        self.progress.steady = false;
        if stopped.is_none() {
            self.event(events::failed(service, &failed), mint);
        }
        if rollback {
            self.roll_back(&failed, mint);
        }
    }

    fn roll_back(&mut self, failed: &DeploymentId, mint: &mut dyn FnMut() -> u128) {
        let whole = |known: &&Deployment| known.was_completed && known.id != *failed;
        let mut all = self.progress.deployments.iter().chain(&self.progress.finished);
        let Some(mut back) = all.find(whole).cloned() else { return };
        self.progress.deployments[0].rolled_back_to = Some(back.id.clone());
        self.progress.deployments.retain(|known| known.id != back.id);
        self.progress.finished.retain(|known| known.id != back.id);
        back.rollout = Rollout::InProgress;
        back.rollout_reason = events::rolling_back_to(&back.id);
        back.finished_at = None;
        back.failed_in_a_row = 0;
        back.updated_at = self.view.now;
        self.event(events::rolling_back(self.view.service, &back.id), mint);
        self.progress.deployments.insert(0, back);
    }

    /// Starts and stops as far as the rules allow.
    fn roll(&mut self, mint: &mut dyn FnMut() -> u128) {
        let service = self.view.service;
        let counts = self.counts();
        let moves = rollout::moves(&counts);
        let primary = self.progress.deployments[0].id.clone();
        self.heed_protection(&moves, mint);
        let excess = self.victims(
            |side, standing| side == Side::Primary && *standing != Standing::Unhealthy,
            moves.stop_primary,
        );
        self.halt(&excess, &events::scaling(&primary), mint);
        self.tell_of_unhealthy(mint);
        let unhealthy = self.unhealthy(moves.stop_unhealthy);
        failures::count_unhealthy(&mut self.progress.deployments[0], &unhealthy, self.view.now);
        for (reason, tasks) in self.reasons(&unhealthy) {
            self.halt(&tasks, &reason, mint);
        }
        let leaving = self.victims(|side, _| side == Side::Leaving, moves.stop_leaving);
        self.halt(&leaving, events::DRAINED, mint);
        let replaced = self.victims(|side, _| side == Side::Old, moves.stop_old);
        self.halt(&replaced, &events::scaling(&primary), mint);
        let concerned = self.progress.deployments.len() > 1 || counts.leaving.living() > 0;
        if moves.deadlocked && concerned {
            self.event_once(events::deadlock(service), mint);
        }
        self.begin(0, moves.start.min(SERVICE_STARTS_PER_PLAN_MAX), mint);
        if let Some(old) = self.last_complete() {
            self.begin(old, moves.start_old.min(SERVICE_STARTS_PER_PLAN_MAX), mint);
        }
    }

    /// The deployment whose tasks a rollout replaces, if it may still start any.
    fn last_complete(&self) -> Option<usize> {
        let whole = |known: &Deployment| known.rollout == Rollout::Completed;
        let found = self.progress.deployments.iter().skip(1).position(whole)?;
        Some(found + 1)
    }

    /// Protected tasks stay until their time is up, and the service says that it waits for them.
    fn heed_protection(&mut self, moves: &Moves, mint: &mut dyn FnMut() -> u128) {
        if moves.stop_primary == 0 && !moves.waits_for_protected {
            return;
        }
        let now = self.view.now;
        let living = self.living.values().flatten();
        let until: Vec<Timestamp> = living
            .filter_map(|(seen, _)| seen.task.protected_until.filter(|at| *at > now))
            .collect();
        let Some(first) = until.iter().min() else { return };
        self.look_again(*first);
        let primary = self.progress.deployments[0].id.clone();
        self.event_once(events::protected(self.view.service, &primary, until.len()), mint);
    }

    fn counts(&self) -> Counts {
        let service = self.view.service;
        let primary = &self.progress.deployments[0];
        let mut counts = Counts {
            desired: service.desired_count,
            maximum_percent: service.rules.maximum_percent,
            minimum_healthy_percent: service.rules.minimum_healthy_percent,
            extra: self.extra(),
            given_up: primary.rollout == Rollout::Failed,
            old_may_start: self.last_complete().is_some(),
            ..Counts::default()
        };
        for (id, living) in &self.living {
            for (seen, standing) in living {
                let protected = seen.task.is_protected(self.view.now);
                let tally = match (self.side(id, seen), protected) {
                    (Side::Primary, _) => &mut counts.primary,
                    (Side::Old, false) => &mut counts.old,
                    (Side::Old, true) => &mut counts.kept,
                    (Side::Leaving, false) => &mut counts.leaving,
                    (Side::Leaving, true) => &mut counts.guarded,
                };
                tally.add(standing);
            }
        }
        counts
    }

    fn side(&self, deployment: &DeploymentId, seen: &ServiceTask<'_>) -> Side {
        match *deployment == self.progress.deployments[0].id {
            _ if seen.leaving => Side::Leaving,
            true => Side::Primary,
            false => Side::Old,
        }
    }

    /// The tasks to let go first among those that qualify: what does not run yet, then what is not
    /// healthy, then those of the fullest zone; among equals the oldest.
    fn victims(&self, qualifies: impl Fn(Side, &Standing) -> bool, count: u32) -> Vec<TaskId> {
        let mut left: Vec<(&Task, Standing)> = Vec::new();
        for (id, living) in &self.living {
            let free = living.iter().filter(|(seen, _)| !seen.task.is_protected(self.view.now));
            let fit = free.filter(|(seen, standing)| qualifies(self.side(id, seen), standing));
            left.extend(fit.map(|(seen, standing)| (seen.task, *standing)));
        }
        let zone = |task: &Task| task.facts.placed.as_ref().map(|placed| placed.zone.clone());
        let mut crowds: BTreeMap<_, u32> = BTreeMap::new();
        for (task, _) in &left {
            *crowds.entry(zone(task)).or_default() += 1;
        }
        let mut chosen = Vec::new();
        for _ in 0..count {
            let first = left.iter().enumerate().min_by_key(|(_, (task, standing))| {
                let crowd = crowds.get(&zone(task)).copied().unwrap_or(0);
                (standing.worth(), std::cmp::Reverse(crowd), task.created_at, &task.id)
            });
            let Some((at, _)) = first else { break };
            let (task, _) = left.remove(at);
            if let Some(crowd) = crowds.get_mut(&zone(task)) {
                *crowd -= 1;
            }
            chosen.push(task.id.clone());
        }
        chosen
    }

    fn unhealthy(&self, count: u32) -> Vec<TaskId> {
        let primary = &self.progress.deployments[0].id;
        let living = self.living.get(primary).into_iter().flatten();
        let stay = living.filter(|(seen, _)| !seen.leaving);
        let bad = stay.filter(|(_, standing)| *standing == Standing::Unhealthy);
        bad.take(count as usize).map(|(seen, _)| seen.task.id.clone()).collect()
    }

    /// Starts tasks of the deployment at this place.
    fn begin(&mut self, place: usize, count: u32, mint: &mut dyn FnMut() -> u128) {
        let deployment = &self.progress.deployments[place];
        if count == 0 || deployment.rollout == Rollout::Failed {
            return;
        }
        if let Some(until) = failures::held_until(deployment)
            && until > self.view.now
        {
            self.look_again(until);
            self.event_once(events::cannot_start(self.view.service), mint);
            return;
        }
        let deployment = deployment.id.clone();
        let started: Vec<TaskId> = (0..count).map(|_| TaskId::mint(mint())).collect();
        let unhealthy = self.unhealthy(u32::MAX).len();
        self.event(events::started(self.view.service, &started, unhealthy), mint);
        let start = |task: TaskId| Start { deployment: deployment.clone(), task, zone: None };
        self.start.extend(started.into_iter().map(start));
        self.progress.steady = false;
    }

    /// As many as one plan may stop; the rest is seen to by the next.
    fn halt(&mut self, tasks: &[TaskId], reason: &str, mint: &mut dyn FnMut() -> u128) {
        let left = SERVICE_STOPS_PER_PLAN_MAX.saturating_sub(self.stop.len());
        let tasks = &tasks[..tasks.len().min(left)];
        if tasks.is_empty() {
            return;
        }
        let runs = |id: &TaskId| {
            let mut seen = self.view.tasks.iter();
            seen.any(|seen| &seen.task.id == id && seen.task.last_status() == TaskStatus::Running)
        };
        let running: Vec<TaskId> = tasks.iter().filter(|id| runs(id)).cloned().collect();
        let pending = tasks.len() - running.len();
        if !running.is_empty() {
            self.event(events::stopped(self.view.service, &running), mint);
        }
        if pending > 0 {
            self.event(events::stopped_pending(self.view.service, pending), mint);
        }
        let halt = |id: &TaskId| Halt { task: id.clone(), reason: reason.to_owned() };
        self.stop.extend(tasks.iter().map(halt));
        self.progress.steady = false;
    }

    /// A rollout is complete when the primary has all its tasks and nobody else has any; the
    /// service is steady when none is to move elsewhere, or all have to stay where they are.
    fn complete(&mut self, mint: &mut dyn FnMut() -> u128) {
        let moving = !self.start.is_empty() || !self.stop.is_empty();
        let service = self.view.service;
        let primary = self.progress.deployments[0].id.clone();
        let is_old = |seen: &&ServiceTask<'_>| {
            seen.task.started_by.as_deref() != Some(primary.as_str())
                && seen.task.last_status() != TaskStatus::Stopped
        };
        let old_left = self.view.tasks.iter().any(|seen| is_old(&seen));
        let living = self.living.get(&primary).map_or(&[][..], Vec::as_slice);
        let desired = service.desired_count as usize;
        let whole = |stay: bool| {
            let counted = living.iter().filter(|(seen, _)| !(stay && seen.leaving));
            let standings: Vec<bool> = counted.map(|(_, standing)| standing.stands()).collect();
            standings.len() == desired && standings.into_iter().all(|stands| stands)
        };
        let all_there = whole(false);
        if moving || old_left || !(all_there || whole(true)) {
            return;
        }
        let now = self.view.now;
        let over: Vec<Deployment> = self.progress.deployments.drain(1..).collect();
        for mut deployment in over {
            deployment.finished_at = deployment.finished_at.or(Some(now));
            deployment.counted.clear();
            self.progress.finished.insert(0, deployment);
        }
        self.progress.finished.truncate(SERVICE_DEPLOYMENTS_KEPT_MAX);
        let primary = &mut self.progress.deployments[0];
        if primary.rollout == Rollout::InProgress {
            primary.rollout = Rollout::Completed;
            primary.rollout_reason = events::completed(&primary.id);
            primary.was_completed = true;
            primary.updated_at = now;
            primary.finished_at = Some(now);
            let id = primary.id.clone();
            self.event(events::deployment_completed(service, &id), mint);
        }
        if all_there && !self.progress.steady {
            self.progress.steady = true;
            self.event(events::steady(service), mint);
        }
    }

    fn event(&mut self, message: String, mint: &mut dyn FnMut() -> u128) {
        let event = ServiceEvent { id: uuid(mint()), at: self.view.now, message };
        self.progress.events.insert(0, event);
        self.progress.events.truncate(SERVICE_EVENTS_MAX);
    }

    /// Not again what was said in the last hours. Source: developer guide, service-event-messages.
    fn event_once(&mut self, message: String, mint: &mut dyn FnMut() -> u128) {
        let fresh = self.view.now.plus_ms(-EVENT_REPEATED_AFTER_MS);
        let said = self.progress.events.iter();
        if !said.take_while(|event| event.at > fresh).any(|event| event.message == message) {
            self.event(message, mint);
        }
    }

    /// Every plan that does anything moves the progress on, so that none is decided twice on one.
    fn finish(mut self) -> ServicePlan {
        let changed = self.view.progress != Some(&self.progress);
        if changed || !self.start.is_empty() || !self.stop.is_empty() {
            self.progress.generation += 1;
        }
        ServicePlan {
            progress: self.progress,
            start: self.start,
            stop: self.stop,
            again_at: self.again_at,
        }
    }
}
