//! ListTagsForResource, for repositories.

use super::repositories::find;
use super::tags;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::tagging;
use wire::ecr::{ListTagsForResourceRequest, ListTagsForResourceResponse};

pub async fn list_tags_for_resource(
    cx: &Context,
    _caller: &Caller,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let name = tags::tagged(cx, input.resource_arn)?;
    let repository = find(cx, &cx.store.snapshot(), &name)?;
    Ok(ListTagsForResourceResponse { tags: Some(tagging::show(&repository.tags)) })
}
