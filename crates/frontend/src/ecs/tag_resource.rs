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
    let added = tags::read(input.tags.as_deref())?;
    cx.transact(|txn| {
        tagged.change(txn, |all| {
            all.extend(added.clone());
            tags::check_count(all)
        })
    })
    .await?;
    Ok(TagResourceResponse::default())
}
