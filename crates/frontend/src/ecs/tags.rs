//! Tags: checked as they come in, shown in the order of their keys.
//! Source: API reference, Tag; developer guide, tag restrictions.

use crate::fault::{Fault, invalid_parameter};
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use wire::ecs;

/// Keys that begin so are AWS's own.
const RESERVED_PREFIX: &str = "aws:";
/// The managed tag of a task's cluster. Source: developer guide, managed tags.
pub const CLUSTER_NAME: &str = "aws:ecs:clusterName";

/// The tags a call brings. A key that comes twice is refused.
pub fn read(given: Option<&[ecs::Tag]>) -> Result<Tags, Fault> {
    let mut tags = Tags::new();
    for tag in given.unwrap_or_default() {
        let (key, value) = (tag.key.as_deref().unwrap_or(""), tag.value.as_deref().unwrap_or(""));
        check_key(key)?;
        if value.chars().count() > TAG_VALUE_CHARS_MAX || !value.chars().all(is_allowed) {
            return Err(invalid_parameter(format!("The value of tag '{key}' is not valid.")));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(invalid_parameter("Duplicate tag keys found."));
        }
    }
    check_count(&tags)?;
    Ok(tags)
}

pub fn check_key(key: &str) -> Result<(), Fault> {
    let chars = key.chars().count();
    if chars == 0 || chars > TAG_KEY_CHARS_MAX || !key.chars().all(is_allowed) {
        return Err(invalid_parameter(format!("The tag key '{key}' is not valid.")));
    }
    let reserved = key.get(..RESERVED_PREFIX.len());
    if reserved.is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESERVED_PREFIX)) {
        return Err(invalid_parameter("Tag keys that start with 'aws:' are reserved."));
    }
    Ok(())
}

/// A resource has at most so many tags of its owner's; AWS's own don't count.
pub fn check_count(tags: &Tags) -> Result<(), Fault> {
    let own = tags.keys().filter(|key| !key.starts_with(RESERVED_PREFIX)).count();
    if own > TAGS_PER_RESOURCE_MAX {
        return Err(invalid_parameter(format!(
            "The maximum number of tags for a resource is {TAGS_PER_RESOURCE_MAX}."
        )));
    }
    Ok(())
}

/// Letters, digits and spaces of any script, and a few marks.
fn is_allowed(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c)
}

pub fn show(tags: &Tags) -> Vec<ecs::Tag> {
    tags.iter()
        .map(|(key, value)| ecs::Tag { key: Some(key.clone()), value: Some(value.clone()) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> ecs::Tag {
        ecs::Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) }
    }

    #[test]
    fn tags_are_checked() {
        assert!(read(None).is_ok());
        assert!(read(Some(&[tag("a", ""), tag("B ü", "x@y")])).is_ok());
        assert!(read(Some(&[tag("a", "1"), tag("a", "2")])).is_err());
        for bad in ["", "aws:x", "AWS:x", "a\n", &"k".repeat(129)] {
            assert!(read(Some(&[tag(bad, "v")])).is_err(), "{bad}");
        }
        assert!(read(Some(&[tag("k", &"v".repeat(257))])).is_err());
        let many: Vec<_> = (0..51).map(|n| tag(&format!("k{n}"), "v")).collect();
        assert!(read(Some(&many)).is_err());
        assert!(read(Some(&many[..50])).is_ok());
    }
}
