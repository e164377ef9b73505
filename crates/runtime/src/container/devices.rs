//! /dev of a container: a small file system of its own with the harmless devices.

use super::StartFailure;
use crate::sys::mount;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

/// Name, major, minor.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

const PLAIN: libc::c_ulong = libc::MS_NOSUID | libc::MS_NOEXEC;

/// The group that owns terminals, on every distribution.
const PTS_OPTIONS: &str = "newinstance,ptmxmode=0666,mode=0620,gid=5";

/// Makes it at a folder, from where it can be moved to a container's /dev.
pub fn make(base: &Path) -> Result<(), StartFailure> {
    let at = StartFailure::at("making /dev");
    let mounted = |kind: &str, name: &str, flags, options: &str| {
        mount::mount(kind, &base.join(name), kind, flags, options).map_err(&at)
    };
    let flags = libc::MS_NOSUID | libc::MS_STRICTATIME;
    mount::mount("tmpfs", base, "tmpfs", flags, "mode=755,size=65536k").map_err(&at)?;
    crate::sys::process::set_umask(0);
    for (name, major, minor) in NODES {
        mount::make_device(&base.join(name), major, minor, 0o666).map_err(&at)?;
    }
    for (target, name) in LINKS {
        symlink(target, base.join(name)).map_err(&at)?;
    }
    for folder in ["pts", "mqueue", "shm"] {
        fs::DirBuilder::new().mode(0o755).create(base.join(folder)).map_err(&at)?;
    }
    crate::sys::process::set_umask(0o022);
    mounted("devpts", "pts", PLAIN, PTS_OPTIONS)?;
    mounted("mqueue", "mqueue", PLAIN | libc::MS_NODEV, "")?;
    mounted("tmpfs", "shm", PLAIN | libc::MS_NODEV, "mode=1777,size=65536k")
}
