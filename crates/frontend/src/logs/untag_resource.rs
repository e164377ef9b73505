//! UntagResource, for log groups: takes tags away by their keys.

use super::tags::{remove, resource_missing, tagged_group};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::NoOutput;
use wire::logs::UntagResourceRequest;

pub async fn untag_resource(
    cx: &Context,
    _caller: &Caller,
    input: UntagResourceRequest,
) -> Result<NoOutput, Fault> {
    let group = tagged_group(cx, input.resource_arn)?;
    remove(cx, &group, &input.tag_keys.unwrap_or_default(), resource_missing).await?;
    Ok(NoOutput)
}
