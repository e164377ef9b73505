//! DescribeAddresses: the elastic addresses, and what they stand for.

use super::allocate_address::POOL;
use super::derived;
use super::describe::{by_ids, dry_run};
use super::filter::{Column, select, shown, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network;
use store::Snapshot;
use wire::ec2::{Address, DescribeAddressesRequest, DescribeAddressesResult, DomainType};

const COLUMNS: &[Column<Address>] = &[
    ("allocation-id", |it| text(&it.allocation_id)),
    ("association-id", |it| text(&it.association_id)),
    ("domain", |it| shown(&it.domain)),
    ("instance-id", |it| text(&it.instance_id)),
    ("network-border-group", |it| text(&it.network_border_group)),
    ("network-interface-id", |it| text(&it.network_interface_id)),
    ("network-interface-owner-id", |it| text(&it.network_interface_owner_id)),
    ("private-ip-address", |it| text(&it.private_ip_address)),
    ("public-ip", |it| text(&it.public_ip)),
];

pub async fn describe_addresses(
    cx: &Context,
    _caller: &Caller,
    input: DescribeAddressesRequest,
) -> Result<DescribeAddressesResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<network::Address>("").map(|(_, it)| show(cx, &snapshot, &it));
    let ids = input.allocation_ids.as_deref();
    let mut found = by_ids(all.collect(), ids, &network::Address::NOUN, |it| &it.allocation_id)?;
    if let Some(ips) = input.public_ips.filter(|ips| !ips.is_empty()) {
        let known = |ip: &String| found.iter().any(|it| it.public_ip.as_ref() == Some(ip));
        if let Some(unknown) = ips.iter().find(|ip| !known(ip)) {
            let text = format!("Address '{unknown}' not found.");
            return Err(Fault::client("InvalidAddress.NotFound", text));
        }
        found.retain(|it| it.public_ip.as_ref().is_some_and(|ip| ips.contains(ip)));
    }
    let addresses = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    Ok(DescribeAddressesResult { addresses: Some(addresses) })
}

fn show(cx: &Context, snapshot: &Snapshot, address: &network::Address) -> Address {
    let mut shown = Address {
        allocation_id: Some(address.allocation.to_string()),
        domain: Some(DomainType::Vpc),
        network_border_group: Some(cx.locality.region.to_string()),
        public_ip: Some(address.public_ip.to_string()),
        public_ipv4_pool: Some(POOL.to_owned()),
        tags: derived::tags(&address.tags),
        ..Address::default()
    };
    if let Some(association) = &address.association {
        let interface = snapshot.get::<network::NetworkInterface>(association.interface.as_str());
        shown.association_id = Some(association.id.to_string());
        shown.network_interface_id = Some(association.interface.to_string());
        shown.network_interface_owner_id = Some(cx.locality.account.to_string());
        shown.private_ip_address = Some(association.private_ip.to_string());
        shown.subnet_id = interface.map(|interface| interface.subnet.to_string());
    }
    shown
}
