//! What RevokeSecurityGroupIngress and …Egress share: rules by id, or by what they allow.

use super::change::within;
use super::permissions::{group_given, is_same, rules};
use crate::context::Context;
use crate::fault::Fault;
use model::network::{SecurityGroup, SecurityGroupPeer, SecurityGroupRule};
use store::Txn;
use wire::ec2::{IpPermission, RevokedSecurityGroupRule};

pub struct Unwanted {
    pub group_id: Option<String>,
    pub group_name: Option<String>,
    pub permissions: Vec<IpPermission>,
    pub ids: Vec<String>,
    pub egress: bool,
}

pub async fn revoke(
    cx: &Context,
    unwanted: Unwanted,
) -> Result<Vec<RevokedSecurityGroupRule>, Fault> {
    let (group, gone) = cx
        .transact(|txn| {
            let (id, name) = (unwanted.group_id.as_deref(), unwanted.group_name.as_deref());
            let mut group = (*group_given(txn, id, name)?).clone();
            let gone = take_out(cx, txn, &mut group, &unwanted)?;
            txn.put(group.clone());
            Ok((group, gone))
        })
        .await?;
    Ok(gone.iter().map(|rule| show(&group, rule)).collect())
}

fn take_out(
    cx: &Context,
    txn: &mut Txn,
    group: &mut SecurityGroup,
    unwanted: &Unwanted,
) -> Result<Vec<SecurityGroupRule>, Fault> {
    let vpc = within(txn, &group.vpc)?;
    let mut gone = Vec::new();
    for id in &unwanted.ids {
        let known = |rule: &SecurityGroupRule| rule.id == *id && rule.egress == unwanted.egress;
        let at = group.rules.iter().position(known).ok_or_else(|| {
            let text = format!("The security group rule ID '{id}' does not exist");
            Fault::client("InvalidSecurityGroupRuleId.NotFound", text)
        })?;
        gone.push(group.rules.remove(at));
    }
    for rule in rules(cx, txn, &vpc, &unwanted.permissions, unwanted.egress)? {
        let at = group.rules.iter().position(|known| is_same(known, &rule)).ok_or_else(|| {
            let text = "The specified rule does not exist in this security group.";
            Fault::client("InvalidPermission.NotFound", text)
        })?;
        gone.push(group.rules.remove(at));
    }
    Ok(gone)
}

fn show(group: &SecurityGroup, rule: &SecurityGroupRule) -> RevokedSecurityGroupRule {
    let mut shown = RevokedSecurityGroupRule {
        description: rule.description.clone(),
        from_port: Some(rule.from_port.unwrap_or(-1)),
        to_port: Some(rule.to_port.unwrap_or(-1)),
        group_id: Some(group.id.to_string()),
        ip_protocol: Some(rule.protocol.clone()),
        is_egress: Some(rule.egress),
        security_group_rule_id: Some(rule.id.clone()),
        ..RevokedSecurityGroupRule::default()
    };
    match &rule.peer {
        SecurityGroupPeer::Range(cidr) => shown.cidr_ipv4 = Some(cidr.to_string()),
        SecurityGroupPeer::RangeV6(cidr) => shown.cidr_ipv6 = Some(cidr.clone()),
        SecurityGroupPeer::Group(id) => shown.referenced_group_id = Some(id.to_string()),
        SecurityGroupPeer::PrefixList(id) => shown.prefix_list_id = Some(id.to_string()),
    }
    shown
}
