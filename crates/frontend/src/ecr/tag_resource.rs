//! TagResource, for repositories.

use super::repositories::change;
use super::tags;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecr::{TagResourceRequest, TagResourceResponse};

pub async fn tag_resource(
    cx: &Context,
    _caller: &Caller,
    input: TagResourceRequest,
) -> Result<TagResourceResponse, Fault> {
    let name = tags::tagged(cx, input.resource_arn)?;
    let added = tags::RULES.read(input.tags)?;
    change(cx, &name, |repository| tags::RULES.add(&mut repository.tags, &added)).await?;
    Ok(TagResourceResponse {})
}
