//! Limits and accounting by control groups, version 1 and 2 behind one type. The hierarchy is the
//! same in both: /<parent>/<task>/<container>, with /<parent>/supervisor for our own processes. The
//! task's group holds ceilings that no container gets past; a container's group holds its share of
//! them and counts what it uses. Devices are the same for every container, so their rules are set
//! once on the parent.

mod usage;
mod v1;
mod v2;

use crate::spec::{ContainerLaunch, SandboxSpec};
use crate::sys;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use v1::V1;
pub use v2::V2;

/// Microseconds over which a CPU ceiling is counted.
const CPU_PERIOD_MICROSECONDS: u64 = 100_000;
/// The kernel takes no smaller ceiling.
const CPU_QUOTA_MICROSECONDS_MIN: u64 = 1_000;
const CPU_UNITS_PER_CORE: u64 = 1024;
/// The kernel's smallest weight, which ECS gives to containers without CPU units.
const CPU_SHARES_MIN: u32 = 2;
/// And its largest.
const CPU_SHARES_MAX: u32 = 262_144;
/// How long emptied groups may take to become removable.
const REMOVE_PATIENCE: Duration = Duration::from_millis(2_000);
/// The weight of our own processes against tasks, for each core: less than it, and a launch waits
/// for tasks that compute.
const OWN_SHARES_PER_CORE: u32 = 1024;
/// The weight of all tasks and our own processes together against the rest of the machine, for
/// each core. The kernel's default is that of one process, however many tasks there are; more than
/// this, and tasks that compute would keep the control plane waiting on the machine they share.
const PARENT_SHARES_PER_CORE: u32 = 2 * 1024;
/// The group of zygote and supervisors.
const OWN_GROUP: &str = "supervisor";
/// The group of all containers in version 1's hierarchy of devices, where they all have the same
/// rules.
const CONTAINERS_GROUP: &str = "containers";

/// The control groups of this machine, as they are mounted.
pub enum Cgroups {
    V1(V1),
    V2(V2),
}

impl Cgroups {
    /// Finds what is mounted; `parent` is the name all of our groups are under.
    pub fn detect(parent: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let (v1, v2) = mounted(&mounts);
        if v1.iter().any(|(controllers, _)| controllers.split(',').any(|c| c == "memory")) {
            return Ok(Self::V1(V1::new(parent, &v1)));
        }
        match v2 {
            Some(root) => Ok(Self::V2(V2::new(parent, root))),
            None => Err(io::Error::other("no control groups are mounted under /sys/fs/cgroup")),
        }
    }

    /// Makes the parent group and puts this process into our own group below it.
    pub fn prepare(&self) -> io::Result<()> {
        match self {
            Self::V1(v1) => v1.prepare(),
            Self::V2(v2) => v2.prepare(),
        }
    }

    pub fn make_task(&self, spec: &SandboxSpec) -> io::Result<()> {
        match self {
            Self::V1(v1) => v1.make_task(spec),
            Self::V2(v2) => v2.make_task(spec),
        }
    }

    pub fn make_container(&self, task: &str, launch: &ContainerLaunch) -> io::Result<()> {
        match self {
            Self::V1(v1) => v1.make_container(task, launch),
            Self::V2(v2) => v2.make_container(task, launch),
        }
    }

    /// The group a container's first process can be born in; None: it is attached afterwards.
    pub fn birthplace(&self, task: &str, container: &str) -> io::Result<Option<OwnedFd>> {
        match self {
            Self::V1(_) => Ok(None),
            Self::V2(v2) => v2.open_container(task, container).map(Some),
        }
    }

    /// Files that a process writes `0` to, to put itself into a container's group; none where it
    /// was born in it. Moving itself, and only itself, needs no lock that all of the machine's
    /// forks share (in version 1 by the file `tasks`); moving another process waits for that lock's
    /// grace period, tens of milliseconds.
    pub fn doors(&self, task: &str, container: &str) -> io::Result<Vec<OwnedFd>> {
        match self {
            Self::V1(v1) => v1.doors(task, container),
            Self::V2(_) => Ok(Vec::new()),
        }
    }

    /// What a container sees under /sys/fs/cgroup: None: one cgroup2 file system; else the folders
    /// to mount, by controller, each with mount options.
    pub fn views(&self) -> Option<Vec<(String, String)>> {
        match self {
            Self::V1(v1) => Some(v1.views()),
            Self::V2(_) => None,
        }
    }

    /// Controllers that limits need and this machine doesn't give.
    pub fn missing_controllers(&self) -> Vec<&'static str> {
        match self {
            Self::V1(v1) => v1.missing_controllers(),
            Self::V2(v2) => v2.missing_controllers(),
        }
    }

    /// Whether the kernel keeps containers from devices that are not theirs. If not, they must not
    /// be able to make device nodes.
    pub fn filters_devices(&self) -> bool {
        match self {
            Self::V1(v1) => v1.filters_devices(),
            Self::V2(v2) => v2.filters_devices(),
        }
    }

    /// How many processes of the container the kernel killed for want of memory.
    pub fn out_of_memory_kills(&self, task: &str, container: &str) -> u64 {
        match self {
            Self::V1(v1) => v1.out_of_memory_kills(task, container),
            Self::V2(v2) => v2.out_of_memory_kills(task, container),
        }
    }

    fn cpu_nanoseconds(&self, task: &str, container: Option<&str>) -> u64 {
        match self {
            Self::V1(v1) => v1.cpu_nanoseconds(task, container),
            Self::V2(v2) => v2.cpu_nanoseconds(task, container),
        }
    }

    fn memory_bytes(&self, task: &str, container: Option<&str>) -> u64 {
        match self {
            Self::V1(v1) => v1.memory_bytes(task, container),
            Self::V2(v2) => v2.memory_bytes(task, container),
        }
    }

    fn pids(&self, task: &str) -> u64 {
        match self {
            Self::V1(v1) => v1.pids(task),
            Self::V2(v2) => v2.pids(task),
        }
    }

    pub fn remove_container(&self, task: &str, container: &str) -> io::Result<()> {
        for root in self.roots() {
            remove_tree(&root.join(task).join(container))?;
        }
        Ok(())
    }

    /// Kills every process in the task's groups.
    pub fn kill_task(&self, task: &str) -> io::Result<()> {
        self.roots().iter().try_for_each(|root| kill_all(&root.join(task)))
    }

    /// Kills whatever is left in the task's groups, and removes them.
    pub fn remove_task(&self, task: &str) -> io::Result<()> {
        for root in self.roots() {
            let dir = root.join(task);
            kill_all(&dir)?;
            remove_tree(&dir)?;
        }
        Ok(())
    }

    /// Names of tasks that have groups.
    pub fn tasks(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for root in self.roots() {
            for entry in fs::read_dir(root).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.path().is_dir() && name != OWN_GROUP && name != CONTAINERS_GROUP {
                    names.push(name);
                }
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// Removes the parent group with all below it; what is in it must have ended.
    pub fn remove_all(&self) -> io::Result<()> {
        for root in self.roots() {
            remove_tree(&root)?;
        }
        Ok(())
    }

    /// The folders of the parent group, one for each hierarchy.
    pub fn roots(&self) -> Vec<PathBuf> {
        match self {
            Self::V1(v1) => v1.roots(),
            Self::V2(v2) => vec![v2.parent()],
        }
    }
}

/// Where hierarchies are mounted.
pub fn hierarchies() -> Vec<PathBuf> {
    let (v1, v2) = mounted(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    v1.into_iter().map(|(_, folder)| folder).chain(v2).collect()
}

/// Mounted hierarchies of /proc/self/mountinfo: version 1 (controllers, folder), version 2.
fn mounted(mountinfo: &str) -> (Vec<(String, PathBuf)>, Option<PathBuf>) {
    let (mut v1, mut v2) = (Vec::new(), None);
    for line in mountinfo.lines() {
        let Some((head, tail)) = line.split_once(" - ") else { continue };
        let Some(folder) = head.split(' ').nth(4) else { continue };
        let mut tail = tail.split(' ');
        match (tail.next(), tail.nth(1)) {
            (Some("cgroup"), Some(options)) => v1.push((options.to_owned(), folder.into())),
            (Some("cgroup2"), _) if v2.is_none() => v2 = Some(folder.into()),
            _ => {}
        }
    }
    (v1, v2)
}

/// Microseconds in each period for a ceiling in CPU units.
fn cpu_quota_microseconds(units: u32) -> u64 {
    let quota = u64::from(units) * CPU_PERIOD_MICROSECONDS / CPU_UNITS_PER_CORE;
    quota.max(CPU_QUOTA_MICROSECONDS_MIN)
}

fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

fn mebibytes(mib: u64) -> u64 {
    mib.saturating_mul(1 << 20)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", dir.display()))),
    }
}

fn write(dir: &Path, file: &str, value: impl Display) -> io::Result<()> {
    let path = dir.join(file);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut f| io::Write::write_all(&mut f, value.to_string().as_bytes()))
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

fn read_number(dir: &Path, file: &str) -> u64 {
    fs::read_to_string(dir.join(file)).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
}

/// The number after `key` in a file of `key value` lines; 0 when it isn't there.
fn read_keyed(dir: &Path, file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

/// Removes a group and the groups below it. The kernel may need a moment after the last process
/// ended.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    let give_up = Instant::now() + REMOVE_PATIENCE;
    loop {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_micros(200));
            }
            other => return other,
        }
    }
}

/// Sends SIGKILL to every process in a group and below until there is none.
fn kill_all(dir: &Path) -> io::Result<()> {
    let give_up = Instant::now() + REMOVE_PATIENCE;
    loop {
        let pids = processes(dir);
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() > give_up {
            let text = format!("{} still has processes {pids:?} after SIGKILL", dir.display());
            return Err(io::Error::other(text));
        }
        for pid in pids {
            // It may have ended since it was read, and that is what we want.
            let _ = sys::process::kill(pid, libc::SIGKILL);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Processes in a group and below.
pub fn processes(dir: &Path) -> Vec<u32> {
    let own = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<u32> = own.lines().filter_map(|l| l.parse().ok()).collect();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            pids.extend(processes(&entry.path()));
        }
    }
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_in_mountinfo() {
        let text = "\
31 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 25 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
33 25 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
34 25 0:29 / /proc rw - proc proc rw\n";
        let (v1, v2) = mounted(text);
        assert_eq!(v1.len(), 2);
        assert_eq!(v1[0].0, "rw,cpu,cpuacct");
        assert_eq!(v1[1].1, PathBuf::from("/sys/fs/cgroup/memory"));
        assert_eq!(v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn cpu_units_become_a_share_of_each_period() {
        assert_eq!(cpu_quota_microseconds(256), 25_000);
        assert_eq!(cpu_quota_microseconds(4096), 400_000);
        assert_eq!(cpu_quota_microseconds(1), CPU_QUOTA_MICROSECONDS_MIN);
    }
}
