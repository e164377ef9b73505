//! One container as its supervisor knows it: from the launch over its process, output and health to
//! its end, and perhaps another launch.

use super::health::Health;
use super::spool::Spool;
use super::{Context, Supervisor, files, log_file};
use crate::container::{self, CODE_ENGINE, Nursery, Order, Probe, ProbePlan, Said, VolumeMount};
use crate::event::*;
use crate::limits::{CONTAINERS_PER_TASK_MAX, HEALTH_OUTPUT_BYTES_MAX, LOG_READ_BYTES};
use crate::spec::{ContainerLaunch, Timestamp};
use crate::spool::LogStream;
use crate::sys::process::{Cloned, Ended, Fork};
use crate::sys::{self, process, socket};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// What ECS puts before the engine's words.
const START_FAILURE: &str = "CannotStartContainerError: Error response from daemon: failed to \
    create task for container: failed to create shim task: OCI runtime create failed: unable to \
    start container process: ";

pub struct Container {
    launch: ContainerLaunch,
    volumes: Vec<VolumeMount>,
    capabilities: u64,
    phase: ObservedPhase,
    started_at: Option<Timestamp>,
    health_fact: Option<HealthFact>,
    health: Option<Health>,
    probe: Option<Running>,
    process: Option<Process>,
    spool: Spool,
}

struct Process {
    cloned: Cloned,
    /// Open until the program runs.
    control: Option<OwnedFd>,
    failed: Option<(String, i32)>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// A health check that is under way.
struct Running {
    probe: Probe,
    output: Vec<u8>,
    deadline: Instant,
}

/// A container's first process before it is any container's.
pub struct Child {
    cloned: Cloned,
    control: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Child {
    /// Makes one in the namespaces of this process and new ones of its own. `order` is asked for in
    /// the child.
    pub fn bear(
        context: &Context,
        birthplace: Option<BorrowedFd<'_>>,
        order: impl FnOnce() -> Option<Order>,
    ) -> io::Result<Self> {
        let (control, stdout, stderr) = (socket::message_pair()?, socket::pipe()?, socket::pipe()?);
        let born_in_cgroup = birthplace.is_some();
        let own = if born_in_cgroup { libc::CLONE_NEWCGROUP } else { 0 };
        let flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | own;
        let flags = u64::from(flags.cast_unsigned());
        match process::clone(flags, birthplace)? {
            Fork::Parent(cloned) => {
                Ok(Self { cloned, control: control.0, stdout: stdout.0, stderr: stderr.0 })
            }
            Fork::Child => {
                let nursery = Nursery {
                    mount_points: &context.mount_points,
                    cgroup_views: context.cgroups.views(),
                    default_filter: &context.default_filter,
                    born_in_cgroup,
                    control: control.1.as_fd(),
                    stdout: stdout.1.as_fd(),
                    stderr: stderr.1.as_fd(),
                };
                container::enter(&nursery, order())
            }
        }
    }

    /// Nobody needs it.
    pub fn end(self) -> io::Result<()> {
        process::pidfd_signal(self.cloned.pidfd.as_fd(), libc::SIGKILL)?;
        process::wait_pidfd(self.cloned.pidfd.as_fd(), true).map(drop)
    }

    fn into_process(self) -> Process {
        let Self { cloned, control, stdout, stderr } = self;
        let (control, stdout, stderr) = (Some(control), Some(stdout), Some(stderr));
        Process { cloned, control, failed: None, stdout, stderr }
    }
}

impl Container {
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    pub fn has_processes(&self) -> bool {
        self.process.is_some() || self.probe.is_some()
    }

    pub fn is_starting(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.control.is_some())
    }

    pub fn observed(&self) -> ObservedContainer {
        ObservedContainer {
            name: self.launch.name.clone(),
            attempt: self.launch.attempt,
            phase: self.phase.clone(),
            started_at: self.started_at,
            health: self.health_fact.clone(),
            log: self.spool.observed(),
        }
    }

    pub fn interests(&self) -> Vec<BorrowedFd<'_>> {
        let mut fds = Vec::with_capacity(4);
        if let Some(process) = &self.process {
            fds.push(process.cloned.pidfd.as_fd());
            fds.extend(process.control.as_ref().map(AsFd::as_fd));
            if self.spool.takes_more() {
                fds.extend(process.stdout.as_ref().map(AsFd::as_fd));
                fds.extend(process.stderr.as_ref().map(AsFd::as_fd));
            }
        }
        if let Some(running) = &self.probe {
            fds.push(running.probe.process.pidfd.as_fd());
        }
        fds
    }

    /// When something must be done even if nothing happens.
    pub fn due(&self) -> Option<Instant> {
        match (&self.probe, &self.health) {
            (Some(running), _) => Some(running.deadline),
            (None, Some(health)) if self.is_running() => Some(health.next()),
            _ => None,
        }
    }

    fn is_running(&self) -> bool {
        matches!(self.phase, ObservedPhase::Running { .. })
    }

    pub fn signal(&mut self, signal: i32) {
        if let Some(process) = &self.process {
            // It may just have ended, which the pidfd tells next.
            let _ = process::pidfd_signal(process.cloned.pidfd.as_fd(), signal);
        }
    }

    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        if let Some(running) = &self.probe {
            let _ = process::pidfd_signal(running.probe.process.pidfd.as_fd(), libc::SIGKILL);
        }
    }

    pub fn acknowledge(&mut self, offset: u64) {
        self.spool.acknowledge(offset);
    }

    pub fn should_tell_log(&mut self) -> bool {
        self.spool.should_tell()
    }

    pub fn forget_told(&mut self) {
        self.spool.forget_told();
    }

    /// Reads what the container printed. With `all`, until nothing is left. Returns warnings.
    fn read_output(&mut self, all: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        let Some(process) = &mut self.process else { return warnings };
        let mut buffer = [0; LOG_READ_BYTES];
        let streams =
            [(LogStream::Stdout, &mut process.stdout), (LogStream::Stderr, &mut process.stderr)];
        for (stream, slot) in streams {
            while all || self.spool.takes_more() {
                let Some(fd) = slot.as_ref() else { break };
                match socket::read(fd.as_fd(), &mut buffer) {
                    Ok(got) if got > 0 => {
                        warnings.extend(self.spool.take(stream, &buffer[..got], sys::now()));
                        if !all {
                            break;
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Ok(_) | Err(_) => *slot = None,
                }
            }
        }
        warnings
    }
}

impl Supervisor<'_> {
    /// Launches a container, once for each attempt.
    pub fn start(&mut self, launch: ContainerLaunch) {
        let known = self.containers.iter().position(|c| c.name() == launch.name);
        if known.is_some_and(|at| self.containers[at].launch.attempt >= launch.attempt) {
            return;
        }
        let (name, attempt) = (launch.name.clone(), launch.attempt);
        if let Err(e) = self.try_start(known, launch) {
            let reason = format!("{START_FAILURE}{e}");
            let (code, at) = (CODE_ENGINE, sys::now());
            let known = self.containers.iter_mut().find(|c| c.name() == name);
            if let Some(container) = known.filter(|c| c.launch.attempt == attempt) {
                container.phase = ObservedPhase::StartFailed { reason: reason.clone(), code, at };
            }
            self.event(EventKind::ContainerStartFailed { name, attempt, reason, code, at });
        }
    }

    fn try_start(&mut self, known: Option<usize>, launch: ContainerLaunch) -> io::Result<()> {
        self.admit(known, &launch)?;
        let at = match known {
            Some(at) => {
                let container = &mut self.containers[at];
                container.spool.set_spec(launch.log);
                container.launch = launch;
                container.phase = ObservedPhase::Starting;
                container.started_at = None;
                (container.health, container.health_fact) = (None, None);
                at
            }
            None => {
                let spool = Spool::create(&self.home.join(log_file(&launch.name)), launch.log)?;
                self.containers.push(Container {
                    launch,
                    volumes: Vec::new(),
                    capabilities: 0,
                    phase: ObservedPhase::Starting,
                    started_at: None,
                    health_fact: None,
                    health: None,
                    probe: None,
                    process: None,
                    spool,
                });
                self.containers.len() - 1
            }
        };
        let launch = &self.containers[at].launch;
        let capabilities =
            container::capabilities(&launch.capabilities_add, &launch.capabilities_drop)
                .map_err(io::Error::other)?;
        let capabilities = match self.context.cgroups.filters_devices() {
            true => capabilities,
            false => container::without_mknod(capabilities),
        };
        let volumes = self.volumes(&self.containers[at].launch)?;
        let container = &mut self.containers[at];
        (container.volumes, container.capabilities) = (volumes, capabilities);
        self.give_birth(at)?;
        if matches!(self.sandbox, ObservedSandbox::Ready { .. }) {
            self.release(at);
        }
        Ok(())
    }

    fn admit(&self, known: Option<usize>, launch: &ContainerLaunch) -> io::Result<()> {
        if self.removing {
            return Err(io::Error::other("the task is being removed"));
        }
        if let ObservedSandbox::Failed { reason, .. } = &self.sandbox {
            return Err(io::Error::other(reason.clone()));
        }
        if known.is_some_and(|at| self.containers[at].has_processes()) {
            return Err(io::Error::other("an earlier attempt of the container is still running"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = &launch.name;
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(io::Error::other(format!("invalid container name {name:?}")));
        }
        if known.is_none() && self.containers.len() >= CONTAINERS_PER_TASK_MAX {
            return Err(io::Error::other("too many containers in the task"));
        }
        Ok(())
    }

    /// The mounts of a container: its own, those of others, those its image declares.
    fn volumes(&self, launch: &ContainerLaunch) -> io::Result<Vec<VolumeMount>> {
        let mut volumes: Vec<VolumeMount> = Vec::new();
        for mount in &launch.mounts {
            if !self.spec.volumes.contains(&mount.volume) || mount.volume.contains('/') {
                return Err(io::Error::other(format!("volume {} not found", mount.volume)));
            }
            let source = self.writable().join(format!("volume.{}", mount.volume));
            let (path, read_only) = (mount.path.clone(), mount.read_only);
            volumes.push(VolumeMount { source, path, read_only });
        }
        for from in &launch.volumes_from {
            let other = self.containers.iter().find(|c| c.name() == from.container);
            let other = other.filter(|c| c.name() != launch.name).ok_or_else(|| {
                io::Error::other(format!("no volumes from unknown container {}", from.container))
            })?;
            for volume in &other.volumes {
                if volumes.iter().all(|v| v.path != volume.path) {
                    let read_only = volume.read_only || from.read_only;
                    volumes.push(VolumeMount { read_only, ..volume.clone() });
                }
            }
        }
        for (at, path) in launch.image_volumes.iter().enumerate() {
            if volumes.iter().all(|v| v.path != *path) {
                let source = self.writable().join(format!("declared.{}.{at}", launch.name));
                volumes.push(VolumeMount { source, path: path.clone(), read_only: false });
            }
        }
        for volume in &volumes {
            match fs::create_dir(&volume.source) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        Ok(volumes)
    }

    /// Makes the container's first process, which prepares itself and then waits for `release`.
    fn give_birth(&mut self, at: usize) -> io::Result<()> {
        if let Some(child) = self.unborn.take()
            && container::give_order(child.control.as_fd(), &self.order(at)).is_ok()
        {
            self.containers[at].process = Some(child.into_process());
            return Ok(());
        }
        let name = self.containers[at].launch.name.clone();
        let birthplace = match self.context.cgroups.views() {
            Some(_) => None,
            None => {
                self.make_task_cgroup()?;
                let cgroups = &self.context.cgroups;
                cgroups.make_container(self.spec.task.as_str(), &self.containers[at].launch)?;
                cgroups.birthplace(self.spec.task.as_str(), &name)?
            }
        };
        let birthplace = birthplace.as_ref().map(AsFd::as_fd);
        let child = Child::bear(self.context, birthplace, || Some(self.order(at)))?;
        self.containers[at].process = Some(child.into_process());
        Ok(())
    }

    fn order(&self, at: usize) -> Order {
        let container = &self.containers[at];
        Order {
            launch: container.launch.clone(),
            hostname: self.spec.hostname.clone(),
            folder: self.writable().to_owned(),
            files: files(&self.spec).map(|(path, text)| (path.to_owned(), text)).into(),
            volumes: container.volumes.clone(),
            capabilities: container.capabilities,
        }
    }

    /// Puts the container's first process into its control groups and lets it go.
    pub fn release(&mut self, at: usize) {
        let container = &self.containers[at];
        let Some(process) = &container.process else { return };
        let Some(control) = &process.control else { return };
        let cgroups = &self.context.cgroups;
        let (task, launch) = (self.spec.task.as_str(), &container.launch);
        let made = match cgroups.views() {
            None => Ok(()),
            Some(_) => cgroups.make_container(task, launch),
        };
        match made.and_then(|()| cgroups.doors(task, &launch.name)) {
            // A process that is gone already is noticed by its pidfd.
            Ok(doors) => drop(container::open_gate(control.as_fd(), &doors)),
            Err(e) => {
                let text = format!("control groups: {e}");
                if let Some(process) = &mut self.containers[at].process {
                    process.failed = Some((text, CODE_ENGINE));
                }
                self.containers[at].kill();
            }
        }
    }

    /// Something happened to a container: what its process said, what it printed, its end.
    pub fn look_at(&mut self, at: usize) {
        self.hear(at);
        for text in self.containers[at].read_output(false) {
            self.event(EventKind::Warning { text });
        }
        let Some(process) = &self.containers[at].process else {
            self.tell_logs();
            return self.look_at_probe(at);
        };
        let ended = process::wait_pidfd(process.cloned.pidfd.as_fd(), false);
        if let Ok(Some(ended)) = ended {
            self.bury(at, ended);
        }
        self.tell_logs();
        self.look_at_probe(at);
    }

    /// Reads the control socket of a process on its way to its program.
    fn hear(&mut self, at: usize) {
        let mut buffer = [0; 4096];
        loop {
            let container = &mut self.containers[at];
            let Some(process) = &mut container.process else { return };
            let Some(control) = &process.control else { return };
            let mut ready = [socket::interest(control.as_fd(), libc::POLLIN)];
            if !matches!(socket::poll(&mut ready, Some(0)), Ok(1)) {
                return;
            }
            let got = match socket::read(control.as_fd(), &mut buffer) {
                // It ended without having read our go; its last words come after this.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => continue,
                other => other.unwrap_or(0),
            };
            match Said::decode(&buffer[..got]) {
                Some(Said::Warning(text)) => {
                    let text = format!("container {}: {text}", container.name());
                    self.event(EventKind::Warning { text });
                }
                Some(Said::Failed { reason, code }) => process.failed = Some((reason, code)),
                None => {
                    process.control = None;
                    if process.failed.is_none() {
                        self.began(at);
                    }
                    return;
                }
            }
        }
    }

    fn began(&mut self, at: usize) {
        let container = &mut self.containers[at];
        let Some(process) = &container.process else { return };
        let (pid, now) = (process.cloned.pid, sys::now());
        container.phase = ObservedPhase::Running { pid };
        container.started_at = Some(now);
        let (name, attempt) = (container.launch.name.clone(), container.launch.attempt);
        if let Some(spec) = container.launch.health.clone() {
            container.health = Some(Health::new(spec, Instant::now()));
            let output = String::new();
            container.health_fact =
                Some(HealthFact { status: HealthStatus::Unknown, output, at: now });
        }
        self.event(EventKind::ContainerStarted { name, attempt, pid, at: now });
    }

    /// The container's first process has ended, and with it all others.
    fn bury(&mut self, at: usize, ended: Ended) {
        let now = sys::now();
        let container = &mut self.containers[at];
        let mut warnings = container.read_output(true);
        warnings.extend(container.spool.finish(now));
        let Some(process) = container.process.take() else { return };
        let (name, attempt) = (container.launch.name.clone(), container.launch.attempt);
        let cgroups = &self.context.cgroups;
        let kills = cgroups.out_of_memory_kills(self.spec.task.as_str(), &name);
        let kind = match process.failed {
            Some((reason, code)) => {
                let reason = format!("{START_FAILURE}{reason}");
                container.phase =
                    ObservedPhase::StartFailed { reason: reason.clone(), code, at: now };
                let name = name.clone();
                EventKind::ContainerStartFailed { name, attempt, reason, code, at: now }
            }
            None => {
                let Ended { code, signal } = ended;
                // A program that survived the kernel's kill of one of its processes ended by
                // itself.
                let out_of_memory = kills > 0 && code == 128 + libc::SIGKILL;
                let exit = ContainerExit { code, signal, out_of_memory, at: now };
                container.phase = ObservedPhase::Exited(exit.clone());
                EventKind::ContainerExited { name: name.clone(), attempt, exit }
            }
        };
        for text in warnings {
            self.event(EventKind::Warning { text });
        }
        // The last lines are told before the end, for whoever stops listening then.
        self.tell_logs();
        self.event(kind);
        if let Err(e) = self.context.cgroups.remove_container(self.spec.task.as_str(), &name) {
            let text = format!("control group of container {name} not removed yet: {e}");
            self.event(EventKind::Warning { text });
        }
    }

    /// Starts checks that are due and ends those that take too long.
    pub fn check_health(&mut self) {
        let now = Instant::now();
        for at in 0..self.containers.len() {
            let container = &mut self.containers[at];
            if let Some(running) = &container.probe {
                if now >= running.deadline {
                    let pidfd = running.probe.process.pidfd.as_fd();
                    let _ = process::pidfd_signal(pidfd, libc::SIGKILL);
                }
                self.look_at_probe(at);
                continue;
            }
            let due = container.health.as_ref().is_some_and(|h| now >= h.next());
            if due && container.is_running() && !self.removing {
                self.start_probe(at, now);
            }
        }
    }

    fn start_probe(&mut self, at: usize, now: Instant) {
        let container = &self.containers[at];
        let (Some(process), Some(health)) = (&container.process, &container.health) else { return };
        let Some(spec) = &container.launch.health else { return };
        let (cgroups, task) = (&self.context.cgroups, self.spec.task.as_str());
        let own_filter = container::own_filter(container.capabilities);
        let name = container.name();
        let deadline = now + health.timeout();
        let started = cgroups.birthplace(task, name).and_then(|birthplace| {
            let plan = ProbePlan {
                launch: &container.launch,
                argv: &spec.argv,
                hostname: &self.spec.hostname,
                container: process.cloned.pidfd.as_fd(),
                capabilities: container.capabilities,
                filter: own_filter.as_deref().unwrap_or(&self.context.default_filter),
                birthplace,
            };
            container::probe(&plan, &cgroups.doors(task, name)?)
        });
        match started {
            Ok(probe) => {
                let output = Vec::new();
                self.containers[at].probe = Some(Running { probe, output, deadline });
            }
            Err(e) => self.conclude_probe(at, Some(CODE_ENGINE), e.to_string().as_bytes()),
        }
    }

    fn look_at_probe(&mut self, at: usize) {
        let Some(running) = &mut self.containers[at].probe else { return };
        let mut buffer = [0; HEALTH_OUTPUT_BYTES_MAX];
        while let Ok(got) = socket::read(running.probe.output.as_fd(), &mut buffer) {
            let room = HEALTH_OUTPUT_BYTES_MAX.saturating_sub(running.output.len());
            running.output.extend_from_slice(&buffer[..got.min(room)]);
            if got == 0 {
                break;
            }
        }
        let pidfd = running.probe.process.pidfd.as_fd();
        let Ok(Some(ended)) = process::wait_pidfd(pidfd, false) else { return };
        let late = Instant::now() >= running.deadline && ended.signal.is_some();
        let output = std::mem::take(&mut running.output);
        self.containers[at].probe = None;
        self.conclude_probe(at, (!late).then_some(ended.code), &output);
    }

    fn conclude_probe(&mut self, at: usize, code: Option<i32>, output: &[u8]) {
        let container = &mut self.containers[at];
        if !container.is_running() {
            return;
        }
        let Some(health) = &mut container.health else { return };
        let fact = health.observe(code, output, Instant::now(), sys::now());
        let before = container.health_fact.replace(fact.clone());
        // Told when it means something else than before, or the agent would hear one for each
        // check.
        if before.is_none_or(|b| b.status != fact.status) {
            let (name, attempt) = (container.launch.name.clone(), container.launch.attempt);
            self.event(EventKind::Health { name, attempt, health: fact });
        }
    }
}
