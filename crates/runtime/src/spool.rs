//! A container's log on its way from the supervisor to the agent: a file of records. The supervisor
//! appends, the agent reads from an offset and acknowledges; what is acknowledged is given back to
//! the file system by punching a hole, so offsets never change their meaning and a restarted agent
//! goes on where it was. A record that was cut off by a crash is not a record.

use crate::spec::Timestamp;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of a record's head: time (8), length (4), stream, flags, two bytes of mark.
const HEAD_BYTES: usize = 16;
const MARK: [u8; 2] = *b"NG";
const FLAG_PARTIAL: u8 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogStream {
    Stdout,
    Stderr,
}

/// One line, without its newline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    pub at: Timestamp,
    pub stream: LogStream,
    /// The line goes on in the next record of the same stream.
    pub partial: bool,
    pub bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogBatch {
    pub records: Vec<LogRecord>,
    /// For each record, where the next one begins.
    pub ends: Vec<u64>,
    /// Where to read next, and what to acknowledge once these records are kept.
    pub next_offset: u64,
}

impl LogRecord {
    /// Appends the record in its stored form.
    pub fn encode(
        out: &mut Vec<u8>,
        at: Timestamp,
        stream: LogStream,
        partial: bool,
        bytes: &[u8],
    ) {
        let length = u32::try_from(bytes.len()).expect("lines are cut at 256 KiB");
        out.extend_from_slice(&at.0.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.push(match stream {
            LogStream::Stdout => 1,
            LogStream::Stderr => 2,
        });
        out.push(if partial { FLAG_PARTIAL } else { 0 });
        out.extend_from_slice(&MARK);
        out.extend_from_slice(bytes);
    }

    /// The stored size of a record with that many bytes of text.
    pub fn stored_bytes(text_bytes: usize) -> usize {
        HEAD_BYTES + text_bytes
    }

    /// The first record of `input` and how many bytes it takes; None when it isn't whole.
    fn decode(input: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let Some((head, rest)) = input.split_at_checked(HEAD_BYTES) else {
            return Ok(None);
        };
        let at = i64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
        let length = u32::from_le_bytes(head[8..12].try_into().expect("four bytes")) as usize;
        let stream = match head[12] {
            1 => LogStream::Stdout,
            2 => LogStream::Stderr,
            _ => return Err(io::Error::other("a log record has no known stream")),
        };
        if head[14..16] != MARK || length > crate::limits::LOG_LINE_BYTES_MAX {
            return Err(io::Error::other("a log record is damaged"));
        }
        let Some(bytes) = rest.get(..length) else {
            return Ok(None);
        };
        let record = Self {
            at: Timestamp(at),
            stream,
            partial: head[13] & FLAG_PARTIAL != 0,
            bytes: bytes.to_vec(),
        };
        Ok(Some((record, HEAD_BYTES + length)))
    }
}

/// Reads a spool. It holds no position: offsets are the caller's, who keeps them where they
/// survive.
pub struct SpoolReader {
    file: File,
}

impl SpoolReader {
    pub fn new(file: File) -> Self {
        Self { file }
    }

    /// Whole records from `offset` on, within `bytes_max` but at least one if there is one.
    pub fn read(&self, offset: u64, bytes_max: usize) -> io::Result<LogBatch> {
        let largest = LogRecord::stored_bytes(crate::limits::LOG_LINE_BYTES_MAX);
        let waiting = self.file.metadata()?.len().saturating_sub(offset);
        let wanted = usize::try_from(waiting).unwrap_or(usize::MAX).min(bytes_max.max(largest));
        let mut buffer = vec![0; wanted];
        let got = read_up_to(&self.file, &mut buffer, offset)?;
        let mut input = &buffer[..got];
        let mut batch = LogBatch { next_offset: offset, ..LogBatch::default() };
        let mut used = 0;
        while let Some((record, bytes)) = LogRecord::decode(input)? {
            used += bytes;
            if used > bytes_max && !batch.records.is_empty() {
                break;
            }
            batch.records.push(record);
            batch.next_offset += bytes as u64;
            batch.ends.push(batch.next_offset);
            input = &input[bytes..];
        }
        Ok(batch)
    }
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn records_come_back_whole_and_a_torn_one_is_not_read() {
        let mut bytes = Vec::new();
        LogRecord::encode(&mut bytes, Timestamp(5), LogStream::Stdout, false, b"one");
        LogRecord::encode(&mut bytes, Timestamp(6), LogStream::Stderr, true, b"two");
        let whole = bytes.len() as u64;
        LogRecord::encode(&mut bytes, Timestamp(7), LogStream::Stdout, false, b"three");
        bytes.pop();
        let path = std::env::temp_dir().join(format!("neargate-spool-{}", std::process::id()));
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .expect("open");
        std::fs::remove_file(&path).expect("unlink");
        file.write_all(&bytes).expect("write");
        let reader = SpoolReader::new(file);
        let batch = reader.read(0, 1 << 20).expect("read");
        assert_eq!(batch.next_offset, whole);
        assert_eq!(batch.records.len(), 2);
        assert_eq!(batch.records[1].bytes, b"two");
        assert!(batch.records[1].partial);
        let first = reader.read(0, 1).expect("read");
        assert_eq!(first.records.len(), 1, "one record even when it is larger than asked for");
        let rest = reader.read(first.next_offset, 1 << 20).expect("read");
        assert_eq!(rest.records.len(), 1);
    }
}
