//! Tags of repositories.

use super::repositories::{invalid, not_found};
use crate::context::Context;
use crate::fault::Fault;
use model::arn::Arn;
use model::limits::TAGS_PER_RESOURCE_MAX;
use model::{RepositoryName, Tags};
use wire::ecr::{ErrorCode, Tag};

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

/// Reads tags off a request. Keys of AWS's own and keys given twice are refused.
pub fn read(tags: Option<Vec<Tag>>) -> Result<Tags, Fault> {
    let bad = |text: String| ErrorCode::InvalidTagParameterException.fault(text);
    let mut read = Tags::new();
    for tag in tags.unwrap_or_default() {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(bad(format!("The tag with key '{key}' is too long or has no key.")));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(bad("Tag keys may not begin with aws:.".to_owned()));
        }
        if read.insert(key.clone(), value).is_some() {
            return Err(bad(format!("The tag key '{key}' is given more than once.")));
        }
    }
    check_count(&read)?;
    Ok(read)
}

pub fn check_count(tags: &Tags) -> Result<(), Fault> {
    if tags.len() <= TAGS_PER_RESOURCE_MAX {
        return Ok(());
    }
    let text = format!("A repository can have at most {TAGS_PER_RESOURCE_MAX} tags.");
    Err(ErrorCode::TooManyTagsException.fault(text))
}
