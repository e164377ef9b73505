//! Objects as files under a folder, the default engine. A file gets its name by a rename, after its
//! bytes are durable; the folders on the way are made durable after it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    BlobFailure, BoxFuture, Digest, ObjectInfo, ObjectName, ObjectReader, ObjectStore, Received,
    Stored, Upload, Whole, failed,
};
use crate::limits::{OBJECT_CHUNK_BYTES, OBJECT_UPLOADS_MAX};

/// The folder of half-written objects.
const UPLOADS: &str = ".uploads";

/// Objects as files under a folder.
#[derive(Clone)]
pub struct FolderObjects {
    folder: Arc<PathBuf>,
    uploads: Arc<Semaphore>,
    /// Names of half-written files: unique within the process, which owns the folder.
    serial: Arc<AtomicU64>,
    /// Held while a file gets its name and while an old one is looked at and removed, so that
    /// sweeping never takes what was stored just now.
    naming: Arc<Mutex<()>>,
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
            naming: Arc::new(Mutex::new(())),
        })
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.folder.join(name.as_str())
    }

    /// Moves a durable file to its name.
    fn give_name(&self, file: &Path, name: &ObjectName) -> io::Result<()> {
        let target = self.path(name);
        make_folder(target.parent().expect("an object lies in a folder"))?;
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        fs::rename(file, target)
    }

    /// Every folder on the way to a name, whoever made it: another upload may have made one just
    /// now and not have come to syncing it yet.
    fn sync_folders(&self, name: &ObjectName) -> io::Result<()> {
        for folder in self.path(name).ancestors().skip(1) {
            fs::File::open(folder)?.sync_all()?;
            if folder == self.folder.as_path() {
                break;
            }
        }
        Ok(())
    }

    /// Renames where it can, and copies from another file system.
    fn adopt_file(&self, file: &Whole) -> io::Result<()> {
        let name = file.digest.object_name();
        let content = fs::File::open(&file.path)?;
        // It may have been written long ago; as an object it is new, or sweeping would take it.
        content.set_modified(SystemTime::now())?;
        content.sync_all()?;
        match self.give_name(&file.path, &name) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.copy_file(content, &name)?;
                fs::remove_file(&file.path)?;
            }
            named => named?,
        }
        self.sync_folders(&name)
    }

    fn copy_file(&self, mut content: fs::File, name: &ObjectName) -> io::Result<()> {
        let path = self.passing_path();
        let mut options = fs::OpenOptions::new();
        let mut copy = options.write(true).create_new(true).mode(0o600).open(&path)?;
        let mut passing = Passing(Some(path.clone()));
        io::copy(&mut content, &mut copy)?;
        copy.sync_all()?;
        self.give_name(&path, name)?;
        passing.0 = None;
        Ok(())
    }

    fn passing_path(&self) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.folder.join(UPLOADS).join(serial.to_string())
    }

    fn sweep_file(&self, name: &ObjectName, before: SystemTime) -> io::Result<Option<u64>> {
        let path = self.path(name);
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        match info(&metadata)?.filter(|info| info.modified < before) {
            Some(info) => fs::remove_file(&path).map(|()| Some(info.bytes)),
            None => Ok(None),
        }
    }

    async fn begin_file(&self) -> Result<Box<dyn Upload>, BlobFailure> {
        let permit = Arc::clone(&self.uploads).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let path = self.passing_path();
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = tokio::fs::OpenOptions::from(options).open(&path).await;
        let mut file = file.map_err(failed("creating an object"))?;
        file.set_max_buf_size(OBJECT_CHUNK_BYTES);
        Ok(Box::new(FileUpload {
            file,
            passing: Passing(Some(path)),
            objects: self.clone(),
            received: Received::nothing(),
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

    fn adopt(&self, file: Whole) -> BoxFuture<'_, Result<Stored, BlobFailure>> {
        let objects = self.clone();
        Box::pin(async move {
            let adopting = move || {
                let stored = Stored { digest: file.digest, bytes: file.bytes };
                objects.adopt_file(&file).map(|()| stored)
            };
            let adopted = tokio::task::spawn_blocking(adopting).await;
            adopted.expect("adopting does not panic").map_err(failed("adopting an object"))
        })
    }

    fn sweep(
        &self,
        name: ObjectName,
        before: SystemTime,
    ) -> BoxFuture<'_, Result<Option<u64>, BlobFailure>> {
        let objects = self.clone();
        Box::pin(async move {
            let sweeping = move || objects.sweep_file(&name, before);
            let swept = tokio::task::spawn_blocking(sweeping).await;
            swept.expect("sweeping does not panic").map_err(failed("sweeping an object"))
        })
    }

    /// Opening the folder has removed them all.
    fn sweep_unfinished(&self, _before: SystemTime) -> BoxFuture<'_, Result<usize, BlobFailure>> {
        Box::pin(std::future::ready(Ok(0)))
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
    objects: FolderObjects,
    received: Received,
    _permit: OwnedSemaphorePermit,
}

impl Upload for FileUpload {
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<(), BlobFailure>> {
        Box::pin(async move {
            self.received.has_room_for(&piece)?;
            self.file.write_all(&piece).await.map_err(failed("writing an object"))?;
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
            self.file.flush().await.map_err(failed("writing an object"))?;
            self.file.sync_all().await.map_err(failed("making an object durable"))?;
            let name = name.unwrap_or_else(|| stored.digest.object_name());
            let naming = tokio::task::spawn_blocking(move || self.give_name(&name)).await;
            naming.expect("naming does not panic").map_err(failed("naming an object"))?;
            Ok(stored)
        })
    }
}

impl FileUpload {
    fn give_name(mut self: Box<Self>, name: &ObjectName) -> io::Result<()> {
        let passing = self.passing.0.as_ref().expect("a file that is written has a passing name");
        self.objects.give_name(passing, name)?;
        self.passing.0 = None;
        self.objects.sync_folders(name)
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
