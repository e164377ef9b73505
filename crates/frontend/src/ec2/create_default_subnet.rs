//! CreateDefaultSubnet: the default VPC's subnet of a zone, after it was deleted.

use super::change::{refuse, source, subnets_of, within};
use super::create_default_vpc::default_vpc;
use super::create_subnet::{put_subnet, zone_given};
use super::describe::dry_run;
use super::describe_subnets::show;
use super::make_vpc::{default_subnet, nth_subnet};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ec2::{CreateDefaultSubnetRequest, CreateDefaultSubnetResult};

/// Default subnets that fit a default VPC.
const PLACES: u64 = 16;

pub async fn create_default_subnet(
    cx: &Context,
    _caller: &Caller,
    input: CreateDefaultSubnetRequest,
) -> Result<CreateDefaultSubnetResult, Fault> {
    dry_run(input.dry_run)?;
    refuse(&[("ipv6Native", input.ipv6_native == Some(true))])?;
    let (zone, zone_id) = (input.availability_zone, input.availability_zone_id);
    if zone.is_none() && zone_id.is_none() {
        return Err(super::change::missing_parameter("AvailabilityZone"));
    }
    let zone = zone_given(cx, zone.as_deref(), zone_id.as_deref())?;
    let subnet = cx.transact(|txn| {
        let vpc = default_vpc(txn.snapshot()).ok_or_else(|| {
            let text = "There is no default VPC in this region.";
            Fault::client("DefaultVpcDoesNotExist", text)
        })?;
        let vpc = within(txn, &vpc.id)?;
        let known = subnets_of(txn.snapshot(), &vpc.id);
        if known.iter().any(|it| it.is_default && it.zone.as_str() == zone) {
            let text = format!("The default subnet already exists in the Availability Zone {zone}");
            return Err(Fault::client("DefaultSubnetAlreadyExistsInAvailabilityZone", text));
        }
        let mut ranges = (0..PLACES).map(|n| nth_subnet(&vpc.cidr, n));
        let free = ranges.find(|range| !known.iter().any(|it| it.cidr.overlaps(range)));
        let range = free.ok_or_else(|| {
            let text = "The default VPC has no room for another default subnet.";
            Fault::client("InvalidSubnet.Range", text)
        })?;
        let subnet = default_subnet(&source(cx), &vpc.id, range, &zone);
        put_subnet(txn, &source(cx), subnet.clone())?;
        Ok(subnet)
    });
    let subnet = subnet.await?;
    Ok(CreateDefaultSubnetResult { subnet: Some(show(cx, &cx.store.snapshot(), &subnet)) })
}
