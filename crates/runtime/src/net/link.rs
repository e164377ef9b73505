//! Links, addresses and routes by rtnetlink.

use super::netlink::{self, ACK, Batch, CREATE, EXCLUSIVE, REPLACE};
use crate::spec::{Cidr, NetworkSpec};
use crate::sys::socket;
use std::ffi::CString;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const LOOPBACK: u32 = 1;
/// Linux' own number for a permanent neighbour.
const NEIGHBOUR_PERMANENT: u16 = 0x80;
/// An address without a route to its subnet.
const NO_PREFIX_ROUTE: u32 = 0x200;
const VETH_PEER: u16 = 1;
const SCOPE_GLOBAL: u8 = 0;
const SCOPE_LINK: u8 = 253;
const ROUTE_UNICAST: u8 = 1;
const ROUTE_UNREACHABLE: u8 = 7;
/// Whose a route is that says that a range is not there: a number that no routing daemon has.
const OWN_PROTOCOL: u8 = 0x4e;
/// The gateway is on the link though no route says so.
const ON_LINK: u32 = 4;

/// Requests to one network namespace.
pub struct Links {
    netlink: OwnedFd,
}

pub struct Veth<'a> {
    pub name: &'a str,
    pub peer_name: &'a str,
    pub peer_namespace: BorrowedFd<'a>,
    pub peer_mac: Option<[u8; 6]>,
    pub mtu: Option<u32>,
}

/// A VXLAN interface that learns nothing.
pub struct Tunnel<'a> {
    pub name: &'a str,
    /// Where it is born; its packets leave by the namespace it is asked for in.
    pub namespace: BorrowedFd<'a>,
    pub network: u32,
    pub local: Ipv4Addr,
    pub port: u16,
    pub mac: [u8; 6],
    pub mtu: u32,
}

const VXLAN_ID: u16 = 1;
const VXLAN_LOCAL: u16 = 4;
const VXLAN_LEARNING: u16 = 7;
const VXLAN_PORT: u16 = 15;

/// `struct ifinfomsg` with only what is set here.
fn link_head(index: u32, up: bool) -> [u8; 16] {
    let mut head = [0; 16];
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        let flag = (libc::IFF_UP as u32).to_ne_bytes();
        head[8..12].copy_from_slice(&flag);
        head[12..16].copy_from_slice(&flag);
    }
    head
}

/// `struct ndmsg`.
fn neighbour_head(family: i32, index: u32, flags: u8) -> [u8; 12] {
    let mut head = [0; 12];
    head[0] = family as u8;
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    head[8..10].copy_from_slice(&NEIGHBOUR_PERMANENT.to_ne_bytes());
    head[10] = flags;
    head
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes.first_chunk().map(|bytes: &[u8; 4]| Ipv4Addr::from(*bytes))
}

/// `struct ifaddrmsg`.
fn address_head(index: u32, prefix: u8) -> [u8; 8] {
    let mut head = [libc::AF_INET as u8, prefix, 0, SCOPE_GLOBAL, 0, 0, 0, 0];
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    head
}

/// `struct rtmsg`.
fn route_head(prefix: u8, scope: u8, kind: u8, flags: u32) -> [u8; 12] {
    let (table, protocol) = (libc::RT_TABLE_MAIN, libc::RTPROT_STATIC);
    let mut head = [libc::AF_INET as u8, prefix, 0, 0, table, protocol, scope, kind, 0, 0, 0, 0];
    head[8..12].copy_from_slice(&flags.to_ne_bytes());
    head
}

impl Links {
    /// Of the network namespace this thread is in.
    pub fn here() -> io::Result<Self> {
        Ok(Self { netlink: socket::netlink(libc::NETLINK_ROUTE)? })
    }

    pub fn over(netlink: OwnedFd) -> Self {
        Self { netlink }
    }

    pub fn index(&self, name: &str) -> io::Result<u32> {
        let name = CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        socket::interface_index(self.netlink.as_fd(), &name)
    }

    /// The end here is up at once; the kernel doesn't allow that for the peer.
    pub fn add_veth(&self, veth: &Veth<'_>) -> io::Result<()> {
        let mut batch = Batch::default();
        let flags = CREATE | EXCLUSIVE | ACK;
        let message = batch.message(libc::RTM_NEWLINK, flags, &link_head(0, true));
        message.text(libc::IFLA_IFNAME, veth.name);
        if let Some(mtu) = veth.mtu {
            message.number(libc::IFLA_MTU, mtu);
        }
        message.nested(libc::IFLA_LINKINFO, |b| {
            b.text(libc::IFLA_INFO_KIND, "veth").nested(libc::IFLA_INFO_DATA, |b| {
                b.nested_with(VETH_PEER, &link_head(0, false), |b| {
                    b.text(libc::IFLA_IFNAME, veth.peer_name);
                    b.number(libc::IFLA_NET_NS_FD, veth.peer_namespace.as_raw_fd() as u32);
                    if let Some(mac) = veth.peer_mac {
                        b.attribute(libc::IFLA_ADDRESS, &mac);
                    }
                    if let Some(mtu) = veth.mtu {
                        b.number(libc::IFLA_MTU, mtu);
                    }
                });
            });
        });
        batch.exchange(&self.netlink)
    }

    pub fn delete(&self, index: u32) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.message(libc::RTM_DELLINK, ACK, &link_head(index, false));
        batch.exchange(&self.netlink)
    }

    /// A route to one address over one link, and the neighbour behind it, so that nobody has to
    /// ask.
    pub fn route_to_task(&self, address: Ipv4Addr, mac: [u8; 6], index: u32) -> io::Result<()> {
        let mut batch = Batch::default();
        let flags = CREATE | REPLACE | ACK;
        let head = route_head(32, SCOPE_LINK, ROUTE_UNICAST, 0);
        batch
            .message(libc::RTM_NEWROUTE, flags, &head)
            .attribute(libc::RTA_DST, &address.octets())
            .number(libc::RTA_OIF, index);
        batch
            .message(libc::RTM_NEWNEIGH, flags, &neighbour_head(libc::AF_INET, index, 0))
            .attribute(libc::NDA_DST, &address.octets())
            .attribute(libc::NDA_LLADDR, &mac);
        batch.exchange(&self.netlink)
    }

    /// Loopback, and the task's address with a default route. All other addresses of the subnet are
    /// reached through the gateway too, as nothing else is on this link.
    pub fn configure_inside(&self, network: Option<(&NetworkSpec, u32)>) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.message(libc::RTM_NEWLINK, ACK, &link_head(LOOPBACK, true));
        if let Some((network, index)) = network {
            let address = network.address.octets();
            batch.message(libc::RTM_NEWLINK, ACK, &link_head(index, true));
            batch
                .message(libc::RTM_NEWADDR, CREATE | ACK, &address_head(index, network.prefix))
                .attribute(libc::IFA_LOCAL, &address)
                .attribute(libc::IFA_ADDRESS, &address)
                .number(libc::IFA_FLAGS, NO_PREFIX_ROUTE);
            let head = route_head(0, SCOPE_GLOBAL, ROUTE_UNICAST, ON_LINK);
            batch
                .message(libc::RTM_NEWROUTE, CREATE | ACK, &head)
                .attribute(libc::RTA_GATEWAY, &network.gateway.octets())
                .number(libc::RTA_OIF, index);
        }
        batch.exchange(&self.netlink)
    }

    pub fn up(&self, index: u32) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.message(libc::RTM_NEWLINK, ACK, &link_head(index, true));
        batch.exchange(&self.netlink)
    }

    /// Adds an address, or leaves it as it is.
    pub fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut batch = Batch::default();
        batch
            .message(libc::RTM_NEWADDR, CREATE | REPLACE | ACK, &address_head(index, prefix))
            .attribute(libc::IFA_LOCAL, &address.octets())
            .attribute(libc::IFA_ADDRESS, &address.octets());
        batch.exchange(&self.netlink)
    }

    pub fn delete_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut batch = Batch::default();
        batch
            .message(libc::RTM_DELADDR, ACK, &address_head(index, prefix))
            .attribute(libc::IFA_LOCAL, &address.octets());
        batch.exchange(&self.netlink)
    }

    /// Adds or replaces a route through a gateway.
    pub fn route(&self, to: Cidr, gateway: Ipv4Addr, index: u32) -> io::Result<()> {
        let mut batch = Batch::default();
        let head = route_head(to.prefix, SCOPE_GLOBAL, ROUTE_UNICAST, 0);
        let message = batch.message(libc::RTM_NEWROUTE, CREATE | REPLACE | ACK, &head);
        if to.prefix > 0 {
            message.attribute(libc::RTA_DST, &to.address.octets());
        }
        message.attribute(libc::RTA_GATEWAY, &gateway.octets()).number(libc::RTA_OIF, index);
        batch.exchange(&self.netlink)
    }

    /// Adds or replaces a route to one address by a machine on whatever link reaches it.
    pub fn route_by(&self, to: Ipv4Addr, by: Ipv4Addr) -> io::Result<()> {
        let mut batch = Batch::default();
        let head = route_head(32, SCOPE_GLOBAL, ROUTE_UNICAST, 0);
        batch
            .message(libc::RTM_NEWROUTE, CREATE | REPLACE | ACK, &head)
            .attribute(libc::RTA_DST, &to.octets())
            .attribute(libc::RTA_GATEWAY, &by.octets());
        batch.exchange(&self.netlink)
    }

    /// That route, and none that took its place.
    pub fn delete_route_by(&self, to: Ipv4Addr, by: Ipv4Addr) -> io::Result<()> {
        let mut batch = Batch::default();
        let mut head = route_head(32, libc::RT_SCOPE_NOWHERE, 0, 0);
        head[5] = 0;
        batch
            .message(libc::RTM_DELROUTE, ACK, &head)
            .attribute(libc::RTA_DST, &to.octets())
            .attribute(libc::RTA_GATEWAY, &by.octets());
        batch.exchange(&self.netlink)
    }

    /// Says of a range that what has no other route in it is not there.
    pub fn unreachable(&self, range: Cidr) -> io::Result<()> {
        let mut batch = Batch::default();
        let head = route_head(range.prefix, SCOPE_GLOBAL, ROUTE_UNREACHABLE, 0);
        batch
            .message(libc::RTM_NEWROUTE, CREATE | REPLACE | ACK, &head)
            .attribute(libc::RTA_DST, &range.address.octets());
        batch.exchange(&self.netlink)
    }

    /// Says the same in the name of `metric`, which tells whose word it is; any other route to the
    /// range with a lower metric counts more.
    pub fn refuse(&self, range: Cidr, metric: u32) -> io::Result<()> {
        self.change_refusal(libc::RTM_NEWROUTE, CREATE | REPLACE | ACK, range, metric)
    }

    /// No failure when nothing is refused in that name.
    pub fn refuse_no_more(&self, range: Cidr, metric: u32) -> io::Result<()> {
        match self.change_refusal(libc::RTM_DELROUTE, ACK, range, metric) {
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    fn change_refusal(&self, kind: u16, flags: u16, range: Cidr, metric: u32) -> io::Result<()> {
        let mut batch = Batch::default();
        let mut head = route_head(range.prefix, SCOPE_GLOBAL, ROUTE_UNREACHABLE, 0);
        head[5] = OWN_PROTOCOL;
        batch
            .message(kind, flags, &head)
            .attribute(libc::RTA_DST, &range.address.octets())
            .number(libc::RTA_PRIORITY, metric);
        batch.exchange(&self.netlink)
    }

    /// In whose names a range is refused.
    pub fn refusals(&self, range: Cidr) -> io::Result<Vec<u32>> {
        let all = netlink::dump(&self.netlink, libc::RTM_GETROUTE, &route_head(0, 0, 0, 0))?;
        let ours = all.iter().filter(|one| {
            let of = |at: usize| one.fixed.get(at).copied();
            of(1) == Some(range.prefix)
                && of(4) == Some(libc::RT_TABLE_MAIN)
                && of(5) == Some(OWN_PROTOCOL)
                && one.get(libc::RTA_DST) == Some(&range.address.octets()[..])
        });
        let metric = |one: &netlink::Answer| {
            one.get(libc::RTA_PRIORITY)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
        };
        Ok(ours.filter_map(metric).collect())
    }

    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { netlink: self.netlink.try_clone()? })
    }

    /// The addresses of an interface.
    pub fn addresses(&self, index: u32) -> io::Result<Vec<Ipv4Addr>> {
        let all = netlink::dump(&self.netlink, libc::RTM_GETADDR, &address_head(0, 0))?;
        let of = all.iter().filter(|one| one.fixed_number(4) == Some(index));
        Ok(of.filter_map(|one| address(one.get(libc::IFA_LOCAL)?)).collect())
    }

    /// The MTU of the interface that has an address. None: no interface has it.
    pub fn mtu_at(&self, own: Ipv4Addr) -> io::Result<Option<u32>> {
        let all = netlink::dump(&self.netlink, libc::RTM_GETADDR, &address_head(0, 0))?;
        let having = all.iter().find(|one| one.get(libc::IFA_LOCAL) == Some(&own.octets()[..]));
        let Some(index) = having.and_then(|one| one.fixed_number(4)) else { return Ok(None) };
        let all = netlink::dump(&self.netlink, libc::RTM_GETLINK, &link_head(0, false))?;
        let link = all.iter().find(|one| one.fixed_number(4) == Some(index));
        let mtu = link.and_then(|link| link.get(libc::IFLA_MTU)?.first_chunk::<4>());
        Ok(mtu.map(|bytes| u32::from_ne_bytes(*bytes)))
    }

    /// Single addresses that are reached over an interface.
    pub fn routes(&self, index: u32) -> io::Result<Vec<Ipv4Addr>> {
        let all = netlink::dump(&self.netlink, libc::RTM_GETROUTE, &route_head(0, 0, 0, 0))?;
        let main = [32, 0, 0, libc::RT_TABLE_MAIN];
        let single = all.iter().filter(|one| one.fixed.get(1..5) == Some(&main[..]));
        let over = single.filter(|one| one.get(libc::RTA_OIF) == Some(&index.to_ne_bytes()[..]));
        Ok(over.filter_map(|one| address(one.get(libc::RTA_DST)?)).collect())
    }

    /// The route to a single address, over whatever it leads or over one interface.
    pub fn delete_route(&self, over: Option<u32>, address: Ipv4Addr) -> io::Result<()> {
        let mut batch = Batch::default();
        // Of any scope and kind.
        let mut head = route_head(32, libc::RT_SCOPE_NOWHERE, 0, 0);
        head[5] = 0;
        let message = batch.message(libc::RTM_DELROUTE, ACK, &head);
        message.attribute(libc::RTA_DST, &address.octets());
        if let Some(index) = over {
            message.number(libc::RTA_OIF, index);
        }
        batch.exchange(&self.netlink)
    }

    pub fn add_tunnel(&self, tunnel: &Tunnel<'_>) -> io::Result<()> {
        let mut batch = Batch::default();
        batch
            .message(libc::RTM_NEWLINK, CREATE | EXCLUSIVE | ACK, &link_head(0, true))
            .text(libc::IFLA_IFNAME, tunnel.name)
            .attribute(libc::IFLA_ADDRESS, &tunnel.mac)
            .number(libc::IFLA_MTU, tunnel.mtu)
            .number(libc::IFLA_NET_NS_FD, tunnel.namespace.as_raw_fd() as u32)
            .nested(libc::IFLA_LINKINFO, |b| {
                b.text(libc::IFLA_INFO_KIND, "vxlan").nested(libc::IFLA_INFO_DATA, |b| {
                    b.number(VXLAN_ID, tunnel.network);
                    b.attribute(VXLAN_LOCAL, &tunnel.local.octets());
                    b.attribute(VXLAN_LEARNING, &[0]);
                    b.attribute(VXLAN_PORT, &tunnel.port.to_be_bytes());
                });
            });
        batch.exchange(&self.netlink)
    }

    /// Whether an interface is just this tunnel.
    pub fn is_tunnel(&self, tunnel: &Tunnel<'_>, index: u32) -> io::Result<bool> {
        let all = netlink::dump(&self.netlink, libc::RTM_GETLINK, &link_head(0, false))?;
        let link = all.iter().find(|one| one.fixed_number(4) == Some(index));
        let same = || {
            let info = netlink::attributes(link?.get(libc::IFLA_LINKINFO)?);
            let data = netlink::attributes(netlink::find(&info, libc::IFLA_INFO_DATA)?);
            let is = |kind, value: &[u8]| netlink::find(&data, kind) == Some(value);
            let same = link?.get(libc::IFLA_MTU) == Some(&tunnel.mtu.to_ne_bytes()[..])
                && is(VXLAN_ID, &tunnel.network.to_ne_bytes())
                && is(VXLAN_LOCAL, &tunnel.local.octets())
                && is(VXLAN_PORT, &tunnel.port.to_be_bytes());
            Some(same)
        };
        Ok(same().unwrap_or(false))
    }

    /// Which machine answers for a hardware address behind a tunnel.
    pub fn peer(&self, tunnel: u32, mac: [u8; 6], at: Ipv4Addr) -> io::Result<()> {
        let mut batch = Batch::default();
        let head = neighbour_head(libc::AF_BRIDGE, tunnel, libc::NTF_SELF);
        batch
            .message(libc::RTM_NEWNEIGH, CREATE | REPLACE | ACK, &head)
            .attribute(libc::NDA_LLADDR, &mac)
            .attribute(libc::NDA_DST, &at.octets());
        batch.exchange(&self.netlink)
    }
}
