//! The rules of security groups as calls name them: a permission is a protocol, ports and many
//! peers; a rule has one peer. Also the older form, where a call is one permission by itself.
//! Source: API reference, IpPermission and AuthorizeSecurityGroupIngress.

use super::change::{canonical, canonical_v6, invalid, missing_parameter};
use super::create_default_vpc::default_vpc;
use super::delete_managed_prefix_list::named;
use super::describe::missing;
use super::nouns::{Resource, find};
use crate::context::Context;
use crate::fault::Fault;
use crate::limits::{GROUP_TEXT_CHARS_MAX, RULES_PER_GROUP_MAX};
use model::network::{ManagedPrefixList, SecurityGroup, SecurityGroupPeer, SecurityGroupRule, Vpc};
use std::sync::Arc;
use store::{Snapshot, Txn};
use wire::ec2::{IpPermission, IpRange, UserIdGroupPair};

/// The older form of the parameters.
#[derive(Default)]
pub struct Flat {
    pub cidr: Option<String>,
    pub protocol: Option<String>,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    pub source_group: Option<String>,
    pub source_owner: Option<String>,
}

/// What the call asks for, in the newer form. At least one permission.
pub fn given(
    permissions: Option<Vec<IpPermission>>,
    flat: Flat,
) -> Result<Vec<IpPermission>, Fault> {
    let permissions = permissions.unwrap_or_default();
    let is_flat = flat.cidr.is_some() || flat.protocol.is_some() || flat.source_group.is_some();
    match (permissions.is_empty(), is_flat) {
        (false, true) => Err(Fault::client(
            "InvalidParameterCombination",
            "The parameter 'ipPermissions' may not be used in combination with 'cidrIp'",
        )),
        (false, false) => Ok(permissions),
        (true, false) => Err(missing_parameter("ipPermissions")),
        (true, true) => {
            let all = flat.source_group.is_some() && flat.protocol.is_none();
            let ranges = flat.cidr.map(|cidr| IpRange { cidr_ip: Some(cidr), description: None });
            let pairs = flat.source_group.map(|name| UserIdGroupPair {
                group_name: Some(name),
                user_id: flat.source_owner,
                ..UserIdGroupPair::default()
            });
            Ok(vec![IpPermission {
                // A group without a protocol means everything from it.
                ip_protocol: flat.protocol.or_else(|| all.then(|| "-1".to_owned())),
                from_port: flat.from_port,
                to_port: flat.to_port,
                ip_ranges: ranges.map(|range| vec![range]),
                user_id_group_pairs: pairs.map(|pair| vec![pair]),
                ..IpPermission::default()
            }])
        }
    }
}

/// The rules of permissions, each checked; their ids are still empty.
pub fn rules(
    cx: &Context,
    txn: &mut Txn,
    vpc: &Vpc,
    permissions: &[IpPermission],
    egress: bool,
) -> Result<Vec<SecurityGroupRule>, Fault> {
    let mut rules = Vec::new();
    for permission in permissions {
        let ports = ports(permission)?;
        let peers = peers(cx, txn, vpc, permission)?;
        if peers.is_empty() {
            let text = "Invalid permission: no IP ranges, groups or prefix lists were specified";
            return Err(Fault::client("MissingParameter", text));
        }
        for (peer, description) in peers {
            check_description(description.as_deref())?;
            rules.push(SecurityGroupRule {
                id: String::new(),
                egress,
                protocol: ports.protocol.clone(),
                from_port: ports.from,
                to_port: ports.to,
                peer,
                description: description.filter(|text| !text.is_empty()),
                tags: model::Tags::new(),
            });
        }
    }
    Ok(rules)
}

/// A protocol in the form it is stored in, and its ports.
pub struct Ports {
    pub protocol: String,
    pub from: Option<i32>,
    pub to: Option<i32>,
}

fn ports(permission: &IpPermission) -> Result<Ports, Fault> {
    let protocol = permission.ip_protocol.as_deref();
    let protocol = protocol.ok_or_else(|| missing_parameter("ipProtocol"))?;
    checked_ports(protocol, permission.from_port, permission.to_port)
}

pub fn checked_ports(protocol: &str, from: Option<i32>, to: Option<i32>) -> Result<Ports, Fault> {
    let lower = protocol.to_ascii_lowercase();
    let name = match lower.as_str() {
        "6" => "tcp",
        "17" => "udp",
        "1" => "icmp",
        "58" => "icmpv6",
        "all" => "-1",
        known @ ("tcp" | "udp" | "icmp" | "icmpv6" | "-1") => known,
        number if number.parse::<u8>().is_ok() => number,
        _ => {
            let text = format!("Invalid value '{protocol}' for IP protocol. Unknown protocol.");
            return Err(invalid(text));
        }
    };
    let stored = |from, to| Ok(Ports { protocol: name.to_owned(), from, to });
    match name {
        "tcp" | "udp" => {
            let kind = name.to_ascii_uppercase();
            let (Some(from), Some(to)) = (from, to) else {
                let text = format!("Invalid {kind} port range: from and to ports are required.");
                return Err(invalid(text));
            };
            // -1 to -1 stands for all ports in some clients.
            let (from, to) = if (from, to) == (-1, -1) { (0, 65535) } else { (from, to) };
            if !(0..=65535).contains(&from) || !(0..=65535).contains(&to) || from > to {
                return Err(invalid(format!("Invalid {kind} port range ({from}, {to}).")));
            }
            stored(Some(from), Some(to))
        }
        "icmp" | "icmpv6" => {
            let (kind, code) = (from.unwrap_or(-1), to.unwrap_or(-1));
            if !(-1..=255).contains(&kind) || !(-1..=255).contains(&code) {
                return Err(invalid(format!("Invalid ICMP type or code ({kind}, {code}).")));
            }
            stored(Some(kind), Some(code))
        }
        // Other protocols have no ports; what is given for them means nothing.
        _ => stored(None, None),
    }
}

type Peer = (SecurityGroupPeer, Option<String>);

fn peers(
    cx: &Context,
    txn: &mut Txn,
    vpc: &Vpc,
    permission: &IpPermission,
) -> Result<Vec<Peer>, Fault> {
    let mut peers = Vec::new();
    for range in permission.ip_ranges.iter().flatten() {
        let peer = peer_range(range.cidr_ip.as_deref().unwrap_or_default())?;
        peers.push((peer, range.description.clone()));
    }
    for range in permission.ipv6_ranges.iter().flatten() {
        let peer = peer_range_v6(range.cidr_ipv6.as_deref().unwrap_or_default())?;
        peers.push((peer, range.description.clone()));
    }
    for list in permission.prefix_list_ids.iter().flatten() {
        let list_id = list.prefix_list_id.as_deref();
        let found = named(txn, list_id)?;
        let peer = SecurityGroupPeer::PrefixList(found.id.clone());
        peers.push((peer, list.description.clone()));
    }
    for pair in permission.user_id_group_pairs.iter().flatten() {
        peers.push((peer_group(cx, txn, vpc, pair)?, pair.description.clone()));
    }
    Ok(peers)
}

pub fn peer_range(text: &str) -> Result<SecurityGroupPeer, Fault> {
    let bad = || invalid(format!("CIDR block {text} is malformed"));
    canonical(text).map(SecurityGroupPeer::Range).ok_or_else(bad)
}

pub fn peer_range_v6(text: &str) -> Result<SecurityGroupPeer, Fault> {
    let bad = || invalid(format!("CIDR block {text} is malformed"));
    canonical_v6(text).map(SecurityGroupPeer::RangeV6).ok_or_else(bad)
}

fn peer_group(
    cx: &Context,
    txn: &mut Txn,
    vpc: &Vpc,
    pair: &UserIdGroupPair,
) -> Result<SecurityGroupPeer, Fault> {
    // There is one account, so a group of another is not there.
    if pair.user_id.as_deref().is_some_and(|owner| owner != cx.locality.account.as_str()) {
        let id = pair.group_id.as_deref().or(pair.group_name.as_deref()).unwrap_or_default();
        return Err(missing(&SecurityGroup::NOUN, id));
    }
    if let Some(id) = &pair.group_id {
        return peer_group_id(txn, vpc, id);
    }
    let name = pair.group_name.as_deref().ok_or_else(|| missing_parameter("groupId"))?;
    by_name(txn.snapshot(), vpc, name).map(|group| SecurityGroupPeer::Group(group.id.clone()))
}

/// A group of the same VPC: there is no peering, so one of another could never be met.
pub fn peer_group_id(txn: &mut Txn, vpc: &Vpc, id: &str) -> Result<SecurityGroupPeer, Fault> {
    let group = find::<SecurityGroup>(txn, Some(id))?;
    if group.vpc != vpc.id {
        let text = "You have specified two resources that belong to different networks.";
        return Err(Fault::client("InvalidGroup.NotFound", text));
    }
    Ok(SecurityGroupPeer::Group(group.id.clone()))
}

pub fn by_name(snapshot: &Snapshot, vpc: &Vpc, name: &str) -> Result<Arc<SecurityGroup>, Fault> {
    let mut groups = snapshot.scan::<SecurityGroup>("").map(|(_, group)| group);
    groups.find(|group| group.vpc == vpc.id && group.name == name).ok_or_else(|| {
        let place =
            if vpc.is_default { format!(" in default VPC '{}'", vpc.id) } else { String::new() };
        let text = format!("The security group '{name}' does not exist{place}");
        Fault::client("InvalidGroup.NotFound", text)
    })
}

/// The group that a call changes: by id, or, in the default VPC, by name.
pub fn group_given(
    txn: &mut Txn,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<Arc<SecurityGroup>, Fault> {
    match (id, name) {
        (Some(id), None) => find::<SecurityGroup>(txn, Some(id)),
        (Some(_), Some(_)) => {
            let text = "The parameters groupId and groupName cannot be used together";
            Err(Fault::client("InvalidParameterCombination", text))
        }
        (None, None) => Err(missing_parameter("groupId")),
        (None, Some(name)) => {
            let vpc = default_vpc(txn.snapshot()).ok_or_else(|| {
                let text = "No default VPC for this user";
                Fault::client("VPCIdNotSpecified", text)
            })?;
            let group = by_name(txn.snapshot(), &vpc, name)?;
            find::<SecurityGroup>(txn, Some(group.id.as_str()))
        }
    }
}

/// The same traffic: rules are told apart by that, not by what is said of them.
pub fn is_same(a: &SecurityGroupRule, b: &SecurityGroupRule) -> bool {
    (a.egress, &a.protocol, a.from_port, a.to_port, &a.peer)
        == (b.egress, &b.protocol, b.from_port, b.to_port, &b.peer)
}

pub fn check_description(text: Option<&str>) -> Result<(), Fault> {
    let Some(text) = text else { return Ok(()) };
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    if text.chars().count() <= GROUP_TEXT_CHARS_MAX && text.chars().all(allowed) {
        return Ok(());
    }
    Err(invalid(
        "Invalid rule description. Valid descriptions are strings less than 256 characters from \
         the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
    ))
}

/// A rule that names a prefix list counts as many as the list may hold.
pub fn check_count(txn: &mut Txn, rules: &[SecurityGroupRule], egress: bool) -> Result<(), Fault> {
    let mut count = 0;
    for rule in rules.iter().filter(|rule| rule.egress == egress) {
        count += match &rule.peer {
            SecurityGroupPeer::PrefixList(id) => txn
                .peek::<ManagedPrefixList>(id.as_str())
                .map_or(1, |list| list.max_entries as usize),
            _ => 1,
        };
    }
    if count <= RULES_PER_GROUP_MAX {
        return Ok(());
    }
    let text = "The maximum number of rules per security group has been reached.";
    Err(Fault::client("RulesPerSecurityGroupLimitExceeded", text))
}

/// As EC2 words a rule that is there already.
pub fn duplicate(rule: &SecurityGroupRule) -> Fault {
    let peer = match &rule.peer {
        SecurityGroupPeer::Range(range) => range.to_string(),
        SecurityGroupPeer::RangeV6(range) => range.clone(),
        SecurityGroupPeer::Group(id) => id.to_string(),
        SecurityGroupPeer::PrefixList(id) => id.to_string(),
    };
    let protocol = match rule.protocol.as_str() {
        "-1" => "ALL".to_owned(),
        other => other.to_ascii_uppercase(),
    };
    let ports = match (rule.protocol.as_str(), rule.from_port, rule.to_port) {
        ("tcp" | "udp", Some(from), Some(to)) => format!(", from port: {from}, to port: {to}"),
        ("icmp" | "icmpv6", Some(kind), Some(code)) => format!(", type: {kind}, code: {code}"),
        _ => String::new(),
    };
    let text =
        format!("the specified rule \"peer: {peer}, {protocol}{ports}, ALLOW\" already exists");
    Fault::client("InvalidPermission.Duplicate", text)
}
