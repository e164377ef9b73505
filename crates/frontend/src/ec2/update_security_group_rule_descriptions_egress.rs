//! UpdateSecurityGroupRuleDescriptionsEgress.

use super::describe::dry_run;
use super::rule_descriptions::{Described, describe};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ec2::{
    UpdateSecurityGroupRuleDescriptionsEgressRequest as Request,
    UpdateSecurityGroupRuleDescriptionsEgressResult as Answer,
};

pub async fn update(cx: &Context, _caller: &Caller, input: Request) -> Result<Answer, Fault> {
    dry_run(input.dry_run)?;
    let described = Described {
        group_id: input.group_id,
        group_name: input.group_name,
        permissions: input.ip_permissions.unwrap_or_default(),
        by_id: input.security_group_rule_descriptions.unwrap_or_default(),
        egress: true,
    };
    describe(cx, described).await?;
    Ok(Answer { r#return: Some(true) })
}
