//! Routes as calls name them: where to, and by what. Used by CreateRoute, ReplaceRoute and
//! DeleteRoute. A route's target has to be of the table's VPC.

use super::change::{canonical_v6, invalid, missing_parameter, range_given, refuse};
use super::delete_managed_prefix_list::named;
use super::nouns::{Resource, find};
use crate::fault::Fault;
use model::network::{
    InternetGateway, NatGateway, NetworkInterface, RouteDestination, RouteTable, RouteTarget, Vpc,
    VpcEndpoint,
};
use store::Txn;
use wire::ec2::{CreateRouteRequest, ReplaceRouteRequest};

/// Where to: exactly one of the three.
pub struct To<'a> {
    pub range: Option<&'a str>,
    pub range_v6: Option<&'a str>,
    pub list: Option<&'a str>,
}

impl To<'_> {
    pub fn read(&self) -> Result<RouteDestination, Fault> {
        match (self.range, self.range_v6, self.list) {
            (Some(range), None, None) => {
                Ok(RouteDestination::Range(range_given(range, "destinationCidrBlock")?))
            }
            (None, Some(range), None) => {
                canonical_v6(range).map(RouteDestination::RangeV6).ok_or_else(|| {
                    invalid(format!("The destination CIDR block {range} is not valid."))
                })
            }
            (None, None, Some(list)) => Ok(RouteDestination::PrefixList(list.into())),
            (None, None, None) => Err(missing_parameter("destinationCidrBlock")),
            _ => Err(Fault::client(
                "InvalidParameterCombination",
                "The request must contain exactly one of destinationCidrBlock, \
                 destinationIpv6CidrBlock, destinationPrefixListId",
            )),
        }
    }
}

/// As EC2 names the parameter, and its value.
pub fn name(destination: &RouteDestination) -> (&'static str, String) {
    match destination {
        RouteDestination::Range(range) => ("destination-cidr-block", range.to_string()),
        RouteDestination::RangeV6(range) => ("destination-ipv6-cidr-block", range.clone()),
        RouteDestination::PrefixList(list) => ("destination-prefix-list-id", list.to_string()),
    }
}

/// By what: exactly one of these.
#[derive(Default)]
pub struct Via {
    gateway: Option<String>,
    nat_gateway: Option<String>,
    interface: Option<String>,
    instance: Option<String>,
}

impl Via {
    pub fn of_create(input: &CreateRouteRequest) -> Result<Self, Fault> {
        refuse(&[
            ("carrierGatewayId", input.carrier_gateway_id.is_some()),
            ("coreNetworkArn", input.core_network_arn.is_some()),
            ("egressOnlyInternetGatewayId", input.egress_only_internet_gateway_id.is_some()),
            ("localGatewayId", input.local_gateway_id.is_some()),
            ("odbNetworkArn", input.odb_network_arn.is_some()),
            ("transitGatewayId", input.transit_gateway_id.is_some()),
            ("vpcEndpointId", input.vpc_endpoint_id.is_some()),
            ("vpcPeeringConnectionId", input.vpc_peering_connection_id.is_some()),
        ])?;
        Ok(Self {
            gateway: input.gateway_id.clone(),
            nat_gateway: input.nat_gateway_id.clone(),
            interface: input.network_interface_id.clone(),
            instance: input.instance_id.clone(),
        })
    }

    pub fn of_replace(input: &ReplaceRouteRequest) -> Result<Self, Fault> {
        refuse(&[
            ("carrierGatewayId", input.carrier_gateway_id.is_some()),
            ("coreNetworkArn", input.core_network_arn.is_some()),
            ("egressOnlyInternetGatewayId", input.egress_only_internet_gateway_id.is_some()),
            ("localGatewayId", input.local_gateway_id.is_some()),
            ("localTarget", input.local_target == Some(true)),
            ("odbNetworkArn", input.odb_network_arn.is_some()),
            ("transitGatewayId", input.transit_gateway_id.is_some()),
            ("vpcEndpointId", input.vpc_endpoint_id.is_some()),
            ("vpcPeeringConnectionId", input.vpc_peering_connection_id.is_some()),
        ])?;
        Ok(Self {
            gateway: input.gateway_id.clone(),
            nat_gateway: input.nat_gateway_id.clone(),
            interface: input.network_interface_id.clone(),
            instance: input.instance_id.clone(),
        })
    }

    /// Looks the target up; it must be there and of the table's VPC.
    pub fn read(&self, txn: &mut Txn, table: &RouteTable) -> Result<RouteTarget, Fault> {
        let given = [&self.gateway, &self.nat_gateway, &self.interface, &self.instance];
        match given.into_iter().flatten().count() {
            0 => return Err(missing_parameter("gatewayId")),
            1 => {}
            _ => {
                let text = "The request must contain exactly one target";
                return Err(Fault::client("InvalidParameterCombination", text));
            }
        }
        if let Some(id) = &self.instance {
            let text = format!("The instance ID '{id}' does not exist");
            return Err(Fault::client("InvalidInstanceID.NotFound", text));
        }
        if let Some(id) = &self.gateway {
            return gateway(txn, table, id);
        }
        if let Some(id) = &self.nat_gateway {
            let nat = find::<NatGateway>(txn, Some(id))?;
            if nat.deleted_at.is_some() {
                return Err(super::describe::missing(&NatGateway::NOUN, id));
            }
            return match nat.vpc == table.vpc {
                true => Ok(RouteTarget::NatGateway(nat.id.clone())),
                false => Err(elsewhere(table, "NAT gateway", id)),
            };
        }
        let interface = find::<NetworkInterface>(txn, self.interface.as_deref())?;
        match interface.vpc == table.vpc {
            true => Ok(RouteTarget::Interface(interface.id.clone())),
            false => Err(elsewhere(table, "interface", interface.id.as_str())),
        }
    }
}

fn gateway(txn: &mut Txn, table: &RouteTable, id: &str) -> Result<RouteTarget, Fault> {
    if !id.starts_with(InternetGateway::NOUN.prefix) {
        let text = format!("The gateway ID '{id}' does not exist");
        return Err(Fault::client("InvalidGatewayID.NotFound", text));
    }
    let gateway = txn.get::<InternetGateway>(id).ok_or_else(|| {
        let text = format!("The gateway ID '{id}' does not exist");
        Fault::client("InvalidGatewayID.NotFound", text)
    })?;
    match gateway.vpc.as_ref() == Some(&table.vpc) {
        true => Ok(RouteTarget::InternetGateway(gateway.id.clone())),
        false => Err(elsewhere(table, "network gateway", id)),
    }
}

fn elsewhere(table: &RouteTable, what: &str, id: &str) -> Fault {
    invalid(format!("route table {} and {what} {id} belong to different networks", table.id))
}

/// The VPC's own ranges are routed inside: a route may be wider, not the same and not narrower.
pub fn check_destination(
    txn: &mut Txn,
    vpc: &Vpc,
    destination: &RouteDestination,
) -> Result<(), Fault> {
    match destination {
        RouteDestination::Range(range) if vpc.cidrs().any(|local| local == *range) => {
            Err(already(destination))
        }
        RouteDestination::Range(range) if vpc.cidrs().any(|local| local.covers(range)) => {
            Err(invalid(format!(
                "The destination CIDR block {range} is more specific than the local route of the \
                 VPC, which is not supported by Neargate"
            )))
        }
        RouteDestination::PrefixList(list) => named(txn, Some(list.as_str())).map(|_| ()),
        RouteDestination::Range(_) | RouteDestination::RangeV6(_) => Ok(()),
    }
}

pub fn already(destination: &RouteDestination) -> Fault {
    let text = format!("The route identified by {} already exists.", name(destination).1);
    Fault::client("RouteAlreadyExists", text)
}

pub fn no_route(table: &RouteTable, destination: &RouteDestination) -> Fault {
    let (name, value) = name(destination);
    let text = format!("no route with {name} {value} in route table {}", table.id);
    Fault::client("InvalidRoute.NotFound", text)
}

/// Whether the target is there and of this VPC: else the route is a black hole.
pub fn is_active(snapshot: &store::Snapshot, table: &RouteTable, target: &RouteTarget) -> bool {
    match target {
        RouteTarget::InternetGateway(id) => snapshot
            .get::<InternetGateway>(id.as_str())
            .is_some_and(|it| it.vpc.as_ref() == Some(&table.vpc)),
        RouteTarget::NatGateway(id) => {
            snapshot.get::<NatGateway>(id.as_str()).is_some_and(|it| it.deleted_at.is_none())
        }
        RouteTarget::Interface(id) => snapshot.get::<NetworkInterface>(id.as_str()).is_some(),
        RouteTarget::Endpoint(id) => snapshot.get::<VpcEndpoint>(id.as_str()).is_some(),
    }
}
