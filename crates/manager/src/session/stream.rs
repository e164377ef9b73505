//! A session's bytes: messages in, messages out. Several waiting messages leave in one write.

use crate::limits::READ_BYTES;
use model::frame::{self, FrameFault};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

#[derive(Debug, thiserror::Error)]
pub enum StreamFailure {
    #[error("the session's stream failed")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameFault),
    #[error("the session's stream ended")]
    Ended,
}

pub struct Messages<R> {
    stream: R,
    read: Vec<u8>,
    used: usize,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub fn new(stream: R) -> Self {
        Self { stream, read: Vec::with_capacity(READ_BYTES), used: 0 }
    }

    /// The next message. Safe to drop while waiting.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<T, StreamFailure> {
        loop {
            if let Some((message, bytes)) = frame::decode(&self.read[self.used..])? {
                self.used += bytes;
                return Ok(message);
            }
            self.read.drain(..self.used);
            self.used = 0;
            self.read.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(StreamFailure::Ended);
            }
        }
    }
}

/// Writes what comes through the channel until it closes.
pub async fn write_all<W, T>(mut stream: W, outbox: &mut mpsc::Receiver<T>) -> StreamFailure
where
    W: AsyncWrite + Unpin,
    T: Serialize,
{
    let mut bytes = Vec::with_capacity(READ_BYTES);
    while let Some(message) = outbox.recv().await {
        bytes.clear();
        let mut encoded = frame::encode(&message, &mut bytes);
        while encoded.is_ok() && bytes.len() < READ_BYTES {
            let Ok(more) = outbox.try_recv() else { break };
            encoded = frame::encode(&more, &mut bytes);
        }
        if let Err(fault) = encoded {
            return fault.into();
        }
        if let Err(failure) = stream.write_all(&bytes).await {
            return failure.into();
        }
    }
    StreamFailure::Ended
}
