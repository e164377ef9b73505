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
    let added = tags::read(input.tags)?;
    change(cx, &name, |repository| {
        repository.tags.extend(added.clone());
        tags::check_count(&repository.tags)
    })
    .await?;
    Ok(TagResourceResponse {})
}
