//! The machine's own side of VPCs: what it translates, forwards and refuses for them. One table of
//! nftables for a runtime, with the public addresses of its VPCs as a set. The machine may talk to
//! tasks; tasks may not talk to it, nor to each other through it but by public address.
//!
//! Addresses of the pool that stand for nothing here are not the world's either: one route for each
//! runtime says that the pool is not there, and every address that is has a route of its own.
//!
//! Packets of VPCs' tunnels are taken from the instances that have tasks of that VPC, and from
//! nobody else. Only packets with a number of ours are judged: other overlays, and other runtimes
//! on the same port, are none of our business.

use super::nft::{self, Action, Chain, Hook, Match, Place, Rule, SetKind, Table, Transaction};
use crate::spec::{self, Cidr, Gateway, InterfaceChanges, TableInterface, VpcTable};
use model::network::PublicPool;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

pub const LINK_LOCAL: Cidr = Cidr { address: Ipv4Addr::new(169, 254, 0, 0), prefix: 16 };
/// Where uplinks' addresses are from: link-local, four for each. Away from 169.254.169.0/24 and
/// 169.254.170.0/24, which are AWS's own.
pub const UPLINKS: Cidr = Cidr { address: Ipv4Addr::new(169, 254, 192, 0), prefix: 18 };
/// Addresses that stand for one interface of a VPC.
const PUBLIC: &str = "public";
/// All public addresses that a VPC's packets may bear, those of NAT gateways too.
const SOURCES: &str = "sources";

/// Numbers of VPCs between instances, and with each number who may send in its name.
const NETWORKS: &str = "networks";
const PEERS: &str = "peers";
const UDP: u8 = 17;
/// Metrics of routes that say that the pool is not there: higher than any that a person or a
/// routing daemon gives, so that who has a way to the pool is not stood in the way of.
const REFUSAL_METRICS: u32 = 1 << 31;

/// Where public addresses are from.
pub const POOL: Cidr = PublicPool::RANGE_DEFAULT;

/// In whose name a runtime refuses the pool. FNV-1a: the same in every version of ours.
pub fn refusal_metric(tag: &str) -> u32 {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    REFUSAL_METRICS | tag.bytes().fold(0x811c_9dc5, mix)
}

/// Of a metric that some runtime gave.
pub fn is_refusal(metric: u32) -> bool {
    metric & REFUSAL_METRICS != 0
}

/// The name of a runtime's table on the machine itself.
pub fn table_name(tag: &str) -> String {
    format!("neargate-{tag}")
}

/// The table, with no public addresses in it. `uplinks` is how all uplinks are called; `tunnels` is
/// the port that tunnels arrive at, where there are any.
pub fn table(uplinks: &str, tunnels: Option<u16>) -> Table {
    let from = || Match::InputName(uplinks.to_owned());
    let to = || Match::OutputName(uplinks.to_owned());
    let outside = || Match::NotOutputName(uplinks.to_owned());
    let rule = |matches, action| Rule { matches, action };
    let chain = |hook, priority, rules| Chain { hook: Some((hook, priority)), rules };
    let mut table = Table::default();
    table.add_set(PUBLIC, SetKind::Addresses);
    table.add_set(SOURCES, SetKind::Addresses);
    let mut input = vec![
        rule(vec![from(), Match::KnownConnection], Action::Accept),
        rule(vec![from()], Action::Drop),
    ];
    if let Some(port) = tunnels {
        table.add_set(NETWORKS, SetKind::Networks);
        table.add_set(PEERS, SetKind::Peers);
        let stranger = vec![
            Match::Protocol(UDP),
            Match::Ports { first: port, last: port },
            Match::NetworkIn(NETWORKS.to_owned()),
            Match::PeerNotIn(PEERS.to_owned()),
        ];
        input.push(rule(stranger, Action::Drop));
    }
    table.chains.insert("input".to_owned(), chain(Hook::Input, 0, input));
    let forward = vec![
        rule(vec![from(), Match::Destination(LINK_LOCAL)], Action::Drop),
        rule(vec![to(), Match::KnownConnection], Action::Accept),
        rule(vec![to(), Match::DestinationIn(PUBLIC.to_owned())], Action::Accept),
        rule(vec![to()], Action::Drop),
    ];
    table.chains.insert("forward".to_owned(), chain(Hook::Forward, 0, forward));
    let postrouting = vec![
        rule(vec![outside(), Match::Source(UPLINKS)], Action::Masquerade),
        rule(vec![outside(), Match::SourceIn(SOURCES.to_owned())], Action::Masquerade),
    ];
    table.chains.insert("postrouting".to_owned(), chain(Hook::Postrouting, 100, postrouting));
    table
}

/// The public addresses of a VPC, and whether each stands for an interface.
pub fn addresses(table: Option<&VpcTable>) -> BTreeMap<Ipv4Addr, bool> {
    let Some(table) = table else { return BTreeMap::new() };
    let ways = table.subnets.iter().flat_map(|subnet| &subnet.routes);
    let gateways = ways.filter_map(|way| match way.by {
        Gateway::Nat(address) => Some((address, false)),
        Gateway::Internet | Gateway::BlackHole => None,
    });
    gateways.chain(table.interfaces.values().filter_map(public)).collect()
}

/// Those of interfaces that a change is about.
pub fn changed_addresses(
    table: Option<&VpcTable>,
    changes: &InterfaceChanges,
) -> BTreeMap<Ipv4Addr, bool> {
    let Some(table) = table else { return BTreeMap::new() };
    let about = changes.remove.iter().chain(changes.upsert.keys());
    about.filter_map(|address| public(table.interfaces.get(address)?)).collect()
}

/// Only the instance that an interface is at answers for its public address.
fn public(interface: &TableInterface) -> Option<(Ipv4Addr, bool)> {
    let here = matches!(interface.place, spec::Place::Task | spec::Place::Endpoint);
    Some((interface.public.filter(|_| here)?, true))
}

/// The public address of an interface at another instance, and that instance's own.
pub fn elsewhere(interface: &TableInterface) -> Option<(Ipv4Addr, Ipv4Addr)> {
    match interface.place {
        spec::Place::Instance(at) => Some((interface.public?, at)),
        _ => None,
    }
}

fn address_places(addresses: &BTreeMap<Ipv4Addr, bool>) -> impl Iterator<Item = Place> {
    addresses.iter().flat_map(|(address, is_interface)| {
        let sets = std::iter::once(SOURCES).chain(is_interface.then_some(PUBLIC));
        sets.map(|set| Place { set: set.to_owned(), key: address.octets().to_vec() })
    })
}

pub fn add_addresses(table: &mut Table, addresses: &BTreeMap<Ipv4Addr, bool>) {
    address_places(addresses).for_each(|place| table.put(place, None));
}

pub fn add_tunnel(table: &mut Table, tunnel: &Tunnel) {
    tunnel.places().for_each(|place| table.put(place, None));
}

/// Writes into the table, and into the transaction, what changed between two states of a VPC.
pub fn change(
    transaction: &mut Transaction<'_>,
    table: &mut Table,
    before: &BTreeMap<Ipv4Addr, bool>,
    after: &BTreeMap<Ipv4Addr, bool>,
) {
    move_places(transaction, table, address_places(before), address_places(after));
}

fn move_places(
    transaction: &mut Transaction<'_>,
    table: &mut Table,
    before: impl Iterator<Item = Place>,
    after: impl Iterator<Item = Place>,
) {
    let mut old = BTreeMap::new();
    for (place, there) in before.map(|it| (it, false)).chain(after.map(|it| (it, true))) {
        nft::remember(table, &place, &mut old);
        if there {
            table.put(place, None);
        } else {
            table.take(&place);
        }
    }
    transaction.changed(table, &old);
}

/// A VPC's number between instances, and the instances that have tasks of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    number: u32,
    peers: BTreeSet<Ipv4Addr>,
}

impl Tunnel {
    pub fn of(table: &VpcTable) -> Self {
        let at = |interface: &TableInterface| match interface.place {
            spec::Place::Instance(at) => Some(at),
            _ => None,
        };
        let peers = table.interfaces.values().filter_map(at).collect();
        Self { number: table.network_number, peers }
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let place = |set: &str, key| Place { set: set.to_owned(), key };
        let peers = self.peers.iter().map(move |at| place(PEERS, nft::peer_key(self.number, *at)));
        peers.chain([place(NETWORKS, nft::network_key(self.number))])
    }
}

/// Like `change`, for who may send in a VPC's name.
pub fn change_tunnel(
    transaction: &mut Transaction<'_>,
    table: &mut Table,
    before: Option<&Tunnel>,
    after: Option<&Tunnel>,
) {
    let places = |tunnel: Option<&Tunnel>| tunnel.into_iter().flat_map(Tunnel::places).collect();
    let (before, after): (Vec<_>, Vec<_>) = (places(before), places(after));
    move_places(transaction, table, before.into_iter(), after.into_iter());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_refuse_the_pool_in_names_of_their_own() {
        let metrics = ["0123abcd", "0123abce", "a"].map(refusal_metric);
        assert!(metrics.iter().all(|metric| is_refusal(*metric)), "{metrics:?}");
        assert_eq!(BTreeSet::from(metrics).len(), 3);
        assert!(!is_refusal(0) && !is_refusal(1024));
    }

    #[test]
    fn awss_own_addresses_are_no_uplinks() {
        for other in [super::super::service::METADATA, super::super::service::RESOLVER] {
            assert!(LINK_LOCAL.contains(other) && !UPLINKS.contains(other), "{other}");
        }
        assert!(LINK_LOCAL.contains(UPLINKS.address));
        assert_eq!(table("ng0-*", None).sets.len(), 2);
        assert_eq!(table("ng0-*", Some(14_789)).sets.len(), 4);
    }
}
