//! ModifySubnetAttribute: whether instances get public addresses, and the names they get; one
//! attribute a call.

use super::change::{missing_parameter, refuse};
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::Subnet;
use wire::NoOutput;
use wire::ec2::{AttributeBooleanValue, HostnameType, ModifySubnetAttributeRequest};

pub async fn modify_subnet_attribute(
    cx: &Context,
    _caller: &Caller,
    input: ModifySubnetAttributeRequest,
) -> Result<NoOutput, Fault> {
    let value = |it: &Option<AttributeBooleanValue>| it.as_ref().and_then(|it| it.value);
    refuse(&[
        (
            "assignIpv6AddressOnCreation",
            value(&input.assign_ipv6_address_on_creation) == Some(true),
        ),
        ("customerOwnedIpv4Pool", input.customer_owned_ipv4_pool.is_some()),
        ("enableDns64", value(&input.enable_dns64) == Some(true)),
        ("enableLniAtDeviceIndex", input.enable_lni_at_device_index.is_some()),
        ("mapCustomerOwnedIpOnLaunch", value(&input.map_customer_owned_ip_on_launch) == Some(true)),
    ])?;
    let map_public = value(&input.map_public_ip_on_launch);
    let a_record = value(&input.enable_resource_name_dns_a_record_on_launch);
    let aaaa_record = value(&input.enable_resource_name_dns_aaaa_record_on_launch);
    let names = input.private_dns_hostname_type_on_launch;
    // What asks for how things are anyway is fine.
    let others = [
        value(&input.assign_ipv6_address_on_creation),
        value(&input.enable_dns64),
        value(&input.map_customer_owned_ip_on_launch),
        value(&input.disable_lni_at_device_index),
    ];
    let given = [map_public, a_record, aaaa_record].into_iter().chain(others).flatten().count()
        + usize::from(names.is_some());
    if given > 1 {
        let text = "Fields for multiple attribute types specified";
        return Err(Fault::client("InvalidParameterCombination", text));
    }
    if given == 0 {
        return Err(missing_parameter("subnetAttribute"));
    }
    cx.transact(|txn| {
        let mut subnet = (*find::<Subnet>(txn, input.subnet_id.as_deref())?).clone();
        subnet.map_public_ip_on_launch = map_public.unwrap_or(subnet.map_public_ip_on_launch);
        let launch = &mut subnet.launch_names;
        launch.a_record = a_record.unwrap_or(launch.a_record);
        launch.aaaa_record = aaaa_record.unwrap_or(launch.aaaa_record);
        if let Some(names) = &names {
            launch.by_resource = *names == HostnameType::ResourceName;
        }
        txn.put(subnet);
        Ok(NoOutput)
    })
    .await
}
