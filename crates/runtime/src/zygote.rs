//! The zygote: a small single-threaded process that forks a supervisor for each task. It is exec'ed
//! once by the agent from the agent's own binary, before which nothing is known about threads, and
//! does nothing else: what is expensive to make and the same for every task is made here once and
//! shared by all forks. It ends when its agent does; supervisors don't.
//!
//! Making a task's folder is what decides that a task runs here: it succeeds once, so a task that
//! is asked for again, by whomever, is never run twice.
//!
//! A few supervisors are made before they are asked for: forking, and making the namespaces of a
//! task, takes as long as all the rest of a launch.

use crate::cgroup::Cgroups;
use crate::container;
use crate::protocol::{self, Tell};
use crate::seccomp;
use crate::storage::{Bound, STORAGE_FOLDER};
use crate::supervisor::spare::{self, Prepared};
use crate::supervisor::{self, Begun, Context};
use crate::sys::process::Fork;
use crate::sys::{self, mount, process, socket};
use std::collections::VecDeque;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Bytes of a request: a task's id, filled up with zeros.
pub const REQUEST_BYTES: usize = 64;
/// The folder of tasks' folders.
pub const TASKS_FOLDER: &str = "tasks";
/// The layer below all images.
const MOUNT_POINTS_FOLDER: &str = "mount-points";
/// More than one, as launches also wait for the kernel.
const LAUNCHES_PER_CORE: usize = 3;
/// How long a launch may keep others waiting, in milliseconds.
const LAUNCH_PATIENCE_MS: u64 = 50;
/// Supervisors kept ready. Each costs two processes of a hundred KiB and the namespaces of a task.
const SPARES: usize = 4;
/// How long nobody has launched anything when a spare is made, in milliseconds: what the last
/// launch is waited for by must not wait for this.
const SPARE_AFTER_MS: u64 = 5;
/// What the zygote says when it serves.
pub const READY: u8 = b'r';
/// Marks the second start, from the protected copy of the binary.
const PROTECTED: &str = "protected";

/// A request of the agent: run a supervisor for this task. The socket for the task comes with it,
/// and the VPC's namespace if it has one.
pub fn request(task: &str) -> Option<[u8; REQUEST_BYTES]> {
    let mut bytes = [0; REQUEST_BYTES];
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if task.is_empty() || task.len() > REQUEST_BYTES || !task.bytes().all(plain) {
        return None;
    }
    bytes[..task.len()].copy_from_slice(task.as_bytes());
    Some(bytes)
}

/// The whole program of a zygote. `args` are those after the subcommand: the runtime's folder and
/// the name of its parent control group. Standard input is the socket to the agent. To be called
/// before anything starts a thread.
pub fn zygote_main(args: impl IntoIterator<Item = OsString>) -> ! {
    let args: Vec<OsString> = args.into_iter().collect();
    // A panic in a fork must not unwind into the zygote's own loop.
    std::panic::set_hook(Box::new(|info| {
        let _ = socket::write(sys::STDERR, format!("zygote: {info}\n").as_bytes());
        process::exit(101)
    }));
    let Err(e) = serve(args);
    let _ = socket::write(sys::STDERR, format!("zygote: {e}\n").as_bytes());
    process::exit(1)
}

fn serve(args: Vec<OsString>) -> Result<std::convert::Infallible, io::Error> {
    let [root, parent, ..] = args.as_slice() else {
        return Err(io::Error::other("usage: zygote FOLDER CGROUP"));
    };
    if args.len() < 3 {
        return Err(run_from_protected_copy(args));
    }
    let agent = sys::take_stdin()?;
    process::set_dumpable(false)?;
    process::set_session()?;
    process::set_name(c"neargate-zygote")?;
    process::set_signals_of_zygote();
    process::set_umask(0o022);
    container::bound_capabilities()?;
    let parent = parent.to_string_lossy();
    let cgroups = Cgroups::detect(&parent)?;
    cgroups.prepare()?;
    let root = PathBuf::from(root);
    let (tasks, mount_points) = (root.join(TASKS_FOLDER), root.join(MOUNT_POINTS_FOLDER));
    container::make_mount_points(&mount_points)?;
    std::fs::create_dir_all(root.join(STORAGE_FOLDER))?;
    let (name, bound) = (parent.into_owned(), Bound::detect(&root));
    let default_filter = seccomp::filter(seccomp::default_capabilities());
    let context = Context { root, name, tasks, bound, mount_points, cgroups, default_filter };
    let (launching, spares) = (Launching::new(), VecDeque::new());
    let mut zygote = Zygote { context, agent, launching, spares, spares_wanted: SPARES };
    socket::write(zygote.agent.as_fd(), &[READY])?;
    loop {
        zygote.wait_for_request()?;
        let mut bytes = [0; REQUEST_BYTES];
        let (got, fds) = socket::receive_with_fds(zygote.agent.as_fd(), &mut bytes)?;
        if got == 0 {
            process::exit(0);
        }
        if got != REQUEST_BYTES {
            return Err(io::Error::other(format!("a request of {got} bytes")));
        }
        let mut fds = fds.into_iter();
        let Some(link) = fds.next() else { continue };
        if let Err(e) = zygote.begin(&bytes, link, fds.next()) {
            // The task's socket closes, which tells its agent; this is for the operator.
            let text = format!("zygote: task {}: {e}\n", task_of(&bytes));
            let _ = socket::write(sys::STDERR, text.as_bytes());
        }
    }
}

fn task_of(request: &[u8; REQUEST_BYTES]) -> String {
    let length = request.iter().position(|b| *b == 0).unwrap_or(REQUEST_BYTES);
    String::from_utf8_lossy(&request[..length]).into_owned()
}

/// Supervisors on their way to their first container. When many tasks are asked for at once, those
/// asked for first are finished first: fifty that share two cores would all be as late as the last.
struct Launching {
    /// Each ends when its supervisor lets go of the other end, or ends itself.
    under_way: Vec<OwnedFd>,
    at_once: usize,
}

impl Launching {
    fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { under_way: Vec::new(), at_once: cores * LAUNCHES_PER_CORE }
    }

    /// Waits until there is room for another. A launch that takes very long isn't waited for.
    fn wait_for_room(&mut self) -> io::Result<()> {
        while self.under_way.len() >= self.at_once {
            if !self.forget_ended(Some(LAUNCH_PATIENCE_MS))? {
                self.under_way.remove(0);
            }
        }
        Ok(())
    }

    /// Forgets those that have ended by now.
    fn look(&mut self) -> io::Result<()> {
        self.forget_ended(Some(0)).map(drop)
    }

    /// Whether any has ended.
    fn forget_ended(&mut self, timeout_ms: Option<u64>) -> io::Result<bool> {
        let mut fds: Vec<_> = self.interests().collect();
        if fds.is_empty() || socket::poll(&mut fds, timeout_ms)? == 0 {
            return Ok(false);
        }
        let mut ended = fds.iter().map(|fd| fd.revents != 0);
        self.under_way.retain(|_| !ended.next().unwrap_or(false));
        Ok(true)
    }

    fn interests(&self) -> impl Iterator<Item = libc::pollfd> {
        self.under_way.iter().map(|fd| socket::interest(fd.as_fd(), libc::POLLIN))
    }
}

struct Zygote {
    context: Context,
    agent: OwnedFd,
    launching: Launching,
    /// Sockets of supervisors that wait for a task; the oldest first.
    spares: VecDeque<OwnedFd>,
    /// As many are kept; none after one could not be made, until the next launch.
    spares_wanted: usize,
}

impl Zygote {
    /// Waits for the agent, and makes spares as long as it asks for nothing.
    fn wait_for_request(&mut self) -> io::Result<()> {
        loop {
            let wanted = self.spares.len() < self.spares_wanted;
            self.launching.look()?;
            let timeout_ms = match (wanted, self.launching.under_way.is_empty()) {
                (false, _) => None,
                (true, true) => Some(SPARE_AFTER_MS),
                (true, false) => Some(LAUNCH_PATIENCE_MS),
            };
            let agent = socket::interest(self.agent.as_fd(), libc::POLLIN);
            let mut fds: Vec<_> = [agent].into();
            if wanted {
                fds.extend(self.launching.interests());
            }
            let ready = socket::poll(&mut fds, timeout_ms)?;
            if fds[0].revents != 0 {
                return Ok(());
            }
            if ready == 0 && wanted {
                self.make_spare();
            }
        }
    }

    fn make_spare(&mut self) {
        let made = socket::message_pair().and_then(|pair| Ok((pair, process::fork()?)));
        match made {
            Ok(((ours, _), Fork::Parent(_))) => self.spares.push_back(ours),
            Ok(((ours, theirs), Fork::Child)) => {
                sys::close_in_child(&ours);
                self.close_own();
                spare::wait(&self.context, theirs)
            }
            Err(e) => {
                let _ = socket::write(sys::STDERR, format!("zygote: a spare: {e}\n").as_bytes());
                self.spares_wanted = 0;
            }
        }
    }

    /// In a fork: what only the zygote has.
    fn close_own(&self) {
        sys::close_in_child(&self.agent);
        self.launching.under_way.iter().for_each(sys::close_in_child);
        self.spares.iter().for_each(sys::close_in_child);
    }

    fn begin(
        &mut self,
        request: &[u8; REQUEST_BYTES],
        agent: OwnedFd,
        vpc: Option<OwnedFd>,
    ) -> io::Result<()> {
        self.spares_wanted = SPARES;
        self.launching.wait_for_room()?;
        let task = task_of(request);
        let (under_way, launching) = socket::pipe()?;
        let path = self.context.tasks.join(&task);
        match std::fs::create_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                socket::write(agent.as_fd(), &protocol::encode(&Tell::Exists))?;
                return Ok(());
            }
            other => other?,
        }
        let folder = OwnedFd::from(File::open(&path)?);
        if !mount::try_lock(&folder)? {
            return Err(io::Error::other("a new folder is locked"));
        }
        let begun = Begun { folder, agent, launching, vpc };
        while let Some(spare) = self.spares.pop_front() {
            // One that was killed takes nothing, and another is asked.
            if spare::hand_over(&spare, request, &begun).is_ok() {
                self.launching.under_way.push(under_way);
                return Ok(());
            }
        }
        match process::fork() {
            Ok(Fork::Parent(_)) => {
                self.launching.under_way.push(under_way);
                Ok(())
            }
            Ok(Fork::Child) => {
                sys::close_in_child(&under_way);
                self.close_own();
                supervisor::run(&self.context, &task, begun, Prepared::default())
            }
            Err(e) => {
                // Nothing has run, so the mark that something might have must go: it is tried
                // again.
                std::fs::remove_dir(&path)?;
                Err(e)
            }
        }
    }
}

/// Starts this binary again through a read-only mount of it that nobody else has. A container whose
/// process 1 is our own code (`init`) can open /proc/1/exe, and must not be able to write to it.
fn run_from_protected_copy(args: Vec<OsString>) -> io::Error {
    let run = || -> io::Result<std::convert::Infallible> {
        let binary = mount::clone_tree(Path::new("/proc/self/exe"))?;
        let locked = mount::RDONLY | mount::NOSUID | mount::NODEV;
        mount::set_attributes(binary.as_fd(), locked, false)?;
        let mut argv = vec![CString::from(c"neargate"), CString::from(c"zygote")];
        for arg in args.into_iter().chain([OsString::from(PROTECTED)]) {
            argv.push(sys::c_string(&arg.into_vec())?);
        }
        Err(process::execute_fd(binary.as_fd(), &argv, &[]))
    };
    let Err(e) = run();
    io::Error::new(e.kind(), format!("starting from a protected copy: {e}"))
}
