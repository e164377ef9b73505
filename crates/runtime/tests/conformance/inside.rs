//! Network namespaces from a test's view: doing something inside of one, namespaces that play
//! machines, and probes that ask whether something gets through.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a packet may take that is let through, on a busy machine.
const ARRIVES_WITHIN: Duration = Duration::from_millis(1500);

/// A network namespace. Of a task it is known by a process, so that nothing here keeps it alive.
pub struct Namespace {
    path: String,
    /// What keeps it alive, if it is the test's own.
    _held: Option<File>,
}

pub fn enter(namespace: &Namespace) {
    let namespace = File::open(&namespace.path).expect("the namespace is there");
    // SAFETY: plain numbers; only this thread changes its namespace.
    #[allow(unsafe_code)]
    let done = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Does something in a thread in a namespace; None: this one.
pub fn inside<T: Send>(namespace: Option<&Namespace>, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Some(namespace) = namespace {
                enter(namespace);
            }
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A new namespace, with loopback.
pub fn apart() -> Arc<Namespace> {
    let made = std::thread::spawn(|| {
        // SAFETY: plain numbers; only this thread changes its namespace.
        #[allow(unsafe_code)]
        let (done, thread) = unsafe { (libc::unshare(libc::CLONE_NEWNET), libc::gettid()) };
        assert_eq!(done, 0);
        ip(&["link", "set", "lo", "up"]);
        let own = format!("/proc/{}/task/{thread}/ns/net", std::process::id());
        File::open(own).expect("the thread's namespace")
    });
    let held = made.join().expect("made");
    let path = format!("/proc/{}/fd/{}", std::process::id(), held.as_raw_fd());
    Arc::new(Namespace { path, _held: Some(held) })
}

pub fn of_process(pid: u32) -> Arc<Namespace> {
    Arc::new(Namespace { path: format!("/proc/{pid}/ns/net"), _held: None })
}

pub fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).status().expect("this test needs iproute2");
    assert!(done.success(), "ip {args:?}");
}

/// A path by which `ip` finds a namespace.
pub fn path(namespace: &Namespace) -> String {
    namespace.path.clone()
}

/// How often a server looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Servers of a test. They end with it: a socket keeps its namespace alive, and a namespace its
/// interface.
#[derive(Clone, Default)]
pub struct Servers {
    ending: Arc<AtomicBool>,
    running: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Servers {
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
        loop {
            let Some(server) = self.running.lock().expect("servers").pop() else { return };
            server.join().expect("it ended well");
        }
    }

    fn go_on(&self) -> bool {
        !self.ending.load(Ordering::Relaxed)
    }

    fn run(&self, server: impl FnOnce(&Self) + Send + 'static) {
        let own = self.clone();
        let server = std::thread::spawn(move || server(&own));
        self.running.lock().expect("servers").push(server);
    }

    /// Answers a word to whoever connects or sends.
    pub fn answer(&self, namespace: &Namespace, tcp: &[u16], udp: &[u16], word: &str) {
        for port in tcp {
            let listener = inside(Some(namespace), || TcpListener::bind(("0.0.0.0", *port)));
            self.serve(listener.expect("a port of its own"), word);
        }
        for port in udp {
            let socket = inside(Some(namespace), || UdpSocket::bind(("0.0.0.0", *port)));
            let (socket, word) = (socket.expect("a port of its own"), word.to_owned());
            socket.set_read_timeout(Some(LOOK_EVERY)).expect("set");
            self.run(move |servers| {
                let mut buffer = [0; 64];
                while servers.go_on() {
                    if let Ok((_, from)) = socket.recv_from(&mut buffer) {
                        // Whoever asked may be gone.
                        let _ = socket.send_to(word.as_bytes(), from);
                    }
                }
            });
        }
    }

    /// Sends a word and the peer's address to whoever connects, then whatever comes back at them.
    pub fn serve(&self, listener: TcpListener, word: &str) {
        // The time a socket waits for what it reads is the time it waits for connections, too.
        let socket = UdpSocket::from(OwnedFd::from(listener));
        socket.set_nonblocking(false).expect("set");
        socket.set_read_timeout(Some(LOOK_EVERY)).expect("set");
        let listener = TcpListener::from(OwnedFd::from(socket));
        let word = word.to_owned();
        self.run(move |servers| {
            while servers.go_on() {
                let Ok((stream, peer)) = listener.accept() else { continue };
                let greeting = format!("{word} {}\n", peer.ip());
                servers.run(move |servers| servers.echo(stream, &greeting));
            }
        });
    }

    fn echo(&self, mut stream: TcpStream, greeting: &str) {
        stream.set_read_timeout(Some(LOOK_EVERY)).expect("set");
        let mut buffer = [0; 64];
        let mut sent = stream.write_all(greeting.as_bytes());
        while sent.is_ok() && self.go_on() {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => sent = stream.write_all(&buffer[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }
}

/// An open connection and what it was greeted with.
pub fn connect(namespace: Option<&Namespace>, to: SocketAddrV4) -> io::Result<(TcpStream, String)> {
    inside(namespace, || {
        let mut stream = TcpStream::connect_timeout(&to.into(), ARRIVES_WITHIN)?;
        stream.set_read_timeout(Some(ARRIVES_WITHIN))?;
        let mut buffer = [0; 64];
        let got = stream.read(&mut buffer)?;
        Ok((stream, String::from_utf8_lossy(&buffer[..got]).trim().to_owned()))
    })
}

/// Whether a connection still carries something there and back.
pub fn carries(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut buffer).is_ok()
}

/// The word that answered to a datagram.
pub fn ask(namespace: &Namespace, to: SocketAddrV4) -> Option<String> {
    inside(Some(namespace), || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.set_read_timeout(Some(ARRIVES_WITHIN)).expect("set");
        socket.send_to(b"?", to).ok()?;
        let mut buffer = [0; 64];
        let (got, _) = socket.recv_from(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..got]).into_owned())
    })
}

fn raw(protocol: i32) -> OwnedFd {
    // SAFETY: plain numbers; the descriptor is new and ours.
    #[allow(unsafe_code)]
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_RAW, protocol);
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    socket
}

fn send_raw(socket: &OwnedFd, bytes: &[u8], to: Ipv4Addr) -> io::Result<()> {
    // SAFETY: an all-zero address is valid.
    #[allow(unsafe_code)]
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as u16;
    address.sin_addr.s_addr = u32::from_ne_bytes(to.octets());
    // SAFETY: pointers and lengths belong together.
    #[allow(unsafe_code)]
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_in>() as libc::socklen_t,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether an echo request is answered.
pub fn ping(namespace: &Namespace, to: Ipv4Addr, id: u16) -> bool {
    inside(Some(namespace), || {
        let socket = raw(libc::IPPROTO_ICMP);
        let [high, low] = id.to_be_bytes();
        let sum = !(0x0800_u32 + u32::from(id));
        let sum = (sum as u16).to_be_bytes();
        if send_raw(&socket, &[8, 0, sum[0], sum[1], high, low, 0, 0], to).is_err() {
            return false;
        }
        let socket = UdpSocket::from(socket);
        let give_up = std::time::Instant::now() + ARRIVES_WITHIN;
        let mut buffer = [0; 128];
        loop {
            let left = give_up.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            socket.set_read_timeout(Some(left)).expect("set");
            let Ok(got) = socket.recv(&mut buffer) else { return false };
            // An IPv4 head of 20 bytes comes first.
            if got >= 28 && buffer[20] == 0 && buffer[24..26] == [high, low] {
                return true;
            }
        }
    })
}

/// Sends a datagram that claims to come from somewhere.
pub fn send_as(namespace: &Namespace, from: SocketAddrV4, to: SocketAddrV4, word: &[u8]) {
    inside(Some(namespace), || {
        let socket = raw(libc::IPPROTO_RAW);
        let bytes = 28 + word.len() as u16;
        let mut packet = vec![0x45, 0];
        packet.extend(bytes.to_be_bytes());
        // Identity, fragment, lifetime, protocol; the kernel fills in the sum.
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend(from.ip().octets());
        packet.extend(to.ip().octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend((bytes - 20).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(word);
        // What can't even be sent does not arrive.
        let _ = send_raw(&socket, &packet, *to.ip());
    });
}
