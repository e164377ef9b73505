//! Reading the state in: the records, and over them what the log says. Whatever is wrong with a
//! file ends here in a failure that says so, and the file stays as it is.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};

use crate::disk::{FORMAT, LOG, META, META_CLUSTER, META_FOLDED, META_FORMAT, OpenFailure};
use crate::disk::{RECORDS, row};
use crate::hex;
use crate::record::Kinds;
use crate::snapshot::{Entry, Revision, State};
use crate::txn::StorageFailure;

pub(crate) struct Loaded {
    pub state: State,
    pub cluster: String,
    pub log_bytes: usize,
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
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => {
            OpenFailure::InUse { path, pid: "unknown".to_owned() }
        }
        redb::Error::UpgradeRequired(version) => {
            let what = format!("it has version {version} of the engine's file format");
            OpenFailure::Damaged { path, what }
        }
        redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            OpenFailure::Storage { path, source: StorageFailure::new(error) }
        }
        error => OpenFailure::Damaged { path, what: error.to_string() },
    }
}

pub(crate) fn load(database: &Database, path: &Path, kinds: Kinds) -> Result<Loaded, OpenFailure> {
    let reader = Reader { path, kinds: Arc::new(kinds) };
    let storage = |error: redb::Error| explain(path, error);
    let txn = database.begin_read().map_err(|error| storage(error.into()))?;
    let meta = txn.open_table(META).map_err(|error| storage(error.into()))?;
    let format = reader.meta_number(&meta, META_FORMAT)?;
    if format > FORMAT {
        let path = path.to_owned();
        return Err(OpenFailure::Newer { path, found: format, newest: FORMAT });
    }
    let cluster = hex::encode(&reader.meta(&meta, META_CLUSTER)?);
    let folded = reader.meta_number(&meta, META_FOLDED)?;
    let records = txn.open_table(RECORDS).map_err(|error| storage(error.into()))?;
    let log = txn.open_table(LOG).map_err(|error| storage(error.into()))?;
    let log = reader.log(&log).map_err(storage)??;
    let mut state = State::empty(Kinds::clone(&reader.kinds));
    state.revision = Revision(folded.max(log.revision));
    reader.records(&records, &log, &mut state).map_err(storage)??;
    for (name, newest) in &log.newest {
        if let Some(stored) = &newest.stored {
            reader.insert(&mut state, name, newest.revision, stored)?;
        }
    }
    Ok(Loaded { state, cluster, log_bytes: log.bytes })
}

/// What the log says last of each record.
struct Log {
    newest: BTreeMap<String, Newest>,
    revision: u64,
    bytes: usize,
}

struct Newest {
    revision: Revision,
    stored: Option<Vec<u8>>,
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
        let bytes = bytes.try_into().map_err(|_| self.damaged(format!("its {key} is no number")))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn log(&self, table: &ReadOnlyTable<(u64, u32), &'static [u8]>) -> Read<Log> {
        let mut log = Log { newest: BTreeMap::new(), revision: 0, bytes: 0 };
        for part in ReadableTable::iter(table)? {
            let (key, part) = part?;
            log.revision = key.value().0;
            log.bytes += part.value().len();
            let rows = match row::Rows::new(part.value()) {
                Ok(rows) => rows,
                Err(what) => return Ok(Err(self.damaged(what))),
            };
            for found in rows {
                let found = match found {
                    Ok(found) => found,
                    Err(what) => return Ok(Err(self.damaged(what))),
                };
                let stored = found.stored.map(<[u8]>::to_vec);
                let newest = Newest { revision: found.revision, stored };
                log.newest.insert(found.name.to_owned(), newest);
            }
        }
        Ok(Ok(log))
    }

    fn records(
        &self,
        table: &ReadOnlyTable<&'static str, &'static [u8]>,
        log: &Log,
        state: &mut State,
    ) -> Read<()> {
        for record in ReadableTable::iter(table)? {
            let (name, record) = record?;
            if log.newest.contains_key(name.value()) {
                continue;
            }
            let inserted = match row::decode_record(record.value()) {
                Ok((revision, stored)) => self.insert(state, name.value(), revision, stored),
                Err(what) => Err(self.damaged(format!("{what} ({})", name.value()))),
            };
            if let Err(failure) = inserted {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(()))
    }

    fn insert(
        &self,
        state: &mut State,
        name: &str,
        revision: Revision,
        stored: &[u8],
    ) -> Result<(), OpenFailure> {
        let unknown =
            || OpenFailure::UnknownKind { path: self.path.to_owned(), key: name.to_owned() };
        let (kind, key) = name.split_once('/').ok_or_else(unknown)?;
        let kind = self.kinds.find(kind).ok_or_else(unknown)?;
        let value = (self.kinds.row(kind).decode)(stored).map_err(|source| {
            OpenFailure::Record { path: self.path.to_owned(), key: name.to_owned(), source }
        })?;
        let bytes = u32::try_from(stored.len()).unwrap_or(u32::MAX);
        let entry = Entry { revision, bytes, value };
        state.table_mut(kind).insert(Arc::from(key), entry);
        Ok(())
    }
}
