//! Tags of repositories.

use super::repositories::{invalid, not_found};
use crate::context::Context;
use crate::fault::Fault;
use crate::tagging::{Rules, fits, is_reserved};
use model::RepositoryName;
use model::arn::Arn;
use model::limits::TAGS_PER_RESOURCE_MAX;
use wire::ecr::ErrorCode;

/// The repository that a resource's ARN means.
pub fn tagged(cx: &Context, arn: Option<String>) -> Result<RepositoryName, Fault> {
    let arn = arn.unwrap_or_default();
    let parsed = Arn::parse(&arn).filter(|arn| arn.service == "ecr");
    let parsed = parsed.ok_or_else(|| invalid("resourceArn", "Invalid ARN"))?;
    let name = parsed.resource.strip_prefix("repository/");
    let name = name.ok_or_else(|| invalid("resourceArn", "Invalid ARN"))?;
    match cx.locality.owns(&parsed) {
        true => Ok(RepositoryName::from(name)),
        false => Err(not_found(cx, name)),
    }
}

fn bad(text: impl Into<String>) -> Fault {
    ErrorCode::InvalidTagParameterException.fault(text)
}

pub const RULES: Rules = Rules {
    check: |key, value| {
        if !fits(key, value) {
            return Err(bad(format!("The tag with key '{key}' is too long or has no key.")));
        }
        match is_reserved(key) {
            true => Err(bad("Tag keys may not begin with aws:.")),
            false => Ok(()),
        }
    },
    twice: |key| bad(format!("The tag key '{key}' is given more than once.")),
    too_many: || {
        let text = format!("A repository can have at most {TAGS_PER_RESOURCE_MAX} tags.");
        ErrorCode::TooManyTagsException.fault(text)
    },
};
