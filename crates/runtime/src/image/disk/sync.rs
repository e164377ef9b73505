//! The syncing behind the scenes. It doesn't hold the store open: what it then leaves unmarked, the
//! next opening gives it again.

use super::lock;
use crate::image::digest::Digest;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

pub(super) struct Syncs {
    pub layers: OwnedFd,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    running: bool,
    /// The store is no longer open: its folder may be gone or someone else's.
    closed: bool,
    waiting: BTreeSet<Digest>,
    /// Removed since the batch at work was taken: what has their name now was not synced with it.
    removed: BTreeSet<Digest>,
}

impl Syncs {
    pub fn new(layers: OwnedFd) -> Self {
        Self { layers, queue: Mutex::default() }
    }

    pub fn close(&self) {
        lock(&self.queue).closed = true;
    }

    /// Takes it into the next batch.
    pub fn wait_for(&self, diff_id: Digest) {
        lock(&self.queue).waiting.insert(diff_id);
    }

    pub fn forget(&self, diff_id: Digest) {
        let mut queue = lock(&self.queue);
        queue.waiting.remove(&diff_id);
        if queue.running {
            queue.removed.insert(diff_id);
        }
    }

    /// Marks layers once they are safe from power loss. One thread at a time: a second would wait
    /// for the same disk, and what arrives meanwhile is taken by the next round.
    pub fn start(self: &Arc<Self>) {
        {
            let mut queue = lock(&self.queue);
            if queue.running || queue.waiting.is_empty() {
                return;
            }
            queue.running = true;
        }
        let syncs = Arc::clone(self);
        let started = std::thread::Builder::new().name("image-sync".to_owned()).spawn(move || {
            while let Some(batch) = syncs.next_batch() {
                syncs.sync(&batch);
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "layers stay unmarked until the next one comes");
            lock(&self.queue).running = false;
        }
    }

    fn next_batch(&self) -> Option<BTreeSet<Digest>> {
        let mut queue = lock(&self.queue);
        queue.removed.clear();
        let batch = std::mem::take(&mut queue.waiting);
        queue.running = !batch.is_empty();
        queue.running.then_some(batch)
    }

    fn sync(&self, batch: &BTreeSet<Digest>) {
        if let Err(error) = rustix::fs::syncfs(&self.layers) {
            tracing::warn!(%error, "syncing layers failed: a power loss would cost them");
            return;
        }
        // Held while marking, so that nothing is written after the store was closed.
        let queue = lock(&self.queue);
        if queue.closed {
            return;
        }
        for diff_id in batch.difference(&queue.removed) {
            let mark = format!("{}/synced", diff_id.hex());
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            match rustix::fs::openat(&self.layers, &mark, flags, Mode::RUSR | Mode::WUSR) {
                Ok(_) => {}
                // It is being removed just now.
                Err(Errno::NOENT) => {}
                Err(error) => tracing::warn!(%error, mark, "marking a layer as synced failed"),
            }
        }
    }
}
