//! Blobs: large, immutable objects that are not state, such as image layers. `ObjectStore` is the
//! interface; `FolderObjects` keeps them as files, the default. Other engines (S3) follow it.
//!
//! An object appears whole or not at all: it is written under a passing name while its digest is
//! taken, made durable, and only then gets its name.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::hex;
use crate::limits::{
    OBJECT_BYTES_MAX, OBJECT_CHUNK_BYTES, OBJECT_NAME_BYTES_MAX, OBJECT_UPLOADS_MAX,
};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The folder of half-written objects.
const UPLOADS: &str = ".uploads";

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

/// Objects as files under a folder.
#[derive(Clone)]
pub struct FolderObjects {
    folder: Arc<PathBuf>,
    uploads: Arc<Semaphore>,
    /// Names of half-written files: unique within the process, which owns the folder.
    serial: Arc<AtomicU64>,
}

impl FolderObjects {
    /// Opens or makes the folder and removes what a crash left half-written.
    pub fn open(folder: &Path) -> Result<FolderObjects, BlobFailure> {
        let uploads = folder.join(UPLOADS);
        make_folder(&uploads).map_err(failed("making the object folder"))?;
        let clear = || -> io::Result<()> {
            for entry in fs::read_dir(&uploads)? {
                fs::remove_file(entry?.path())?;
            }
            Ok(())
        };
        clear().map_err(failed("clearing half-written objects"))?;
        Ok(FolderObjects {
            folder: Arc::new(folder.to_owned()),
            uploads: Arc::new(Semaphore::new(OBJECT_UPLOADS_MAX)),
            serial: Arc::new(AtomicU64::new(0)),
        })
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.folder.join(name.as_str())
    }

    async fn begin_file(&self) -> Result<Box<dyn Upload>, BlobFailure> {
        let permit = Arc::clone(&self.uploads).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(UPLOADS).join(serial.to_string());
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = tokio::fs::OpenOptions::from(options).open(&path).await;
        let mut file = file.map_err(failed("creating an object"))?;
        file.set_max_buf_size(OBJECT_CHUNK_BYTES);
        Ok(Box::new(FileUpload {
            file,
            passing: Passing(Some(path)),
            folder: Arc::clone(&self.folder),
            context: Context::new(&SHA256),
            bytes: 0,
            _permit: permit,
        }))
    }

    async fn open_file(
        &self,
        name: ObjectName,
        range: Option<Range<u64>>,
    ) -> Result<Option<Box<dyn ObjectReader>>, BlobFailure> {
        let mut file = match tokio::fs::File::open(self.path(&name)).await {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed("opening an object")(error)),
        };
        let metadata = file.metadata().await.map_err(failed("opening an object"))?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let bytes = metadata.len();
        let range = range.unwrap_or(0..bytes);
        if range.start > range.end || range.end > bytes {
            return Err(BlobFailure::Range { start: range.start, end: range.end, bytes });
        }
        if range.start > 0 {
            let seek = file.seek(SeekFrom::Start(range.start)).await;
            seek.map_err(failed("seeking in an object"))?;
        }
        file.set_max_buf_size(OBJECT_CHUNK_BYTES);
        let remaining = range.end - range.start;
        Ok(Some(Box::new(FileReader { file, bytes, remaining })))
    }
}

impl ObjectStore for FolderObjects {
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Upload>, BlobFailure>> {
        Box::pin(self.begin_file())
    }

    fn head(&self, name: ObjectName) -> BoxFuture<'_, Result<Option<ObjectInfo>, BlobFailure>> {
        Box::pin(async move {
            match tokio::fs::metadata(self.path(&name)).await {
                Ok(metadata) => info(&metadata).map_err(failed("reading an object's size")),
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(failed("reading an object's size")(error)),
            }
        })
    }

    fn get(
        &self,
        name: ObjectName,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Option<Box<dyn ObjectReader>>, BlobFailure>> {
        Box::pin(self.open_file(name, range))
    }

    fn delete(&self, name: ObjectName) -> BoxFuture<'_, Result<bool, BlobFailure>> {
        Box::pin(async move {
            match tokio::fs::remove_file(self.path(&name)).await {
                Ok(()) => Ok(true),
                Err(error) if is_absent(&error) => Ok(false),
                Err(error) => Err(failed("deleting an object")(error)),
            }
        })
    }

    fn list(
        &self,
        prefix: String,
        after: Option<ObjectName>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(ObjectName, ObjectInfo)>, BlobFailure>> {
        let folder = Arc::clone(&self.folder);
        Box::pin(async move {
            let walk = move || {
                let mut walk = Walk { prefix, after, limit, found: Vec::new() };
                walk.folder(&folder, "").map(|()| walk.found)
            };
            let found = tokio::task::spawn_blocking(walk).await;
            found.expect("the walk does not panic").map_err(failed("listing objects"))
        })
    }
}

/// A depth-first walk in name order that skips whole folders outside the wanted range.
struct Walk {
    prefix: String,
    after: Option<ObjectName>,
    limit: usize,
    found: Vec<(ObjectName, ObjectInfo)>,
}

impl Walk {
    fn folder(&mut self, path: &Path, base: &str) -> io::Result<()> {
        // A folder sorts as its name with the slash that always follows, as its objects do.
        let mut entries = BTreeMap::new();
        let listing = match fs::read_dir(path) {
            Ok(listing) => listing,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in listing {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let is_folder = entry.file_type()?.is_dir();
            let slash = if is_folder { "/" } else { "" };
            entries.insert(format!("{base}{name}{slash}"), (entry.path(), is_folder));
        }
        for (name, (path, is_folder)) in entries {
            if self.found.len() >= self.limit {
                return Ok(());
            }
            if is_folder {
                if self.may_hold(&name) {
                    self.folder(&path, &name)?;
                }
            } else {
                self.object(&path, &name)?;
            }
        }
        Ok(())
    }

    fn may_hold(&self, folder: &str) -> bool {
        let in_prefix = folder.starts_with(&self.prefix) || self.prefix.starts_with(folder);
        let is_past =
            |after: &ObjectName| folder > after.as_str() || after.as_str().starts_with(folder);
        in_prefix && self.after.as_ref().is_none_or(is_past)
    }

    fn object(&mut self, path: &Path, name: &str) -> io::Result<()> {
        let is_past = self.after.as_ref().is_none_or(|after| name > after.as_str());
        if !name.starts_with(&self.prefix) || !is_past {
            return Ok(());
        }
        let Ok(name) = ObjectName::new(name) else { return Ok(()) };
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(info) = info(&metadata)? {
            self.found.push((name, info));
        }
        Ok(())
    }
}

fn info(metadata: &fs::Metadata) -> io::Result<Option<ObjectInfo>> {
    if !metadata.is_file() {
        return Ok(None);
    }
    Ok(Some(ObjectInfo { bytes: metadata.len(), modified: metadata.modified()? }))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A half-written file, removed when dropped.
struct Passing(Option<PathBuf>);

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(%error, "a half-written object could not be removed");
        }
    }
}

struct FileUpload {
    file: tokio::fs::File,
    passing: Passing,
    folder: Arc<PathBuf>,
    context: Context,
    bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl Upload for FileUpload {
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<(), BlobFailure>> {
        Box::pin(async move {
            if self.bytes + piece.len() as u64 > OBJECT_BYTES_MAX {
                return Err(BlobFailure::TooLarge { bytes_max: OBJECT_BYTES_MAX });
            }
            self.file.write_all(&piece).await.map_err(failed("writing an object"))?;
            self.context.update(&piece);
            self.bytes += piece.len() as u64;
            Ok(())
        })
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn finish(
        mut self: Box<Self>,
        name: Option<ObjectName>,
        wanted: Option<Digest>,
    ) -> BoxFuture<'static, Result<Stored, BlobFailure>> {
        Box::pin(async move {
            let digest = Digest::from_context(self.context.clone());
            if let Some(wanted) = wanted.filter(|wanted| *wanted != digest) {
                return Err(BlobFailure::DigestMismatch { wanted, found: digest });
            }
            self.file.flush().await.map_err(failed("writing an object"))?;
            self.file.sync_all().await.map_err(failed("making an object durable"))?;
            let name = name.unwrap_or_else(|| digest.object_name());
            let stored = Stored { digest, bytes: self.bytes };
            let naming = tokio::task::spawn_blocking(move || self.give_name(&name)).await;
            naming.expect("naming does not panic").map_err(failed("naming an object"))?;
            Ok(stored)
        })
    }
}

impl FileUpload {
    fn give_name(mut self: Box<Self>, name: &ObjectName) -> io::Result<()> {
        let target = self.folder.join(name.as_str());
        let parent = target.parent().expect("an object lies in a folder");
        make_folder(parent)?;
        if let Some(passing) = &self.passing.0 {
            fs::rename(passing, &target)?;
        }
        self.passing.0 = None;
        // Every folder on the way, whoever made it: another upload may have made one just now
        // and not have come to syncing it yet.
        for folder in target.ancestors().skip(1) {
            fs::File::open(folder)?.sync_all()?;
            if folder == self.folder.as_path() {
                break;
            }
        }
        Ok(())
    }
}

struct FileReader {
    file: tokio::fs::File,
    bytes: u64,
    remaining: u64,
}

impl ObjectReader for FileReader {
    fn object_bytes(&self) -> u64 {
        self.bytes
    }

    fn remaining_bytes(&self) -> u64 {
        self.remaining
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BlobFailure>> {
        Box::pin(async move {
            if self.remaining == 0 {
                return Ok(None);
            }
            let wanted = self.remaining.min(OBJECT_CHUNK_BYTES as u64);
            let mut piece = Vec::with_capacity(wanted as usize);
            let read = (&mut self.file).take(wanted).read_buf(&mut piece).await;
            if read.map_err(failed("reading an object"))? == 0 {
                let source = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(BlobFailure::Io { what: "reading an object", source });
            }
            self.remaining -= piece.len() as u64;
            Ok(Some(piece.into()))
        })
    }
}
