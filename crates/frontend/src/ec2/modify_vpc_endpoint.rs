//! ModifyVpcEndpoint: tables, subnets and groups come and go; the policy changes.

use super::change::{groups_in, invalid, refuse, within};
use super::describe::dry_run;
use super::endpoints::{
    POLICY_DEFAULT, add_subnet, add_table, check_policy, remove_subnet, remove_table,
};
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{NetworkInterface, VpcEndpoint, VpcEndpointKind};
use store::Txn;
use wire::ec2::{ModifyVpcEndpointRequest, ModifyVpcEndpointResult};

pub async fn modify_vpc_endpoint(
    cx: &Context,
    _caller: &Caller,
    input: ModifyVpcEndpointRequest,
) -> Result<ModifyVpcEndpointResult, Fault> {
    dry_run(input.dry_run)?;
    refuse(&[
        ("dnsOptions", input.dns_options.is_some()),
        ("ipAddressType", input.ip_address_type.as_ref().is_some_and(|it| it.as_str() != "ipv4")),
        ("subnetConfiguration", input.subnet_configurations.is_some()),
    ])?;
    if let Some(policy) = &input.policy_document {
        check_policy(policy)?;
    }
    cx.transact(|txn| {
        let endpoint = find::<VpcEndpoint>(txn, input.vpc_endpoint_id.as_deref())?;
        within(txn, &endpoint.vpc)?;
        let mut endpoint = (*endpoint).clone();
        check_kind(&endpoint, &input)?;
        for id in input.remove_route_table_ids.iter().flatten() {
            remove_table(txn, &mut endpoint, id);
        }
        for id in input.add_route_table_ids.iter().flatten() {
            add_table(txn, &mut endpoint, id)?;
        }
        change_groups(txn, &mut endpoint, &input)?;
        for id in input.remove_subnet_ids.iter().flatten() {
            remove_subnet(txn, &mut endpoint, id);
        }
        for id in input.add_subnet_ids.iter().flatten() {
            add_subnet(cx, txn, &mut endpoint, id)?;
        }
        if input.reset_policy == Some(true) {
            POLICY_DEFAULT.clone_into(&mut endpoint.policy);
        }
        if let Some(policy) = &input.policy_document {
            endpoint.policy.clone_from(policy);
        }
        endpoint.private_dns = input.private_dns_enabled.unwrap_or(endpoint.private_dns);
        txn.put(endpoint);
        Ok(())
    })
    .await?;
    Ok(ModifyVpcEndpointResult { r#return: Some(true) })
}

fn check_kind(endpoint: &VpcEndpoint, input: &ModifyVpcEndpointRequest) -> Result<(), Fault> {
    let any = |lists: &[&Option<Vec<String>>]| {
        lists.iter().any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
    };
    let of_gateway = any(&[&input.add_route_table_ids, &input.remove_route_table_ids]);
    let of_interface = any(&[
        &input.add_subnet_ids,
        &input.remove_subnet_ids,
        &input.add_security_group_ids,
        &input.remove_security_group_ids,
    ]) || input.private_dns_enabled == Some(true);
    let wrong = match endpoint.kind {
        VpcEndpointKind::Gateway => of_interface,
        VpcEndpointKind::Interface => of_gateway,
    };
    match wrong {
        true => Err(invalid("Parameters of another type of endpoint were specified")),
        false => Ok(()),
    }
}

/// The endpoint's interfaces have its groups.
fn change_groups(
    txn: &mut Txn,
    endpoint: &mut VpcEndpoint,
    input: &ModifyVpcEndpointRequest,
) -> Result<(), Fault> {
    let adds = input.add_security_group_ids.as_deref().unwrap_or_default();
    let removes = input.remove_security_group_ids.as_deref().unwrap_or_default();
    if adds.is_empty() && removes.is_empty() {
        return Ok(());
    }
    if !adds.is_empty() {
        for group in groups_in(txn, &endpoint.vpc, Some(adds))? {
            if !endpoint.security_groups.contains(&group) {
                endpoint.security_groups.push(group);
            }
        }
    }
    endpoint.security_groups.retain(|id| !removes.iter().any(|gone| gone == id.as_str()));
    if endpoint.security_groups.is_empty() {
        return Err(invalid("An interface endpoint must have at least one security group"));
    }
    for id in &endpoint.interfaces {
        if let Some(interface) = txn.get::<NetworkInterface>(id.as_str()) {
            let security_groups = endpoint.security_groups.clone();
            txn.put(NetworkInterface { security_groups, ..(*interface).clone() });
        }
    }
    Ok(())
}
