//! TagResource, for log groups: adds tags, or changes those that are there.

use super::tags::{add, resource_missing, tagged_group};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::NoOutput;
use wire::logs::TagResourceRequest;

pub async fn tag_resource(
    cx: &Context,
    _caller: &Caller,
    input: TagResourceRequest,
) -> Result<NoOutput, Fault> {
    let group = tagged_group(cx, input.resource_arn)?;
    add(cx, &group, &input.tags.unwrap_or_default(), resource_missing).await?;
    Ok(NoOutput)
}
