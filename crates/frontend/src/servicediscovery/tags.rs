//! Tags of namespaces and services.

use super::invalid;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};
use model::Tags;
use model::arn::Arn;
use model::discovery::{DiscoveryService, Namespace};
use model::limits::TAGS_PER_RESOURCE_MAX;
use store::Txn;
use wire::servicediscovery as sd;
use wire::servicediscovery::ErrorCode;

pub fn read(given: Option<Vec<sd::Tag>>) -> Result<Tags, Fault> {
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
    let text = format!("A resource can have at most {TAGS_PER_RESOURCE_MAX} tags");
    Err(ErrorCode::TooManyTagsException.fault(text))
}

pub fn show(tags: &Tags) -> Vec<sd::Tag> {
    let one = |(key, value): (&String, &String)| sd::Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    tags.iter().map(one).collect()
}

fn not_found(arn: &str) -> Fault {
    ErrorCode::ResourceNotFoundException.fault(format!("Resource not found: {arn}"))
}

/// The kind and the id in an ARN of ours.
fn taken_apart(cx: &Context, text: &str) -> Result<(String, String), Fault> {
    let arn = Arn::parse(text).filter(|arn| arn.service == "servicediscovery");
    let arn = arn.ok_or_else(|| invalid(format!("Invalid ARN: {text}")))?;
    let parts = arn.kind_and_rest().filter(|_| cx.locality.owns(&arn));
    let (kind, id) = parts.ok_or_else(|| not_found(text))?;
    Ok((kind.to_owned(), id.to_owned()))
}

/// Changes the tags of what an ARN means.
fn change(
    txn: &mut Txn,
    (kind, id): &(String, String),
    arn: &str,
    change: impl Fn(&mut Tags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match kind.as_str() {
        "namespace" => {
            let found = txn.get::<Namespace>(id).ok_or_else(|| not_found(arn))?;
            let mut changed = (*found).clone();
            change(&mut changed.tags)?;
            txn.put(changed);
        }
        "service" => {
            let found = txn.get::<DiscoveryService>(id).ok_or_else(|| not_found(arn))?;
            let mut changed = (*found).clone();
            change(&mut changed.tags)?;
            txn.put(changed);
        }
        _ => return Err(not_found(arn)),
    }
    Ok(())
}

pub async fn tag(
    cx: &Context,
    _caller: &Caller,
    input: sd::TagResourceRequest,
) -> Result<sd::TagResourceResponse, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let parts = taken_apart(cx, &arn)?;
    let more = read(input.tags)?;
    cx.transact(|txn| {
        change(txn, &parts, &arn, |tags| {
            tags.extend(more.clone());
            check_count(tags)
        })
    })
    .await?;
    Ok(sd::TagResourceResponse {})
}

pub async fn untag(
    cx: &Context,
    _caller: &Caller,
    input: sd::UntagResourceRequest,
) -> Result<sd::UntagResourceResponse, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let parts = taken_apart(cx, &arn)?;
    let keys = input.tag_keys.unwrap_or_default();
    cx.transact(|txn| {
        change(txn, &parts, &arn, |tags| {
            tags.retain(|key, _| !keys.contains(key));
            Ok(())
        })
    })
    .await?;
    Ok(sd::UntagResourceResponse {})
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: sd::ListTagsForResourceRequest,
) -> Result<sd::ListTagsForResourceResponse, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let (kind, id) = taken_apart(cx, &arn)?;
    let snapshot = cx.store.snapshot();
    let tags = match kind.as_str() {
        "namespace" => snapshot.get::<Namespace>(&id).map(|found| found.tags.clone()),
        "service" => snapshot.get::<DiscoveryService>(&id).map(|found| found.tags.clone()),
        _ => None,
    };
    let tags = tags.ok_or_else(|| not_found(&arn))?;
    Ok(sd::ListTagsForResourceResponse { tags: Some(show(&tags)) })
}
