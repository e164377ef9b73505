//! What UpdateSecurityGroupRuleDescriptionsIngress and …Egress share: rules by id, or by what
//! they allow, get another description; without one they lose theirs.

use super::change::{missing_parameter, within};
use super::permissions::{check_description, group_given, is_same, rules};
use crate::context::Context;
use crate::fault::Fault;
use wire::ec2::{IpPermission, SecurityGroupRuleDescription};

pub struct Described {
    pub group_id: Option<String>,
    pub group_name: Option<String>,
    pub permissions: Vec<IpPermission>,
    pub by_id: Vec<SecurityGroupRuleDescription>,
    pub egress: bool,
}

pub async fn describe(cx: &Context, described: Described) -> Result<(), Fault> {
    if described.permissions.is_empty() && described.by_id.is_empty() {
        return Err(missing_parameter("ipPermissions"));
    }
    cx.transact(|txn| {
        let (id, name) = (described.group_id.as_deref(), described.group_name.as_deref());
        let mut group = (*group_given(txn, id, name)?).clone();
        let vpc = within(txn, &group.vpc)?;
        for one in &described.by_id {
            let id = one.security_group_rule_id.as_deref().unwrap_or_default();
            check_description(one.description.as_deref())?;
            let mut known = group.rules.iter_mut();
            let rule = known.find(|it| it.id == id && it.egress == described.egress);
            let rule = rule.ok_or_else(|| {
                let text = format!("The security group rule ID '{id}' does not exist");
                Fault::client("InvalidSecurityGroupRuleId.NotFound", text)
            })?;
            rule.description = one.description.clone().filter(|text| !text.is_empty());
        }
        for new in rules(cx, txn, &vpc, &described.permissions, described.egress)? {
            let rule = group.rules.iter_mut().find(|known| is_same(known, &new));
            let rule = rule.ok_or_else(|| {
                let text = "The specified rule does not exist in this security group.";
                Fault::client("InvalidPermission.NotFound", text)
            })?;
            rule.description = new.description;
        }
        txn.put(group);
        Ok(())
    })
    .await
}
