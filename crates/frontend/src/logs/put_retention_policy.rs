//! PutRetentionPolicy: older events are hidden at once and removed by the manager in time.

use super::names::{change_group, check_group, constraint, group_missing};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::NoOutput;
use wire::logs::PutRetentionPolicyRequest;

/// Source: API reference, PutRetentionPolicy.
const DAYS: [i32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

pub async fn put_retention_policy(
    cx: &Context,
    _caller: &Caller,
    input: PutRetentionPolicyRequest,
) -> Result<NoOutput, Fault> {
    let name = input.log_group_name.unwrap_or_default();
    check_group(&name, "logGroupName")?;
    let days = input.retention_in_days.unwrap_or_default();
    let Some(days) = u32::try_from(days).ok().filter(|_| DAYS.contains(&days)) else {
        let allowed: Vec<String> = DAYS.iter().map(ToString::to_string).collect();
        let set = format!("Member must satisfy enum value set: [{}]", allowed.join(", "));
        return Err(constraint(&days.to_string(), "retentionInDays", &set));
    };
    change_group(cx, &name, group_missing, |group| {
        group.retention_days = Some(days);
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}
