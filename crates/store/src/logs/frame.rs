//! The frames that segments are made of: length, checksum, payload; little-endian. A segment
//! begins with a head, which says what came before it, so that opening a stream means reading its
//! last segment. Then come batches.

use std::collections::BTreeMap;

use crate::logs::{LogEvent, Position, Source};

/// Length and checksum.
pub(crate) const FRAME_BYTES: usize = 8;
const HEAD: u8 = 1;
const BATCH: u8 = 2;

/// What a segment holds, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub number: u64,
    /// Length of the file, as far as it is whole.
    pub bytes: u64,
    pub events: u64,
    /// Bytes as CloudWatch counts them.
    pub event_bytes: u64,
    /// Meaningful only if there are events.
    pub min_ms: i64,
    pub max_ms: i64,
}

impl Summary {
    pub fn empty(number: u64) -> Summary {
        let (min_ms, max_ms) = (i64::MAX, i64::MIN);
        Summary { number, bytes: 0, events: 0, event_bytes: 0, min_ms, max_ms }
    }
}

/// How far a source has been stored, and after which event that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceEnd {
    pub end: u64,
    pub sequence: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub group: String,
    pub stream: String,
    pub next_sequence: u64,
    pub last_ingestion_ms: Option<i64>,
    pub sources: BTreeMap<String, SourceEnd>,
    /// The segment before this one, if there was one.
    pub previous: Option<Summary>,
}

/// The part of a batch that comes before its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchHead {
    pub first_sequence: u64,
    pub ingestion_ms: i64,
    pub source: Option<Source>,
    pub events: u32,
}

pub(crate) enum Frame<'a> {
    Head(Head),
    Batch(BatchHead, Events<'a>),
}

struct Out(Vec<u8>);

impl Out {
    fn frame(kind: u8) -> Out {
        let mut bytes = vec![0; FRAME_BYTES];
        bytes.push(kind);
        Out(bytes)
    }

    fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn i64(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).expect("texts are bounded"));
        self.0.extend_from_slice(text.as_bytes());
    }

    fn seal(mut self) -> Vec<u8> {
        let bytes = u32::try_from(self.0.len() - FRAME_BYTES).expect("frames are bounded");
        let checksum = crc32fast::hash(&self.0[FRAME_BYTES..]);
        self.0[..4].copy_from_slice(&bytes.to_le_bytes());
        self.0[4..FRAME_BYTES].copy_from_slice(&checksum.to_le_bytes());
        self.0
    }
}

pub(crate) fn encode_head(head: &Head) -> Vec<u8> {
    let mut out = Out::frame(HEAD);
    out.text(&head.group);
    out.text(&head.stream);
    out.u64(head.next_sequence);
    out.i64(head.last_ingestion_ms.unwrap_or(i64::MIN));
    out.u32(u32::try_from(head.sources.len()).expect("sources are bounded"));
    for (id, source) in &head.sources {
        out.text(id);
        out.u64(source.end);
        out.u64(source.sequence);
    }
    out.0.push(u8::from(head.previous.is_some()));
    if let Some(previous) = &head.previous {
        out.u64(previous.number);
        out.u64(previous.bytes);
        out.u64(previous.events);
        out.u64(previous.event_bytes);
        out.i64(previous.min_ms);
        out.i64(previous.max_ms);
    }
    out.seal()
}

pub(crate) fn encode_batch(head: &BatchHead, events: &[LogEvent]) -> Vec<u8> {
    let mut out = Out::frame(BATCH);
    out.u64(head.first_sequence);
    out.i64(head.ingestion_ms);
    out.0.push(u8::from(head.source.is_some()));
    if let Some(source) = &head.source {
        out.text(&source.id);
        out.u64(source.offset);
        out.u64(source.end);
    }
    out.u32(head.events);
    for event in events {
        out.i64(event.timestamp_ms);
        out.text(&event.message);
    }
    out.seal()
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let bytes = self.u32()? as usize;
        std::str::from_utf8(self.take(bytes)?).ok()
    }
}

/// The first frame of these bytes and how long it is. None: there is no whole frame.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let payload = rest.get(..length)?;
    if crc32fast::hash(payload).to_le_bytes() != *checksum {
        return None;
    }
    let mut input = In(payload);
    let frame = match input.u8()? {
        HEAD => Frame::Head(decode_head(&mut input)?),
        BATCH => {
            let head = decode_batch_head(&mut input)?;
            let events = Events { rest: input, sequence: head.first_sequence };
            Frame::Batch(head, events)
        }
        _ => return None,
    };
    Some((frame, FRAME_BYTES + length))
}

fn decode_head(input: &mut In<'_>) -> Option<Head> {
    let group = input.text()?.to_owned();
    let stream = input.text()?.to_owned();
    let next_sequence = input.u64()?;
    let last_ingestion_ms = Some(input.i64()?).filter(|ms| *ms != i64::MIN);
    let mut sources = BTreeMap::new();
    for _ in 0..input.u32()? {
        let id = input.text()?.to_owned();
        sources.insert(id, SourceEnd { end: input.u64()?, sequence: input.u64()? });
    }
    let previous = match input.u8()? {
        0 => None,
        _ => Some(Summary {
            number: input.u64()?,
            bytes: input.u64()?,
            events: input.u64()?,
            event_bytes: input.u64()?,
            min_ms: input.i64()?,
            max_ms: input.i64()?,
        }),
    };
    Some(Head { group, stream, next_sequence, last_ingestion_ms, sources, previous })
}

fn decode_batch_head(input: &mut In<'_>) -> Option<BatchHead> {
    let first_sequence = input.u64()?;
    let ingestion_ms = input.i64()?;
    let source = match input.u8()? {
        0 => None,
        _ => Some(Source { id: input.text()?.to_owned(), offset: input.u64()?, end: input.u64()? }),
    };
    Some(BatchHead { first_sequence, ingestion_ms, source, events: input.u32()? })
}

/// The events of a batch, in the order in which they came.
pub(crate) struct Events<'a> {
    rest: In<'a>,
    sequence: u64,
}

impl<'a> Iterator for Events<'a> {
    type Item = (Position, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let timestamp_ms = self.rest.i64()?;
        let message = self.rest.text()?;
        let position = Position { timestamp_ms, sequence: self.sequence };
        self.sequence += 1;
        Some((position, message))
    }
}
