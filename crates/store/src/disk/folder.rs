//! The data folder: private to its owner, used by one process at a time, and holding either a
//! whole database or none: a new one gets its name only once it is complete.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;

use crate::disk::{Medium, OpenFailure, Segment, load};

const DATABASE: &str = "records.redb";
const UNFINISHED: &str = "records.redb.new";
const LOCK: &str = "lock";
const SEGMENT_SUFFIX: &str = ".wal";

/// A locked data folder.
pub(crate) struct Folder {
    path: PathBuf,
    /// Held, not read: the lock ends with the file.
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be and takes its lock.
    pub fn lock(path: &Path) -> Result<Folder, OpenFailure> {
        let failed = |source| OpenFailure::Folder { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?;
        let mut options = private();
        let lock = options.create(true).truncate(false).open(path.join(LOCK));
        let mut lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The holder may not have come to writing it yet; then it stays unknown.
                let read = (&mut lock).take(20).read_to_string(&mut pid);
                let known = read.is_ok() && !pid.trim().is_empty();
                let pid = if known { pid.trim().to_owned() } else { "unknown".to_owned() };
                return Err(OpenFailure::InUse { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut note = || -> io::Result<()> {
            lock.set_len(0)?;
            lock.seek(SeekFrom::Start(0))?;
            writeln!(lock, "{}", std::process::id())
        };
        note().map_err(failed)?;
        Ok(Folder { path: path.to_owned(), _lock: lock })
    }

    fn database_path(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    fn segment_path(&self, first: u64) -> PathBuf {
        // Twenty digits hold every revision, so that names sort as revisions do.
        self.path.join(format!("{first:020}{SEGMENT_SUFFIX}"))
    }

    /// Makes a database under a passing name and gives it its own when it is complete and durable.
    pub fn create_if_absent(
        &self,
        create: impl FnOnce(Box<dyn StorageBackend>) -> Result<(), redb::Error>,
    ) -> Result<(), OpenFailure> {
        let path = self.database_path();
        let failed = |source| OpenFailure::Folder { path: self.path.clone(), source };
        if path.try_exists().map_err(failed)? {
            return Ok(());
        }
        if let Some(first) = self.segments().map_err(failed)?.first() {
            // A log without its records is a state that lost a part, not a new one.
            let what = format!("the file {DATABASE} is missing beside log segment {first}");
            return Err(OpenFailure::Damaged { path: self.path.clone(), what });
        }
        let unfinished = self.path.join(UNFINISHED);
        let file = private().create(true).truncate(true).open(&unfinished).map_err(failed)?;
        let copy = file.try_clone().map_err(failed)?;
        create(backend(copy).map_err(failed)?).map_err(|error| load::explain(&path, error))?;
        let name = || -> io::Result<()> {
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.path)?.sync_all()?;
            // The folder itself may be new too.
            match self.path.canonicalize()?.parent() {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            }
        };
        name().map_err(failed)
    }
}

impl Medium for Folder {
    fn records(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = private().open(self.database_path())?;
        if file.metadata()?.len() == 0 {
            // redb would take an empty file for a new database.
            let what = "the file is empty: its content was lost";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        file.set_permissions(Permissions::from_mode(0o600))?;
        backend(file)
    }

    fn segments(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let first = name.to_str().and_then(|name| name.strip_suffix(SEGMENT_SUFFIX));
            found.extend(first.and_then(|first| first.parse::<u64>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn read_segment(&self, first: u64) -> io::Result<Vec<u8>> {
        fs::read(self.segment_path(first))
    }

    fn create_segment(&self, first: u64) -> io::Result<Box<dyn Segment>> {
        let path = self.segment_path(first);
        Ok(Box::new(private().create(true).truncate(true).open(path)?))
    }

    fn remove_segment(&self, first: u64) -> io::Result<()> {
        fs::remove_file(self.segment_path(first))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Segment for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

fn backend(file: File) -> io::Result<Box<dyn StorageBackend>> {
    Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}
