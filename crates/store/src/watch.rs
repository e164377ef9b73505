//! Watching: every committed transaction becomes a batch in one bounded history that all watchers
//! share. A watcher is a position in it and owns no queue, so a slow one costs nothing; it is told
//! when it has fallen off the end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::limits::{HISTORY_BATCHES_MAX, HISTORY_BYTES_MAX};
use crate::record::Record;
use crate::snapshot::{Entry, Revision};

/// One record written or removed. `old` and `new` are never both absent.
#[derive(Clone, Debug)]
pub struct Change {
    pub kind: &'static str,
    pub key: Arc<str>,
    pub old: Option<Entry>,
    pub new: Option<Entry>,
}

impl Change {
    /// The record before and after, if the change is of this kind.
    pub fn of<T: Record>(&self) -> Option<(Option<Arc<T>>, Option<Arc<T>>)> {
        if self.kind != T::KIND {
            return None;
        }
        let get = |entry: &Option<Entry>| entry.as_ref().and_then(Entry::get::<T>);
        Some((get(&self.old), get(&self.new)))
    }
}

/// All that one transaction changed, in key order within a kind.
#[derive(Debug)]
pub struct Batch {
    pub revision: Revision,
    pub changes: Vec<Change>,
}

impl Batch {
    /// What the batch keeps alive, roughly, in bytes.
    fn bytes(&self) -> usize {
        let size = |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.bytes as usize);
        self.changes.iter().map(|c| c.key.len() + 96 + size(&c.old) + size(&c.new)).sum()
    }
}

/// Why a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchFailure {
    /// The changes after the watcher's position are no longer kept: read a snapshot and watch from
    /// its revision.
    #[error("the changes up to revision {up_to} are no longer kept")]
    Compacted { up_to: Revision },
    #[error("the store is closed")]
    Closed,
}

pub(crate) struct History {
    kept: Mutex<Kept>,
    /// The newest revision that watchers may see. Carries no data beyond it.
    newest: watch::Sender<Newest>,
}

#[derive(Clone, Copy)]
struct Newest {
    revision: Revision,
    closed: bool,
}

struct Kept {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// Changes up to this revision are gone.
    compacted: Revision,
}

impl History {
    pub fn new(revision: Revision) -> History {
        let kept = Kept { batches: VecDeque::new(), bytes: 0, compacted: revision };
        let (newest, _) = watch::channel(Newest { revision, closed: false });
        History { kept: Mutex::new(kept), newest }
    }

    /// Adds the batches of one group, which must follow those already there, and wakes the
    /// watchers.
    pub fn publish(&self, group: Vec<Arc<Batch>>) {
        let Some(last) = group.last().map(|batch| batch.revision) else { return };
        let mut dropped = Vec::new();
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            for batch in group {
                kept.bytes += batch.bytes();
                kept.batches.push_back(batch);
            }
            while kept.batches.len() > HISTORY_BATCHES_MAX || kept.bytes > HISTORY_BYTES_MAX {
                let Some(oldest) = kept.batches.pop_front() else { break };
                kept.bytes -= oldest.bytes();
                kept.compacted = oldest.revision;
                dropped.push(oldest);
            }
        }
        // Freeing records happens outside the lock that watchers take.
        drop(dropped);
        self.newest.send_modify(|newest| newest.revision = last);
    }

    pub fn close(&self) {
        self.newest.send_modify(|newest| newest.closed = true);
    }

    /// Waits until something after `after` is published; says so at once if it already is. None:
    /// closed.
    pub async fn changed_after(&self, after: Revision) -> Option<Revision> {
        let mut newest = self.newest.subscribe();
        let seen = newest.wait_for(|n| n.revision > after || n.closed).await.ok()?;
        (seen.revision > after).then_some(seen.revision)
    }

    fn next_after(&self, after: Revision) -> Result<Option<Arc<Batch>>, WatchFailure> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if after < kept.compacted {
            return Err(WatchFailure::Compacted { up_to: kept.compacted });
        }
        let at = kept.batches.partition_point(|batch| batch.revision <= after);
        Ok(kept.batches.get(at).map(Arc::clone))
    }
}

/// A position in the history. Every batch after it is delivered once, in order, or the watch says
/// `Compacted`.
pub struct Watch {
    history: Arc<History>,
    position: Revision,
}

impl Watch {
    pub(crate) fn new(history: Arc<History>, position: Revision) -> Watch {
        Watch { history, position }
    }

    /// The revision of the batch delivered last.
    pub fn position(&self) -> Revision {
        self.position
    }

    /// The next batch. Safe to drop while waiting: nothing is lost.
    pub async fn next(&mut self) -> Result<Arc<Batch>, WatchFailure> {
        loop {
            if let Some(batch) = self.try_next()? {
                return Ok(batch);
            }
            if self.history.changed_after(self.position).await.is_none() {
                return self.try_next()?.ok_or(WatchFailure::Closed);
            }
        }
    }

    /// The next batch if there is one already.
    pub fn try_next(&mut self) -> Result<Option<Arc<Batch>>, WatchFailure> {
        let next = self.history.next_after(self.position)?;
        if let Some(batch) = &next {
            self.position = batch.revision;
        }
        Ok(next)
    }
}
