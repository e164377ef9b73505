//! The machine's own side of VPCs: what it translates, forwards and refuses for them. One table of
//! nftables for a runtime, with the public addresses of its VPCs as a set. The machine may talk to
//! tasks; tasks may not talk to it, nor to each other through it but by public address.

use super::nft::{self, Action, Chain, Hook, Match, Place, Rule, SetKind, Table, Transaction};
use crate::spec::{self, Cidr, Gateway, InterfaceChanges, TableInterface, VpcTable};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub const LINK_LOCAL: Cidr = Cidr { address: Ipv4Addr::new(169, 254, 0, 0), prefix: 16 };
/// Where uplinks' addresses are from: link-local, four for each. Away from 169.254.169.0/24 and
/// 169.254.170.0/24, which are AWS's own.
pub const UPLINKS: Cidr = Cidr { address: Ipv4Addr::new(169, 254, 192, 0), prefix: 18 };
/// Addresses that stand for one interface of a VPC.
const PUBLIC: &str = "public";
/// All public addresses that a VPC's packets may bear, those of NAT gateways too.
const SOURCES: &str = "sources";

/// The name of a runtime's table on the machine itself.
pub fn table_name(tag: &str) -> String {
    format!("neargate-{tag}")
}

/// The table, with no public addresses in it. `uplinks` is how all uplinks are called.
pub fn table(uplinks: &str) -> Table {
    let from = || Match::InputName(uplinks.to_owned());
    let to = || Match::OutputName(uplinks.to_owned());
    let outside = || Match::NotOutputName(uplinks.to_owned());
    let rule = |matches, action| Rule { matches, action };
    let chain = |hook, priority, rules| Chain { hook: Some((hook, priority)), rules };
    let mut table = Table::default();
    table.add_set(PUBLIC, SetKind::Addresses);
    table.add_set(SOURCES, SetKind::Addresses);
    let input = vec![
        rule(vec![from(), Match::KnownConnection], Action::Accept),
        rule(vec![from()], Action::Drop),
    ];
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

/// Writes into the table, and into the transaction, what changed between two states of a VPC.
pub fn change(
    transaction: &mut Transaction<'_>,
    table: &mut Table,
    before: &BTreeMap<Ipv4Addr, bool>,
    after: &BTreeMap<Ipv4Addr, bool>,
) {
    let mut old = BTreeMap::new();
    for (addresses, there) in [(before, false), (after, true)] {
        for (address, is_interface) in addresses {
            let sets = std::iter::once(SOURCES).chain(is_interface.then_some(PUBLIC));
            for set in sets {
                let place = Place { set: set.to_owned(), key: address.octets().to_vec() };
                nft::remember(table, &place, &mut old);
                if there {
                    table.put(place, None);
                } else {
                    table.take(&place);
                }
            }
        }
    }
    transaction.changed(table, &old);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awss_own_addresses_are_no_uplinks() {
        for other in [super::super::service::METADATA, super::super::service::RESOLVER] {
            assert!(LINK_LOCAL.contains(other) && !UPLINKS.contains(other), "{other}");
        }
        assert!(LINK_LOCAL.contains(UPLINKS.address));
        let table = table("ng0-*");
        assert_eq!(table.sets.len(), 2);
    }
}
