//! AssociateVpcCidrBlock: another range for a VPC.

use super::change::{missing_parameter, range_given, refuse};
use super::create_vpc::check_range;
use super::describe_vpcs::show_association;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::CIDRS_PER_VPC_MAX;
use model::CidrAssociationId;
use model::network::{Vpc, VpcCidrAssociation};
use wire::ec2::{AssociateVpcCidrBlockRequest, AssociateVpcCidrBlockResult};

pub async fn associate_vpc_cidr_block(
    cx: &Context,
    _caller: &Caller,
    input: AssociateVpcCidrBlockRequest,
) -> Result<AssociateVpcCidrBlockResult, Fault> {
    refuse(&[
        ("amazonProvidedIpv6CidrBlock", input.amazon_provided_ipv6_cidr_block == Some(true)),
        ("ipv4IpamPoolId", input.ipv4_ipam_pool_id.is_some()),
        ("ipv4NetmaskLength", input.ipv4_netmask_length.is_some()),
        ("ipv6CidrBlock", input.ipv6_cidr_block.is_some()),
        ("ipv6CidrBlockNetworkBorderGroup", input.ipv6_cidr_block_network_border_group.is_some()),
        ("ipv6IpamPoolId", input.ipv6_ipam_pool_id.is_some()),
        ("ipv6NetmaskLength", input.ipv6_netmask_length.is_some()),
        ("ipv6Pool", input.ipv6_pool.is_some()),
    ])?;
    let text = input.cidr_block.ok_or_else(|| missing_parameter("cidrBlock"))?;
    let cidr = range_given(&text, "cidrBlock")?;
    let (vpc, made) = cx
        .transact(|txn| {
            let mut vpc = (*find::<Vpc>(txn, input.vpc_id.as_deref())?).clone();
            check_range(txn.snapshot(), &cidr)?;
            if vpc.cidrs().any(|known| known.overlaps(&cidr)) {
                let text = format!("The CIDR '{cidr}' conflicts with another CIDR of the VPC.");
                return Err(Fault::client("InvalidVpc.Range", text));
            }
            if vpc.cidrs().count() >= CIDRS_PER_VPC_MAX {
                let text = "The maximum number of CIDR blocks of the VPC has been reached.";
                return Err(Fault::client("CidrBlockLimitExceeded", text));
            }
            let id = CidrAssociationId::mint(cx.random());
            let made = VpcCidrAssociation { id, cidr };
            vpc.secondary_cidrs.push(made.clone());
            txn.put(vpc.clone());
            Ok((vpc, made))
        })
        .await?;
    Ok(AssociateVpcCidrBlockResult {
        cidr_block_association: Some(show_association(made.id.to_string(), &made.cidr)),
        vpc_id: Some(vpc.id.to_string()),
        ..Default::default()
    })
}
