//! Bytes that were read and not yet used. What is used is forgotten by moving a mark; the rest is
//! moved to the front only when there is no room behind it.

use crate::limits::{BUFFER_BYTES, BUFFER_BYTES_MAX};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end, "no more is used than was read");
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Gives its memory back if it grew; for connections that wait.
    pub fn rest(&mut self) {
        if self.is_empty() && self.bytes.len() > 4 * BUFFER_BYTES {
            *self = Self::default();
        }
    }

    /// Reads once, behind what is there; 0 at the end of the stream. Grows by doubling, to
    /// `BUFFER_BYTES_MAX` for those who send much, beyond only for a head that is larger.
    pub fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        source: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut room = ReadBuf::new(&mut self.bytes[self.end..]);
        ready!(Pin::new(source).poll_read(context, &mut room))?;
        let count = room.filled().len();
        self.end += count;
        // Whoever fills it at once has more to say: the next read takes more.
        if self.end == self.bytes.len() && self.end < BUFFER_BYTES_MAX {
            self.bytes.resize(self.end * 2, 0);
        }
        Poll::Ready(Ok(count))
    }

    pub async fn fill(&mut self, source: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        std::future::poll_fn(|context| self.poll_fill(context, source)).await
    }

    fn make_room(&mut self) {
        if self.end < self.bytes.len() {
            return;
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() {
            let grown = (self.bytes.len() * 2).max(BUFFER_BYTES);
            assert!(grown <= 4 * BUFFER_BYTES_MAX, "heads are refused before they are this long");
            self.bytes.resize(grown, 0);
        }
    }
}
