//! DescribeNatGateways: those that work, and those that were deleted within the hour.

use super::create_nat_gateway::is_forgotten;
use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, select, shown, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network;
use wire::Timestamp;
use wire::ec2::{
    DescribeNatGatewaysRequest, DescribeNatGatewaysResult, NatGateway, NatGatewayAddress,
};

const COLUMNS: &[Column<NatGateway>] = &[
    ("connectivity-type", |it| shown(&it.connectivity_type)),
    ("nat-gateway-id", |it| text(&it.nat_gateway_id)),
    ("state", |it| shown(&it.state)),
    ("subnet-id", |it| text(&it.subnet_id)),
    ("vpc-id", |it| text(&it.vpc_id)),
];

pub async fn describe_nat_gateways(
    cx: &Context,
    _caller: &Caller,
    input: DescribeNatGatewaysRequest,
) -> Result<DescribeNatGatewaysResult, Fault> {
    dry_run(input.dry_run)?;
    let (snapshot, now) = (cx.store.snapshot(), cx.now());
    let all = snapshot.scan::<network::NatGateway>("");
    let all = all.filter(|(_, nat)| !is_forgotten(nat, now)).map(|(_, nat)| show(&nat));
    let ids = input.nat_gateway_ids.as_deref();
    let found = by_ids(all.collect(), ids, &network::NatGateway::NOUN, |it| &it.nat_gateway_id)?;
    let found = select(found, input.filter.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (nat_gateways, next_token) =
        page(found, ids, input.max_results, token, |it| &it.nat_gateway_id)?;
    Ok(DescribeNatGatewaysResult { nat_gateways: Some(nat_gateways), next_token })
}

pub fn show(nat: &network::NatGateway) -> NatGateway {
    let time = |at: model::Timestamp| Timestamp::from_unix_ms(at.0);
    let is_live = nat.deleted_at.is_none();
    let addresses = nat.addresses.iter().enumerate().map(|(n, it)| NatGatewayAddress {
        allocation_id: it.allocation.as_ref().map(ToString::to_string),
        association_id: it.association.as_ref().map(ToString::to_string),
        is_primary: Some(n == 0),
        network_interface_id: Some(it.interface.to_string()),
        private_ip: Some(it.private_ip.to_string()),
        public_ip: it.public_ip.as_ref().map(ToString::to_string),
        status: Some(if is_live { "succeeded" } else { "disassociating" }.into()),
        ..NatGatewayAddress::default()
    });
    NatGateway {
        connectivity_type: Some(if nat.is_public { "public" } else { "private" }.into()),
        create_time: Some(time(nat.created_at)),
        delete_time: nat.deleted_at.map(time),
        nat_gateway_addresses: Some(addresses.collect()),
        nat_gateway_id: Some(nat.id.to_string()),
        state: Some(if is_live { "available" } else { "deleted" }.into()),
        subnet_id: Some(nat.subnet.to_string()),
        tags: derived::tags(&nat.tags),
        vpc_id: Some(nat.vpc.to_string()),
        ..NatGateway::default()
    }
}
