//! Rules in AWS's words, as packets: of security groups and of network ACLs.

use super::PrefixLists;
use model::network::{
    AclPorts, AclRange, Cidr, NetworkAcl, NetworkAclEntry, SecurityGroup, SecurityGroupPeer,
    SecurityGroupRule,
};
use model::vpc_table::{AclRule, AclTable, GroupRule, GroupTable, Peer, Ports, Traffic};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

pub fn group(group: &SecurityGroup, lists: &PrefixLists) -> GroupTable {
    let mut table = GroupTable::default();
    for rule in &group.rules {
        let Some(traffic) = traffic(rule) else { continue };
        let rules = if rule.egress { &mut table.egress } else { &mut table.ingress };
        let mut add = |peer| rules.push(GroupRule { traffic, peer });
        match &rule.peer {
            SecurityGroupPeer::Range(range) => add(Peer::Range(*range)),
            SecurityGroupPeer::Group(group) => add(Peer::Group(group.clone())),
            SecurityGroupPeer::PrefixList(list) => {
                lists.get(list).into_iter().flatten().for_each(|range| add(Peer::Range(*range)));
            }
            SecurityGroupPeer::RangeV6(_) => {}
        }
    }
    table
}

/// None: no packet of IPv4.
fn traffic(rule: &SecurityGroupRule) -> Option<Traffic> {
    let number = match rule.protocol.as_str() {
        "-1" => return Some(Traffic::All),
        "tcp" => TCP,
        "udp" => UDP,
        "icmp" => ICMP,
        "icmpv6" => ICMP_V6,
        number => number.parse().ok()?,
    };
    let (from, to) = (rule.from_port.unwrap_or(-1), rule.to_port.unwrap_or(-1));
    match number {
        TCP => Some(Traffic::Tcp(ports(from, to)?)),
        UDP => Some(Traffic::Udp(ports(from, to)?)),
        ICMP => icmp(from, to),
        ICMP_V6 => None,
        other => Some(Traffic::Protocol(other)),
    }
}

/// AWS: -1, or none at all, for every port.
fn ports(from: i32, to: i32) -> Option<Ports> {
    if from < 0 && to < 0 {
        return Some(Ports::ALL);
    }
    let first = u16::try_from(from.max(0)).ok()?;
    let last = if to < 0 { u16::MAX } else { u16::try_from(to).ok()? };
    (first <= last).then_some(Ports { first, last })
}

/// AWS: a type, and a code of it; -1 for all.
fn icmp(kind: i32, code: i32) -> Option<Traffic> {
    let part = |number: i32| match number {
        -1 => Some(None),
        number => u8::try_from(number).ok().map(Some),
    };
    Some(Traffic::Icmp { kind: part(kind)?, code: part(code)? })
}

/// None: everything passes, in both directions.
pub fn acl(acl: &NetworkAcl) -> Option<AclTable> {
    let of = |egress: bool| {
        let mut entries: Vec<_> = acl.entries.iter().filter(|it| it.egress == egress).collect();
        entries.sort_by_key(|entry| entry.number);
        entries.into_iter().filter_map(acl_rule).collect::<Vec<_>>()
    };
    let table = AclTable { ingress: of(false), egress: of(true) };
    let open = |rules: &[AclRule]| {
        rules
            .first()
            .is_some_and(|it| it.allow && it.traffic == Traffic::All && it.range.prefix == 0)
    };
    (!open(&table.ingress) || !open(&table.egress)).then_some(table)
}

fn acl_rule(entry: &NetworkAclEntry) -> Option<AclRule> {
    let AclRange::V4(range) = &entry.range else { return None };
    let range: Cidr = *range;
    let all = AclPorts { first: 0, last: u16::MAX };
    let AclPorts { first, last } = entry.ports.unwrap_or(all);
    let traffic = match entry.protocol {
        None => Traffic::All,
        Some(TCP) => Traffic::Tcp(Ports { first, last }),
        Some(UDP) => Traffic::Udp(Ports { first, last }),
        Some(ICMP) => {
            let (kind, code) = entry.icmp.unwrap_or((-1, -1));
            icmp(kind, code)?
        }
        Some(other) => Traffic::Protocol(other),
    };
    Some(AclRule { allow: entry.allow, traffic, range })
}
