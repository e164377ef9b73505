//! What AuthorizeSecurityGroupIngress and …Egress share: new rules, all or none.

use super::change::within;
use super::describe_security_group_rules::show;
use super::make_vpc::rule_id;
use super::permissions::{check_count, duplicate, group_given, is_same, rules};
use crate::context::Context;
use crate::fault::Fault;
use model::Tags;
use wire::ec2::{IpPermission, SecurityGroupRule};

/// The group a call names, and the rules.
pub struct Wanted {
    pub group_id: Option<String>,
    pub group_name: Option<String>,
    pub permissions: Vec<IpPermission>,
    pub egress: bool,
    pub tags: Tags,
}

pub async fn authorize(cx: &Context, wanted: Wanted) -> Result<Vec<SecurityGroupRule>, Fault> {
    let (group, added) = cx
        .transact(|txn| {
            let (id, name) = (wanted.group_id.as_deref(), wanted.group_name.as_deref());
            let mut group = (*group_given(txn, id, name)?).clone();
            let vpc = within(txn, &group.vpc)?;
            let mut added = rules(cx, txn, &vpc, &wanted.permissions, wanted.egress)?;
            for rule in &mut added {
                if group.rules.iter().any(|known| is_same(known, rule)) {
                    return Err(duplicate(rule));
                }
                rule.id = rule_id(cx.random());
                rule.tags.clone_from(&wanted.tags);
                group.rules.push(rule.clone());
            }
            check_count(txn, &group.rules, wanted.egress)?;
            txn.put(group.clone());
            Ok((group, added))
        })
        .await?;
    Ok(added.iter().map(|rule| show(cx, &group, rule)).collect())
}
