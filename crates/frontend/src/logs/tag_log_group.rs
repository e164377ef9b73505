//! TagLogGroup, the older TagResource.

use super::names::{check_group, group_missing};
use super::tags::add;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::NoOutput;
use wire::logs::TagLogGroupRequest;

pub async fn tag_log_group(
    cx: &Context,
    _caller: &Caller,
    input: TagLogGroupRequest,
) -> Result<NoOutput, Fault> {
    let group = input.log_group_name.unwrap_or_default();
    check_group(&group, "logGroupName")?;
    add(cx, &group, &input.tags.unwrap_or_default(), group_missing).await?;
    Ok(NoOutput)
}
