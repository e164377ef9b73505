//! The handle that callers hold: finds streams in their folders, keeps the state of those in use,
//! and moves all work to threads that may block.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::blob::Digest;
use crate::limits::{
    LOG_APPENDS_MAX, LOG_BATCH_BYTES_MAX, LOG_BATCH_EVENTS_MAX, LOG_READS_MAX,
    LOG_SOURCE_ID_BYTES_MAX, LOG_STREAMS_CACHED_MAX,
};
use crate::logs::frame::Summary;
use crate::logs::read::{self, Merged, View};
use crate::logs::stream::{self, Outcome, Stream, segment_path};
use crate::logs::{
    Appended, Durability, FilterPage, FilterPosition, LogEvent, LogFailure, Page, PageLimit,
    PageStart, Source, StreamStats, TimeRange, failed,
};

/// Where deleted folders wait to be emptied.
const TRASH: &str = ".trash";

/// The log events under one folder. Clones share it.
///
/// No file stays open between calls. A stream's state (about 300 bytes) is kept in memory once
/// the stream has been used, up to a bound.
#[derive(Clone)]
pub struct Logs {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    durability: Durability,
    cache: Mutex<Cache>,
    reads: Semaphore,
    appends: Semaphore,
    deletions: AtomicU64,
}

#[derive(Default)]
struct Cache {
    /// By group, then by stream.
    groups: BTreeMap<String, BTreeMap<String, Cached>>,
    streams: usize,
    clock: u64,
    /// Per group, what lies before it is no longer served.
    floors_ms: BTreeMap<String, i64>,
}

struct Cached {
    stream: Arc<Stream>,
    used: u64,
}

impl Logs {
    /// Opens or makes the folder. Blocks.
    pub fn open(folder: &Path, durability: Durability) -> Result<Logs, LogFailure> {
        let prepare = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let trash = folder.join(TRASH);
            if trash.try_exists()? {
                fs::remove_dir_all(&trash)?;
            }
            DirBuilder::new().mode(0o700).create(&trash)
        };
        prepare().map_err(failed("opening the folder of log events"))?;
        Ok(Logs {
            shared: Arc::new(Shared {
                root: folder.to_owned(),
                durability,
                cache: Mutex::default(),
                reads: Semaphore::new(LOG_READS_MAX),
                appends: Semaphore::new(LOG_APPENDS_MAX),
                deletions: AtomicU64::new(0),
            }),
        })
    }

    /// Appends a batch to a stream, which is made if need be. Exactly once for a batch with a
    /// source, whatever fails and however often it is sent again.
    pub async fn append(
        &self,
        group: &str,
        stream: &str,
        source: Option<Source>,
        events: Vec<LogEvent>,
        ingestion_ms: i64,
    ) -> Result<Appended, LogFailure> {
        check(source.as_ref(), &events)?;
        let (group, stream) = (group.to_owned(), stream.to_owned());
        let _permit = self.shared.appends.acquire().await;
        self.blocking(move |shared| {
            loop {
                let stream = shared.stream(&group, &stream)?;
                let durability = shared.durability;
                let outcome = stream.append(source.as_ref(), &events, ingestion_ms, durability);
                match outcome {
                    Ok(Outcome::Done(appended)) => return Ok(appended),
                    Ok(Outcome::Stale) => shared.forget(&stream),
                    Err(failure) => {
                        if stream.lock().stale {
                            shared.forget(&stream);
                        }
                        return Err(failure);
                    }
                }
            }
        })
        .await
    }

    /// A page of one stream; an unknown stream has no events.
    pub async fn read(
        &self,
        group: &str,
        stream: &str,
        start: PageStart,
        range: TimeRange,
        limit: PageLimit,
    ) -> Result<Page, LogFailure> {
        let (group, stream) = (group.to_owned(), stream.to_owned());
        let _permit = self.shared.reads.acquire().await;
        self.blocking(move |shared| {
            let range = shared.raise(&group, range);
            let stream = shared.stream(&group, &stream)?;
            let segments = stream.lock().segments.clone();
            let view = View { folder: &stream.folder, segments };
            read::page(&view, start, range, limit)
        })
        .await
    }

    /// Events of several streams merged by time that satisfy `wanted`. Looks at a bounded number
    /// of events a call, so a page may be empty and yet have a next one.
    pub async fn filter(
        &self,
        group: &str,
        streams: Vec<String>,
        after: Option<FilterPosition>,
        range: TimeRange,
        limit: PageLimit,
        wanted: impl Fn(&LogEvent) -> bool + Send + 'static,
    ) -> Result<FilterPage, LogFailure> {
        let group = group.to_owned();
        let _permit = self.shared.reads.acquire().await;
        self.blocking(move |shared| {
            let range = shared.raise(&group, range);
            let mut found = Vec::new();
            for name in streams {
                let stream = shared.stream(&group, &name)?;
                let segments = stream.lock().segments.clone();
                found.push((name, stream, segments));
            }
            let merged: Vec<Merged<'_>> = found
                .iter()
                .map(|(name, stream, segments)| Merged {
                    name: name.clone(),
                    view: View { folder: &stream.folder, segments: segments.clone() },
                })
                .collect();
            read::filter(&merged, after.as_ref(), range, limit, wanted)
        })
        .await
    }

    /// An unknown stream has the default: nothing.
    pub async fn stats(&self, group: &str, stream: &str) -> Result<StreamStats, LogFailure> {
        let (group, stream) = (group.to_owned(), stream.to_owned());
        self.blocking(move |shared| {
            let mut stats = shared.stream(&group, &stream)?.lock().stats();
            let floor_ms = shared.cache().floors_ms.get(&group).copied().unwrap_or(i64::MIN);
            if stats.last_event_ms.is_some_and(|last_ms| last_ms < floor_ms) {
                stats =
                    StreamStats { last_ingestion_ms: stats.last_ingestion_ms, ..<_>::default() };
            }
            stats.first_event_ms = stats.first_event_ms.map(|first_ms| first_ms.max(floor_ms));
            Ok(stats)
        })
        .await
    }

    /// Up to which offset a source is stored, 0 if it is unknown.
    pub async fn source_end(
        &self,
        group: &str,
        stream: &str,
        source_id: &str,
    ) -> Result<u64, LogFailure> {
        let (group, stream, id) = (group.to_owned(), stream.to_owned(), source_id.to_owned());
        self.blocking(move |shared| {
            let stream = shared.stream(&group, &stream)?;
            let end = stream.lock().source_end(&id);
            Ok(end)
        })
        .await
    }

    /// Says whether there was one.
    pub async fn delete_stream(&self, group: &str, stream: &str) -> Result<bool, LogFailure> {
        let (group, stream) = (group.to_owned(), stream.to_owned());
        self.blocking(move |shared| {
            let folder = shared.stream_folder(&group, &stream);
            let cached = |cache: &mut Cache| cache.take(&group, &stream).into_iter().collect();
            shared.delete(&folder, cached)
        })
        .await
    }

    /// Deletes all streams of a group. Says whether there were any.
    pub async fn delete_group(&self, group: &str) -> Result<bool, LogFailure> {
        let group = group.to_owned();
        self.blocking(move |shared| {
            let folder = shared.group_folder(&group);
            shared.delete(&folder, |cache| cache.take_group(&group))
        })
        .await
    }

    /// Stops serving a group's events older than `before_ms` and frees the segments that hold
    /// nothing newer. Returns the bytes freed. A restart forgets `before_ms`: trim at start, and
    /// regularly from then on.
    pub async fn trim(&self, group: &str, before_ms: i64) -> Result<u64, LogFailure> {
        let group = group.to_owned();
        self.blocking(move |shared| {
            shared.cache().floors_ms.insert(group.clone(), before_ms);
            let mut freed = 0;
            for name in shared.names(&group).map_err(failed("listing log streams"))? {
                let stream = shared.stream(&group, &name)?;
                freed += trim_stream(&stream, before_ms, shared.durability)
                    .map_err(failed("trimming log events"))?;
            }
            Ok(freed)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, LogFailure> + Send + 'static,
    ) -> Result<T, LogFailure> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(failed("running log work")(io::Error::other(error))),
        })
    }
}

/// The entries of a folder, none if it isn't there (any more).
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    listing.map(|entry| Ok(entry?.path())).collect()
}

fn check(source: Option<&Source>, events: &[LogEvent]) -> Result<(), LogFailure> {
    let (found, events_max) = (events.len(), LOG_BATCH_EVENTS_MAX);
    if found > events_max {
        return Err(LogFailure::TooManyEvents { found, events_max });
    }
    let messages: usize = events.iter().map(|event| event.message.len()).sum();
    let bounds = [
        (messages, LOG_BATCH_BYTES_MAX),
        (source.map_or(0, |source| source.id.len()), LOG_SOURCE_ID_BYTES_MAX),
    ];
    for (bytes, bytes_max) in bounds {
        if bytes > bytes_max {
            return Err(LogFailure::TooLarge { bytes, bytes_max });
        }
    }
    Ok(())
}

fn trim_stream(stream: &Stream, before_ms: i64, durability: Durability) -> io::Result<u64> {
    let mut state = stream.lock();
    if state.stale || state.segments.is_empty() {
        return Ok(0);
    }
    let expired = |segment: &Summary| segment.events > 0 && segment.max_ms < before_ms;
    if state.segments.last().is_some_and(expired) {
        // The newest segment's head keeps what must outlive the events: numbers and sources.
        stream.begin_segment(&mut state, durability)?;
    }
    let gone: Vec<_> = state.segments.iter().copied().filter(expired).collect();
    let mut freed = 0;
    for segment in gone {
        fs::remove_file(segment_path(&stream.folder, &segment))?;
        state.segments.retain(|kept| kept.number != segment.number);
        freed += segment.bytes;
    }
    Ok(freed)
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names may hold anything, so folders are named after their digest.
    fn group_folder(&self, group: &str) -> PathBuf {
        self.root.join(&Digest::of(group.as_bytes()).to_hex()[..32])
    }

    fn stream_folder(&self, group: &str, stream: &str) -> PathBuf {
        let digits = Digest::of(stream.as_bytes()).to_hex();
        self.group_folder(group).join(&digits[..2]).join(&digits[..32])
    }

    fn stream(&self, group: &str, name: &str) -> Result<Arc<Stream>, LogFailure> {
        // Held while loading: a stream must not be in memory twice.
        let mut cache = self.cache();
        if let Some(stream) = cache.find(group, name) {
            return Ok(stream);
        }
        let folder = self.stream_folder(group, name);
        let stream = Arc::new(Stream::load(group, name, folder)?);
        cache.insert(Arc::clone(&stream));
        Ok(stream)
    }

    /// The streams of a group that have events, as their segments' heads name them.
    fn names(&self, group: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for shard in folders(&self.group_folder(group))? {
            for folder in folders(&shard)? {
                names.extend(stream::name(&folder)?);
            }
        }
        Ok(names)
    }

    fn forget(&self, stream: &Arc<Stream>) {
        let mut cache = self.cache();
        let cached = cache.find(&stream.group, &stream.name);
        if cached.is_some_and(|cached| Arc::ptr_eq(&cached, stream)) {
            cache.take(&stream.group, &stream.name);
        }
    }

    fn raise(&self, group: &str, range: TimeRange) -> TimeRange {
        let floor_ms = self.cache().floors_ms.get(group).copied().unwrap_or(i64::MIN);
        TimeRange { start_ms: range.start_ms.max(floor_ms), ..range }
    }

    /// Moves a folder out of sight, which is one step, and empties it then.
    fn delete(
        &self,
        folder: &Path,
        take: impl FnOnce(&mut Cache) -> Vec<Arc<Stream>>,
    ) -> Result<bool, LogFailure> {
        let number = self.deletions.fetch_add(1, Ordering::Relaxed);
        let trash = self.root.join(TRASH).join(number.to_string());
        let (taken, moved) = {
            // Held, so that nobody loads the streams again before they are gone.
            let mut cache = self.cache();
            (take(&mut cache), fs::rename(folder, &trash))
        };
        for stream in taken {
            stream.lock().stale = true;
        }
        match moved {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("deleting log events")(error)),
        }
        let empty = || -> io::Result<()> {
            if let Some(parent) = folder.parent() {
                fs::File::open(parent)?.sync_all()?;
            }
            fs::remove_dir_all(&trash)
        };
        empty().map_err(failed("deleting log events"))?;
        Ok(true)
    }
}

impl Cache {
    fn find(&mut self, group: &str, name: &str) -> Option<Arc<Stream>> {
        self.clock += 1;
        let cached = self.groups.get_mut(group)?.get_mut(name)?;
        cached.used = self.clock;
        Some(Arc::clone(&cached.stream))
    }

    fn insert(&mut self, stream: Arc<Stream>) {
        if self.streams >= LOG_STREAMS_CACHED_MAX {
            self.shrink();
        }
        let (group, name) = (stream.group.clone(), stream.name.clone());
        let cached = Cached { stream, used: self.clock };
        if self.groups.entry(group).or_default().insert(name, cached).is_none() {
            self.streams += 1;
        }
    }

    fn take(&mut self, group: &str, name: &str) -> Option<Arc<Stream>> {
        let streams = self.groups.get_mut(group)?;
        let cached = streams.remove(name)?;
        if streams.is_empty() {
            self.groups.remove(group);
        }
        self.streams -= 1;
        Some(cached.stream)
    }

    fn take_group(&mut self, group: &str) -> Vec<Arc<Stream>> {
        let streams = self.groups.remove(group).unwrap_or_default();
        self.streams -= streams.len();
        self.floors_ms.remove(group);
        streams.into_values().map(|cached| cached.stream).collect()
    }

    /// Forgets the older half of the streams that nobody is using.
    fn shrink(&mut self) {
        let all = self.groups.values().flat_map(BTreeMap::values);
        let mut uses: Vec<u64> = all.map(|cached| cached.used).collect();
        uses.sort_unstable();
        let median = uses.get(uses.len() / 2).copied().unwrap_or(0);
        for streams in self.groups.values_mut() {
            // A stream in use must stay: a second one beside it would write over it.
            streams
                .retain(|_, cached| cached.used > median || Arc::strong_count(&cached.stream) > 1);
        }
        self.groups.retain(|_, streams| !streams.is_empty());
        self.streams = self.groups.values().map(BTreeMap::len).sum();
    }
}
