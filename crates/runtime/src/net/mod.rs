//! The network of tasks. Every task has a network namespace with one interface, `eth0`; its other
//! end is in the namespace of the task's VPC, which routes: each task has a route of its own there,
//! and tasks share no Ethernet segment. So no task can answer for another's address, a VPC is not
//! bounded by the 1024 ports of a bridge, and what may reach what can be decided where packets are
//! routed.
//!
//! Launch time shaped how: the interface is born in the task's namespace with its final name and
//! address, up, in one request, and it is never deleted: the namespace goes, and it with it. Moving
//! a link between namespaces, or deleting one, waits tens of milliseconds for the kernel.

pub mod doors;
pub mod host;
pub mod link;
pub mod netlink;
pub mod nft;
pub mod passage;
pub mod router;
pub mod service;
pub mod tunnel;
pub mod vpc;
pub mod walls;

use crate::spec::NetworkSpec;
use crate::sys::socket;
use link::Links;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

/// The name of a task's interface, inside.
const INSIDE_NAME: &str = "eth0";

/// A task's interface, seen from its own namespace.
pub struct Interface {
    address: Option<(Ipv4Addr, u8)>,
}

/// The name of a task's interface in its VPC's namespace: interfaces have 15 bytes.
pub fn host_side_name(task: &str) -> String {
    let mut hasher = DefaultHasher::new();
    task.hash(&mut hasher);
    format!("t{:014x}", hasher.finish() >> 8)
}

fn with_context<T>(what: &str, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|e| io::Error::new(e.kind(), format!("{what}: {e}")))
}

/// Gives this process's network namespace its interfaces. `vpc` is a netlink socket of the VPC's
/// namespace.
pub fn attach(
    network: Option<&NetworkSpec>,
    vpc: Option<&OwnedFd>,
    host_side: &str,
) -> io::Result<Interface> {
    let inside = Links::here()?;
    let (Some(network), Some(vpc)) = (network, vpc) else {
        with_context("bringing up loopback", inside.configure_inside(None))?;
        return Ok(Interface { address: None });
    };
    let namespace = File::open("/proc/self/ns/net")?;
    let vpc = Links::over(vpc.try_clone()?);
    let veth = link::Veth {
        name: host_side,
        peer_name: INSIDE_NAME,
        peer_namespace: namespace.as_fd(),
        peer_mac: Some(network.mac),
        mtu: network.mtu,
    };
    with_context("making the task's interface", vpc.add_veth(&veth))?;
    let outer = vpc.index(host_side)?;
    let routed = vpc.route_to_task(network.address, network.mac, outer);
    with_context("routing to the task's address", routed)?;
    let inner = inside.index(INSIDE_NAME)?;
    let configured = inside.configure_inside(Some((network, inner)));
    with_context("configuring the task's interface", configured)?;
    Ok(Interface { address: Some((network.address, network.prefix)) })
}

impl Interface {
    /// Makes the address free: this namespace, which may live on for a moment, answers for it no
    /// more.
    pub fn release(self) {
        let Some((address, prefix)) = self.address else { return };
        let released = Links::here().and_then(|links| {
            let index = links.index(INSIDE_NAME)?;
            links.delete_address(index, address, prefix)
        });
        if let Err(e) = released {
            // The namespace ends in a moment anyway.
            let text = format!("releasing {address}: {e}\n");
            let _ = socket::write(crate::sys::STDERR, text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_tell_tasks_apart() {
        let a = host_side_name("0123456789abcdef0123456789abcdef");
        let b = host_side_name("0123456789abcdef0123456789abcdee");
        assert_eq!(a.len(), 15);
        assert_ne!(a, b);
    }
}
