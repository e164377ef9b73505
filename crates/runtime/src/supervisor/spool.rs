//! The writing side of a container's log: cuts output into lines, appends them to the spool as
//! records, and keeps what nobody has read yet within its bound. A full disk is a warning, never a
//! reason to stop a container or to lose track of where the log ends.

use crate::event::ObservedLog;
use crate::limits::{LOG_LINE_BYTES_MAX, LOG_PUNCH_BYTES};
use crate::spec::{LogSpec, Timestamp};
use crate::spool::{LogRecord, LogStream};
use crate::sys::mount::punch_hole;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub struct Spool {
    file: File,
    spec: LogSpec,
    observed: ObservedLog,
    /// Up to where the file's space was given back.
    punched: u64,
    /// Beginnings of lines whose end has not come yet: of stdout, of stderr.
    unfinished: [Vec<u8>; 2],
    /// The agent knows that there is something to read.
    told: bool,
    /// The agent knows that the disk is full.
    told_full: bool,
}

impl Spool {
    pub fn create(path: &Path, spec: LogSpec) -> io::Result<Self> {
        let file =
            File::options().create(true).append(false).write(true).truncate(true).open(path)?;
        Ok(Self {
            file,
            spec,
            observed: ObservedLog::default(),
            punched: 0,
            unfinished: [Vec::new(), Vec::new()],
            told: false,
            told_full: false,
        })
    }

    pub fn observed(&self) -> ObservedLog {
        self.observed
    }

    pub fn set_spec(&mut self, spec: LogSpec) {
        self.spec = spec;
    }

    /// Whether more output may be read from the container now.
    pub fn takes_more(&self) -> bool {
        !self.spec.blocking || self.unread() < self.spec.spool_bytes_max
    }

    fn unread(&self) -> u64 {
        self.observed.end - self.observed.acknowledged
    }

    /// Whether the agent should be told that the log grew; true once until it acknowledges.
    pub fn should_tell(&mut self) -> bool {
        let tell = !self.told && self.unread() > 0;
        self.told |= tell;
        tell
    }

    /// Another agent reads now.
    pub fn forget_told(&mut self) {
        self.told = false;
    }

    /// Output arrived. Returns what went wrong with the disk, the first time.
    pub fn take(&mut self, stream: LogStream, mut bytes: &[u8], at: Timestamp) -> Option<String> {
        let slot = slot(stream);
        let mut lines = Lines::default();
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            let begun = std::mem::take(&mut self.unfinished[slot]);
            if begun.is_empty() {
                lines.add(stream, line, at);
            } else {
                lines.add(stream, &[&begun, line].concat(), at);
            }
        }
        self.unfinished[slot].extend_from_slice(bytes);
        while self.unfinished[slot].len() > LOG_LINE_BYTES_MAX {
            let rest = self.unfinished[slot].split_off(LOG_LINE_BYTES_MAX);
            let part = std::mem::replace(&mut self.unfinished[slot], rest);
            lines.push(stream, true, &part, at);
        }
        self.append(lines)
    }

    /// The container ended: a last line without a newline is a line too.
    pub fn finish(&mut self, at: Timestamp) -> Option<String> {
        let mut lines = Lines::default();
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let line = std::mem::take(&mut self.unfinished[slot(stream)]);
            if !line.is_empty() {
                lines.add(stream, &line, at);
            }
        }
        self.append(lines)
    }

    fn append(&mut self, mut lines: Lines) -> Option<String> {
        if !self.spec.blocking {
            let room = self.spec.spool_bytes_max.saturating_sub(self.unread());
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let fits = lines.ends.partition_point(|end| *end <= room);
            self.observed.lines_dropped += (lines.ends.len() - fits) as u64;
            lines.ends.truncate(fits);
            lines.bytes.truncate(lines.ends.last().copied().unwrap_or(0));
        }
        if lines.bytes.is_empty() {
            return None;
        }
        match self.file.write_all_at(&lines.bytes, self.observed.end) {
            Ok(()) => {
                self.observed.end += lines.bytes.len() as u64;
                self.told_full = false;
                None
            }
            Err(e) => {
                self.observed.lines_dropped += lines.ends.len() as u64;
                // Half a batch must not be read; if even this fails its records are read twice at
                // worst.
                let _ = self.file.set_len(self.observed.end);
                let first = !std::mem::replace(&mut self.told_full, true);
                first.then(|| format!("log lines are being dropped: {e}"))
            }
        }
    }

    /// The agent has kept everything before `offset`.
    pub fn acknowledge(&mut self, offset: u64) {
        let offset = offset.min(self.observed.end);
        self.observed.acknowledged = self.observed.acknowledged.max(offset);
        self.told = false;
        let whole = self.observed.acknowledged / LOG_PUNCH_BYTES * LOG_PUNCH_BYTES;
        if whole > self.punched {
            // Without it the file keeps its size until the task is removed; still bounded by the
            // disk.
            if punch_hole(self.file.as_fd(), self.punched, whole - self.punched).is_ok() {
                self.punched = whole;
            }
        }
    }
}

fn slot(stream: LogStream) -> usize {
    match stream {
        LogStream::Stdout => 0,
        LogStream::Stderr => 1,
    }
}

/// Records ready to be written, and where each ends.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    /// One line, in as many parts as its length needs.
    fn add(&mut self, stream: LogStream, mut line: &[u8], at: Timestamp) {
        while line.len() > LOG_LINE_BYTES_MAX {
            let (part, rest) = line.split_at(LOG_LINE_BYTES_MAX);
            self.push(stream, true, part, at);
            line = rest;
        }
        self.push(stream, false, line, at);
    }

    fn push(&mut self, stream: LogStream, partial: bool, bytes: &[u8], at: Timestamp) {
        LogRecord::encode(&mut self.bytes, at, stream, partial, bytes);
        self.ends.push(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::SpoolReader;

    fn spool(name: &str, spec: LogSpec) -> (Spool, SpoolReader) {
        let file = format!("neargate-spool-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(file);
        let spool = Spool::create(&path, spec).expect("create");
        let reader = SpoolReader::new(File::open(&path).expect("open"));
        std::fs::remove_file(&path).expect("unlink");
        (spool, reader)
    }

    #[test]
    fn output_becomes_lines_however_it_is_cut() {
        let (mut spool, reader) = spool("lines", LogSpec::default());
        for part in [&b"on"[..], b"e\ntwo\nthr", b"ee\n\n", b"end"] {
            assert_eq!(spool.take(LogStream::Stdout, part, Timestamp(1)), None);
        }
        spool.take(LogStream::Stderr, b"other\n", Timestamp(2));
        spool.finish(Timestamp(3));
        let batch = reader.read(0, 1 << 20).expect("read");
        let lines: Vec<_> = batch.records.iter().map(|r| r.bytes.as_slice()).collect();
        assert_eq!(lines, [&b"one"[..], b"two", b"three", b"", b"other", b"end"]);
        assert_eq!(batch.next_offset, spool.observed().end);
    }

    #[test]
    fn a_line_too_long_is_cut_into_marked_parts() {
        let (mut spool, reader) = spool("long", LogSpec::default());
        let long = vec![b'x'; LOG_LINE_BYTES_MAX * 2 + 5];
        for part in long.chunks(10_000) {
            spool.take(LogStream::Stdout, part, Timestamp(1));
        }
        spool.take(LogStream::Stdout, b"\n", Timestamp(1));
        let records = reader.read(0, 1 << 22).expect("read").records;
        assert_eq!(records.iter().map(|r| r.partial).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(records.iter().map(|r| r.bytes.len()).sum::<usize>(), long.len());
    }

    #[test]
    fn a_log_nobody_reads_stays_within_its_bound() {
        let bytes = 1000;
        let spec = LogSpec { blocking: false, spool_bytes_max: bytes };
        let (mut dropping, _) = spool("dropping", spec);
        for _ in 0..100 {
            dropping.take(LogStream::Stdout, b"a line of some length\n", Timestamp(1));
        }
        assert!(dropping.observed().end <= bytes);
        assert!(dropping.observed().lines_dropped > 50);
        assert!(dropping.takes_more());
        dropping.acknowledge(dropping.observed().end);
        let before = dropping.observed().end;
        dropping.take(LogStream::Stdout, b"again\n", Timestamp(1));
        assert!(dropping.observed().end > before, "there is room again");

        let (mut waiting, _) = spool("waiting", LogSpec { blocking: true, ..spec });
        while waiting.takes_more() {
            waiting.take(LogStream::Stdout, b"a line of some length\n", Timestamp(1));
        }
        assert_eq!(waiting.observed().lines_dropped, 0);
        waiting.acknowledge(waiting.observed().end);
        assert!(waiting.takes_more());
    }

    #[test]
    fn a_full_disk_drops_lines_and_is_told_once() {
        let mut spool = Spool::create(Path::new("/dev/full"), LogSpec::default()).expect("open");
        let first = spool.take(LogStream::Stdout, b"one\ntwo\n", Timestamp(1));
        assert!(first.expect("a warning").contains("No space left"));
        assert_eq!(spool.take(LogStream::Stdout, b"three\n", Timestamp(2)), None);
        assert_eq!(spool.observed(), ObservedLog { lines_dropped: 3, ..ObservedLog::default() });
        assert!(spool.takes_more(), "the container goes on");
    }

    #[test]
    fn the_agent_is_told_once_until_it_acknowledges() {
        let (mut spool, _) = spool("told", LogSpec::default());
        assert!(!spool.should_tell());
        spool.take(LogStream::Stdout, b"x\n", Timestamp(1));
        assert!(spool.should_tell());
        spool.take(LogStream::Stdout, b"y\n", Timestamp(1));
        assert!(!spool.should_tell());
        spool.acknowledge(1);
        assert!(spool.should_tell(), "there is more than was acknowledged");
        spool.acknowledge(spool.observed().end);
        assert!(!spool.should_tell());
    }
}
