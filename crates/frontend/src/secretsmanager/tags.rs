//! TagResource, UntagResource, and how tags are read.

use super::secrets::{change, check_live, invalid_parameter};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use wire::NoOutput;
use wire::secretsmanager::{Tag, TagResourceRequest, UntagResourceRequest};

pub async fn tag_resource(
    cx: &Context,
    _caller: &Caller,
    input: TagResourceRequest,
) -> Result<NoOutput, Fault> {
    let added = read(input.tags)?;
    change(cx, input.secret_id.as_deref(), |_, secret| {
        check_live(secret)?;
        secret.tags.extend(added.clone());
        check_count(&secret.tags)
    })
    .await?;
    Ok(NoOutput)
}

pub async fn untag_resource(
    cx: &Context,
    _caller: &Caller,
    input: UntagResourceRequest,
) -> Result<NoOutput, Fault> {
    let keys = input.tag_keys.unwrap_or_default();
    change(cx, input.secret_id.as_deref(), |_, secret| {
        check_live(secret)?;
        secret.tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}

pub fn read(tags: Option<Vec<Tag>>) -> Result<Tags, Fault> {
    let mut read = Tags::new();
    for tag in tags.unwrap_or_default() {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        let (key_chars, value_chars) = (key.chars().count(), value.chars().count());
        if key_chars == 0 || key_chars > TAG_KEY_CHARS_MAX || value_chars > TAG_VALUE_CHARS_MAX {
            return Err(invalid_parameter(format!("The tag '{key}' has a bad length.")));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid_parameter("The tag key prefix aws: is reserved."));
        }
        if read.insert(key.clone(), value).is_some() {
            return Err(invalid_parameter(format!("The tag key '{key}' is given twice.")));
        }
    }
    check_count(&read)?;
    Ok(read)
}

fn check_count(tags: &Tags) -> Result<(), Fault> {
    match tags.len() <= TAGS_PER_RESOURCE_MAX {
        true => Ok(()),
        false => {
            let text = format!("A secret can have at most {TAGS_PER_RESOURCE_MAX} tags.");
            Err(invalid_parameter(text))
        }
    }
}

pub fn show(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    tags.iter().map(tag).collect()
}
