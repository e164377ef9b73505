//! A reader of tar streams, made for layers: ustar, PAX and GNU (long names, sparse files), one
//! pass, no seeking, data handed out as slices of the inflater's buffers. It knows the format and
//! its bounds; what a path may mean is for `unpack` to decide.

use super::inflate::{BlockReader, LayerProblem};
use super::limits;
use std::ops::Range;

const BLOCK: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub kind: Kind,
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime_seconds: i64,
    pub mtime_nanos: u32,
    /// Bytes of the file as it will be, holes included.
    pub size: u64,
    /// Where the data goes, if not simply from the start to the end.
    pub sparse: Option<Vec<Segment>>,
    /// `security.capability`, the only extended attribute that is carried over.
    pub capability: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub offset: u64,
    pub bytes: u64,
}

/// What PAX headers and GNU long names say about the entry that follows them.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    gnu_path: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    capability: Option<Vec<u8>>,
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    sparse_map: Vec<u64>,
    sparse_version_1: bool,
}

pub(crate) struct TarReader {
    blocks: BlockReader,
    /// Data of the current entry that was not asked for yet, and what fills its last block.
    remaining: u64,
    padding: u64,
    entries: u64,
    entries_max: u64,
    /// Bytes of all files so far, holes included.
    bytes: u64,
}

impl TarReader {
    pub fn new(blocks: BlockReader) -> Self {
        let entries_max = limits::LAYER_ENTRIES_MAX;
        Self { blocks, remaining: 0, padding: 0, entries: 0, entries_max, bytes: 0 }
    }

    /// The next entry; `None` at the end, when everything behind it has been read too.
    pub fn next(&mut self) -> Result<Option<Entry>, LayerProblem> {
        let mut extension = Extension::default();
        let mut extended_bytes = 0;
        loop {
            self.blocks.skip(self.remaining + self.padding)?;
            (self.remaining, self.padding) = (0, 0);
            let Some(header) = self.header()? else {
                self.blocks.drain()?;
                return Ok(None);
            };
            self.entries += 1;
            if self.entries > self.entries_max {
                let bound = self.entries_max;
                return Err(LayerProblem::TooLarge { what: "the number of entries", bound });
            }
            let flag = header[156];
            if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
                return self.entry(&header, extension).map(Some);
            }
            let size = number(&header[124..136])?;
            extended_bytes = size.saturating_add(extended_bytes);
            if extended_bytes > limits::TAR_EXTENSION_BYTES_MAX {
                let bound = limits::TAR_EXTENSION_BYTES_MAX;
                return Err(LayerProblem::TooLarge { what: "an extended header", bound });
            }
            let data = self.small_data(size)?;
            match flag {
                b'x' => read_pax(&data, &mut extension)?,
                b'L' => extension.gnu_path = Some(until_nul(&data).to_vec()),
                b'K' => extension.gnu_link = Some(until_nul(&data).to_vec()),
                // Global headers carry comments (git archive's commit); Docker ignores them too.
                _ => {}
            }
        }
    }

    /// The next bytes of the current entry's data; empty when all of it was read.
    pub fn data(&mut self) -> Result<&[u8], LayerProblem> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let available = self.blocks.available()?;
        if available.is_empty() {
            return Err(LayerProblem::bad("unexpected EOF"));
        }
        Ok(&available[..available.len().min(remaining)])
    }

    pub fn consume(&mut self, amount: usize) {
        self.blocks.consume(amount);
        self.remaining -= amount as u64;
    }

    fn small_data(&mut self, size: u64) -> Result<Vec<u8>, LayerProblem> {
        let mut data = vec![0; usize::try_from(size).expect("bounded by the caller")];
        if !data.is_empty() && !self.blocks.fill(&mut data)? {
            return Err(LayerProblem::bad("unexpected EOF"));
        }
        self.blocks.skip(padding_of(size))?;
        Ok(data)
    }

    /// A header that checks out; `None` at the archive's end, with or without its marker.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, LayerProblem> {
        let mut header = [0; BLOCK];
        if !self.blocks.fill(&mut header)? {
            return Ok(None);
        }
        if header == [0; BLOCK] {
            if self.blocks.fill(&mut header)? && header != [0; BLOCK] {
                return Err(LayerProblem::bad("archive/tar: invalid tar header"));
            }
            return Ok(None);
        }
        let told = number(&header[148..156])?;
        let (mut sum, mut signed_sum) = (0u64, 0i64);
        for (at, byte) in header.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            sum += u64::from(byte);
            signed_sum += i64::from(byte.cast_signed());
        }
        // Old tars summed signed characters.
        if told != sum && i64::try_from(told) != Ok(signed_sum) {
            return Err(LayerProblem::bad("archive/tar: invalid tar header"));
        }
        Ok(Some(header))
    }

    fn entry(&mut self, header: &[u8; BLOCK], extension: Extension) -> Result<Entry, LayerProblem> {
        let stored = match extension.size {
            Some(size) => size,
            None => number(&header[124..136])?,
        };
        let bound = limits::LAYER_UNPACKED_BYTES_MAX;
        if stored > bound || extension.sparse_size.is_some_and(|size| size > bound) {
            return Err(LayerProblem::TooLarge { what: "a file", bound });
        }
        let path = extension.path.clone().or_else(|| extension.gnu_path.clone());
        let path = path.unwrap_or_else(|| header_path(header));
        let kind = kind_of(header[156], &path)?;
        // Other kinds have no data, whatever their size says (as Go's reader, and so Docker's,
        // sees it).
        self.remaining = if kind == Kind::File { stored } else { 0 };
        self.padding = padding_of(self.remaining);
        let link = extension.link.clone().or_else(|| extension.gnu_link.clone());
        let id = |told: Option<u64>, field: Range<usize>| match told {
            Some(id) => narrow(id),
            None => number(&header[field]).and_then(narrow),
        };
        let (mtime_seconds, mtime_nanos) = match extension.mtime {
            Some(mtime) => mtime,
            None => (time(&header[136..148])?, 0),
        };
        let mut entry = Entry {
            kind,
            path,
            link: link.unwrap_or_else(|| until_nul(&header[157..257]).to_vec()),
            mode: narrow(number(&header[100..108])?)? & 0o7777,
            uid: id(extension.uid, 108..116)?,
            gid: id(extension.gid, 116..124)?,
            mtime_seconds,
            mtime_nanos,
            size: self.remaining,
            sparse: None,
            capability: extension.capability.clone(),
        };
        if kind == Kind::File {
            self.read_sparse(header, extension, &mut entry)?;
            self.bytes = self.bytes.saturating_add(entry.size);
            if self.bytes > bound {
                return Err(LayerProblem::TooLarge { what: "all files together", bound });
            }
        }
        let names = [&entry.path, &entry.link];
        // -1 is no one: the kernel takes it for "leave the owner alone".
        if entry.uid == u32::MAX || entry.gid == u32::MAX {
            return Err(LayerProblem::bad("an owner that can't be"));
        }
        if names.iter().any(|name| name.len() > limits::PATH_BYTES_MAX || name.contains(&0)) {
            return Err(LayerProblem::bad("a path is too long or holds a NUL"));
        }
        Ok(entry)
    }

    /// Any of the four ways in which a tar says that a file has holes.
    fn read_sparse(
        &mut self,
        header: &[u8; BLOCK],
        extension: Extension,
        entry: &mut Entry,
    ) -> Result<(), LayerProblem> {
        let (numbers, size) = if header[156] == b'S' {
            let size = number(&header[483..495])?;
            (self.read_old_sparse(header)?, size)
        } else if extension.sparse_version_1 {
            let numbers = self.read_sparse_data_map()?;
            (numbers, extension.sparse_size.unwrap_or(entry.size))
        } else if let (false, Some(size)) = (extension.sparse_map.is_empty(), extension.sparse_size)
        {
            (extension.sparse_map, size)
        } else {
            return Ok(());
        };
        if let Some(name) = extension.sparse_name {
            entry.path = name;
        }
        entry.size = size;
        entry.sparse = Some(segments(&numbers, size, self.remaining)?);
        Ok(())
    }

    fn read_old_sparse(&mut self, header: &[u8; BLOCK]) -> Result<Vec<u64>, LayerProblem> {
        let mut numbers = Vec::new();
        let mut take = |area: &[u8]| -> Result<(), LayerProblem> {
            for field in area.chunks_exact(12) {
                if field[0] == 0 {
                    break;
                }
                numbers.push(number(field)?);
            }
            if numbers.len() > 2 * limits::SPARSE_SEGMENTS_MAX {
                return Err(LayerProblem::bad("too many segments in a sparse file"));
            }
            Ok(())
        };
        take(&header[386..482])?;
        let mut more = header[482] != 0;
        while more {
            // These blocks stand before the data and are not counted in its size.
            let mut block = [0; BLOCK];
            if !self.blocks.fill(&mut block)? {
                return Err(LayerProblem::bad("unexpected EOF"));
            }
            take(&block[..504])?;
            more = block[504] != 0;
        }
        Ok(numbers)
    }

    /// PAX 1.0: the data begins with decimal lines, how many and then each, filled up to a block.
    fn read_sparse_data_map(&mut self) -> Result<Vec<u64>, LayerProblem> {
        let malformed = || LayerProblem::bad("malformed map of a sparse file");
        let (mut numbers, mut wanted, mut value, mut digits) = (Vec::new(), None, 0u64, 0);
        while wanted.is_none_or(|wanted| numbers.len() < wanted) {
            let mut block = [0; BLOCK];
            if self.remaining < BLOCK as u64 || !self.blocks.fill(&mut block)? {
                return Err(malformed());
            }
            self.remaining -= BLOCK as u64;
            for byte in block {
                match byte {
                    b'0'..=b'9' if digits < 19 => {
                        value = value * 10 + u64::from(byte - b'0');
                        digits += 1;
                    }
                    b'\n' if digits > 0 => {
                        match wanted {
                            None if value > limits::SPARSE_SEGMENTS_MAX as u64 => {
                                return Err(malformed());
                            }
                            None => wanted = usize::try_from(value * 2).ok(),
                            Some(_) => numbers.push(value),
                        }
                        (value, digits) = (0, 0);
                    }
                    _ => return Err(malformed()),
                }
                if wanted.is_some_and(|wanted| numbers.len() == wanted) {
                    break;
                }
            }
        }
        Ok(numbers)
    }
}

fn padding_of(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn kind_of(flag: u8, path: &[u8]) -> Result<Kind, LayerProblem> {
    Ok(match flag {
        // Before ustar there were no directories: a trailing slash said it.
        0 if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => return Err(LayerProblem::bad(format!("unhandled tar header type {other}"))),
    })
}

/// Checks that the map is in order, inside the file and as long as the data.
fn segments(numbers: &[u64], size: u64, stored: u64) -> Result<Vec<Segment>, LayerProblem> {
    let malformed = || LayerProblem::bad("malformed map of a sparse file");
    let pairs = numbers.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(malformed());
    }
    let (mut end, mut total, mut found) = (0, 0u64, Vec::new());
    for pair in pairs {
        let (offset, bytes) = (pair[0], pair[1]);
        let next = offset.checked_add(bytes).ok_or_else(malformed)?;
        if offset < end || next > size {
            return Err(malformed());
        }
        (end, total) = (next, total + bytes);
        if bytes > 0 {
            found.push(Segment { offset, bytes });
        }
    }
    if total == stored { Ok(found) } else { Err(malformed()) }
}

fn header_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    // GNU's magic differs, because it keeps other things where ustar keeps the prefix.
    let prefix = match &header[257..263] {
        b"ustar\0" if &header[508..512] == b"tar\0" => until_nul(&header[345..476]),
        b"ustar\0" => until_nul(&header[345..500]),
        _ if is_go_prefix(header) => until_nul(&header[345..500]),
        _ => &[],
    };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// Go before 1.8, and so old Dockers, put a prefix under GNU's magic, where GNU keeps two times.
/// What can't be a time is a prefix, as Go has read it since.
fn is_go_prefix(header: &[u8; BLOCK]) -> bool {
    let is_no_time = |field: &[u8]| field[0] != 0 && number(field).is_err();
    &header[257..265] == b"ustar  \0"
        && (is_no_time(&header[345..357]) || is_no_time(&header[357..369]))
        && until_nul(&header[345..500]).is_ascii()
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn narrow(value: u64) -> Result<u32, LayerProblem> {
    u32::try_from(value).map_err(|_| LayerProblem::bad("archive/tar: header field too long"))
}

/// An octal field, or GNU's base 256 when its first bit is set.
fn number(field: &[u8]) -> Result<u64, LayerProblem> {
    let malformed = || LayerProblem::bad("archive/tar: invalid tar header");
    if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7f);
        let wide = field[0] & 0x40 == 0;
        return field[1..]
            .iter()
            .try_fold(first, |value, byte| {
                (value >> 55 == 0).then_some(value << 8 | u64::from(*byte))
            })
            .filter(|_| wide)
            .ok_or_else(malformed);
    }
    let digits = until_nul(field).trim_ascii();
    digits.iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'7' if value >> 60 == 0 => Ok(value << 3 | u64::from(byte - b'0')),
        _ => Err(malformed()),
    })
}

/// Like `number`, but times before 1970 are times.
fn time(field: &[u8]) -> Result<i64, LayerProblem> {
    if field[0] == 0xff {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&field[field.len() - 8..]);
        return Ok(i64::from_be_bytes(bytes));
    }
    number(field).map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// Records are `length key=value\n`, and the length counts itself.
fn read_pax(mut data: &[u8], extension: &mut Extension) -> Result<(), LayerProblem> {
    let malformed = || LayerProblem::bad("malformed PAX header");
    while !data.is_empty() {
        let space = data.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let length = decimal(&data[..space]).and_then(|n| usize::try_from(n).ok());
        let length = length.filter(|n| *n > space + 1 && *n <= data.len()).ok_or_else(malformed)?;
        let (record, rest) = data.split_at(length);
        data = rest;
        let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        take_record(&record[..equals], &record[equals + 1..], extension).ok_or_else(malformed)?;
    }
    Ok(())
}

/// `None` if the value is not what its key needs. An empty value takes the record back.
fn take_record(key: &[u8], value: &[u8], extension: &mut Extension) -> Option<()> {
    let text = (!value.is_empty()).then(|| value.to_vec());
    let number = || if value.is_empty() { Some(None) } else { decimal(value).map(Some) };
    match key {
        b"path" => extension.path = text,
        b"linkpath" => extension.link = text,
        b"size" => extension.size = number()?,
        b"uid" => extension.uid = number()?,
        b"gid" => extension.gid = number()?,
        b"mtime" => extension.mtime = if value.is_empty() { None } else { Some(pax_time(value)?) },
        b"SCHILY.xattr.security.capability" => {
            extension.capability = text.filter(|t| t.len() <= limits::CAPABILITY_BYTES_MAX);
        }
        b"GNU.sparse.name" => extension.sparse_name = text,
        b"GNU.sparse.size" | b"GNU.sparse.realsize" => extension.sparse_size = number()?,
        b"GNU.sparse.major" => extension.sparse_version_1 = number()? == Some(1),
        b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
            extension.sparse_map.push(number()??);
        }
        b"GNU.sparse.map" => {
            let numbers = value.split(|byte| *byte == b',').map(decimal);
            extension.sparse_map = numbers.collect::<Option<_>>()?;
        }
        _ => {}
    }
    (extension.sparse_map.len() <= 2 * limits::SPARSE_SEGMENTS_MAX).then_some(())
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with a fraction, and perhaps a minus.
fn pax_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9.9}").parse().ok()?;
    match (negative, nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::inflate::{self, Chunk, Growth};
    use super::*;

    /// Reads the archive as a layer is read: from another thread.
    fn reader(archive: Vec<u8>) -> TarReader {
        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        sender.blocking_send(Chunk::Data(archive.into())).expect("there is room");
        sender.blocking_send(Chunk::End).expect("there is room");
        let (blocks, reader) = inflate::blocks();
        std::thread::spawn(move || inflate::inflate(receiver, &blocks, Growth::default()));
        TarReader::new(reader)
    }

    fn header(flag: u8) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        (header[0], header[156]) = (b'a', flag);
        for field in [100..108, 108..116, 116..124, 124..136, 136..148] {
            header[field].fill(b'0');
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:07o}").as_bytes());
        header
    }

    #[test]
    fn entries_are_counted_also_those_that_only_describe_others() {
        // Each global header is an entry to read, though nothing comes of it.
        let archive = [header(b'g'), header(b'0'), header(b'x'), header(b'5')].concat();
        let mut all = reader(archive.clone());
        assert_eq!(all.next().unwrap().unwrap().kind, Kind::File);
        assert_eq!(all.next().unwrap().unwrap().kind, Kind::Directory);
        assert!(all.next().unwrap().is_none());
        let mut bounded = TarReader { entries_max: 3, ..reader(archive) };
        assert!(bounded.next().is_ok());
        let refused = bounded.next().unwrap_err();
        assert!(matches!(refused, LayerProblem::TooLarge { bound: 3, .. }), "{refused:?}");
    }
}
