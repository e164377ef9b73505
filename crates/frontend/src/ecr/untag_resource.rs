//! UntagResource, for repositories.

use super::repositories::change;
use super::tags;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::tagging;
use wire::ecr::{UntagResourceRequest, UntagResourceResponse};

pub async fn untag_resource(
    cx: &Context,
    _caller: &Caller,
    input: UntagResourceRequest,
) -> Result<UntagResourceResponse, Fault> {
    let name = tags::tagged(cx, input.resource_arn)?;
    let keys = input.tag_keys.unwrap_or_default();
    change(cx, &name, |repository| {
        tagging::remove(&mut repository.tags, &keys);
        Ok(())
    })
    .await?;
    Ok(UntagResourceResponse {})
}
