//! Directories that a layer uses without naming them. A layer with only `tmp/cache/x` in it must
//! not turn the `/tmp` of the layer below into a plain 0755 of root's, but unpacked by itself it
//! knows nothing of layers below. So each layer remembers which directories it had to make up, and
//! an image for which that matters gets one more layer on top, of nothing but directories, that
//! says what they should be. The result is what containerd shows, which looks at the lower layers
//! while it unpacks.

use super::confine::OPAQUE;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};

/// A layer that is in place.
pub(crate) struct LayerView {
    pub root: OwnedFd,
    /// What it made up: paths without a leading slash.
    pub implied: BTreeSet<String>,
}

/// What a directory should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, i64),
}

impl Attributes {
    /// What made-up directories are already. Their time is nobody's concern.
    fn is_plain(&self) -> bool {
        (self.mode, self.uid, self.gid) == (0o755, 0, 0)
    }
}

impl From<Stat> for Attributes {
    fn from(stat: Stat) -> Self {
        let mode = stat.st_mode & 0o7777;
        let mtime = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
        Self { mode, uid: stat.st_uid, gid: stat.st_gid, mtime }
    }
}

enum Look {
    /// Nothing here, and lower layers show through.
    Absent,
    /// Nothing here, and nothing from below either.
    Hidden,
    Directory {
        attributes: Attributes,
        opaque: bool,
    },
}

/// The directories that must be said again on top, with those above them; mostly none. Layers come
/// highest first.
pub(crate) fn to_mend(layers: &[LayerView]) -> rustix::io::Result<BTreeMap<String, Attributes>> {
    let mut found = BTreeMap::new();
    let all: BTreeSet<&String> = layers.iter().flat_map(|layer| &layer.implied).collect();
    for path in all {
        match named(layers, path)? {
            Some((true, attributes)) if !attributes.is_plain() => {
                found.insert(path.clone(), attributes);
            }
            _ => {}
        }
    }
    let mended: Vec<String> = found.keys().cloned().collect();
    for path in &mended {
        for (slash, _) in path.match_indices('/') {
            let above = &path[..slash];
            if !found.contains_key(above) {
                let plain = Attributes { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0) };
                let attributes = named(layers, above)?.map_or(plain, |(_, attributes)| attributes);
                found.insert(above.to_owned(), attributes);
            }
        }
    }
    Ok(found)
}

/// What the highest layer that names this directory says of it, and whether a higher one made it
/// up.
fn named(layers: &[LayerView], path: &str) -> rustix::io::Result<Option<(bool, Attributes)>> {
    let mut made_up = false;
    for layer in layers {
        match look(&layer.root, path)? {
            Look::Absent => {}
            Look::Hidden => return Ok(None),
            Look::Directory { attributes, opaque } => {
                if !layer.implied.contains(path) {
                    return Ok(Some((made_up, attributes)));
                }
                made_up = true;
                if opaque {
                    return Ok(None);
                }
            }
        }
    }
    Ok(None)
}

fn look(root: &OwnedFd, path: &str) -> rustix::io::Result<Look> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(root, c".", flags, Mode::empty())?;
    let mut opaque = false;
    for part in path.split('/') {
        at = match rustix::fs::openat(&at, part, flags, Mode::empty()) {
            Ok(child) => child,
            Err(Errno::NOENT) if opaque => return Ok(Look::Hidden),
            Err(Errno::NOENT) => return Ok(Look::Absent),
            // A link, a file or a whiteout: overlay shows it and nothing below it.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Look::Hidden),
            Err(error) => return Err(error),
        };
        opaque |= rustix::fs::fgetxattr(&at, OPAQUE, &mut [0; 8][..]).is_ok();
    }
    Ok(Look::Directory { attributes: rustix::fs::fstat(&at)?.into(), opaque })
}

/// Makes the directories in `root`, which is empty.
pub(crate) fn mend(
    root: impl AsFd,
    directories: &BTreeMap<String, Attributes>,
) -> rustix::io::Result<()> {
    let root = root.as_fd();
    // A path sorts behind its parent, so parents are made first and get their times last.
    for (path, attributes) in directories {
        rustix::fs::mkdirat(root, path, Mode::RWXU)?;
        let owner = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        let none = AtFlags::empty();
        rustix::fs::chownat(root, path, Some(owner.0), Some(owner.1), none)?;
        rustix::fs::chmodat(root, path, Mode::from_raw_mode(attributes.mode), none)?;
    }
    for (path, attributes) in directories.iter().rev() {
        let time = Timespec { tv_sec: attributes.mtime.0, tv_nsec: attributes.mtime.1 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(root, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
