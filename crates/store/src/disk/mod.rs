//! The embedded engine: makes groups of transactions durable and gives the state back when the
//! process starts. It is never read in between.
//!
//! The truth is a log (`wal`): a group is one frame at the end of a file and one sync, whatever
//! its keys. Behind it, in a thread of their own, full segments of the log are folded (`fold`)
//! into the records, a redb file; a row whose record has been written again since is dropped on
//! the way, so a task's many changes cost one place in the records. At open the records are read
//! and what the log says is laid over them (`load`).

mod decode;
mod fold;
mod folder;
mod load;
mod row;
#[cfg(test)]
pub(crate) mod tests;
mod wal;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, StorageBackend, TableDefinition, WriteTransaction};

use crate::commit::{Group, Journal};
use crate::disk::fold::Folding;
use crate::disk::wal::Log;
use crate::limits::{
    ENGINE_CACHE_BYTES, WAL_BYTES_MAX, WAL_KEPT_BYTES, WAL_KEPT_SEGMENTS, WAL_SEGMENT_BYTES,
};
use crate::record::{Kinds, RecordFailure};
use crate::snapshot::State;
use crate::txn::StorageFailure;

/// The version of what lies in the folder. Rises when an older program could no longer read it.
pub(crate) const FORMAT: u64 = 1;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// "kind/key" → checksum, revision, version, body.
const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");

const META_FORMAT: &str = "format";
const META_CLUSTER: &str = "cluster";
/// The revision up to which the log has been folded.
const META_FOLDED: &str = "folded";
/// The newest revision folding has looked at: rows that it left out are superseded by then, so
/// the log must reach that far.
const META_RELIED: &str = "relied";
/// The `Tally` of the records.
const META_TALLY: &str = "tally";

/// Names an installation's state, so that files of different ones can't be mixed.
pub(crate) type Cluster = [u8; 16];

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

/// What the engine lies on: a folder, or in tests something that fails. Segments are named by the
/// first revision they may hold.
pub(crate) trait Medium: Send + Sync {
    /// The file of records, opened again after a failure.
    fn records(&self) -> std::io::Result<Box<dyn StorageBackend>>;
    /// The segments there are, in order.
    fn segments(&self) -> std::io::Result<Vec<u64>>;
    fn read_segment(&self, first: u64) -> std::io::Result<Vec<u8>>;
    /// An empty segment; one of this name was never of use and is replaced.
    fn create_segment(&self, first: u64) -> std::io::Result<Box<dyn Segment>>;
    fn remove_segment(&self, first: u64) -> std::io::Result<()>;
    /// Makes the names of new segments durable.
    fn sync_names(&self) -> std::io::Result<()>;
}

/// A segment being written.
pub(crate) trait Segment: Send {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    fn sync(&mut self) -> std::io::Result<()>;
}

/// The bounds of the log; tests make them small.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub segment_bytes: usize,
    pub kept_bytes: usize,
    pub kept_segments: usize,
    pub log_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            segment_bytes: WAL_SEGMENT_BYTES,
            kept_bytes: WAL_KEPT_BYTES,
            kept_segments: WAL_KEPT_SEGMENTS,
            log_bytes_max: WAL_BYTES_MAX,
        }
    }
}

pub(crate) struct Opened {
    pub state: State,
    pub journal: Disk,
    pub cluster: String,
}

/// Opens the state in a folder, making it if there is none.
pub(crate) fn open(dir: &Path, kinds: Kinds) -> Result<Opened, OpenFailure> {
    let folder = folder::Folder::lock(dir)?;
    folder.create_if_absent(create)?;
    open_medium(Arc::new(folder), dir, kinds, Bounds::default())
}

/// Opens the state on any medium that has been created; `path` is for messages.
pub(crate) fn open_medium(
    medium: Arc<dyn Medium>,
    path: &Path,
    kinds: Kinds,
    bounds: Bounds,
) -> Result<Opened, OpenFailure> {
    let opened = load::guard(path, || open_records(&*medium))?;
    let database = opened.map_err(|error| load::explain(path, error))?;
    let loaded = load::guard(path, || load::load(&database, &*medium, path, kinds))??;
    let folding = Folding::start(Arc::clone(&medium), database, loaded.segments, bounds);
    let log = Log::new(medium, loaded.cluster, bounds.segment_bytes);
    let cluster = crate::hex::encode(&loaded.cluster);
    Ok(Opened { state: loaded.state, journal: Disk { log, folding }, cluster })
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

fn open_records(medium: &dyn Medium) -> Result<Database, redb::Error> {
    let backend = medium.records()?;
    let mut builder = redb::Builder::new();
    builder.set_cache_size(ENGINE_CACHE_BYTES);
    Ok(builder.create_with_backend(Boxed(backend))?)
}

/// Fills a new file of records: the tables, the format and the cluster's random name.
pub(crate) fn create(backend: Box<dyn StorageBackend>) -> Result<(), redb::Error> {
    let database = redb::Builder::new().create_with_backend(Boxed(backend))?;
    let txn = begin(&database)?;
    {
        let mut cluster: Cluster = [0; 16];
        let random = ring::rand::SystemRandom::new();
        ring::rand::SecureRandom::fill(&random, &mut cluster)
            .map_err(|_| std::io::Error::other("the system has no randomness to give"))?;
        let mut meta = txn.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT.to_le_bytes().as_slice())?;
        meta.insert(META_CLUSTER, cluster.as_slice())?;
        meta.insert(META_FOLDED, 0u64.to_le_bytes().as_slice())?;
        meta.insert(META_RELIED, 0u64.to_le_bytes().as_slice())?;
        meta.insert(META_TALLY, row::Tally::default().encode().as_slice())?;
        txn.open_table(RECORDS)?;
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

/// The journal over a log and its records.
pub(crate) struct Disk {
    log: Log,
    folding: Folding,
}

impl Journal for Disk {
    fn attach(&mut self, published: &Arc<crate::commit::Shared>) {
        self.folding.attach(Arc::clone(published));
    }

    fn append(&mut self, group: &Group, before: &State) -> Result<(), StorageFailure> {
        self.folding.wait_for_room()?;
        let frame = row::encode_group(group, before.revision, &before.kinds);
        let sealed = self.log.append(before.revision, group.revision, &frame)?;
        if let Some(sealed) = sealed {
            self.folding.push(sealed);
        }
        Ok(())
    }
}
