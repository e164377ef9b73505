//! /dev of a container: a small file system of its own with the harmless devices.

use super::StartFailure;
use crate::sys::mount;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

/// Name, major, minor.
const NODES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
    ("pts/ptmx", "/dev/ptmx"),
];

const PLAIN: libc::c_ulong = libc::MS_NOSUID | libc::MS_NOEXEC;

/// The group that owns terminals, on every distribution.
const PTS_OPTIONS: &str = "newinstance,ptmxmode=0666,mode=0620,gid=5";

pub fn make() -> Result<(), StartFailure> {
    let at = StartFailure::at("making /dev");
    let mounted = |kind: &str, target: &str, flags, options: &str| {
        mount::mount(kind, Path::new(target), kind, flags, options).map_err(&at)
    };
    mounted("tmpfs", "/dev", libc::MS_NOSUID | libc::MS_STRICTATIME, "mode=755,size=65536k")?;
    crate::sys::process::set_umask(0);
    for (path, major, minor) in NODES {
        mount::make_device(Path::new(path), major, minor, 0o666).map_err(&at)?;
    }
    for (target, path) in LINKS {
        symlink(target, path).map_err(&at)?;
    }
    for folder in ["/dev/pts", "/dev/mqueue", "/dev/shm"] {
        fs::DirBuilder::new().mode(0o755).create(folder).map_err(&at)?;
    }
    crate::sys::process::set_umask(0o022);
    mounted("devpts", "/dev/pts", PLAIN, PTS_OPTIONS)?;
    mounted("mqueue", "/dev/mqueue", PLAIN | libc::MS_NODEV, "")?;
    mounted("tmpfs", "/dev/shm", PLAIN | libc::MS_NODEV, "mode=1777,size=65536k")
}
