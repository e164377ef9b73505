//! The log: segments of frames, each frame a group of transactions. A segment is only ever
//! written at its end, by the process that made it; after a failure or a restart a new one is
//! begun. Its name says the first revision it may hold, which makes void whatever the segment
//! before it holds from there on: the frame of a write that failed, say.
//!
//! Revisions are dense, so a lost frame is noticed as a gap, and only the end of the newest
//! segment can be torn without being damage.

use std::sync::Arc;

use crate::disk::row::CHECKSUM_BYTES;
use crate::disk::{Cluster, FORMAT, Medium, Segment};
use crate::snapshot::Revision;
use crate::txn::StorageFailure;

const SEGMENT_MAGIC: &[u8; 8] = b"neargwal";
const FRAME_MAGIC: &[u8; 4] = b"nfrm";
/// Magic, format, cluster, first revision, checksum.
const HEADER_BYTES: usize = 8 + 8 + 16 + 8 + CHECKSUM_BYTES;
/// Magic, length, checksum; then the payload: first revision, last revision, rows.
pub(crate) const FRAME_HEAD_BYTES: usize = 4 + 4 + CHECKSUM_BYTES;
const FRAME_BYTES_MIN: usize = FRAME_HEAD_BYTES + 16;

/// A segment that gets no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Its name.
    pub first: u64,
    /// The last revision in it that counts.
    pub last: u64,
    pub bytes: usize,
}

/// The end of the log.
pub(crate) struct Log {
    medium: Arc<dyn Medium>,
    cluster: Cluster,
    segment_bytes: usize,
    active: Option<Active>,
    /// A segment whose last write failed; sealed when the next one is begun.
    failed: Option<Sealed>,
}

struct Active {
    segment: Box<dyn Segment>,
    sealed: Sealed,
}

impl Log {
    pub fn new(medium: Arc<dyn Medium>, cluster: Cluster, segment_bytes: usize) -> Log {
        Log { medium, cluster, segment_bytes, active: None, failed: None }
    }

    /// Makes a frame durable. Returns the segment that this sealed, if it did. After a failure
    /// the frame's outcome is open until the next append succeeds; then it is void.
    pub fn append(
        &mut self,
        before: Revision,
        last: Revision,
        frame: &[u8],
    ) -> Result<Option<Sealed>, StorageFailure> {
        let sealed = match self.active.as_mut() {
            Some(active) if active.sealed.bytes < self.segment_bytes => {
                let written = active.segment.append(frame).and_then(|()| active.segment.sync());
                if let Err(error) = written {
                    self.failed = self.active.take().map(|active| active.sealed);
                    return Err(StorageFailure::new(error));
                }
                None
            }
            _ => {
                let segment = self.begin(before.0 + 1, frame).map_err(StorageFailure::new)?;
                let sealed = Sealed { first: before.0 + 1, last: before.0, bytes: 0 };
                let full = self.active.replace(Active { segment, sealed });
                full.map(|full| full.sealed).or(self.failed.take())
            }
        };
        let active = self.active.as_mut().expect("appended to it");
        active.sealed.last = last.0;
        active.sealed.bytes += frame.len();
        Ok(sealed)
    }

    /// Begins a segment with its first frame. Until it returns nobody relies on the segment, but
    /// its name alone may already void what failed before, which is as good as not written.
    fn begin(&self, first: u64, frame: &[u8]) -> std::io::Result<Box<dyn Segment>> {
        let mut segment = self.medium.create_segment(first)?;
        let mut bytes = encode_header(&self.cluster, first);
        bytes.extend_from_slice(frame);
        let written = segment.append(&bytes).and_then(|()| segment.sync());
        if let Err(error) = written.and_then(|()| self.medium.sync_names()) {
            drop(segment);
            // The space may be what the next attempt needs. Failing to remove it does no harm.
            if let Err(error) = self.medium.remove_segment(first) {
                tracing::warn!(%error, "a log segment that failed could not be removed");
            }
            return Err(error);
        }
        Ok(segment)
    }
}

pub(crate) fn encode_header(cluster: &Cluster, first: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(SEGMENT_MAGIC);
    header.extend_from_slice(&FORMAT.to_le_bytes());
    header.extend_from_slice(cluster);
    header.extend_from_slice(&first.to_le_bytes());
    let checksum = crc32fast::hash(&header);
    header.extend_from_slice(&checksum.to_le_bytes());
    header
}

/// Room for a frame's head; `finish_frame` fills it in.
pub(crate) fn begin_frame(first: u64, last: u64) -> Vec<u8> {
    let mut frame = Vec::with_capacity(4096);
    frame.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    frame.extend_from_slice(&first.to_le_bytes());
    frame.extend_from_slice(&last.to_le_bytes());
    frame
}

pub(crate) fn finish_frame(mut frame: Vec<u8>) -> Vec<u8> {
    let payload = &frame[FRAME_HEAD_BYTES..];
    let checksum = crc32fast::hash(payload);
    let bytes = u32::try_from(payload.len()).expect("groups are bounded");
    frame[..4].copy_from_slice(FRAME_MAGIC);
    frame[4..8].copy_from_slice(&bytes.to_le_bytes());
    frame[8..FRAME_HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    frame
}

/// A whole frame.
pub(crate) struct Frame<'a> {
    pub first: u64,
    pub last: u64,
    pub rows: &'a [u8],
}

/// The frame at the beginning of these bytes and its length, if it is whole.
fn decode_frame(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (head, rest) = bytes.split_at_checked(FRAME_HEAD_BYTES)?;
    if &head[..4] != FRAME_MAGIC {
        return None;
    }
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let payload = rest.get(..number(4) as usize)?;
    if crc32fast::hash(payload) != number(8) {
        return None;
    }
    let (first, rows) = payload.split_first_chunk::<8>()?;
    let (last, rows) = rows.split_first_chunk::<8>()?;
    let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    Some((Frame { first, last, rows }, FRAME_HEAD_BYTES + payload.len()))
}

/// Why a segment can't be used.
pub(crate) enum Unusable {
    /// Its header was never finished: nothing in it was ever acknowledged.
    Unfinished,
    Newer(u64),
    Damaged(String),
}

/// The frames of a segment. `next` is the name of the segment after it, None for the newest.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    cluster: &Cluster,
    first: u64,
    next: Option<u64>,
) -> Result<Vec<Frame<'a>>, Unusable> {
    let damaged = |what: &str| Unusable::Damaged(format!("log segment {first}: {what}"));
    let Some((header, mut rest)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(Unusable::Unfinished);
    };
    let (header, checksum) = header.split_at(HEADER_BYTES - CHECKSUM_BYTES);
    if crc32fast::hash(header).to_le_bytes() != checksum || !header.starts_with(SEGMENT_MAGIC) {
        // An unfinished header was written together with the one frame after it, never synced.
        return match first_whole_frame(rest) {
            Some(_) => Err(damaged("its header does not match its checksum")),
            None => Err(Unusable::Unfinished),
        };
    }
    let format = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
    if format > FORMAT {
        return Err(Unusable::Newer(format));
    }
    if header[16..32] != *cluster {
        return Err(damaged("it belongs to another state"));
    }
    if header[32..40] != first.to_le_bytes() {
        return Err(damaged("it was renamed"));
    }
    let mut frames = Vec::new();
    let mut expected = first;
    while !rest.is_empty() && next != Some(expected) {
        let Some((frame, length)) = decode_frame(rest) else { break };
        if frame.first != expected || frame.last < frame.first {
            return Err(damaged(&format!("revision {expected} is missing")));
        }
        expected = frame.last + 1;
        rest = &rest[length..];
        frames.push(frame);
    }
    match next {
        Some(next) if next != expected => {
            Err(damaged(&format!("revisions {expected} up to {next} are missing")))
        }
        None if first_whole_frame(rest).is_some() => {
            Err(damaged(&format!("the frame of revision {expected} is damaged")))
        }
        _ => Ok(frames),
    }
}

/// Looks for a whole frame at any place: only one frame is under way at a time, so a whole one
/// after a broken one means that the broken one had been whole.
fn first_whole_frame(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len().saturating_sub(FRAME_BYTES_MIN - 1))
        .filter(|at| bytes[*at..].starts_with(FRAME_MAGIC))
        .find(|at| decode_frame(&bytes[*at..]).is_some())
}
