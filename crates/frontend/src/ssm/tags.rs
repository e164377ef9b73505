//! AddTagsToResource, RemoveTagsFromResource, ListTagsForResource, for parameters.

use super::parameters::invalid;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::tagging::{self, Rules, fits, is_reserved};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use model::secret::Parameter;
use wire::ssm::{
    AddTagsToResourceRequest, AddTagsToResourceResult, ErrorCode, ListTagsForResourceRequest,
    ListTagsForResourceResult, RemoveTagsFromResourceRequest, RemoveTagsFromResourceResult,
    ResourceTypeForTagging,
};

pub const RULES: Rules = Rules {
    check: |key, value| {
        if !fits(key, value) {
            return Err(invalid(format!("The tag '{key}' has a bad length.")));
        }
        match is_reserved(key) {
            true => Err(invalid("The tag key prefix aws: is reserved.")),
            false => Ok(()),
        }
    },
    twice: |key| invalid(format!("The tag key '{key}' is given twice.")),
    too_many: || {
        let text = format!("A resource can have at most {TAGS_PER_RESOURCE_MAX} tags.");
        ErrorCode::TooManyTagsError.fault(text)
    },
};

pub async fn add_tags_to_resource(
    cx: &Context,
    _caller: &Caller,
    input: AddTagsToResourceRequest,
) -> Result<AddTagsToResourceResult, Fault> {
    check_kind(input.resource_type.as_ref())?;
    let added = RULES.read(input.tags)?;
    change(cx, input.resource_id.as_deref(), |tags| RULES.add(tags, &added)).await?;
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
        tagging::remove(tags, &keys);
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
    Ok(ListTagsForResourceResult { tag_list: Some(tagging::show(&parameter.tags)) })
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
    change: impl Fn(&mut Tags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let id = id.unwrap_or_default();
    cx.transact(|txn| {
        let known = txn.get::<Parameter>(id).ok_or_else(|| missing(id))?;
        tagging::change(txn, &*known, &change)
    })
    .await
}
