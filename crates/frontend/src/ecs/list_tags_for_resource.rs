//! ListTagsForResource.

use super::tagged::Tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::tagging;
use wire::ecs::{ListTagsForResourceRequest, ListTagsForResourceResponse};

pub async fn list_tags_for_resource(
    cx: &Context,
    _caller: &Caller,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let tagged = Tagged::read(cx, input.resource_arn.as_deref())?;
    let tags = tagged.tags(&cx.store.snapshot())?;
    Ok(ListTagsForResourceResponse { tags: Some(tagging::show(&tags)) })
}
