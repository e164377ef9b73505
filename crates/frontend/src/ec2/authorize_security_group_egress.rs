//! AuthorizeSecurityGroupEgress.

use super::authorize::{Wanted, authorize};
use super::describe::dry_run;
use super::permissions::{Flat, given};
use super::tagged::{self, RULE_TYPE};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ec2::{AuthorizeSecurityGroupEgressRequest, AuthorizeSecurityGroupEgressResult};

pub async fn authorize_security_group_egress(
    cx: &Context,
    _caller: &Caller,
    input: AuthorizeSecurityGroupEgressRequest,
) -> Result<AuthorizeSecurityGroupEgressResult, Fault> {
    dry_run(input.dry_run)?;
    let flat = Flat {
        cidr: input.cidr_ip,
        protocol: input.ip_protocol,
        from_port: input.from_port,
        to_port: input.to_port,
        source_group: input.source_security_group_name,
        source_owner: input.source_security_group_owner_id,
    };
    let wanted = Wanted {
        group_id: input.group_id,
        group_name: None,
        permissions: given(input.ip_permissions, flat)?,
        egress: true,
        tags: tagged::given(input.tag_specifications, RULE_TYPE)?,
    };
    let rules = authorize(cx, wanted).await?;
    Ok(AuthorizeSecurityGroupEgressResult {
        r#return: Some(true),
        security_group_rules: Some(rules),
    })
}
