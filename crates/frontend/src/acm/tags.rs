//! Tags of certificates.

use super::find;
use crate::context::{Caller, Context};
use crate::elbv2;
use crate::fault::Fault;
use crate::tagging::{self, Rules, is_reserved};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use wire::NoOutput;
use wire::acm::{self, ErrorCode};

pub const RULES: Rules = Rules {
    check: |key, _| match is_reserved(key) {
        true => Err(invalid(format!("The tag key '{key}' is reserved"))),
        false => Ok(()),
    },
    twice: |key| invalid(format!("The tag key '{key}' is specified more than once")),
    too_many: || {
        let text = format!("A certificate can have at most {TAGS_PER_RESOURCE_MAX} tags");
        ErrorCode::TooManyTagsException.fault(text)
    },
};

fn invalid(text: String) -> Fault {
    ErrorCode::InvalidTagException.fault(text)
}

async fn change(
    cx: &Context,
    arn: &str,
    change: impl Fn(&mut Tags) -> Result<(), Fault>,
) -> Result<NoOutput, Fault> {
    elbv2::change(cx, |txn| {
        let found = find(cx, txn.snapshot(), arn)?;
        tagging::change(txn, &*found, &change)?;
        Ok(NoOutput)
    })
    .await
}

pub async fn add(
    cx: &Context,
    _caller: &Caller,
    input: acm::AddTagsToCertificateRequest,
) -> Result<NoOutput, Fault> {
    let (arn, more) = (input.certificate_arn.unwrap_or_default(), RULES.read(input.tags)?);
    change(cx, &arn, |tags| RULES.add(tags, &more)).await
}

/// A tag that is given with a value goes only if it has that value. Source: API reference.
pub async fn remove(
    cx: &Context,
    _caller: &Caller,
    input: acm::RemoveTagsFromCertificateRequest,
) -> Result<NoOutput, Fault> {
    let gone = input.tags.unwrap_or_default();
    change(cx, &input.certificate_arn.unwrap_or_default(), |tags| {
        tags.retain(|key, value| {
            !gone.iter().any(|tag| {
                tag.key.as_ref() == Some(key) && tag.value.as_ref().is_none_or(|it| it == value)
            })
        });
        Ok(())
    })
    .await
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: acm::ListTagsForCertificateRequest,
) -> Result<acm::ListTagsForCertificateResponse, Fault> {
    let arn = input.certificate_arn.unwrap_or_default();
    let it = find(cx, &cx.store.snapshot(), &arn)?;
    Ok(acm::ListTagsForCertificateResponse { tags: Some(tagging::show(&it.tags)) })
}
