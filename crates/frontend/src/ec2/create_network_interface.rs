//! CreateNetworkInterface: an interface of a user's own. Nothing can be attached to it, as there
//! are no instances; it holds addresses and may have a public one.

use super::change::{Once, groups_in, invalid, invalid_value, refuse, within};
use super::describe::dry_run;
use super::describe_network_interfaces::show;
use super::interfaces::{take_address, take_interface};
use super::nouns::find;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{SECONDARY_ADDRESSES_MAX, SECURITY_GROUPS_PER_TASK_MAX};
use model::network::{NetworkInterface, Subnet};
use std::net::Ipv4Addr;
use wire::ec2::{CreateNetworkInterfaceRequest, CreateNetworkInterfaceResult};

pub async fn create_network_interface(
    cx: &Context,
    _caller: &Caller,
    input: CreateNetworkInterfaceRequest,
) -> Result<CreateNetworkInterfaceResult, Fault> {
    dry_run(input.dry_run)?;
    check_supported(&input)?;
    let token = input.client_token.clone();
    let once = Once::of("CreateNetworkInterface", token.as_deref(), &input)?;
    let (primary, secondary) = addresses(&input)?;
    let more = input.secondary_private_ip_address_count.unwrap_or(0);
    let more = usize::try_from(more).map_err(|_| invalid("The count of addresses is negative"))?;
    if more + secondary.len() > SECONDARY_ADDRESSES_MAX {
        let text = "Number of private addresses will exceed limit.";
        return Err(Fault::client("PrivateIpAddressLimitExceeded", text));
    }
    let groups = input.groups.as_deref();
    if groups.is_some_and(|groups| groups.len() > SECURITY_GROUPS_PER_TASK_MAX) {
        let text = "The maximum number of security groups per interface has been reached.";
        return Err(Fault::client("SecurityGroupsPerInterfaceLimitExceeded", text));
    }
    let description = input.description.clone().unwrap_or_default();
    let tags = tagged::given(input.tag_specifications.clone(), "network-interface")?;
    let now = cx.now();
    let interface = cx.transact(|txn| {
        if let Some(once) = &once
            && let Some(id) = once.made(txn, now)?
        {
            return find::<NetworkInterface>(txn, Some(&id)).map(|it| (*it).clone());
        }
        let subnet = find::<Subnet>(txn, input.subnet_id.as_deref())?;
        within(txn, &subnet.vpc)?;
        let security_groups = groups_in(txn, &subnet.vpc, groups)?;
        let mut interface = take_interface(txn, &subnet, primary, cx.random(), now)?;
        for wanted in secondary.iter().map(|ip| Some(*ip)).chain(std::iter::repeat_n(None, more)) {
            interface.secondary_ips.push(take_address(txn, &subnet, wanted)?);
        }
        interface.security_groups = security_groups;
        interface.description.clone_from(&description);
        interface.tags.clone_from(&tags);
        txn.put(interface.clone());
        if let Some(once) = &once {
            once.remember(txn, interface.id.as_str(), now);
        }
        Ok(interface)
    });
    let shown = show(cx, &cx.store.snapshot(), &interface.await?);
    Ok(CreateNetworkInterfaceResult { client_token: token, network_interface: Some(shown) })
}

fn check_supported(input: &CreateNetworkInterfaceRequest) -> Result<(), Fault> {
    let kind = input.interface_type.as_ref();
    refuse(&[
        ("connectionTrackingSpecification", input.connection_tracking_specification.is_some()),
        ("enablePrimaryIpv6", input.enable_primary_ipv6 == Some(true)),
        ("interfaceType", kind.is_some_and(|kind| kind.as_str() != "interface")),
        ("ipv4PrefixCount", input.ipv4_prefix_count.is_some()),
        ("ipv4Prefixes", input.ipv4_prefixes.is_some()),
        ("ipv6AddressCount", input.ipv6_address_count.is_some_and(|count| count != 0)),
        ("ipv6Addresses", input.ipv6_addresses.is_some()),
        ("ipv6PrefixCount", input.ipv6_prefix_count.is_some()),
        ("ipv6Prefixes", input.ipv6_prefixes.is_some()),
        ("operator", input.operator.is_some()),
    ])
}

/// The primary address, if one is named, and the others.
fn addresses(
    input: &CreateNetworkInterfaceRequest,
) -> Result<(Option<Ipv4Addr>, Vec<Ipv4Addr>), Fault> {
    let parse = |text: &str| -> Result<Ipv4Addr, Fault> {
        let why = "This is not a valid private address.";
        text.parse().map_err(|_| invalid_value(text, "privateIpAddress", why))
    };
    let mut primary = input.private_ip_address.as_deref().map(parse).transpose()?;
    let mut secondary = Vec::new();
    for one in input.private_ip_addresses.iter().flatten() {
        let ip = parse(one.private_ip_address.as_deref().unwrap_or_default())?;
        if one.primary != Some(true) {
            secondary.push(ip);
        } else if primary.replace(ip).is_some() {
            return Err(invalid("Only one primary private IP address can be specified."));
        }
    }
    Ok((primary, secondary))
}
