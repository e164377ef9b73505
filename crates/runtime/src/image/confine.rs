//! One layer's root directory, and the only way into it. Every path of an image is resolved by the
//! kernel with the root as its world (`openat2` with `RESOLVE_IN_ROOT`): a link may point wherever
//! it likes, an absolute one or any number of `..` ends inside. The last part of a path is never
//! followed: it is made, replaced or removed as an entry of its directory.

use super::inflate::LayerProblem;
use super::limits;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Marks a directory of which lower layers show nothing.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";
/// `openat2` gives up when something is renamed anywhere while it follows `..`; that often, ask
/// again.
const AGAIN_MAX: u32 = 1000;
/// Directories that a layer uses but doesn't name: Docker makes them so.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);

/// A path below the root, cleaned: no empty parts, no `.`, no `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Inside(Vec<u8>);

impl Inside {
    /// As Go's `filepath.Clean` would on `/` + path, but for paths that climb above the root:
    /// Docker refuses those, and so do we, since no honest tool writes them.
    pub fn clean(path: &[u8]) -> Result<Self, LayerProblem> {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." if parts.pop().is_none() => {
                    return Err(LayerProblem::bad(format!(
                        "invalid path {:?}: it is outside of the layer",
                        String::from_utf8_lossy(path)
                    )));
                }
                b".." => {}
                _ => parts.push(part),
            }
        }
        Ok(Self(parts.join(&b'/')))
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The directory, empty for the root, and the name in it.
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (&[], &self.0),
        }
    }
}

/// What is at a name now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Occupant {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

pub(crate) struct Root {
    root: OwnedFd,
    /// Directories that were replaced; they are removed when the layer is done.
    trash: OwnedFd,
    trashed: u64,
    /// The directory of the last entry: the next entry's most of the time.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Directories that were made because something below them was named.
    implied: BTreeSet<Vec<u8>>,
}

impl Root {
    /// Both directories exist, are empty and on one file system.
    pub fn new(root: OwnedFd, trash: OwnedFd) -> Self {
        Self { root, trash, trashed: 0, last: None, implied: BTreeSet::new() }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub fn trash(&self) -> BorrowedFd<'_> {
        self.trash.as_fd()
    }

    /// The layer has an entry for this directory after all.
    pub fn is_named(&mut self, path: &Inside) {
        self.implied.remove(path.as_bytes());
    }

    /// Directories that were made and never named, but for those with names that are no text.
    pub fn implied(&mut self) -> BTreeSet<String> {
        let all = std::mem::take(&mut self.implied);
        all.into_iter().filter_map(|path| String::from_utf8(path).ok()).collect()
    }

    /// The directory at `path`, made if it is missing.
    pub fn directory(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, LayerProblem> {
        let known = self.last.as_ref().is_some_and(|(last, _)| last == path);
        if !known {
            let found = match self.resolve(path) {
                Err(Errno::NOENT | Errno::NOTDIR) => self.make_directories(path)?,
                other => other.map_err(|error| path_problem(path, error))?,
            };
            self.last = Some((path.to_vec(), found));
        }
        let (_, found) = self.last.as_ref().expect("it was just put there");
        Ok(found.as_fd())
    }

    /// The directory at `path` if there is one; nothing is made.
    pub fn existing(&self, path: &[u8]) -> Result<OwnedFd, LayerProblem> {
        self.resolve(path).map_err(|error| path_problem(path, error))
    }

    fn resolve(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = if path.is_empty() { &b"."[..] } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        for _ in 0..AGAIN_MAX {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Walks down part by part; where a link stands in the way, the kernel resolves it from the
    /// root.
    fn make_directories(&mut self, path: &[u8]) -> Result<OwnedFd, LayerProblem> {
        let mut at = self.resolve(b"")?;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let (mut start, mut through_link) = (0, false);
        for end in ends.chain([path.len()]) {
            let name = &path[start..end];
            start = end + 1;
            at = match open_child(&at, name) {
                Ok(child) => child,
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&at, name, IMPLIED_MODE)?;
                    let child = open_child(&at, name)?;
                    rustix::fs::chmodat(&at, name, IMPLIED_MODE, AtFlags::empty())?;
                    // Behind a link it has another path, which nobody asks for by this one.
                    if !through_link && self.implied.len() < limits::IMPLIED_DIRECTORIES_MAX {
                        self.implied.insert(path[..end].to_vec());
                    }
                    child
                }
                Err(Errno::NOTDIR) if occupant(&at, name)? == Occupant::Whiteout => {
                    self.last = None;
                    rustix::fs::unlinkat(&at, name, AtFlags::empty())?;
                    rustix::fs::mkdirat(&at, name, IMPLIED_MODE)?;
                    rustix::fs::chmodat(&at, name, IMPLIED_MODE, AtFlags::empty())?;
                    make_opaque(&at, name)?;
                    open_child(&at, name)?
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    through_link = true;
                    let upto = &path[..end];
                    self.resolve(upto).map_err(|error| path_problem(upto, error))?
                }
                Err(error) => return Err(path_problem(path, error)),
            };
        }
        Ok(at)
    }

    /// Makes room at a name. Whatever was there is gone, or on its way.
    pub fn clear(&mut self, directory: &[u8], name: &[u8]) -> Result<(), LayerProblem> {
        let parent = self.directory(directory)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => {
                let parent = self.existing(directory)?;
                self.trashed += 1;
                let place = self.trashed.to_string();
                let keep = RenameFlags::NOREPLACE;
                rustix::fs::renameat_with(&parent, name, &self.trash, place, keep)?;
            }
            Err(error) => return Err(error.into()),
        }
        // The path of the last directory may have led through what is gone.
        self.last = None;
        Ok(())
    }
}

fn open_child(parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

pub(crate) fn occupant(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<Occupant> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Occupant::Nothing),
        other => other?,
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Occupant::Directory,
        // No other character device is ever made here.
        FileType::CharacterDevice => Occupant::Whiteout,
        _ => Occupant::Other,
    })
}

/// The entry must be a directory that is known to be one.
pub(crate) fn make_opaque(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    rustix::fs::fsetxattr(&directory, OPAQUE, b"y", XattrFlags::empty())
}

pub(crate) fn make_whiteout(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    let device = rustix::fs::makedev(0, 0);
    rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), device)
}

/// A path that leads nowhere, or over too many links, is the layer's fault; the rest is the disk's.
fn path_problem(path: &[u8], error: Errno) -> LayerProblem {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::XDEV => {
            LayerProblem::bad(format!("invalid path {:?}: {error}", String::from_utf8_lossy(path)))
        }
        _ => LayerProblem::Disk(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_those_that_climb_out_refused() {
        for (path, clean) in [
            ("", ""),
            ("/", ""),
            ("./", ""),
            ("a", "a"),
            ("/a//b/./c/", "a/b/c"),
            ("a/../b", "b"),
            ("a/b/../..", ""),
            ("...", "..."),
            ("a/..b", "a/..b"),
        ] {
            assert_eq!(Inside::clean(path.as_bytes()).unwrap().0, clean.as_bytes(), "{path}");
        }
        for path in ["..", "/..", "../a", "a/../../b", "./../a", "/a/../../etc/passwd"] {
            assert!(Inside::clean(path.as_bytes()).is_err(), "{path}");
        }
    }
}
