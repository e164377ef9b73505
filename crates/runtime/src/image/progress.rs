//! How far a pull is, for someone who waits for it: told as it happens, at no cost when nobody
//! listens. Pulls share their layers, so a listener may hear of layers that are not its own; each
//! is named.

use super::digest::Digest;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The layers that this pull fetches, by their blobs, with their sizes in bytes. What is here
    /// already is not among them.
    Layers(Vec<(Digest, u64)>),
    /// So many bytes of a layer have arrived.
    Fetched { layer: Digest, bytes: u64, bytes_total: u64 },
    /// The layer is unpacked and in place.
    Unpacked { layer: Digest },
}

/// Called from the threads that do the work, so it must not wait.
pub type Watcher = Arc<dyn Fn(&Progress) + Send + Sync>;

/// Everyone who listens.
#[derive(Default)]
pub(crate) struct Watchers {
    all: Mutex<BTreeMap<u64, Watcher>>,
    count: AtomicU64,
    next: AtomicU64,
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watchers({})", self.count.load(Ordering::Relaxed))
    }
}

/// Listening, until it is dropped.
pub(crate) struct Watching {
    watchers: Arc<Watchers>,
    number: u64,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watchers.lock().remove(&self.number);
        self.watchers.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watchers {
    pub fn add(self: &Arc<Self>, watcher: Watcher) -> Watching {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, watcher);
        self.count.fetch_add(1, Ordering::Relaxed);
        Watching { watchers: Arc::clone(self), number }
    }

    /// `progress` is only made when there is someone to tell.
    pub fn tell(&self, progress: impl FnOnce() -> Progress) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let progress = progress();
        let all: Vec<Watcher> = self.lock().values().cloned().collect();
        for watcher in all {
            watcher(&progress);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Watcher>> {
        // The map is whole between statements.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
