//! Tags of alarms, which are named by their ARNs: metrics and what is measured have none.

use super::invalid;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};
use model::Tags;
use model::arn::Arn;
use model::limits::TAGS_PER_RESOURCE_MAX;
use model::metrics::Alarm;
use wire::cloudwatch as cw;
use wire::cloudwatch::ErrorCode;

pub fn read(given: Option<Vec<cw::Tag>>) -> Result<Tags, Fault> {
    let mut tags = Tags::new();
    for tag in given.unwrap_or_default() {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        let fits = (1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count())
            && value.chars().count() <= TAG_VALUE_CHARS_MAX;
        if !fits || key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid(format!("The tag '{key}' is not valid")));
        }
        if tags.insert(key.clone(), value).is_some() {
            return Err(invalid(format!("The tag key '{key}' is given more than once")));
        }
    }
    check_count(&tags)?;
    Ok(tags)
}

fn check_count(tags: &Tags) -> Result<(), Fault> {
    if tags.len() <= TAGS_PER_RESOURCE_MAX {
        return Ok(());
    }
    Err(invalid(format!("A resource can have at most {TAGS_PER_RESOURCE_MAX} tags")))
}

/// The alarm's name in an ARN of ours.
fn name(cx: &Context, text: &str) -> Result<String, Fault> {
    let arn = Arn::parse(text).filter(|arn| arn.service == "cloudwatch" && cx.locality.owns(arn));
    let name = arn.and_then(|arn| arn.resource.strip_prefix("alarm:"));
    name.map(str::to_owned).ok_or_else(|| not_found(text))
}

fn not_found(arn: &str) -> Fault {
    let fault = ErrorCode::ResourceNotFoundException.fault(format!("Unknown resource: {arn}"));
    fault.with("ResourceType", "alarm").with("ResourceId", arn)
}

async fn change(
    cx: &Context,
    arn: &str,
    change: impl Fn(&mut Tags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let name = name(cx, arn)?;
    cx.transact(|txn| {
        let known = txn.get::<Alarm>(&name).ok_or_else(|| not_found(arn))?;
        let mut alarm = (*known).clone();
        change(&mut alarm.tags)?;
        txn.put(alarm);
        Ok(())
    })
    .await
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: cw::ListTagsForResourceInput,
) -> Result<cw::ListTagsForResourceOutput, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    let alarm = snapshot.get::<Alarm>(&name(cx, &arn)?).ok_or_else(|| not_found(&arn))?;
    let show = |(key, value): (&String, &String)| cw::Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    Ok(cw::ListTagsForResourceOutput { tags: Some(alarm.tags.iter().map(show).collect()) })
}

pub async fn tag(
    cx: &Context,
    _caller: &Caller,
    input: cw::TagResourceInput,
) -> Result<cw::TagResourceOutput, Fault> {
    let more = read(input.tags)?;
    change(cx, &input.resource_arn.unwrap_or_default(), |tags| {
        tags.extend(more.clone());
        check_count(tags)
    })
    .await?;
    Ok(cw::TagResourceOutput {})
}

pub async fn untag(
    cx: &Context,
    _caller: &Caller,
    input: cw::UntagResourceInput,
) -> Result<cw::UntagResourceOutput, Fault> {
    let keys = input.tag_keys.unwrap_or_default();
    change(cx, &input.resource_arn.unwrap_or_default(), |tags| {
        tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(cw::UntagResourceOutput {})
}
