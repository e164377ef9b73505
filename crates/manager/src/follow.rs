//! Following one kind of record: first everything there is, then every change, and everything again
//! should the follower ever fall behind. An index folded from this is rebuilt and kept up by the
//! same code, so that a restart and the hot path are one path.

use std::marker::PhantomData;
use std::sync::Arc;
use store::{Batch, Record, Snapshot, Store, Watch, WatchFailure};

pub struct Follow<T> {
    store: Store,
    watch: Option<Watch>,
    kind: PhantomData<fn() -> T>,
}

/// What to fold into an index.
pub enum Step<T> {
    /// Forget all and read this.
    Everything(Snapshot),
    /// Keys with their records as they are now; None: removed.
    Changes(Vec<(Arc<str>, Option<Arc<T>>)>),
}

/// The store is closed; there is nothing more to follow.
#[derive(Debug)]
pub struct Closed;

impl<T: Record> Follow<T> {
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), watch: None, kind: PhantomData }
    }

    /// Waits for what is next. Safe to drop while waiting.
    pub async fn next(&mut self) -> Result<Step<T>, Closed> {
        loop {
            let Some(watch) = &mut self.watch else { return Ok(self.restart()) };
            match watch.next().await {
                Ok(batch) => {
                    let mut changes = Vec::new();
                    collect(&batch, &mut changes);
                    while let Ok(Some(more)) = watch.try_next() {
                        collect(&more, &mut changes);
                    }
                    if !changes.is_empty() {
                        return Ok(Step::Changes(changes));
                    }
                }
                Err(WatchFailure::Compacted { .. }) => self.watch = None,
                Err(WatchFailure::Closed) => return Err(Closed),
            }
        }
    }

    fn restart(&mut self) -> Step<T> {
        let snapshot = self.store.snapshot();
        self.watch = Some(self.store.watch(snapshot.revision()));
        Step::Everything(snapshot)
    }
}

fn collect<T: Record>(batch: &Batch, changes: &mut Vec<(Arc<str>, Option<Arc<T>>)>) {
    for change in &batch.changes {
        if let Some((_, new)) = change.of::<T>() {
            changes.push((Arc::clone(&change.key), new));
        }
    }
}
