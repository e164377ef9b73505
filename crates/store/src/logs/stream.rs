//! One stream: its segments in short, its sources, and how a batch gets into it. No file stays
//! open between calls, so the number of streams costs no handles.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::{LOG_EVENT_OVERHEAD_BYTES, LOG_SEGMENT_BYTES_MAX, LOG_SOURCES_MAX};
use crate::logs::frame::{self, BatchHead, Frame, Head, SourceEnd, Summary};
use crate::logs::{Appended, Durability, LogEvent, LogFailure, Source, StreamStats, failed};

/// A stream in memory.
pub(crate) struct Stream {
    pub group: String,
    pub name: String,
    pub folder: PathBuf,
    state: Mutex<State>,
    /// How much of which segment is known to be durable; held while syncing, so that those who
    /// come meanwhile find their bytes synced.
    synced: Mutex<(u64, u64)>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Oldest first; the last one takes what comes. Empty: the stream has no file yet.
    pub segments: Vec<Summary>,
    next_sequence: u64,
    last_ingestion_ms: Option<i64>,
    sources: BTreeMap<String, SourceEnd>,
    /// No longer what the folder holds: deleted, or a write failed. Look the stream up again.
    pub stale: bool,
}

/// What an append did, or that the stream must be looked up again.
pub(crate) enum Outcome {
    Done(Appended),
    Stale,
}

impl Stream {
    /// Reads a stream's state in from its folder, cutting what a crash left torn.
    pub fn load(group: &str, name: &str, folder: PathBuf) -> Result<Stream, LogFailure> {
        let state = load(&folder).map_err(failed("reading a log stream in"))?;
        Ok(Stream {
            group: group.to_owned(),
            name: name.to_owned(),
            folder,
            state: Mutex::new(state),
            synced: Mutex::new((0, 0)),
        })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn append(
        &self,
        source: Option<&Source>,
        events: &[LogEvent],
        ingestion_ms: i64,
        durability: Durability,
    ) -> Result<Outcome, LogFailure> {
        let (appended, place) = {
            let mut state = self.lock();
            if state.stale {
                return Ok(Outcome::Stale);
            }
            let appended = match source.map_or(Ok(Appended::Stored), |s| state.judge(s))? {
                Appended::Known => Appended::Known,
                Appended::Stored => {
                    let stored = self.write(&mut state, source, events, ingestion_ms, durability);
                    if let Err(error) = stored {
                        // What is on disk now is known only by reading it.
                        state.stale = true;
                        return match error.kind() {
                            // Deleted, or deleted and begun anew by somebody else.
                            io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists => {
                                Ok(Outcome::Stale)
                            }
                            _ => Err(failed("appending to a log stream")(error)),
                        };
                    }
                    Appended::Stored
                }
            };
            (appended, state.segments.last().map(|last| (last.number, last.bytes)))
        };
        if let (Durability::Synced, Some(place)) = (durability, place)
            && let Err(error) = self.sync(place)
        {
            self.lock().stale = true;
            return Err(failed("making log events durable")(error));
        }
        Ok(Outcome::Done(appended))
    }

    fn write(
        &self,
        state: &mut State,
        source: Option<&Source>,
        events: &[LogEvent],
        ingestion_ms: i64,
        durability: Durability,
    ) -> io::Result<()> {
        let head = BatchHead {
            first_sequence: state.next_sequence.max(1),
            ingestion_ms,
            source: source.cloned(),
            events: u32::try_from(events.len()).expect("batches are bounded"),
        };
        let batch = frame::encode_batch(&head, events);
        let room = |last: &Summary| last.bytes + batch.len() as u64 <= LOG_SEGMENT_BYTES_MAX;
        if !state.segments.last().is_some_and(room) {
            self.begin_segment(state, durability)?;
        }
        let last = state.segments.last_mut().expect("a segment was just begun");
        let mut file = OpenOptions::new().append(true).open(segment_path(&self.folder, last))?;
        file.write_all(&batch)?;
        last.bytes += batch.len() as u64;
        for event in events {
            last.count(event.timestamp_ms, event.message.len());
        }
        state.fold(&head);
        Ok(())
    }

    /// Begins a segment whose head tells what came before. The one before it is made durable
    /// first, so that only the last segment of a stream can be torn.
    pub fn begin_segment(&self, state: &mut State, durability: Durability) -> io::Result<()> {
        let previous = state.segments.last().copied();
        if let Some(previous) = &previous {
            File::open(segment_path(&self.folder, previous))?.sync_all()?;
        }
        let head = frame::encode_head(&Head {
            group: self.group.clone(),
            stream: self.name.clone(),
            next_sequence: state.next_sequence.max(1),
            last_ingestion_ms: state.last_ingestion_ms,
            sources: state.sources.clone(),
            previous,
        });
        let mut segment = Summary::empty(previous.map_or(1, |previous| previous.number + 1));
        segment.bytes = head.len() as u64;
        if previous.is_none() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(segment_path(&self.folder, &segment))?;
        file.write_all(&head)?;
        if durability == Durability::Synced {
            file.sync_all()?;
            // The stream's folder, its shard, its group and the root: any of them may be new.
            let depth = if previous.is_some() { 1 } else { 4 };
            for folder in self.folder.ancestors().take(depth) {
                File::open(folder)?.sync_all()?;
            }
        }
        state.segments.push(segment);
        Ok(())
    }

    /// Makes a segment durable up to a place, unless somebody else just did.
    fn sync(&self, place: (u64, u64)) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= place {
            return Ok(());
        }
        // What others have written since is synced along.
        let newest = self.lock().segments.last().map(|last| (last.number, last.bytes));
        let newest = newest.unwrap_or(place).max(place);
        let last = Summary::empty(newest.0);
        match File::open(segment_path(&self.folder, &last)) {
            Ok(file) => file.sync_data()?,
            // Deleted meanwhile: nothing is left to be durable.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        *synced = newest;
        Ok(())
    }
}

impl State {
    /// Whether a source's batch is new.
    fn judge(&self, source: &Source) -> Result<Appended, LogFailure> {
        let known = self.source_end(&source.id);
        let is_range = source.offset < source.end;
        if is_range && source.end <= known {
            return Ok(Appended::Known);
        }
        if !is_range || source.offset < known {
            let (id, offset) = (source.id.clone(), source.offset);
            return Err(LogFailure::Overlap { id, known, offset });
        }
        Ok(Appended::Stored)
    }

    pub fn source_end(&self, id: &str) -> u64 {
        self.sources.get(id).map_or(0, |source| source.end)
    }

    /// Takes in what a stored batch says beside its events.
    fn fold(&mut self, head: &BatchHead) {
        self.next_sequence = head.first_sequence + u64::from(head.events);
        self.last_ingestion_ms = self.last_ingestion_ms.max(Some(head.ingestion_ms));
        let Some(source) = &head.source else { return };
        let end = SourceEnd { end: source.end, sequence: self.next_sequence };
        self.sources.insert(source.id.clone(), end);
        if self.sources.len() > LOG_SOURCES_MAX {
            let silent = self.sources.iter().min_by_key(|(_, source)| source.sequence);
            if let Some(id) = silent.map(|(id, _)| id.clone()) {
                self.sources.remove(&id);
            }
        }
    }

    pub fn stats(&self) -> StreamStats {
        let filled = || self.segments.iter().filter(|segment| segment.events > 0);
        StreamStats {
            first_event_ms: filled().map(|segment| segment.min_ms).min(),
            last_event_ms: filled().map(|segment| segment.max_ms).max(),
            last_ingestion_ms: self.last_ingestion_ms,
            stored_bytes: filled().map(|segment| segment.event_bytes).sum(),
        }
    }
}

impl Summary {
    fn count(&mut self, timestamp_ms: i64, message_bytes: usize) {
        self.events += 1;
        self.event_bytes += (message_bytes + LOG_EVENT_OVERHEAD_BYTES) as u64;
        self.min_ms = self.min_ms.min(timestamp_ms);
        self.max_ms = self.max_ms.max(timestamp_ms);
    }
}

pub(crate) fn segment_path(folder: &Path, segment: &Summary) -> PathBuf {
    folder.join(format!("{:010}.log", segment.number))
}

/// The numbers of a stream's segments, oldest first; none if the folder isn't there.
fn segment_numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(numbers),
        Err(error) => return Err(error),
    };
    for entry in listing {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The name of the stream in a folder.
pub(crate) fn name(folder: &Path) -> io::Result<Option<String>> {
    for number in segment_numbers(folder)? {
        match head_of(folder, number) {
            Ok(Some(head)) => return Ok(Some(head.stream)),
            // A crash left it without a head, or it was deleted meanwhile.
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn load(folder: &Path) -> io::Result<State> {
    let mut numbers = segment_numbers(folder)?;
    let Some(mut last) = numbers.pop() else { return Ok(State::default()) };
    let (mut state, mut segment, mut head) = scan_last(folder, last)?;
    if head.is_none() {
        // The crash came between making the file and writing its head; nothing was in it.
        fs::remove_file(segment_path(folder, &segment))?;
        let Some(before) = numbers.pop() else { return Ok(State::default()) };
        last = before;
        (state, segment, head) = scan_last(folder, last)?;
    }
    let mut segments = vec![segment];
    let mut told = head.and_then(|head| head.previous);
    for number in numbers.into_iter().rev() {
        // The next segment's head tells of this one, unless one in between was trimmed.
        let segment = match told {
            Some(summary) if summary.number == number => summary,
            _ => scan(folder, number)?.summary,
        };
        told = head_of(folder, number)?.and_then(|head| head.previous);
        segments.push(segment);
    }
    segments.reverse();
    state.segments = segments;
    Ok(state)
}

/// The state as the last segment tells it; the segment's torn end is cut.
fn scan_last(folder: &Path, number: u64) -> io::Result<(State, Summary, Option<Head>)> {
    let scanned = scan(folder, number)?;
    if scanned.torn_bytes > 0 && scanned.head.is_some() {
        let path = segment_path(folder, &scanned.summary);
        let bytes = scanned.torn_bytes;
        tracing::warn!(path = %path.display(), bytes, "cut the torn end of a log segment");
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(scanned.summary.bytes)?;
        file.sync_all()?;
    }
    let mut state = State::default();
    if let Some(head) = &scanned.head {
        state.next_sequence = head.next_sequence;
        state.last_ingestion_ms = head.last_ingestion_ms;
        state.sources = head.sources.clone();
    }
    for batch in &scanned.batches {
        state.fold(batch);
    }
    Ok((state, scanned.summary, scanned.head))
}

struct Scanned {
    head: Option<Head>,
    batches: Vec<BatchHead>,
    summary: Summary,
    torn_bytes: u64,
}

fn scan(folder: &Path, number: u64) -> io::Result<Scanned> {
    let mut summary = Summary::empty(number);
    let bytes = fs::read(segment_path(folder, &summary))?;
    let (mut head, mut batches, mut at) = (None, Vec::new(), 0);
    while let Some((frame, length)) = frame::decode(&bytes[at..]) {
        at += length;
        match frame {
            Frame::Head(found) => head = Some(found),
            Frame::Batch(batch, events) => {
                for (position, message) in events {
                    summary.count(position.timestamp_ms, message.len());
                }
                batches.push(batch);
            }
        }
    }
    summary.bytes = at as u64;
    Ok(Scanned { head, batches, summary, torn_bytes: (bytes.len() - at) as u64 })
}

/// Only the head of a segment.
fn head_of(folder: &Path, number: u64) -> io::Result<Option<Head>> {
    use std::io::Read;
    let mut file = File::open(segment_path(folder, &Summary::empty(number)))?;
    let mut bytes = Vec::new();
    (&mut file).take(4).read_to_end(&mut bytes)?;
    let Ok(length) = <[u8; 4]>::try_from(bytes.as_slice()) else { return Ok(None) };
    let rest = u64::from(u32::from_le_bytes(length)) + 4;
    (&mut file).take(rest.min(LOG_SEGMENT_BYTES_MAX)).read_to_end(&mut bytes)?;
    Ok(match frame::decode(&bytes) {
        Some((Frame::Head(head), _)) => Some(head),
        _ => None,
    })
}
