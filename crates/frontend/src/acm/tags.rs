//! Tags of certificates.

use super::find;
use crate::context::{Caller, Context};
use crate::elbv2;
use crate::fault::Fault;
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use wire::NoOutput;
use wire::acm::{self, ErrorCode};

pub fn read(given: Option<Vec<acm::Tag>>) -> Result<Tags, Fault> {
    let mut tags = Tags::new();
    for tag in given.unwrap_or_default() {
        let key = tag.key.unwrap_or_default();
        if key.to_ascii_lowercase().starts_with("aws:") {
            let text = format!("The tag key '{key}' is reserved");
            return Err(ErrorCode::InvalidTagException.fault(text));
        }
        if tags.insert(key.clone(), tag.value.unwrap_or_default()).is_some() {
            let text = format!("The tag key '{key}' is specified more than once");
            return Err(ErrorCode::InvalidTagException.fault(text));
        }
    }
    check_count(&tags)?;
    Ok(tags)
}

fn check_count(tags: &Tags) -> Result<(), Fault> {
    if tags.len() <= TAGS_PER_RESOURCE_MAX {
        return Ok(());
    }
    let text = format!("A certificate can have at most {TAGS_PER_RESOURCE_MAX} tags");
    Err(ErrorCode::TooManyTagsException.fault(text))
}

async fn change(
    cx: &Context,
    arn: &str,
    change: impl Fn(&mut Tags) -> Result<(), Fault>,
) -> Result<NoOutput, Fault> {
    elbv2::change(cx, |txn| {
        let mut changed = (*find(cx, txn.snapshot(), arn)?).clone();
        change(&mut changed.tags)?;
        txn.put(changed);
        Ok(NoOutput)
    })
    .await
}

pub async fn add(
    cx: &Context,
    _caller: &Caller,
    input: acm::AddTagsToCertificateRequest,
) -> Result<NoOutput, Fault> {
    let more = read(input.tags)?;
    change(cx, &input.certificate_arn.unwrap_or_default(), |tags| {
        tags.extend(more.clone());
        check_count(tags)
    })
    .await
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
    let one = |(key, value): (&String, &String)| acm::Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    Ok(acm::ListTagsForCertificateResponse { tags: Some(it.tags.iter().map(one).collect()) })
}
