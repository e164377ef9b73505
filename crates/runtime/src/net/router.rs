//! One VPC on this instance: a network namespace that routes between the VPC's tasks, out through
//! the uplink, and through a tunnel to other instances. It holds sockets of that namespace, so that
//! a change costs no thread: a batch of netlink messages for each of routes and rules.

use super::host::UPLINKS;
use super::link::Links;
use super::nft::{self, Table, Transaction};
use super::tunnel::{self, Underlay};
use super::{service, walls};
use crate::spec::{Cidr, InterfaceChanges, Place, TableInterface, VpcTable};
use crate::sys::{mount, process, socket};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// The uplink, seen from inside.
pub const UPLINK_INSIDE: &str = "up0";
pub const UPLINK_PREFIX: u8 = 30;
const EVERYWHERE: Cidr = Cidr { address: Ipv4Addr::UNSPECIFIED, prefix: 0 };

/// Set in each VPC's namespace before any interface is made, as interfaces copy them at birth:
/// packets are forwarded, a task can't send from an address that isn't its own, and IPv6 is not
/// spoken.
const SETTINGS: [(&str, &str); 7] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "1"),
    ("ipv4/conf/default/rp_filter", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    // When one of several who listen on an address ends, the others get what it did not accept.
    ("ipv4/tcp_migrate_req", "1"),
];

pub struct Router {
    pub namespace: Arc<OwnedFd>,
    /// Which of the uplinks' addresses it has.
    pub slot: u32,
    /// None: found, and not told yet what it should be.
    state: Option<State>,
    services: BTreeSet<Vec<u8>>,
}

struct State {
    links: Links,
    filter: OwnedFd,
    /// The number of the loopback interface, and of the tunnel if there is one.
    loopback: u32,
    tunnel: Option<u32>,
    table: VpcTable,
    rules: Table,
}

pub fn names() -> walls::Names {
    walls::Names {
        tasks: "t*".to_owned(),
        uplink: UPLINK_INSIDE.to_owned(),
        tunnel: tunnel::NAME.to_owned(),
    }
}

/// Runs `work` in a thread of its own, which may change its network namespace for good.
pub fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    std::thread::spawn(work).join().expect("work of ours doesn't panic")
}

/// Does something in a thread in a network namespace.
pub fn inside<T: Send + 'static>(
    namespace: Arc<OwnedFd>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    in_thread(move || {
        process::setns(namespace.as_fd(), libc::CLONE_NEWNET)?;
        work()
    })
}

/// A new namespace, held by a mount.
pub fn pin(target: &Path) -> io::Result<OwnedFd> {
    let target = target.to_owned();
    in_thread(move || {
        process::unshare(libc::CLONE_NEWNET)?;
        let own = Path::new("/proc/thread-self/ns/net");
        mount::mount_flags(Some(own), &target, libc::MS_BIND)?;
        Ok(OwnedFd::from(fs::File::open(&target)?))
    })
}

impl Router {
    pub fn new(namespace: OwnedFd, slot: u32) -> Self {
        Self { namespace: Arc::new(namespace), slot, state: None, services: BTreeSet::new() }
    }

    pub fn table(&self) -> Option<&VpcTable> {
        self.state.as_ref().map(|state| &state.table)
    }

    /// The addresses of the uplink: on the host, in the VPC.
    pub fn uplink_addresses(&self) -> (Ipv4Addr, Ipv4Addr) {
        let base = u32::from(UPLINKS.address) + self.slot * 4;
        (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2))
    }

    /// Does something in a thread in the namespace.
    pub fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        inside(self.namespace.clone(), work)
    }

    pub fn apply_settings(&self) -> io::Result<()> {
        self.inside(apply_settings)
    }

    /// Makes the namespace what the table says, whatever it was before. Its uplink is there.
    pub fn replace(&mut self, table: &VpcTable, underlay: Option<&Underlay>) -> io::Result<()> {
        let (host, own) = self.uplink_addresses();
        let before = self.state.take();
        let rules = walls::table(table, host, &names(), &self.services);
        let (links, filter) = match &before {
            Some(state) => (state.links.try_clone()?, state.filter.try_clone()?),
            None => self.inside(|| {
                let links = Links::here()?;
                Ok((links, socket::netlink(libc::NETLINK_NETFILTER)?))
            })?,
        };
        // The walls come first: nothing may pass that they would not let through.
        nft::replace(&filter, walls::TABLE, before.as_ref().map(|state| &state.rules), &rules)?;
        let loopback = links.index("lo")?;
        links.up(loopback)?;
        let uplink = links.index(UPLINK_INSIDE)?;
        links.up(uplink)?;
        links.add_address(uplink, own, UPLINK_PREFIX)?;
        links.route(EVERYWHERE, host, uplink)?;
        for cidr in &table.cidrs {
            links.unreachable(*cidr)?;
        }
        let tunnel = match underlay {
            None => None,
            Some(underlay) => {
                let number = table.network_number;
                Some(tunnel::ensure(&links, self.namespace.as_fd(), number, underlay)?)
            }
        };
        let own_addresses = own_addresses(table);
        for address in &own_addresses {
            links.add_address(loopback, *address, 32)?;
        }
        for stale in links.addresses(loopback)? {
            if !stale.is_loopback() && !own_addresses.contains(&stale) {
                links.delete_address(loopback, stale, 32)?;
            }
        }
        if let Some(tunnel) = tunnel {
            tunnel::replace(&links, tunnel, &remote(&table.interfaces))?;
        }
        let table = table.clone();
        self.state = Some(State { links, filter, loopback, tunnel, table, rules });
        Ok(())
    }

    /// Interfaces come and go; rules stay. False: the whole table must be given first.
    pub fn change(&mut self, changes: &InterfaceChanges) -> io::Result<bool> {
        let Some(mut state) = self.state.take() else { return Ok(false) };
        // What can't be done leaves no state: the next thing to do is to replace everything.
        state.change_rules(changes)?;
        state.change_links(changes)?;
        state.forget_connections(changes);
        changes.apply(&mut state.table.interfaces);
        self.state = Some(state);
        Ok(true)
    }

    /// Lets tasks reach a socket of ours.
    pub fn open(&mut self, address: Ipv4Addr, protocol: u8, port: u16) -> io::Result<()> {
        let key = nft::service_key(address, protocol, port);
        if !self.services.insert(key.clone()) {
            return Ok(());
        }
        let Some(state) = &mut self.state else { return Ok(()) };
        let place = nft::Place { set: walls::SERVICES.to_owned(), key: key.clone() };
        state.rules.put(place, None);
        let mut transaction = Transaction::new(walls::TABLE);
        transaction.elements(true, walls::SERVICES, std::iter::once((&key, &None)));
        transaction.commit(&state.filter)
    }
}

impl State {
    fn change_rules(&mut self, changes: &InterfaceChanges) -> io::Result<()> {
        let mut transaction = Transaction::new(walls::TABLE);
        let mut before = BTreeMap::new();
        let known = &self.table.interfaces;
        let old = changes.remove.iter().chain(changes.upsert.keys());
        for (address, interface) in old.filter_map(|a| Some((a, known.get(a)?))) {
            for (place, _) in walls::elements(*address, interface) {
                nft::remember(&self.rules, &place, &mut before);
                self.rules.take(&place);
            }
        }
        for (address, interface) in &changes.upsert {
            for (name, chain) in walls::chains(&self.table.groups, interface) {
                if let Entry::Vacant(vacant) = self.rules.chains.entry(name) {
                    transaction.chain(vacant.key(), &chain);
                    transaction.rules(vacant.key(), &chain.rules);
                    vacant.insert(chain);
                }
            }
            for (place, value) in walls::elements(*address, interface) {
                nft::remember(&self.rules, &place, &mut before);
                self.rules.put(place, value);
            }
        }
        transaction.changed(&self.rules, &before);
        transaction.commit(&self.filter)
    }

    fn change_links(&self, changes: &InterfaceChanges) -> io::Result<()> {
        let known = &self.table.interfaces;
        let of = |address: &Ipv4Addr| known.get(address).map(|interface| interface.place);
        let stay = |address: &&Ipv4Addr| changes.upsert.contains_key(*address);
        for address in changes.remove.iter().filter(|address| !stay(address)) {
            match of(address) {
                Some(Place::Endpoint) => self.links.delete_address(self.loopback, *address, 32)?,
                Some(Place::Instance(_)) => self.leave_tunnel(*address)?,
                _ => {}
            }
        }
        for (address, interface) in &changes.upsert {
            let before = of(address);
            if before == Some(interface.place) {
                continue;
            }
            match before {
                Some(Place::Endpoint) => self.links.delete_address(self.loopback, *address, 32)?,
                Some(Place::Instance(_)) => self.leave_tunnel(*address)?,
                _ => {}
            }
            match (interface.place, self.tunnel) {
                (Place::Endpoint, _) => self.links.add_address(self.loopback, *address, 32)?,
                (Place::Instance(at), Some(tunnel)) => {
                    tunnel::enter(&self.links, tunnel, *address, at)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn leave_tunnel(&self, address: Ipv4Addr) -> io::Result<()> {
        self.tunnel.map_or(Ok(()), |tunnel| tunnel::leave(&self.links, tunnel, address))
    }

    /// Whoever gets an address next must not inherit the connections of who had it.
    fn forget_connections(&self, changes: &InterfaceChanges) {
        for address in &changes.remove {
            if !self.table.interfaces.contains_key(address) {
                continue;
            }
            if let Err(e) = nft::forget_connections(&self.filter, *address) {
                // They end by themselves; kernels before 5.8 can't be told.
                tracing::debug!(%address, "connections could not be forgotten: {e}");
            }
        }
    }
}

fn own_addresses(table: &VpcTable) -> BTreeSet<Ipv4Addr> {
    let endpoints = table.interfaces.iter().filter(|(_, i)| i.place == Place::Endpoint);
    let gateways = table.subnets.iter().map(|subnet| subnet.gateway);
    let services = service::addresses(table);
    endpoints.map(|(address, _)| *address).chain(gateways).chain(services).collect()
}

fn remote(interfaces: &BTreeMap<Ipv4Addr, TableInterface>) -> BTreeMap<Ipv4Addr, Ipv4Addr> {
    let there = interfaces.iter().filter_map(|(address, interface)| match interface.place {
        Place::Instance(at) => Some((*address, at)),
        _ => None,
    });
    there.collect()
}

fn apply_settings() -> io::Result<()> {
    for (name, value) in SETTINGS {
        match fs::write(format!("/proc/sys/net/{name}"), value) {
            // A kernel without IPv6, or before 5.14.
            Err(e) if e.kind() == io::ErrorKind::NotFound && is_optional(name) => {}
            other => other?,
        }
    }
    Ok(())
}

fn is_optional(setting: &str) -> bool {
    setting.starts_with("ipv6") || setting == "ipv4/tcp_migrate_req"
}
