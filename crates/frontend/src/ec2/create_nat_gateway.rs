//! CreateNatGateway: an interface in the subnet and, for a public one, elastic addresses that
//! stand for it. It works from this commit on; the answer says `pending`, as EC2's does.

use super::associate_address::{already, check_gateway, tie};
use super::change::{Once, missing_parameter, refuse, within};
use super::describe::dry_run;
use super::describe_nat_gateways::show;
use super::interfaces::{attach, take_interface};
use super::nouns::find;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{DELETED_NAT_GATEWAY_SHOWN_SECONDS, NAT_GATEWAYS_MAX};
use model::network::{
    Address, InterfaceKind, NatGateway, NatGatewayAddress, NetworkInterface, Subnet,
};
use model::{NatGatewayId, Tags};
use std::net::Ipv4Addr;
use store::Txn;
use wire::ec2::{ConnectivityType, CreateNatGatewayRequest, CreateNatGatewayResult};

pub async fn create_nat_gateway(
    cx: &Context,
    _caller: &Caller,
    input: CreateNatGatewayRequest,
) -> Result<CreateNatGatewayResult, Fault> {
    dry_run(input.dry_run)?;
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    refuse(&[
        (
            "availabilityMode",
            input.availability_mode.as_ref().is_some_and(|it| it.as_str() != "zonal"),
        ),
        ("availabilityZoneAddresses", input.availability_zone_addresses.is_some()),
        ("secondaryAllocationIds", some(&input.secondary_allocation_ids)),
        ("secondaryPrivateIpAddressCount", input.secondary_private_ip_address_count.is_some()),
        ("secondaryPrivateIpAddresses", some(&input.secondary_private_ip_addresses)),
        ("vpcId", input.vpc_id.is_some()),
    ])?;
    let token = input.client_token.clone();
    let once = Once::of("CreateNatGateway", token.as_deref(), &input)?;
    let is_public = input.connectivity_type != Some(ConnectivityType::Private);
    match (is_public, &input.allocation_id) {
        (true, None) => {
            let text = "The request must include the AllocationId parameter. Add the required \
                        parameter and retry the request.";
            return Err(Fault::client("MissingParameter", text));
        }
        (false, Some(_)) => {
            let text = "AllocationId must not be given for a private NAT gateway";
            return Err(Fault::client("InvalidParameter", text));
        }
        _ => {}
    }
    let asked = Asked {
        subnet: input.subnet_id.ok_or_else(|| missing_parameter("subnetId"))?,
        allocation: input.allocation_id,
        private_ip: private_ip(input.private_ip_address.as_deref())?,
        tags: tagged::given(input.tag_specifications, "natgateway")?,
    };
    let now = cx.now();
    let nat = cx.transact(|txn| {
        if let Some(once) = &once
            && let Some(id) = once.made(txn, now)?
        {
            return find::<NatGateway>(txn, Some(&id)).map(|nat| (*nat).clone());
        }
        forget_deleted(cx, txn);
        let nat = put_nat(cx, txn, &asked)?;
        if let Some(once) = &once {
            once.remember(txn, nat.id.as_str(), now);
        }
        Ok(nat)
    });
    let mut shown = show(&nat.await?);
    shown.state = Some("pending".into());
    Ok(CreateNatGatewayResult { client_token: token, nat_gateway: Some(shown) })
}

struct Asked {
    subnet: String,
    /// None for a private one.
    allocation: Option<String>,
    private_ip: Option<Ipv4Addr>,
    tags: Tags,
}

fn private_ip(text: Option<&str>) -> Result<Option<Ipv4Addr>, Fault> {
    let parse = |text: &str| {
        let why = "This is not a valid private address.";
        text.parse().map_err(|_| super::change::invalid_value(text, "privateIpAddress", why))
    };
    text.map(parse).transpose()
}

fn put_nat(cx: &Context, txn: &mut Txn, asked: &Asked) -> Result<NatGateway, Fault> {
    let live = txn.snapshot().scan::<NatGateway>("").filter(|(_, it)| it.deleted_at.is_none());
    if live.count() >= NAT_GATEWAYS_MAX {
        let text = "The maximum number of NAT gateways has been reached.";
        return Err(Fault::client("NatGatewayLimitExceeded", text));
    }
    let now = cx.now();
    let subnet = find::<Subnet>(txn, Some(&asked.subnet))?;
    within(txn, &subnet.vpc)?;
    let address = match &asked.allocation {
        None => None,
        Some(id) => Some(find::<Address>(txn, Some(id))?),
    };
    if let Some(address) = &address
        && let Some(known) = &address.association
    {
        return Err(already(address, known));
    }
    let id = NatGatewayId::mint(cx.random());
    let mut interface = take_interface(txn, &subnet, asked.private_ip, cx.random(), now)?;
    attach(&mut interface, InterfaceKind::NatGateway, "amazon-aws", cx.random(), now);
    interface.description = format!("Interface for NAT Gateway {id}");
    let mut own = NatGatewayAddress {
        interface: interface.id.clone(),
        private_ip: interface.private_ip,
        allocation: None,
        association: None,
        public_ip: None,
    };
    match address {
        None => txn.put::<NetworkInterface>(interface),
        Some(address) => {
            check_gateway(txn.snapshot(), &interface)?;
            own.allocation = Some(address.allocation.clone());
            own.public_ip = Some(address.public_ip);
            own.association = Some(tie(txn, &address, interface, cx.random()));
        }
    }
    let nat = NatGateway {
        id,
        vpc: subnet.vpc.clone(),
        subnet: subnet.id.clone(),
        is_public: asked.allocation.is_some(),
        addresses: vec![own],
        created_at: now,
        deleted_at: None,
        tags: asked.tags.clone(),
    };
    txn.put(nat.clone());
    Ok(nat)
}

/// Removes what has been shown as deleted for long enough; who makes gateways pays for it.
pub fn forget_deleted(cx: &Context, txn: &mut Txn) {
    let now = cx.now();
    let snapshot = txn.snapshot().clone();
    let past = snapshot.scan::<NatGateway>("").filter(|(_, nat)| is_forgotten(nat, now));
    for (id, _) in past.take(50) {
        txn.delete::<NatGateway>(id);
    }
}

pub fn is_forgotten(nat: &NatGateway, now: model::Timestamp) -> bool {
    let shown = DELETED_NAT_GATEWAY_SHOWN_SECONDS;
    nat.deleted_at.is_some_and(|at| at.plus_seconds(shown) <= now)
}
