//! Loop devices: a file as a disk. One that ends with its last user, so that nobody has to remember
//! it.

use super::check;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
const LOOP_GET_STATUS64: libc::c_ulong = 0x4c05;
const LOOP_CLR_FD: libc::c_ulong = 0x4c01;
/// The file is let go with the device's last user.
const AUTOCLEAR: u32 = 4;
/// What is written isn't kept in memory twice, where the file's own file system can do so.
const DIRECT_IO: u32 = 16;
/// How often another device is asked for when somebody else was quicker.
const TRIES_MAX: u32 = 64;
const NAME_BYTES: usize = 64;

#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: u32,
    key_size: u32,
    flags: u32,
    file_name: [u8; NAME_BYTES],
    crypt_name: [u8; NAME_BYTES],
    key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_bytes: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// A device that exists as long as it is open or mounted.
pub struct LoopDevice {
    pub path: PathBuf,
    _open: File,
}

/// Makes a disk of a file. `name` is what `loop_devices` tells of it.
pub fn attach_loop(image: &File, block_bytes: u32, name: &str) -> io::Result<LoopDevice> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    // SAFETY: zeros are valid in all members.
    let mut config: LoopConfig = unsafe { std::mem::zeroed() };
    (config.fd, config.block_bytes) = (image.as_raw_fd().cast_unsigned(), block_bytes);
    config.info.flags = AUTOCLEAR | DIRECT_IO;
    let bytes = name.as_bytes();
    let kept = bytes.len().min(NAME_BYTES - 1);
    config.info.file_name[..kept].copy_from_slice(&bytes[..kept]);
    for _ in 0..TRIES_MAX {
        // SAFETY: takes no argument.
        let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) }.into())?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let open = OpenOptions::new().read(true).write(true).open(&path)?;
        // SAFETY: the structure is the kernel's and outlives the call.
        let done = unsafe { libc::ioctl(open.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
        match check(done.into()) {
            Ok(_) => return Ok(LoopDevice { path, _open: open }),
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

/// Devices that have a file, and the names they were given.
pub fn loop_devices() -> Vec<(PathBuf, String)> {
    let all = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let used = all.filter(|entry| entry.path().join("loop").is_dir());
    let named = used.filter_map(|entry| {
        let path = Path::new("/dev").join(entry.file_name());
        let name = loop_name(&path).ok()?;
        Some((path, name))
    });
    named.collect()
}

fn loop_name(device: &Path) -> io::Result<String> {
    let open = File::open(device)?;
    // SAFETY: zeros are valid in all members; the kernel overwrites them.
    let mut info: LoopInfo = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is the kernel's and outlives the call.
    check(unsafe { libc::ioctl(open.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) }.into())?;
    let name = info.file_name;
    let length = name.iter().position(|b| *b == 0).unwrap_or(NAME_BYTES);
    Ok(String::from_utf8_lossy(&name[..length]).into_owned())
}

/// Takes a device's file away from it; while it is mounted, when it no longer is.
pub fn detach_loop(device: &Path) -> io::Result<()> {
    let open = File::open(device)?;
    // SAFETY: takes no argument.
    match check(unsafe { libc::ioctl(open.as_raw_fd(), LOOP_CLR_FD) }.into()) {
        Err(e) if e.raw_os_error() != Some(libc::ENXIO) => Err(e),
        _ => Ok(()),
    }
}

/// Makes a file system give up what it has not written yet, and answer nothing but errors from here
/// on: for one that is about to be thrown away.
pub fn shut_down(file_system: &File) -> io::Result<()> {
    const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
    const NO_FLUSH: u32 = 2;
    let how = NO_FLUSH;
    // SAFETY: the number outlives the call.
    let done = unsafe { libc::ioctl(file_system.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const how) };
    check(done.into()).map(drop)
}
