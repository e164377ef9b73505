//! CreateSubnet: a part of a VPC's range in one zone, with its pool of addresses, associated with
//! the VPC's default ACL.

use super::change::{
    invalid_value, missing_parameter, range_given, refuse, source, subnets_of, within,
};
use super::create_vpc::PREFIXES;
use super::derived;
use super::describe::dry_run;
use super::describe_subnets::show;
use super::make_vpc::{Source, acl_association};
use super::nouns::find;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::SUBNETS_PER_VPC_MAX;
use model::SubnetId;
use model::network::{AddressPool, Cidr, NetworkAcl, Subnet, Vpc, ZONE_LETTERS};
use store::Txn;
use wire::ec2::{CreateSubnetRequest, CreateSubnetResult};

pub async fn create_subnet(
    cx: &Context,
    _caller: &Caller,
    input: CreateSubnetRequest,
) -> Result<CreateSubnetResult, Fault> {
    dry_run(input.dry_run)?;
    refuse(&[
        ("ipv4IpamPoolId", input.ipv4_ipam_pool_id.is_some()),
        ("ipv4NetmaskLength", input.ipv4_netmask_length.is_some()),
        ("ipv6CidrBlock", input.ipv6_cidr_block.is_some()),
        ("ipv6IpamPoolId", input.ipv6_ipam_pool_id.is_some()),
        ("ipv6Native", input.ipv6_native == Some(true)),
        ("ipv6NetmaskLength", input.ipv6_netmask_length.is_some()),
        ("outpostArn", input.outpost_arn.is_some()),
    ])?;
    let text = input.cidr_block.ok_or_else(|| missing_parameter("cidrBlock"))?;
    let cidr = range_given(&text, "cidrBlock")?;
    let (zone, zone_id) = (input.availability_zone, input.availability_zone_id);
    let zone = zone_given(cx, zone.as_deref(), zone_id.as_deref())?;
    let tags = tagged::given(input.tag_specifications, "subnet")?;
    let subnet = cx.transact(|txn| {
        let vpc = find::<Vpc>(txn, input.vpc_id.as_deref())?;
        check_range(txn, &vpc, &cidr)?;
        let id = SubnetId::mint(cx.random());
        let mut subnet = Subnet::new(id, vpc.id.clone(), cidr, zone.as_str().into(), cx.now());
        subnet.tags.clone_from(&tags);
        put_subnet(txn, &source(cx), subnet.clone())?;
        Ok(subnet)
    });
    let subnet = subnet.await?;
    Ok(CreateSubnetResult { subnet: Some(show(cx, &cx.store.snapshot(), &subnet)) })
}

/// The zone a call names, by name or by id, or the first.
pub fn zone_given(cx: &Context, name: Option<&str>, id: Option<&str>) -> Result<String, Fault> {
    let zones: Vec<String> =
        ZONE_LETTERS.iter().map(|letter| format!("{}{letter}", cx.locality.region)).collect();
    let (value, parameter, found) = match (name, id) {
        (Some(_), Some(_)) => {
            let text = "The parameters availabilityZone and availabilityZoneId cannot be used \
                        together";
            return Err(Fault::client("InvalidParameterCombination", text));
        }
        (Some(name), None) => (name, "availabilityZone", zones.iter().find(|zone| *zone == name)),
        (None, Some(id)) => {
            let found = zones.iter().find(|zone| derived::zone_id(&cx.locality, zone) == id);
            (id, "availabilityZoneId", found)
        }
        (None, None) => ("", "", zones.first()),
    };
    found.cloned().ok_or_else(|| {
        let zones = zones.join(", ");
        let why = format!(
            "Subnets can currently only be created in the following availability zones: {zones}."
        );
        invalid_value(value, parameter, &why)
    })
}

fn check_range(txn: &Txn, vpc: &Vpc, cidr: &Cidr) -> Result<(), Fault> {
    let inside = vpc.cidrs().any(|range| range.covers(cidr));
    if !inside || !PREFIXES.contains(&cidr.prefix) {
        let text = format!("The CIDR '{cidr}' is invalid.");
        return Err(Fault::client("InvalidSubnet.Range", text));
    }
    if subnets_of(txn.snapshot(), &vpc.id).iter().any(|other| other.cidr.overlaps(cidr)) {
        let text = format!("The CIDR '{cidr}' conflicts with another subnet");
        return Err(Fault::client("InvalidSubnet.Conflict", text));
    }
    Ok(())
}

/// Puts the subnet, its pool and its association with the VPC's default ACL.
pub fn put_subnet(txn: &mut Txn, source: &Source<'_>, subnet: Subnet) -> Result<(), Fault> {
    let vpc = within(txn, &subnet.vpc)?;
    let snapshot = txn.snapshot().clone();
    if subnets_of(&snapshot, &vpc.id).len() >= SUBNETS_PER_VPC_MAX {
        let text = "The maximum number of subnets has been reached.";
        return Err(Fault::client("SubnetLimitExceeded", text));
    }
    let mut acls = snapshot.scan::<NetworkAcl>("").map(|(_, acl)| acl);
    let acl = acls.find(|acl| acl.vpc == vpc.id && acl.is_default);
    if let Some(acl) = acl.and_then(|acl| txn.get::<NetworkAcl>(acl.id.as_str())) {
        let mut acl = (*acl).clone();
        acl.associations.push(acl_association(source, &subnet.id));
        txn.put(acl);
    }
    txn.put(AddressPool::new(subnet.id.clone()));
    txn.put(subnet);
    Ok(())
}
