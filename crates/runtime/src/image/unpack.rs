//! A layer's tar becomes a directory that overlay can mount. What Docker does as root is done here
//! too (owners, modes whatever the umask, set-id bits, times, hard links, fifos,
//! `security.capability`), with these differences: every path is confined to the layer
//! (`confine`), and no device node is made. A container's devices are those that its sandbox gives
//! it, so a node of an image could only be a way around that; Docker without root leaves them out
//! as well. The one kind of character device that exists is 0/0, overlay's mark for "deleted
//! here", and those come from `.wh.` entries alone.
//!
//! Other extended attributes are dropped: `trusted.overlay.*` above all, with which a layer could
//! redirect overlay itself.

use super::confine::{self, Inside, Occupant, Root};
use super::inflate::{BlockReader, LayerProblem};
use super::tar_stream::{Entry, Kind, Segment, TarReader};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";
/// Bookkeeping of aufs, which old images hold; Docker skips it.
const WHITEOUT_META: &[u8] = b".wh..wh.";
const CAPABILITY: &str = "security.capability";

/// What was found in a layer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Unpacked {
    pub entries: u64,
    /// Bytes of data written.
    pub bytes: u64,
    /// Device nodes that were left out.
    pub devices_skipped: u64,
    /// Directories that no entry names.
    pub implied: BTreeSet<String>,
}

/// Reads the whole stream into `root`. To be called on a thread of its own.
pub(crate) fn unpack(blocks: BlockReader, root: Root) -> Result<Unpacked, LayerProblem> {
    let mut writer = Writer {
        tar: TarReader::new(blocks),
        root,
        times: BTreeMap::new(),
        set_gid_seen: false,
        done: Unpacked::default(),
    };
    while let Some(entry) = writer.tar.next()? {
        writer.done.entries += 1;
        writer.take(&entry).map_err(|problem| in_entry(&entry, problem))?;
    }
    writer.finish()
}

struct Writer {
    tar: TarReader,
    root: Root,
    /// Directories change while they are filled, so their times are set last, in the order in which
    /// entries gave them: a link may lead two paths to one directory.
    times: BTreeMap<Inside, (u64, Timestamps)>,
    /// A directory with the set-group-id bit hands its group down, so that new files no longer are
    /// root's.
    set_gid_seen: bool,
    done: Unpacked,
}

impl Writer {
    fn take(&mut self, entry: &Entry) -> Result<(), LayerProblem> {
        let path = Inside::clean(&entry.path)?;
        if path.is_root() {
            // `./` carries the root directory's own attributes; as anything else it makes no sense.
            if entry.kind != Kind::Directory {
                return Err(LayerProblem::bad("the root is not a directory"));
            }
            return self.take_root(entry, path);
        }
        let (directory, name) = path.split();
        if name.starts_with(WHITEOUT) {
            return self.take_whiteout(directory, name);
        }
        match entry.kind {
            Kind::Directory => self.take_directory(entry, &path),
            Kind::File => self.take_file(entry, directory, name),
            Kind::HardLink => self.take_hard_link(entry, directory, name),
            Kind::Symlink | Kind::Fifo => self.take_special(entry, directory, name),
            Kind::CharDevice | Kind::BlockDevice => {
                self.done.devices_skipped += 1;
                Ok(())
            }
        }
    }

    fn take_root(&mut self, entry: &Entry, path: Inside) -> Result<(), LayerProblem> {
        let root = self.root.fd();
        set_owner(root, b".", entry)?;
        rustix::fs::chmodat(root, c".", mode(entry), AtFlags::empty())?;
        self.set_gid_seen |= entry.mode & 0o2000 != 0;
        self.times.insert(path, (self.done.entries, times(entry)));
        Ok(())
    }

    fn take_whiteout(&mut self, directory: &[u8], name: &[u8]) -> Result<(), LayerProblem> {
        if name == WHITEOUT_OPAQUE {
            let parent = self.root.directory(directory)?;
            return Ok(confine::make_opaque(parent, b".")?);
        }
        if name.starts_with(WHITEOUT_META) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(LayerProblem::bad("invalid whiteout name"));
        }
        let parent = self.root.directory(directory)?;
        // A whiteout speaks of lower layers only: what this layer itself holds stays.
        match confine::occupant(parent, hidden)? {
            Occupant::Nothing => confine::make_whiteout(parent, hidden)?,
            Occupant::Directory => confine::make_opaque(parent, hidden)?,
            Occupant::Whiteout | Occupant::Other => {}
        }
        Ok(())
    }

    fn take_directory(&mut self, entry: &Entry, path: &Inside) -> Result<(), LayerProblem> {
        let (directory, name) = path.split();
        let mut parent = self.root.directory(directory)?;
        let mut is_new = true;
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => match confine::occupant(parent, name)? {
                Occupant::Directory => is_new = false,
                found => {
                    self.root.clear(directory, name)?;
                    parent = self.root.directory(directory)?;
                    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
                    if found == Occupant::Whiteout {
                        confine::make_opaque(parent, name)?;
                    }
                }
            },
            other => other?,
        }
        // What is new is root's already.
        if !is_new || self.set_gid_seen || entry.uid != 0 || entry.gid != 0 {
            set_owner(parent, name, entry)?;
        }
        rustix::fs::chmodat(parent, name, mode(entry), AtFlags::empty())?;
        self.set_gid_seen |= entry.mode & 0o2000 != 0;
        self.times.insert(path.clone(), (self.done.entries, times(entry)));
        self.root.is_named(path);
        Ok(())
    }

    fn take_file(
        &mut self,
        entry: &Entry,
        directory: &[u8],
        name: &[u8],
    ) -> Result<(), LayerProblem> {
        let file = match create(self.root.directory(directory)?, name) {
            Err(Errno::EXIST) => {
                self.root.clear(directory, name)?;
                create(self.root.directory(directory)?, name)
            }
            other => other,
        }?;
        match &entry.sparse {
            None => self.write_data(&file, entry.size)?,
            Some(segments) => self.write_segments(&file, segments, entry.size)?,
        }
        // The order matters: a change of owner takes set-id bits and capabilities away.
        if self.set_gid_seen || entry.uid != 0 || entry.gid != 0 {
            let (uid, gid) = owner(entry);
            rustix::fs::fchown(&file, Some(uid), Some(gid))?;
        }
        if let Some(capability) = &entry.capability {
            set_capability(&file, capability)?;
        }
        rustix::fs::fchmod(&file, mode(entry))?;
        rustix::fs::futimens(&file, &times(entry))?;
        Ok(())
    }

    fn write_data(&mut self, file: &OwnedFd, size: u64) -> Result<(), LayerProblem> {
        let mut left = size;
        while left > 0 {
            let data = self.tar.data()?;
            let take = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if take == 0 {
                return Err(LayerProblem::bad("unexpected EOF"));
            }
            let written = rustix::io::retry_on_intr(|| rustix::io::write(file, &data[..take]))?;
            self.tar.consume(written);
            left -= written as u64;
            self.done.bytes += written as u64;
        }
        Ok(())
    }

    fn write_segments(
        &mut self,
        file: &OwnedFd,
        segments: &[Segment],
        size: u64,
    ) -> Result<(), LayerProblem> {
        rustix::fs::ftruncate(file, size)?;
        for segment in segments {
            rustix::fs::seek(file, rustix::fs::SeekFrom::Start(segment.offset))?;
            self.write_data(file, segment.bytes)?;
        }
        Ok(())
    }

    fn take_hard_link(
        &mut self,
        entry: &Entry,
        directory: &[u8],
        name: &[u8],
    ) -> Result<(), LayerProblem> {
        let target = Inside::clean(&entry.link)?;
        let (target_directory, target_name) = target.split();
        if target.is_root() {
            return Err(LayerProblem::bad("a hard link to the root"));
        }
        let source = self.root.existing(target_directory)?;
        match confine::occupant(&source, target_name)? {
            Occupant::Other => {}
            Occupant::Nothing | Occupant::Whiteout => {
                return Err(LayerProblem::bad("a hard link to nothing"));
            }
            Occupant::Directory => return Err(LayerProblem::bad("a hard link to a directory")),
        }
        let link = |parent: BorrowedFd<'_>| {
            rustix::fs::linkat(&source, target_name, parent, name, AtFlags::empty())
        };
        match link(self.root.directory(directory)?) {
            Err(Errno::EXIST) => {
                // A link to itself would be removed with what it replaces.
                let parent = self.root.directory(directory)?;
                if same_file(&source, target_name, parent, name)? {
                    return Ok(());
                }
                self.root.clear(directory, name)?;
                link(self.root.directory(directory)?)?;
            }
            other => other?,
        }
        Ok(())
    }

    /// What has no data: symbolic links, kept word for word, and fifos.
    fn take_special(
        &mut self,
        entry: &Entry,
        directory: &[u8],
        name: &[u8],
    ) -> Result<(), LayerProblem> {
        if entry.kind == Kind::Symlink && entry.link.is_empty() {
            return Err(LayerProblem::bad("a symbolic link to nothing"));
        }
        let make = |parent: BorrowedFd<'_>| match entry.kind {
            Kind::Symlink => rustix::fs::symlinkat(&*entry.link, parent, name),
            _ => rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::RUSR, 0),
        };
        match make(self.root.directory(directory)?) {
            Err(Errno::EXIST) => {
                self.root.clear(directory, name)?;
                make(self.root.directory(directory)?)?;
            }
            other => other?,
        }
        let parent = self.root.directory(directory)?;
        if self.set_gid_seen || entry.uid != 0 || entry.gid != 0 {
            set_owner(parent, name, entry)?;
        }
        if entry.kind == Kind::Fifo {
            rustix::fs::chmodat(parent, name, mode(entry), AtFlags::empty())?;
        }
        rustix::fs::utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn finish(mut self) -> Result<Unpacked, LayerProblem> {
        let mut times: Vec<_> = std::mem::take(&mut self.times).into_iter().collect();
        times.sort_by_key(|(_, (number, _))| *number);
        for (path, (_, times)) in times {
            let (directory, name) = path.split();
            let name = if path.is_root() { b"." } else { name };
            // A directory may have been replaced since; then these times are nobody's.
            let Ok(parent) = self.root.existing(directory) else { continue };
            if confine::occupant(&parent, name)? == Occupant::Directory {
                rustix::fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        super::sweep::empty(self.root.trash())?;
        self.done.implied = self.root.implied();
        if self.done.devices_skipped > 0 {
            let devices = self.done.devices_skipped;
            tracing::debug!(devices, "device nodes of a layer were left out");
        }
        Ok(self.done)
    }
}

fn create(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
}

fn set_capability(file: &OwnedFd, capability: &[u8]) -> Result<(), LayerProblem> {
    match rustix::fs::fsetxattr(file, CAPABILITY, capability, XattrFlags::empty()) {
        // The kernel checks the form; a form it doesn't know grants nothing.
        Err(Errno::INVAL) => Err(LayerProblem::bad("malformed security.capability")),
        other => Ok(other?),
    }
}

fn same_file(
    left: impl AsFd,
    left_name: &[u8],
    right: impl AsFd,
    right_name: &[u8],
) -> rustix::io::Result<bool> {
    let left = rustix::fs::statat(left, left_name, AtFlags::SYMLINK_NOFOLLOW)?;
    let right = rustix::fs::statat(right, right_name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((left.st_dev, left.st_ino) == (right.st_dev, right.st_ino))
}

fn owner(entry: &Entry) -> (Uid, Gid) {
    (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid))
}

fn set_owner(parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> rustix::io::Result<()> {
    let (uid, gid) = owner(entry);
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode)
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime_seconds, tv_nsec: entry.mtime_nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Says which entry it was, and whose fault: what the kernel refuses because of how an entry is
/// made is the layer's.
fn in_entry(entry: &Entry, problem: LayerProblem) -> LayerProblem {
    let path = String::from_utf8_lossy(&entry.path);
    let faults =
        [Errno::NAMETOOLONG, Errno::INVAL, Errno::FBIG, Errno::MLINK, Errno::LOOP, Errno::ILSEQ];
    match problem {
        LayerProblem::Bad(text) => LayerProblem::Bad(format!("{path:?}: {text}")),
        LayerProblem::Disk(error)
            if faults.iter().any(|fault| error.raw_os_error() == Some(fault.raw_os_error())) =>
        {
            LayerProblem::Bad(format!("{path:?}: {error}"))
        }
        other => other,
    }
}
