//! Objects in storage that speaks S3: the engine for several machines. An object is one key below a
//! prefix. Small ones are put in one request, large ones part by part; either way the storage shows
//! them whole or not at all, and checks each request's bytes against the hash we sign.
//!
//! Every request may be sent again, and is when the storage was busy or the connection broke. What
//! has no name yet is spooled: S3 wants the name before the bytes.

mod moment;
mod transport;
mod upload;
mod xml;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::{RwLock, Semaphore};

pub use transport::{S3Body, S3Request, S3Response, S3Transport};

use super::{
    BlobFailure, BoxFuture, ObjectInfo, ObjectName, ObjectReader, ObjectStore, Stored, Upload,
    Whole, failed,
};
use crate::limits::{
    OBJECT_UPLOADS_MAX, S3_ANSWER_BYTES_MAX, S3_ATTEMPTS_MAX, S3_PAGE_KEYS, S3_PAUSE_FIRST_MS,
    S3_UNFINISHED_KEPT_SECONDS,
};

/// Objects in a bucket. Clones share it.
#[derive(Clone)]
pub struct S3Objects {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn S3Transport>,
    /// Empty, or ends with `/`.
    prefix: String,
    spool: PathBuf,
    serial: AtomicU64,
    uploads: Arc<Semaphore>,
    /// Held together while objects get their names, and alone while an old one is looked at and
    /// removed, so that sweeping never takes what this process stores just then.
    naming: RwLock<()>,
}

impl S3Objects {
    /// Objects below a prefix, which may be empty. The spool is a folder for what is being written
    /// and has no name yet; nothing else may use it, and what a crash left there is removed.
    pub fn open(
        transport: Arc<dyn S3Transport>,
        prefix: &str,
        spool: &Path,
    ) -> Result<S3Objects, BlobFailure> {
        let clear = || -> io::Result<()> {
            std::fs::create_dir_all(spool)?;
            for entry in std::fs::read_dir(spool)? {
                std::fs::remove_file(entry?.path())?;
            }
            Ok(())
        };
        clear().map_err(failed("clearing the spool of objects"))?;
        let prefix = prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        Ok(S3Objects {
            inner: Arc::new(Inner {
                transport,
                prefix: format!("{prefix}{slash}"),
                spool: spool.to_owned(),
                serial: AtomicU64::new(0),
                uploads: Arc::new(Semaphore::new(OBJECT_UPLOADS_MAX)),
                naming: RwLock::new(()),
            }),
        })
    }

    /// Fails when the bucket can't be listed: it isn't there, or isn't ours.
    pub async fn check(&self) -> Result<(), BlobFailure> {
        self.inner.page(String::new(), String::new(), 1).await.map(|_| ())
    }
}

/// A listed key, below our prefix.
struct Listed {
    key: String,
    info: ObjectInfo,
}

impl Inner {
    fn path(&self, name: &ObjectName) -> String {
        format!("/{}{}", self.prefix, name.as_str())
    }

    fn spool_path(&self) -> PathBuf {
        self.spool.join(self.serial.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Sends until there is an answer that another attempt would not better.
    async fn send(
        &self,
        what: &'static str,
        request: S3Request,
    ) -> Result<S3Response, BlobFailure> {
        let mut pause = Duration::from_millis(S3_PAUSE_FIRST_MS);
        for attempt in 1.. {
            let last = attempt >= S3_ATTEMPTS_MAX;
            match self.transport.send(request.clone()).await {
                Ok(response) if response.status == 429 || response.status >= 500 => {
                    if last {
                        return Err(refused(what, response).await);
                    }
                }
                Ok(response) => return Ok(response),
                Err(source) if last => return Err(BlobFailure::Io { what, source }),
                Err(failure) => tracing::debug!(%failure, what, attempt, "asked again"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }

    /// Sends what must succeed, and reads the answer.
    async fn call(&self, what: &'static str, request: S3Request) -> Result<String, BlobFailure> {
        let response = self.send(what, request).await?;
        match response.status {
            200..=299 => response.text(S3_ANSWER_BYTES_MAX).await.map_err(failed(what)),
            _ => Err(refused(what, response).await),
        }
    }

    async fn info(&self, name: &ObjectName) -> Result<Option<ObjectInfo>, BlobFailure> {
        let what = "looking for an object";
        let response = self.send(what, request("HEAD", self.path(name))).await?;
        match response.status {
            404 => Ok(None),
            200 => {
                let bytes = response.header("content-length").and_then(|it| it.parse().ok());
                let modified = response.header("last-modified").and_then(moment::http);
                match (bytes, modified) {
                    (Some(bytes), Some(modified)) => Ok(Some(ObjectInfo { bytes, modified })),
                    _ => Err(odd(what, "without a length or a time")),
                }
            }
            _ => Err(refused(what, response).await),
        }
    }

    async fn remove(&self, name: &ObjectName) -> Result<(), BlobFailure> {
        let what = "deleting an object";
        let response = self.send(what, request("DELETE", self.path(name))).await?;
        match response.status {
            200..=299 | 404 => Ok(()),
            _ => Err(refused(what, response).await),
        }
    }

    /// One page of keys below our prefix, and whether there may be more.
    async fn page(
        &self,
        prefix: String,
        after: String,
        limit: usize,
    ) -> Result<(Vec<Listed>, bool), BlobFailure> {
        let what = "listing objects";
        let mut request = request("GET", "/".to_owned());
        request.query = vec![
            ("list-type", "2".to_owned()),
            ("max-keys", limit.min(S3_PAGE_KEYS).to_string()),
            ("prefix", format!("{}{prefix}", self.prefix)),
        ];
        if !after.is_empty() {
            request.query.push(("start-after", format!("{}{after}", self.prefix)));
        }
        let text = self.call(what, request).await?;
        let mut found = Vec::new();
        for entry in xml::elements(&text, "Contents") {
            let key = xml::text(entry, "Key").ok_or_else(|| odd(what, "without a key"))?;
            let Some(key) = key.strip_prefix(&self.prefix) else {
                return Err(odd(what, "with a key that was not asked for"));
            };
            let bytes = xml::text(entry, "Size").and_then(|text| text.parse().ok());
            let modified = xml::text(entry, "LastModified").and_then(|text| moment::iso(&text));
            let (Some(bytes), Some(modified)) = (bytes, modified) else {
                return Err(odd(what, "without a size or a time"));
            };
            found.push(Listed { key: key.to_owned(), info: ObjectInfo { bytes, modified } });
        }
        let more = xml::text(&text, "IsTruncated").as_deref() == Some("true");
        Ok((found, more))
    }

    async fn list(
        &self,
        prefix: String,
        after: Option<ObjectName>,
        limit: usize,
    ) -> Result<Vec<(ObjectName, ObjectInfo)>, BlobFailure> {
        let mut after = after.map_or(String::new(), |name| name.as_str().to_owned());
        let mut found = Vec::new();
        while found.len() < limit {
            let wanted = limit - found.len();
            let (page, more) = self.page(prefix.clone(), after, wanted).await?;
            after = page.last().map_or(String::new(), |last| last.key.clone());
            let ended = !more || page.is_empty();
            // Keys that are no names of ours are somebody else's.
            let named = page
                .into_iter()
                .filter_map(|listed| Some((ObjectName::new(&listed.key).ok()?, listed.info)));
            found.extend(named);
            if ended {
                break;
            }
        }
        Ok(found)
    }

    async fn sweep(
        &self,
        name: &ObjectName,
        before: SystemTime,
    ) -> Result<Option<u64>, BlobFailure> {
        let _alone = self.naming.write().await;
        let Some(info) = self.info(name).await?.filter(|info| info.modified < before) else {
            return Ok(None);
        };
        self.remove(name).await?;
        Ok(Some(info.bytes))
    }

    /// Parts of uploads that a process began and never ended. Another process may be at it, and a
    /// large layer takes its time: so a shortest age of a day.
    async fn sweep_unfinished(&self, before: SystemTime) -> Result<usize, BlobFailure> {
        let what = "listing unfinished objects";
        let day_ago = SystemTime::now() - Duration::from_secs(S3_UNFINISHED_KEPT_SECONDS);
        let mut list = request("GET", "/".to_owned());
        list.query = vec![("uploads", String::new()), ("prefix", self.prefix.clone())];
        let text = self.call(what, list).await?;
        let mut aborted = 0;
        for entry in xml::elements(&text, "Upload") {
            let initiated = xml::text(entry, "Initiated").and_then(|text| moment::iso(&text));
            let named = xml::text(entry, "Key").zip(xml::text(entry, "UploadId"));
            let (Some(initiated), Some((key, id))) = (initiated, named) else {
                return Err(odd(what, "without a key, an id or a time"));
            };
            if initiated < before.min(day_ago) && key.starts_with(&self.prefix) {
                self.abort(format!("/{key}"), id).await?;
                aborted += 1;
            }
        }
        Ok(aborted)
    }

    async fn open(
        &self,
        name: &ObjectName,
        range: Option<Range<u64>>,
    ) -> Result<Option<(S3Response, u64, Range<u64>)>, BlobFailure> {
        let what = "opening an object";
        let mut get = request("GET", self.path(name));
        if let Some(range) = &range {
            get.headers.push(("range", format!("bytes={}-{}", range.start, range.end - 1)));
        }
        let response = self.send(what, get).await?;
        let length = response.header("content-length").and_then(|it| it.parse::<u64>().ok());
        match (response.status, range) {
            (404, _) => Ok(None),
            (200, None) => {
                let bytes = length.ok_or_else(|| odd(what, "without a length"))?;
                Ok(Some((response, bytes, 0..bytes)))
            }
            (206, Some(range)) => {
                let given = response.header("content-range");
                let bytes = given.and_then(|it| it.rsplit_once('/')?.1.parse::<u64>().ok());
                let bytes = bytes.ok_or_else(|| odd(what, "without a range"))?;
                if range.end > bytes {
                    return Err(outside(&range, bytes));
                }
                match length == Some(range.end - range.start) {
                    true => Ok(Some((response, bytes, range))),
                    false => Err(odd(what, "with another range")),
                }
            }
            (416, Some(range)) => match self.info(name).await? {
                Some(info) => Err(outside(&range, info.bytes)),
                None => Ok(None),
            },
            _ => Err(refused(what, response).await),
        }
    }
}

fn request(method: &'static str, path: String) -> S3Request {
    S3Request { method, path, query: Vec::new(), headers: Vec::new(), body: Bytes::new() }
}

fn outside(range: &Range<u64>, bytes: u64) -> BlobFailure {
    BlobFailure::Range { start: range.start, end: range.end, bytes }
}

/// An answer that is not as S3 describes it.
fn odd(what: &'static str, how: &str) -> BlobFailure {
    BlobFailure::Refused { what, answer: how.to_owned() }
}

async fn refused(what: &'static str, response: S3Response) -> BlobFailure {
    let status = response.status;
    // Why the reason can't be read matters less than the status.
    let text = response.text(S3_ANSWER_BYTES_MAX).await.unwrap_or_default();
    let code = xml::text(&text, "Code").unwrap_or_default();
    let message = xml::text(&text, "Message").unwrap_or_default();
    BlobFailure::Refused { what, answer: format!("{status} {code}: {message}") }
}

impl ObjectStore for S3Objects {
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Upload>, BlobFailure>> {
        Box::pin(async move {
            let permit = Arc::clone(&self.inner.uploads).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            let begun = upload::Begun::new(Arc::clone(&self.inner), permit);
            Ok(Box::new(begun) as Box<dyn Upload>)
        })
    }

    fn head(&self, name: ObjectName) -> BoxFuture<'_, Result<Option<ObjectInfo>, BlobFailure>> {
        Box::pin(async move { self.inner.info(&name).await })
    }

    fn get(
        &self,
        name: ObjectName,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Option<Box<dyn ObjectReader>>, BlobFailure>> {
        Box::pin(async move {
            // S3 has no way to ask for nothing, or for what ends before it begins.
            if let Some(range) = range.as_ref().filter(|range| range.start >= range.end) {
                let Some(info) = self.inner.info(&name).await? else { return Ok(None) };
                if range.start > range.end || range.end > info.bytes {
                    return Err(outside(range, info.bytes));
                }
                return Ok(Some(Box::new(Reading::nothing(&self.inner, name, info.bytes)) as _));
            }
            let Some((response, bytes, rest)) = self.inner.open(&name, range).await? else {
                return Ok(None);
            };
            let (inner, body) = (Arc::clone(&self.inner), Some(response.body));
            let reading = Reading { inner, name, bytes, rest, body, breaks: 0 };
            Ok(Some(Box::new(reading) as Box<dyn ObjectReader>))
        })
    }

    fn adopt(&self, file: Whole) -> BoxFuture<'_, Result<Stored, BlobFailure>> {
        Box::pin(async move {
            let name = file.digest.object_name();
            // Also when the object is there: it has to be as new as its newest push.
            self.inner.put_file(&name, &file.path, file.bytes).await?;
            let removed = tokio::fs::remove_file(&file.path).await;
            removed.map_err(failed("removing an adopted file"))?;
            Ok(Stored { digest: file.digest, bytes: file.bytes })
        })
    }

    fn sweep(
        &self,
        name: ObjectName,
        before: SystemTime,
    ) -> BoxFuture<'_, Result<Option<u64>, BlobFailure>> {
        Box::pin(async move { self.inner.sweep(&name, before).await })
    }

    fn sweep_unfinished(&self, before: SystemTime) -> BoxFuture<'_, Result<usize, BlobFailure>> {
        Box::pin(self.inner.sweep_unfinished(before))
    }

    fn delete(&self, name: ObjectName) -> BoxFuture<'_, Result<bool, BlobFailure>> {
        Box::pin(async move {
            let there = self.inner.info(&name).await?.is_some();
            self.inner.remove(&name).await?;
            Ok(there)
        })
    }

    fn list(
        &self,
        prefix: String,
        after: Option<ObjectName>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(ObjectName, ObjectInfo)>, BlobFailure>> {
        Box::pin(self.inner.list(prefix, after, limit))
    }
}

/// An object being read. A connection that breaks is made again where it broke.
struct Reading {
    inner: Arc<Inner>,
    name: ObjectName,
    bytes: u64,
    rest: Range<u64>,
    body: Option<Box<dyn S3Body>>,
    /// Breaks one after the other, without a byte in between.
    breaks: u32,
}

impl Reading {
    fn nothing(inner: &Arc<Inner>, name: ObjectName, bytes: u64) -> Self {
        Self { inner: Arc::clone(inner), name, bytes, rest: 0..0, body: None, breaks: 0 }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, BlobFailure> {
        let what = "reading an object";
        while !self.rest.is_empty() {
            let Some(body) = &mut self.body else {
                let open = self.inner.open(&self.name, Some(self.rest.clone())).await?;
                let gone = || io::Error::from(io::ErrorKind::NotFound);
                let (response, _, _) = open.ok_or_else(gone).map_err(failed(what))?;
                self.body = Some(response.body);
                continue;
            };
            match body.next().await {
                Ok(Some(piece)) if piece.len() as u64 <= self.rest.end - self.rest.start => {
                    self.rest.start += piece.len() as u64;
                    self.breaks = 0;
                    return Ok(Some(piece));
                }
                Ok(Some(_)) => return Err(odd(what, "with more than was asked for")),
                broken => {
                    self.breaks += 1;
                    if self.breaks >= S3_ATTEMPTS_MAX {
                        let early = || io::Error::from(io::ErrorKind::UnexpectedEof);
                        let source = broken.err().unwrap_or_else(early);
                        return Err(BlobFailure::Io { what, source });
                    }
                    self.body = None;
                }
            }
        }
        Ok(None)
    }
}

impl ObjectReader for Reading {
    fn object_bytes(&self) -> u64 {
        self.bytes
    }

    fn remaining_bytes(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BlobFailure>> {
        Box::pin(self.piece())
    }
}

#[cfg(test)]
mod tests;
