//! The embedded engine: a redb file that makes groups of transactions durable and gives the state
//! back when the process starts. It is never read in between.
//!
//! A commit appends the group's rows to a log table: one leaf at the end of a tree, whatever the
//! keys. Rows are folded into the table of records later, when nobody waits; a row whose record
//! has been written again since is dropped on the way, so a task's many changes cost one place in
//! the records. What is in the log and not yet folded is replayed at open.

mod folder;
mod load;
mod row;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use redb::{Database, ReadableTable, StorageBackend, TableDefinition, WriteTransaction};

use crate::commit::{Group, Journal};
use crate::limits::{
    ENGINE_CACHE_BYTES, FOLD_BYTES, LOG_BYTES_MAX, LOG_KEPT_BYTES,
};
use crate::record::{Kinds, RecordFailure};
use crate::snapshot::{Revision, State};
use crate::txn::StorageFailure;

/// The version of what lies in the file. Rises when an older program could no longer read it.
pub(crate) const FORMAT: u64 = 1;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// "kind/key" → checksum, revision, version, body.
const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
/// (last revision of the group, part) → rows.
const LOG: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("log");

const META_FORMAT: &str = "format";
const META_CLUSTER: &str = "cluster";
/// The revision up to which the log has been folded.
const META_FOLDED: &str = "folded";

/// Why a data folder can't be opened. Nothing in it is changed then.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    #[error("the folder {path} can't be used")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the folder {path} is in use by process {pid}")]
    InUse { path: PathBuf, pid: String },
    #[error(
        "{path} has format version {found}, but this program knows versions up to {newest}: \
         it was written by a newer program"
    )]
    Newer { path: PathBuf, found: u64, newest: u64 },
    #[error("the state database {path} is damaged: {what}. It was left as it is")]
    Damaged { path: PathBuf, what: String },
    #[error("the state database {path} can't be read")]
    Storage {
        path: PathBuf,
        #[source]
        source: StorageFailure,
    },
    #[error("the record {key} in {path} can't be read")]
    Record {
        path: PathBuf,
        key: String,
        #[source]
        source: RecordFailure,
    },
    #[error("{path} holds the record {key}, of a kind this program does not know")]
    UnknownKind { path: PathBuf, key: String },
}

pub(crate) struct Opened {
    pub state: State,
    pub journal: Disk,
    pub cluster: String,
}

/// What the database file lies on; tests put faults here. It is opened again after a failure.
pub(crate) trait Medium: Send {
    fn open(&self) -> std::io::Result<Box<dyn StorageBackend>>;
}

/// Opens the state in a folder, making it if there is none.
pub(crate) fn open(dir: &Path, kinds: Kinds) -> Result<Opened, OpenFailure> {
    let folder = folder::Folder::lock(dir)?;
    let path = folder.database_path();
    folder.create_if_absent(create)?;
    open_medium(Box::new(folder), &path, kinds)
}

/// Opens the state on any medium; `path` is for messages. An empty medium becomes a new state.
pub(crate) fn open_medium(
    medium: Box<dyn Medium>,
    path: &Path,
    kinds: Kinds,
) -> Result<Opened, OpenFailure> {
    let storage = |source: redb::Error| load::explain(path, source);
    let opening = || open_database(&*medium);
    let database = load::guard(path, opening)?.map_err(storage)?;
    let loaded = load::guard(path, || load::load(&database, path, kinds))??;
    let journal = Disk {
        medium,
        database: Some(database),
        suspect: false,
        log_bytes: loaded.log_bytes,
    };
    Ok(Opened { state: loaded.state, journal, cluster: loaded.cluster })
}

/// redb wants a type of its own, not a box.
#[derive(Debug)]
struct Boxed(Box<dyn StorageBackend>);

impl StorageBackend for Boxed {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }
}

fn open_database(medium: &dyn Medium) -> Result<Database, redb::Error> {
    let backend = medium.open()?;
    let mut builder = redb::Builder::new();
    builder.set_cache_size(ENGINE_CACHE_BYTES);
    Ok(builder.create_with_backend(Boxed(backend))?)
}

/// Fills a new file: the tables, the format and the cluster's random name.
pub(crate) fn create(backend: Box<dyn StorageBackend>) -> Result<(), redb::Error> {
    let database = redb::Builder::new().create_with_backend(Boxed(backend))?;
    let txn = begin(&database)?;
    {
        let mut cluster = [0u8; 16];
        let random = ring::rand::SystemRandom::new();
        ring::rand::SecureRandom::fill(&random, &mut cluster)
            .map_err(|_| std::io::Error::other("the system has no randomness to give"))?;
        let mut meta = txn.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT.to_le_bytes().as_slice())?;
        meta.insert(META_CLUSTER, cluster.as_slice())?;
        meta.insert(META_FOLDED, 0u64.to_le_bytes().as_slice())?;
        txn.open_table(RECORDS)?;
        txn.open_table(LOG)?;
    }
    txn.commit()?;
    database.close()?;
    Ok(())
}

/// Every commit is two-phase, so that a torn header can't hide an older commit, and keeps the
/// allocator's state, so that opening after a kill does not walk the file.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut txn = database.begin_write()?;
    txn.set_durability(redb::Durability::Immediate)?;
    txn.set_two_phase_commit(true);
    txn.set_quick_repair(true);
    Ok(txn)
}

/// The journal over a redb file.
pub(crate) struct Disk {
    medium: Box<dyn Medium>,
    /// None after a failure: redb refuses everything then, so it is opened again.
    database: Option<Database>,
    /// A write failed with an unknown outcome: the file may hold rows that were never shown.
    suspect: bool,
    /// Bytes of rows in the log.
    log_bytes: usize,
}

impl Disk {
    /// The database, opened again if the last write failed.
    fn ready(&mut self) -> Result<&Database, redb::Error> {
        if self.database.is_none() {
            self.database = Some(open_database(&*self.medium)?);
            tracing::info!("the state database was opened again after a failure");
        }
        Ok(self.database.as_ref().expect("it was just opened"))
    }

    /// Runs a write transaction. Any failure leaves the database closed and suspect, for the next
    /// write to open and clear.
    fn write(
        &mut self,
        durable: Revision,
        fill: impl FnOnce(&WriteTransaction) -> Result<Change, redb::Error>,
    ) -> Result<(), StorageFailure> {
        let suspect = self.suspect;
        let attempt = |database: &Database| -> Result<Change, redb::Error> {
            let txn = begin(database)?;
            let mut change = Change::default();
            if suspect {
                change.removed += remove_after(&txn, durable)?;
            }
            let filled = fill(&txn)?;
            change.added += filled.added;
            change.removed += filled.removed;
            txn.commit()?;
            Ok(change)
        };
        match self.ready().and_then(attempt) {
            Ok(change) => {
                self.suspect = false;
                self.log_bytes = (self.log_bytes + change.added).saturating_sub(change.removed);
                Ok(())
            }
            Err(error) => {
                self.suspect = true;
                self.database = None;
                Err(StorageFailure::new(error))
            }
        }
    }
}

/// How many bytes of rows came into the log and left it.
#[derive(Default)]
struct Change {
    added: usize,
    removed: usize,
}

/// Removes rows of a write whose caller was told that it failed.
fn remove_after(txn: &WriteTransaction, durable: Revision) -> Result<usize, redb::Error> {
    let mut log = txn.open_table(LOG)?;
    let mut removed = 0;
    log.retain_in((durable.0 + 1, 0)..=(u64::MAX, u32::MAX), |_, rows| {
        removed += rows.len();
        false
    })?;
    Ok(removed)
}

/// Moves the oldest rows, about `budget_bytes` of them, from the log to the records.
fn fold(
    txn: &WriteTransaction,
    newest: &State,
    budget_bytes: usize,
) -> Result<usize, redb::Error> {
    let mut log = txn.open_table(LOG)?;
    let mut records = txn.open_table(RECORDS)?;
    let mut meta = txn.open_table(META)?;
    let mut removed = 0;
    while removed < budget_bytes {
        let Some((key, part)) = log.first()? else { break };
        let (revision, number) = key.value();
        if revision > newest.revision.0 {
            break;
        }
        let rows = row::Rows::new(part.value()).map_err(redb::Error::Corrupted)?;
        for found in rows {
            let found = found.map_err(redb::Error::Corrupted)?;
            if !is_newest(newest, &found) {
                continue;
            }
            match found.stored {
                Some(stored) => {
                    let record = row::encode_record(found.revision, stored);
                    records.insert(found.name, record.as_slice())?;
                }
                None => {
                    records.remove(found.name)?;
                }
            }
        }
        removed += part.value().len();
        drop((key, part));
        log.remove((revision, number))?;
        // A part of a group may stay behind; its revision then counts again when it goes.
        meta.insert(META_FOLDED, revision.to_le_bytes().as_slice())?;
    }
    Ok(removed)
}

/// Whether no later row of the log says something else about this record.
fn is_newest(newest: &State, found: &row::Found<'_>) -> bool {
    let Some((kind, key)) = found.name.split_once('/') else { return true };
    let entry = newest.kinds.find(kind).and_then(|kind| newest.entry(kind, key));
    match (entry, found.stored) {
        (Some(entry), Some(_)) => entry.revision == found.revision,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

impl Journal for Disk {
    fn append(&mut self, group: &Group, before: &State) -> Result<(), StorageFailure> {
        let parts = row::encode_group(group, &before.kinds);
        // When nobody ever pauses, folding rides along and keeps pace.
        let overdue = self.log_bytes > LOG_BYTES_MAX;
        self.write(before.revision, |txn| {
            let mut change = Change::default();
            let mut log = txn.open_table(LOG)?;
            for (number, part) in (0u32..).zip(&parts) {
                log.insert((group.revision.0, number), part.as_slice())?;
                change.added += part.len();
            }
            drop(log);
            if overdue {
                change.removed += fold(txn, before, 2 * change.added)?;
            }
            Ok(change)
        })
    }

    fn tidy(&mut self, newest: &State) -> Result<bool, StorageFailure> {
        if self.database.is_none() || self.log_bytes <= LOG_KEPT_BYTES {
            return Ok(false);
        }
        self.write(newest.revision, |txn| {
            let removed = fold(txn, newest, FOLD_BYTES)?;
            Ok(Change { added: 0, removed })
        })?;
        Ok(true)
    }
}
