//! ListTagsForResource.

use super::tags::{resource_missing, tagged_group};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::logs::LogGroup;
use wire::logs::{ListTagsForResourceRequest, ListTagsForResourceResponse};

pub async fn list_tags_for_resource(
    cx: &Context,
    _caller: &Caller,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let group = tagged_group(cx, input.resource_arn)?;
    let group = cx.store.snapshot().get::<LogGroup>(&group).ok_or_else(resource_missing)?;
    Ok(ListTagsForResourceResponse { tags: Some(group.tags.clone()) })
}
