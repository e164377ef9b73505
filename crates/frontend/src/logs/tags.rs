//! Tags of log groups, which two generations of calls set and list.

use super::names::{change_group, group_of_arn, invalid};
use crate::context::Context;
use crate::fault::Fault;
use crate::tagging::{self, Rules, is_reserved};
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

pub const RULES: Rules = Rules {
    check: |key, value| {
        let good = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
        if is_reserved(key) {
            let text = "aws: prefixed tag key names are not allowed for external use.";
            return Err(invalid(text));
        }
        match key.chars().chain(value.chars()).all(good) {
            true => Ok(()),
            false => Err(invalid(format!("The tag '{key}' has characters that are not allowed."))),
        }
    },
    twice: |key| invalid(format!("The tag '{key}' is given more than once.")),
    too_many: || {
        let text = format!("A resource can have at most {TAGS_PER_RESOURCE_MAX} tags.");
        ErrorCode::TooManyTagsException.fault(text)
    },
};

pub async fn add(
    cx: &Context,
    group: &str,
    tags: &Tags,
    missing: fn() -> Fault,
) -> Result<(), Fault> {
    RULES.check_all(tags)?;
    change_group(cx, group, missing, |group| RULES.add(&mut group.tags, tags)).await
}

pub async fn remove(
    cx: &Context,
    group: &str,
    keys: &[String],
    missing: fn() -> Fault,
) -> Result<(), Fault> {
    change_group(cx, group, missing, |group| {
        tagging::remove(&mut group.tags, keys);
        Ok(())
    })
    .await
}
