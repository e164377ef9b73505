//! Log events, the store behind CloudWatch Logs. They are not state: there are too many of them,
//! they are written once, and losing the newest in a power cut is no broken promise to anybody
//! but the agent, which is told what is durable and keeps the rest.
//!
//! A stream is a folder of append-only segment files. A batch of events is one frame with a
//! checksum; the frame also holds which range of which source it came from, so "stored" and
//! "known to be stored" can't come apart. What is torn at the end of a file after a crash is cut
//! when the stream is next opened.

mod folder;
mod frame;
mod read;
mod stream;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use folder::Logs;

/// One event to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    pub timestamp_ms: i64,
    pub message: String,
}

/// Where a batch came from: bytes `offset..end` of the spool `id`. Offsets of a source only grow;
/// what lies below the highest `end` stored so far is known and not stored again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub id: String,
    pub offset: u64,
    pub end: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    Stored,
    /// The source's range had been stored before; nothing was written.
    Known,
}

/// A place in a stream's events, sorted by time and then by arrival. Opaque to clients; stays
/// valid when events arrive late or are trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub timestamp_ms: i64,
    /// Counts the stream's events in order of arrival, from 1.
    pub sequence: u64,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub position: Position,
    pub ingestion_ms: i64,
    pub message: String,
}

/// Where a page begins and which way it goes. The page itself is always in time order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageStart {
    /// The oldest events.
    Head,
    /// The newest events.
    Tail,
    /// The events after this place.
    After(Position),
    /// The events before this place, nearest first served.
    Before(Position),
}

/// Which events are wanted: `start_ms` inclusive, `end_ms` exclusive, as CloudWatch has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub start_ms: i64,
    pub end_ms: i64,
}

impl TimeRange {
    pub const ALL: TimeRange = TimeRange { start_ms: i64::MIN, end_ms: i64::MAX };
}

/// At most this much in one page; one event is always served if there is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    pub events_max: usize,
    pub bytes_max: usize,
}

/// A page of one stream. `forward` and `backward` are where the neighbouring pages begin; at an
/// end of the stream the same place comes back, which is how CloudWatch's clients know the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub events: Vec<StoredEvent>,
    pub forward: Position,
    pub backward: Position,
}

/// A page merged over several streams, in time order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterPage {
    pub events: Vec<FilteredEvent>,
    /// Where the next page begins; None: everything in range has been looked at.
    pub next: Option<FilterPosition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilteredEvent {
    pub stream: String,
    pub event: StoredEvent,
}

/// A place in the merged events of a group: the last event looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilterPosition {
    pub timestamp_ms: i64,
    pub stream: String,
    pub sequence: u64,
}

/// What DescribeLogStreams tells of a stream's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    pub first_event_ms: Option<i64>,
    pub last_event_ms: Option<i64>,
    pub last_ingestion_ms: Option<i64>,
    pub stored_bytes: u64,
}

/// When an append is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced before `append` returns: survives a power cut. Appends that come together to one
    /// stream share a sync.
    Synced,
    /// Handed to the kernel before `append` returns: survives SIGKILL, not a power cut. Sources
    /// stay consistent with events in any case.
    Written,
}

#[derive(Debug, thiserror::Error)]
pub enum LogFailure {
    #[error("{what} failed")]
    Io {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("{found} events in one batch, the most is {events_max}")]
    TooManyEvents { found: usize, events_max: usize },
    #[error("a batch of {bytes} bytes, the most is {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    /// A part of the range was stored before and a part was not, or the range is no range: send
    /// again from `known`.
    #[error("the source {id} is stored up to {known}, but the batch begins at {offset}")]
    Overlap { id: String, known: u64, offset: u64 },
    #[error("the log segment {0} is damaged")]
    Damaged(PathBuf),
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> LogFailure {
    move |source| LogFailure::Io { what, source }
}
