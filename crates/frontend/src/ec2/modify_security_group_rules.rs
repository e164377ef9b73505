//! ModifySecurityGroupRules: rules keep their id and direction, and say something else.

use super::change::{missing_parameter, within};
use super::delete_managed_prefix_list::named;
use super::describe::dry_run;
use super::nouns::find;
use super::permissions::{
    check_count, check_description, checked_ports, duplicate, is_same, peer_group_id, peer_range,
    peer_range_v6,
};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{SecurityGroup, SecurityGroupPeer, SecurityGroupRule, Vpc};
use store::Txn;
use wire::ec2::{
    ModifySecurityGroupRulesRequest, ModifySecurityGroupRulesResult, SecurityGroupRuleRequest,
};

pub async fn modify_security_group_rules(
    cx: &Context,
    _caller: &Caller,
    input: ModifySecurityGroupRulesRequest,
) -> Result<ModifySecurityGroupRulesResult, Fault> {
    dry_run(input.dry_run)?;
    let updates = input.security_group_rules.unwrap_or_default();
    cx.transact(|txn| {
        let mut group = (*find::<SecurityGroup>(txn, input.group_id.as_deref())?).clone();
        let vpc = within(txn, &group.vpc)?;
        for update in &updates {
            let id = update.security_group_rule_id.as_deref().unwrap_or_default();
            let at = group.rules.iter().position(|rule| rule.id == id).ok_or_else(|| {
                let text = format!("The security group rule ID '{id}' does not exist");
                Fault::client("InvalidSecurityGroupRuleId.NotFound", text)
            })?;
            let asked = update.security_group_rule.as_ref();
            let asked = asked.ok_or_else(|| missing_parameter("securityGroupRule"))?;
            let rule = changed(txn, &vpc, &group.rules[at], asked)?;
            let others = group.rules.iter().enumerate().filter(|(n, _)| *n != at);
            if others.into_iter().any(|(_, other)| is_same(other, &rule)) {
                return Err(duplicate(&rule));
            }
            group.rules[at] = rule;
        }
        check_count(txn, &group.rules, false)?;
        check_count(txn, &group.rules, true)?;
        txn.put(group);
        Ok(())
    })
    .await?;
    Ok(ModifySecurityGroupRulesResult { r#return: Some(true) })
}

fn changed(
    txn: &mut Txn,
    vpc: &Vpc,
    rule: &SecurityGroupRule,
    asked: &SecurityGroupRuleRequest,
) -> Result<SecurityGroupRule, Fault> {
    let protocol = asked.ip_protocol.as_deref().unwrap_or(&rule.protocol);
    let ports = checked_ports(protocol, asked.from_port, asked.to_port)?;
    let peers = [&asked.cidr_ipv4, &asked.cidr_ipv6, &asked.prefix_list_id];
    let count =
        peers.into_iter().flatten().count() + usize::from(asked.referenced_group_id.is_some());
    if count != 1 {
        let text = "Exactly one of cidrIpv4, cidrIpv6, prefixListId, referencedGroupId is required";
        return Err(Fault::client("InvalidParameterCombination", text));
    }
    let peer = if let Some(range) = &asked.cidr_ipv4 {
        peer_range(range)?
    } else if let Some(range) = &asked.cidr_ipv6 {
        peer_range_v6(range)?
    } else if let Some(list) = &asked.prefix_list_id {
        let list = named(txn, Some(list))?;
        SecurityGroupPeer::PrefixList(list.id.clone())
    } else {
        let id = asked.referenced_group_id.as_deref().unwrap_or_default();
        peer_group_id(txn, vpc, id)?
    };
    check_description(asked.description.as_deref())?;
    Ok(SecurityGroupRule {
        protocol: ports.protocol,
        from_port: ports.from,
        to_port: ports.to,
        peer,
        description: asked.description.clone().filter(|text| !text.is_empty()),
        ..rule.clone()
    })
}
