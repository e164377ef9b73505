//! Load balancers: shown, changed where they stand and by whom they are let in, deleted.

use super::create_load_balancer::check_ip_address_type;
use super::{change, invalid_configuration, not_here, nouns, page, shown, subnets};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::balancing::{BalancerKind, Listener, LoadBalancer, Rule};
use store::Txn;
use store::kinds::{listener_key, rule_key};
use wire::elbv2;
use wire::elbv2::ErrorCode;

/// Records removed in one transaction; the store's bound is 128.
const REMOVED_AT_ONCE_MAX: usize = 80;
/// ARNs or names of one call. Source: API reference, DescribeLoadBalancers.
const NAMED_MAX: usize = 20;

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeLoadBalancersInput,
) -> Result<elbv2::DescribeLoadBalancersOutput, Fault> {
    let arns = input.load_balancer_arns.unwrap_or_default();
    let names = input.names.unwrap_or_default();
    check_named(&arns, &names, NAMED_MAX)?;
    let snapshot = cx.store.snapshot();
    let mut found = Vec::new();
    for arn in &arns {
        // Of several ARNs ELB doesn't say which one it is.
        let none = || ErrorCode::LoadBalancerNotFoundException.fault(NONE);
        let one = nouns::load_balancer(cx, &snapshot, arn);
        let lost = |fault: Fault| if fault.code == "LoadBalancerNotFound" { none() } else { fault };
        found.push(one.map_err(lost)?);
    }
    let all: Vec<_> = snapshot.scan::<LoadBalancer>("").map(|(_, it)| it).collect();
    for name in &names {
        let one = all.iter().find(|it| it.name == *name).ok_or_else(|| {
            let text = format!("Load balancers '[{}]' not found", names.join(", "));
            ErrorCode::LoadBalancerNotFoundException.fault(text)
        })?;
        found.push(one.clone());
    }
    if arns.is_empty() && names.is_empty() {
        found = all;
    }
    let asked = format!("{arns:?}{names:?}");
    let request = ["DescribeLoadBalancers", asked.as_str()];
    let key = |it: &std::sync::Arc<LoadBalancer>| it.id.to_string();
    let (page, next_marker) = page(&request, found, key, input.marker.as_deref(), input.page_size)?;
    let load_balancers = page.iter().map(|it| shown::load_balancer(cx, &snapshot, it)).collect();
    Ok(elbv2::DescribeLoadBalancersOutput { load_balancers: Some(load_balancers), next_marker })
}

const NONE: &str = "One or more load balancers not found";

pub fn check_named(arns: &[String], names: &[String], max: usize) -> Result<(), Fault> {
    if !arns.is_empty() && !names.is_empty() {
        let text = "Names and ARNs cannot be specified at the same time";
        return Err(super::validation(text));
    }
    if arns.len().max(names.len()) > max {
        let text = format!("A maximum of '{max}' resources can be specified in one request");
        return Err(super::validation(text));
    }
    Ok(())
}

/// Deleting one that is not there succeeds. Source: API reference, DeleteLoadBalancer.
pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DeleteLoadBalancerInput,
) -> Result<elbv2::DeleteLoadBalancerOutput, Fault> {
    let arn = input.load_balancer_arn.unwrap_or_default();
    // Its rules may be more than one transaction takes.
    while !change(cx, |txn| delete_some(cx, txn, &arn)).await? {}
    Ok(elbv2::DeleteLoadBalancerOutput {})
}

/// Whether all of it is gone.
fn delete_some(cx: &Context, txn: &mut Txn, arn: &str) -> Result<bool, Fault> {
    let snapshot = txn.snapshot().clone();
    let balancer = match nouns::load_balancer(cx, &snapshot, arn) {
        Err(fault) if fault.code == "LoadBalancerNotFound" => return Ok(true),
        found => found?,
    };
    let protected = balancer.attributes.get("deletion_protection.enabled");
    if protected.is_some_and(|value| value == "true") {
        let text = format!(
            "Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
        );
        return Err(ErrorCode::OperationNotPermittedException.fault(text));
    }
    let mut room = REMOVED_AT_ONCE_MAX;
    for listener in nouns::listeners_of(&snapshot, &balancer) {
        for rule in nouns::rules_of(&snapshot, &listener) {
            if room == 0 {
                return Ok(false);
            }
            room -= 1;
            txn.delete::<Rule>(&rule_key(&listener.id, &rule.id));
        }
        if room == 0 {
            return Ok(false);
        }
        room -= 1;
        txn.delete::<Listener>(&listener_key(&balancer.id, &listener.id));
    }
    let mut rest = (*balancer).clone();
    while !rest.subnets.is_empty() {
        subnets::remove(txn, &mut rest, 0)?;
    }
    txn.delete::<LoadBalancer>(balancer.id.as_str());
    Ok(true)
}

pub async fn set_security_groups(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::SetSecurityGroupsInput,
) -> Result<elbv2::SetSecurityGroupsOutput, Fault> {
    let arn = input.load_balancer_arn.unwrap_or_default();
    let given = input.security_groups.unwrap_or_default();
    let private_link = input.enforce_security_group_inbound_rules_on_private_link_traffic;
    if private_link.as_ref().is_some_and(|it| it.as_str() == "off") {
        return Err(not_here("private links to load balancers"));
    }
    let changed = change(cx, |txn| {
        let balancer = nouns::load_balancer(cx, txn.snapshot(), &arn)?;
        let mut balancer = (*balancer).clone();
        let is_network = balancer.kind == BalancerKind::Network;
        if is_network && balancer.security_groups.is_empty() {
            let text = "You cannot set security groups for a Network Load Balancer that was \
                        created without security groups";
            return Err(invalid_configuration(text));
        }
        if given.is_empty() {
            return Err(super::validation("At least one security group must be specified"));
        }
        let vpc = balancer.vpc.clone();
        balancer.security_groups = subnets::security_groups(txn, balancer.kind, &vpc, &given)?;
        subnets::put_groups(txn, &balancer)?;
        txn.put(balancer.clone());
        Ok(balancer)
    })
    .await?;
    let is_network = changed.kind == BalancerKind::Network;
    Ok(elbv2::SetSecurityGroupsOutput {
        security_group_ids: Some(changed.security_groups.iter().map(ToString::to_string).collect()),
        enforce_security_group_inbound_rules_on_private_link_traffic: is_network
            .then_some(elbv2::EnforceSecurityGroupInboundRulesOnPrivateLinkTrafficEnum::On),
    })
}

pub async fn set_subnets(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::SetSubnetsInput,
) -> Result<elbv2::SetSubnetsOutput, Fault> {
    check_ip_address_type(input.ip_address_type.as_ref())?;
    if input.enable_prefix_for_ipv6_source_nat.is_some_and(|it| it.as_str() == "on") {
        return Err(not_here("EnablePrefixForIpv6SourceNat"));
    }
    let arn = input.load_balancer_arn.unwrap_or_default();
    let (subnets, mappings) = (input.subnets, input.subnet_mappings);
    let changed = change(cx, |txn| {
        let mut balancer = (*nouns::load_balancer(cx, txn.snapshot(), &arn)?).clone();
        let places = subnets::read(balancer.kind, subnets.clone(), mappings.clone())?;
        let before = balancer.subnets.clone();
        let wanted = subnets::check(txn, balancer.kind, balancer.internal, &places, &before)?;
        if wanted.iter().any(|subnet| subnet.vpc != balancer.vpc) {
            let text = format!("All subnets must belong to the same VPC: '{}'", balancer.vpc);
            return Err(invalid_configuration(text));
        }
        for at in (0..balancer.subnets.len()).rev() {
            if !wanted.iter().any(|subnet| subnet.id == balancer.subnets[at]) {
                subnets::remove(txn, &mut balancer, at)?;
            }
        }
        for (subnet, place) in wanted.iter().zip(&places) {
            if !balancer.subnets.contains(&subnet.id) {
                subnets::add(cx, txn, &mut balancer, subnet, place)?;
            }
        }
        txn.put(balancer.clone());
        Ok(balancer)
    })
    .await?;
    let shown = shown::load_balancer(cx, &cx.store.snapshot(), &changed);
    Ok(elbv2::SetSubnetsOutput {
        availability_zones: shown.availability_zones,
        ip_address_type: shown.ip_address_type,
        ..Default::default()
    })
}

pub async fn set_ip_address_type(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::SetIpAddressTypeInput,
) -> Result<elbv2::SetIpAddressTypeOutput, Fault> {
    let arn = input.load_balancer_arn.unwrap_or_default();
    nouns::load_balancer(cx, &cx.store.snapshot(), &arn)?;
    check_ip_address_type(input.ip_address_type.as_ref())?;
    Ok(elbv2::SetIpAddressTypeOutput { ip_address_type: Some(elbv2::IpAddressType::Ipv4) })
}
