//! What a service says of its tasks' targets: that they were registered and let go, that one is
//! unhealthy and why. The progress remembers what was told of each task, so that each change is
//! told once, and those of one plan together.

use super::{Standing, Work, events};
use model::TaskId;
use model::balancing::TargetState;
use model::facts::{Desired, TargetFact};
use model::service::{ServiceLoadBalancer, ServiceProgress};
use model::task::Task;
use std::collections::BTreeMap;

/// One target of a task.
#[derive(Clone, Copy, Debug)]
pub struct TargetSeen<'a> {
    /// The target group's ARN.
    pub group: &'a str,
    pub port: u16,
    pub state: TargetState,
    /// In words.
    pub reason: Option<&'a str>,
}

/// The load balancers of the task's deployment.
fn links<'a>(progress: &'a ServiceProgress, task: &Task) -> &'a [ServiceLoadBalancer] {
    let by = task.started_by.as_deref();
    let mut all = progress.deployments.iter().chain(&progress.finished);
    let deployment = all.find(|known| Some(known.id.as_str()) == by);
    deployment.map_or(&[], |deployment| &deployment.template.load_balancers)
}

impl Work<'_> {
    pub(super) fn tell_of_targets(&mut self, mint: &mut dyn FnMut() -> u128) {
        let mut told = std::mem::take(&mut self.progress.targets_told);
        let mut registered: BTreeMap<String, usize> = BTreeMap::new();
        let mut deregistered: BTreeMap<String, usize> = BTreeMap::new();
        let mut draining = 0;
        told.retain(|id, _| self.view.tasks.iter().any(|seen| seen.task.id == *id));
        for task in self.view.tasks.iter().map(|seen| seen.task) {
            let fact = task.facts.target;
            let before = told.get(&task.id).copied().unwrap_or(TargetFact::Wanted);
            let links = links(&self.progress, task);
            if links.is_empty() || fact <= before {
                continue;
            }
            for group in links.iter().map(|link| &link.target_group_arn) {
                if before < TargetFact::Registered {
                    *registered.entry(group.clone()).or_default() += 1;
                }
                if before < TargetFact::Draining && fact >= TargetFact::Draining {
                    *deregistered.entry(group.clone()).or_default() += 1;
                }
            }
            // One that ended by itself has nothing to drain.
            let asked = task.facts.desired == Desired::Stopped;
            let lets_go = before < TargetFact::Draining && fact >= TargetFact::Draining;
            draining += usize::from(asked && lets_go);
            told.insert(task.id.clone(), fact);
        }
        self.progress.targets_told = told;
        let service = self.view.service;
        for (group, count) in registered {
            self.event(events::registered(service, count, &group), mint);
        }
        if draining > 0 {
            self.event(events::draining(service, draining), mint);
        }
        for (group, count) in deregistered {
            self.event(events::deregistered(service, count, &group), mint);
        }
    }

    pub(super) fn tell_of_unhealthy(&mut self, mint: &mut dyn FnMut() -> u128) {
        let mut texts = Vec::new();
        for (seen, standing) in self.living.values().flatten() {
            if *standing != Standing::Unhealthy {
                continue;
            }
            let bad = seen.targets.iter().filter(|it| it.state == TargetState::Unhealthy);
            let service = self.view.service;
            texts.extend(bad.map(|target| events::unhealthy(service, &seen.task.id, target)));
        }
        for text in texts {
            self.event_once(text, mint);
        }
    }

    /// Unhealthy tasks by why they are stopped.
    pub(super) fn reasons(&self, tasks: &[TaskId]) -> BTreeMap<String, Vec<TaskId>> {
        let mut reasons: BTreeMap<String, Vec<TaskId>> = BTreeMap::new();
        for (seen, _) in self.living.values().flatten() {
            if !tasks.contains(&seen.task.id) {
                continue;
            }
            let mut targets = seen.targets.iter();
            let reason = match targets.find(|it| it.state == TargetState::Unhealthy) {
                Some(target) => events::failed_balancer_checks(target.group),
                None => events::UNHEALTHY.to_owned(),
            };
            reasons.entry(reason).or_default().push(seen.task.id.clone());
        }
        reasons
    }
}
