//! The balancer's way into VPCs: the runtime's doors, by the names that its agent gives to network
//! namespaces.

use balancer::Doors;
use model::VpcId;
use runtime::VpcDoors;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

pub struct Ways(pub VpcDoors);

impl Doors for Ways {
    fn listen(&self, vpc: &VpcId, at: SocketAddrV4) -> io::Result<TcpListener> {
        self.0.listen(vpc, at)
    }

    fn connect(&self, vpc: &VpcId, from: Ipv4Addr, to: SocketAddrV4) -> io::Result<TcpStream> {
        self.0.connect(vpc, from, to)
    }
}
