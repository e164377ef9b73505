//! Tags of log groups, which two generations of calls set and list.

use super::names::{change_group, group_of_arn, invalid};
use crate::context::Context;
use crate::fault::Fault;
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use wire::logs::ErrorCode;

pub fn resource_missing() -> Fault {
    ErrorCode::ResourceNotFoundException.fault("The specified resource does not exist.")
}

/// The group that a resource's ARN means.
pub fn tagged_group(cx: &Context, arn: Option<String>) -> Result<String, Fault> {
    let arn = arn.unwrap_or_default();
    if model::arn::Arn::parse(&arn).is_none() {
        return Err(invalid(format!("The resource ARN '{arn}' is invalid.")));
    }
    group_of_arn(cx, &arn).map(str::to_owned).ok_or_else(resource_missing)
}

/// Refuses keys that only AWS may set, and characters that tags can't hold.
pub fn check(tags: &Tags) -> Result<(), Fault> {
    let good = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
    for (key, value) in tags {
        if key.to_ascii_lowercase().starts_with("aws:") {
            let text = "aws: prefixed tag key names are not allowed for external use.";
            return Err(invalid(text));
        }
        if !key.chars().chain(value.chars()).all(good) {
            return Err(invalid(format!("The tag '{key}' has characters that are not allowed.")));
        }
    }
    Ok(())
}

pub async fn add(
    cx: &Context,
    group: &str,
    tags: &Tags,
    missing: fn() -> Fault,
) -> Result<(), Fault> {
    check(tags)?;
    change_group(cx, group, missing, |group| {
        group.tags.extend(tags.clone());
        if group.tags.len() > TAGS_PER_RESOURCE_MAX {
            let text = format!("A resource can have at most {TAGS_PER_RESOURCE_MAX} tags.");
            return Err(ErrorCode::TooManyTagsException.fault(text));
        }
        Ok(())
    })
    .await
}

pub async fn remove(
    cx: &Context,
    group: &str,
    keys: &[String],
    missing: fn() -> Fault,
) -> Result<(), Fault> {
    change_group(cx, group, missing, |group| {
        group.tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await
}
