//! When to look at which record again: deadlines, delays, the end of a wait. A loop sleeps until
//! the nearest.

use model::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The longest sleep, in milliseconds; the clock may be set while we sleep.
pub const SLEEP_MS_MAX: i64 = 60_000;

/// When to look at which record.
#[derive(Default)]
pub struct Agenda {
    by_time: BTreeSet<(Timestamp, Arc<str>)>,
    by_key: BTreeMap<Arc<str>, Timestamp>,
}

impl Agenda {
    pub fn set(&mut self, key: Arc<str>, at: Option<Timestamp>) {
        if let Some(old) = self.by_key.remove(&key) {
            self.by_time.remove(&(old, Arc::clone(&key)));
        }
        if let Some(at) = at {
            self.by_time.insert((at, Arc::clone(&key)));
            self.by_key.insert(key, at);
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_key.keys()
    }

    pub fn due(&self, now: Timestamp) -> Option<Arc<str>> {
        let (at, key) = self.by_time.first()?;
        (*at <= now).then(|| Arc::clone(key))
    }

    pub fn sleep(&self, now: Timestamp) -> Duration {
        let ms = self.by_time.first().map_or(SLEEP_MS_MAX, |(at, _)| at.since_ms(now));
        Duration::from_millis(ms.clamp(0, SLEEP_MS_MAX).unsigned_abs())
    }
}
