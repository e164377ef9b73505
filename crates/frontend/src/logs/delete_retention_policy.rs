//! DeleteRetentionPolicy: events are kept for ever again.

use super::names::{change_group, check_group, group_missing};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::NoOutput;
use wire::logs::DeleteRetentionPolicyRequest;

pub async fn delete_retention_policy(
    cx: &Context,
    _caller: &Caller,
    input: DeleteRetentionPolicyRequest,
) -> Result<NoOutput, Fault> {
    let name = input.log_group_name.unwrap_or_default();
    check_group(&name, "logGroupName")?;
    change_group(cx, &name, group_missing, |group| {
        group.retention_days = None;
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}
