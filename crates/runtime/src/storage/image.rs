//! A task's file system in a file without a name. Every step leaves the next one as the only owner
//! of what it made: the loop device owns the file, the mount owns the device, and the task's own
//! mount namespace owns the mount. So there is nothing to clean up after a kill at any moment.

use super::{at, ext4, mount_point};
use crate::sys::{block, mount, process};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a block of the file system, and of the device below it.
const BLOCK_BYTES: u32 = 4096;
/// What a task wrote need not survive its machine, so nothing waits for the disk; what it deletes
/// is given back to the machine at once.
const OPTIONS: &str = "nobarrier,discard";
const OPTIONS_PLAIN: &str = "nobarrier";

/// That this process has a mount namespace which nobody else is in but its children.
pub struct OwnMounts(());

impl OwnMounts {
    /// Leaves the machine's mounts for a copy of them.
    pub fn enter() -> io::Result<Self> {
        process::unshare(libc::CLONE_NEWNS)?;
        // What the machine unmounts is not held on to, and nothing of ours gets out.
        mount::mount_flags(None, Path::new("/"), libc::MS_REC | libc::MS_SLAVE)?;
        // Unless it keeps its mounts from propagating: then pins of networks must not live as long
        // as this process.
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        for pin in pins(&mounts) {
            // One that stays only lives until this process ends.
            let _ = mount::unmount_detach(pin);
        }
        Ok(Self(()))
    }
}

/// Where namespaces are mounted.
fn pins(mountinfo: &str) -> impl Iterator<Item = &Path> {
    mountinfo.lines().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        tail.starts_with("nsfs ").then(|| head.split(' ').nth(4).map(Path::new))?
    })
}

/// Bytes that are rather written to the disk than given up.
const BYTES_WRITTEN_AT_THE_END_MAX: u64 = 16 << 20;

pub struct Image {
    mount_point: PathBuf,
    folder: PathBuf,
    pub gib: u32,
}

impl Image {
    /// Makes an empty one and mounts it. `root` is the runtime's folder, `name` tells the devices
    /// of one runtime from others.
    pub fn mount(root: &Path, gib: u32, name: &str, _mounts: &OwnMounts) -> io::Result<Self> {
        let mount_point = mount_point(root);
        let file = File::options().read(true).write(true).custom_flags(libc::O_TMPFILE).open(root);
        let file = file.map_err(at("making a file without a name in", root))?;
        let write = || {
            file.set_len(u64::from(gib) << 30)?;
            ext4::blank(gib).iter().try_for_each(|p| file.write_all_at(&p.bytes, p.offset))
        };
        write().map_err(at("making a file system in", root))?;
        let device = block::attach_loop(&file, BLOCK_BYTES, name);
        let device = device.map_err(|e| io::Error::new(e.kind(), format!("a loop device: {e}")))?;
        let source = device.path.to_string_lossy();
        let flags = libc::MS_NODEV;
        let mount = |options| mount::mount(&source, &mount_point, "ext4", flags, options);
        // Not every disk below can take back what was deleted.
        mount(OPTIONS)
            .or_else(|_| mount(OPTIONS_PLAIN))
            .map_err(at("mounting a task's file system at", &mount_point))?;
        let folder = mount_point.join(ext4::FILES_FOLDER);
        Ok(Self { mount_point, folder, gib })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was written and not yet brought to the disk never is: that would take as long as
    /// writing it. The kernel tells its log of that in words that alarm people, so it isn't asked
    /// to where there is little to save.
    pub fn end(self) -> io::Result<()> {
        if mount::room(&self.folder)?.used_bytes > BYTES_WRITTEN_AT_THE_END_MAX {
            block::shut_down(&File::open(&self.folder)?)?;
        }
        mount::unmount_detach(&self.mount_point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_told_from_other_mounts() {
        let text = "\
40 30 0:4 net:[1] /run/netns/a rw - nsfs nsfs rw
42 30 0:5 / /proc rw - proc proc rw\n";
        assert_eq!(pins(text).collect::<Vec<_>>(), [Path::new("/run/netns/a")]);
    }
}
