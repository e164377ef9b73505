//! Tags: what ECS asks of them.
//! Source: API reference, Tag; developer guide, tag restrictions.

use crate::fault::{Fault, invalid_parameter};
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};
use crate::tagging::{Rules, is_allowed, is_reserved};
use model::limits::TAGS_PER_RESOURCE_MAX;

/// The managed tag of a task's cluster. Source: developer guide, managed tags.
pub const CLUSTER_NAME: &str = "aws:ecs:clusterName";

pub const RULES: Rules = Rules {
    check: |key, value| {
        check_key(key)?;
        match value.chars().count() <= TAG_VALUE_CHARS_MAX && value.chars().all(is_allowed) {
            true => Ok(()),
            false => Err(invalid_parameter(format!("The value of tag '{key}' is not valid."))),
        }
    },
    twice: |_| invalid_parameter("Duplicate tag keys found."),
    too_many: || {
        let text = format!("The maximum number of tags for a resource is {TAGS_PER_RESOURCE_MAX}.");
        invalid_parameter(text)
    },
};

pub fn check_key(key: &str) -> Result<(), Fault> {
    let chars = key.chars().count();
    if chars == 0 || chars > TAG_KEY_CHARS_MAX || !key.chars().all(is_allowed) {
        return Err(invalid_parameter(format!("The tag key '{key}' is not valid.")));
    }
    match is_reserved(key) {
        true => Err(invalid_parameter("Tag keys that start with 'aws:' are reserved.")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ecs;

    fn tag(key: &str, value: &str) -> ecs::Tag {
        ecs::Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) }
    }

    #[test]
    fn tags_are_checked() {
        let read = |tags: &[ecs::Tag]| RULES.read(Some(tags.to_vec()));
        assert!(read(&[]).is_ok());
        assert!(read(&[tag("a", ""), tag("B ü", "x@y")]).is_ok());
        assert!(read(&[tag("a", "1"), tag("a", "2")]).is_err());
        for bad in ["", "aws:x", "AWS:x", "a\n", &"k".repeat(129)] {
            assert!(read(&[tag(bad, "v")]).is_err(), "{bad}");
        }
        assert!(read(&[tag("k", &"v".repeat(257))]).is_err());
        let many: Vec<_> = (0..51).map(|n| tag(&format!("k{n}"), "v")).collect();
        assert!(read(&many).is_err());
        assert!(read(&many[..50]).is_ok());
    }
}
