//! TagResource, UntagResource, and how tags are read.

use super::secrets::{change, check_live, invalid_parameter};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::tagging::{self, Rules, fits, is_reserved};
use model::limits::TAGS_PER_RESOURCE_MAX;
use wire::NoOutput;
use wire::secretsmanager::{TagResourceRequest, UntagResourceRequest};

pub const RULES: Rules = Rules {
    check: |key, value| {
        if !fits(key, value) {
            return Err(invalid_parameter(format!("The tag '{key}' has a bad length.")));
        }
        match is_reserved(key) {
            true => Err(invalid_parameter("The tag key prefix aws: is reserved.")),
            false => Ok(()),
        }
    },
    twice: |key| invalid_parameter(format!("The tag key '{key}' is given twice.")),
    too_many: || {
        invalid_parameter(format!("A secret can have at most {TAGS_PER_RESOURCE_MAX} tags."))
    },
};

pub async fn tag_resource(
    cx: &Context,
    _caller: &Caller,
    input: TagResourceRequest,
) -> Result<NoOutput, Fault> {
    let added = RULES.read(input.tags)?;
    change(cx, input.secret_id.as_deref(), |_, secret| {
        check_live(secret)?;
        RULES.add(&mut secret.tags, &added)
    })
    .await?;
    Ok(NoOutput)
}

pub async fn untag_resource(
    cx: &Context,
    _caller: &Caller,
    input: UntagResourceRequest,
) -> Result<NoOutput, Fault> {
    let keys = input.tag_keys.unwrap_or_default();
    change(cx, input.secret_id.as_deref(), |_, secret| {
        check_live(secret)?;
        tagging::remove(&mut secret.tags, &keys);
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}
