//! Tags of scalable targets.

use super::invalid;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::tagging::{self, Rules, fits, is_reserved};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use model::scaling::ScalableTarget;
use store::Snapshot;
use wire::application_autoscaling as aas;
use wire::application_autoscaling::ErrorCode;

const RULES: Rules = Rules {
    check: |key, value| match fits(key, value) && !is_reserved(key) {
        true => Ok(()),
        false => Err(invalid(format!("The tag '{key}' is not valid"))),
    },
    twice: |key| invalid(format!("The tag key '{key}' is given more than once")),
    too_many: || {
        let text = format!("A resource can have at most {TAGS_PER_RESOURCE_MAX} tags");
        ErrorCode::TooManyTagsException.fault(text).with("ResourceName", "")
    },
};

pub fn read(given: Option<Tags>) -> Result<Tags, Fault> {
    let tags = given.unwrap_or_default();
    RULES.check_all(&tags)?;
    Ok(tags)
}

/// The key of the target that an ARN means.
fn key(cx: &Context, snapshot: &Snapshot, arn: &str) -> Result<String, Fault> {
    let mut all = snapshot.scan::<ScalableTarget>("");
    let found = all.find(|(_, target)| target.arn(&cx.locality) == arn);
    let missing = || {
        let text = format!("The resource {arn} was not found");
        ErrorCode::ResourceNotFoundException.fault(text).with("ResourceName", arn)
    };
    found.map(|(key, _)| key.to_owned()).ok_or_else(missing)
}

async fn change(
    cx: &Context,
    arn: &str,
    change: impl Fn(&mut Tags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    cx.transact(|txn| {
        let key = key(cx, txn.snapshot(), arn)?;
        // Guarded: it may be deregistered meanwhile.
        if let Some(target) = txn.get::<ScalableTarget>(&key) {
            tagging::change(txn, &*target, &change)?;
        }
        Ok(())
    })
    .await
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: aas::ListTagsForResourceRequest,
) -> Result<aas::ListTagsForResourceResponse, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    let target = snapshot.get::<ScalableTarget>(&key(cx, &snapshot, &arn)?);
    let tags = target.map(|target| target.tags.clone()).unwrap_or_default();
    Ok(aas::ListTagsForResourceResponse { tags: Some(tags) })
}

pub async fn tag(
    cx: &Context,
    _caller: &Caller,
    input: aas::TagResourceRequest,
) -> Result<aas::TagResourceResponse, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let more = read(input.tags)?;
    change(cx, &arn, |tags| {
        RULES.add(tags, &more).map_err(|fault| fault.with("ResourceName", arn.as_str()))
    })
    .await?;
    Ok(aas::TagResourceResponse {})
}

pub async fn untag(
    cx: &Context,
    _caller: &Caller,
    input: aas::UntagResourceRequest,
) -> Result<aas::UntagResourceResponse, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let keys = input.tag_keys.unwrap_or_default();
    change(cx, &arn, |tags| {
        tagging::remove(tags, &keys);
        Ok(())
    })
    .await?;
    Ok(aas::UntagResourceResponse {})
}
