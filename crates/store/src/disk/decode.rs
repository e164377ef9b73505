//! Decoding while loading. A large state is mostly JSON to be parsed, so batches of records go to
//! as many threads as the machine has, while the thread that opens reads on and puts what is
//! decoded into the state. A small state never starts a thread.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use crate::disk::OpenFailure;
use crate::record::{KindIndex, Kinds};
use crate::snapshot::{Entry, Revision, State};

/// Records decoded at a time.
const BATCH: usize = 512;
/// No machine gains from more.
const THREADS_MAX: usize = 16;

/// A record as it was stored.
pub(crate) struct Stored {
    /// "kind/key".
    pub name: String,
    pub revision: Revision,
    pub stored: Vec<u8>,
}

type Decoded = Vec<(KindIndex, Arc<str>, Entry)>;

/// Fills a state with records.
pub(crate) struct Filling<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    path: &'env Path,
    kinds: &'env Kinds,
    state: State,
    batch: Vec<Stored>,
    threads: Option<Threads>,
}

struct Threads {
    work: SyncSender<Vec<Stored>>,
    done: Receiver<Result<Decoded, OpenFailure>>,
    under_way: usize,
}

impl<'scope, 'env> Filling<'scope, 'env> {
    pub fn new(
        scope: &'scope Scope<'scope, 'env>,
        path: &'env Path,
        kinds: &'env Kinds,
    ) -> Filling<'scope, 'env> {
        let state = State::empty(kinds.clone());
        Filling { scope, path, kinds, state, batch: Vec::new(), threads: None }
    }

    pub fn add(&mut self, stored: Stored) -> Result<(), OpenFailure> {
        self.batch.push(stored);
        if self.batch.len() < BATCH {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let threads = match &mut self.threads {
            Some(threads) => threads,
            None => self.threads.insert(start(self.scope, self.path, self.kinds)),
        };
        // They end only when this is dropped, or by a panic, which the scope passes on.
        threads.under_way += usize::from(threads.work.send(batch).is_ok());
        while let Ok(decoded) = threads.done.try_recv() {
            threads.under_way -= 1;
            insert(&mut self.state, decoded?);
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<State, OpenFailure> {
        insert(&mut self.state, decode(self.path, self.kinds, &self.batch)?);
        if let Some(Threads { work, done, under_way }) = self.threads {
            drop(work);
            for decoded in done.iter().take(under_way) {
                insert(&mut self.state, decoded?);
            }
        }
        Ok(self.state)
    }
}

fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    path: &'env Path,
    kinds: &'env Kinds,
) -> Threads {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let (work, inbox) = sync_channel::<Vec<Stored>>(2 * threads);
    let (outbox, done) = channel();
    let inbox = Arc::new(Mutex::new(inbox));
    for _ in 0..threads {
        let (inbox, outbox) = (Arc::clone(&inbox), outbox.clone());
        scope.spawn(move || work_on(path, kinds, &inbox, &outbox));
    }
    Threads { work, done, under_way: 0 }
}

fn work_on(
    path: &Path,
    kinds: &Kinds,
    inbox: &Mutex<Receiver<Vec<Stored>>>,
    outbox: &Sender<Result<Decoded, OpenFailure>>,
) {
    loop {
        let next = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = next else { return };
        if outbox.send(decode(path, kinds, &batch)).is_err() {
            return;
        }
    }
}

fn decode(path: &Path, kinds: &Kinds, batch: &[Stored]) -> Result<Decoded, OpenFailure> {
    let mut decoded = Vec::with_capacity(batch.len());
    for Stored { name, revision, stored } in batch {
        let unknown = || OpenFailure::UnknownKind { path: path.to_owned(), key: name.clone() };
        let (kind, key) = name.split_once('/').ok_or_else(unknown)?;
        let kind = kinds.find(kind).ok_or_else(unknown)?;
        let value = (kinds.row(kind).decode)(stored).map_err(|source| OpenFailure::Record {
            path: path.to_owned(),
            key: name.clone(),
            source,
        })?;
        let bytes = u32::try_from(stored.len()).unwrap_or(u32::MAX);
        decoded.push((kind, Arc::from(key), Entry { revision: *revision, bytes, value }));
    }
    Ok(decoded)
}

fn insert(state: &mut State, decoded: Decoded) {
    for (kind, key, entry) in decoded {
        state.table_mut(kind).insert(key, entry);
    }
}
