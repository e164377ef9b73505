//! Control groups, version 1: one hierarchy for each controller (or a few together). A controller
//! that isn't mounted is done without; `preflight` has said so by then.

use super::{
    CONTAINERS_GROUP, CPU_PERIOD_MICROSECONDS, CPU_SHARES_MAX, CPU_SHARES_MIN, OWN_GROUP,
    OWN_SHARES_PER_CORE, PARENT_SHARES_PER_CORE, cores, cpu_quota_microseconds, make_dir,
    mebibytes, read_keyed, read_number, write,
};
use crate::spec::{ContainerLaunch, SandboxSpec};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What a container may open and make, in the kernel's notation (as Docker allows): any node may be
/// made, but only the harmless ones opened.
const DEVICES: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

pub struct V1 {
    /// The parent group in the hierarchy of each controller. Controllers that are mounted together
    /// have equal paths.
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    devices: Option<PathBuf>,
}

impl V1 {
    pub fn new(parent: &str, mounted: &[(String, PathBuf)]) -> Self {
        let of = |controller: &str| {
            let has =
                |(options, _): &&(String, PathBuf)| options.split(',').any(|o| o == controller);
            mounted.iter().find(has).map(|(_, folder)| folder.join(parent))
        };
        Self {
            cpu: of("cpu"),
            cpuacct: of("cpuacct"),
            memory: of("memory"),
            pids: of("pids"),
            devices: of("devices"),
        }
    }

    /// Hierarchies with groups for each task, each once.
    fn counted(&self) -> impl Iterator<Item = &PathBuf> {
        let cpuacct = self.cpuacct.as_ref().filter(|c| Some(*c) != self.cpu.as_ref());
        self.cpu.iter().chain(cpuacct).chain(&self.memory).chain(&self.pids)
    }

    pub fn roots(&self) -> Vec<PathBuf> {
        self.counted().chain(&self.devices).cloned().collect()
    }

    pub fn prepare(&self) -> io::Result<()> {
        for root in self.roots() {
            make_dir(&root)?;
            make_dir(&root.join(OWN_GROUP))?;
        }
        if let Some(devices) = &self.devices {
            // The rules go on a group of the containers' own: the supervisor must stay able to do
            // more.
            let containers = devices.join(CONTAINERS_GROUP);
            make_dir(&containers)?;
            write(&containers, "devices.deny", "a")?;
            for rule in DEVICES {
                write(&containers, "devices.allow", rule)?;
            }
        }
        if let Some(cpu) = &self.cpu {
            let shares = |each: u32| each.saturating_mul(cores()).min(CPU_SHARES_MAX);
            write(cpu, "cpu.shares", shares(PARENT_SHARES_PER_CORE))?;
            write(&cpu.join(OWN_GROUP), "cpu.shares", shares(OWN_SHARES_PER_CORE))?;
        }
        for root in self.roots() {
            // See `Cgroups::doors` for why it is not cgroup.procs.
            write(&root.join(OWN_GROUP), "tasks", 0)?;
        }
        Ok(())
    }

    pub fn make_task(&self, spec: &SandboxSpec) -> io::Result<()> {
        let task = spec.task.as_str();
        for root in self.counted() {
            make_dir(&root.join(task))?;
        }
        if let (Some(cpu), Some(units)) = (&self.cpu, spec.cpu_units) {
            let dir = cpu.join(task);
            write(&dir, "cpu.cfs_period_us", CPU_PERIOD_MICROSECONDS)?;
            write(&dir, "cpu.cfs_quota_us", cpu_quota_microseconds(units))?;
            write(&dir, "cpu.shares", units.max(CPU_SHARES_MIN))?;
        }
        if let (Some(memory), Some(mib)) = (&self.memory, spec.memory_mib) {
            limit_memory(&memory.join(task), mib)?;
        }
        if let Some(pids) = &self.pids {
            write(&pids.join(task), "pids.max", spec.pids_max)?;
        }
        Ok(())
    }

    pub fn make_container(&self, task: &str, launch: &ContainerLaunch) -> io::Result<()> {
        // Processes are bounded for the task as a whole, so containers need no group for that.
        let pids = self.pids.as_ref();
        for root in self.counted().filter(|root| Some(*root) != pids) {
            make_dir(&root.join(task).join(&launch.name))?;
        }
        if let Some(cpu) = &self.cpu {
            let shares = launch.cpu_units.unwrap_or(0).max(CPU_SHARES_MIN);
            write(&cpu.join(task).join(&launch.name), "cpu.shares", shares)?;
        }
        if let Some(memory) = &self.memory {
            let dir = memory.join(task).join(&launch.name);
            if let Some(mib) = launch.memory_mib {
                limit_memory(&dir, mib)?;
            }
            if let Some(mib) = launch.memory_reservation_mib {
                write(&dir, "memory.soft_limit_in_bytes", mebibytes(mib))?;
            }
        }
        Ok(())
    }

    pub fn doors(&self, task: &str, container: &str) -> io::Result<Vec<OwnedFd>> {
        let pids = self.pids.as_ref();
        let counted = self.counted().map(|root| {
            let dir = root.join(task);
            if Some(root) == pids { dir } else { dir.join(container) }
        });
        let devices = self.devices.as_ref().map(|devices| devices.join(CONTAINERS_GROUP));
        let open = |dir: PathBuf| {
            let path = dir.join("tasks");
            let door = fs::OpenOptions::new().write(true).open(&path);
            let failed =
                |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
            door.map(OwnedFd::from).map_err(failed)
        };
        counted.chain(devices).map(open).collect()
    }

    pub fn views(&self) -> Vec<(String, String)> {
        let all = [
            ("cpu", &self.cpu),
            ("cpuacct", &self.cpuacct),
            ("memory", &self.memory),
            ("pids", &self.pids),
        ];
        let together = self.cpu.is_some() && self.cpu == self.cpuacct;
        let mut views = Vec::new();
        for (name, root) in all {
            if root.is_none() || (together && name == "cpuacct") {
                continue;
            }
            let options = if together && name == "cpu" { "cpu,cpuacct" } else { name };
            views.push((options.to_owned(), options.to_owned()));
        }
        views
    }

    pub fn missing_controllers(&self) -> Vec<&'static str> {
        let all = [
            ("cpu", &self.cpu),
            ("cpuacct", &self.cpuacct),
            ("memory", &self.memory),
            ("pids", &self.pids),
        ];
        all.into_iter().filter(|(_, root)| root.is_none()).map(|(name, _)| name).collect()
    }

    pub fn filters_devices(&self) -> bool {
        self.devices.is_some()
    }

    pub fn out_of_memory_kills(&self, task: &str, container: &str) -> u64 {
        let Some(memory) = &self.memory else { return 0 };
        read_keyed(&memory.join(task).join(container), "memory.oom_control", "oom_kill")
    }

    pub fn cpu_nanoseconds(&self, task: &str, container: Option<&str>) -> u64 {
        self.number(self.cpuacct.as_deref(), task, container, "cpuacct.usage")
    }

    pub fn memory_bytes(&self, task: &str, container: Option<&str>) -> u64 {
        self.number(self.memory.as_deref(), task, container, "memory.usage_in_bytes")
    }

    pub fn pids(&self, task: &str) -> u64 {
        self.number(self.pids.as_deref(), task, None, "pids.current")
    }

    /// The groups of a container, or of the task, that count CPU time, hold its CPU ceiling, and
    /// count memory.
    pub fn accounts(&self, task: &str, container: Option<&str>) -> super::usage::Accounts {
        let of = |root: &Option<PathBuf>, container: Option<&str>| {
            root.as_ref().map(|root| root.join(task).join(container.unwrap_or("")))
        };
        super::usage::Accounts {
            version: super::usage::Version::V1,
            cpu: of(&self.cpuacct, container),
            ceiling: of(&self.cpu, None),
            memory: of(&self.memory, container),
        }
    }

    fn number(&self, root: Option<&Path>, task: &str, container: Option<&str>, file: &str) -> u64 {
        let Some(root) = root else { return 0 };
        read_number(&root.join(task).join(container.unwrap_or("")), file)
    }
}

/// A ceiling of memory; of swap too where the kernel counts it.
fn limit_memory(dir: &Path, mib: u64) -> io::Result<()> {
    write(dir, "memory.limit_in_bytes", mebibytes(mib))?;
    match write(dir, "memory.memsw.limit_in_bytes", mebibytes(mib)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
