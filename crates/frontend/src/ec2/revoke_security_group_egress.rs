//! RevokeSecurityGroupEgress.

use super::describe::dry_run;
use super::permissions::{Flat, given};
use super::revoke::{Unwanted, revoke};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ec2::{RevokeSecurityGroupEgressRequest, RevokeSecurityGroupEgressResult};

pub async fn revoke_security_group_egress(
    cx: &Context,
    _caller: &Caller,
    input: RevokeSecurityGroupEgressRequest,
) -> Result<RevokeSecurityGroupEgressResult, Fault> {
    dry_run(input.dry_run)?;
    let flat = Flat {
        cidr: input.cidr_ip,
        protocol: input.ip_protocol,
        from_port: input.from_port,
        to_port: input.to_port,
        source_group: input.source_security_group_name,
        source_owner: input.source_security_group_owner_id,
    };
    let ids = input.security_group_rule_ids.unwrap_or_default();
    let permissions = match ids.is_empty() {
        true => given(input.ip_permissions, flat)?,
        false => input.ip_permissions.unwrap_or_default(),
    };
    let unwanted =
        Unwanted { group_id: input.group_id, group_name: None, permissions, ids, egress: true };
    let revoked = revoke(cx, unwanted).await?;
    Ok(RevokeSecurityGroupEgressResult {
        r#return: Some(true),
        revoked_security_group_rules: Some(revoked),
        unknown_ip_permissions: None,
    })
}
