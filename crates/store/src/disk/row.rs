//! How rows are written: with a checksum of their own, because redb checks its pages only when it
//! repairs. All numbers are little-endian.

use crate::commit::Group;
use crate::limits::FOLD_BYTES;
use crate::record::Kinds;
use crate::snapshot::Revision;

const CHECKSUM_BYTES: usize = 4;
const DELETED: u32 = u32::MAX;

/// The rows of a group, in parts small enough to be folded one at a time.
pub(crate) fn encode_group(group: &Group, kinds: &Kinds) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut part = vec![0; CHECKSUM_BYTES];
    for (address, row) in &group.rows {
        let kind = kinds.row(address.kind).name;
        let name_bytes = kind.len() + 1 + address.key.len();
        part.extend_from_slice(&row.revision.0.to_le_bytes());
        let name_bytes = u16::try_from(name_bytes).expect("keys are bounded");
        part.extend_from_slice(&name_bytes.to_le_bytes());
        part.extend_from_slice(kind.as_bytes());
        part.push(b'/');
        part.extend_from_slice(address.key.as_bytes());
        match &row.stored {
            Some(stored) => {
                let bytes = u32::try_from(stored.len()).expect("transactions are bounded");
                part.extend_from_slice(&bytes.to_le_bytes());
                part.extend_from_slice(stored);
            }
            None => part.extend_from_slice(&DELETED.to_le_bytes()),
        }
        if part.len() >= FOLD_BYTES {
            parts.push(seal(std::mem::replace(&mut part, vec![0; CHECKSUM_BYTES])));
        }
    }
    if part.len() > CHECKSUM_BYTES {
        parts.push(seal(part));
    }
    parts
}

/// A record as the table of records holds it.
pub(crate) fn encode_record(revision: Revision, stored: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(CHECKSUM_BYTES + 8 + stored.len());
    record.extend_from_slice(&[0; CHECKSUM_BYTES]);
    record.extend_from_slice(&revision.0.to_le_bytes());
    record.extend_from_slice(stored);
    seal(record)
}

pub(crate) fn decode_record(record: &[u8]) -> Result<(Revision, &[u8]), String> {
    let body = unseal(record)?;
    let (revision, stored) = body.split_first_chunk::<8>().ok_or("a record is too short")?;
    Ok((Revision(u64::from_le_bytes(*revision)), stored))
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes[CHECKSUM_BYTES..]);
    bytes[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn unseal(bytes: &[u8]) -> Result<&[u8], String> {
    match bytes.split_first_chunk::<CHECKSUM_BYTES>() {
        Some((checksum, body)) if crc32fast::hash(body).to_le_bytes() == *checksum => Ok(body),
        _ => Err("a stored row does not match its checksum".to_owned()),
    }
}

/// One row of the log.
pub(crate) struct Found<'a> {
    pub revision: Revision,
    /// "kind/key".
    pub name: &'a str,
    pub stored: Option<&'a [u8]>,
}

/// The rows of one part.
pub(crate) struct Rows<'a> {
    rest: &'a [u8],
}

impl<'a> Rows<'a> {
    pub fn new(part: &'a [u8]) -> Result<Rows<'a>, String> {
        Ok(Rows { rest: unseal(part)? })
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
        Some(self.row().ok_or_else(|| "a part of the log ends too early".to_owned()))
    }
}
