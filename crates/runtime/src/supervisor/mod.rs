//! The supervisor: one small single-threaded process for each task. It holds the task's network
//! namespace alive, starts its containers, owns their output and exit codes, checks their health,
//! and tells whoever is connected. It decides nothing, outlives agents, and if it is killed its
//! containers die with it. Forked by the zygote and never exec'ed, so that a task costs a fork.

mod health;
mod interface;
mod link;
mod run;
pub mod spare;
mod spool;

use crate::cgroup::Cgroups;
use crate::container::FILES;
use crate::event::*;
use crate::net;
use crate::protocol::{Command, Tell};
use crate::remains;
use crate::spec::SandboxSpec;
use crate::storage::{self, Bound, Image, OwnMounts, Storage};
use crate::sys::{self, process, socket};
use link::Link;
use run::{Child, Container};
use spare::Prepared;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What all supervisors of a zygote share.
pub struct Context {
    /// The runtime's folder.
    pub root: PathBuf,
    /// What tells this runtime's things in the kernel from others'.
    pub name: String,
    /// The folder that tasks' folders are in.
    pub tasks: PathBuf,
    /// How what tasks write is bounded; None: it isn't.
    pub bound: Option<Bound>,
    /// The layer below all images.
    pub mount_points: PathBuf,
    pub cgroups: Cgroups,
    /// The filter for a container with default capabilities.
    pub default_filter: Vec<libc::sock_filter>,
}

/// Files of a task's folder.
pub const SPEC_FILE: &str = "spec.json";
pub const SOCKET_FILE: &str = "socket";

/// The log of a container, in its task's folder.
pub fn log_file(container: &str) -> String {
    format!("log.{container}")
}

struct Supervisor<'a> {
    context: &'a Context,
    spec: SandboxSpec,
    home: PathBuf,
    /// The task's folder, locked as long as this process lives.
    folder: OwnedFd,
    /// Requests about the VPC's side of the interface; None: no network.
    vpc: Option<OwnedFd>,
    interface: Option<net::Interface>,
    /// Of its own, in which `storage` may be mounted.
    mounts: Option<OwnMounts>,
    /// Where what containers write has its bound; None: it has none.
    storage: Option<Storage>,
    task_cgroup_made: bool,
    sandbox: ObservedSandbox,
    containers: Vec<Container>,
    /// Of the first container, born before this process had a task.
    unborn: Option<Child>,
    link: Option<Link>,
    listener: Option<UnixListener>,
    /// Held until the first containers run; then the zygote may begin another task.
    launching: Option<OwnedFd>,
    removing: bool,
}

/// What became ready in one round of waiting.
#[derive(Clone, Copy)]
enum Source {
    Listener,
    Agent,
    Container(usize),
}

/// What a supervisor is begun with.
pub struct Begun {
    /// The task's folder, made and locked.
    pub folder: OwnedFd,
    /// Connected to the agent that asked for the task.
    pub agent: OwnedFd,
    /// See `Supervisor::launching`.
    pub launching: OwnedFd,
    /// The namespace of the task's VPC.
    pub vpc: Option<OwnedFd>,
}

/// Serves a task until it is removed. `prepared` is what this process made before it had a task.
pub fn run(context: &Context, task: &str, begun: Begun, prepared: Prepared) -> ! {
    let code = match serve(context, task, begun, prepared) {
        Ok(()) => 0,
        Err(e) => {
            // The agent sees the socket close and reports the task as lost; this is for the
            // operator.
            let text = format!("supervisor of {task}: {e}\n");
            let _ = socket::write(sys::STDERR, text.as_bytes());
            1
        }
    };
    process::exit(code)
}

fn serve(context: &Context, task: &str, begun: Begun, prepared: Prepared) -> io::Result<()> {
    process::default_signal(libc::SIGCHLD);
    // The kernel keeps 15 bytes of it.
    process::set_name(&sys::c_string(format!("ng-{task}").as_bytes())?)?;
    let home = context.tasks.join(task);
    let mut link = Link::new(begun.agent)?;
    let Some((spec, commands)) = first_commands(&mut link)? else {
        // The agent died before it said what to run: nothing was promised to anybody.
        return fs::remove_dir_all(&home);
    };
    let mut supervisor = Supervisor {
        context,
        spec,
        home,
        folder: begun.folder,
        vpc: None,
        interface: None,
        mounts: prepared.mounts,
        storage: None,
        task_cgroup_made: false,
        sandbox: ObservedSandbox::Making,
        containers: Vec::new(),
        unborn: prepared.child,
        link: Some(link),
        listener: None,
        launching: Some(begun.launching),
        removing: false,
    };
    let prepare = |supervisor: &mut Supervisor<'_>| {
        supervisor.prepare(begun.vpc, prepared.network.as_ref())?;
        supervisor.make_storage(prepared.image)
    };
    match prepare(&mut supervisor) {
        Ok(()) => {
            // Children are born before the network is ready: both take about as long, side by side.
            for command in commands {
                supervisor.obey(command);
            }
            let made = supervisor.listen().and_then(|()| supervisor.make_sandbox());
            supervisor.conclude(made);
        }
        Err(e) => {
            supervisor.conclude(Err(e));
            for command in commands {
                supervisor.obey(command);
            }
        }
    }
    supervisor.serve_until_removed()
}

/// Waits for the spec, and returns what else came with it.
fn first_commands(link: &mut Link) -> io::Result<Option<(SandboxSpec, Vec<Command>)>> {
    loop {
        socket::poll(&mut [socket::interest(link.fd(), libc::POLLIN)], None)?;
        let Some(mut commands) = link.commands()? else { return Ok(None) };
        if commands.is_empty() {
            continue;
        }
        return match commands.remove(0) {
            Command::Create(spec) => Ok(Some((*spec, commands))),
            other => Err(io::Error::other(format!("first command is {other:?}, not Create"))),
        };
    }
}

impl Supervisor<'_> {
    fn task(&self) -> &str {
        self.spec.task.as_str()
    }

    /// Namespaces: what a container's process must find when it is born. `own` is this process's
    /// network namespace, if it has one of its own already.
    fn prepare(&mut self, vpc: Option<OwnedFd>, own: Option<&OwnedFd>) -> io::Result<()> {
        if let Some(namespace) = vpc {
            process::setns(namespace.as_fd(), libc::CLONE_NEWNET)?;
            self.vpc = Some(socket::netlink(libc::NETLINK_ROUTE)?);
            if let Some(own) = own {
                process::setns(own.as_fd(), libc::CLONE_NEWNET)?;
            }
        } else if self.spec.network.is_some() {
            return Err(io::Error::other("the VPC is not known on this instance"));
        }
        if own.is_none() {
            process::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWUTS)?;
        }
        process::set_hostname(&self.spec.hostname)
    }

    /// The file system that containers write to, before any of them is born.
    fn make_storage(&mut self, prepared: Option<Image>) -> io::Result<()> {
        storage::check_room(&self.context.root)?;
        let (Some(gib), Some(bound)) = (self.spec.ephemeral_storage_gib, self.context.bound) else {
            return prepared.map_or(Ok(()), Image::end);
        };
        self.storage = Some(match (bound, prepared) {
            (Bound::Projects, _) => Storage::in_project(&self.home, gib)?,
            (Bound::Images, Some(image)) if image.gib == gib => Storage::Image(image),
            (Bound::Images, other) => {
                // A child that is there already sees the other one.
                self.unborn.take().map_or(Ok(()), Child::end)?;
                other.map_or(Ok(()), Image::end)?;
                let mounts = match self.mounts.take() {
                    Some(mounts) => mounts,
                    None => OwnMounts::enter()?,
                };
                let context = self.context;
                let image = Image::mount(&context.root, gib, &context.name, &mounts)?;
                self.mounts = Some(mounts);
                Storage::Image(image)
            }
        });
        Ok(())
    }

    /// The folder of all that containers write.
    fn writable(&self) -> &Path {
        self.storage.as_ref().map_or(&self.home, Storage::folder)
    }

    fn make_task_cgroup(&mut self) -> io::Result<()> {
        if !self.task_cgroup_made {
            self.context.cgroups.make_task(&self.spec)?;
            self.task_cgroup_made = true;
        }
        Ok(())
    }

    fn make_sandbox(&mut self) -> io::Result<()> {
        let name = net::host_side_name(self.task());
        let made = net::attach(self.spec.network.as_ref(), self.vpc.as_ref(), &name)?;
        self.interface = Some(made);
        self.vpc = None;
        self.make_task_cgroup()
    }

    /// The sandbox is ready, or it is not: containers that wait for it go on or fail.
    fn conclude(&mut self, made: io::Result<()>) {
        let at = sys::now();
        match made {
            Ok(()) => {
                self.sandbox = ObservedSandbox::Ready { at };
                for at in 0..self.containers.len() {
                    self.release(at);
                }
                self.event(EventKind::SandboxReady { at });
            }
            Err(e) => {
                let reason = e.to_string();
                self.sandbox = ObservedSandbox::Failed { reason: reason.clone(), at };
                for container in &mut self.containers {
                    container.kill();
                }
                self.event(EventKind::SandboxFailed { reason, at });
            }
        }
    }

    /// From here on another agent can connect, and knows what this task is. Without this no
    /// container may run: nobody could ever stop it.
    fn listen(&mut self) -> io::Result<()> {
        let spec = serde_json::to_vec(&self.spec)?;
        fs::write(self.home.join(SPEC_FILE), spec)?;
        // Named through the open folder, as paths of sockets may have 107 bytes only.
        let path = format!("/proc/self/fd/{}/{SOCKET_FILE}", self.folder.as_raw_fd());
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        self.listener = Some(listener);
        Ok(())
    }

    fn serve_until_removed(&mut self) -> io::Result<()> {
        loop {
            if self.removing && self.containers.iter().all(|c| !c.has_processes()) {
                return self.finish_removal();
            }
            if self.link.is_none() && self.listener.is_none() {
                // A sandbox that failed, and nobody who could come back to it.
                return Ok(());
            }
            if !self.containers.iter().any(Container::is_starting) {
                self.launching = None;
            }
            let (mut fds, sources) = self.interests();
            let timeout_ms = self.timeout_ms();
            socket::poll(&mut fds, timeout_ms)?;
            let mut last = None;
            for (fd, source) in fds.iter().zip(sources) {
                if fd.revents == 0 {
                    continue;
                }
                match source {
                    Source::Listener => self.accept(),
                    Source::Agent => self.serve_agent()?,
                    // One look at a container serves all its descriptors.
                    Source::Container(at) if last == Some(at) => {}
                    Source::Container(at) => {
                        last = Some(at);
                        self.look_at(at);
                    }
                }
            }
            self.check_health();
        }
    }

    fn interests(&self) -> (Vec<libc::pollfd>, Vec<Source>) {
        let (mut fds, mut sources) = (Vec::with_capacity(8), Vec::with_capacity(8));
        if let Some(listener) = &self.listener {
            fds.push(socket::interest(listener.as_fd(), libc::POLLIN));
            sources.push(Source::Listener);
        }
        if let Some(link) = &self.link {
            let out = if link.has_output() { libc::POLLOUT } else { 0 };
            fds.push(socket::interest(link.fd(), libc::POLLIN | out));
            sources.push(Source::Agent);
        }
        for (at, container) in self.containers.iter().enumerate() {
            for fd in container.interests() {
                fds.push(socket::interest(fd, libc::POLLIN));
                sources.push(Source::Container(at));
            }
        }
        (fds, sources)
    }

    fn timeout_ms(&self) -> Option<u64> {
        let due = self.containers.iter().filter_map(Container::due).min()?;
        let wait = due.saturating_duration_since(Instant::now());
        // Rounded up, or the last millisecond would be spent asking.
        Some(u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX))
    }

    fn accept(&mut self) {
        let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) else {
            return;
        };
        let Ok(link) = Link::new(stream.into()) else { return };
        // The newest agent is the agent: the earlier one has died or is about to.
        self.link = Some(link);
        self.tell_everything();
    }

    fn serve_agent(&mut self) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.flush();
        if link.take_behind() {
            self.tell_everything();
        }
        let Some(link) = &mut self.link else { return Ok(()) };
        match link.commands() {
            Ok(Some(commands)) => commands.into_iter().for_each(|c| self.obey(c)),
            // A task lives on without an agent.
            Ok(None) | Err(_) => self.link = None,
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) {
        match command {
            // Said again by an agent that doesn't know it was heard.
            Command::Create(_) => {}
            Command::Start(launch) => self.start(*launch),
            Command::Signal { name, signal } => {
                if let Some(container) = self.containers.iter_mut().find(|c| c.name() == name) {
                    container.signal(signal);
                }
            }
            Command::Acknowledge { name, offset } => {
                if let Some(container) = self.containers.iter_mut().find(|c| c.name() == name) {
                    container.acknowledge(offset);
                }
                self.tell_logs();
            }
            Command::Usage { ticket } => {
                let living = self.containers.iter().filter(|c| c.has_processes());
                let names: Vec<String> = living.map(|c| c.name().to_owned()).collect();
                let mut usage = self.context.cgroups.usage(self.task(), &names);
                usage.network = interface::usage();
                let counted = self.storage.as_ref().and_then(|storage| storage.usage().ok());
                usage.storage =
                    counted.map(|(used_bytes, bytes_max)| StorageUsage { used_bytes, bytes_max });
                self.tell(&Tell::Usage { ticket, usage });
            }
            Command::Remove => {
                self.removing = true;
                for container in &mut self.containers {
                    container.kill();
                }
            }
        }
    }

    fn tell(&mut self, tell: &Tell) {
        if let Some(link) = &mut self.link {
            link.tell(tell);
        }
    }

    fn event(&mut self, kind: EventKind) {
        self.tell(&Tell::Event(kind));
    }

    /// The whole observed state, for an agent that is new or missed something.
    fn tell_everything(&mut self) {
        let observed = ObservedTask {
            supervisor_pid: std::process::id(),
            sandbox: self.sandbox.clone(),
            containers: self.containers.iter().map(Container::observed).collect(),
        };
        let spec = Box::new(self.spec.clone());
        self.tell(&Tell::Observed { spec, observed: Box::new(observed) });
        for container in &mut self.containers {
            container.forget_told();
        }
        self.tell_logs();
    }

    fn tell_logs(&mut self) {
        for at in 0..self.containers.len() {
            if self.containers[at].should_tell_log() {
                let name = self.containers[at].name().to_owned();
                self.event(EventKind::LogGrew { name });
            }
        }
    }

    fn finish_removal(&mut self) -> io::Result<()> {
        // The namespace ends some time after this process, but its address is free from here on.
        if let Some(interface) = self.interface.take() {
            interface.release();
        }
        let ended = self.storage.take().map_or(Ok(()), Storage::end);
        let removed = remains::remove(&self.context.cgroups, &self.context.tasks, self.task());
        let failure = removed.and(ended).err().map(|e| e.to_string());
        self.tell(&Tell::Removed { failure });
        let Some(link) = &mut self.link else { return Ok(()) };
        while link.has_output() {
            socket::poll(&mut [socket::interest(link.fd(), libc::POLLOUT)], None)?;
            link.flush();
        }
        Ok(())
    }
}

/// The task's own files, as Docker writes them: path in the container and text.
fn files(spec: &SandboxSpec) -> [(&'static str, String); 3] {
    let mut hosts = "127.0.0.1\tlocalhost\n".to_owned();
    if let Some(network) = &spec.network {
        hosts += &format!("{}\t{}\n", network.address, spec.hostname);
    } else {
        hosts += &format!("127.0.0.1\t{}\n", spec.hostname);
    }
    for (name, address) in &spec.extra_hosts {
        hosts += &format!("{address}\t{name}\n");
    }
    let mut resolv = String::new();
    for server in &spec.dns.nameservers {
        resolv += &format!("nameserver {server}\n");
    }
    for (word, values) in [("search", &spec.dns.search), ("options", &spec.dns.options)] {
        if !values.is_empty() {
            resolv += &format!("{word} {}\n", values.join(" "));
        }
    }
    let hostname = format!("{}\n", spec.hostname);
    let [hosts_path, resolv_path, hostname_path] = FILES;
    [(hosts_path, hosts), (resolv_path, resolv), (hostname_path, hostname)]
}
