//! The data folder: private to its owner, used by one process at a time, and holding either a
//! whole database or none: a new one gets its name only once it is complete.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;

use crate::disk::{Medium, OpenFailure, load};

const DATABASE: &str = "state.redb";
const UNFINISHED: &str = "state.redb.new";
const LOCK: &str = "lock";

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

    pub fn database_path(&self) -> PathBuf {
        self.path.join(DATABASE)
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
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = private().open(self.database_path())?;
        if file.metadata()?.len() == 0 {
            // redb would take an empty file for a new database.
            let what = "the file is empty: its content was lost";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        file.set_permissions(Permissions::from_mode(0o600))?;
        backend(file)
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
