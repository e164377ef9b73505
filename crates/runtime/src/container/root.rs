//! A container's root file system: the image's layers with a writable one on top, entered for good
//! before anything else of the image is touched; then /proc, /dev and /sys, made beforehand, the
//! task's own files and its volumes, each path resolved inside the new root and never through
//! /proc's magic links.

use super::{Nursery, Order, StartFailure, devices, program};
use crate::limits::MOUNT_OPTIONS_BYTES_MAX;
use crate::sys::mount::{self, Follow};
use crate::sys::process;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// A folder of the task that appears in a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VolumeMount {
    pub source: PathBuf,
    /// Absolute, inside the container.
    pub path: String,
    pub read_only: bool,
}

/// What Docker hides: files show as empty, folders as empty.
const MASKED: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];
/// What Docker shows but protects.
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// The task's own files in each container: names of hosts, of servers that know names, and its own.
pub const FILES: [&str; 3] = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];

const LOCKED: u64 = mount::RDONLY | mount::NOSUID | mount::NODEV | mount::NOEXEC;
const PLAIN: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

/// What is the same in every root, detached from everything until it is put there.
pub struct Stage {
    trees: [(&'static str, OwnedFd); 3],
}

/// Makes /proc, /dev and /sys, for which nothing of the task or its image need be known. They are
/// put together in the folders of the layer below all images, where only this mount namespace sees
/// them.
pub fn stage(base: &Path) -> Result<Stage, StartFailure> {
    let at = StartFailure::at;
    // Nothing of ours gets out, and what this machine unmounts is not held on to while we wait.
    let slave = libc::MS_REC | libc::MS_SLAVE;
    mount::mount_flags(None, Path::new("/"), slave).map_err(at("making mounts our own"))?;
    mount::mount("proc", &base.join("proc"), "proc", PLAIN, "").map_err(at("mounting /proc"))?;
    devices::make(&base.join("dev"))?;
    let flags = PLAIN | libc::MS_RDONLY;
    mount::mount("sysfs", &base.join("sys"), "sysfs", flags, "").map_err(at("mounting /sys"))?;
    protect(base).map_err(at("protecting /proc and /sys"))?;
    let tree = |name: &str| {
        mount::clone_trees(&base.join(name)).map_err(at("keeping what is the same in every root"))
    };
    let trees = [("/proc", tree("proc")?), ("/dev", tree("dev")?), ("/sys", tree("sys")?)];
    Ok(Stage { trees })
}

/// Everything that needs neither cgroups nor network.
pub fn enter(nursery: &Nursery<'_>, plan: &Order, stage: &Stage) -> Result<(), StartFailure> {
    let at = StartFailure::at;
    let mut volumes = Vec::with_capacity(plan.volumes.len());
    for volume in &plan.volumes {
        let tree = mount::clone_tree(&volume.source);
        volumes.push((tree.map_err(at("opening a volume"))?, volume));
    }
    mount_overlay(nursery.mount_points, plan)?;
    std::env::set_current_dir(&plan.folder).map_err(at("entering the root file system"))?;
    mount::pivot_root_here().map_err(at("pivot_root"))?;

    let root = OwnedFd::from(File::open("/").map_err(at("opening /"))?);
    for (path, tree) in &stage.trees {
        mount_point(path)?;
        let name = Path::new(&path[1..]);
        let target = mount::open_below(root.as_fd(), name, libc::O_PATH, Follow::NoLinks);
        let attached = target.and_then(|target| mount::attach_tree(tree.as_fd(), target.as_fd()));
        attached.map_err(at("mounting /proc, /dev and /sys"))?;
    }
    for (path, text) in &plan.files {
        let failed = |e| StartFailure::new(format!("mounting {path}: {e}"));
        place_file(root.as_fd(), path, text).map_err(failed)?;
    }
    // A mount inside another one must come after it.
    volumes.sort_by_key(|(_, volume)| volume.path.matches('/').count());
    for (tree, volume) in volumes {
        let failed = |e: io::Error| {
            StartFailure::new(format!(
                "mounting a volume at {}: {}",
                volume.path,
                program::plain(&e)
            ))
        };
        place_volume(root.as_fd(), &tree, volume).map_err(failed)?;
    }
    Ok(())
}

/// What must wait until the process is in its control groups.
pub fn finish(nursery: &Nursery<'_>, plan: &Order) -> Result<(), StartFailure> {
    let at = StartFailure::at("mounting /sys/fs/cgroup");
    if !nursery.born_in_cgroup {
        process::unshare(libc::CLONE_NEWCGROUP).map_err(&at)?;
    }
    let base = Path::new("/sys/fs/cgroup");
    let flags = PLAIN | libc::MS_RDONLY;
    match &nursery.cgroup_views {
        None => mount::mount("cgroup2", base, "cgroup2", flags, "").map_err(&at)?,
        Some(views) => {
            mount::mount("tmpfs", base, "tmpfs", PLAIN, "mode=755,size=4k").map_err(&at)?;
            for (name, options) in views {
                let folder = base.join(name);
                fs::create_dir(&folder).map_err(&at)?;
                mount::mount("cgroup", &folder, "cgroup", flags, options).map_err(&at)?;
            }
            let opened = File::open(base).map_err(&at)?;
            mount::set_attributes(opened.as_fd(), mount::RDONLY, false).map_err(&at)?;
        }
    }
    if plan.launch.rootfs.read_only {
        let at = StartFailure::at("making the root file system read-only");
        let root = File::open("/").map_err(&at)?;
        mount::set_attributes(root.as_fd(), mount::RDONLY, false).map_err(&at)?;
    }
    Ok(())
}

fn mount_overlay(mount_points: &Path, plan: &Order) -> Result<(), StartFailure> {
    let at = StartFailure::at("mounting the root file system");
    let name = &plan.launch.name;
    let upper = plan.folder.join(format!("upper.{name}"));
    let work = plan.folder.join(format!("work.{name}"));
    for folder in [&upper, &work] {
        match fs::create_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // An earlier run of this container left a mark that its writes were never synced;
                // they are all in the page cache of this very kernel, or the task would not be
                // here.
                let _ = fs::remove_dir_all(work.join("work/incompat"));
            }
            other => other.map_err(&at)?,
        }
    }
    // From the top down, and each layer once: the kernel refuses to have one twice.
    let mut lower: Vec<&Path> = Vec::new();
    for layer in plan.launch.rootfs.layers.iter().rev() {
        if !lower.contains(&layer.as_path()) {
            lower.push(layer);
        }
    }
    if lower.is_empty() {
        return Err(StartFailure::new("the image has no layers"));
    }
    lower.push(mount_points);
    let texts: Vec<String> = lower.iter().map(|l| escaped(l)).collect();
    let options = |lower: &[String]| {
        let (upper, work) = (escaped(&upper), escaped(&work));
        format!("lowerdir={},upperdir={upper},workdir={work},volatile", lower.join(":"))
    };
    let mut text = options(&texts);
    let mut held = Vec::new();
    if text.len() > MOUNT_OPTIONS_BYTES_MAX {
        // Many layers: their open folders have short names.
        std::env::set_current_dir("/proc/self/fd").map_err(&at)?;
        for layer in lower {
            held.push(File::open(layer).map_err(&at)?);
        }
        let names: Vec<String> = held.iter().map(|f| f.as_raw_fd().to_string()).collect();
        text = options(&names);
    }
    let flags = libc::MS_NODEV;
    mount::mount("overlay", &plan.folder, "overlay", flags, &text).map_err(&at)
}

/// A path as the kernel reads it in a list of folders.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, ':' | ',' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// A real folder at the top of the image; a link there could lead the masks astray.
fn mount_point(path: &str) -> Result<(), StartFailure> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(StartFailure::new(format!("{path} of the image is not a directory"))),
        Err(_) => fs::create_dir(path).map_err(StartFailure::at("making mount points")),
    }
}

fn protect(base: &Path) -> io::Result<()> {
    let root = OwnedFd::from(File::open(base)?);
    let open = |path: &str| match mount::open_below(
        root.as_fd(),
        Path::new(path),
        libc::O_PATH,
        Follow::NoLinks,
    ) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EACCES)) => Ok(None),
        other => other.map(Some),
    };
    let null = base.join("dev/null");
    let mut empty: Option<PathBuf> = None;
    for path in MASKED {
        let Some(target) = open(path)? else { continue };
        let folder = File::from(target.try_clone()?).metadata()?.is_dir();
        match &empty {
            _ if !folder => mount::attach_tree(mount::clone_tree(&null)?.as_fd(), target.as_fd())?,
            Some(empty) => {
                let tree = mount::clone_tree(empty)?;
                mount::attach_tree(tree.as_fd(), target.as_fd())?;
            }
            None => {
                let (flags, absolute) = (PLAIN | libc::MS_RDONLY, base.join(path));
                mount::mount("tmpfs", &absolute, "tmpfs", flags, "size=0k,mode=555")?;
                empty = Some(absolute);
            }
        }
    }
    for path in READ_ONLY {
        let Some(target) = open(path)? else { continue };
        let tree = mount::clone_tree_at(target.as_fd())?;
        mount::set_attributes(tree.as_fd(), LOCKED, false)?;
        mount::attach_tree(tree.as_fd(), target.as_fd())?;
    }
    Ok(())
}

/// Makes the layer below all images, with what every container has something mounted on. Making
/// that in each container's own layer would cost files that are never used.
pub fn make_mount_points(layer: &Path) -> io::Result<()> {
    for folder in ["proc", "sys", "dev", "etc"] {
        fs::create_dir_all(layer.join(folder))?;
    }
    for file in FILES {
        File::options().append(true).create(true).open(layer.join(&file[1..]))?;
    }
    Ok(())
}

/// Puts a file of ours over the image's, which is made if it isn't there. A link that leads
/// nowhere, as images have for /etc/resolv.conf, is replaced. The file is in the memory of /dev's
/// file system, where nothing sees it but through this mount.
fn place_file(root: BorrowedFd<'_>, path: &str, text: &str) -> io::Result<()> {
    let source = Path::new("/dev/placed");
    fs::write(source, text)?;
    let tree = mount::clone_tree(source)?;
    let path = Path::new(path);
    let target = match mount::open_below(root, path, libc::O_PATH, Follow::InRoot) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(e);
            };
            let parent = make_folders(root, parent)?;
            mount::replace_by_empty_file(parent.as_fd(), Path::new(name), 0o644)?
        }
        other => other?,
    };
    mount::attach_tree(tree.as_fd(), target.as_fd())?;
    fs::remove_file(source)
}

fn place_volume(root: BorrowedFd<'_>, tree: &OwnedFd, volume: &VolumeMount) -> io::Result<()> {
    let path = Path::new(&volume.path);
    if !path.is_absolute() || path.parent().is_none() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let target = make_folders(root, path)?;
    let here = format!("/proc/self/fd/{}", target.as_raw_fd());
    let there = format!("/proc/self/fd/{}", tree.as_raw_fd());
    copy_first_use(Path::new(&here), Path::new(&there))?;
    if volume.read_only {
        mount::set_attributes(tree.as_fd(), mount::RDONLY, true)?;
    }
    mount::attach_tree(tree.as_fd(), target.as_fd())
}

/// Opens a folder inside the root; what is missing of it is made.
pub fn make_folders(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let open = || mount::open_below(root, path, flags, Follow::InRoot);
    match open() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return open() };
    let parent = make_folders(root, parent)?;
    match mount::make_dir_at(parent.as_fd(), Path::new(name), 0o755) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => open(),
    }
}

/// A volume nobody has used yet starts with what the image has at its place, as with Docker.
fn copy_first_use(image: &Path, volume: &Path) -> io::Result<()> {
    // Paths ending in "/." name the folder itself and not the link in /proc.
    let (image, volume) = (image.join("."), volume.join("."));
    if fs::read_dir(&volume)?.next().is_some() {
        return Ok(());
    }
    let found = fs::metadata(&image)?;
    chown(&volume, Some(found.uid()), Some(found.gid()))?;
    fs::set_permissions(&volume, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    copy_folder(&image, &volume)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let found = fs::symlink_metadata(&source)?;
        let kind = found.file_type();
        if kind.is_dir() {
            fs::create_dir(&target)?;
            copy_folder(&source, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        } else {
            // Sockets, pipes and device nodes of an image are of no use in a volume.
            continue;
        }
        std::os::unix::fs::lchown(&target, Some(found.uid()), Some(found.gid()))?;
        if !kind.is_symlink() {
            fs::set_permissions(&target, fs::Permissions::from_mode(found.mode() & 0o7777))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_for_overlay() {
        assert_eq!(escaped(Path::new("/a/sha256:1,2\\3")), "/a/sha256\\:1\\,2\\\\3");
    }
}
