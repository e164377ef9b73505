//! Tags of load balancers, target groups, listeners and rules.

use super::nouns::{self, Named};
use super::{change, validation};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::TAGGED_RESOURCES_MAX;
use crate::tagging::{self, Rules, fits, is_allowed, is_reserved};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use store::{Snapshot, Txn};
use wire::elbv2;
use wire::elbv2::ErrorCode;

/// Resources of one DescribeTags call. Source: API reference.
const DESCRIBED_MAX: usize = 20;

pub const RULES: Rules = Rules {
    check: |key, value| {
        if !fits(key, value) || !key.chars().chain(value.chars()).all(is_allowed) {
            return Err(validation(format!("The tag '{key}' is not valid")));
        }
        match is_reserved(key) {
            true => Err(validation(format!("The tag key '{key}' is reserved for system use"))),
            false => Ok(()),
        }
    },
    twice: |key| {
        let text = format!("The tag key '{key}' is specified more than once");
        ErrorCode::DuplicateTagKeysException.fault(text)
    },
    too_many: || {
        let text = format!("A resource can have at most '{TAGS_PER_RESOURCE_MAX}' tags");
        ErrorCode::TooManyTagsException.fault(text)
    },
};

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
        Named::LoadBalancer(it) => tagging::change(txn, &*it, change),
        Named::TargetGroup(it) => tagging::change(txn, &*it, change),
        Named::Listener(it) => tagging::change(txn, &*it, change),
        Named::Rule(_, _, it) => tagging::change(txn, &*it, change),
        Named::DefaultRule(..) => {
            let text = format!("Default rule '{arn}' can't have tags of its own");
            Err(validation(text))
        }
    }
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
    let more = RULES.read(input.tags)?;
    change(cx, |txn| {
        for arn in &arns {
            put(cx, txn, arn, |tags| RULES.add(tags, &more))?;
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
                tagging::remove(tags, &keys);
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
        let tags = Some(tagging::show(&tags));
        shown.push(elbv2::TagDescription { resource_arn: Some(arn), tags });
    }
    Ok(elbv2::DescribeTagsOutput { tag_descriptions: Some(shown) })
}
