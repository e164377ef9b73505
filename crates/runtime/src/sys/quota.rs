//! Project quotas, as XFS has them: folders carry a number, and what all files with that number
//! take is bounded.

use super::check;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const FS_IOC_FSGETXATTR: libc::c_ulong = 0x801c_581f;
const FS_IOC_FSSETXATTR: libc::c_ulong = 0x401c_5820;
/// What is made in the folder gets its number.
const PROJECT_INHERIT: u32 = 0x200;

const SYS_QUOTACTL_FD: libc::c_long = 443;
const PROJECTS: u32 = 2;
const Q_GETQUOTA: u32 = 0x80_0007;
const Q_SETQUOTA: u32 = 0x80_0008;
const Q_XGETQSTAT: u32 = 0x5805;
/// The answer's flag: limits of projects hold.
const PROJECTS_ENFORCED: u16 = 1 << 5;
/// Which members of a `Limits` are meant: those of blocks, those of inodes.
const LIMITS_VALID: u32 = 1 | 4;

#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_bytes: u32,
    extents: u32,
    project: u32,
    copy_extent_bytes: u32,
    padding: [u8; 8],
}

#[repr(C)]
#[derive(Default)]
struct Limits {
    /// In KiB.
    space_hard: u64,
    space_soft: u64,
    space_used_bytes: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    inodes_used: u64,
    space_time: u64,
    inodes_time: u64,
    valid: u32,
}

fn attributes(folder: &File) -> io::Result<Attributes> {
    let mut found = Attributes::default();
    // SAFETY: the structure is the kernel's and outlives the call.
    let done = unsafe { libc::ioctl(folder.as_raw_fd(), FS_IOC_FSGETXATTR, &raw mut found) };
    check(done.into()).map(|_| found)
}

/// The number of a folder; 0: none.
pub fn project(folder: &File) -> io::Result<u32> {
    attributes(folder).map(|found| found.project)
}

/// Gives an empty folder its number, and all that will be in it.
pub fn set_project(folder: &File, project: u32) -> io::Result<()> {
    let mut wanted = attributes(folder)?;
    wanted.project = project;
    wanted.flags |= PROJECT_INHERIT;
    // SAFETY: the structure is the kernel's and outlives the call.
    let done = unsafe { libc::ioctl(folder.as_raw_fd(), FS_IOC_FSSETXATTR, &raw const wanted) };
    check(done.into()).map(drop)
}

fn control<T>(fd: BorrowedFd<'_>, command: u32, id: u32, argument: *mut T) -> io::Result<()> {
    let command = command << 8 | PROJECTS;
    // SAFETY: each caller gives the structure that its command takes.
    check(unsafe { libc::syscall(SYS_QUOTACTL_FD, fd.as_raw_fd(), command, id, argument) })
        .map(drop)
}

/// Whether limits of projects hold on the file system of `fd`.
pub fn enforced(fd: BorrowedFd<'_>) -> bool {
    // struct fs_quota_stat: its version, then flags; more than all of it.
    let mut state = [0u64; 16];
    if control(fd, Q_XGETQSTAT, 0, state.as_mut_ptr()).is_err() {
        return false;
    }
    let [_, _, low, high, ..] = state[0].to_ne_bytes();
    u16::from_ne_bytes([low, high]) & PROJECTS_ENFORCED != 0
}

/// What everything with this number takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    pub bytes: u64,
    pub inodes: u64,
    /// 0: no bound.
    pub bytes_max: u64,
}

/// None: nothing has this number, nor had it and left a bound behind.
pub fn taken(fd: BorrowedFd<'_>, project: u32) -> io::Result<Option<Taken>> {
    let mut found = Limits::default();
    match control(fd, Q_GETQUOTA, project, &raw mut found) {
        Ok(()) => {
            let (bytes, inodes) = (found.space_used_bytes, found.inodes_used);
            let taken = Taken { bytes, inodes, bytes_max: found.space_hard << 10 };
            Ok(Some(taken).filter(|t| t.bytes > 0 || t.inodes > 0 || t.bytes_max > 0))
        }
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Bounds everything with this number; 0: no bound.
pub fn limit(fd: BorrowedFd<'_>, project: u32, kib: u64, inodes: u64) -> io::Result<()> {
    let mut wanted = Limits {
        space_hard: kib,
        space_soft: kib,
        inodes_hard: inodes,
        inodes_soft: inodes,
        valid: LIMITS_VALID,
        ..Limits::default()
    };
    control(fd, Q_SETQUOTA, project, &raw mut wanted)
}
