//! A command in a running container, for health checks. The process that enters the container's
//! namespaces gives up its descriptors and privileges first and only then has a child inside, so
//! nothing in the container ever sees a process that can do more than the container.

use super::identity::resolve;
use super::{StartFailure, drop_privileges, limits, program};
use crate::spec::ContainerLaunch;
use crate::sys::process::{self, Cloned, Fork};
use crate::sys::{self, socket};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub struct ProbePlan<'a> {
    pub launch: &'a ContainerLaunch,
    pub argv: &'a [String],
    pub hostname: &'a str,
    /// Of the container's first process.
    pub container: BorrowedFd<'a>,
    pub capabilities: u64,
    pub filter: &'a [libc::sock_filter],
    /// The container's group, where one can be born in it.
    pub birthplace: Option<OwnedFd>,
}

pub struct Probe {
    pub process: Cloned,
    /// What the command prints; doesn't block.
    pub output: OwnedFd,
}

/// Starts the command. `doors` lead into the container's control groups.
pub fn probe(plan: &ProbePlan<'_>, doors: &[OwnedFd]) -> io::Result<Probe> {
    let (output, print) = socket::pipe()?;
    let (gate, wait) = socket::message_pair()?;
    let birthplace = plan.birthplace.as_ref().map(AsFd::as_fd);
    match process::clone(0, birthplace)? {
        Fork::Child => enter(plan, &print, &wait),
        Fork::Parent(process) => {
            super::open_gate(gate.as_fd(), doors)?;
            Ok(Probe { process, output })
        }
    }
}

fn enter(plan: &ProbePlan<'_>, print: &OwnedFd, wait: &OwnedFd) -> ! {
    let code = match join(plan, print, wait) {
        Ok(child) => match process::wait_pid(child, true) {
            Ok(Some(ended)) => ended.code,
            _ => super::CODE_ENGINE,
        },
        Err(failure) => {
            report(&failure);
            failure.code
        }
    };
    process::exit(code)
}

fn report(failure: &StartFailure) {
    // The reader may be gone; the exit code says enough then.
    let _ = socket::write(sys::STDOUT, failure.reason.as_bytes());
}

/// Returns the pid of the command, outside of it.
fn join(plan: &ProbePlan<'_>, print: &OwnedFd, wait: &OwnedFd) -> Result<u32, StartFailure> {
    let at = StartFailure::at;
    process::reset_signals();
    super::pass_gate(wait.as_fd())?;
    process::duplicate_to(print.as_fd(), 1).map_err(at("output"))?;
    process::duplicate_to(print.as_fd(), 2).map_err(at("output"))?;
    process::duplicate_to(plan.container, 3).map_err(at("container"))?;
    process::close_range(4, u32::MAX).map_err(at("closing descriptors"))?;
    let spaces =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP;
    process::setns(sys::CONTROL, spaces).map_err(at("entering the container"))?;
    process::close_range(3, 3).map_err(at("closing descriptors"))?;
    let null = File::open("/dev/null").map_err(at("/dev/null"))?;
    process::duplicate_to(null.as_fd(), 0).map_err(at("standard input"))?;
    process::close_on_exec_from(3).map_err(at("closing descriptors"))?;
    // The launch told of what it had to clamp.
    limits::apply(&plan.launch.ulimits)?;
    let identity = resolve(plan.launch.user.as_deref()).map_err(StartFailure::new)?;
    program::enter_folder(plan.launch.cwd.as_deref())?;
    let (argv, env) = (plan.argv, &plan.launch.env);
    let program = program::Program::with(argv, env, plan.hostname, &identity.home)?;
    drop_privileges(&identity, plan.capabilities, plan.filter)?;
    match process::fork().map_err(at("starting the command"))? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            if process::set_parent_death_signal(libc::SIGKILL).is_ok() {
                let failure = program.execute();
                report(&failure);
                process::exit(failure.code);
            }
            process::exit(super::CODE_ENGINE)
        }
    }
}
