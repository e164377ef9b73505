//! The state in memory: one persistent map per kind, all at one revision. A snapshot is a reference
//! to it, so taking one costs nothing and readers never wait for the committer.

use std::any::Any;
use std::ops::{Bound, Deref};
use std::sync::Arc;

use imbl::OrdMap;

use crate::record::{KindIndex, Kinds, Record, Value};

/// A point in the history of the store. Every committed transaction has its own, and they only
/// grow; they need not be consecutive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl std::fmt::Display for Revision {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// A stored record in memory: decoded, shared, with the revision that wrote it.
#[derive(Clone)]
pub struct Entry {
    pub revision: Revision,
    pub(crate) bytes: u32,
    pub(crate) value: Value,
}

impl Entry {
    /// The record, if it is of this type.
    pub fn get<T: Record>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.value).downcast::<T>().ok()
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The value stays out: a record may hold what must not be printed.
        out.debug_struct("Entry").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// A record and the revision that wrote it.
#[derive(Debug)]
pub struct Versioned<T> {
    pub value: Arc<T>,
    pub revision: Revision,
}

impl<T> Deref for Versioned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

pub(crate) type Table = OrdMap<Arc<str>, Entry>;

/// The whole state at one revision.
#[derive(Clone)]
pub(crate) struct State {
    pub revision: Revision,
    pub kinds: Arc<Kinds>,
    pub tables: Vec<Table>,
}

impl State {
    pub fn empty(kinds: Kinds) -> State {
        let tables = (0..kinds.len()).map(|_| Table::new()).collect();
        State { revision: Revision(0), kinds: Arc::new(kinds), tables }
    }

    pub fn table(&self, kind: KindIndex) -> &Table {
        &self.tables[usize::from(kind.0)]
    }

    pub fn table_mut(&mut self, kind: KindIndex) -> &mut Table {
        &mut self.tables[usize::from(kind.0)]
    }

    pub fn entry(&self, kind: KindIndex, key: &str) -> Option<&Entry> {
        self.table(kind).get(key)
    }
}

/// The state as it was at one revision; it never changes and holds memory while it lives.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) state: Arc<State>,
}

impl Snapshot {
    pub fn revision(&self) -> Revision {
        self.state.revision
    }

    pub fn get<T: Record>(&self, key: &str) -> Option<Versioned<T>> {
        let entry = self.state.entry(self.state.kinds.of::<T>(), key)?;
        Some(Versioned { value: typed(&entry.value), revision: entry.revision })
    }

    /// The records whose key starts with `prefix`, in key order. An empty prefix means all of the
    /// kind.
    pub fn scan<'a, T: Record>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, Arc<T>)> + use<'a, T> {
        self.range(prefix, Bound::Included(prefix))
    }

    /// Like `scan`, but only what sorts after `after_key`: the next page.
    pub fn scan_from<'a, T: Record>(
        &'a self,
        prefix: &'a str,
        after_key: &'a str,
    ) -> impl Iterator<Item = (&'a str, Arc<T>)> + use<'a, T> {
        let start = match after_key < prefix {
            true => Bound::Included(prefix),
            false => Bound::Excluded(after_key),
        };
        self.range(prefix, start)
    }

    /// How many records have this prefix. Free for the empty prefix, a walk for others.
    pub fn count<T: Record>(&self, prefix: &str) -> usize {
        let table = self.state.table(self.state.kinds.of::<T>());
        if prefix.is_empty() {
            return table.len();
        }
        let bounds = (Bound::Included(prefix), Bound::Unbounded);
        table.range::<_, str>(bounds).take_while(|(key, _)| key.starts_with(prefix)).count()
    }

    fn range<'a, T: Record>(
        &'a self,
        prefix: &'a str,
        start: Bound<&'a str>,
    ) -> impl Iterator<Item = (&'a str, Arc<T>)> + use<'a, T> {
        let table = self.state.table(self.state.kinds.of::<T>());
        table
            .range::<_, str>((start, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| (&**key, typed(&entry.value)))
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Snapshot").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

/// A table only ever receives values of the type its kind was registered with.
pub(crate) fn typed<T: Any + Send + Sync>(value: &Value) -> Arc<T> {
    Arc::clone(value).downcast::<T>().expect("a kind's table holds only that kind's type")
}
