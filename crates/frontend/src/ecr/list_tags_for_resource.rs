//! ListTagsForResource, for repositories.

use super::repositories::find;
use super::tags;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecr::{ListTagsForResourceRequest, ListTagsForResourceResponse, Tag};

pub async fn list_tags_for_resource(
    cx: &Context,
    _caller: &Caller,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let name = tags::tagged(cx, input.resource_arn)?;
    let repository = find(cx, &cx.store.snapshot(), &name)?;
    let tag = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    Ok(ListTagsForResourceResponse { tags: Some(repository.tags.iter().map(tag).collect()) })
}
