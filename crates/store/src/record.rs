//! What can be stored: a record has a kind, a key, a version and a JSON body. The version is stored
//! beside the body, so that a newer program can read what an older one wrote and an older one
//! refuses what it can't know.

use std::any::Any;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind of stored record.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The first part of the key in the database: `"task"` keys are `"task/<key>"`. Letters and
    /// dashes.
    const KIND: &'static str;
    /// The newest version; what `put` writes.
    const VERSION: u8;

    /// The key within the kind, such as `"default/0123"`. Keys are sorted and scanned by prefix.
    fn key(&self) -> String;

    /// Reads a stored body. The default knows only `VERSION`; a kind with a past overrides it.
    fn upgrade(version: u8, body: &[u8]) -> Result<Self, RecordFailure> {
        decode_newest(version, body)
    }
}

/// Decodes a body of the newest version and refuses all others: what `Record::upgrade` falls back
/// to.
pub fn decode_newest<T: Record>(version: u8, body: &[u8]) -> Result<T, RecordFailure> {
    if version > T::VERSION {
        return Err(RecordFailure::Newer { kind: T::KIND, found: version, newest: T::VERSION });
    }
    if version < T::VERSION {
        return Err(RecordFailure::Forgotten { kind: T::KIND, found: version });
    }
    serde_json::from_slice(body)
        .map_err(|source| RecordFailure::Malformed { kind: T::KIND, source })
}

/// Why a stored record can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordFailure {
    #[error(
        "a {kind} record has version {found}, but this program knows versions up to {newest}: \
         it was written by a newer program"
    )]
    Newer { kind: &'static str, found: u8, newest: u8 },
    #[error("a {kind} record has version {found}, which this program can no longer read")]
    Forgotten { kind: &'static str, found: u8 },
    #[error("a {kind} record is malformed")]
    Malformed {
        kind: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("a {kind} record has no version byte")]
    Empty { kind: &'static str },
}

pub(crate) type Value = Arc<dyn Any + Send + Sync>;
type Decode = fn(&[u8]) -> Result<Value, RecordFailure>;

/// The kinds a store holds, so that it can decode every record once, when it opens. A database with
/// a record of a kind that is not listed is refused: dropping or ignoring it would lose state.
#[derive(Clone, Default)]
pub struct Kinds {
    rows: Vec<KindRow>,
}

#[derive(Clone, Copy)]
pub(crate) struct KindRow {
    pub name: &'static str,
    pub decode: Decode,
}

/// The position of a kind in `Kinds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KindIndex(pub u16);

impl Kinds {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind. Two types with the same `KIND` are a bug.
    #[must_use]
    pub fn with<T: Record>(mut self) -> Self {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(!T::KIND.is_empty() && T::KIND.chars().all(valid), "bad kind {:?}", T::KIND);
        match self.rows.binary_search_by(|row| row.name.cmp(T::KIND)) {
            Ok(_) => panic!("two record types share the kind {:?}", T::KIND),
            Err(at) => self.rows.insert(at, KindRow { name: T::KIND, decode: decode::<T> }),
        }
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn find(&self, name: &str) -> Option<KindIndex> {
        let at = self.rows.binary_search_by(|row| row.name.cmp(name)).ok()?;
        Some(KindIndex(u16::try_from(at).expect("there are few kinds")))
    }

    /// The index of `T`, which must have been registered.
    pub(crate) fn of<T: Record>(&self) -> KindIndex {
        match self.find(T::KIND) {
            Some(index) => index,
            None => panic!("the kind {:?} was not registered with this store", T::KIND),
        }
    }

    pub(crate) fn row(&self, index: KindIndex) -> &KindRow {
        &self.rows[usize::from(index.0)]
    }
}

fn decode<T: Record>(stored: &[u8]) -> Result<Value, RecordFailure> {
    let Some((version, body)) = stored.split_first() else {
        return Err(RecordFailure::Empty { kind: T::KIND });
    };
    Ok(Arc::new(T::upgrade(*version, body)?))
}

/// The stored form: a version byte and the JSON body.
pub(crate) fn encode<T: Record>(record: &T) -> Vec<u8> {
    let mut stored = Vec::with_capacity(512);
    stored.push(T::VERSION);
    serde_json::to_writer(&mut stored, record)
        .expect("a record's fields always have a JSON form and a Vec takes every write");
    stored
}
