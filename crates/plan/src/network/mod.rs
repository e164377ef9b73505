//! From the records of a VPC to the table that its instances carry out: names become addresses, a
//! route whose target is gone becomes a black hole, a rule in AWS's words becomes one that says
//! which packets it means. What can't be said in IPv4 is left out, as no task speaks IPv6.

mod rules;

use model::network::{
    Cidr, InterfaceKind, InternetGateway, ManagedPrefixList, NatGateway, NetworkAcl,
    NetworkInterface, RouteDestination, RouteTable, RouteTarget, SecurityGroup, Subnet, Vpc,
};
use model::vpc_table::{Gateway, Place, SubnetTable, TableInterface, VpcTable, WayOut};
use model::{InstanceId, PrefixListId, SubnetId, VpcId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Bits of the number that tells VPCs' packets apart between instances.
const NETWORK_NUMBER_BITS: u32 = 24;

/// All there is of each kind; records of other VPCs don't matter.
#[derive(Clone, Copy, Default)]
pub struct Records<'a> {
    pub vpcs: &'a [&'a Vpc],
    pub subnets: &'a [&'a Subnet],
    pub route_tables: &'a [&'a RouteTable],
    pub internet_gateways: &'a [&'a InternetGateway],
    pub nat_gateways: &'a [&'a NatGateway],
    pub groups: &'a [&'a SecurityGroup],
    pub acls: &'a [&'a NetworkAcl],
    pub prefix_lists: &'a [&'a ManagedPrefixList],
}

/// Where tables are carried out.
#[derive(Clone, Copy)]
pub struct Instances<'a> {
    /// Whose table it is.
    pub here: &'a InstanceId,
    /// Addresses between instances, of those that have one.
    pub underlays: &'a BTreeMap<InstanceId, Ipv4Addr>,
    /// Which of them serves load balancers.
    pub balancing: Option<&'a InstanceId>,
}

/// A VPC's table without its interfaces. None: there is no such VPC.
pub fn rules(records: &Records<'_>, vpc: &VpcId) -> Option<VpcTable> {
    let found = records.vpcs.iter().find(|one| one.id == *vpc)?;
    let groups = records.groups.iter().filter(|group| group.vpc == *vpc);
    let lists = prefix_lists(records);
    let subnets = records.subnets.iter().filter(|subnet| subnet.vpc == *vpc);
    let subnets = subnets.filter_map(|subnet| {
        Some(SubnetTable {
            cidr: subnet.cidr,
            // AWS: the second address of a subnet is its router's.
            gateway: subnet.cidr.nth(1)?,
            routes: routes(records, subnet, &lists),
            acl: acl_of(records, subnet).and_then(rules::acl),
        })
    });
    Some(VpcTable {
        id: vpc.clone(),
        cidrs: found.cidrs().collect(),
        network_number: network_numbers(records.vpcs).get(vpc).copied()?,
        // Others may overlap with it, or with what the host is connected to.
        host_route: found.is_default,
        subnets: subnets.collect(),
        groups: groups.map(|group| (group.id.clone(), rules::group(group, &lists))).collect(),
        interfaces: BTreeMap::new(),
    })
}

/// Subnets from which an internet gateway can be reached: only there a public address means
/// anything.
pub fn public_subnets(records: &Records<'_>) -> BTreeSet<SubnetId> {
    let public = records.subnets.iter().filter(|subnet| is_public(records, subnet));
    public.map(|subnet| subnet.id.clone()).collect()
}

/// What an interface is in its VPC's table, by each of its addresses. Nothing for a gateway's,
/// which is part of the routes.
pub fn interface(
    one: &NetworkInterface,
    instances: Instances<'_>,
    public_subnets: &BTreeSet<SubnetId>,
) -> Vec<(Ipv4Addr, TableInterface)> {
    let at = |instance: Option<&InstanceId>, here| match instance {
        Some(instance) if instance == instances.here => here,
        Some(instance) => {
            let underlay = instances.underlays.get(instance).copied();
            underlay.map_or(Place::Elsewhere, Place::Instance)
        }
        None => Place::Elsewhere,
    };
    let place = match one.kind {
        InterfaceKind::NatGateway => return Vec::new(),
        InterfaceKind::LoadBalancer | InterfaceKind::NetworkLoadBalancer => {
            at(instances.balancing, Place::Endpoint)
        }
        InterfaceKind::Endpoint => Place::Elsewhere,
        InterfaceKind::Interface => at(one.instance.as_ref(), Place::Task),
    };
    let routed = public_subnets.contains(&one.subnet);
    let public = one.public.as_ref().filter(|_| routed).map(|public| public.ip);
    let groups = &one.security_groups;
    let mut addresses = one.private_ips();
    let first = addresses
        .next()
        .map(|address| (address, TableInterface { place, groups: groups.clone(), public }));
    let others = addresses
        .map(|address| (address, TableInterface { place, groups: groups.clone(), public: None }));
    first.into_iter().chain(others).collect()
}

/// A number for each VPC that no other has: drawn from its id, and the next free one for whoever
/// came later. It changes only when the earlier one of two that collide goes, and then that one has
/// no task left whose packets could be taken for another's.
pub fn network_numbers(vpcs: &[&Vpc]) -> BTreeMap<VpcId, u32> {
    let mut in_order: Vec<_> = vpcs.to_vec();
    in_order.sort_by_key(|vpc| (vpc.created_at, vpc.id.clone()));
    let mut taken = BTreeSet::new();
    let mut numbers = BTreeMap::new();
    for vpc in in_order {
        let end = 1 << NETWORK_NUMBER_BITS;
        let mut number = hash(vpc.id.as_str()) % end;
        while number == 0 || !taken.insert(number) {
            number = (number + 1) % end;
        }
        numbers.insert(vpc.id.clone(), number);
    }
    numbers
}

/// FNV-1a, folded: the same on every machine and in every version.
fn hash(text: &str) -> u32 {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = text.bytes().fold(0x811c_9dc5, mix);
    (hash >> NETWORK_NUMBER_BITS) ^ (hash & ((1 << NETWORK_NUMBER_BITS) - 1))
}

type PrefixLists = BTreeMap<PrefixListId, Vec<Cidr>>;

fn prefix_lists(records: &Records<'_>) -> PrefixLists {
    let ranges = |list: &ManagedPrefixList| {
        list.entries.iter().filter_map(|entry| Cidr::parse(&entry.cidr)).collect()
    };
    records.prefix_lists.iter().map(|list| (list.id.clone(), ranges(list))).collect()
}

fn table_of<'a>(records: &Records<'a>, subnet: &Subnet) -> Option<&'a RouteTable> {
    let mut tables = records.route_tables.iter().filter(|table| table.vpc == subnet.vpc);
    let own = tables
        .clone()
        .find(|table| table.associations.iter().any(|association| association.subnet == subnet.id));
    own.or_else(|| tables.find(|table| table.main.is_some())).copied()
}

fn acl_of<'a>(records: &Records<'a>, subnet: &Subnet) -> Option<&'a NetworkAcl> {
    let of = |acl: &&NetworkAcl| acl.associations.iter().any(|it| it.subnet == subnet.id);
    records.acls.iter().copied().find(of)
}

fn routes(records: &Records<'_>, subnet: &Subnet, lists: &PrefixLists) -> Vec<WayOut> {
    let Some(table) = table_of(records, subnet) else { return Vec::new() };
    let mut ways = Vec::new();
    for route in &table.routes {
        let by = gateway(records, subnet, &route.target);
        match &route.destination {
            RouteDestination::Range(to) => ways.push(WayOut { to: *to, by }),
            RouteDestination::PrefixList(list) => {
                let ranges = lists.get(list).into_iter().flatten();
                ways.extend(ranges.map(|to| WayOut { to: *to, by }));
            }
            RouteDestination::RangeV6(_) => {}
        }
    }
    ways
}

fn gateway(records: &Records<'_>, subnet: &Subnet, target: &RouteTarget) -> Gateway {
    match target {
        RouteTarget::InternetGateway(id) if is_attached(records, id, &subnet.vpc) => {
            Gateway::Internet
        }
        RouteTarget::NatGateway(id) => nat(records, id).map_or(Gateway::BlackHole, Gateway::Nat),
        // Nothing that we run answers behind an interface or a gateway endpoint.
        RouteTarget::InternetGateway(_) | RouteTarget::Interface(_) | RouteTarget::Endpoint(_) => {
            Gateway::BlackHole
        }
    }
}

fn is_attached(records: &Records<'_>, id: &model::InternetGatewayId, vpc: &VpcId) -> bool {
    let gateway = records.internet_gateways.iter().find(|gateway| gateway.id == *id);
    gateway.is_some_and(|gateway| gateway.vpc.as_ref() == Some(vpc))
}

/// The address that a NAT gateway gives to what leaves through it, if it can: a private one leads
/// to other networks, of which we have none, and a public one needs a subnet that leads outside.
fn nat(records: &Records<'_>, id: &model::NatGatewayId) -> Option<Ipv4Addr> {
    let gateway = records.nat_gateways.iter().find(|gateway| gateway.id == *id)?;
    if gateway.deleted_at.is_some() || !gateway.is_public {
        return None;
    }
    let subnet = records.subnets.iter().find(|subnet| subnet.id == gateway.subnet)?;
    let address = gateway.addresses.first()?.public_ip?;
    is_public(records, subnet).then_some(address)
}

fn is_public(records: &Records<'_>, subnet: &Subnet) -> bool {
    let Some(table) = table_of(records, subnet) else { return false };
    table.routes.iter().any(|route| match &route.target {
        RouteTarget::InternetGateway(id) => is_attached(records, id, &subnet.vpc),
        _ => false,
    })
}
