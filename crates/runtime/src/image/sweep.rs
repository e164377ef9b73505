//! Removing trees that a hostile image may have shaped: deeper than a stack or a table of open
//! files reaches. Directories are not walked down but moved up, into one flat place, until each is
//! empty.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// Removes everything inside `trash`, which must be ours alone. Needs four open files, whatever it
/// holds.
pub(crate) fn empty(trash: impl AsFd) -> rustix::io::Result<()> {
    let trash = trash.as_fd();
    let mut moved = 0u64;
    loop {
        let mut directories = Vec::new();
        for entry in listing(open_directory(trash, c".")?)? {
            if !unlinked(trash, &entry)? {
                directories.push(entry);
            }
        }
        if directories.is_empty() {
            return Ok(());
        }
        for name in directories {
            let directory = open_directory(trash, &*name)?;
            for entry in listing(open_directory(&directory, c".")?)? {
                if unlinked(&directory, &entry)? {
                    continue;
                }
                let (target, flags) = (|n: u64| format!(".up.{n}"), RenameFlags::NOREPLACE);
                loop {
                    moved += 1;
                    match rustix::fs::renameat_with(
                        &directory,
                        &*entry,
                        trash,
                        target(moved),
                        flags,
                    ) {
                        // An earlier sweep that was cut short left this name behind.
                        Err(Errno::EXIST) => {}
                        other => break other?,
                    }
                }
            }
            rustix::fs::unlinkat(trash, &*name, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Removes one entry of a directory, with all below it.
pub(crate) fn remove(parent: impl AsFd, name: &str) -> rustix::io::Result<()> {
    let parent = parent.as_fd();
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Err(Errno::NOENT) => return Ok(()),
        other => return other,
    }
    empty(open_directory(parent, name)?)?;
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Whether the entry was no directory, and so is gone.
fn unlinked(parent: impl AsFd, name: &std::ffi::CStr) -> rustix::io::Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Names first, changes later: a directory that changes while it is read may show entries twice.
fn listing(directory: OwnedFd) -> rustix::io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        let entry = entry?;
        let dots = entry.file_name().to_bytes() == b"." || entry.file_name().to_bytes() == b"..";
        if !(dots && matches!(entry.file_type(), FileType::Directory | FileType::Unknown)) {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn open_directory(parent: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_the_table_of_open_files_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let root = rustix::fs::open(home.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        rustix::fs::mkdirat(&root, "tree", Mode::RWXU).unwrap();
        let mut at = open_directory(&root, "tree").unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "a", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, ".up.1", Mode::empty()).unwrap();
            rustix::fs::symlinkat("/", &at, "link").unwrap();
            at = open_directory(&at, "a").unwrap();
        }
        remove(&root, "tree").unwrap();
        remove(&root, "tree").unwrap();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
