//! Between instances: one VXLAN interface in each VPC's namespace, its packets carried by the
//! machine's own network. It is routed, not bridged: every task elsewhere is a route of its own and
//! a neighbour that is written down, so nothing is learned, asked or flooded, and nobody can claim
//! another's address. An instance's hardware address follows from its address between instances.

use super::link::{Links, Tunnel};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

/// The tunnel's interface in a VPC's namespace.
pub const NAME: &str = "vx0";
/// Not VXLAN's own 4789, which other overlays of the machine may use.
pub const PORT_DEFAULT: u16 = 14_789;

/// What a tunnel adds to each packet, in bytes: headers of IPv4, UDP, VXLAN and Ethernet.
const OVERHEAD_BYTES: u32 = 50;
/// Of machines whose own network doesn't tell.
const UNDERLAY_MTU_DEFAULT: u32 = 1500;

/// How this machine is reached by the other instances.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Underlay {
    pub address: Ipv4Addr,
    /// UDP, the same on all instances.
    pub port: u16,
}

impl Underlay {
    pub fn new(address: Ipv4Addr) -> Self {
        Self { address, port: PORT_DEFAULT }
    }
}

fn mac(at: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = at.octets();
    [0x02, 0x4e, a, b, c, d]
}

/// The tunnel's number in the namespace; made if it isn't there. A tunnel with another network's
/// number is made anew.
pub fn ensure(
    inside: &Links,
    namespace: BorrowedFd<'_>,
    network: u32,
    underlay: &Underlay,
) -> io::Result<u32> {
    // Larger packets would leave in pieces, which cost an order of magnitude: their sender is told
    // instead, as on any path.
    let here = Links::here()?;
    let below = here.mtu_at(underlay.address)?.unwrap_or(UNDERLAY_MTU_DEFAULT);
    let tunnel = Tunnel {
        mtu: below.saturating_sub(OVERHEAD_BYTES),
        name: NAME,
        namespace,
        network,
        local: underlay.address,
        port: underlay.port,
        mac: mac(underlay.address),
    };
    if let Ok(index) = inside.index(NAME) {
        if inside.is_tunnel(&tunnel, index)? {
            return Ok(index);
        }
        inside.delete(index)?;
    }
    // Asked for on the machine's side: there its packets come and go.
    here.add_tunnel(&tunnel)?;
    inside.index(NAME)
}

/// A task that is at another instance.
pub fn enter(links: &Links, tunnel: u32, task: Ipv4Addr, at: Ipv4Addr) -> io::Result<()> {
    links.peer(tunnel, mac(at), at)?;
    links.route_to_task(task, mac(at), tunnel)
}

pub fn leave(links: &Links, tunnel: u32, task: Ipv4Addr) -> io::Result<()> {
    match links.delete_route(Some(tunnel), task) {
        // It is not there: what was wanted.
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// Makes the tunnel lead to just these.
pub fn replace(
    links: &Links,
    tunnel: u32,
    wanted: &BTreeMap<Ipv4Addr, Ipv4Addr>,
) -> io::Result<()> {
    for stale in links.routes(tunnel)? {
        if !wanted.contains_key(&stale) {
            leave(links, tunnel, stale)?;
        }
    }
    let peers: BTreeSet<_> = wanted.values().collect();
    for at in peers {
        links.peer(tunnel, mac(*at), *at)?;
    }
    for (task, at) in wanted {
        links.route_to_task(*task, mac(*at), tunnel)?;
    }
    Ok(())
}
