//! TagResource: adds tags; a key that is there gets the new value.

use super::tagged::Tagged;
use super::tags;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecs::{TagResourceRequest, TagResourceResponse};

pub async fn tag_resource(
    cx: &Context,
    _caller: &Caller,
    input: TagResourceRequest,
) -> Result<TagResourceResponse, Fault> {
    let tagged = Tagged::read(cx, input.resource_arn.as_deref())?;
    let added = tags::RULES.read(input.tags.clone())?;
    cx.transact(|txn| tagged.change(txn, |tags| tags::RULES.add(tags, &added))).await?;
    Ok(TagResourceResponse::default())
}
