//! How rows are written, in the frames of the log and in the table of records. A record has a
//! checksum of its own, because redb checks its pages only when it repairs. All numbers are
//! little-endian.

use crate::commit::Group;
use crate::disk::wal;
use crate::record::Kinds;
use crate::snapshot::Revision;

pub(crate) const CHECKSUM_BYTES: usize = 4;
const DELETED: u32 = u32::MAX;

/// A group as a frame of the log.
pub(crate) fn encode_group(group: &Group, before: Revision, kinds: &Kinds) -> Vec<u8> {
    let mut frame = wal::begin_frame(before.0 + 1, group.revision.0);
    for (address, row) in &group.rows {
        let kind = kinds.row(address.kind).name;
        frame.extend_from_slice(&row.revision.0.to_le_bytes());
        let name_bytes = kind.len() + 1 + address.key.len();
        let name_bytes = u16::try_from(name_bytes).expect("keys are bounded");
        frame.extend_from_slice(&name_bytes.to_le_bytes());
        frame.extend_from_slice(kind.as_bytes());
        frame.push(b'/');
        frame.extend_from_slice(address.key.as_bytes());
        match &row.stored {
            Some(stored) => {
                let bytes = u32::try_from(stored.len()).expect("transactions are bounded");
                frame.extend_from_slice(&bytes.to_le_bytes());
                frame.extend_from_slice(stored);
            }
            None => frame.extend_from_slice(&DELETED.to_le_bytes()),
        }
    }
    wal::finish_frame(frame)
}

/// A record as the table of records holds it. The checksum covers its name too.
pub(crate) fn encode_record(name: &str, revision: Revision, stored: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(CHECKSUM_BYTES + 8 + stored.len());
    record.extend_from_slice(&[0; CHECKSUM_BYTES]);
    record.extend_from_slice(&revision.0.to_le_bytes());
    record.extend_from_slice(stored);
    let checksum = checksum(name, &record[CHECKSUM_BYTES..]);
    record[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    record
}

pub(crate) fn decode_record<'a>(
    name: &str,
    record: &'a [u8],
) -> Result<(Revision, &'a [u8]), String> {
    let body = match record.split_first_chunk::<CHECKSUM_BYTES>() {
        Some((sum, body)) if checksum(name, body).to_le_bytes() == *sum => body,
        _ => return Err("a record does not match its checksum".to_owned()),
    };
    let (revision, stored) = body.split_first_chunk::<8>().ok_or("a record is too short")?;
    Ok((Revision(u64::from_le_bytes(*revision)), stored))
}

fn checksum(name: &str, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// How many records there are and the sum of their checksums: a table that lost a record, or kept
/// one it should not have, does not match it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    count: u64,
    sum: u64,
}

impl Tally {
    pub fn add(&mut self, record: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(Tally::part(record));
    }

    pub fn remove(&mut self, record: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(Tally::part(record));
    }

    fn part(record: &[u8]) -> u64 {
        record.first_chunk::<CHECKSUM_BYTES>().map_or(0, |sum| u32::from_le_bytes(*sum).into())
    }

    pub fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..].copy_from_slice(&self.sum.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Tally> {
        let (count, rest) = bytes.split_first_chunk::<8>()?;
        let sum = rest.try_into().ok()?;
        Some(Tally { count: u64::from_le_bytes(*count), sum: u64::from_le_bytes(sum) })
    }
}

/// One row of the log.
pub(crate) struct Found<'a> {
    pub revision: Revision,
    /// "kind/key".
    pub name: &'a str,
    pub stored: Option<&'a [u8]>,
}

/// The rows of one frame, whose checksum has been checked.
pub(crate) struct Rows<'a> {
    rest: &'a [u8],
}

impl<'a> Rows<'a> {
    pub fn new(rows: &'a [u8]) -> Rows<'a> {
        Rows { rest: rows }
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(head)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn row(&mut self) -> Option<Found<'a>> {
        let revision = Revision(u64::from_le_bytes(self.number()?));
        let name_bytes = usize::from(u16::from_le_bytes(self.number()?));
        let name = std::str::from_utf8(self.take(name_bytes)?).ok()?;
        let stored = match u32::from_le_bytes(self.number()?) {
            DELETED => None,
            bytes => Some(self.take(bytes as usize)?),
        };
        Some(Found { revision, name, stored })
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Found<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.row().ok_or_else(|| "a frame of the log ends too early".to_owned()))
    }
}
