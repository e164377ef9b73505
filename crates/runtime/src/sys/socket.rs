//! Sockets, pipes and waiting: what std has no words for.

use super::{check, owned};
use std::ffi::CStr;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use tokio::io::unix::AsyncFd;

/// Descriptors that one message may carry.
const FDS_MAX: usize = 8;

/// A pipe: read end, write end. Both close on exec; the read end doesn't block.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: the array has room for the two descriptors.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: the kernel just made them for us.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    set_nonblocking(&read)?;
    Ok((read, write))
}

pub fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }.into()).map(drop)
}

/// Two connected sockets that keep the borders of messages. Both close on exec and block.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for the two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into())?;
    // SAFETY: the kernel just made them for us.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Reads what is there. `Ok(0)` is the end.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: pointer and length belong together.
        let got = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match check(got as libc::c_long) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|n| n as usize),
        }
    }
}

/// Writes what fits now.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: pointer and length belong together.
        let put = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        match check(put as libc::c_long) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|n| n as usize),
        }
    }
}

/// Sends bytes and descriptors as one message; no signal when the other end is gone.
pub fn send_with_fds(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    assert!(fds.len() <= FDS_MAX, "at most {FDS_MAX} descriptors in a message");
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    let data_bytes = size_of_val(fds) as u32;
    if !fds.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: arithmetic only.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(data_bytes) } as usize;
        // SAFETY: the control buffer (64 bytes, aligned to 8) has room for one head and FDS_MAX
        // descriptors, which is at most 48 bytes.
        unsafe {
            let head = libc::CMSG_FIRSTHDR(&raw const message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(data_bytes) as usize;
            let data = libc::CMSG_DATA(head).cast::<RawFd>();
            for (at, fd) in fds.iter().enumerate() {
                data.add(at).write_unaligned(fd.as_raw_fd());
            }
        }
    }
    // SAFETY: everything the message points to outlives the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    check(sent as libc::c_long).map(|n| n as usize)
}

/// Receives bytes and the descriptors that came with them. `Ok((0, _))` is the end.
pub fn receive_with_fds(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: an all-zero msghdr is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let got = loop {
        let flags = libc::MSG_CMSG_CLOEXEC;
        // SAFETY: everything the message points to is ours for the call.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        match check(got as libc::c_long) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other? as usize,
        }
    };
    let mut fds = Vec::new();
    // SAFETY: the kernel filled the control buffer; the macros walk within msg_controllen, and the
    // descriptors in it are new and ours.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(&raw const message);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(head).cast::<RawFd>();
                let count = ((*head).cmsg_len - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                for at in 0..count {
                    fds.push(OwnedFd::from_raw_fd(data.add(at).read_unaligned()));
                }
            }
            head = libc::CMSG_NXTHDR(&raw const message, head);
        }
    }
    Ok((got, fds))
}

/// One thing to wait for.
pub fn interest(fd: BorrowedFd<'_>, events: i16) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

/// Waits until one of `fds` is ready or the time is over; None waits for ever.
pub fn poll(fds: &mut [libc::pollfd], timeout_ms: Option<u64>) -> io::Result<usize> {
    let timeout = timeout_ms.map_or(-1, |ms| i32::try_from(ms).unwrap_or(i32::MAX));
    // SAFETY: pointer and length belong together.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    match check(ready.into()) {
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
        other => other.map(|n| n as usize),
    }
}

/// The process at the other end of a unix socket, as of when it connected.
pub fn peer_pid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: buffer and length belong together.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    check(result.into())?;
    Ok(peer.pid as u32)
}

/// A TCP socket of this thread's network namespace, non-blocking; it stays in it for good.
pub fn tcp() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain numbers.
    owned(unsafe { libc::socket(libc::AF_INET, kind, 0) }.into())
}

fn switch_on(socket: &OwnedFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: pointer and length belong together.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(result.into()).map(drop)
}

/// Lets others listen on the same address, before it is bound.
pub fn share_port(socket: &OwnedFd) -> io::Result<()> {
    switch_on(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    switch_on(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT)
}

/// Has a socket that is bound to port 0 get its port when it connects, and keep nobody from
/// listening there.
pub fn draw_port_late(socket: &OwnedFd) -> io::Result<()> {
    switch_on(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    switch_on(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)
}

fn internet_address(address: SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: an all-zero address is valid.
    let mut raw: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    raw.sin_family = libc::AF_INET as u16;
    raw.sin_port = address.port().to_be();
    raw.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
    raw
}

pub fn bind(socket: &OwnedFd, to: SocketAddrV4) -> io::Result<()> {
    let address = internet_address(to);
    let bytes = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: pointer and length belong together.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), bytes) };
    check(result.into()).map(drop)
}

pub fn listen(socket: &OwnedFd, backlog: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) }.into()).map(drop)
}

/// Begins to connect a non-blocking socket.
pub fn connect(socket: &OwnedFd, to: SocketAddrV4) -> io::Result<()> {
    let address = internet_address(to);
    let bytes = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: pointer and length belong together.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), bytes) };
    match check(result.into()) {
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        other => other.map(drop),
    }
}

/// A netlink socket of this thread's network namespace; it stays in it for good.
pub fn netlink(protocol: i32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: plain numbers.
    let socket = owned(unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) }.into())?;
    // Failures of a request then carry no copy of the request.
    switch_on(&socket, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK)?;
    Ok(socket)
}

/// Has a netlink socket hear of what a multicast group, one of the first 32, is about. It must be
/// bound: the kernel tells nothing to sockets without a number.
pub fn join(netlink: &OwnedFd, group: u32) -> io::Result<()> {
    // SAFETY: an all-zero address is valid.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    address.nl_groups = 1 << (group - 1);
    let bytes = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: pointer and length belong together.
    let result = unsafe { libc::bind(netlink.as_raw_fd(), (&raw const address).cast(), bytes) };
    check(result.into()).map(drop)
}

/// Lets async code wait until there is something to read. Within a tokio runtime.
pub fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is made here, and nobody can take it out or close it
    // but by dropping that, which ends the watch first.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// Reads what is there and forgets it. Messages that did not fit the socket are forgotten, too.
pub fn skip(netlink: &OwnedFd) -> io::Result<()> {
    let mut buffer = [0; 8192];
    match read(netlink.as_fd(), &mut buffer) {
        Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
        other => other.map(drop),
    }
}

/// The number of an interface in the socket's network namespace.
pub fn interface_index(socket: BorrowedFd<'_>, name: &CStr) -> io::Result<u32> {
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.to_bytes();
    if bytes.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // SAFETY: the request is ours for the call and of the type this ioctl takes.
    check(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX as _, &raw mut request).into()
    })?;
    // SAFETY: SIOCGIFINDEX sets this member.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex } as u32)
}
