//! The supervisor's end of a connection to an agent. It never blocks: an agent that doesn't read
//! must not keep containers from being looked after.

use crate::limits::UNSENT_BYTES_MAX;
use crate::protocol::{self, Command, Tell};
use crate::sys::socket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub struct Link {
    socket: OwnedFd,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Events were given up; the agent must be told everything again.
    behind: bool,
}

impl Link {
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        socket::set_nonblocking(&socket)?;
        Ok(Self { socket, input: Vec::new(), output: Vec::new(), behind: false })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Commands that have arrived; None when the agent is gone.
    pub fn commands(&mut self) -> io::Result<Option<Vec<Command>>> {
        let mut buffer = [0; 8192];
        let mut ended = false;
        loop {
            match socket::read(self.socket.as_fd(), &mut buffer) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(got) => {
                    self.input.extend_from_slice(&buffer[..got]);
                    if got < buffer.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {
                    ended = true;
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        let mut commands = Vec::new();
        while let Some(command) = protocol::decode(&mut self.input)? {
            commands.push(command);
        }
        if self.input.is_empty() {
            // A launch may be long; an idle supervisor holds none of it.
            self.input = Vec::new();
        }
        Ok(if ended && commands.is_empty() { None } else { Some(commands) })
    }

    pub fn tell(&mut self, tell: &Tell) {
        if self.behind || self.output.len() > UNSENT_BYTES_MAX {
            self.behind = true;
            return;
        }
        self.output.extend(protocol::encode(tell));
        self.flush();
    }

    /// Whether there is something to send when the socket takes it.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether the agent missed events and now reads again; asked once.
    pub fn take_behind(&mut self) -> bool {
        self.output.is_empty() && std::mem::take(&mut self.behind)
    }

    /// Sends what fits. An agent that is gone is noticed when reading.
    pub fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.output.len() {
            match socket::send_with_fds(self.socket.as_fd(), &self.output[sent..], &[]) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => sent = self.output.len(),
            }
        }
        if sent == self.output.len() {
            self.output = Vec::new();
        } else {
            self.output.drain(..sent);
        }
    }
}
