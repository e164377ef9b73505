//! Netlink messages, encoded by hand: a dozen requests are all this crate needs, each a few hundred
//! bytes, and they are on the launch path. Everything is blocking and done in one or two system
//! calls.

use crate::sys::socket;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of a message's head: length, type, flags, sequence, sender.
const HEAD_BYTES: usize = 16;
const ATTRIBUTE_HEAD_BYTES: usize = 4;
const NESTED: u16 = 0x8000;
const ERROR: u16 = 2;
const DONE: u16 = 3;

pub const REQUEST: u16 = 0x1;
pub const ACK: u16 = 0x4;
pub const DUMP: u16 = 0x300;
pub const REPLACE: u16 = 0x100;
pub const EXCLUSIVE: u16 = 0x200;
pub const CREATE: u16 = 0x400;

/// Requests that are sent together.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where the last message begins.
    last: usize,
    sequence: u32,
    answers: usize,
}

impl Batch {
    /// Begins a message: a fixed part, to which attributes are added.
    pub fn message(&mut self, kind: u16, flags: u16, fixed: &[u8]) -> &mut Self {
        self.last = self.bytes.len();
        self.sequence += 1;
        if flags & ACK != 0 {
            self.answers += 1;
        }
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.put(fixed);
        self
    }

    /// Asks for the kernel's word on the last message.
    pub fn ask_last(&mut self) {
        let flags = &mut self.bytes[self.last + 6..self.last + 8];
        let asked = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
        flags.copy_from_slice(&asked.to_ne_bytes());
        self.answers += 1;
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
        let length = (self.bytes.len() - self.last) as u32;
        self.bytes[self.last..self.last + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = (ATTRIBUTE_HEAD_BYTES + value.len()) as u16;
        let mut bytes = Vec::with_capacity(length as usize);
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        self.put(&bytes);
        self
    }

    /// A string with its final zero.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    pub fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// In network order, as nftables has its numbers.
    pub fn number_be(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// An attribute made of attributes.
    pub fn nested(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) -> &mut Self {
        self.nested_with(kind | NESTED, &[], inner)
    }

    /// An attribute of a fixed part and attributes, as old interfaces have it.
    pub fn nested_with(
        &mut self,
        kind: u16,
        fixed: &[u8],
        inner: impl FnOnce(&mut Self),
    ) -> &mut Self {
        let begin = self.bytes.len();
        self.put(&[0; ATTRIBUTE_HEAD_BYTES]);
        self.put(fixed);
        inner(self);
        let length = (self.bytes.len() - begin) as u16;
        self.bytes[begin..begin + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes[begin + 2..begin + 4].copy_from_slice(&kind.to_ne_bytes());
        self
    }

    /// Sends all and waits for the kernel's word on each that asked for one. The first refusal is
    /// returned; the others have been carried out or not as the protocol says.
    pub fn exchange(&self, netlink: &OwnedFd) -> io::Result<()> {
        socket::write(netlink.as_fd(), &self.bytes)?;
        let mut buffer = [0; 8192];
        let (mut answers, mut refused) = (0, None);
        while answers < self.answers {
            let got = socket::read(netlink.as_fd(), &mut buffer)?;
            let mut input = &buffer[..got];
            while input.len() >= HEAD_BYTES + 4 {
                let number = |at: usize| {
                    u32::from_ne_bytes(input[at..at + 4].try_into().expect("four bytes"))
                };
                let length = number(0) as usize;
                let kind = u16::from_ne_bytes([input[4], input[5]]);
                if kind == ERROR {
                    let code = number(HEAD_BYTES).cast_signed();
                    // A refused batch is told once, without a word on its parts.
                    let unasked = code != 0 && refused.is_none();
                    if unasked {
                        refused = Some(io::Error::from_raw_os_error(-code));
                    }
                    answers += 1;
                }
                input = input.get(length.next_multiple_of(4)..).unwrap_or(&[]);
            }
            if refused.is_some() {
                break;
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

/// One of the answers to `dump`.
pub struct Answer {
    /// The fixed part.
    pub fixed: Vec<u8>,
    pub attributes: Vec<(u16, Vec<u8>)>,
}

impl Answer {
    pub fn get(&self, kind: u16) -> Option<&[u8]> {
        find(&self.attributes, kind)
    }

    /// Four bytes of the fixed part.
    pub fn fixed_number(&self, at: usize) -> Option<u32> {
        self.fixed.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }
}

pub fn find(attributes: &[(u16, Vec<u8>)], kind: u16) -> Option<&[u8]> {
    attributes.iter().find(|(k, _)| *k == kind).map(|(_, value)| value.as_slice())
}

/// Asks for all of something. The fixed part of an answer is as long as that of the question.
pub fn dump(netlink: &OwnedFd, kind: u16, fixed: &[u8]) -> io::Result<Vec<Answer>> {
    let mut batch = Batch::default();
    batch.message(kind, DUMP, fixed);
    socket::write(netlink.as_fd(), &batch.bytes)?;
    let mut buffer = vec![0; 32 * 1024];
    let mut found = Vec::new();
    loop {
        let got = socket::read(netlink.as_fd(), &mut buffer)?;
        let mut input = &buffer[..got];
        while let Some(length) = input.first_chunk() {
            let length = u32::from_ne_bytes(*length) as usize;
            let Some(message) = input.get(..length).filter(|m| m.len() >= HEAD_BYTES) else {
                break;
            };
            match u16::from_ne_bytes([message[4], message[5]]) {
                DONE => return Ok(found),
                ERROR => {
                    let code = message[HEAD_BYTES..].first_chunk().copied().unwrap_or_default();
                    return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(code)));
                }
                _ => {
                    let body = &message[HEAD_BYTES..];
                    let (fixed, rest) = body.split_at(fixed.len().min(body.len()));
                    found.push(Answer { fixed: fixed.to_vec(), attributes: attributes(rest) });
                }
            }
            input = input.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        }
    }
}

pub fn attributes(mut input: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(head) = input.first_chunk::<ATTRIBUTE_HEAD_BYTES>() {
        let length = u16::from_ne_bytes([head[0], head[1]]) as usize;
        let kind = u16::from_ne_bytes([head[2], head[3]]) & !NESTED;
        let Some(value) = input.get(ATTRIBUTE_HEAD_BYTES..length) else { break };
        all.push((kind, value.to_vec()));
        input = input.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_everything_inside() {
        let mut batch = Batch::default();
        batch.message(16, ACK, &[0; 16]).text(3, "eth0").nested(18, |b| {
            b.text(1, "veth").nested_with(1, &[7; 16], |b| {
                b.number(19, 5);
            });
        });
        let bytes = &batch.bytes;
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(bytes[..4], (bytes.len() as u32).to_ne_bytes());
        // Behind head, fixed part and a name of 4 + 5 bytes, padded to 12.
        let nested = HEAD_BYTES + 16 + 12;
        assert_eq!(bytes[nested..nested + 2], ((bytes.len() - nested) as u16).to_ne_bytes());
        assert_eq!(bytes[nested + 2..nested + 4], (18 | NESTED).to_ne_bytes());
        assert_eq!(batch.answers, 1);
    }
}
