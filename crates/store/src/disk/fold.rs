//! Folding: what sealed segments of the log say moves into the records, and the segments go.
//! A thread of its own does it, so that no commit waits for it. Nothing depends on it being done
//! soon, or at all, but the size of the log and the time to open.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};

use crate::commit::Shared;
use crate::disk::wal::{self, Sealed};
use crate::disk::{
    Bounds, Cluster, META, META_CLUSTER, META_FOLDED, META_RELIED, META_TALLY, Medium, RECORDS,
    begin, open_records, row,
};
use crate::snapshot::State;
use crate::txn::StorageFailure;

/// How long to wait before folding again after it failed.
const RETRY: Duration = Duration::from_millis(500);

/// The committer's side of folding.
pub(crate) struct Folding {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

struct Queue {
    work: Mutex<Work>,
    changed: Condvar,
    bounds: Bounds,
}

struct Work {
    segments: VecDeque<Sealed>,
    bytes: usize,
    /// Where the newest state is found; absent until the store has started.
    shared: Option<Arc<Shared>>,
    failing: Option<StorageFailure>,
    stop: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Folding {
    /// `segments` are those found at open.
    pub fn start(
        medium: Arc<dyn Medium>,
        records: Database,
        segments: Vec<Sealed>,
        bounds: Bounds,
    ) -> Folding {
        let bytes = segments.iter().map(|sealed| sealed.bytes).sum();
        let segments = segments.into();
        let work = Work { segments, bytes, shared: None, failing: None, stop: false };
        let queue = Queue { work: Mutex::new(work), changed: Condvar::new(), bounds };
        let queue = Arc::new(queue);
        let folder = Folder { medium, records: Some(records), queue: Arc::clone(&queue) };
        let thread = std::thread::Builder::new()
            .name("store-fold".to_owned())
            .spawn(move || folder.run())
            .expect("a thread can be started while the process starts up");
        Folding { queue, thread: Some(thread) }
    }

    pub fn attach(&self, shared: Arc<Shared>) {
        self.queue.lock().shared = Some(shared);
        self.queue.changed.notify_all();
    }

    pub fn push(&self, sealed: Sealed) {
        let mut work = self.queue.lock();
        work.bytes += sealed.bytes;
        work.segments.push_back(sealed);
        drop(work);
        self.queue.changed.notify_all();
    }

    /// Waits while the log is as large as it may be; fails if folding does.
    pub fn wait_for_room(&self) -> Result<(), StorageFailure> {
        let mut work = self.queue.lock();
        while work.bytes > self.queue.bounds.log_bytes_max {
            if let Some(failure) = &work.failing {
                return Err(failure.clone());
            }
            work = self.queue.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl Drop for Folding {
    /// Waits for the thread: when this is gone, the files are free.
    fn drop(&mut self) {
        self.queue.lock().stop = true;
        self.queue.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the folding thread has panicked");
        }
    }
}

/// The thread's side.
struct Folder {
    medium: Arc<dyn Medium>,
    /// None after a failure: redb refuses everything then, so it is opened again.
    records: Option<Database>,
    queue: Arc<Queue>,
}

impl Folder {
    fn run(mut self) {
        while let Some((sealed, shared)) = self.next() {
            let newest = shared.published.load_full();
            // redb asserts what it believes about its file: damage must not end this thread.
            let folding = AssertUnwindSafe(|| self.fold(sealed, &newest));
            let outcome = catch_unwind(folding).unwrap_or_else(|_| {
                let damaged = "the records are damaged: folding into them panicked";
                Err(StorageFailure::new(std::io::Error::other(damaged)))
            });
            let mut work = self.queue.lock();
            match outcome {
                Ok(()) => {
                    work.segments.pop_front();
                    work.bytes -= sealed.bytes;
                    work.failing = None;
                }
                Err(failure) => {
                    tracing::error!(%failure, "the log could not be folded into the records");
                    work.failing = Some(failure);
                    self.records = None;
                    // Those who wait for room learn of it now.
                    self.queue.changed.notify_all();
                    let changed = &self.queue.changed;
                    let waited = changed.wait_timeout_while(work, RETRY, |work| !work.stop);
                    work = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
            drop(work);
            self.queue.changed.notify_all();
        }
    }

    /// Waits for a segment that should be folded. None: stop.
    fn next(&self) -> Option<(Sealed, Arc<Shared>)> {
        let mut work = self.queue.lock();
        loop {
            if work.stop {
                return None;
            }
            let due = work.bytes > self.queue.bounds.kept_bytes
                || work.segments.len() > self.queue.bounds.kept_segments;
            if let (true, Some(sealed), Some(shared)) =
                (due, work.segments.front(), work.shared.clone())
            {
                return Some((*sealed, shared));
            }
            work = self.queue.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn fold(&mut self, sealed: Sealed, newest: &State) -> Result<(), StorageFailure> {
        if self.records.is_none() {
            self.records = Some(open_records(&*self.medium).map_err(StorageFailure::new)?);
            tracing::info!("the records were opened again after a failure");
        }
        let records = self.records.as_ref().expect("just opened");
        let bytes = self.medium.read_segment(sealed.first).map_err(StorageFailure::new)?;
        fold(records, &bytes, sealed, newest).map_err(StorageFailure::new)?;
        self.medium.remove_segment(sealed.first).map_err(StorageFailure::new)
    }
}

fn fold(
    records: &Database,
    segment: &[u8],
    sealed: Sealed,
    newest: &State,
) -> Result<(), redb::Error> {
    let cluster = read_cluster(records)?;
    // The segment after it begins where what counts of this one ends.
    let next = Some(sealed.last + 1);
    let frames = wal::read(segment, &cluster, sealed.first, next).map_err(|unusable| {
        redb::Error::Corrupted(match unusable {
            wal::Unusable::Damaged(what) => what,
            _ => format!("log segment {} changed after it was written", sealed.first),
        })
    })?;
    // The last of each record, in key order.
    let mut rows = BTreeMap::new();
    for frame in frames {
        for found in row::Rows::new(frame.rows) {
            let found = found.map_err(redb::Error::Corrupted)?;
            if is_newest(newest, &found) {
                rows.insert(found.name, found);
            }
        }
    }
    let txn = begin(records)?;
    write(&txn, &rows)?;
    {
        let mut meta = txn.open_table(META)?;
        for (key, revision) in [(META_FOLDED, sealed.last), (META_RELIED, newest.revision.0)] {
            // A segment may be folded again, after a crash before it was removed.
            let before = read_number(&meta, key)?;
            meta.insert(key, revision.max(before).to_le_bytes().as_slice())?;
        }
    }
    txn.commit()?;
    Ok(())
}

fn write(txn: &WriteTransaction, rows: &BTreeMap<&str, row::Found<'_>>) -> Result<(), redb::Error> {
    let mut records = txn.open_table(RECORDS)?;
    let mut meta = txn.open_table(META)?;
    let tally = meta.get(META_TALLY)?.and_then(|tally| row::Tally::decode(tally.value()));
    let mut tally = tally.ok_or_else(|| lost(META_TALLY))?;
    for (name, found) in rows {
        let old = match found.stored {
            Some(stored) => {
                let record = row::encode_record(name, found.revision, stored);
                tally.add(&record);
                records.insert(name, record.as_slice())?
            }
            None => records.remove(name)?,
        };
        if let Some(old) = old {
            tally.remove(old.value());
        }
    }
    meta.insert(META_TALLY, tally.encode().as_slice())?;
    Ok(())
}

fn lost(key: &str) -> redb::Error {
    redb::Error::Corrupted(format!("the records lost their {key}"))
}

fn read_number(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<u64, redb::Error> {
    let number = meta.get(key)?.and_then(|number| number.value().try_into().ok());
    number.map(u64::from_le_bytes).ok_or_else(|| lost(key))
}

fn read_cluster(records: &Database) -> Result<Cluster, redb::Error> {
    let txn = records.begin_read()?;
    let meta = txn.open_table(META)?;
    let cluster = ReadableTable::get(&meta, META_CLUSTER)?;
    let cluster = cluster.and_then(|cluster| Cluster::try_from(cluster.value()).ok());
    cluster.ok_or_else(|| lost(META_CLUSTER))
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
