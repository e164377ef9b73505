//! Supervisors made before there is a task for them. What every task needs and none differs in is
//! made here, off the path of a launch: the process, its network and host name namespaces, and the
//! first container's process with namespaces and the file systems that are the same in every root.
//! A spare that could not make all of that makes the rest as any other supervisor does, when it has
//! a task. It ends when its zygote does.

use super::run::Child;
use super::{Begun, Context, run};
use crate::limits::STORAGE_GIB_DEFAULT;
use crate::net::link::Links;
use crate::storage::{Bound, Image, OwnMounts};
use crate::sys::{self, process, socket};
use crate::zygote::REQUEST_BYTES;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What a supervisor made before it had a task.
#[derive(Default)]
pub struct Prepared {
    /// Its own network namespace, with loopback up; its host name's namespace is its own too then.
    pub network: Option<OwnedFd>,
    pub mounts: Option<OwnMounts>,
    /// An empty file system of the size that most tasks have.
    pub image: Option<Image>,
    /// Sees the image.
    pub child: Option<Child>,
}

impl Prepared {
    fn make(context: &Context) -> Self {
        let mut made = Self::default();
        if let Err(e) = made.add(context) {
            // A task that comes is told what is wrong if it is wrong again; this is for the
            // operator.
            let _ = socket::write(sys::STDERR, format!("spare supervisor: {e}\n").as_bytes());
        }
        made
    }

    fn add(&mut self, context: &Context) -> io::Result<()> {
        process::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWUTS)?;
        let network = OwnedFd::from(File::open("/proc/self/ns/net")?);
        self.network = Some(network);
        Links::here()?.configure_inside(None)?;
        if context.bound == Some(Bound::Images) {
            let mounts = self.mounts.insert(OwnMounts::enter()?);
            let (root, name) = (&context.root, &context.name);
            self.image = Some(Image::mount(root, STORAGE_GIB_DEFAULT, name, mounts)?);
        }
        // Where a process is born in its container's control group, it is born with its container.
        if context.cgroups.views().is_some() {
            self.child = Some(Child::bear(context, None, || None)?);
        }
        Ok(())
    }
}

/// The zygote's side: hands a task to the spare at the other end.
pub fn hand_over(spare: &OwnedFd, request: &[u8; REQUEST_BYTES], begun: &Begun) -> io::Result<()> {
    let mut fds = vec![begun.folder.as_fd(), begun.agent.as_fd(), begun.launching.as_fd()];
    fds.extend(begun.vpc.as_ref().map(AsFd::as_fd));
    socket::send_with_fds(spare.as_fd(), request, &fds).map(drop)
}

/// The whole life of a spare; `zygote` is its end of the socket that a task comes through.
pub fn wait(context: &Context, zygote: OwnedFd) -> ! {
    process::default_signal(libc::SIGCHLD);
    // Not the name of a supervisor, as it is nobody's.
    let _ = process::set_name(c"neargate-spare");
    let prepared = Prepared::make(context);
    let mut bytes = [0; REQUEST_BYTES];
    let (got, fds) = match socket::receive_with_fds(zygote.as_fd(), &mut bytes) {
        Ok((got, fds)) if got == REQUEST_BYTES => (got, fds),
        // The zygote has ended.
        _ => process::exit(0),
    };
    drop(zygote);
    let mut fds = fds.into_iter();
    let (Some(folder), Some(agent), Some(launching)) = (fds.next(), fds.next(), fds.next()) else {
        process::exit(1)
    };
    let length = bytes[..got].iter().position(|b| *b == 0).unwrap_or(got);
    let task = String::from_utf8_lossy(&bytes[..length]).into_owned();
    run(context, &task, Begun { folder, agent, launching, vpc: fds.next() }, prepared)
}
