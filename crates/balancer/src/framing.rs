//! Where a message's body ends, reading and writing. A chunked body is taken apart and put together
//! anew, so that nothing of how a sender wrote its chunks (extensions, odd sizes) reaches the other
//! side.

use crate::head::{Field, Head, Known, Malformed, Version};
use crate::limits::CHUNK_LINE_BYTES_MAX;
use std::io::Write;
use std::ops::Range;

/// How long a body is, as its head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    Exactly(u64),
    Chunked,
    UntilClose,
}

/// Source: RFC 9112, 6.3; stricter where it lets one choose.
pub fn request_length(bytes: &[u8], head: &Head) -> Result<Length, Malformed> {
    let mut length = None;
    let mut chunked = false;
    for Field { value, known, .. } in &head.fields {
        let value = value.of(bytes);
        match known {
            Known::ContentLength => {
                let count = number(value).ok_or(Malformed::Syntax)?;
                if length.is_some_and(|earlier| earlier != count) {
                    return Err(Malformed::Syntax);
                }
                length = Some(count);
            }
            Known::TransferEncoding => {
                let once = !chunked && value.eq_ignore_ascii_case(b"chunked");
                if !once || head.line.version == Version::Http10 {
                    return Err(Malformed::Syntax);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    Ok(if chunked { Length::Chunked } else { Length::Exactly(length.unwrap_or(0)) })
}

/// The same of an answer. `headless`: it is to a HEAD request.
pub fn answer_length(bytes: &[u8], head: &Head, headless: bool) -> Result<Length, Malformed> {
    let status = head.line.first.of(bytes);
    if headless || status[0] == b'1' || matches!(status, b"204" | b"304") {
        return Ok(Length::Exactly(0));
    }
    let mut encodings = head.fields.iter().filter(|f| f.known == Known::TransferEncoding);
    if let Some(encoding) = encodings.next() {
        let value = encoding.value.of(bytes);
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or(value);
        let chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        let simple = encodings.next().is_none() && !value.contains(&b',');
        return match (chunked, simple) {
            (true, true) => Ok(Length::Chunked),
            // What is coded in ways we don't read could only be passed on with its own framing.
            _ => Err(Malformed::Syntax),
        };
    }
    let mut length = None;
    for field in head.fields.iter().filter(|field| field.known == Known::ContentLength) {
        let count = number(field.value.of(bytes)).ok_or(Malformed::Syntax)?;
        if length.is_some_and(|earlier| earlier != count) {
            return Err(Malformed::Syntax);
        }
        length = Some(count);
    }
    Ok(length.map_or(Length::UntilClose, Length::Exactly))
}

/// Digits only: no sign, no space, no list.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
    })
}

/// Reads a body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Exactly(u64),
    UntilClose,
    /// The size so far, and how many bytes its line has.
    Size(Option<u64>, usize),
    Extension(u64, usize),
    /// Before the LF of the size's line.
    SizeEnd(u64),
    Chunk(u64),
    /// Before the CR, and before the LF, after a chunk's bytes.
    ChunkEnd,
    ChunkEndLf,
    /// Bytes of trailers so far, and of the line.
    Trailers(usize, usize),
    Done,
}

/// Of the bytes given: how many were used, and which of those are body.
#[derive(PartialEq, Eq, Debug)]
pub struct Taken {
    pub used: usize,
    pub body: Range<usize>,
}

impl Decoder {
    pub fn new(length: Length) -> Self {
        let state = match length {
            Length::Exactly(0) => State::Done,
            Length::Exactly(count) => State::Exactly(count),
            Length::Chunked => State::Size(None, 0),
            Length::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Whether a body is left that came in chunks.
    pub fn is_chunked(&self) -> bool {
        !matches!(self.state, State::Exactly(_) | State::UntilClose | State::Done)
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the stream is the end of the body.
    pub fn may_close(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// Takes up to the end of one piece of body. Uses nothing only if it was given nothing, or is
    /// done.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Taken, Malformed> {
        let mut used = 0;
        while used < bytes.len() && self.state != State::Done {
            let rest = &bytes[used..];
            if let Some(count) = self.body_bytes(rest.len()) {
                return Ok(Taken { used: used + count, body: used..used + count });
            }
            self.state = chunk_step(self.state, rest[0])?;
            used += 1;
        }
        Ok(Taken { used, body: used..used })
    }

    /// How many of the next `there` bytes are body; None where framing comes next.
    fn body_bytes(&mut self, there: usize) -> Option<usize> {
        let left = match self.state {
            State::UntilClose => return Some(there),
            State::Exactly(left) | State::Chunk(left) => left,
            _ => return None,
        };
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        let left = left - count as u64;
        self.state = match (self.state, left) {
            (State::Exactly(_), 0) => State::Done,
            (State::Exactly(_), left) => State::Exactly(left),
            (_, 0) => State::ChunkEnd,
            (_, left) => State::Chunk(left),
        };
        Some(count)
    }
}

/// One byte of a chunked body's framing. Lines end with CRLF; of trailers, which are
/// dropped, LF will do.
fn chunk_step(state: State, byte: u8) -> Result<State, Malformed> {
    let begin = |size: u64| match size {
        0 => State::Trailers(0, 0),
        size => State::Chunk(size),
    };
    Ok(match (state, byte) {
        (State::Size(_, read) | State::Extension(_, read), _) if read >= CHUNK_LINE_BYTES_MAX => {
            return Err(Malformed::Long);
        }
        (State::Size(size, read), byte) if byte.is_ascii_hexdigit() => {
            let size = size.unwrap_or(0);
            if size >> 56 != 0 {
                return Err(Malformed::Syntax);
            }
            let digit = (byte as char).to_digit(16).expect("it is a hexadecimal digit");
            State::Size(Some(size << 4 | u64::from(digit)), read + 1)
        }
        (State::Size(Some(size), read), b';' | b' ' | b'\t') => State::Extension(size, read + 1),
        (State::Size(Some(size), _) | State::Extension(size, _), b'\r') => State::SizeEnd(size),
        (State::SizeEnd(size), b'\n') => begin(size),
        (State::Extension(size, read), byte) if byte >= b' ' || byte == b'\t' => {
            State::Extension(size, read + 1)
        }
        (State::ChunkEnd, b'\r') => State::ChunkEndLf,
        (State::ChunkEndLf, b'\n') => State::Size(None, 0),
        (State::Trailers(all, _), _) if all >= CHUNK_LINE_BYTES_MAX => return Err(Malformed::Long),
        (State::Trailers(_, 0), b'\n') => State::Done,
        (State::Trailers(all, _), b'\n') => State::Trailers(all + 1, 0),
        (State::Trailers(all, line), b'\r') => State::Trailers(all + 1, line),
        (State::Trailers(all, line), _) => State::Trailers(all + 1, line + 1),
        _ => return Err(Malformed::Syntax),
    })
}

/// Writes a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoder {
    Plain,
    Chunked,
}

impl Encoder {
    pub fn write(self, out: &mut Vec<u8>, body: &[u8]) {
        match self {
            Self::Plain => out.extend_from_slice(body),
            // An empty chunk would be the end.
            Self::Chunked if body.is_empty() => {}
            Self::Chunked => {
                write!(out, "{:x}\r\n", body.len()).expect("a Vec takes everything");
                out.extend_from_slice(body);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    pub fn finish(self, out: &mut Vec<u8>) {
        if self == Self::Chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Kind;

    fn decode(length: Length, bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize), Malformed> {
        let mut decoder = Decoder::new(length);
        let (mut body, mut at) = (Vec::new(), 0);
        while !decoder.is_done() && at < bytes.len() {
            let given = &bytes[at..(at + step).min(bytes.len())];
            let taken = decoder.take(given)?;
            body.extend_from_slice(&given[taken.body]);
            at += taken.used;
        }
        assert!(decoder.is_done() || length == Length::UntilClose, "{at}");
        Ok((body, at))
    }

    #[test]
    fn a_body_comes_out_as_it_went_in_however_it_is_cut() {
        let body: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let mut chunked = Vec::new();
        for piece in body.chunks(170) {
            Encoder::Chunked.write(&mut chunked, piece);
        }
        Encoder::Chunked.finish(&mut chunked);
        let whole = chunked.len();
        chunked.extend_from_slice(b"GET / next");
        for step in [1, 2, 3, 7, 100, 5000] {
            assert_eq!(decode(Length::Chunked, &chunked, step), Ok((body.clone(), whole)));
            assert_eq!(decode(Length::Exactly(1000), &body, step), Ok((body.clone(), 1000)));
        }
        let extended = b"3;x=\"y\"\r\nabc\r\n0 \r\nTrailer: x\r\n\r\n";
        assert_eq!(decode(Length::Chunked, extended, 4), Ok((b"abc".to_vec(), extended.len())));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in [
            &b"g\r\n"[..],
            b"\r\n",
            b"-1\r\n",
            b"0x3\r\n",
            b"3\nabc",
            b"3\r\r\nabc",
            b"3\r\nabcX\r\n",
            b"10000000000000000\r\n",
            b"3;a\0\r\n",
            b" 3\r\n",
        ] {
            assert!(decode(Length::Chunked, bad, 1).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        let long = format!("3;{}", "a".repeat(CHUNK_LINE_BYTES_MAX));
        assert_eq!(decode(Length::Chunked, long.as_bytes(), 9), Err(Malformed::Long));
    }

    #[test]
    fn a_request_has_one_length_or_is_refused() {
        let length = |fields: &str| {
            let bytes = format!("POST / HTTP/1.1\r\n{fields}\r\n");
            let mut head = Head::default();
            assert_eq!(head.read(Kind::Request, bytes.as_bytes(), 4096), Ok(true));
            request_length(bytes.as_bytes(), &head)
        };
        assert_eq!(length(""), Ok(Length::Exactly(0)));
        assert_eq!(length("Content-Length: 7\r\n"), Ok(Length::Exactly(7)));
        assert_eq!(length("Content-Length: 7\r\ncontent-length: 7\r\n"), Ok(Length::Exactly(7)));
        assert_eq!(length("Transfer-Encoding: Chunked\r\n"), Ok(Length::Chunked));
        for bad in [
            "Content-Length: 7\r\nContent-Length: 8\r\n",
            "Content-Length: 7, 7\r\n",
            "Content-Length: +7\r\n",
            "Content-Length: \r\n",
            "Content-Length: 0x7\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(length(bad), Err(Malformed::Syntax), "{bad}");
        }
    }
}
