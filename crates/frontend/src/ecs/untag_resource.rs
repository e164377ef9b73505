//! UntagResource: takes tags away; keys that aren't there are passed over.

use super::tagged::Tagged;
use super::tags;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::tagging;
use wire::ecs::{UntagResourceRequest, UntagResourceResponse};

pub async fn untag_resource(
    cx: &Context,
    _caller: &Caller,
    input: UntagResourceRequest,
) -> Result<UntagResourceResponse, Fault> {
    let tagged = Tagged::read(cx, input.resource_arn.as_deref())?;
    let keys = input.tag_keys.unwrap_or_default();
    for key in &keys {
        tags::check_key(key)?;
    }
    cx.transact(|txn| {
        tagged.change(txn, |all| {
            tagging::remove(all, &keys);
            Ok(())
        })
    })
    .await?;
    Ok(UntagResourceResponse::default())
}
