//! Committing: a group of transactions is checked against the newest state, made durable with one
//! write, and only then shown. The order is fixed: durable, snapshot, watchers, answers; so nobody
//! ever sees what a power cut could take back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::limits::{GROUP_BYTES_MAX, GROUP_TRANSACTIONS_MAX};
use crate::record::KindIndex;
use crate::snapshot::{Entry, Revision, State};
use crate::txn::{Address, CommitFailure, StorageFailure, Write};
use crate::watch::{Batch, Change, History};

/// Where groups become durable.
pub(crate) trait Journal: Send {
    /// Tells where the newest durable state is found, before the first commit.
    fn attach(&mut self, shared: &Arc<Shared>);

    /// Makes a group durable, or fails and leaves it without effect on what `append` writes later.
    fn append(&mut self, group: &Group, before: &State) -> Result<(), StorageFailure>;
}

/// What a group of transactions leaves behind: the last write of each key.
pub(crate) struct Group {
    pub revision: Revision,
    pub rows: BTreeMap<Address, Row>,
}

pub(crate) struct Row {
    pub revision: Revision,
    /// None: deleted. Else the stored form, version byte first.
    pub stored: Option<Vec<u8>>,
}

/// What readers and the committer share.
pub(crate) struct Shared {
    pub published: ArcSwap<State>,
    pub history: Arc<History>,
}

pub(crate) struct Request {
    pub reads: Vec<(Address, Revision)>,
    pub writes: Vec<(Address, Write)>,
    pub answer: oneshot::Sender<Result<Revision, CommitFailure>>,
}

impl Request {
    fn bytes(&self) -> usize {
        let size = |write: &Write| match write {
            Write::Put { stored, .. } => stored.len(),
            Write::Delete => 0,
        };
        self.writes.iter().map(|(address, write)| address.key.len() + size(write)).sum()
    }
}

pub(crate) enum Message {
    Commit(Request),
    Close(oneshot::Sender<()>),
}

pub(crate) struct Committer {
    pub shared: Arc<Shared>,
    pub journal: Box<dyn Journal>,
}

impl Committer {
    /// Commits a group and answers each of its transactions.
    pub fn commit(&mut self, requests: Vec<Request>) {
        let before = self.shared.published.load_full();
        let mut draft = Draft::new(&before);
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let outcome = draft.apply(&request.reads, request.writes);
            answers.push((request.answer, outcome));
        }
        let Draft { state, batches, group } = draft;
        let mut failure = None;
        if !batches.is_empty() {
            match self.journal.append(&group, &before) {
                Ok(()) => {
                    self.shared.published.store(Arc::new(state));
                    self.shared.history.publish(batches);
                }
                Err(storage) => {
                    tracing::error!(%storage, "a group of transactions could not be made durable");
                    failure = Some(storage);
                }
            }
        }
        for (answer, mut outcome) in answers {
            // A conflict may have been with a transaction of this very group, which now never
            // happened: so all of them fail alike.
            if let Some(storage) = &failure {
                outcome = Err(CommitFailure::Storage(storage.clone()));
            }
            // The caller may be gone; the commit stands all the same.
            let _ = answer.send(outcome);
        }
    }

    /// The committer's thread: takes all that waits and commits it.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        // However this thread ends, nobody may wait for it for ever.
        let ending = Closing(Arc::clone(&self.shared.history));
        while let Some(message) = inbox.blocking_recv() {
            let mut group = Vec::new();
            let mut closing = None;
            let mut bytes = 0;
            let mut next = Some(message);
            while let Some(message) = next {
                match message {
                    Message::Commit(request) => {
                        bytes += request.bytes();
                        group.push(request);
                    }
                    Message::Close(closed) => {
                        closing = Some(closed);
                        break;
                    }
                }
                let full = group.len() >= GROUP_TRANSACTIONS_MAX || bytes >= GROUP_BYTES_MAX;
                next = if full { None } else { inbox.try_recv().ok() };
            }
            if !group.is_empty() {
                self.commit(group);
            }
            if let Some(closed) = closing {
                // The engine goes first, so that the folder is free when close returns.
                drop(self.journal);
                drop(ending);
                let _ = closed.send(());
                return;
            }
        }
    }
}

/// Tells watchers that no more will come.
struct Closing(Arc<History>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Checks what a transaction read against a state.
pub(crate) fn check_reads(
    state: &State,
    reads: &[(Address, Revision)],
) -> Result<(), CommitFailure> {
    for (address, seen) in reads {
        let entry = state.entry(address.kind, &address.key);
        let found = entry.map_or(Revision(0), |entry| entry.revision);
        if found != *seen {
            let key = format!("{}/{}", state.kinds.row(address.kind).name, address.key);
            return Err(CommitFailure::Conflict { key });
        }
    }
    Ok(())
}

/// The state as it will be once the group is durable.
struct Draft {
    state: State,
    batches: Vec<Arc<Batch>>,
    group: Group,
}

impl Draft {
    fn new(before: &State) -> Draft {
        let group = Group { revision: before.revision, rows: BTreeMap::new() };
        Draft { state: before.clone(), batches: Vec::new(), group }
    }

    fn apply(
        &mut self,
        reads: &[(Address, Revision)],
        writes: Vec<(Address, Write)>,
    ) -> Result<Revision, CommitFailure> {
        check_reads(&self.state, reads)?;
        let revision = Revision(self.state.revision.0 + 1);
        let mut changes = Vec::with_capacity(writes.len());
        for (address, write) in writes {
            let change = self.write(address, write, revision);
            changes.extend(change);
        }
        if changes.is_empty() {
            return Ok(self.state.revision);
        }
        self.state.revision = revision;
        self.group.revision = revision;
        self.batches.push(Arc::new(Batch { revision, changes }));
        Ok(revision)
    }

    fn write(&mut self, address: Address, write: Write, revision: Revision) -> Option<Change> {
        let kind = self.kind_name(address.kind);
        let key = Arc::clone(&address.key);
        let table = self.state.table_mut(address.kind);
        match write {
            Write::Put { value, stored } => {
                let bytes = u32::try_from(stored.len()).expect("bounded by the transaction");
                let entry = Entry { revision, bytes, value };
                let old = table.insert(Arc::clone(&key), entry.clone());
                self.group.rows.insert(address, Row { revision, stored: Some(stored) });
                Some(Change { kind, key, old, new: Some(entry) })
            }
            Write::Delete => {
                let old = table.remove(&*key)?;
                self.group.rows.insert(address, Row { revision, stored: None });
                Some(Change { kind, key, old: Some(old), new: None })
            }
        }
    }

    fn kind_name(&self, kind: KindIndex) -> &'static str {
        self.state.kinds.row(kind).name
    }
}

/// Durable nowhere: for the simulator and tests.
pub(crate) struct Forgetful;

impl Journal for Forgetful {
    fn attach(&mut self, _shared: &Arc<Shared>) {}

    fn append(&mut self, _group: &Group, _before: &State) -> Result<(), StorageFailure> {
        Ok(())
    }
}
