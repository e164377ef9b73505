//! The inside of a container, from its birth to its program's first instruction. All of this runs
//! in a child that `clone` made: alone in its namespaces, still with the supervisor's memory, on
//! its way to give up everything it doesn't need. It may be born before anybody knows what for, and
//! then waits for its order with everything made that every container has. Whatever goes wrong is
//! told through one socket in words that ECS would use; that this socket closes without a word
//! means the program runs.
//!
//! The order matters and is the whole security of it: the root is entered before any path of the
//! image is looked at, privileges go before the program is looked for, and the filter comes last.

mod devices;
mod identity;
mod init;
mod limits;
mod probe;
mod program;
mod root;

pub use identity::{capabilities, without_mknod};
pub use probe::{Probe, ProbePlan, probe};
pub use root::{FILES, VolumeMount, make_mount_points};

use crate::seccomp;
use crate::spec::ContainerLaunch;
use crate::sys::{self, process, socket};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A shell's codes for a program that isn't there, and for one that can't be run.
pub const CODE_NOT_FOUND: i32 = 127;
pub const CODE_NOT_RUNNABLE: i32 = 126;
/// Docker's code for everything else that prevents a start.
pub const CODE_ENGINE: i32 = 125;

/// What a child is born with: the same whatever it becomes.
pub struct Nursery<'a> {
    /// The layer below all images; see `make_mount_points`.
    pub mount_points: &'a Path,
    /// See `Cgroups::views`.
    pub cgroup_views: Option<Vec<(String, String)>>,
    /// For a container with default capabilities.
    pub default_filter: &'a [libc::sock_filter],
    /// Whether its cgroup namespace was made at its birth.
    pub born_in_cgroup: bool,
    pub control: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
}

/// What it shall become.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub launch: ContainerLaunch,
    pub hostname: String,
    /// The task's folder: the container's writable layer is made in it.
    pub folder: PathBuf,
    /// Files to put over the image's: path and text.
    pub files: Vec<(String, String)>,
    pub volumes: Vec<VolumeMount>,
    /// Bits by number.
    pub capabilities: u64,
}

/// Why a program doesn't run.
#[derive(Debug)]
pub struct StartFailure {
    pub reason: String,
    pub code: i32,
}

impl StartFailure {
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), code: CODE_ENGINE }
    }

    /// For `map_err`: what could not be done.
    pub fn at(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |e| Self::new(format!("{what}: {e}"))
    }
}

/// What the child says before its program runs.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Warning(String),
    Failed { reason: String, code: i32 },
}

impl Said {
    pub fn encode(&self) -> Vec<u8> {
        let (kind, code, text) = match self {
            Self::Warning(text) => (b'w', 0, text),
            Self::Failed { reason, code } => (b'f', *code, reason),
        };
        let mut bytes = vec![kind];
        bytes.extend(code.to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (code, text) = rest.split_first_chunk()?;
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'w' => Some(Self::Warning(text)),
            _ => Some(Self::Failed { reason: text, code: i32::from_le_bytes(*code) }),
        }
    }
}

/// Goes all the way. A child without an order waits for one. Later the supervisor's one byte on the
/// socket opens the way from preparations to the program, when cgroups and network are there; its
/// closing ends the child.
pub fn enter(nursery: &Nursery<'_>, order: Option<Order>) -> ! {
    let failure = match prepare(nursery, order) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let code = failure.code;
    say(&Said::Failed { reason: failure.reason, code });
    process::exit(code)
}

fn say(said: &Said) {
    // Nobody is left to be told when the supervisor is gone, and then we end too.
    let _ = socket::send_with_fds(sys::CONTROL, &said.encode(), &[]);
}

fn prepare(nursery: &Nursery<'_>, order: Option<Order>) -> Result<Infallible, StartFailure> {
    keep_own_descriptors(nursery).map_err(StartFailure::at("descriptors"))?;
    process::reset_signals();
    process::set_session().map_err(StartFailure::at("setsid"))?;
    process::set_umask(0o022);
    let stage = root::stage(nursery.mount_points)?;
    let plan = match order {
        Some(order) => order,
        None => take_order(sys::CONTROL).map_err(StartFailure::at("taking the order"))?,
    };
    root::enter(nursery, &plan, &stage)?;
    drop(stage);
    pass_gate(sys::CONTROL)?;
    root::finish(nursery, &plan)?;
    for warning in limits::apply(&plan.launch.ulimits)? {
        say(&Said::Warning(warning));
    }
    let identity = identity::resolve(plan.launch.user.as_deref()).map_err(StartFailure::new)?;
    program::enter_folder(plan.launch.cwd.as_deref())?;
    let program = program::Program::new(&plan.launch, &plan.hostname, &identity.home)?;
    give_streams(&identity).map_err(StartFailure::at("standard streams"))?;
    let own_filter = own_filter(plan.capabilities);
    let filter = own_filter.as_deref().unwrap_or(nursery.default_filter);
    drop_privileges(&identity, plan.capabilities, filter)?;
    if plan.launch.init {
        init::fork_program()?;
    }
    Err(program.execute())
}

/// A filter of the container's own, when its capabilities aren't the default ones.
pub fn own_filter(capabilities: u64) -> Option<Vec<libc::sock_filter>> {
    (capabilities != seccomp::default_capabilities()).then(|| seccomp::filter(capabilities))
}

/// Tells a child that was born without an order what it shall become.
pub fn give_order(control: BorrowedFd<'_>, order: &Order) -> io::Result<()> {
    // A message has its bounds, a file has none.
    let file = sys::memory_file(&serde_json::to_vec(order)?)?;
    socket::send_with_fds(control, b"o", &[file.as_fd()]).map(drop)
}

/// The other side of `give_order`.
fn take_order(control: BorrowedFd<'_>) -> io::Result<Order> {
    let mut said = [0];
    let (1, fds) = socket::receive_with_fds(control, &mut said)? else {
        // No task has come for this child, and none will.
        process::exit(CODE_ENGINE)
    };
    let file = fds.into_iter().next().ok_or_else(|| io::Error::other("an order without words"))?;
    let mut text = Vec::new();
    File::from(file).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Waits until the supervisor lets this process go, and goes through the doors that come with it,
/// into the container's control groups.
fn pass_gate(gate: BorrowedFd<'_>) -> Result<(), StartFailure> {
    let mut go = [0];
    let Ok((1, doors)) = socket::receive_with_fds(gate, &mut go) else {
        // The supervisor has ended or changed its mind; nobody listens.
        process::exit(CODE_ENGINE)
    };
    for door in doors {
        socket::write(door.as_fd(), b"0").map_err(StartFailure::at("entering control groups"))?;
    }
    Ok(())
}

/// The other side of `pass_gate`.
pub fn open_gate(gate: BorrowedFd<'_>, doors: &[OwnedFd]) -> io::Result<()> {
    let doors: Vec<_> = doors.iter().map(AsFd::as_fd).collect();
    socket::send_with_fds(gate, b"g", &doors).map(drop)
}

/// Output goes to the supervisor, the control socket to its place; every other descriptor of the
/// supervisor is closed, so that no path of the image can reach through one.
fn keep_own_descriptors(plan: &Nursery<'_>) -> io::Result<()> {
    process::duplicate_to(plan.stdout, 1)?;
    process::duplicate_to(plan.stderr, 2)?;
    process::duplicate_to(plan.control, 3)?;
    process::close_range(4, u32::MAX)
}

/// Standard input is empty, and the container's user may open its own output again by name.
fn give_streams(identity: &identity::Identity) -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    process::duplicate_to(null.as_fd(), 0)?;
    if identity.uid != 0 {
        for stream in [sys::STDOUT, sys::STDERR] {
            std::os::unix::fs::fchown(stream, Some(identity.uid), Some(identity.gid))?;
        }
    }
    process::close_on_exec_from(3)
}

/// Takes what no container can have out of reach of every program that this process's children
/// become; what this process itself may do stays. Once for all of them, as it takes many calls.
pub fn bound_capabilities() -> io::Result<()> {
    for capability in identity::numbers(!identity::possible()) {
        if !process::drop_bounding(capability)? {
            break;
        }
    }
    Ok(())
}

/// The last step before the program: from here on this process can do what the container may do.
fn drop_privileges(
    identity: &identity::Identity,
    capabilities: u64,
    filter: &[libc::sock_filter],
) -> Result<(), StartFailure> {
    let at = StartFailure::at;
    for capability in identity::numbers(identity::possible() & !capabilities) {
        process::drop_bounding(capability).map_err(at("capabilities"))?;
    }
    let identity_set = process::set_identity(identity.uid, identity.gid, &identity.groups);
    identity_set.map_err(at("setting user and groups"))?;
    let kept = if identity.uid == 0 { capabilities } else { 0 };
    process::set_capabilities(kept).map_err(at("capabilities"))?;
    // A change of credentials clears this, so it comes after them.
    process::set_parent_death_signal(libc::SIGKILL).map_err(at("parent death signal"))?;
    process::set_no_new_privileges().map_err(at("no_new_privs"))?;
    process::set_seccomp(filter).map_err(at("seccomp filter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_says_is_understood() {
        for said in [
            Said::Warning("limit clamped".to_owned()),
            Said::Failed { reason: "exec: \"nope\"".to_owned(), code: 127 },
        ] {
            assert_eq!(Said::decode(&said.encode()), Some(said));
        }
        assert_eq!(Said::decode(b""), None);
    }
}
