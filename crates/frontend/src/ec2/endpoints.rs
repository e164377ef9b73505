//! What endpoints can be made for, and the parts of an endpoint that come and go: routes in tables
//! for gateway endpoints, interfaces in subnets for interface endpoints.

use super::change::{invalid, within};
use super::default_network::GATEWAY_SERVICES;
use super::interfaces::{attach, remove_interface, take_interface};
use super::nouns::find;
use crate::context::Context;
use crate::fault::Fault;
use model::network::{
    InterfaceKind, ManagedPrefixList, Route, RouteDestination, RouteTable, RouteTarget, Subnet,
    VpcEndpoint, VpcEndpointKind,
};
use store::Txn;

/// Services with interface endpoints: those that this Neargate serves, under AWS's names.
const INTERFACE_SERVICES: [&str; 13] = [
    "application-autoscaling",
    "ec2",
    "ecr.api",
    "ecr.dkr",
    "ecs",
    "ecs-agent",
    "ecs-telemetry",
    "elasticloadbalancing",
    "logs",
    "secretsmanager",
    "servicediscovery",
    "ssm",
    "sts",
];

/// Every service's name and kind.
pub fn services(cx: &Context) -> Vec<(String, VpcEndpointKind)> {
    let name = |short: &str| format!("com.amazonaws.{}.{short}", cx.locality.region);
    let gateways = GATEWAY_SERVICES.iter().map(|it| (name(it), VpcEndpointKind::Gateway));
    let interfaces = INTERFACE_SERVICES.iter().map(|it| (name(it), VpcEndpointKind::Interface));
    let mut all: Vec<_> = gateways.chain(interfaces).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// What an endpoint allows when nothing is said.
pub const POLICY_DEFAULT: &str = concat!(
    r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}],"#,
    r#""Version":"2008-10-17"}"#
);

pub fn check_policy(text: &str) -> Result<(), Fault> {
    let fits = text.len() <= crate::limits::ENDPOINT_POLICY_BYTES_MAX;
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) if value.is_object() && fits => Ok(()),
        _ => Err(Fault::client("InvalidPolicyDocument", "The policy document is not valid")),
    }
}

/// Adds the way to the service to a table.
pub fn add_table(txn: &mut Txn, endpoint: &mut VpcEndpoint, id: &str) -> Result<(), Fault> {
    let mut table = (*find::<RouteTable>(txn, Some(id))?).clone();
    if table.vpc != endpoint.vpc {
        let text = format!("Route table {id} belongs to another network than the endpoint");
        return Err(invalid(text));
    }
    if endpoint.route_tables.contains(&table.id) {
        return Ok(());
    }
    let list = list_of(txn, &endpoint.service)?;
    let destination = RouteDestination::PrefixList(list);
    if table.routes.iter().any(|route| route.destination == destination) {
        let text = format!(
            "route table {id} already has a route with destination-prefix-list-id of {}",
            endpoint.service
        );
        return Err(Fault::client("RouteAlreadyExists", text));
    }
    table.routes.push(Route { destination, target: RouteTarget::Endpoint(endpoint.id.clone()) });
    endpoint.route_tables.push(table.id.clone());
    txn.put(table);
    Ok(())
}

fn list_of(txn: &Txn, service: &str) -> Result<model::PrefixListId, Fault> {
    let snapshot = txn.snapshot();
    let mut lists = snapshot.scan::<ManagedPrefixList>("").map(|(_, list)| list);
    let found = lists.find(|list| list.is_aws && list.name == service);
    found.map(|list| list.id.clone()).ok_or_else(|| no_service(service))
}

pub fn remove_table(txn: &mut Txn, endpoint: &mut VpcEndpoint, id: &str) {
    endpoint.route_tables.retain(|known| known.as_str() != id);
    let Some(table) = txn.get::<RouteTable>(id) else { return };
    let mut table = (*table).clone();
    table.routes.retain(|route| route.target != RouteTarget::Endpoint(endpoint.id.clone()));
    txn.put(table);
}

/// Adds an interface in a subnet; a zone has at most one.
pub fn add_subnet(
    cx: &Context,
    txn: &mut Txn,
    endpoint: &mut VpcEndpoint,
    id: &str,
) -> Result<(), Fault> {
    let subnet = find::<Subnet>(txn, Some(id))?;
    if subnet.vpc != endpoint.vpc {
        let text = format!("Subnet {id} belongs to another network than the endpoint");
        return Err(invalid(text));
    }
    for known in &endpoint.subnets {
        let known = txn.peek::<Subnet>(known.as_str());
        if known.is_some_and(|known| known.zone == subnet.zone) {
            let text = format!("The VPC endpoint has a subnet in the zone of {id} already");
            return Err(Fault::client("DuplicateSubnetsInSameZone", text));
        }
    }
    let now = cx.now();
    let mut interface = take_interface(txn, &subnet, None, cx.random(), now)?;
    attach(&mut interface, InterfaceKind::Endpoint, "amazon-aws", cx.random(), now);
    interface.description = format!("VPC Endpoint Interface {}", endpoint.id);
    interface.security_groups.clone_from(&endpoint.security_groups);
    endpoint.subnets.push(subnet.id.clone());
    endpoint.interfaces.push(interface.id.clone());
    txn.put(interface);
    Ok(())
}

pub fn remove_subnet(txn: &mut Txn, endpoint: &mut VpcEndpoint, id: &str) {
    let Some(at) = endpoint.subnets.iter().position(|known| known.as_str() == id) else { return };
    endpoint.subnets.remove(at);
    // Each subnet has its interface at the same place of the list.
    let interface = endpoint.interfaces.remove(at);
    remove_interface(txn, &interface);
}

pub fn remove_endpoint(txn: &mut Txn, endpoint: &VpcEndpoint) -> Result<(), Fault> {
    within(txn, &endpoint.vpc)?;
    let mut rest = endpoint.clone();
    for id in &endpoint.route_tables {
        remove_table(txn, &mut rest, id.as_str());
    }
    for id in &endpoint.subnets {
        remove_subnet(txn, &mut rest, id.as_str());
    }
    txn.delete::<VpcEndpoint>(endpoint.id.as_str());
    Ok(())
}

pub fn no_service(service: &str) -> Fault {
    let text = format!("The Vpc Endpoint Service '{service}' does not exist");
    Fault::client("InvalidServiceName", text)
}
