//! Where a load balancer stands: a subnet in each of its zones, and an interface in each subnet.
//! The interface is taken, gets its public address if the load balancer faces the internet, and
//! goes, in the transaction of the call that asks for it.

use super::{invalid_configuration, not_here, said, validation};
use crate::context::Context;
use crate::ec2::balancing::{
    attach, find, remove_interface, take_interface, take_public, tie, within,
};
use crate::fault::Fault;
use model::balancing::{BalancerKind, LoadBalancer};
use model::network::{
    Address, AddressPool, InterfaceKind, InternetGateway, NetworkInterface, PublicAddress,
    SecurityGroup, Subnet,
};
use model::{SecurityGroupId, VpcId};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use store::{Snapshot, Txn};
use wire::elbv2::{ErrorCode, SubnetMapping};

/// Free addresses an application load balancer wants in each subnet. Source: user guide, subnets.
const FREE_ADDRESSES_MIN: u64 = 8;
/// Security groups of one load balancer. Source: user guide, quotas.
const GROUPS_MAX: usize = 5;

/// One subnet as a call names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub subnet: String,
    /// An elastic address for it; network load balancers only.
    pub allocation: Option<String>,
    /// Which address of the subnet; network load balancers only.
    pub private_ip: Option<Ipv4Addr>,
}

/// What `Subnets` and `SubnetMappings` say; one of the two has to be given.
pub fn read(
    kind: BalancerKind,
    subnets: Option<Vec<String>>,
    mappings: Option<Vec<SubnetMapping>>,
) -> Result<Vec<Place>, Fault> {
    let (subnets, mappings) = (subnets.unwrap_or_default(), mappings.unwrap_or_default());
    if !subnets.is_empty() && !mappings.is_empty() {
        let text = "You must specify either subnets or subnet mappings, but not both";
        return Err(validation(text));
    }
    let plain = |subnet| Place { subnet, allocation: None, private_ip: None };
    let mut places: Vec<Place> = subnets.into_iter().map(plain).collect();
    for mapping in mappings {
        if mapping.ipv6_address.is_some() || mapping.source_nat_ipv6_prefix.is_some() {
            return Err(not_here("IPv6 addresses of load balancers"));
        }
        let given = mapping.allocation_id.is_some() || mapping.private_ipv4_address.is_some();
        if given && kind == BalancerKind::Application {
            let text = "Subnet mappings with addresses are not supported for load balancers with \
                        type 'application'";
            return Err(invalid_configuration(text));
        }
        let private_ip = said(mapping.private_ipv4_address).map(|text| {
            let not_one = |_| validation(format!("'{text}' is not a valid IPv4 address"));
            text.parse::<Ipv4Addr>().map_err(not_one)
        });
        places.push(Place {
            subnet: mapping.subnet_id.unwrap_or_default(),
            allocation: said(mapping.allocation_id),
            private_ip: private_ip.transpose()?,
        });
    }
    if places.is_empty() {
        return Err(validation(match kind {
            BalancerKind::Application => TWO_ZONES,
            BalancerKind::Network => "At least one subnet must be specified",
        }));
    }
    Ok(places)
}

const TWO_ZONES: &str =
    "At least two subnets in two different Availability Zones must be specified";

/// The subnets themselves, of one VPC and of different zones, fit for such a load balancer.
/// `before` are those it has already.
pub fn check(
    txn: &mut Txn,
    kind: BalancerKind,
    internal: bool,
    places: &[Place],
    before: &[model::SubnetId],
) -> Result<Vec<Arc<Subnet>>, Fault> {
    let mut subnets: Vec<Arc<Subnet>> = Vec::with_capacity(places.len());
    let mut zones = BTreeSet::new();
    for place in places {
        let subnet = txn.get::<Subnet>(&place.subnet).ok_or_else(|| {
            let text = format!("The subnet ID '{}' is not valid", place.subnet);
            ErrorCode::SubnetNotFoundException.fault(text)
        })?;
        if let Some(first) = subnets.first()
            && first.vpc != subnet.vpc
        {
            let text = format!("All subnets must belong to the same VPC: '{}'", first.vpc);
            return Err(invalid_configuration(text));
        }
        if !zones.insert(subnet.zone.clone()) {
            let text = "A load balancer cannot be attached to multiple subnets in the same \
                        Availability Zone";
            return Err(invalid_configuration(text));
        }
        if kind == BalancerKind::Application && !before.contains(&subnet.id) {
            check_room(txn, &subnet)?;
        }
        subnets.push(subnet);
    }
    if kind == BalancerKind::Application && zones.len() < 2 {
        return Err(validation(TWO_ZONES));
    }
    let vpc = subnets.first().map(|subnet| subnet.vpc.clone());
    let mut gateways = txn.snapshot().scan::<InternetGateway>("");
    if !internal && !gateways.any(|(_, gateway)| gateway.vpc == vpc) {
        let vpc = vpc.map(|vpc| vpc.to_string()).unwrap_or_default();
        let text = format!("VPC {vpc} has no internet gateway");
        return Err(ErrorCode::InvalidSubnetException.fault(text));
    }
    Ok(subnets)
}

fn check_room(txn: &mut Txn, subnet: &Subnet) -> Result<(), Fault> {
    let pool = txn.get::<AddressPool>(subnet.id.as_str());
    let taken = pool.map_or(0, |pool| pool.taken.len() as u64);
    // Five addresses of a subnet are never anybody's. Source: VPC user guide, subnet sizing.
    let free = subnet.cidr.size().saturating_sub(5 + taken);
    if free >= FREE_ADDRESSES_MIN {
        return Ok(());
    }
    let text = format!(
        "Not enough IP space available in {}. ELB requires at least {FREE_ADDRESSES_MIN} free IP \
         addresses in each subnet",
        subnet.id
    );
    Err(ErrorCode::InvalidSubnetException.fault(text))
}

/// The groups a call names, of this VPC. An application load balancer without any has the VPC's
/// default group.
pub fn security_groups(
    txn: &mut Txn,
    kind: BalancerKind,
    vpc: &VpcId,
    given: &[String],
) -> Result<Vec<SecurityGroupId>, Fault> {
    if given.len() > GROUPS_MAX {
        let text = format!("A load balancer can have at most {GROUPS_MAX} security groups");
        return Err(invalid_configuration(text));
    }
    let mut groups = Vec::with_capacity(given.len());
    for id in given {
        let group = txn.get::<SecurityGroup>(id).filter(|group| group.vpc == *vpc);
        let Some(group) = group else {
            return Err(invalid_configuration("One or more security groups are invalid"));
        };
        if !groups.contains(&group.id) {
            groups.push(group.id.clone());
        }
    }
    if given.is_empty() && kind == BalancerKind::Application {
        let snapshot = txn.snapshot();
        let mut all = snapshot.scan::<SecurityGroup>("").map(|(_, group)| group);
        let default = all.find(|group| group.vpc == *vpc && group.is_default());
        groups.extend(default.map(|group| group.id.clone()));
    }
    Ok(groups)
}

/// Gives the load balancer its interface in one more subnet.
pub fn add(
    cx: &Context,
    txn: &mut Txn,
    balancer: &mut LoadBalancer,
    subnet: &Subnet,
    place: &Place,
) -> Result<(), Fault> {
    within(txn, &subnet.vpc)?;
    let now = cx.now();
    let mut interface = take_interface(txn, subnet, place.private_ip, cx.random(), now)?;
    let kind = match balancer.kind {
        BalancerKind::Application => InterfaceKind::LoadBalancer,
        BalancerKind::Network => InterfaceKind::NetworkLoadBalancer,
    };
    attach(&mut interface, kind, "amazon-elb", cx.random(), now);
    interface.description = format!("ELB {}", balancer.path());
    interface.security_groups.clone_from(&balancer.security_groups);
    balancer.subnets.push(subnet.id.clone());
    balancer.interfaces.push(interface.id.clone());
    match &place.allocation {
        Some(_) if balancer.internal => {
            let text = "Elastic IP addresses can be used with internet-facing load balancers only";
            return Err(invalid_configuration(text));
        }
        Some(allocation) => {
            let address = find::<Address>(txn, Some(allocation)).map_err(|_| {
                let text = format!("The allocation ID '{allocation}' does not exist");
                ErrorCode::AllocationIdNotFoundException.fault(text)
            })?;
            if address.association.is_some() {
                let text = format!("The allocation ID '{allocation}' is in use");
                return Err(ErrorCode::ResourceInUseException.fault(text));
            }
            tie(txn, &address, interface, cx.random());
        }
        None => {
            if !balancer.internal {
                let ip = take_public(txn, None)?;
                interface.public = Some(PublicAddress { ip, allocation: None, association: None });
            }
            txn.put::<NetworkInterface>(interface);
        }
    }
    Ok(())
}

/// Takes one subnet and its interface from the load balancer.
pub fn remove(txn: &mut Txn, balancer: &mut LoadBalancer, at: usize) -> Result<(), Fault> {
    within(txn, &balancer.vpc)?;
    balancer.subnets.remove(at);
    let interface = balancer.interfaces.remove(at);
    remove_interface(txn, &interface);
    Ok(())
}

/// The interfaces of a load balancer have its groups.
pub fn put_groups(txn: &mut Txn, balancer: &LoadBalancer) -> Result<(), Fault> {
    within(txn, &balancer.vpc)?;
    for id in &balancer.interfaces {
        if let Some(interface) = txn.get::<NetworkInterface>(id.as_str()) {
            let mut interface = (*interface).clone();
            interface.security_groups.clone_from(&balancer.security_groups);
            txn.put(interface);
        }
    }
    Ok(())
}

/// The public address of a load balancer's interface, for those that show theirs.
pub fn elastic(snapshot: &Snapshot, balancer: &LoadBalancer, at: usize) -> Option<PublicAddress> {
    let id = balancer.interfaces.get(at)?;
    let interface = snapshot.get::<NetworkInterface>(id.as_str())?;
    interface.public.clone().filter(|public| public.allocation.is_some())
}
