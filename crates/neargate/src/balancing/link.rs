//! Messages on the socket between `up` and the balancer's process: frames of `model::frame`.

use model::frame;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

pub struct Messages<R> {
    stream: R,
    read: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub fn new(stream: R) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// None: the other side has closed. Safe to drop while waiting.
    pub async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some((message, bytes)) = frame::decode(&self.read).map_err(io::Error::other)? {
                self.read.drain(..bytes);
                return Ok(Some(message));
            }
            self.read.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }
}

pub async fn send<W: AsyncWrite + Unpin, T: Serialize>(
    stream: &mut W,
    message: &T,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes).map_err(io::Error::other)?;
    stream.write_all(&bytes).await
}
