//! The disk space of a task: what its containers write to their root file systems and volumes
//! together has a bound, past which they are told that no space is left. Where our folder is on XFS
//! with project quotas, the bound is a number in it. Elsewhere each task gets a file
//! system of its own, made in a file that has no name and takes only the room that is used; mounted
//! where nobody but the task's own processes sees it, it ends with the last of them, and the file
//! with it, however they end.

mod ext4;
mod image;
mod project;

pub use image::{Image, OwnMounts};

use crate::limits::{STORAGE_KIB_PER_INODE, STORAGE_ROOM_MIN_MIB};
use crate::sys::{mount, quota};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// The folder, in the runtime's own, at which a task's own processes see its file system.
pub const STORAGE_FOLDER: &str = "storage";

/// The number of XFS among file systems.
const XFS: i64 = 0x5846_5342;

/// How this machine bounds what a task writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    Projects,
    Images,
}

impl Bound {
    /// None: not at all. `root` is the runtime's folder.
    pub fn detect(root: &Path) -> Option<Self> {
        // Others, as ext4, have such quotas too, but say "disk quota exceeded" past them.
        let on_xfs = mount::file_system_type(root).is_ok_and(|kind| kind == XFS);
        if on_xfs && File::open(root).is_ok_and(|folder| quota::enforced(folder.as_fd())) {
            return Some(Self::Projects);
        }
        File::options()
            .read(true)
            .write(true)
            .open("/dev/loop-control")
            .is_ok()
            .then_some(Self::Images)
    }
}

/// A task's bounded folder.
pub enum Storage {
    Project(project::Project),
    Image(Image),
}

impl Storage {
    pub fn in_project(home: &Path, gib: u32) -> io::Result<Self> {
        project::Project::make(home, gib).map(Self::Project)
    }

    pub fn folder(&self) -> &Path {
        match self {
            Self::Project(project) => project.folder(),
            Self::Image(image) => image.folder(),
        }
    }

    /// Bytes that are taken, and the most that may be.
    pub fn usage(&self) -> io::Result<(u64, u64)> {
        match self {
            Self::Project(project) => project.usage(),
            Self::Image(image) => {
                let room = mount::room(image.folder())?;
                Ok((room.used_bytes, room.total_bytes))
            }
        }
    }

    /// Lets go of it; nothing runs any more that could write to it.
    pub fn end(self) -> io::Result<()> {
        match self {
            // Goes with the task's folder.
            Self::Project(_) => Ok(()),
            Self::Image(image) => image.end(),
        }
    }
}

/// Takes back what a task's folder has of a quota, before the folder goes.
pub fn forget(home: &Path) -> io::Result<()> {
    project::forget(home)
}

/// A task needs some room to begin with, whatever it may have later.
pub fn check_room(folder: &Path) -> io::Result<()> {
    let mib = mount::room(folder)?.available_bytes >> 20;
    if mib >= STORAGE_ROOM_MIN_MIB {
        return Ok(());
    }
    let folder = folder.display();
    let text = format!(
        "no space left on device: {mib} MiB are free for {folder}, and a task needs \
         {STORAGE_ROOM_MIN_MIB} MiB to start"
    );
    Err(io::Error::new(io::ErrorKind::StorageFull, text))
}

fn inodes(gib: u32) -> u64 {
    kib(gib) / STORAGE_KIB_PER_INODE
}

fn kib(gib: u32) -> u64 {
    u64::from(gib) << 20
}

/// For failures: what was being done, and where.
fn at<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> io::Error + 'a {
    move |e| io::Error::new(e.kind(), format!("{what} {}: {e}", path.display()))
}

/// The folder of an image's mount.
fn mount_point(root: &Path) -> PathBuf {
    root.join(STORAGE_FOLDER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process;

    #[test]
    fn a_full_disk_is_told_in_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        check_room(folder.path()).expect("this machine has room");
        let path = folder.path().to_owned();
        // A thread of its own, which takes its mounts along.
        let full = std::thread::spawn(move || {
            process::unshare(libc::CLONE_NEWNS).expect("mounts of its own");
            let private = libc::MS_REC | libc::MS_PRIVATE;
            mount::mount_flags(None, Path::new("/"), private).expect("private");
            mount::mount("tmpfs", &path, "tmpfs", 0, "size=1m").expect("a small disk");
            check_room(&path).expect_err("1 MiB is not enough").to_string()
        });
        let said = full.join().expect("it doesn't panic");
        assert!(said.starts_with("no space left on device: 1 MiB are free for "), "{said}");
    }
}
