//! Control groups, version 2: one hierarchy; containers are born in their group
//! (CLONE_INTO_CGROUP).

use super::{
    CPU_PERIOD_MICROSECONDS, CPU_SHARES_MAX, CPU_SHARES_MIN, CPU_UNITS_PER_CORE, OWN_GROUP,
    OWN_SHARES_PER_CORE, PARENT_SHARES_PER_CORE, cores, cpu_quota_microseconds, make_dir,
    mebibytes, read_keyed, read_number, write,
};
use crate::spec::{ContainerLaunch, SandboxSpec};
use crate::sys;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Controllers that limits need; one that the kernel lacks here is done without.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

const WEIGHT_DEFAULT: u64 = 100;
const WEIGHT_MAX: u64 = 10_000;

pub struct V2 {
    root: PathBuf,
    parent: PathBuf,
    controllers: Vec<&'static str>,
    /// None: the kernel takes none from us.
    device_filter: Option<OwnedFd>,
}

impl V2 {
    pub fn new(parent: &str, root: PathBuf) -> Self {
        let text = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let has = |c: &&str| text.split_whitespace().any(|have| have == *c);
        let controllers = CONTROLLERS.into_iter().filter(has).collect();
        let parent = root.join(parent);
        let device_filter = sys::bpf::device_filter().ok();
        Self { root, parent, controllers, device_filter }
    }

    /// The folder that tasks are under.
    pub fn parent(&self) -> PathBuf {
        self.parent.clone()
    }

    pub fn prepare(&self) -> io::Result<()> {
        make_dir(&self.parent)?;
        make_dir(&self.parent.join(OWN_GROUP))?;
        write(&self.parent.join(OWN_GROUP), "cgroup.procs", std::process::id())?;
        self.delegate(&self.root)?;
        self.delegate(&self.parent)?;
        if self.has("cpu") {
            let own = self.parent.join(OWN_GROUP);
            write(&self.parent, "cpu.weight", share_of_machine(PARENT_SHARES_PER_CORE))?;
            write(&own, "cpu.weight", share_of_machine(OWN_SHARES_PER_CORE))?;
        }
        Ok(())
    }

    /// For all containers of a task at once. Not for all tasks: our own processes, which are under
    /// the same parent, need disks.
    fn restrict_devices(&self, task: &Path) -> io::Result<()> {
        let Some(filter) = &self.device_filter else { return Ok(()) };
        sys::bpf::filter_devices(fs::File::open(task)?.as_fd(), filter.as_fd())
    }

    /// Lets groups below `dir` have the controllers.
    fn delegate(&self, dir: &Path) -> io::Result<()> {
        for controller in &self.controllers {
            write(dir, "cgroup.subtree_control", format!("+{controller}"))?;
        }
        Ok(())
    }

    fn task(&self, task: &str) -> PathBuf {
        self.parent.join(task)
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    pub fn make_task(&self, spec: &SandboxSpec) -> io::Result<()> {
        let dir = self.task(spec.task.as_str());
        make_dir(&dir)?;
        self.restrict_devices(&dir)?;
        self.delegate(&dir)?;
        if let (true, Some(units)) = (self.has("cpu"), spec.cpu_units) {
            let quota = cpu_quota_microseconds(units);
            write(&dir, "cpu.max", format!("{quota} {CPU_PERIOD_MICROSECONDS}"))?;
            write(&dir, "cpu.weight", weight(units))?;
        }
        if let (true, Some(mib)) = (self.has("memory"), spec.memory_mib) {
            limit_memory(&dir, mib)?;
        }
        if self.has("pids") {
            write(&dir, "pids.max", spec.pids_max)?;
        }
        Ok(())
    }

    pub fn make_container(&self, task: &str, launch: &ContainerLaunch) -> io::Result<()> {
        let dir = self.task(task).join(&launch.name);
        make_dir(&dir)?;
        if self.has("cpu") {
            write(&dir, "cpu.weight", weight(launch.cpu_units.unwrap_or(0)))?;
        }
        if let (true, Some(mib)) = (self.has("memory"), launch.memory_mib) {
            limit_memory(&dir, mib)?;
        }
        if let (true, Some(mib)) = (self.has("memory"), launch.memory_reservation_mib) {
            write(&dir, "memory.low", mebibytes(mib))?;
        }
        Ok(())
    }

    pub fn open_container(&self, task: &str, container: &str) -> io::Result<OwnedFd> {
        Ok(fs::File::open(self.task(task).join(container))?.into())
    }

    pub fn missing_controllers(&self) -> Vec<&'static str> {
        CONTROLLERS.into_iter().filter(|c| !self.has(c)).collect()
    }

    pub fn filters_devices(&self) -> bool {
        self.device_filter.is_some()
    }

    pub fn out_of_memory_kills(&self, task: &str, container: &str) -> u64 {
        read_keyed(&self.task(task).join(container), "memory.events", "oom_kill")
    }

    pub fn cpu_nanoseconds(&self, task: &str, container: Option<&str>) -> u64 {
        let dir = self.task(task).join(container.unwrap_or(""));
        read_keyed(&dir, "cpu.stat", "usage_usec") * 1000
    }

    pub fn memory_bytes(&self, task: &str, container: Option<&str>) -> u64 {
        read_number(&self.task(task).join(container.unwrap_or("")), "memory.current")
    }

    /// The group of a container, or of the task; the ceiling of CPU is the task's.
    pub fn accounts(&self, task: &str, container: Option<&str>) -> super::usage::Accounts {
        let dir = self.task(task).join(container.unwrap_or(""));
        super::usage::Accounts {
            version: super::usage::Version::V2,
            cpu: Some(dir.clone()),
            ceiling: Some(self.task(task)),
            memory: Some(dir),
        }
    }

    pub fn pids(&self, task: &str) -> u64 {
        read_number(&self.task(task), "pids.current")
    }
}

fn limit_memory(dir: &Path, mib: u64) -> io::Result<()> {
    write(dir, "memory.max", mebibytes(mib))?;
    match write(dir, "memory.swap.max", 0) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Version 2's weight for version 1's shares, by the formula the container runtimes share.
fn weight(shares: u32) -> u64 {
    let shares = u64::from(shares.clamp(CPU_SHARES_MIN, CPU_SHARES_MAX));
    1 + (shares - 2) * 9999 / 262_142
}

/// The weight of a group among those of other programs, which have 100 where version 1 has 1024.
fn share_of_machine(shares_per_core: u32) -> u64 {
    let shares = u64::from(shares_per_core) * u64::from(cores());
    (shares * WEIGHT_DEFAULT / CPU_UNITS_PER_CORE).min(WEIGHT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{self, Fork};
    use std::path::Path;

    /// Removes the group whatever happens.
    struct Guard(PathBuf);

    impl Drop for Guard {
        fn drop(&mut self) {
            super::super::remove_tree(&self.0).expect("the group can be removed");
        }
    }

    /// Runs on the cgroup2 hierarchy of any machine, also where controllers are with version 1.
    #[test]
    fn processes_are_born_in_their_group_and_open_only_harmless_devices() {
        let (_, root) =
            super::super::mounted(&fs::read_to_string("/proc/self/mountinfo").expect("mounts"));
        let root = root.expect("this test needs a mounted cgroup2");
        let name = format!("neargate-v2-{}", std::process::id());
        let v2 = V2::new(&name, root);
        let _guard = Guard(v2.parent());
        make_dir(&v2.parent()).expect("made");
        v2.delegate(&v2.root).expect("the machine's controllers");
        v2.delegate(&v2.parent()).expect("ours");
        assert!(v2.filters_devices());
        let spec = SandboxSpec::new(crate::spec::TaskId::from("task"));
        v2.make_task(&spec).expect("a task's group");
        v2.make_task(&spec).expect("restricting again replaces");
        let launch = ContainerLaunch::new("main", Vec::new(), &["true"]);
        v2.make_container("task", &launch).expect("a container's group");
        let birthplace = v2.open_container("task", "main").expect("opened");
        let pids = |dir: &Path| fs::read_to_string(dir.join("cgroup.procs")).expect("read");
        let (gate, wait) = crate::sys::socket::message_pair().expect("sockets");
        let child = match process::clone(0, Some(birthplace.as_fd())).expect("born") {
            Fork::Parent(child) => child,
            Fork::Child => {
                drop(gate);
                // Waits until the parent has looked.
                let _ = crate::sys::socket::read(wait.as_fd(), &mut [0]);
                let harmless = fs::File::open("/dev/null").is_ok();
                let disk = fs::File::open("/dev/kmsg").err().and_then(|e| e.raw_os_error());
                process::exit(if harmless && disk == Some(libc::EPERM) { 0 } else { 1 });
            }
        };
        assert_eq!(pids(&v2.task("task").join("main")).trim(), child.pid.to_string());
        drop((gate, wait));
        let ended = process::wait_pidfd(child.pidfd.as_fd(), true).expect("waited");
        assert_eq!(ended.map(|e| e.code), Some(0));
    }

    #[test]
    fn shares_become_weights_within_the_kernels_range() {
        assert_eq!(weight(0), 1);
        assert_eq!(weight(1024), 39);
        assert_eq!(weight(u32::MAX), 10_000);
    }
}
