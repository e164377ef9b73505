//! DescribeSecurityGroupRules: each rule by itself, with its own id.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, select, text};
use super::nouns::SECURITY_GROUP_RULE;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{self, SecurityGroupPeer};
use wire::ec2::{
    DescribeSecurityGroupRulesRequest, DescribeSecurityGroupRulesResult, ReferencedSecurityGroup,
    SecurityGroupRule,
};

const COLUMNS: &[Column<SecurityGroupRule>] = &[
    ("group-id", |it| text(&it.group_id)),
    ("security-group-rule-id", |it| text(&it.security_group_rule_id)),
];

pub async fn describe_security_group_rules(
    cx: &Context,
    _caller: &Caller,
    input: DescribeSecurityGroupRulesRequest,
) -> Result<DescribeSecurityGroupRulesResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let groups = snapshot.scan::<network::SecurityGroup>("").map(|(_, group)| group);
    let all = groups
        .flat_map(|group| group.rules.iter().map(|rule| show(cx, &group, rule)).collect::<Vec<_>>())
        .collect();
    let ids = input.security_group_rule_ids.as_deref();
    let found = by_ids(all, ids, &SECURITY_GROUP_RULE, |it| &it.security_group_rule_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (rules, next_token) =
        page(found, ids, input.max_results, token, |it| &it.security_group_rule_id)?;
    Ok(DescribeSecurityGroupRulesResult { security_group_rules: Some(rules), next_token })
}

pub fn show(
    cx: &Context,
    group: &network::SecurityGroup,
    rule: &network::SecurityGroupRule,
) -> SecurityGroupRule {
    let account = cx.locality.account.to_string();
    let mut shown = SecurityGroupRule {
        description: rule.description.clone(),
        // All ports are -1 here, but left out in DescribeSecurityGroups.
        from_port: Some(rule.from_port.unwrap_or(-1)),
        to_port: Some(rule.to_port.unwrap_or(-1)),
        group_id: Some(group.id.to_string()),
        group_owner_id: Some(account.clone()),
        ip_protocol: Some(rule.protocol.clone()),
        is_egress: Some(rule.egress),
        security_group_rule_arn: Some(
            cx.locality.arn("ec2", &format!("security-group-rule/{}", rule.id)),
        ),
        security_group_rule_id: Some(rule.id.clone()),
        tags: derived::tags(&rule.tags),
        ..SecurityGroupRule::default()
    };
    match &rule.peer {
        SecurityGroupPeer::Range(cidr) => shown.cidr_ipv4 = Some(cidr.to_string()),
        SecurityGroupPeer::RangeV6(cidr) => shown.cidr_ipv6 = Some(cidr.clone()),
        SecurityGroupPeer::PrefixList(id) => shown.prefix_list_id = Some(id.to_string()),
        SecurityGroupPeer::Group(id) => {
            shown.referenced_group_info = Some(ReferencedSecurityGroup {
                group_id: Some(id.to_string()),
                user_id: Some(account),
                ..ReferencedSecurityGroup::default()
            });
        }
    }
    shown
}
