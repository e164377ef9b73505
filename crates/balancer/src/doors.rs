//! Where sockets come from. A load balancer's addresses live in its VPC's network namespace, which
//! only the assembly can enter; tests give plain sockets of the machine.

use model::VpcId;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

pub trait Doors: Send + Sync + 'static {
    /// Bound to `at` in the VPC, listening, non-blocking. May take some microseconds.
    fn listen(&self, vpc: &VpcId, at: SocketAddrV4) -> io::Result<TcpListener>;

    /// A non-blocking stream from `from` in the VPC whose connect to `to` has begun.
    fn connect(&self, vpc: &VpcId, from: Ipv4Addr, to: SocketAddrV4) -> io::Result<TcpStream>;
}
