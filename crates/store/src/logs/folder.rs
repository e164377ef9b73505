//! The handle that callers hold.

use std::path::Path;

use crate::logs::{
    Appended, Durability, FilterPage, FilterPosition, LogEvent, LogFailure, Page, PageLimit,
    PageStart, Source, StreamStats, TimeRange,
};

/// The log events under one folder. Clones share it.
#[derive(Clone)]
pub struct Logs {}

fn absent<T>() -> Result<T, LogFailure> {
    let source = std::io::Error::from(std::io::ErrorKind::Unsupported);
    Err(LogFailure::Io { what: "opening the logs", source })
}

impl Logs {
    /// Opens or makes the folder. Blocks.
    pub fn open(_folder: &Path, _durability: Durability) -> Result<Logs, LogFailure> {
        Ok(Logs {})
    }

    /// Appends a batch to a stream, which is made if need be.
    pub async fn append(
        &self,
        _group: &str,
        _stream: &str,
        _source: Option<Source>,
        _events: Vec<LogEvent>,
        _ingestion_ms: i64,
    ) -> Result<Appended, LogFailure> {
        absent()
    }

    /// A page of one stream; an unknown stream has no events.
    pub async fn read(
        &self,
        _group: &str,
        _stream: &str,
        _start: PageStart,
        _range: TimeRange,
        _limit: PageLimit,
    ) -> Result<Page, LogFailure> {
        absent()
    }

    /// Events of several streams merged by time that satisfy `wanted`. Looks at a bounded number
    /// of events a call, so a page may be empty and yet have a next one.
    pub async fn filter(
        &self,
        _group: &str,
        _streams: Vec<String>,
        _after: Option<FilterPosition>,
        _range: TimeRange,
        _limit: PageLimit,
        _wanted: impl Fn(&LogEvent) -> bool + Send + 'static,
    ) -> Result<FilterPage, LogFailure> {
        absent()
    }

    /// An unknown stream has the default: nothing.
    pub async fn stats(&self, _group: &str, _stream: &str) -> Result<StreamStats, LogFailure> {
        absent()
    }

    /// Up to which offset a source is stored, 0 if it is unknown.
    pub async fn source_end(
        &self,
        _group: &str,
        _stream: &str,
        _source_id: &str,
    ) -> Result<u64, LogFailure> {
        absent()
    }

    /// Says whether there was one.
    pub async fn delete_stream(&self, _group: &str, _stream: &str) -> Result<bool, LogFailure> {
        absent()
    }

    /// Says whether there was one.
    pub async fn delete_group(&self, _group: &str) -> Result<bool, LogFailure> {
        absent()
    }

    /// Removes a group's events older than `before_ms`, whole segments at a time; what a segment
    /// still holds of them is no longer served. Returns the bytes freed.
    pub async fn trim(&self, _group: &str, _before_ms: i64) -> Result<u64, LogFailure> {
        absent()
    }
}
