//! Tags of load balancers, target groups, listeners and rules.

use super::nouns::{self, Named};
use super::{change, validation};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX, TAGGED_RESOURCES_MAX};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use store::{Snapshot, Txn};
use wire::elbv2;
use wire::elbv2::ErrorCode;

/// Resources of one DescribeTags call. Source: API reference.
const DESCRIBED_MAX: usize = 20;

pub fn read(given: Option<Vec<elbv2::Tag>>) -> Result<Tags, Fault> {
    let mut tags = Tags::new();
    for tag in given.unwrap_or_default() {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        let fits = (1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count())
            && value.chars().count() <= TAG_VALUE_CHARS_MAX;
        let allowed = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
        if !fits || !key.chars().chain(value.chars()).all(allowed) {
            return Err(validation(format!("The tag '{key}' is not valid")));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(validation(format!("The tag key '{key}' is reserved for system use")));
        }
        if tags.insert(key.clone(), value).is_some() {
            let text = format!("The tag key '{key}' is specified more than once");
            return Err(ErrorCode::DuplicateTagKeysException.fault(text));
        }
    }
    check_count(&tags)?;
    Ok(tags)
}

fn check_count(tags: &Tags) -> Result<(), Fault> {
    if tags.len() <= TAGS_PER_RESOURCE_MAX {
        return Ok(());
    }
    let text = format!("A resource can have at most '{TAGS_PER_RESOURCE_MAX}' tags");
    Err(ErrorCode::TooManyTagsException.fault(text))
}

fn of(cx: &Context, snapshot: &Snapshot, arn: &str) -> Result<Tags, Fault> {
    Ok(match nouns::named(cx, snapshot, arn)? {
        Named::LoadBalancer(it) => it.tags.clone(),
        Named::TargetGroup(it) => it.tags.clone(),
        Named::Listener(it) => it.tags.clone(),
        Named::Rule(_, _, it) => it.tags.clone(),
        Named::DefaultRule(..) => Tags::new(),
    })
}

fn put(
    cx: &Context,
    txn: &mut Txn,
    arn: &str,
    change: impl FnOnce(&mut Tags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match nouns::named(cx, txn.snapshot(), arn)? {
        Named::LoadBalancer(it) => {
            let mut changed = (*it).clone();
            change(&mut changed.tags)?;
            txn.put(changed);
        }
        Named::TargetGroup(it) => {
            let mut changed = (*it).clone();
            change(&mut changed.tags)?;
            txn.put(changed);
        }
        Named::Listener(it) => {
            let mut changed = (*it).clone();
            change(&mut changed.tags)?;
            txn.put(changed);
        }
        Named::Rule(_, _, it) => {
            let mut changed = (*it).clone();
            change(&mut changed.tags)?;
            txn.put(changed);
        }
        Named::DefaultRule(..) => {
            let text = format!("Default rule '{arn}' can't have tags of its own");
            return Err(validation(text));
        }
    }
    Ok(())
}

fn check_arns(arns: &[String], max: usize) -> Result<(), Fault> {
    if arns.is_empty() {
        return Err(validation("A resource ARN must be specified"));
    }
    if arns.len() > max {
        let text = format!("A maximum of '{max}' resources can be specified in one request");
        return Err(validation(text));
    }
    Ok(())
}

pub async fn add(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::AddTagsInput,
) -> Result<elbv2::AddTagsOutput, Fault> {
    let arns = input.resource_arns.unwrap_or_default();
    check_arns(&arns, TAGGED_RESOURCES_MAX)?;
    let more = read(input.tags)?;
    change(cx, |txn| {
        for arn in &arns {
            put(cx, txn, arn, |tags| {
                tags.extend(more.clone());
                check_count(tags)
            })?;
        }
        Ok(())
    })
    .await?;
    Ok(elbv2::AddTagsOutput {})
}

pub async fn remove(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::RemoveTagsInput,
) -> Result<elbv2::RemoveTagsOutput, Fault> {
    let arns = input.resource_arns.unwrap_or_default();
    check_arns(&arns, TAGGED_RESOURCES_MAX)?;
    let keys = input.tag_keys.unwrap_or_default();
    change(cx, |txn| {
        for arn in &arns {
            put(cx, txn, arn, |tags| {
                tags.retain(|key, _| !keys.contains(key));
                Ok(())
            })?;
        }
        Ok(())
    })
    .await?;
    Ok(elbv2::RemoveTagsOutput {})
}

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeTagsInput,
) -> Result<elbv2::DescribeTagsOutput, Fault> {
    let arns = input.resource_arns.unwrap_or_default();
    check_arns(&arns, DESCRIBED_MAX)?;
    let snapshot = cx.store.snapshot();
    let mut shown = Vec::with_capacity(arns.len());
    for arn in arns {
        let tags = of(cx, &snapshot, &arn)?;
        let one = |(key, value): (&String, &String)| elbv2::Tag {
            key: Some(key.clone()),
            value: Some(value.clone()),
        };
        let tags = Some(tags.iter().map(one).collect());
        shown.push(elbv2::TagDescription { resource_arn: Some(arn), tags });
    }
    Ok(elbv2::DescribeTagsOutput { tag_descriptions: Some(shown) })
}
