//! Sockets in VPCs for another process of the same binary, such as the one that balances load. It
//! shares nothing with the agent but the folder: a VPC's namespace is found by its pin, anew at
//! each call, so a VPC that was taken away and made again is no stale handle, and nothing here
//! keeps a VPC alive that is to go. The calling thread enters the namespace for just the system
//! call that makes a socket and is back before anything else can run on it. Measured on a busy
//! machine: 26 µs to listen and 40 to 60 µs to begin to connect, the walls' work on the first
//! packets included; a thread for each call took 100 µs to come and go alone.

use super::vpc;
use crate::limits::LISTEN_BACKLOG;
use crate::spec::VpcId;
use crate::sys::{process, socket};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How often a thread tries to leave a VPC.
const COME_HOME_TRIES_MAX: u32 = 1000;

/// The way into the VPCs of a runtime on this machine, from any process of root's.
#[derive(Clone, Debug)]
pub struct VpcDoors {
    folder: PathBuf,
    tag: String,
}

impl VpcDoors {
    /// `root` and `tag` are those of the runtime (`EmbeddedConfig`), which need not be there yet.
    pub fn new(root: &Path, tag: &str) -> Self {
        Self { folder: root.join(vpc::FOLDER), tag: tag.to_owned() }
    }

    /// Listening on an address of this instance's (`Place::Endpoint`), non-blocking. Several
    /// processes may listen on one address at once, so that the next may begin before the one
    /// before it ends: each gets a share of the connections.
    ///
    /// Fails with `NotFound` when the VPC isn't on this instance and with `AddrNotAvailable` when
    /// the address isn't its own; both may be a matter of moments, so who wants it tries again.
    pub fn listen(&self, vpc: &VpcId, at: SocketAddrV4) -> io::Result<TcpListener> {
        let socket = self.socket(vpc)?;
        socket::share_port(&socket)?;
        socket::bind(&socket, at).map_err(|e| not_ours(e, vpc, *at.ip()))?;
        socket::listen(&socket, LISTEN_BACKLOG)?;
        Ok(TcpListener::from(socket))
    }

    /// A stream from an address of this instance's whose connecting has begun: it is writable when
    /// it is connected or has failed (`TcpStream::take_error` says which). Non-blocking. Fails as
    /// `listen` does, and with what the kernel knows at once, such as that there is no way.
    pub fn connect(&self, vpc: &VpcId, from: Ipv4Addr, to: SocketAddrV4) -> io::Result<TcpStream> {
        let socket = self.socket(vpc)?;
        // Its port is drawn when its peer is known: each peer has all ports to itself.
        socket::draw_port_late(&socket)?;
        let from = SocketAddrV4::new(from, 0);
        socket::bind(&socket, from).map_err(|e| not_ours(e, vpc, *from.ip()))?;
        socket::connect(&socket, to)?;
        Ok(TcpStream::from(socket))
    }

    /// What tells a VPC's namespace from the one it had before: sockets in the old one are heard by
    /// nobody. None: the VPC isn't on this instance. Cheap enough to ask every second.
    pub fn generation(&self, vpc: &VpcId) -> Option<u64> {
        let found = fs::metadata(self.pin(vpc)).ok()?;
        vpc::is_namespace(&self.pin(vpc)).then(|| found.ino())
    }

    fn pin(&self, vpc: &VpcId) -> PathBuf {
        vpc::pin_path(&self.folder, vpc, &self.tag)
    }

    fn socket(&self, vpc: &VpcId) -> io::Result<OwnedFd> {
        let home = File::open("/proc/thread-self/ns/net")?;
        let there = File::open(self.pin(vpc)).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => unknown(vpc),
            _ => e,
        })?;
        process::setns(there.as_fd(), libc::CLONE_NEWNET).map_err(|e| match e.raw_os_error() {
            // A file where a namespace is about to be pinned.
            Some(libc::EINVAL) => unknown(vpc),
            _ => e,
        })?;
        let made = socket::tcp();
        come_home(&home);
        made
    }
}

/// A thread that stays in a VPC would open there what belongs elsewhere: rather no process.
fn come_home(home: &File) {
    for _ in 0..COME_HOME_TRIES_MAX {
        if process::setns(home.as_fd(), libc::CLONE_NEWNET).is_ok() {
            return;
        }
        // The kernel has no memory for a moment; nothing else can go wrong.
        std::thread::yield_now();
    }
    std::process::abort();
}

fn unknown(vpc: &VpcId) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{vpc} is not on this instance yet"))
}

fn not_ours(e: io::Error, vpc: &VpcId, address: Ipv4Addr) -> io::Error {
    match e.kind() {
        io::ErrorKind::AddrNotAvailable => {
            let text = format!("{address} is not this instance's own in {vpc} yet");
            io::Error::new(io::ErrorKind::AddrNotAvailable, text)
        }
        _ => e,
    }
}
