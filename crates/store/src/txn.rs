//! Optimistic transactions: read from a snapshot, remember what was read, write into a buffer,
//! and commit only if nothing that was read has changed since. Encoding happens here, on the
//! caller's thread, so that the committer has next to nothing to do per transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limits::{KEY_BYTES_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_OPERATIONS_MAX};
use crate::record::{KindIndex, Record, Value, encode};
use crate::snapshot::{Revision, Snapshot, typed};
use crate::store::Store;

/// Where a record lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub kind: KindIndex,
    pub key: Arc<str>,
}

pub(crate) enum Write {
    Put { value: Value, stored: Vec<u8> },
    Delete,
}

/// Why a commit did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitFailure {
    /// Something the transaction relied on has changed: begin again from a newer snapshot.
    #[error("the record {key} has changed since it was read")]
    Conflict { key: String },
    #[error("{found} operations in one transaction, the most is {TRANSACTION_OPERATIONS_MAX}")]
    TooManyOperations { found: usize },
    /// `what` is the key that is too long, or the transaction as a whole.
    #[error("{what} has {bytes} bytes, the most is {bytes_max}")]
    TooLarge { what: String, bytes: usize, bytes_max: usize },
    /// The write could not be made durable, a full disk for example. It is not visible and will
    /// not become so while this process lives; should the process die before the next commit
    /// succeeds, it may be found applied, whole, after a restart.
    #[error("the state could not be made durable")]
    Storage(#[source] StorageFailure),
    #[error("the store is closed")]
    Closed,
}

/// A failure of the disk or of the engine on it. Shared, because a group of transactions fails
/// together.
#[derive(Debug, Clone)]
pub struct StorageFailure(pub(crate) Arc<dyn std::error::Error + Send + Sync>);

impl StorageFailure {
    pub(crate) fn new(source: impl std::error::Error + Send + Sync + 'static) -> StorageFailure {
        StorageFailure(Arc::new(source))
    }
}

impl std::fmt::Display for StorageFailure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

impl std::error::Error for StorageFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// A transaction that has not been committed. Dropping it does nothing.
pub struct Txn {
    store: Store,
    snapshot: Snapshot,
    reads: BTreeMap<Address, Revision>,
    writes: BTreeMap<Address, Write>,
}

impl Txn {
    pub(crate) fn new(store: Store, snapshot: Snapshot) -> Txn {
        Txn { store, snapshot, reads: BTreeMap::new(), writes: BTreeMap::new() }
    }

    /// The state this transaction reads. What is read from it directly (scans, say) is not
    /// guarded, and it does not show the transaction's own writes.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Reads a record and guards it: the commit fails if it is written, or appears, meanwhile.
    /// Shows the transaction's own writes.
    pub fn get<T: Record>(&mut self, key: &str) -> Option<Arc<T>> {
        let address = self.address::<T>(key);
        if let Some(write) = self.writes.get(&address) {
            return written(write);
        }
        let entry = self.snapshot.state.entry(address.kind, key);
        let revision = entry.map_or(Revision(0), |entry| entry.revision);
        let value = entry.map(|entry| typed(&entry.value));
        self.reads.insert(address, revision);
        value
    }

    /// Reads without guarding. Shows the transaction's own writes.
    pub fn peek<T: Record>(&self, key: &str) -> Option<Arc<T>> {
        let address = self.address::<T>(key);
        match self.writes.get(&address) {
            Some(write) => written(write),
            None => self.snapshot.get::<T>(key).map(|found| found.value),
        }
    }

    /// Writes a record under its own key, whether or not there is one already: guard with `get`
    /// or `expect_absent`, or be sure that this key has one writer.
    pub fn put<T: Record>(&mut self, record: T) {
        self.put_arc(Arc::new(record));
    }

    /// `put` for a record that is already shared.
    pub fn put_arc<T: Record>(&mut self, record: Arc<T>) {
        let address = self.address::<T>(&record.key());
        let stored = encode(&*record);
        self.writes.insert(address, Write::Put { value: record, stored });
    }

    /// Removes a record; removing what is not there is nothing.
    pub fn delete<T: Record>(&mut self, key: &str) {
        let address = self.address::<T>(key);
        self.writes.insert(address, Write::Delete);
    }

    /// The commit fails unless this key is absent then.
    pub fn expect_absent<T: Record>(&mut self, key: &str) {
        let address = self.address::<T>(key);
        self.reads.insert(address, Revision(0));
    }

    /// The commit fails unless this key is then at this revision (0: absent), as seen in an
    /// earlier snapshot.
    pub fn expect_revision<T: Record>(&mut self, key: &str, revision: Revision) {
        let address = self.address::<T>(key);
        self.reads.insert(address, revision);
    }

    /// Whether nothing is written so far.
    pub fn is_read_only(&self) -> bool {
        self.writes.is_empty()
    }

    /// Commits. The answer comes once the writes are durable and visible to `Store::snapshot`.
    /// A transaction that writes nothing only checks what it read. Dropping the future leaves
    /// open whether the commit happens.
    pub async fn commit(self) -> Result<Revision, CommitFailure> {
        self.check_bounds()?;
        let Txn { store, reads, writes, .. } = self;
        store.submit(reads.into_iter().collect(), writes.into_iter().collect()).await
    }

    fn address<T: Record>(&self, key: &str) -> Address {
        Address { kind: self.snapshot.state.kinds.of::<T>(), key: Arc::from(key) }
    }

    fn check_bounds(&self) -> Result<(), CommitFailure> {
        let found = self.reads.len().max(self.writes.len());
        if found > TRANSACTION_OPERATIONS_MAX {
            return Err(CommitFailure::TooManyOperations { found });
        }
        let mut bytes = 0;
        for (address, write) in &self.writes {
            if address.key.len() > KEY_BYTES_MAX {
                let kind = self.snapshot.state.kinds.row(address.kind).name;
                return Err(CommitFailure::TooLarge {
                    what: format!("a key of kind {kind}"),
                    bytes: address.key.len(),
                    bytes_max: KEY_BYTES_MAX,
                });
            }
            bytes += address.key.len();
            if let Write::Put { stored, .. } = write {
                bytes += stored.len();
            }
        }
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(CommitFailure::TooLarge {
                what: "the transaction".to_owned(),
                bytes,
                bytes_max: TRANSACTION_BYTES_MAX,
            });
        }
        Ok(())
    }
}

fn written<T: Record>(write: &Write) -> Option<Arc<T>> {
    match write {
        Write::Put { value, .. } => Some(typed(value)),
        Write::Delete => None,
    }
}
