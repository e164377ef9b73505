//! Mounts, by path and by descriptor.

use super::{c_path, c_string, check, owned};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
pub const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// mount(2).
pub fn mount(
    source: &str,
    target: &Path,
    kind: &str,
    flags: libc::c_ulong,
    options: &str,
) -> io::Result<()> {
    let (source, target) = (c_string(source.as_bytes())?, c_path(target)?);
    let (kind, options) = (c_string(kind.as_bytes())?, c_string(options.as_bytes())?);
    // SAFETY: four strings that outlive the call.
    let result = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
    };
    check(result.into()).map(drop)
}

/// Changes propagation or binds; no file system is made.
pub fn mount_flags(source: Option<&Path>, target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let source: Option<CString> = source.map(c_path).transpose()?;
    let target = c_path(target)?;
    let source = source.as_ref().map_or(std::ptr::null(), |s| s.as_ptr());
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: strings outlive the call; null is allowed for the rest with these flags.
    check(unsafe { libc::mount(source, target.as_ptr(), none, flags, none.cast()) }.into())
        .map(drop)
}

/// Takes a mount away; it ends when its last user does.
pub fn unmount_detach(target: &Path) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: the string outlives the call.
    check(
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) }.into(),
    )
    .map(drop)
}

/// Makes the current directory the root of this mount namespace, and leaves nothing of the old one.
pub fn pivot_root_here() -> io::Result<()> {
    let here = c".".as_ptr();
    // SAFETY: strings are static.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, here, here) })?;
    // SAFETY: the string is static. The old root is on top of the new one here, so "." is the old.
    check(unsafe { libc::umount2(here, libc::MNT_DETACH) }.into())?;
    std::env::set_current_dir("/")
}

/// A detached copy of the mount at `path` (from that folder or file on down), to be attached
/// elsewhere.
pub fn clone_tree(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the string outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// Like `clone_tree`, with all that is mounted below it.
pub fn clone_trees(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as u32;
    // SAFETY: the string outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// Like `clone_tree`, of an open file or folder.
pub fn clone_tree_at(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    // SAFETY: the string is static.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, fd.as_raw_fd(), c"".as_ptr(), flags) })
}

/// Attaches a detached tree on top of what `target` stands for.
pub fn attach_tree(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let empty = c"".as_ptr();
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: the string is static.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            empty,
            target.as_raw_fd(),
            empty,
            flags,
        )
    };
    check(result).map(drop)
}

/// Sets attributes (RDONLY and such) of one mount, or of all below it.
pub fn set_attributes(mount: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    let attr = MountAttr { set, ..MountAttr::default() };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the attributes outlive the call, and the size is theirs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(result).map(drop)
}

/// How a path is followed.
#[derive(Clone, Copy)]
pub enum Follow {
    /// Symbolic links are followed, but nothing leads out of the starting folder.
    InRoot,
    /// No symbolic link anywhere.
    NoLinks,
}

/// Opens `path` below `root`. `flags` as for open(2); close-on-exec is added.
pub fn open_below(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: i32,
    follow: Follow,
) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: an all-zero open_how is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = match follow {
        Follow::InRoot => libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS,
        Follow::NoLinks => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS,
    };
    loop {
        // SAFETY: string and structure outlive the call, the size is the structure's.
        let result = owned(unsafe {
            libc::syscall(
                libc::SYS_openat2,
                root.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        });
        match result {
            // A rename elsewhere may make the kernel unsure whether we left the root.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => {}
            other => return other,
        }
    }
}

pub fn make_dir_at(dir: BorrowedFd<'_>, name: &Path, mode: u32) -> io::Result<()> {
    let name = c_path(name)?;
    // SAFETY: the string outlives the call.
    check(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) }.into()).map(drop)
}

/// Puts a new empty file in the place of a link or of nothing, and opens it.
pub fn replace_by_empty_file(dir: BorrowedFd<'_>, name: &Path, mode: u32) -> io::Result<OwnedFd> {
    let name = c_path(name)?;
    // SAFETY: the string outlives the call.
    match check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), 0) }.into()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
    // SAFETY: the string outlives the call.
    owned(unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags, mode) }.into())
}

/// Makes a character device.
pub fn make_device(path: &Path, major: u32, minor: u32, mode: u32) -> io::Result<()> {
    let path = c_path(path)?;
    let device = libc::makedev(major, minor);
    // SAFETY: the string outlives the call.
    check(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | mode, device) }.into()).map(drop)
}

/// Takes a lock on an open file or folder without waiting; false when another holds it. The lock
/// lives as long as the descriptor and its copies in forked processes.
pub fn try_lock(fd: impl AsFd) -> io::Result<bool> {
    // SAFETY: plain numbers.
    let result = unsafe { libc::flock(fd.as_fd().as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    match check(result.into()) {
        Ok(_) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::EWOULDBLOCK) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The type number of the file system a path is on.
pub fn file_system_type(path: &Path) -> io::Result<i64> {
    let path = c_path(path)?;
    // SAFETY: an all-zero statfs is valid; the kernel overwrites it.
    let mut buffer: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: string and buffer outlive the call.
    check(unsafe { libc::statfs(path.as_ptr(), &raw mut buffer) }.into())?;
    Ok(buffer.f_type)
}

/// How full a file system is, as those see it who are not root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    pub total_bytes: u64,
    pub used_bytes: u64,
    pub available_bytes: u64,
}

pub fn room(path: &Path) -> io::Result<Room> {
    let path = c_path(path)?;
    // SAFETY: an all-zero statfs is valid; the kernel overwrites it.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: string and buffer outlive the call.
    check(unsafe { libc::statfs(path.as_ptr(), &raw mut found) }.into())?;
    let block_bytes = found.f_bsize.cast_unsigned();
    Ok(Room {
        total_bytes: found.f_blocks * block_bytes,
        used_bytes: found.f_blocks.saturating_sub(found.f_bfree) * block_bytes,
        available_bytes: found.f_bavail * block_bytes,
    })
}

/// Gives a range of a file back to the file system; the file keeps its length.
pub fn punch_hole(file: BorrowedFd<'_>, offset: u64, bytes: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let (offset, bytes) = (offset as libc::off64_t, bytes as libc::off64_t);
    // SAFETY: plain numbers.
    check(unsafe { libc::fallocate64(file.as_raw_fd(), mode, offset, bytes) }.into()).map(drop)
}
