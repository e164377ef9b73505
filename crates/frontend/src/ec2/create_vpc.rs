//! CreateVpc: a VPC with its main route table, default ACL and default security group.

use super::change::{invalid_value, missing_parameter, range_given, refuse, source};
use super::default_network::default_options;
use super::describe::dry_run;
use super::describe_vpcs::show;
use super::make_vpc::put_vpc;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::VPCS_MAX;
use model::VpcId;
use model::network::{Cidr, PublicPool, Vpc};
use store::Snapshot;
use store::kinds::PUBLIC_POOL_KEY;
use wire::ec2::{CreateVpcRequest, CreateVpcResult, Tenancy};

/// Prefixes of a VPC and of a subnet. Source: VPC user guide, "VPC CIDR blocks".
pub const PREFIXES: std::ops::RangeInclusive<u8> = 16..=28;

pub async fn create_vpc(
    cx: &Context,
    _caller: &Caller,
    input: CreateVpcRequest,
) -> Result<CreateVpcResult, Fault> {
    dry_run(input.dry_run)?;
    refuse(&[
        ("amazonProvidedIpv6CidrBlock", input.amazon_provided_ipv6_cidr_block == Some(true)),
        ("ipv4IpamPoolId", input.ipv4_ipam_pool_id.is_some()),
        ("ipv4NetmaskLength", input.ipv4_netmask_length.is_some()),
        ("ipv6CidrBlock", input.ipv6_cidr_block.is_some()),
        ("ipv6CidrBlockNetworkBorderGroup", input.ipv6_cidr_block_network_border_group.is_some()),
        ("ipv6IpamPoolId", input.ipv6_ipam_pool_id.is_some()),
        ("ipv6NetmaskLength", input.ipv6_netmask_length.is_some()),
        ("ipv6Pool", input.ipv6_pool.is_some()),
        ("vpcEncryptionControl", input.vpc_encryption_control.is_some()),
    ])?;
    let text = input.cidr_block.ok_or_else(|| missing_parameter("cidrBlock"))?;
    let cidr = range_given(&text, "cidrBlock")?;
    let tenancy = input.instance_tenancy.unwrap_or(Tenancy::Default);
    if !matches!(tenancy, Tenancy::Default | Tenancy::Dedicated) {
        let why = "It must be 'default' or 'dedicated'.";
        return Err(invalid_value(tenancy.as_str(), "instanceTenancy", why));
    }
    let tags = tagged::given(input.tag_specifications, "vpc")?;
    let vpc = cx.transact(|txn| {
        check_range(txn.snapshot(), &cidr)?;
        if txn.snapshot().count::<Vpc>("") >= VPCS_MAX {
            let text = "The maximum number of VPCs has been reached.";
            return Err(Fault::client("VpcLimitExceeded", text));
        }
        let vpc = Vpc {
            instance_tenancy: tenancy.to_string(),
            dhcp_options: default_options(txn.snapshot()),
            tags: tags.clone(),
            ..Vpc::new(VpcId::mint(cx.random()), cidr, cx.now())
        };
        put_vpc(txn, &source(cx), vpc.clone());
        Ok(vpc)
    });
    Ok(CreateVpcResult { vpc: Some(show(cx, &vpc.await?)) })
}

/// Whether a VPC may have this range: not too large or small, and none of those that have a meaning
/// of their own, here or anywhere.
pub fn check_range(snapshot: &Snapshot, cidr: &Cidr) -> Result<(), Fault> {
    let bad = || Fault::client("InvalidVpc.Range", format!("The CIDR '{cidr}' is invalid."));
    if !PREFIXES.contains(&cidr.prefix) {
        return Err(bad());
    }
    // Source: VPC user guide, "VPC CIDR blocks" and RFC 6890.
    let special = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];
    let special = special.iter().map(|text| super::make_vpc::range(text));
    let public = snapshot.get::<PublicPool>(PUBLIC_POOL_KEY).map(|pool| pool.range);
    match special.chain(public).any(|special| special.overlaps(cidr)) {
        true => Err(bad()),
        false => Ok(()),
    }
}
