//! UntagLogGroup, the older UntagResource.

use super::names::{check_group, group_missing};
use super::tags::remove;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::NoOutput;
use wire::logs::UntagLogGroupRequest;

pub async fn untag_log_group(
    cx: &Context,
    _caller: &Caller,
    input: UntagLogGroupRequest,
) -> Result<NoOutput, Fault> {
    let group = input.log_group_name.unwrap_or_default();
    check_group(&group, "logGroupName")?;
    remove(cx, &group, &input.tags.unwrap_or_default(), group_missing).await?;
    Ok(NoOutput)
}
