//! Reading: the events nearest to a place, in time order, though they may have come in any order.
//! Segments know their time range; one is read only if it can hold something nearer than what has
//! been found.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::limits::{LOG_EVENT_OVERHEAD_BYTES, LOG_FILTER_EVENTS_LOOKED_MAX};
use crate::logs::frame::{self, Frame, Summary};
use crate::logs::stream::segment_path;
use crate::logs::{
    FilterPage, FilterPosition, FilteredEvent, LogEvent, LogFailure, Page, PageLimit, PageStart,
    Position, StoredEvent, TimeRange, failed,
};

/// A stream as it was when the read began.
pub(crate) struct View<'a> {
    pub folder: &'a Path,
    pub segments: Vec<Summary>,
}

/// The least and the greatest place.
const FIRST: Position = Position { timestamp_ms: i64::MIN, sequence: 0 };
const LAST: Position = Position { timestamp_ms: i64::MAX, sequence: u64::MAX };

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
}

/// What is wanted: places strictly between `low` and `high`.
struct Window {
    low: Position,
    high: Position,
    way: Way,
}

impl Window {
    fn new(start: PageStart, range: TimeRange) -> Window {
        let floor = Position { timestamp_ms: range.start_ms, sequence: 0 };
        // An end of the greatest number means no end at all.
        let ceiling = match range.end_ms {
            i64::MAX => LAST,
            end_ms => Position { timestamp_ms: end_ms, sequence: 0 },
        };
        match start {
            PageStart::Head => Window { low: floor, high: ceiling, way: Way::Forward },
            PageStart::Tail => Window { low: floor, high: ceiling, way: Way::Backward },
            PageStart::After(place) => {
                Window { low: floor.max(place), high: ceiling, way: Way::Forward }
            }
            PageStart::Before(place) => {
                Window { low: floor, high: ceiling.min(place), way: Way::Backward }
            }
        }
    }

    fn may_hold(&self, segment: &Summary) -> bool {
        segment.events > 0
            && segment.max_ms >= self.low.timestamp_ms
            && segment.min_ms <= self.high.timestamp_ms
    }
}

/// The nearest events found so far, never more than a page.
struct Nearest {
    found: BTreeMap<Position, (i64, String)>,
    bytes: usize,
    /// Something was left out for want of room: what lies farther is of no interest.
    full: bool,
    limit: PageLimit,
    way: Way,
}

impl Nearest {
    fn new(limit: PageLimit, way: Way) -> Nearest {
        Nearest { found: BTreeMap::new(), bytes: 0, full: false, limit, way }
    }

    /// The place farthest from where the page begins.
    fn farthest(&self) -> Option<Position> {
        let (position, _) = match self.way {
            Way::Forward => self.found.last_key_value()?,
            Way::Backward => self.found.first_key_value()?,
        };
        Some(*position)
    }

    fn is_farther(&self, place: Position) -> bool {
        self.farthest().is_some_and(|farthest| match self.way {
            Way::Forward => place > farthest,
            Way::Backward => place < farthest,
        })
    }

    fn offer(&mut self, position: Position, ingestion_ms: i64, message: &str) {
        if self.full && self.is_farther(position) {
            return;
        }
        self.bytes += message.len() + LOG_EVENT_OVERHEAD_BYTES;
        self.found.insert(position, (ingestion_ms, message.to_owned()));
        while self.found.len() > 1
            && (self.found.len() > self.limit.events_max || self.bytes > self.limit.bytes_max)
        {
            let dropped = match self.way {
                Way::Forward => self.found.pop_last(),
                Way::Backward => self.found.pop_first(),
            };
            let Some((_, (_, message))) = dropped else { break };
            self.bytes -= message.len() + LOG_EVENT_OVERHEAD_BYTES;
            self.full = true;
        }
    }

    /// Whether a segment can't hold anything that belongs on the page.
    fn excludes(&self, segment: &Summary) -> bool {
        let nearest = match self.way {
            Way::Forward => Position { timestamp_ms: segment.min_ms, sequence: 0 },
            Way::Backward => Position { timestamp_ms: segment.max_ms, sequence: u64::MAX },
        };
        (self.full || self.found.len() >= self.limit.events_max) && self.is_farther(nearest)
    }

    fn into_events(self) -> Vec<StoredEvent> {
        let event =
            |(position, (ingestion_ms, message))| StoredEvent { position, ingestion_ms, message };
        self.found.into_iter().map(event).collect()
    }
}

pub(crate) fn page(
    view: &View<'_>,
    start: PageStart,
    range: TimeRange,
    limit: PageLimit,
) -> Result<Page, LogFailure> {
    let events = nearest(view, &Window::new(start, range), limit)?;
    let (forward, backward) = match (events.first(), events.last(), start) {
        (Some(first), Some(last), _) => (last.position, first.position),
        // Nothing there: the same place comes back, which tells a client that it is at the end.
        // The way back begins with the event at that place, which this page did not serve.
        (_, _, PageStart::After(place)) => {
            (place, Position { sequence: place.sequence.saturating_add(1), ..place })
        }
        (_, _, PageStart::Before(place)) => {
            (Position { sequence: place.sequence.saturating_sub(1), ..place }, place)
        }
        (_, _, PageStart::Head | PageStart::Tail) => {
            let place = Position { timestamp_ms: range.start_ms.max(0), sequence: 0 };
            (place, place)
        }
    };
    Ok(Page { events, forward, backward })
}

fn nearest(
    view: &View<'_>,
    window: &Window,
    limit: PageLimit,
) -> Result<Vec<StoredEvent>, LogFailure> {
    let mut segments: Vec<&Summary> =
        view.segments.iter().filter(|segment| window.may_hold(segment)).collect();
    match window.way {
        Way::Forward => segments.sort_by_key(|segment| segment.min_ms),
        Way::Backward => segments.sort_by_key(|segment| Reverse(segment.max_ms)),
    }
    let mut nearest = Nearest::new(limit, window.way);
    for segment in segments {
        if nearest.excludes(segment) {
            break;
        }
        read_segment(view.folder, segment, window, &mut nearest)?;
    }
    Ok(nearest.into_events())
}

fn read_segment(
    folder: &Path,
    segment: &Summary,
    window: &Window,
    nearest: &mut Nearest,
) -> Result<(), LogFailure> {
    let path = segment_path(folder, segment);
    let file = match File::open(&path) {
        Ok(file) => file,
        // Trimmed or deleted since the read began.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("opening a log segment")(error)),
    };
    let mut bytes = Vec::with_capacity(usize::try_from(segment.bytes).unwrap_or(0));
    let read = file.take(segment.bytes).read_to_end(&mut bytes);
    read.map_err(failed("reading a log segment"))?;
    let mut at = 0;
    while at < bytes.len() {
        let Some((frame, length)) = frame::decode(&bytes[at..]) else {
            return Err(LogFailure::Damaged(path));
        };
        at += length;
        if let Frame::Batch(head, events) = frame {
            for (position, message) in events {
                if position > window.low && position < window.high {
                    nearest.offer(position, head.ingestion_ms, message);
                }
            }
        }
    }
    Ok(())
}

/// A stream taking part in a merge.
pub(crate) struct Merged<'a> {
    pub name: String,
    pub view: View<'a>,
}

/// Where one stream stands in a merge: its events read ahead, or only how early they may be.
struct Cursor<'s, 'v> {
    stream: &'s Merged<'v>,
    ahead: VecDeque<StoredEvent>,
    after: Position,
    ended: bool,
}

impl Cursor<'_, '_> {
    /// Where in the merged order this stream's next event is, or the earliest it may be.
    fn key(&self) -> Option<FilterPosition> {
        let (timestamp_ms, sequence) = match self.ahead.front() {
            Some(event) => (event.position.timestamp_ms, event.position.sequence),
            None if self.ended => return None,
            None => {
                let segments = self.stream.view.segments.iter().filter(|s| s.events > 0);
                let earliest = segments.map(|segment| segment.min_ms).min()?;
                (earliest.max(self.after.timestamp_ms), 0)
            }
        };
        Some(FilterPosition { timestamp_ms, stream: self.stream.name.clone(), sequence })
    }

    fn read_ahead(&mut self, range: TimeRange, limit: PageLimit) -> Result<(), LogFailure> {
        let window = Window::new(PageStart::After(self.after), range);
        self.ahead = nearest(&self.stream.view, &window, limit)?.into();
        match self.ahead.back() {
            Some(last) => self.after = last.position,
            None => self.ended = true,
        }
        Ok(())
    }
}

/// The first place of a stream that comes after a place in the merged order.
fn resume(stream: &str, after: Option<&FilterPosition>) -> Position {
    let Some(after) = after else { return FIRST };
    let sequence = match stream.cmp(after.stream.as_str()) {
        std::cmp::Ordering::Less => u64::MAX,
        std::cmp::Ordering::Equal => after.sequence,
        std::cmp::Ordering::Greater => 0,
    };
    Position { timestamp_ms: after.timestamp_ms, sequence }
}

pub(crate) fn filter(
    streams: &[Merged<'_>],
    after: Option<&FilterPosition>,
    range: TimeRange,
    limit: PageLimit,
    wanted: impl Fn(&LogEvent) -> bool,
) -> Result<FilterPage, LogFailure> {
    let ahead = PageLimit {
        events_max: (limit.events_max / streams.len().max(1)).clamp(16, 1000),
        bytes_max: limit.bytes_max,
    };
    let mut cursors: Vec<Cursor<'_, '_>> = streams
        .iter()
        .map(|stream| {
            let after = resume(&stream.name, after);
            Cursor { stream, ahead: VecDeque::new(), after, ended: false }
        })
        .collect();
    let mut heap: BinaryHeap<Reverse<(FilterPosition, usize)>> = BinaryHeap::new();
    for (at, cursor) in cursors.iter().enumerate() {
        heap.extend(cursor.key().map(|key| Reverse((key, at))));
    }
    let mut page = FilterPage { events: Vec::new(), next: None };
    let (mut bytes, mut looked) = (0, 0);
    let mut last = after.cloned();
    while let Some(Reverse((key, at))) = heap.pop() {
        let cursor = &mut cursors[at];
        if let Some(event) = cursor.ahead.pop_front() {
            let event_bytes = event.message.len() + LOG_EVENT_OVERHEAD_BYTES;
            let full = page.events.len() >= limit.events_max
                || (bytes + event_bytes > limit.bytes_max && !page.events.is_empty());
            if full || looked >= LOG_FILTER_EVENTS_LOOKED_MAX {
                page.next = last;
                return Ok(page);
            }
            looked += 1;
            last = Some(key);
            let timestamp_ms = event.position.timestamp_ms;
            let candidate = LogEvent { timestamp_ms, message: event.message };
            if wanted(&candidate) {
                bytes += event_bytes;
                let event = StoredEvent { message: candidate.message, ..event };
                page.events.push(FilteredEvent { stream: cursor.stream.name.clone(), event });
            }
        } else {
            cursor.read_ahead(range, ahead)?;
        }
        heap.extend(cursor.key().map(|key| Reverse((key, at))));
    }
    Ok(page)
}
