//! Tags of scalable targets.

use super::invalid;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use model::scaling::ScalableTarget;
use std::collections::BTreeMap;
use store::Snapshot;
use wire::application_autoscaling as aas;
use wire::application_autoscaling::ErrorCode;

pub fn read(given: Option<BTreeMap<String, String>>) -> Result<Tags, Fault> {
    let tags = given.unwrap_or_default();
    for (key, value) in &tags {
        let fits = (1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count())
            && value.chars().count() <= TAG_VALUE_CHARS_MAX;
        if !fits || key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid(format!("The tag '{key}' is not valid")));
        }
    }
    check_count(&tags, "")?;
    Ok(tags)
}

fn check_count(tags: &Tags, arn: &str) -> Result<(), Fault> {
    if tags.len() <= TAGS_PER_RESOURCE_MAX {
        return Ok(());
    }
    let text = format!("A resource can have at most {TAGS_PER_RESOURCE_MAX} tags");
    Err(ErrorCode::TooManyTagsException.fault(text).with("ResourceName", arn))
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
            let mut target = (*target).clone();
            change(&mut target.tags)?;
            txn.put(target);
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
        tags.extend(more.clone());
        check_count(tags, &arn)
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
        tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(aas::UntagResourceResponse {})
}
