//! Tags of namespaces and services.

use super::invalid;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::tagging::{self, Rules, fits, is_reserved};
use model::Tags;
use model::arn::Arn;
use model::discovery::{DiscoveryService, Namespace};
use model::limits::TAGS_PER_RESOURCE_MAX;
use store::Txn;
use wire::servicediscovery as sd;
use wire::servicediscovery::ErrorCode;

pub const RULES: Rules = Rules {
    check: |key, value| match fits(key, value) && !is_reserved(key) {
        true => Ok(()),
        false => Err(invalid(format!("The tag '{key}' is not valid"))),
    },
    twice: |key| invalid(format!("The tag key '{key}' is given more than once")),
    too_many: || {
        let text = format!("A resource can have at most {TAGS_PER_RESOURCE_MAX} tags");
        ErrorCode::TooManyTagsException.fault(text)
    },
};

fn not_found(arn: &str) -> Fault {
    ErrorCode::ResourceNotFoundException.fault(format!("Resource not found: {arn}"))
}

/// The kind and the id in an ARN of ours.
fn taken_apart(cx: &Context, text: &str) -> Result<(String, String), Fault> {
    let arn = Arn::parse(text).filter(|arn| arn.service == "servicediscovery");
    let arn = arn.ok_or_else(|| invalid(format!("Invalid ARN: {text}")))?;
    let parts = arn.kind_and_rest().filter(|_| cx.locality.owns(&arn));
    let (kind, id) = parts.ok_or_else(|| not_found(text))?;
    Ok((kind.to_owned(), id.to_owned()))
}

/// Changes the tags of what an ARN means.
fn change(
    txn: &mut Txn,
    (kind, id): &(String, String),
    arn: &str,
    change: impl Fn(&mut Tags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match kind.as_str() {
        "namespace" => {
            let found = txn.get::<Namespace>(id).ok_or_else(|| not_found(arn))?;
            tagging::change(txn, &*found, change)
        }
        "service" => {
            let found = txn.get::<DiscoveryService>(id).ok_or_else(|| not_found(arn))?;
            tagging::change(txn, &*found, change)
        }
        _ => Err(not_found(arn)),
    }
}

pub async fn tag(
    cx: &Context,
    _caller: &Caller,
    input: sd::TagResourceRequest,
) -> Result<sd::TagResourceResponse, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let parts = taken_apart(cx, &arn)?;
    let more = RULES.read(input.tags)?;
    cx.transact(|txn| change(txn, &parts, &arn, |tags| RULES.add(tags, &more))).await?;
    Ok(sd::TagResourceResponse {})
}

pub async fn untag(
    cx: &Context,
    _caller: &Caller,
    input: sd::UntagResourceRequest,
) -> Result<sd::UntagResourceResponse, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let parts = taken_apart(cx, &arn)?;
    let keys = input.tag_keys.unwrap_or_default();
    cx.transact(|txn| {
        change(txn, &parts, &arn, |tags| {
            tagging::remove(tags, &keys);
            Ok(())
        })
    })
    .await?;
    Ok(sd::UntagResourceResponse {})
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: sd::ListTagsForResourceRequest,
) -> Result<sd::ListTagsForResourceResponse, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let (kind, id) = taken_apart(cx, &arn)?;
    let snapshot = cx.store.snapshot();
    let tags = match kind.as_str() {
        "namespace" => snapshot.get::<Namespace>(&id).map(|found| found.tags.clone()),
        "service" => snapshot.get::<DiscoveryService>(&id).map(|found| found.tags.clone()),
        _ => None,
    };
    let tags = tags.ok_or_else(|| not_found(&arn))?;
    Ok(sd::ListTagsForResourceResponse { tags: Some(tagging::show(&tags)) })
}
