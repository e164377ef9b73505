//! Route tables and the gateways that routes lead to.

use super::Cidr;
use crate::document::Tags;
use crate::ids::{
    InterfaceId, InternetGatewayId, NatGatewayId, PrefixListId, RouteTableAssociationId,
    RouteTableId, SubnetId, VpcEndpointId, VpcId,
};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The routes of the subnets that are associated with it, or, as a VPC's main table, of all those
/// that are associated with none. A VPC has exactly one main table and a subnet at most one
/// association; every change of either writes the VPC's record too, so that they hold.
///
/// The way to the VPC's own ranges is part of every table and stored in none (`Vpc::cidrs`).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RouteTable {
    pub id: RouteTableId,
    pub vpc: VpcId,
    /// The association that makes it the VPC's main table.
    pub main: Option<RouteTableAssociationId>,
    /// Each destination once. The longest prefix wins.
    pub routes: Vec<Route>,
    pub associations: Vec<RouteTableAssociation>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RouteTableAssociation {
    pub id: RouteTableAssociationId,
    pub subnet: SubnetId,
}

/// It works while its target is there: an internet gateway that is attached to this VPC, a NAT
/// gateway, an interface or an endpoint that exists. Else it is a black hole: what matches it is
/// dropped. That is not stored but looked up.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Route {
    pub destination: RouteDestination,
    pub target: RouteTarget,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum RouteDestination {
    Range(Cidr),
    /// In the form the client gave; no IPv6 is routed.
    RangeV6(String),
    PrefixList(PrefixListId),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum RouteTarget {
    InternetGateway(InternetGatewayId),
    NatGateway(NatGatewayId),
    Interface(InterfaceId),
    /// A gateway endpoint; such routes come and go with the endpoint.
    Endpoint(VpcEndpointId),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct InternetGateway {
    pub id: InternetGatewayId,
    /// Where it is attached; a VPC has at most one.
    pub vpc: Option<VpcId>,
    pub created_at: Timestamp,
    pub tags: Tags,
}
