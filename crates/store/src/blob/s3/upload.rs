//! Objects on their way to S3: what is written piece by piece is spooled until it has a name, and a
//! file is put in one request or, when it is large, in parts, some of them at a time.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinSet, spawn_blocking};

use super::{Inner, odd, refused, request, xml};
use crate::blob::{BlobFailure, BoxFuture, Digest, ObjectName, Received, Stored, Upload, failed};
use crate::limits::{S3_ANSWER_BYTES_MAX, S3_PART_BYTES, S3_PARTS_AT_ONCE};

impl Inner {
    /// Makes a file's content the object of this name.
    pub(super) async fn put_file(
        self: &Arc<Self>,
        name: &ObjectName,
        file: &Path,
        bytes: u64,
    ) -> Result<(), BlobFailure> {
        let opened = fs::File::open(file).map_err(failed("opening a file to put"))?;
        let file = Arc::new(opened);
        if bytes <= S3_PART_BYTES {
            let content = read_part(file, 0, bytes).await?;
            return self.put(name, content).await;
        }
        let path = self.path(name);
        let what = "beginning an object";
        let mut begin = request("POST", path.clone());
        begin.query.push(("uploads", String::new()));
        let text = self.call(what, begin).await?;
        let id = xml::text(&text, "UploadId").ok_or_else(|| odd(what, "without an id"))?;
        let done = match self.put_parts(&path, &id, &file, bytes).await {
            Ok(parts) => self.complete(name, &id, &parts, bytes).await,
            Err(failure) => Err(failure),
        };
        if done.is_err() {
            // What is left of it would cost its owner; the next sweep tries again.
            if let Err(failure) = self.abort(path, id).await {
                tracing::warn!(%failure, "the parts of a failed upload stay in the bucket");
            }
        }
        done
    }

    pub(super) async fn put(&self, name: &ObjectName, content: Bytes) -> Result<(), BlobFailure> {
        let _together = self.naming.read().await;
        let mut put = request("PUT", self.path(name));
        put.body = content;
        self.call("putting an object", put).await.map(|_| ())
    }

    async fn put_parts(
        self: &Arc<Self>,
        path: &str,
        id: &str,
        file: &Arc<fs::File>,
        bytes: u64,
    ) -> Result<BTreeMap<u64, String>, BlobFailure> {
        let mut parts = BTreeMap::new();
        let mut sending = JoinSet::new();
        for number in 1..=bytes.div_ceil(S3_PART_BYTES) {
            if sending.len() >= S3_PARTS_AT_ONCE {
                parts.extend(joined(sending.join_next().await)?);
            }
            let start = (number - 1) * S3_PART_BYTES;
            let end = bytes.min(start + S3_PART_BYTES);
            let (inner, file) = (Arc::clone(self), Arc::clone(file));
            let (path, id) = (path.to_owned(), id.to_owned());
            sending.spawn(async move {
                let content = read_part(file, start, end).await?;
                inner.put_part(path, id, number, content).await.map(|tag| (number, tag))
            });
        }
        while let Some(done) = sending.join_next().await {
            parts.extend(joined(Some(done))?);
        }
        Ok(parts)
    }

    async fn put_part(
        &self,
        path: String,
        id: String,
        number: u64,
        content: Bytes,
    ) -> Result<String, BlobFailure> {
        let what = "putting a part of an object";
        let mut put = request("PUT", path);
        put.query = vec![("partNumber", number.to_string()), ("uploadId", id)];
        put.body = content;
        let response = self.send(what, put).await?;
        if !(200..=299).contains(&response.status) {
            return Err(refused(what, response).await);
        }
        let tag = response.header("etag").ok_or_else(|| odd(what, "without a tag"))?;
        Ok(tag.to_owned())
    }

    async fn complete(
        &self,
        name: &ObjectName,
        id: &str,
        parts: &BTreeMap<u64, String>,
        bytes: u64,
    ) -> Result<(), BlobFailure> {
        let what = "completing an object";
        let mut document = "<CompleteMultipartUpload>".to_owned();
        for (number, tag) in parts {
            let tag = xml::escape(tag);
            let part = format!("<PartNumber>{number}</PartNumber><ETag>{tag}</ETag>");
            document.push_str(&format!("<Part>{part}</Part>"));
        }
        document.push_str("</CompleteMultipartUpload>");
        let _together = self.naming.read().await;
        let mut complete = request("POST", self.path(name));
        complete.query.push(("uploadId", id.to_owned()));
        complete.body = document.into();
        let response = self.send(what, complete).await?;
        let status = response.status;
        let text = response.text(S3_ANSWER_BYTES_MAX).await.map_err(failed(what))?;
        // A failure may come after the head of a good answer. And when an earlier attempt's answer
        // was lost, the upload is gone because it is the object now.
        let code = xml::text(&text, "Code").unwrap_or_default();
        if (200..=299).contains(&status) && code.is_empty() {
            return Ok(());
        }
        if code == "NoSuchUpload" && self.info(name).await?.is_some_and(|it| it.bytes == bytes) {
            return Ok(());
        }
        let message = xml::text(&text, "Message").unwrap_or_default();
        Err(BlobFailure::Refused { what, answer: format!("{status} {code}: {message}") })
    }

    pub(super) async fn abort(&self, path: String, id: String) -> Result<(), BlobFailure> {
        let what = "giving up an object";
        let mut abort = request("DELETE", path);
        abort.query.push(("uploadId", id));
        let response = self.send(what, abort).await?;
        match response.status {
            200..=299 | 404 => Ok(()),
            _ => Err(refused(what, response).await),
        }
    }
}

type Part = Result<(u64, String), BlobFailure>;

fn joined(
    part: Option<Result<Part, tokio::task::JoinError>>,
) -> Result<Option<(u64, String)>, BlobFailure> {
    part.map(|part| part.expect("sending a part does not panic")).transpose()
}

async fn read_part(file: Arc<fs::File>, start: u64, end: u64) -> Result<Bytes, BlobFailure> {
    let reading = spawn_blocking(move || {
        let bytes = usize::try_from(end - start).expect("a part fits in memory");
        let mut content = vec![0; bytes];
        file.read_exact_at(&mut content, start).map(|()| Bytes::from(content))
    });
    let read = reading.await.expect("reading does not panic");
    read.map_err(failed("reading a file to put"))
}

/// An object being written, without a name yet: in memory while it is small, in the spool beyond.
pub(super) struct Begun {
    inner: Arc<Inner>,
    small: Vec<u8>,
    spooled: Option<(tokio::fs::File, Spooled)>,
    received: Received,
    _permit: OwnedSemaphorePermit,
}

/// A file of the spool, removed when dropped.
struct Spooled(PathBuf);

impl Drop for Spooled {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, "a spooled object could not be removed");
        }
    }
}

impl Begun {
    pub(super) fn new(inner: Arc<Inner>, permit: OwnedSemaphorePermit) -> Self {
        let received = Received::nothing();
        Self { inner, small: Vec::new(), spooled: None, received, _permit: permit }
    }

    async fn keep(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.spooled.is_none() && (self.small.len() + piece.len()) as u64 <= S3_PART_BYTES {
            self.small.extend_from_slice(piece);
            return Ok(());
        }
        if self.spooled.is_none() {
            let path = self.inner.spool_path();
            let mut file = tokio::fs::File::create_new(&path).await?;
            let spooled = Spooled(path);
            file.write_all(&self.small).await?;
            self.small = Vec::new();
            self.spooled = Some((file, spooled));
        }
        let (file, _) = self.spooled.as_mut().expect("made above");
        file.write_all(piece).await
    }
}

impl Upload for Begun {
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<(), BlobFailure>> {
        Box::pin(async move {
            self.received.has_room_for(&piece)?;
            self.keep(&piece).await.map_err(failed("spooling an object"))?;
            self.received.add(&piece);
            Ok(())
        })
    }

    fn bytes(&self) -> u64 {
        self.received.bytes
    }

    fn finish(
        mut self: Box<Self>,
        name: Option<ObjectName>,
        wanted: Option<Digest>,
    ) -> BoxFuture<'static, Result<Stored, BlobFailure>> {
        Box::pin(async move {
            let stored = self.received.whole(wanted)?;
            let name = name.unwrap_or_else(|| stored.digest.object_name());
            match &mut self.spooled {
                Some((file, spooled)) => {
                    file.flush().await.map_err(failed("spooling an object"))?;
                    self.inner.put_file(&name, &spooled.0, stored.bytes).await?;
                }
                None => self.inner.put(&name, std::mem::take(&mut self.small).into()).await?,
            }
            Ok(stored)
        })
    }
}
