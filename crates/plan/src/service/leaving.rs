//! Tasks on an instance that drains. Those that don't run yet are let go of at once; those that run
//! are replaced as the deployment's minimum and maximum allow (`rollout`), protected ones when
//! their time is up. Which of them there are is asked anew with every plan, so that an instance
//! that takes tasks again has kept what has not ended yet, and what came too much goes as any
//! excess does. None of this is a failure of a deployment.
//! Source: ECS developer guide, container-instance-draining. It doesn't say what protection means
//! there; here a drain heeds it as a deployment does.

use super::{ServiceTask, Work, events};
use model::TaskId;
use model::facts::TaskStatus;

impl Work<'_> {
    /// Not more than one plan may stop: the rest counts as there until the next.
    pub(super) fn let_pending_go(&mut self, mint: &mut dyn FnMut() -> u128) {
        let now = self.view.now;
        let pending = |seen: &ServiceTask<'_>| {
            let runs = seen.task.last_status() == TaskStatus::Running;
            seen.leaving && !runs && !seen.task.is_protected(now)
        };
        let living = self.living.values().flatten();
        let ids: Vec<TaskId> = living
            .filter(|(seen, _)| pending(seen))
            .map(|(seen, _)| seen.task.id.clone())
            .collect();
        self.halt(&ids, events::DRAINED, mint);
        for living in self.living.values_mut() {
            living.retain(|(seen, _)| !self.stop.iter().any(|halt| halt.task == seen.task.id));
        }
    }

    /// A task that finds no room is told of, as it may be what a drain waits for.
    pub(super) fn tell_of_waiting(&mut self, mint: &mut dyn FnMut() -> u128) {
        let mut living = self.living.values().flatten();
        if living.any(|(seen, _)| seen.task.waiting.is_some()) {
            self.event_once(events::no_room(self.view.service), mint);
        }
    }

    pub(super) fn anybody_leaves(&self) -> bool {
        self.living.values().flatten().any(|(seen, _)| seen.leaving)
    }
}
