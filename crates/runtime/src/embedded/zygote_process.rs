//! The zygote as its agent sees it: a child process and the socket that requests go through. When
//! the socket closes the zygote ends; the supervisors it forked don't.

use super::EmbeddedConfig;
use crate::failure::Failure;
use crate::sys::socket;
use crate::zygote::{READY, REQUEST_BYTES};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a zygote may take to be ready; it is a matter of milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Where zygote and supervisors write what has no other way to be told.
const LOG_FILE: &str = "zygote.log";

pub struct ZygoteProcess {
    socket: UnixStream,
    child: Child,
}

impl ZygoteProcess {
    pub fn start(config: &EmbeddedConfig) -> Result<Self, Failure> {
        let log_path = config.root.join(LOG_FILE);
        let log = File::options().create(true).append(true).open(&log_path);
        let log = log.map_err(Failure::of(format!("opening {}", log_path.display())))?;
        let start = || -> io::Result<Self> {
            let (socket, theirs) = UnixStream::pair()?;
            let (program, args) = config
                .zygote
                .split_first()
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no zygote command"))?;
            let child = Command::new(program)
                .args(args)
                .arg(&config.root)
                .arg(config.cgroup_parent())
                .env_clear()
                .current_dir("/")
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .stdout(Stdio::null())
                .stderr(Stdio::from(log))
                .spawn()?;
            let mut zygote = Self { socket, child };
            match zygote.wait_ready() {
                Ok(()) => Ok(zygote),
                Err(e) => {
                    zygote.end();
                    Err(e)
                }
            }
        };
        start().map_err(|source| {
            let said = std::fs::read_to_string(&log_path).unwrap_or_default();
            let last = said.lines().last().unwrap_or("");
            Failure::System { what: format!("starting the zygote ({last})"), source }
        })
    }

    fn wait_ready(&mut self) -> io::Result<()> {
        self.socket.set_read_timeout(Some(START_TIMEOUT))?;
        let mut said = [0];
        self.socket.read_exact(&mut said)?;
        if said[0] == READY { Ok(()) } else { Err(io::Error::other("it is not a zygote")) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn send(&self, request: &[u8; REQUEST_BYTES], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let sent = socket::send_with_fds(self.socket.as_fd(), request, fds)?;
        if sent == REQUEST_BYTES { Ok(()) } else { Err(io::Error::other("a request was cut")) }
    }

    /// Ends it and waits for that, so that nothing of it is left.
    pub fn end(self) {
        let Self { socket, mut child } = self;
        drop(socket);
        if let Err(error) = child.wait() {
            tracing::warn!(%error, "waiting for the zygote");
        }
    }
}
