//! What is known of targets: where opinions of the health checks arrive, where a target's last
//! request reports that it is drained, and where both become what the control plane is told. Off
//! the path of requests: one lock, taken when something changes.

use crate::group::Group;
use crate::health::Opinion;
use crate::target::Target;
use crate::time::now_ms;
use model::TargetGroupId;
use model::balancing::{Found, TargetKey, TargetState};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

pub type FoundTargets = Arc<BTreeMap<TargetKey, Found>>;

pub struct Board {
    book: Mutex<Book>,
    found: watch::Sender<FoundTargets>,
}

#[derive(Default)]
struct Book {
    groups: BTreeMap<TargetGroupId, Arc<Group>>,
    targets: BTreeMap<TargetKey, Arc<Target>>,
}

impl Board {
    pub fn new() -> Self {
        Self { book: Mutex::default(), found: watch::Sender::new(FoundTargets::default()) }
    }

    pub fn found(&self) -> watch::Receiver<FoundTargets> {
        self.found.subscribe()
    }

    /// What a new table has. Targets that are in it no more are forgotten and retired.
    pub fn replace(
        &self,
        groups: BTreeMap<TargetGroupId, Arc<Group>>,
        targets: BTreeMap<TargetKey, Arc<Target>>,
    ) {
        let mut book = self.book.lock().expect("no panic while it is held");
        let before = std::mem::replace(&mut *book, Book { groups, targets });
        for (id, group) in &book.groups {
            if !before.groups.get(id).is_some_and(|old| Arc::ptr_eq(old, group)) {
                // An opinion may have come between its making and now, for the group before.
                group.refresh();
            }
        }
        for (key, target) in &before.targets {
            if !book.targets.get(key).is_some_and(|now| Arc::ptr_eq(now, target)) {
                target.retire();
            }
        }
        self.found.send_if_modified(|found| {
            let mut now = BTreeMap::new();
            for (key, target) in &book.targets {
                let stays = before.targets.get(key).is_some_and(|old| Arc::ptr_eq(old, target));
                let known = found.get(key).filter(|_| stays).cloned();
                let known = known.unwrap_or(Found {
                    state: target.state(),
                    reason: None,
                    description: None,
                    drained: false,
                });
                now.insert(key.clone(), Found { drained: target.is_drained(), ..known });
            }
            let changed = now != **found;
            if changed {
                *found = Arc::new(now);
            }
            changed
        });
    }

    pub fn opine(&self, key: &TargetKey, opinion: Opinion) {
        let book = self.book.lock().expect("no panic while it is held");
        let Some(target) = book.targets.get(key) else { return };
        if let Some(group) = book.groups.get(&key.group) {
            let becomes = opinion.state == TargetState::Healthy && opinion.state != target.state();
            let slow = becomes && group.entry.settings.slow_start_seconds > 0 && group.has_warm();
            let since = if slow { now_ms() } else { 0 };
            if becomes {
                target.slow_since_ms.store(since, Ordering::Relaxed);
            }
            target.set_state(opinion.state);
            group.refresh();
            if slow {
                tracing::debug!(target = %target.shown, "slow start");
            }
        }
        let Opinion { state, reason, description } = opinion;
        let found = Found { state, reason, description, drained: target.is_drained() };
        self.publish(key, found);
    }

    /// Called for a draining target that has nothing to do any more.
    pub fn drained(&self, target: &Arc<Target>) {
        let key = &target.place.key;
        let book = self.book.lock().expect("no panic while it is held");
        let known = book.targets.get(key).is_some_and(|now| Arc::ptr_eq(now, target));
        let found = self.found.borrow().get(key).cloned();
        if let Some(found) = found.filter(|_| known) {
            self.publish(key, Found { drained: target.is_drained(), ..found });
        }
    }

    /// Warm again: who has been healthy for so long is out of slow start.
    pub fn end_slow_starts(&self) {
        let book = self.book.lock().expect("no panic while it is held");
        for group in book.groups.values() {
            let lasts = u64::from(group.entry.settings.slow_start_seconds) * 1000;
            for target in &group.targets {
                let since = target.slow_since_ms.load(Ordering::Relaxed);
                if since > 0 && now_ms().saturating_sub(since) >= lasts {
                    target.slow_since_ms.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    pub fn targets(&self) -> Vec<Arc<Target>> {
        let book = self.book.lock().expect("no panic while it is held");
        book.targets.values().cloned().collect()
    }

    fn publish(&self, key: &TargetKey, new: Found) {
        self.found.send_if_modified(|found| {
            if found.get(key) == Some(&new) {
                return false;
            }
            Arc::make_mut(found).insert(key.clone(), new);
            true
        });
    }
}
