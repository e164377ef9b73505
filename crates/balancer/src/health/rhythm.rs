//! When a target is looked at next. Checks are due once in an interval, counted from their start,
//! so that a slow answer doesn't shift the next; the first is due at once, the second after a part
//! of the interval that differs from target to target, so that targets that came together are not
//! checked together for ever.

use super::Checked;
use super::standing::{Look, Standing};
use crate::limits::{EARLY_CHECK_FIRST_MS, PROMPTED_CHECK_PAUSE_MS};
use model::balancing::TargetState;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub struct Rhythm {
    /// When the last look ended.
    last: Instant,
    due: Instant,
    interval: Duration,
    /// Early looks in a row.
    early: u32,
    spread: bool,
}

impl Rhythm {
    pub fn new(now: Instant) -> Rhythm {
        Rhythm { last: now, due: now, interval: Duration::ZERO, early: 0, spread: false }
    }

    /// A look has ended.
    pub fn looked(&mut self, look: Look, now: Instant, checked: &Checked) {
        self.last = now;
        self.interval = interval(checked);
        if look == Look::Early {
            self.early = self.early.saturating_add(1);
        }
        if look != Look::Due {
            return;
        }
        let step = if self.spread { self.interval } else { self.interval.mul_f64(part(checked)) };
        self.spread = true;
        self.due += step;
        // After a pause of ours (the machine slept) missed checks are not made up for.
        if self.due < now {
            self.due = now + self.interval;
        }
    }

    /// Another interval counts from now on.
    pub fn changed(&mut self, now: Instant, checked: &Checked) {
        self.interval = interval(checked);
        self.due = self.due.min(now + self.interval);
    }

    /// When the next look is, and of which kind.
    pub fn next(&self, last: Look, standing: &Standing) -> (Instant, Look) {
        let (pause, look) = match standing.state() {
            TargetState::Initial => {
                let doubled = 1u64 << self.early.min(16);
                (Duration::from_millis(EARLY_CHECK_FIRST_MS * doubled), Look::Early)
            }
            TargetState::Healthy if last == Look::Prompted && standing.is_doubted() => {
                (Duration::from_millis(PROMPTED_CHECK_PAUSE_MS), Look::Prompted)
            }
            _ => return (self.due, Look::Due),
        };
        let at = self.last + pause;
        if at < self.due { (at, look) } else { (self.due, Look::Due) }
    }

    /// The earliest a prompted look may be: prompts come with each request that fails.
    pub fn prompted(&self) -> Instant {
        self.last + Duration::from_millis(PROMPTED_CHECK_PAUSE_MS)
    }
}

fn interval(checked: &Checked) -> Duration {
    Duration::from_secs(u64::from(checked.check.interval_seconds.max(1)))
}

/// From a half to one and a half: which part of the interval passes before the second check.
fn part(checked: &Checked) -> f64 {
    let mut hasher = DefaultHasher::new();
    checked.key.hash(&mut hasher);
    0.5 + (hasher.finish() % 1000) as f64 / 1000.0
}
