//! Reading the state in: the records, and over them what the log says. Whatever is wrong with a
//! file ends here in a failure that says so, and the file stays as it is.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};

use crate::disk::decode::{Filling, Stored};
use crate::disk::row;
use crate::disk::wal::{self, Sealed, Unusable};
use crate::disk::{
    Cluster, FORMAT, META, META_CLUSTER, META_FOLDED, META_FORMAT, META_RELIED, META_TALLY, Medium,
    OpenFailure, RECORDS,
};
use crate::record::Kinds;
use crate::snapshot::{Revision, State};
use crate::txn::StorageFailure;

pub(crate) struct Loaded {
    pub state: State,
    pub cluster: Cluster,
    /// Those of the log that will have to be folded.
    pub segments: Vec<Sealed>,
}

/// redb asserts what it believes about its own file; on a damaged one those assertions are
/// failures, not bugs.
pub(crate) fn guard<T>(path: &Path, f: impl FnOnce() -> T) -> Result<T, OpenFailure> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "it makes no sense".to_owned());
        OpenFailure::Damaged { path: path.to_owned(), what }
    })
}

/// Sorts the engine's failures: the disk's, and those of the file's content.
pub(crate) fn explain(path: &Path, error: redb::Error) -> OpenFailure {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenFailure::InUse { path, pid: "unknown".to_owned() },
        redb::Error::UpgradeRequired(version) => {
            let what = format!("it has version {version} of the engine's file format");
            OpenFailure::Damaged { path, what }
        }
        // A page that points beyond the end, or a header that is none.
        redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => {
            OpenFailure::Damaged { path, what: error.to_string() }
        }
        error @ (redb::Error::Io(_) | redb::Error::PreviousIo) => {
            OpenFailure::Storage { path, source: StorageFailure::new(error) }
        }
        error => OpenFailure::Damaged { path, what: error.to_string() },
    }
}

pub(crate) fn load(
    database: &Database,
    medium: &dyn Medium,
    path: &Path,
    kinds: Kinds,
) -> Result<Loaded, OpenFailure> {
    let reader = Reader { path, kinds: Arc::new(kinds) };
    let storage = |error: redb::Error| explain(path, error);
    let txn = database.begin_read().map_err(|error| storage(error.into()))?;
    let meta = txn.open_table(META).map_err(|error| storage(error.into()))?;
    let format = reader.meta_number(&meta, META_FORMAT)?;
    if format > FORMAT {
        let path = path.to_owned();
        return Err(OpenFailure::Newer { path, found: format, newest: FORMAT });
    }
    let cluster = reader.meta(&meta, META_CLUSTER)?;
    let cluster = Cluster::try_from(cluster.as_slice())
        .map_err(|_| reader.damaged("its cluster has no proper name"))?;
    let folded = reader.meta_number(&meta, META_FOLDED)?;
    let records = txn.open_table(RECORDS).map_err(|error| storage(error.into()))?;
    let (contents, useless) = reader.segments(medium, &cluster, folded)?;
    let log = reader.log(&contents, &cluster, folded)?;
    let relied = reader.meta_number(&meta, META_RELIED)?;
    if log.revision < relied {
        let from = log.revision + 1;
        return Err(reader.damaged(format!("revisions {from} up to {relied} are missing")));
    }
    let wanted_tally = reader.meta(&meta, META_TALLY)?;
    let kinds = Arc::clone(&reader.kinds);
    let mut state = std::thread::scope(|scope| {
        let mut filling = Filling::new(scope, path, &kinds);
        let tally = reader.records(&records, &log, &mut filling).map_err(storage)??;
        if wanted_tally != tally.encode() {
            return Err(reader.damaged("records are missing, or there are some too many"));
        }
        for (name, newest) in &log.newest {
            if let Some(stored) = newest.stored {
                let (name, stored) = ((*name).to_owned(), stored.to_vec());
                filling.add(Stored { name, revision: newest.revision, stored })?;
            }
        }
        filling.finish()
    })?;
    state.revision = Revision(log.revision);
    for first in useless {
        let removed = medium.remove_segment(first).and_then(|()| medium.sync_names());
        removed.map_err(|error| storage(error.into()))?;
    }
    Ok(Loaded { state, cluster, segments: log.segments })
}

/// What the log says last of each record.
struct Log<'c> {
    newest: BTreeMap<&'c str, row::Found<'c>>,
    /// The last revision there is.
    revision: u64,
    segments: Vec<Sealed>,
}

/// A segment as it was read.
struct Content {
    first: u64,
    bytes: Vec<u8>,
}

struct Reader<'a> {
    path: &'a Path,
    kinds: Arc<Kinds>,
}

/// The engine's failure outside, the content's inside.
type Read<T> = Result<Result<T, OpenFailure>, redb::Error>;

impl Reader<'_> {
    fn damaged(&self, what: impl Into<String>) -> OpenFailure {
        OpenFailure::Damaged { path: self.path.to_owned(), what: what.into() }
    }

    fn meta(
        &self,
        meta: &ReadOnlyTable<&'static str, &'static [u8]>,
        key: &str,
    ) -> Result<Vec<u8>, OpenFailure> {
        let value = ReadableTable::get(meta, key).map_err(|e| explain(self.path, e.into()))?;
        let value = value.ok_or_else(|| self.damaged(format!("it does not say its {key}")))?;
        Ok(value.value().to_vec())
    }

    fn meta_number(
        &self,
        meta: &ReadOnlyTable<&'static str, &'static [u8]>,
        key: &str,
    ) -> Result<u64, OpenFailure> {
        let bytes = self.meta(meta, key)?;
        let bytes =
            bytes.try_into().map_err(|_| self.damaged(format!("its {key} is no number")))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The segments that count, oldest first, and the names of those that don't.
    fn segments(
        &self,
        medium: &dyn Medium,
        cluster: &Cluster,
        folded: u64,
    ) -> Result<(Vec<Content>, Vec<u64>), OpenFailure> {
        let storage = |error: std::io::Error| explain(self.path, error.into());
        let mut names = medium.segments().map_err(storage)?;
        let (mut contents, mut useless) = (Vec::<Content>::new(), Vec::new());
        while let Some(first) = names.pop() {
            let next = contents.last().map(|content| content.first);
            if next.is_some_and(|next| next <= folded + 1) {
                // Folded whole, and back because its removal was not durable yet.
                useless.push(first);
                continue;
            }
            let bytes = medium.read_segment(first).map_err(storage)?;
            // Only the newest can be unfinished: those before it were synced before it was begun.
            let unfinished = next.is_none()
                && matches!(wal::read(&bytes, cluster, first, None), Err(Unusable::Unfinished));
            match unfinished {
                true => useless.push(first),
                false => contents.push(Content { first, bytes }),
            }
        }
        contents.reverse();
        Ok((contents, useless))
    }

    /// Reads the log; what it says borrows from the contents.
    fn log<'c>(
        &self,
        contents: &'c [Content],
        cluster: &Cluster,
        folded: u64,
    ) -> Result<Log<'c>, OpenFailure> {
        let mut log = Log { newest: BTreeMap::new(), revision: folded, segments: Vec::new() };
        for (at, content) in contents.iter().enumerate() {
            let first = content.first;
            if first > log.revision + 1 {
                let from = log.revision + 1;
                return Err(self.damaged(format!("revisions {from} up to {first} are missing")));
            }
            let next = contents.get(at + 1).map(|next| next.first);
            let frames = wal::read(&content.bytes, cluster, first, next);
            let frames = frames.map_err(|unusable| self.unusable(first, unusable))?;
            for frame in frames.iter().filter(|frame| frame.first > folded) {
                self.lay_over(&mut log, frame.rows)?;
            }
            // One without a frame will be replaced by the next that is begun.
            if let Some(frame) = frames.last() {
                log.revision = log.revision.max(frame.last);
                log.segments.push(Sealed { first, last: frame.last, bytes: content.bytes.len() });
            }
        }
        Ok(log)
    }

    fn unusable(&self, first: u64, unusable: Unusable) -> OpenFailure {
        match unusable {
            Unusable::Newer(found) => {
                OpenFailure::Newer { path: self.path.to_owned(), found, newest: FORMAT }
            }
            Unusable::Unfinished => self.damaged(format!("log segment {first} lost its header")),
            Unusable::Damaged(what) => self.damaged(what),
        }
    }

    fn lay_over<'c>(&self, log: &mut Log<'c>, rows: &'c [u8]) -> Result<(), OpenFailure> {
        for found in row::Rows::new(rows) {
            let found = found.map_err(|what| self.damaged(what))?;
            log.newest.insert(found.name, found);
        }
        Ok(())
    }

    fn records(
        &self,
        table: &ReadOnlyTable<&'static str, &'static [u8]>,
        log: &Log<'_>,
        filling: &mut Filling<'_, '_>,
    ) -> Read<row::Tally> {
        let mut tally = row::Tally::default();
        for record in ReadableTable::iter(table)? {
            let (name, record) = record?;
            tally.add(record.value());
            if log.newest.contains_key(name.value()) {
                continue;
            }
            let added = match row::decode_record(name.value(), record.value()) {
                Ok((revision, stored)) => {
                    let (name, stored) = (name.value().to_owned(), stored.to_vec());
                    filling.add(Stored { name, revision, stored })
                }
                Err(what) => Err(self.damaged(format!("{what} ({})", name.value()))),
            };
            if let Err(failure) = added {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(tally))
    }
}
