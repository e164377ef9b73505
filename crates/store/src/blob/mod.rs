//! Blobs: large, immutable objects that are not state, such as image layers. `ObjectStore` is the
//! interface; `FolderObjects` keeps them as files, the default, and `S3Objects` in any storage that
//! speaks S3. What is still being sent to us waits in `Staging`, whichever engine it is meant for.
//!
//! An object appears whole or not at all: it is written under a passing name while its digest is
//! taken, made durable, and only then gets its name.

pub mod links;

mod folder;
mod s3;
mod staging;

use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ring::digest::{Context, SHA256};

pub use folder::FolderObjects;
pub use s3::{S3Body, S3Objects, S3Request, S3Response, S3Transport};
pub use staging::{Held, Staging, StagingFailure, Swept};

use crate::hex;
use crate::limits::{OBJECT_BYTES_MAX, OBJECT_NAME_BYTES_MAX};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A sha256 digest, the name of content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(content: &[u8]) -> Digest {
        let mut context = Context::new(&SHA256);
        context.update(content);
        Digest::from_context(context)
    }

    /// Reads `sha256:<64 hex digits>`.
    pub fn parse(text: &str) -> Option<Digest> {
        let bytes = hex::decode(text.strip_prefix("sha256:")?)?;
        Some(Digest(bytes.try_into().ok()?))
    }

    /// The 64 hex digits alone.
    pub fn to_hex(self) -> String {
        hex::encode(&self.0)
    }

    /// Where content of this digest lies: spread over 256 folders.
    pub fn object_name(self) -> ObjectName {
        let digits = self.to_hex();
        ObjectName(format!("sha256/{}/{digits}", &digits[..2]).into())
    }

    /// Reads the name that content of some digest has; None for any other name.
    pub fn from_object_name(name: &ObjectName) -> Option<Digest> {
        let digits = name.as_str().strip_prefix("sha256/")?.split_once('/')?.1;
        let digest = Digest(hex::decode(digits)?.try_into().ok()?);
        (digest.object_name() == *name).then_some(digest)
    }

    fn from_context(context: Context) -> Digest {
        let hash = context.finish();
        Digest(hash.as_ref().try_into().expect("a sha256 digest has 32 bytes"))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "sha256:{}", self.to_hex())
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, out)
    }
}

/// A checked object name: parts of letters, digits, `_`, `-` and `.` joined by `/`. No part begins
/// with a dot, so no name can leave its folder or reach the engine's own files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    pub fn new(name: &str) -> Result<ObjectName, BlobFailure> {
        let good_char = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let good_part = |part: &str| {
            !part.is_empty()
                && part.len() <= 255
                && !part.starts_with('.')
                && part.chars().all(good_char)
        };
        if name.len() > OBJECT_NAME_BYTES_MAX || !name.split('/').all(good_part) {
            return Err(BlobFailure::Name(name.chars().take(80).collect()));
        }
        Ok(ObjectName(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BlobFailure {
    #[error("{0:?} is no valid object name")]
    Name(String),
    #[error("the content has digest {found}, not {wanted}")]
    DigestMismatch { wanted: Digest, found: Digest },
    #[error("the object is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    #[error("the range {start}..{end} is outside the object's {bytes} bytes")]
    Range { start: u64, end: u64, bytes: u64 },
    #[error("{what} failed")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    /// The storage behind the engine answered, and said no.
    #[error("{what} failed: the object storage answered {answer}")]
    Refused { what: &'static str, answer: String },
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> BlobFailure {
    move |source| BlobFailure::Io { what, source }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    pub bytes: u64,
    pub modified: SystemTime,
}

/// What was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub bytes: u64,
}

/// What has come of an object that is being written.
struct Received {
    context: Context,
    bytes: u64,
}

impl Received {
    fn nothing() -> Self {
        Self { context: Context::new(&SHA256), bytes: 0 }
    }

    fn has_room_for(&self, piece: &[u8]) -> Result<(), BlobFailure> {
        match self.bytes + piece.len() as u64 <= OBJECT_BYTES_MAX {
            true => Ok(()),
            false => Err(BlobFailure::TooLarge { bytes_max: OBJECT_BYTES_MAX }),
        }
    }

    /// A piece counts once it is kept.
    fn add(&mut self, piece: &[u8]) {
        self.context.update(piece);
        self.bytes += piece.len() as u64;
    }

    /// The whole, unless another digest was wanted.
    fn whole(&self, wanted: Option<Digest>) -> Result<Stored, BlobFailure> {
        let digest = Digest::from_context(self.context.clone());
        match wanted.filter(|wanted| *wanted != digest) {
            Some(wanted) => Err(BlobFailure::DigestMismatch { wanted, found: digest }),
            None => Ok(Stored { digest, bytes: self.bytes }),
        }
    }
}

/// A file whose content is known to have this digest: only what has read all of it makes one.
#[derive(Debug)]
pub struct Whole {
    path: PathBuf,
    digest: Digest,
    bytes: u64,
}

/// An object being written. Dropping it forgets what was written.
pub trait Upload: Send {
    /// Adds a piece. After a failure only dropping is left.
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<(), BlobFailure>>;
    /// Bytes written so far.
    fn bytes(&self) -> u64;
    /// Gives the object its name once it is durable: its content's name if `name` is None. A
    /// digest other than the wanted one is refused and nothing is kept.
    fn finish(
        self: Box<Self>,
        name: Option<ObjectName>,
        wanted: Option<Digest>,
    ) -> BoxFuture<'static, Result<Stored, BlobFailure>>;
}

/// An object being read.
pub trait ObjectReader: Send {
    /// The whole object's size, whatever range is read.
    fn object_bytes(&self) -> u64;
    /// Bytes not yet delivered.
    fn remaining_bytes(&self) -> u64;
    /// The next piece, None at the end.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BlobFailure>>;
}

/// Where objects are kept.
pub trait ObjectStore: Send + Sync {
    /// Begins an object. Waits when too many are being written.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Upload>, BlobFailure>>;
    /// None: there is no such object.
    fn head(&self, name: ObjectName) -> BoxFuture<'_, Result<Option<ObjectInfo>, BlobFailure>>;
    /// Opens an object, or a range of it, for reading. It stays readable if it is deleted.
    fn get(
        &self,
        name: ObjectName,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Option<Box<dyn ObjectReader>>, BlobFailure>>;
    /// Makes the file the object of its digest, durable once this returns, and stored just now as
    /// `modified` has it, even if there was one before. The file is gone then; after a failure it
    /// may be offered again.
    fn adopt(&self, file: Whole) -> BoxFuture<'_, Result<Stored, BlobFailure>>;
    /// Deletes an object that was last stored before this moment and says how many bytes it had.
    /// Whoever stores it again meanwhile finds it kept.
    fn sweep(
        &self,
        name: ObjectName,
        before: SystemTime,
    ) -> BoxFuture<'_, Result<Option<u64>, BlobFailure>>;
    /// Forgets objects begun before this moment by a process that is gone, and says how many.
    fn sweep_unfinished(&self, before: SystemTime) -> BoxFuture<'_, Result<usize, BlobFailure>>;
    /// Says whether there was one.
    fn delete(&self, name: ObjectName) -> BoxFuture<'_, Result<bool, BlobFailure>>;
    /// Objects whose name starts with `prefix` and sorts after `after`, in order, at most `limit`.
    fn list(
        &self,
        prefix: String,
        after: Option<ObjectName>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(ObjectName, ObjectInfo)>, BlobFailure>>;
}

/// Reads a whole object that is known to be small. None: there is no such object.
pub async fn read_all(
    objects: &dyn ObjectStore,
    name: ObjectName,
    bytes_max: u64,
) -> Result<Option<Bytes>, BlobFailure> {
    let Some(mut reader) = objects.get(name, None).await? else { return Ok(None) };
    if reader.object_bytes() > bytes_max {
        return Err(BlobFailure::TooLarge { bytes_max });
    }
    let mut content = Vec::with_capacity(usize::try_from(reader.object_bytes()).unwrap_or(0));
    while let Some(piece) = reader.next().await? {
        content.extend_from_slice(&piece);
    }
    Ok(Some(content.into()))
}

/// Stores content that is in memory under its digest.
pub async fn put_content(objects: &dyn ObjectStore, content: Bytes) -> Result<Stored, BlobFailure> {
    let mut upload = objects.begin().await?;
    upload.write(content).await?;
    upload.finish(None, None).await
}
