//! A VPC's rules as a table of nftables in its namespace. Two filters stand one behind the other
//! wherever a packet passes: `out` asks the groups of who sends, `in` those of who receives, and
//! what either does not let through is dropped. Both look up an address's chain in a map, and a
//! chain looks up members in sets: an interface that comes or goes is a few elements, and only a
//! change of rules rewrites chains. What belongs to a connection that was let in passes first, so
//! changing rules breaks no connection; AWS does the same with connections it tracks ("Amazon EC2
//! security group connection tracking"; we track all of them, none is cut). What must end at once
//! is for a network ACL, which looks at every packet.

use super::host::LINK_LOCAL;
use super::nft::{Action, Chain, Hook, Match, Place, Rule, SetKind, Table, Value};
use crate::spec::{
    self, AclRule, Cidr, Gateway, GroupRule, GroupTable, Peer, Ports, SecurityGroupId, SubnetTable,
    TableInterface, Traffic, VpcTable, WayOut,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Name of the table inside a VPC.
pub const TABLE: &str = "neargate";
/// Where each thing's chain is by its address: for what it sends, for what is sent to it.
const OUT: &str = "out-of";
const IN: &str = "in-to";
/// Addresses that this machine itself answers for, in the VPC's namespace.
const ENDPOINTS: &str = "endpoints";
/// Public addresses by private ones, and the other way round.
const PUBLIC_OF: &str = "public-of";
const PRIVATE_OF: &str = "private-of";
/// What every task may reach: sockets of ours on the router's addresses.
pub const SERVICES: &str = "services";

/// The chain of what goes to the uplink.
const LEAVE: &str = "leave";
/// The chain of endpoints without groups.
const OPEN: &str = "open";

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

/// Links of a VPC's namespace.
pub struct Names {
    /// All of tasks; ends in `*`.
    pub tasks: String,
    pub uplink: String,
    pub tunnel: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Out,
    In,
}

fn rule(matches: Vec<Match>, action: Action) -> Rule {
    Rule { matches, action }
}

fn at(hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { hook: Some((hook, priority)), rules }
}

fn place(set: impl Into<String>, address: Ipv4Addr) -> Place {
    Place { set: set.into(), key: address.octets().to_vec() }
}

fn members(group: &SecurityGroupId) -> String {
    format!("members {group}")
}

fn group_chain(direction: Direction, group: &SecurityGroupId) -> String {
    match direction {
        Direction::Out => format!("out {group}"),
        Direction::In => format!("in {group}"),
    }
}

/// The chain of everything that has just these groups.
fn groups_chain(direction: Direction, groups: &[SecurityGroupId]) -> String {
    let way = if direction == Direction::Out { "out of" } else { "in to" };
    let mut name = way.to_owned();
    for group in sorted(groups) {
        name.push(' ');
        name.push_str(group.as_str().trim_start_matches("sg-"));
    }
    name
}

fn sorted(groups: &[SecurityGroupId]) -> BTreeSet<&SecurityGroupId> {
    groups.iter().collect()
}

/// The whole table.
pub fn table(vpc: &VpcTable, host: Ipv4Addr, names: &Names, services: &BTreeSet<Vec<u8>>) -> Table {
    let mut table = Table::default();
    table.add_set(OUT, SetKind::Jumps);
    table.add_set(IN, SetKind::Jumps);
    table.add_set(ENDPOINTS, SetKind::Addresses);
    table.add_set(PUBLIC_OF, SetKind::Translations);
    table.add_set(PRIVATE_OF, SetKind::Translations);
    table.add_set(SERVICES, SetKind::Services);
    for key in services {
        table.put(Place { set: SERVICES.to_owned(), key: key.clone() }, None);
    }
    for (group, rules) in &vpc.groups {
        table.add_set(members(group), SetKind::Addresses);
        add_group(&mut table, vpc, group, rules);
    }
    for (address, interface) in &vpc.interfaces {
        for (name, chain) in chains(&vpc.groups, interface) {
            table.chains.entry(name).or_insert(chain);
        }
        for (place, value) in elements(*address, interface) {
            table.put(place, value);
        }
    }
    add_forward(&mut table, vpc, host, names);
    add_leave(&mut table, vpc);
    add_own(&mut table, names);
    add_acls(&mut table, &vpc.subnets);
    add_translation(&mut table, vpc, names);
    table
}

/// Chains that an interface needs and others may have, too.
pub fn chains(
    known: &BTreeMap<SecurityGroupId, GroupTable>,
    interface: &TableInterface,
) -> Vec<(String, Chain)> {
    if !is_here(interface) {
        return Vec::new();
    }
    if is_open(interface) {
        let rules = vec![rule(Vec::new(), Action::Accept)];
        return vec![(OPEN.to_owned(), Chain { hook: None, rules })];
    }
    let of = |direction| {
        let groups = sorted(&interface.groups).into_iter().filter(|g| known.contains_key(*g));
        let rules = groups.map(|g| rule(Vec::new(), Action::Jump(group_chain(direction, g))));
        (groups_chain(direction, &interface.groups), Chain { hook: None, rules: rules.collect() })
    };
    vec![of(Direction::Out), of(Direction::In)]
}

/// A network load balancer may have no groups, and then nothing is asked.
/// Source: ELB's guide on network load balancers, "Security groups".
fn is_open(interface: &TableInterface) -> bool {
    interface.place == spec::Place::Endpoint && interface.groups.is_empty()
}

fn is_here(interface: &TableInterface) -> bool {
    matches!(interface.place, spec::Place::Task | spec::Place::Endpoint)
}

/// What an interface puts into sets.
pub fn elements(address: Ipv4Addr, interface: &TableInterface) -> Vec<(Place, Option<Value>)> {
    let mut all: Vec<_> =
        interface.groups.iter().map(|g| (place(members(g), address), None)).collect();
    if !is_here(interface) {
        return all;
    }
    for (set, direction) in [(OUT, Direction::Out), (IN, Direction::In)] {
        let chain = match is_open(interface) {
            true => OPEN.to_owned(),
            false => groups_chain(direction, &interface.groups),
        };
        all.push((place(set, address), Some(Value::Jump(chain))));
    }
    if interface.place == spec::Place::Endpoint {
        all.push((place(ENDPOINTS, address), None));
    }
    if let Some(public) = interface.public {
        all.push((place(PUBLIC_OF, address), Some(Value::Address(public))));
        all.push((place(PRIVATE_OF, public), Some(Value::Address(address))));
    }
    all
}

fn add_group(table: &mut Table, vpc: &VpcTable, group: &SecurityGroupId, rules: &GroupTable) {
    for (direction, rules) in [(Direction::Out, &rules.egress), (Direction::In, &rules.ingress)] {
        let rules = rules.iter().filter_map(|one| group_rule(vpc, direction, one)).collect();
        table.chains.insert(group_chain(direction, group), Chain { hook: None, rules });
    }
}

/// None: a group that isn't there has no members.
fn group_rule(vpc: &VpcTable, direction: Direction, one: &GroupRule) -> Option<Rule> {
    let peer = match (&one.peer, direction) {
        (Peer::Range(range), Direction::Out) => Match::Destination(*range),
        (Peer::Range(range), Direction::In) => Match::Source(*range),
        (Peer::Group(group), _) if !vpc.groups.contains_key(group) => return None,
        (Peer::Group(group), Direction::Out) => Match::DestinationIn(members(group)),
        (Peer::Group(group), Direction::In) => Match::SourceIn(members(group)),
    };
    let mut matches = traffic(one.traffic);
    matches.push(peer);
    Some(rule(matches, Action::Accept))
}

fn traffic(traffic: Traffic) -> Vec<Match> {
    let ports = |protocol, Ports { first, last }| {
        let mut matches = vec![Match::Protocol(protocol)];
        if (Ports { first, last }) != Ports::ALL {
            matches.push(Match::Ports { first, last });
        }
        matches
    };
    match traffic {
        Traffic::All => Vec::new(),
        Traffic::Tcp(range) => ports(TCP, range),
        Traffic::Udp(range) => ports(UDP, range),
        Traffic::Protocol(number) => vec![Match::Protocol(number)],
        Traffic::Icmp { kind, code } => {
            let mut matches = vec![Match::Protocol(ICMP)];
            matches.extend(kind.map(Match::IcmpType));
            matches.extend(code.map(Match::IcmpCode));
            matches
        }
    }
}

/// What passes through: from tasks to tasks, here and elsewhere, and out.
fn add_forward(table: &mut Table, vpc: &VpcTable, host: Ipv4Addr, names: &Names) {
    let from_task = || Match::InputName(names.tasks.clone());
    let to_task = || Match::OutputName(names.tasks.clone());
    let known = || rule(vec![Match::KnownConnection], Action::Accept);
    let out = vec![
        known(),
        rule(vec![from_task()], Action::JumpBySource(OUT.to_owned())),
        rule(vec![from_task()], Action::Drop),
    ];
    table.chains.insert("forward-out".to_owned(), at(Hook::Forward, 0, out));
    let mut into = vec![known()];
    if vpc.host_route {
        let host = Match::Source(Cidr { address: host, prefix: 32 });
        let from = Match::InputName(names.uplink.clone());
        into.push(rule(vec![from, to_task(), host], Action::Accept));
    }
    into.push(rule(vec![to_task()], Action::JumpByDestination(IN.to_owned())));
    into.push(rule(vec![to_task()], Action::Drop));
    // Only tasks of this instance go elsewhere from here.
    into.push(rule(vec![Match::NotInputName(names.tasks.clone())], Action::Drop));
    into.push(rule(vec![Match::OutputName(names.tunnel.clone())], Action::Accept));
    into.push(rule(vec![Match::OutputName(names.uplink.clone())], Action::Jump(LEAVE.to_owned())));
    into.push(rule(Vec::new(), Action::Drop));
    table.chains.insert("forward-in".to_owned(), at(Hook::Forward, 10, into));
}

/// Of what goes to the uplink, what routes let out.
fn add_leave(table: &mut Table, vpc: &VpcTable) {
    let mut rules = vec![rule(vec![Match::Destination(LINK_LOCAL)], Action::Drop)];
    for (subnet, way) in ways(&vpc.subnets) {
        let matches = vec![Match::Source(subnet.cidr), Match::Destination(way.to)];
        match way.by {
            Gateway::Internet => {
                let mut has_public = matches.clone();
                has_public.push(Match::SourceIn(PUBLIC_OF.to_owned()));
                rules.push(rule(has_public, Action::Accept));
                rules.push(rule(matches, Action::Drop));
            }
            Gateway::Nat(_) => rules.push(rule(matches, Action::Accept)),
            Gateway::BlackHole => rules.push(rule(matches, Action::Drop)),
        }
    }
    rules.push(rule(Vec::new(), Action::Drop));
    table.chains.insert(LEAVE.to_owned(), Chain { hook: None, rules });
}

/// Every subnet's ways out, the most specific first.
fn ways(subnets: &[SubnetTable]) -> impl Iterator<Item = (&SubnetTable, &WayOut)> {
    subnets.iter().flat_map(|subnet| {
        let mut routes: Vec<_> = subnet.routes.iter().collect();
        routes.sort_by_key(|way| std::cmp::Reverse(way.to.prefix));
        routes.into_iter().map(move |way| (subnet, way))
    })
}

/// What this machine itself sends and receives in the VPC's namespace.
fn add_own(table: &mut Table, names: &Names) {
    let from_task = || Match::InputName(names.tasks.clone());
    let to_task = || Match::OutputName(names.tasks.clone());
    let endpoint = || Match::DestinationIn(ENDPOINTS.to_owned());
    let as_endpoint = || Match::SourceIn(ENDPOINTS.to_owned());
    let to_uplink = || Match::OutputName(names.uplink.clone());
    let known = || rule(vec![Match::KnownConnection], Action::Accept);
    let service = || rule(vec![from_task(), Match::ServiceIn(SERVICES.to_owned())], Action::Accept);
    let chains = [
        (
            "input-out",
            Hook::Input,
            0,
            vec![
                known(),
                service(),
                rule(vec![from_task(), endpoint()], Action::JumpBySource(OUT.to_owned())),
                rule(vec![from_task()], Action::Drop),
            ],
        ),
        (
            "input-in",
            Hook::Input,
            10,
            vec![
                known(),
                service(),
                rule(vec![endpoint()], Action::JumpByDestination(IN.to_owned())),
                rule(vec![endpoint()], Action::Drop),
                rule(vec![Match::InputName("lo".to_owned())], Action::Accept),
                rule(Vec::new(), Action::Drop),
            ],
        ),
        (
            "output-out",
            Hook::Output,
            0,
            vec![
                known(),
                rule(vec![as_endpoint()], Action::JumpBySource(OUT.to_owned())),
                rule(vec![as_endpoint()], Action::Drop),
            ],
        ),
        (
            "output-in",
            Hook::Output,
            10,
            vec![
                known(),
                rule(vec![to_task()], Action::JumpByDestination(IN.to_owned())),
                rule(vec![to_task()], Action::Drop),
                rule(vec![as_endpoint(), to_uplink()], Action::Jump(LEAVE.to_owned())),
            ],
        ),
        // From the machine and from outside, an endpoint is there by its public address only.
        (
            "arrival",
            Hook::Arrival,
            -150,
            vec![rule(vec![Match::InputName(names.uplink.clone()), endpoint()], Action::Drop)],
        ),
    ];
    for (name, hook, priority, rules) in chains {
        table.chains.insert(name.to_owned(), at(hook, priority, rules));
    }
}

/// Network ACLs look at every packet that crosses a subnet's edge, and know of no connections.
fn add_acls(table: &mut Table, subnets: &[SubnetTable]) {
    let mut jumps = Vec::new();
    for subnet in subnets {
        let Some(acl) = &subnet.acl else { continue };
        let (ours, name) = (subnet.cidr, format!("{}-{}", subnet.cidr.address, subnet.cidr.prefix));
        let out = (Match::Source(ours), Match::NotDestination(ours), "acl out ", &acl.egress);
        let into = (Match::Destination(ours), Match::NotSource(ours), "acl in ", &acl.ingress);
        for (one, other, way, entries) in [out, into] {
            let is_out = way == "acl out ";
            let mut rules: Vec<_> = entries.iter().map(|e| acl_rule(is_out, e)).collect();
            rules.push(rule(Vec::new(), Action::Drop));
            let chain = format!("{way}{name}");
            table.chains.insert(chain.clone(), Chain { hook: None, rules });
            jumps.push(rule(vec![one, other], Action::Jump(chain)));
        }
    }
    let with = |also: &dyn Fn() -> Match| -> Vec<Rule> {
        let mut rules = jumps.clone();
        rules.iter_mut().for_each(|rule| rule.matches.push(also()));
        rules
    };
    // What the router itself serves is no business of ACLs, on AWS neither.
    let into = with(&|| Match::DestinationIn(ENDPOINTS.to_owned()));
    let out = with(&|| Match::SourceIn(ENDPOINTS.to_owned()));
    table.chains.insert("input-acl".to_owned(), at(Hook::Input, -10, into));
    table.chains.insert("output-acl".to_owned(), at(Hook::Output, -10, out));
    table.chains.insert("forward-acl".to_owned(), at(Hook::Forward, -10, jumps));
}

fn acl_rule(is_out: bool, entry: &AclRule) -> Rule {
    let peer = if is_out { Match::Destination } else { Match::Source };
    let mut matches = traffic(entry.traffic);
    matches.push(peer(entry.range));
    rule(matches, if entry.allow { Action::Return } else { Action::Drop })
}

fn add_translation(table: &mut Table, vpc: &VpcTable, names: &Names) {
    let from = Match::InputName(names.uplink.clone());
    let into = vec![rule(vec![from], Action::DestinationNatByDestination(PRIVATE_OF.to_owned()))];
    table.chains.insert("prerouting".to_owned(), at(Hook::Prerouting, -100, into));
    let mut out = Vec::new();
    for (subnet, way) in ways(&vpc.subnets) {
        let uplink = Match::OutputName(names.uplink.clone());
        let matches = vec![uplink, Match::Source(subnet.cidr), Match::Destination(way.to)];
        match way.by {
            Gateway::Internet => {
                out.push(rule(matches, Action::SourceNatBySource(PUBLIC_OF.to_owned())));
            }
            Gateway::Nat(address) => out.push(rule(matches, Action::SourceNat(address))),
            Gateway::BlackHole => {}
        }
    }
    table.chains.insert("postrouting".to_owned(), at(Hook::Postrouting, 100, out));
}
