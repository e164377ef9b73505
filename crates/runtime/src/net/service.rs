//! What a VPC's router answers for itself: the addresses of metadata and credentials and of the
//! resolver, and sockets on them. A socket stays in the network namespace it was made in, so
//! whoever serves needs no thread there. Who asks is told by the source address: the router drops
//! what comes over a task's link from any other address than the task's.

use super::vpc::Vpcs;
use crate::failure::Failure;
use crate::spec::{VpcId, VpcTable};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};

/// Task metadata and credentials, as on ECS.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
/// The resolver, as in every VPC. The other one is the VPC's third address.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Addresses of services in a VPC. AWS: "VPC+2" is that of its first range.
pub fn addresses(table: &VpcTable) -> impl Iterator<Item = Ipv4Addr> {
    let first = table.cidrs.first();
    let resolver = first.and_then(|cidr| u32::from(cidr.address).checked_add(2));
    [METADATA, RESOLVER].into_iter().chain(resolver.map(Ipv4Addr::from))
}

impl Vpcs {
    pub fn listener(&self, vpc: &VpcId, at: SocketAddrV4) -> Result<TcpListener, Failure> {
        self.serving(vpc, at, TCP, move || {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
    }

    pub fn datagram(&self, vpc: &VpcId, at: SocketAddrV4) -> Result<UdpSocket, Failure> {
        self.serving(vpc, at, UDP, move || {
            let socket = UdpSocket::bind(at)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
    }

    fn serving<T: Send + 'static>(
        &self,
        vpc: &VpcId,
        at: SocketAddrV4,
        protocol: u8,
        bind: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        self.with(vpc, &format!("serving on {at}"), |router| {
            let bound = router.inside(bind)?;
            // Other addresses are endpoints of their own, and have security groups.
            if router.table().is_none_or(|t| addresses(t).any(|own| own == *at.ip())) {
                router.open(*at.ip(), protocol, at.port())?;
            }
            Ok(bound)
        })
    }
}
