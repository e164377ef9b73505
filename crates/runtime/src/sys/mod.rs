//! The system calls this crate needs, each as a small function with owned descriptors and
//! `io::Result`. All of the crate's `unsafe` is below this folder, so that the rest can be read
//! without it. Processes that call these are single-threaded (zygote, supervisor, container) unless
//! a function says otherwise.

pub mod block;
pub mod bpf;
pub mod mount;
pub mod process;
pub mod quota;
pub mod socket;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Fixed places of descriptors in processes of containers, which put them there.
// SAFETY: 1 and 2 are always open in our processes, also in those that don't put pipes there.
pub const STDOUT: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(1) };
// SAFETY: as above.
pub const STDERR: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(2) };
// SAFETY: used only by children that have put their socket at 3.
pub const CONTROL: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(3) };

/// The result of a system call that gives -1 and errno on failure.
pub fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Like `check`, for calls that return a new descriptor.
fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = check(result)? as RawFd;
    // SAFETY: the kernel just made this descriptor for us, nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

pub fn c_path(path: &Path) -> io::Result<CString> {
    c_string(path.as_os_str().as_bytes())
}

/// Takes the socket that a zygote got as its standard input, and leaves an empty input in its
/// place.
pub fn take_stdin() -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let moved = owned(unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) }.into())?;
    let null = std::fs::File::open("/dev/null")?;
    process::duplicate_to(null.as_fd(), 0)?;
    Ok(moved)
}

/// Closes a descriptor whose owner is in memory that this forked child will never return to.
pub fn close_in_child(owner: &OwnedFd) {
    // SAFETY: the child diverges, so the owner's drop never runs in it.
    unsafe { libc::close(owner.as_raw_fd()) };
}

/// A file that is nowhere but in memory, with these bytes, to be read from its beginning.
pub fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: the string is static.
    let made = unsafe { libc::memfd_create(c"neargate".as_ptr(), libc::MFD_CLOEXEC) };
    let file = File::from(owned(made.into())?);
    // Not with its position, which all who get it share.
    file.write_all_at(bytes, 0)?;
    Ok(file.into())
}

/// Milliseconds since 1970.
pub fn now() -> model::Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock is past 1970");
    model::Timestamp(i64::try_from(since.as_millis()).expect("the clock is before year 292278994"))
}
