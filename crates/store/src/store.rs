//! The store itself: a cheap handle over the state in memory and the engine that makes it durable.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::commit::{Committer, Forgetful, Journal, Message, Request, Shared, check_reads};
use crate::disk::{self, OpenFailure};
use crate::limits::{COMMIT_QUEUE_TRANSACTIONS_MAX, TRANSACT_ATTEMPTS_MAX};
use crate::record::Kinds;
use crate::snapshot::{Revision, Snapshot, State};
use crate::txn::{Address, CommitFailure, Txn, Write};
use crate::watch::{History, Watch};

/// The state database. Clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    engine: Arc<Engine>,
    cluster: Arc<str>,
}

enum Engine {
    /// A thread of its own, because making things durable blocks.
    Thread(mpsc::Sender<Message>),
    /// On the caller's thread: nothing blocks, and a simulation stays in one thread.
    Inline(Mutex<Option<Committer>>),
}

/// Why `transact` did not commit.
#[derive(Debug, thiserror::Error)]
pub enum TransactFailure<E> {
    /// The closure's own failure; nothing was written.
    #[error("the transaction was given up")]
    Aborted(E),
    #[error(transparent)]
    Commit(CommitFailure),
    #[error("gave up after {attempts} attempts: the record {key} changed each time")]
    Contended { attempts: u32, key: String },
}

impl Store {
    /// Opens the state in a folder, making both if need be. Blocks while it reads the state in.
    /// One process at a time: a folder in use is refused.
    pub fn open(dir: &Path, kinds: Kinds) -> Result<Store, OpenFailure> {
        let opened = disk::open(dir, kinds)?;
        Ok(Store::start(opened.state, Box::new(opened.journal), opened.cluster))
    }

    /// Opens the state on another medium than a folder: one that fails.
    #[cfg(test)]
    pub(crate) fn open_on(
        medium: Arc<dyn disk::Medium>,
        kinds: Kinds,
        bounds: disk::Bounds,
    ) -> Result<Store, OpenFailure> {
        let opened = disk::open_medium(medium, Path::new("medium"), kinds, bounds)?;
        Ok(Store::start(opened.state, Box::new(opened.journal), opened.cluster))
    }

    /// A store that is durable nowhere and never leaves the caller's thread: for the simulator
    /// and tests. All else is the same code.
    pub fn in_memory(kinds: Kinds) -> Store {
        let shared = share(State::empty(kinds));
        let committer = Committer { shared: Arc::clone(&shared), journal: Box::new(Forgetful) };
        let engine = Arc::new(Engine::Inline(Mutex::new(Some(committer))));
        Store { shared, engine, cluster: Arc::from("00000000000000000000000000000000") }
    }

    fn start(state: State, mut journal: Box<dyn Journal>, cluster: String) -> Store {
        let shared = share(state);
        journal.attach(&shared);
        let committer = Committer { shared: Arc::clone(&shared), journal };
        let (sender, inbox) = mpsc::channel(COMMIT_QUEUE_TRANSACTIONS_MAX);
        std::thread::Builder::new()
            .name("store-commit".to_owned())
            .spawn(move || committer.run(inbox))
            .expect("a thread can be started while the process starts up");
        Store { shared, engine: Arc::new(Engine::Thread(sender)), cluster: Arc::from(cluster) }
    }

    /// The random name, 32 hex digits, this state got when it was made.
    pub fn cluster_id(&self) -> &str {
        &self.cluster
    }

    /// The newest durable state.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { state: self.shared.published.load_full() }
    }

    /// A transaction over the newest snapshot.
    pub fn begin(&self) -> Txn {
        Txn::new(self.clone(), self.snapshot())
    }

    /// Watches everything committed after a revision, typically that of a snapshot just read.
    pub fn watch(&self, after: Revision) -> Watch {
        Watch::new(Arc::clone(&self.shared.history), after)
    }

    pub fn revision(&self) -> Revision {
        self.shared.published.load().revision
    }

    /// Waits until the store has moved beyond a revision and returns the newest. A wake-up that
    /// carries no data; on a closed store it waits for ever.
    pub async fn changed_after(&self, after: Revision) -> Revision {
        match self.shared.history.changed_after(after).await {
            Some(revision) => revision,
            None => std::future::pending().await,
        }
    }

    /// Commits what is under way, refuses what comes later, and returns once the folder is free
    /// for another process.
    pub async fn close(self) {
        match &*self.engine {
            Engine::Inline(committer) => {
                committer.lock().unwrap_or_else(PoisonError::into_inner).take();
                self.shared.history.close();
            }
            Engine::Thread(sender) => {
                let (closed, wait) = oneshot::channel();
                if sender.send(Message::Close(closed)).await.is_ok() {
                    // An error means that another handle's close came first.
                    let _ = wait.await;
                }
            }
        }
    }

    /// Runs the closure on a fresh transaction until it commits, fails for another reason than
    /// a conflict, or the closure gives up. The closure may run many times: it must have no
    /// effect but on the transaction.
    pub async fn transact<R, E>(
        &self,
        mut f: impl FnMut(&mut Txn) -> Result<R, E>,
    ) -> Result<(R, Revision), TransactFailure<E>> {
        let mut lost = String::new();
        for _ in 0..TRANSACT_ATTEMPTS_MAX {
            let mut txn = self.begin();
            let result = f(&mut txn).map_err(TransactFailure::Aborted)?;
            match txn.commit().await {
                Ok(revision) => return Ok((result, revision)),
                Err(CommitFailure::Conflict { key }) => lost = key,
                Err(failure) => return Err(TransactFailure::Commit(failure)),
            }
        }
        Err(TransactFailure::Contended { attempts: TRANSACT_ATTEMPTS_MAX, key: lost })
    }

    pub(crate) async fn submit(
        &self,
        reads: Vec<(Address, Revision)>,
        writes: Vec<(Address, Write)>,
    ) -> Result<Revision, CommitFailure> {
        if writes.is_empty() {
            let newest = self.shared.published.load();
            check_reads(&newest, &reads)?;
            return Ok(newest.revision);
        }
        let (answer, mut wait) = oneshot::channel();
        let request = Request { reads, writes, answer };
        match &*self.engine {
            Engine::Inline(committer) => {
                let mut committer = committer.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(committer) = committer.as_mut() else {
                    return Err(CommitFailure::Closed);
                };
                committer.commit(vec![request]);
                wait.try_recv().expect("an inline commit has answered")
            }
            Engine::Thread(sender) => {
                let sent = sender.send(Message::Commit(request)).await;
                sent.map_err(|_| CommitFailure::Closed)?;
                wait.await.unwrap_or(Err(CommitFailure::Closed))
            }
        }
    }
}

fn share(state: State) -> Arc<Shared> {
    let history = Arc::new(History::new(state.revision));
    Arc::new(Shared { published: ArcSwap::from_pointee(state), history })
}
