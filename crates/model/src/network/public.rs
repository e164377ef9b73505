//! Public addresses and the gateways that need one.

use crate::document::Tags;
use crate::ids::{AddressAssociationId, AllocationId, InterfaceId, NatGatewayId, SubnetId, VpcId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// An elastic address: the user's until it is released.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Address {
    pub allocation: AllocationId,
    pub public_ip: Ipv4Addr,
    pub association: Option<AddressAssociation>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// The interface it stands for; that interface's `public` says the same, in one transaction.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AddressAssociation {
    pub id: AddressAssociationId,
    pub interface: InterfaceId,
    pub private_ip: Ipv4Addr,
}

/// What leaves the VPC through it carries its addresses: public ones, or, of a private gateway, the
/// private ones of its subnet. It works from the commit that makes it to the one that sets
/// `deleted_at`; then it is shown as deleted for a while, with its interface gone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NatGateway {
    pub id: NatGatewayId,
    pub vpc: VpcId,
    pub subnet: SubnetId,
    pub is_public: bool,
    /// The primary one first.
    pub addresses: Vec<NatGatewayAddress>,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NatGatewayAddress {
    pub interface: InterfaceId,
    pub private_ip: Ipv4Addr,
    pub allocation: Option<AllocationId>,
    pub association: Option<AddressAssociationId>,
    pub public_ip: Option<Ipv4Addr>,
}
