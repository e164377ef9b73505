//! What the S3 engine says and hears, without how: connections, encryption and signatures belong to
//! whoever is given the credentials (ADR 0011). Requests are small values, so that a test can look
//! at them and answer as badly as it likes.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use crate::blob::BoxFuture;

/// One request. All of them may be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Request {
    pub method: &'static str,
    /// Below the bucket: begins with `/`, nothing encoded.
    pub path: String,
    /// Names and values, nothing encoded.
    pub query: Vec<(&'static str, String)>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// The head of an answer, and its body as it comes.
pub struct S3Response {
    pub status: u16,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Box<dyn S3Body>,
}

pub trait S3Body: Send {
    /// The next piece, None at the end. A body that is cut off is an error.
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>>;
}

/// Sends requests to one bucket, signed. Each has an end: what takes too long is an error.
pub trait S3Transport: Send + Sync {
    fn send(&self, request: S3Request) -> BoxFuture<'_, io::Result<S3Response>>;
}

impl S3Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A body that is known to be small.
    pub(super) async fn text(mut self, bytes_max: usize) -> io::Result<String> {
        let mut text = Vec::new();
        while let Some(piece) = self.body.next().await? {
            if text.len() + piece.len() > bytes_max {
                return Err(io::Error::other("the object storage's answer is too long"));
            }
            text.extend_from_slice(&piece);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
