//! AddTagsToResource, RemoveTagsFromResource, ListTagsForResource, for parameters.

use super::parameters::invalid;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use model::secret::Parameter;
use wire::ssm::{
    AddTagsToResourceRequest, AddTagsToResourceResult, ErrorCode, ListTagsForResourceRequest,
    ListTagsForResourceResult, RemoveTagsFromResourceRequest, RemoveTagsFromResourceResult,
    ResourceTypeForTagging, Tag,
};

pub async fn add_tags_to_resource(
    cx: &Context,
    _caller: &Caller,
    input: AddTagsToResourceRequest,
) -> Result<AddTagsToResourceResult, Fault> {
    check_kind(input.resource_type.as_ref())?;
    let added = read(input.tags)?;
    change(cx, input.resource_id.as_deref(), |tags| {
        tags.extend(added.clone());
        check_count(tags)
    })
    .await?;
    Ok(AddTagsToResourceResult {})
}

pub async fn remove_tags_from_resource(
    cx: &Context,
    _caller: &Caller,
    input: RemoveTagsFromResourceRequest,
) -> Result<RemoveTagsFromResourceResult, Fault> {
    check_kind(input.resource_type.as_ref())?;
    let keys = input.tag_keys.unwrap_or_default();
    change(cx, input.resource_id.as_deref(), |tags| {
        tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(RemoveTagsFromResourceResult {})
}

pub async fn list_tags_for_resource(
    cx: &Context,
    _caller: &Caller,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResult, Fault> {
    check_kind(input.resource_type.as_ref())?;
    let id = input.resource_id.unwrap_or_default();
    let parameter = cx.store.snapshot().get::<Parameter>(&id).ok_or_else(|| missing(&id))?;
    let tag = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    Ok(ListTagsForResourceResult { tag_list: Some(parameter.tags.iter().map(tag).collect()) })
}

/// Nothing but parameters is here to be tagged.
fn check_kind(kind: Option<&ResourceTypeForTagging>) -> Result<(), Fault> {
    match kind {
        Some(ResourceTypeForTagging::Parameter) => Ok(()),
        other => {
            let other = other.map(ToString::to_string).unwrap_or_default();
            let text = format!("The resource type {other} is not supported by Neargate");
            Err(ErrorCode::InvalidResourceType.fault(text))
        }
    }
}

fn missing(id: &str) -> Fault {
    ErrorCode::InvalidResourceId.fault(format!("The resource ID {id} is not valid."))
}

async fn change(
    cx: &Context,
    id: Option<&str>,
    mut change: impl FnMut(&mut Tags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let id = id.unwrap_or_default();
    cx.transact(|txn| {
        let known = txn.get::<Parameter>(id).ok_or_else(|| missing(id))?;
        let mut parameter = Parameter::clone(&known);
        change(&mut parameter.tags)?;
        txn.put(parameter);
        Ok(())
    })
    .await
}

pub fn read(tags: Option<Vec<Tag>>) -> Result<Tags, Fault> {
    let mut read = Tags::new();
    for tag in tags.unwrap_or_default() {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        let (key_chars, value_chars) = (key.chars().count(), value.chars().count());
        if key_chars == 0 || key_chars > TAG_KEY_CHARS_MAX || value_chars > TAG_VALUE_CHARS_MAX {
            return Err(invalid(format!("The tag '{key}' has a bad length.")));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid("The tag key prefix aws: is reserved."));
        }
        if read.insert(key.clone(), value).is_some() {
            return Err(invalid(format!("The tag key '{key}' is given twice.")));
        }
    }
    check_count(&read)?;
    Ok(read)
}

fn check_count(tags: &Tags) -> Result<(), Fault> {
    match tags.len() <= TAGS_PER_RESOURCE_MAX {
        true => Ok(()),
        false => Err(ErrorCode::TooManyTagsError
            .fault(format!("A resource can have at most {TAGS_PER_RESOURCE_MAX} tags."))),
    }
}
