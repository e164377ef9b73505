//! Tags of alarms, which are named by their ARNs: metrics and what is measured have none.

use super::invalid;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::tagging::{self, Rules, fits, is_reserved};
use model::Tags;
use model::arn::Arn;
use model::limits::TAGS_PER_RESOURCE_MAX;
use model::metrics::Alarm;
use wire::cloudwatch as cw;
use wire::cloudwatch::ErrorCode;

pub const RULES: Rules = Rules {
    check: |key, value| match fits(key, value) && !is_reserved(key) {
        true => Ok(()),
        false => Err(invalid(format!("The tag '{key}' is not valid"))),
    },
    twice: |key| invalid(format!("The tag key '{key}' is given more than once")),
    too_many: || invalid(format!("A resource can have at most {TAGS_PER_RESOURCE_MAX} tags")),
};

/// The alarm's name in an ARN of ours.
fn name(cx: &Context, text: &str) -> Result<String, Fault> {
    let arn = Arn::parse(text).filter(|arn| arn.service == "cloudwatch" && cx.locality.owns(arn));
    let name = arn.and_then(|arn| arn.resource.strip_prefix("alarm:"));
    name.map(str::to_owned).ok_or_else(|| not_found(text))
}

fn not_found(arn: &str) -> Fault {
    let fault = ErrorCode::ResourceNotFoundException.fault(format!("Unknown resource: {arn}"));
    fault.with("ResourceType", "alarm").with("ResourceId", arn)
}

async fn change(
    cx: &Context,
    arn: &str,
    change: impl Fn(&mut Tags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let name = name(cx, arn)?;
    cx.transact(|txn| {
        let known = txn.get::<Alarm>(&name).ok_or_else(|| not_found(arn))?;
        tagging::change(txn, &*known, &change)
    })
    .await
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: cw::ListTagsForResourceInput,
) -> Result<cw::ListTagsForResourceOutput, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    let alarm = snapshot.get::<Alarm>(&name(cx, &arn)?).ok_or_else(|| not_found(&arn))?;
    Ok(cw::ListTagsForResourceOutput { tags: Some(tagging::show(&alarm.tags)) })
}

pub async fn tag(
    cx: &Context,
    _caller: &Caller,
    input: cw::TagResourceInput,
) -> Result<cw::TagResourceOutput, Fault> {
    let (arn, more) = (input.resource_arn.unwrap_or_default(), RULES.read(input.tags)?);
    change(cx, &arn, |tags| RULES.add(tags, &more)).await?;
    Ok(cw::TagResourceOutput {})
}

pub async fn untag(
    cx: &Context,
    _caller: &Caller,
    input: cw::UntagResourceInput,
) -> Result<cw::UntagResourceOutput, Fault> {
    let keys = input.tag_keys.unwrap_or_default();
    change(cx, &input.resource_arn.unwrap_or_default(), |tags| {
        tagging::remove(tags, &keys);
        Ok(())
    })
    .await?;
    Ok(cw::UntagResourceOutput {})
}
