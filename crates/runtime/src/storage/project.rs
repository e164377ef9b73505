//! A bound as a number in the file system of our folder: the task's files carry a project's id, and
//! the file system counts.

use super::{at, inodes, kib};
use crate::sys::quota;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// In the task's folder.
const FOLDER: &str = "storage";
/// Ids below are left to people.
const ID_MIN: u32 = 1 << 30;
/// How many ids in a row are tried.
const TRIES_MAX: u32 = 64;

pub struct Project {
    folder: PathBuf,
    id: u32,
}

impl Project {
    pub fn make(home: &Path, gib: u32) -> io::Result<Self> {
        let folder = home.join(FOLDER);
        let make = || {
            fs::create_dir(&folder)?;
            let open = File::open(&folder)?;
            let id = free_id(&open, home)?;
            quota::limit(open.as_fd(), id, kib(gib), inodes(gib))?;
            quota::set_project(&open, id)?;
            Ok(id)
        };
        let id = make().map_err(at("bounding", &folder))?;
        Ok(Self { folder, id })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes that are taken, and the most that may be.
    pub fn usage(&self) -> io::Result<(u64, u64)> {
        let taken = quota::taken(File::open(&self.folder)?.as_fd(), self.id)?;
        Ok(taken.map_or((0, 0), |taken| (taken.bytes, taken.bytes_max)))
    }
}

/// Ids of projects are the whole file system's, and there is no list of them: one is taken by
/// chance, and the next if somebody has it.
fn free_id(folder: &File, home: &Path) -> io::Result<u32> {
    let first = first_id(home);
    for n in 0..TRIES_MAX {
        let id = ID_MIN | first.wrapping_add(n);
        if quota::taken(folder.as_fd(), id)?.is_none() {
            return Ok(id);
        }
    }
    Err(io::Error::other("no id of a project is free"))
}

/// From the task's id, of which any digits are as random as others.
fn first_id(home: &Path) -> u32 {
    let name = home.file_name().unwrap_or_default().to_string_lossy();
    name.bytes().fold(0, |id: u32, byte| id.rotate_left(5) ^ u32::from(byte)) & (ID_MIN - 1)
}

/// Takes the bound back, so that the id is free when the task's folder is gone.
pub fn forget(home: &Path) -> io::Result<()> {
    let open = match File::open(home.join(FOLDER)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    match quota::project(&open)? {
        id if id >= ID_MIN => quota::limit(open.as_fd(), id, 0, 0),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_begin_at_different_ids() {
        let ids = [1, 2, 3, 255, 4096].map(|n| first_id(Path::new(&format!("/x/{n:032x}"))));
        for (at, id) in ids.iter().enumerate() {
            assert!(*id < ID_MIN);
            assert!(!ids[..at].contains(id), "{ids:?}");
        }
    }
}
