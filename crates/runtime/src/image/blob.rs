//! One blob as a stream that heals: a broken connection is resumed where it broke, what arrives is
//! hashed as it passes, and the end is only told once the digest is the one that was asked for.

use super::client::{Session, text_header};
use super::digest::{Digest, Hasher};
use super::failure::PullFailure;
use super::limits;
use super::manifest::Descriptor;
use super::progress::Progress;
use super::transport::Broken;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use hyper::body::Incoming;

pub(crate) struct BlobStream {
    session: Session,
    what: String,
    digest: Digest,
    size: u64,
    hasher: Hasher,
    body: Option<Incoming>,
    /// Bytes that the server sends though we have them: it did not understand `Range`.
    skip: u64,
    /// Failures in a row without a byte between them.
    stalls: u32,
    resumes: u32,
}

impl BlobStream {
    /// `kind` is `config` or `layer`, for the words of failures.
    pub fn new(session: &Session, kind: &str, descriptor: &Descriptor) -> Self {
        Self {
            session: session.clone(),
            what: format!("{kind}-{}", descriptor.digest),
            digest: descriptor.digest,
            size: descriptor.size,
            hasher: Hasher::new(),
            body: None,
            skip: 0,
            stalls: 0,
            resumes: 0,
        }
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.size - self.hasher.bytes()
    }

    pub fn progress(&self) -> Progress {
        let (layer, bytes) = (self.digest, self.hasher.bytes());
        Progress::Fetched { layer, bytes, bytes_total: self.size }
    }

    /// The next bytes. `None`: that was all of it, and it is what was asked for.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PullFailure> {
        loop {
            let Some(body) = &mut self.body else {
                if self.remaining() == 0 {
                    return self.verified().map(|()| None);
                }
                self.open().await?;
                continue;
            };
            let chunk = match self.session.transport().next_chunk(body).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    self.ended().await?;
                    continue;
                }
                Err(broken) => {
                    self.stalled(broken).await?;
                    continue;
                }
            };
            if let Some(fresh) = self.accept(chunk)? {
                return Ok(Some(fresh));
            }
        }
    }

    /// A whole small blob.
    pub async fn collect(mut self) -> Result<Vec<u8>, PullFailure> {
        // The size is bounded by whoever read the descriptor; what is allocated is what arrives.
        let mut whole = Vec::new();
        while let Some(chunk) = self.next().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    fn accept(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, PullFailure> {
        let known = self.skip.min(chunk.len() as u64);
        self.skip -= known;
        bytes::Buf::advance(&mut chunk, usize::try_from(known).expect("a chunk's length"));
        if chunk.is_empty() {
            return Ok(None);
        }
        if chunk.len() as u64 > self.remaining() {
            return Err(self.wrong_size(self.hasher.bytes() + chunk.len() as u64));
        }
        self.hasher.update(&chunk);
        self.stalls = 0;
        Ok(Some(chunk))
    }

    /// The body ended as the server meant it to.
    async fn ended(&mut self) -> Result<(), PullFailure> {
        self.body = None;
        if self.remaining() == 0 {
            return Ok(());
        }
        if self.stalls > 0 {
            // Asked again and still short: the blob itself is.
            return Err(self.wrong_size(self.hasher.bytes()));
        }
        self.stalled(Broken("unexpected EOF".to_owned())).await
    }

    async fn stalled(&mut self, broken: Broken) -> Result<(), PullFailure> {
        self.body = None;
        let failure = self.session.blob_unreachable(&self.digest, broken);
        self.rest(failure).await
    }

    /// Waits before another attempt, or fails if there have been enough.
    async fn rest(&mut self, failure: PullFailure) -> Result<(), PullFailure> {
        self.stalls += 1;
        self.resumes += 1;
        let enough =
            self.stalls > limits::BLOB_STALLS_MAX || self.resumes > limits::BLOB_RESUMES_MAX;
        let pause = self.session.patience().pause(&failure, self.stalls).filter(|_| !enough);
        let Some(pause) = pause else { return Err(failure.after_attempts(self.stalls)) };
        let at = self.hasher.bytes();
        tracing::debug!(blob = %self.digest, at, stalls = self.stalls, "resuming a blob");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn open(&mut self) -> Result<(), PullFailure> {
        let offset = self.hasher.bytes();
        let response = match self.session.open_blob(&self.digest, offset).await {
            Ok(response) => response,
            Err(failure) if failure.is_passing() => return self.rest(failure).await,
            Err(failure) => return Err(failure),
        };
        self.skip = offset;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = text_header(&response, CONTENT_RANGE.as_str());
            let start = range.strip_prefix("bytes ").and_then(|r| r.split('-').next());
            if start.and_then(|start| start.parse().ok()) != Some(offset) {
                return Err(PullFailure::Protocol {
                    method: "GET".to_owned(),
                    url: self.what.clone(),
                    problem: format!("asked for bytes from {offset}, got {range:?}"),
                });
            }
            self.skip = 0;
        }
        let length: Option<u64> = text_header(&response, CONTENT_LENGTH.as_str()).parse().ok();
        let announced = length.map(|length| length + offset - self.skip);
        if let Some(announced) = announced.filter(|announced| *announced != self.size) {
            return Err(self.wrong_size(announced));
        }
        self.body = Some(response.into_body());
        Ok(())
    }

    fn wrong_size(&self, received: u64) -> PullFailure {
        PullFailure::SizeMismatch { what: self.what.clone(), expected: self.size, received }
    }

    fn verified(&mut self) -> Result<(), PullFailure> {
        let computed = std::mem::take(&mut self.hasher).finish();
        if computed == self.digest {
            return Ok(());
        }
        Err(PullFailure::DigestMismatch {
            what: self.what.clone(),
            expected: self.digest,
            computed,
        })
    }
}
