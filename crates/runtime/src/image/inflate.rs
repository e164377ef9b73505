//! From the network's chunks to blocks of tar. A layer is worked on by two threads: one inflates
//! and hashes, one writes files; between them a few large buffers go round, so that neither waits
//! for the other more than it must and nothing is allocated per block. What compression it is, the
//! bytes say themselves: media types are wrong too often.

use super::digest::{Digest, Hasher};
use super::limits;
use bytes::Bytes;
use std::io::{self, BufRead, Read};
use std::sync::mpsc;

/// What the fetching side sends. A channel that closes without `End` was cut short, and nothing
/// that came through it may be believed.
pub(crate) enum Chunk {
    Data(Bytes),
    End,
}

/// What went wrong in a layer, before it has a name.
#[derive(Debug)]
pub(crate) enum LayerProblem {
    /// The other side stopped; it knows why.
    CutShort,
    /// The layer's own fault.
    Bad(String),
    TooLarge {
        what: &'static str,
        bound: u64,
    },
    Disk(io::Error),
}

impl From<rustix::io::Errno> for LayerProblem {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Disk(error.into())
    }
}

impl From<io::Error> for LayerProblem {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl LayerProblem {
    pub fn bad(text: impl Into<String>) -> Self {
        Self::Bad(text.into())
    }
}

/// Marks an `io::Error` of our own, so that it is known again on the other side of a decoder.
#[derive(Debug, thiserror::Error)]
#[error("cut short")]
struct CutShort;

/// The chunks as one stream to read from, without copying them.
struct ChunkReader {
    chunks: tokio::sync::mpsc::Receiver<Chunk>,
    current: Bytes,
    ended: bool,
    compressed_bytes: u64,
}

impl ChunkReader {
    fn refill(&mut self) -> io::Result<()> {
        while self.current.is_empty() && !self.ended {
            match self.chunks.blocking_recv() {
                Some(Chunk::Data(data)) => {
                    self.compressed_bytes += data.len() as u64;
                    self.current = data;
                }
                Some(Chunk::End) => self.ended = true,
                None => return Err(io::Error::other(CutShort)),
            }
        }
        Ok(())
    }

    /// The first bytes, gathered if the network delivered them in crumbs.
    fn magic(&mut self) -> io::Result<[u8; 4]> {
        self.refill()?;
        while self.current.len() < 4 && !self.ended {
            let mut gathered = self.current.to_vec();
            self.current = Bytes::new();
            self.refill()?;
            gathered.extend_from_slice(&self.current);
            self.current = gathered.into();
        }
        let mut magic = [0; 4];
        let known = self.current.len().min(4);
        magic[..known].copy_from_slice(&self.current[..known]);
        Ok(magic)
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.refill()?;
        let taken = self.current.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.current.split_to(taken));
        Ok(taken)
    }
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.refill()?;
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        bytes::Buf::advance(&mut self.current, amount);
    }
}

enum Decoder {
    Plain(ChunkReader),
    Gzip(Box<flate2::bufread::MultiGzDecoder<ChunkReader>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, ChunkReader>>),
}

impl Decoder {
    fn detect(mut chunks: ChunkReader) -> io::Result<Self> {
        Ok(match chunks.magic()? {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(chunks))),
            // A zstd frame, or a skippable one before it.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(chunks)?;
                decoder.window_log_max(limits::ZSTD_WINDOW_LOG_MAX)?;
                Self::Zstd(Box::new(decoder))
            }
            _ => Self::Plain(chunks),
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
        }
    }

    fn compressed_bytes(&self) -> u64 {
        match self {
            Self::Plain(reader) => reader.compressed_bytes,
            Self::Gzip(reader) => reader.get_ref().compressed_bytes,
            Self::Zstd(reader) => reader.get_ref().compressed_bytes,
        }
    }
}

enum Block {
    Data(Vec<u8>, usize),
    End,
}

/// The inflater's end of the buffers.
pub(crate) struct BlockSender {
    full: mpsc::SyncSender<Block>,
    empty: mpsc::Receiver<Vec<u8>>,
}

/// The writer's end: the tar as a stream.
pub(crate) struct BlockReader {
    full: mpsc::Receiver<Block>,
    empty: mpsc::SyncSender<Vec<u8>>,
    current: Vec<u8>,
    filled: usize,
    position: usize,
    ended: bool,
}

pub(crate) fn blocks() -> (BlockSender, BlockReader) {
    let (full, full_reader) = mpsc::sync_channel(limits::BUFFERS_PER_LAYER);
    let (empty_sender, empty) = mpsc::sync_channel(limits::BUFFERS_PER_LAYER);
    let reader = BlockReader {
        full: full_reader,
        empty: empty_sender,
        current: Vec::new(),
        filled: 0,
        position: 0,
        ended: false,
    };
    (BlockSender { full, empty }, reader)
}

/// How large a layer may become.
#[derive(Clone, Copy)]
pub(crate) struct Growth {
    bytes_max: u64,
    ratio_max: u64,
    ratio_free_bytes: u64,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            bytes_max: limits::LAYER_UNPACKED_BYTES_MAX,
            ratio_max: limits::RATIO_MAX,
            ratio_free_bytes: limits::RATIO_FREE_BYTES,
        }
    }
}

impl Growth {
    fn check(&self, unpacked: u64, compressed: u64) -> Result<(), LayerProblem> {
        let too_large = |what, bound| Err(LayerProblem::TooLarge { what, bound });
        if unpacked > self.bytes_max {
            return too_large("the unpacked layer", self.bytes_max);
        }
        let allowed = compressed.saturating_mul(self.ratio_max).max(self.ratio_free_bytes);
        if unpacked > allowed {
            return too_large("the ratio of unpacked to compressed bytes", self.ratio_max);
        }
        Ok(())
    }
}

/// Inflates to the end and tells what the uncompressed whole is. To be called on a thread of its
/// own.
pub(crate) fn inflate(
    chunks: tokio::sync::mpsc::Receiver<Chunk>,
    blocks: &BlockSender,
    growth: Growth,
) -> Result<(Digest, u64), LayerProblem> {
    let reader = ChunkReader { chunks, current: Bytes::new(), ended: false, compressed_bytes: 0 };
    let mut decoder = Decoder::detect(reader).map_err(|error| decoding(&error))?;
    let mut hasher = Hasher::new();
    let mut made = 0;
    loop {
        let mut buffer = match blocks.empty.try_recv() {
            Ok(buffer) => buffer,
            Err(_) if made < limits::BUFFERS_PER_LAYER => {
                made += 1;
                vec![0; limits::BUFFER_BYTES]
            }
            Err(_) => blocks.empty.recv().map_err(|_| LayerProblem::CutShort)?,
        };
        let mut filled = 0;
        let mut at_end = false;
        while filled < buffer.len() && !at_end {
            let read = decoder.read(&mut buffer[filled..]).map_err(|e| decoding(&e))?;
            filled += read;
            at_end = read == 0;
        }
        hasher.update(&buffer[..filled]);
        growth.check(hasher.bytes(), decoder.compressed_bytes())?;
        if filled > 0 {
            let sent = blocks.full.send(Block::Data(buffer, filled));
            sent.map_err(|_| LayerProblem::CutShort)?;
        }
        if at_end {
            blocks.full.send(Block::End).map_err(|_| LayerProblem::CutShort)?;
            let bytes = hasher.bytes();
            return Ok((hasher.finish(), bytes));
        }
    }
}

fn decoding(error: &io::Error) -> LayerProblem {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<CutShort>) {
        LayerProblem::CutShort
    } else {
        LayerProblem::Bad(format!("decompressing: {error}"))
    }
}

impl BlockReader {
    /// What is there to be read now; empty at the end.
    pub fn available(&mut self) -> Result<&[u8], LayerProblem> {
        while self.position == self.filled && !self.ended {
            if !self.current.is_empty() {
                // The inflater may have gone already; then nobody needs the buffer.
                let _ = self.empty.try_send(std::mem::take(&mut self.current));
            }
            match self.full.recv() {
                Ok(Block::Data(data, filled)) => {
                    (self.current, self.filled, self.position) = (data, filled, 0);
                }
                Ok(Block::End) => {
                    (self.filled, self.position, self.ended) = (0, 0, true);
                }
                Err(_) => return Err(LayerProblem::CutShort),
            }
        }
        Ok(&self.current[self.position..self.filled])
    }

    pub fn consume(&mut self, amount: usize) {
        self.position += amount;
        debug_assert!(self.position <= self.filled);
    }

    /// Fills the buffer, or tells that the stream ended before its first byte.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, LayerProblem> {
        let mut filled = 0;
        while filled < buffer.len() {
            let available = self.available()?;
            if available.is_empty() {
                if filled == 0 {
                    return Ok(false);
                }
                return Err(LayerProblem::bad("unexpected EOF"));
            }
            let taken = available.len().min(buffer.len() - filled);
            buffer[filled..filled + taken].copy_from_slice(&available[..taken]);
            self.consume(taken);
            filled += taken;
        }
        Ok(true)
    }

    pub fn skip(&mut self, mut bytes: u64) -> Result<(), LayerProblem> {
        while bytes > 0 {
            let available = self.available()?.len() as u64;
            if available == 0 {
                return Err(LayerProblem::bad("unexpected EOF"));
            }
            let taken = available.min(bytes);
            self.consume(usize::try_from(taken).expect("at most a buffer"));
            bytes -= taken;
        }
        Ok(())
    }

    /// Reads what is left, so that the inflater can hash it.
    pub fn drain(&mut self) -> Result<(), LayerProblem> {
        loop {
            let available = self.available()?.len();
            if available == 0 {
                return Ok(());
            }
            self.consume(available);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn grown(
        compressed: &[u8],
        crumb: usize,
        growth: Growth,
    ) -> (Result<(Digest, u64), LayerProblem>, Vec<u8>) {
        let (sender, receiver) = tokio::sync::mpsc::channel(limits::CHUNKS_WAITING_MAX);
        let (block_sender, mut reader) = blocks();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for chunk in compressed.chunks(crumb) {
                    if sender.blocking_send(Chunk::Data(chunk.to_vec().into())).is_err() {
                        return;
                    }
                }
                let _ = sender.blocking_send(Chunk::End);
            });
            let inflating = scope.spawn(move || inflate(receiver, &block_sender, growth));
            let mut whole = Vec::new();
            while let Ok(available) = reader.available() {
                if available.is_empty() {
                    break;
                }
                let taken = available.len();
                whole.extend_from_slice(available);
                reader.consume(taken);
            }
            (inflating.join().unwrap(), whole)
        })
    }

    fn through(compressed: &[u8], crumb: usize) -> (Result<(Digest, u64), LayerProblem>, Vec<u8>) {
        grown(compressed, crumb, Growth::default())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_compression_gives_the_same_bytes_however_they_arrive() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7 % 251) as u8).collect();
        let (first, second) = bytes.split_at(1_234_567);
        let members = [gzip(first), gzip(second)].concat();
        let frames =
            [zstd::encode_all(first, 1).unwrap(), zstd::encode_all(second, 1).unwrap()].concat();
        for compressed in [bytes.clone(), gzip(&bytes), members, frames] {
            for crumb in [1_000, 1 << 20] {
                let (told, whole) = through(&compressed, crumb);
                assert!(whole == bytes);
                assert_eq!(told.unwrap(), (Digest::of(&bytes), bytes.len() as u64));
            }
        }
        let (told, whole) = through(&gzip(b"small")[..], 1);
        assert_eq!((told.unwrap().1, &*whole), (5, &b"small"[..]));
        assert_eq!(through(b"", 1).0.unwrap().1, 0);
    }

    #[test]
    fn a_bomb_goes_off_at_its_bound() {
        let growth = Growth { bytes_max: 64 << 20, ratio_max: 200, ratio_free_bytes: 4 << 20 };
        let zeros = vec![0; 32 << 20];
        // Real gzip can't be far above a thousand to one, zstd can.
        for bomb in [gzip(&zeros), zstd::encode_all(&*zeros, 1).unwrap()] {
            let (told, whole) = grown(&bomb, 1 << 16, growth);
            assert!(matches!(told, Err(LayerProblem::TooLarge { bound: 200, .. })), "{told:?}");
            assert!(whole.len() < zeros.len() / 2, "{}", whole.len());
        }
        let honest = Growth { ratio_max: 100_000, ..growth };
        assert!(grown(&gzip(&zeros), 1 << 16, honest).0.is_ok());
        let small = Growth { bytes_max: 1 << 20, ..honest };
        let (told, _) = grown(&gzip(&zeros), 1 << 16, small);
        assert!(matches!(told, Err(LayerProblem::TooLarge { bound: 1_048_576, .. })), "{told:?}");
    }

    #[test]
    fn a_broken_stream_is_the_layers_fault_and_a_cut_one_is_not() {
        let compressed = gzip(&[7; 100_000]);
        let (told, _) = through(&compressed[..compressed.len() - 9], 50);
        assert!(matches!(told, Err(LayerProblem::Bad(_))), "{told:?}");
        let mut flipped = compressed.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        let (told, _) = through(&flipped, 50);
        assert!(matches!(told, Err(LayerProblem::Bad(_))), "{told:?}");
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        sender.blocking_send(Chunk::Data(compressed.into())).unwrap();
        drop(sender);
        let (block_sender, reader) = blocks();
        let told = inflate(receiver, &block_sender, Growth::default());
        drop(reader);
        assert!(matches!(told, Err(LayerProblem::CutShort)), "{told:?}");
    }
}
