//! How EC2 names each kind of resource in its refusals, and how a call's id becomes a record.
//! Source of the codes: EC2 API reference, "Error codes for the Amazon EC2 API".

use super::describe::{Noun, malformed, missing};
use crate::fault::Fault;
use model::network::{
    Address, DhcpOptions, InternetGateway, ManagedPrefixList, NatGateway, NetworkAcl,
    NetworkInterface, RouteTable, SecurityGroup, Subnet, Vpc, VpcEndpoint,
};
use std::sync::Arc;
use store::{Record, Txn};

/// A record with an id of EC2's, which is also its key.
pub trait Resource: Record {
    const NOUN: Noun;
}

/// Reads what a call names, guarded; a call without the id has been refused already.
pub fn find<T: Resource>(txn: &mut Txn, id: Option<&str>) -> Result<Arc<T>, Fault> {
    let id = id.unwrap_or_default();
    if !id.starts_with(T::NOUN.prefix) {
        return Err(malformed(&T::NOUN, id));
    }
    txn.get::<T>(id).ok_or_else(|| missing(&T::NOUN, id))
}

pub const SECURITY_GROUP_RULE: Noun = Noun {
    prefix: "sgr-",
    not_found: "InvalidSecurityGroupRuleId.NotFound",
    malformed: "InvalidSecurityGroupRuleId.Malformed",
    name: "security group rule ID",
};

/// Associations of addresses, tables and ACLs are all refused alike.
pub fn no_association(id: &str) -> Fault {
    let text = format!("The association ID '{id}' does not exist");
    Fault::client("InvalidAssociationID.NotFound", text)
}

macro_rules! nouns {
    ($($type:ty: $prefix:literal, $not_found:literal, $malformed:literal, $name:literal;)*) => {$(
        impl Resource for $type {
            const NOUN: Noun = Noun {
                prefix: $prefix,
                not_found: $not_found,
                malformed: $malformed,
                name: $name,
            };
        }
    )*};
}

nouns! {
    Vpc: "vpc-", "InvalidVpcID.NotFound", "InvalidVpcID.Malformed", "vpc ID";
    Subnet: "subnet-", "InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed", "subnet ID";
    SecurityGroup: "sg-", "InvalidGroup.NotFound", "InvalidGroupId.Malformed", "security group";
    RouteTable: "rtb-", "InvalidRouteTableID.NotFound", "InvalidRouteTableId.Malformed",
        "routeTable ID";
    InternetGateway: "igw-", "InvalidInternetGatewayID.NotFound",
        "InvalidInternetGatewayId.Malformed", "internetGateway ID";
    NatGateway: "nat-", "NatGatewayNotFound", "NatGatewayMalformed", "NatGateway";
    Address: "eipalloc-", "InvalidAllocationID.NotFound", "InvalidAllocationID.Malformed",
        "allocation ID";
    NetworkAcl: "acl-", "InvalidNetworkAclID.NotFound", "InvalidNetworkAclId.Malformed",
        "networkAcl ID";
    NetworkInterface: "eni-", "InvalidNetworkInterfaceID.NotFound",
        "InvalidNetworkInterfaceId.Malformed", "networkInterface ID";
    ManagedPrefixList: "pl-", "InvalidPrefixListID.NotFound", "InvalidPrefixListId.Malformed",
        "prefix list ID";
    VpcEndpoint: "vpce-", "InvalidVpcEndpointId.NotFound", "InvalidVpcEndpointId.Malformed",
        "Vpc Endpoint Id";
    DhcpOptions: "dopt-", "InvalidDhcpOptionID.NotFound", "InvalidDhcpOptionsId.Malformed",
        "dhcpOption ID";
}
