//! ListImageReferrers: the artifacts (signatures, attestations, bills of materials) that are about
//! an image, which itself need not be there.

use super::describe_repositories::bad_token;
use super::images::content;
use super::repositories::{find, invalid, named};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::image::Manifest;
use model::manifest::{annotations, parse_digest};
use store::kinds::repository_prefix;
use wire::ecr::{
    ArtifactStatusFilter, ImageReferrer, ListImageReferrersRequest, ListImageReferrersResponse,
};

/// Artifacts of one page when the caller names no number. Source: API reference.
const PAGE_REFERRERS: usize = 50;

pub async fn list_image_referrers(
    cx: &Context,
    _caller: &Caller,
    input: ListImageReferrersRequest,
) -> Result<ListImageReferrersResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let subject = input.subject_id.and_then(|subject| subject.image_digest).unwrap_or_default();
    let must = "must satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
    let subject = parse_digest(&subject).ok_or_else(|| invalid("subjectId.imageDigest", must))?;
    let snapshot = cx.store.snapshot();
    find(cx, &snapshot, &name)?;
    let filter = input.filter.unwrap_or_default();
    let types = filter.artifact_types.unwrap_or_default();
    // Every artifact of ours is active: nothing is archived.
    let active = matches!(
        filter.artifact_status,
        None | Some(ArtifactStatusFilter::Active | ArtifactStatusFilter::Any)
    );
    let (named_types, is_active) = (types.join("\n"), active.to_string());
    let cursor = Cursor::new(&[
        "ListImageReferrers",
        name.as_str(),
        subject.as_str(),
        &named_types,
        &is_active,
    ]);
    let after = cursor.after(input.next_token.as_deref(), bad_token)?.unwrap_or_default();
    let prefix = repository_prefix(&name);
    let all = snapshot.scan::<Manifest>(&prefix).map(|(_, manifest)| manifest);
    let wanted = |manifest: &Manifest| {
        let artifact = manifest.artifact_type.as_deref().unwrap_or_default();
        active
            && manifest.subject.as_ref() == Some(&subject)
            && manifest.digest.as_str() > after.as_str()
            && (types.is_empty() || types.iter().any(|it| it == artifact))
    };
    let rest = all.filter(|manifest| wanted(manifest));
    let limit = page_items(input.max_results, PAGE_REFERRERS);
    let (page, next_token) = cursor.take(rest, limit, |manifest| manifest.digest.as_str());
    let mut referrers = Vec::with_capacity(page.len());
    for manifest in &page {
        let text = content(cx, manifest.digest.as_str()).await?;
        let notes = annotations(text.as_bytes()).into_iter();
        let notes = notes.filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())));
        referrers.push(ImageReferrer {
            annotations: Some(notes.collect()),
            artifact_status: Some("ACTIVE".into()),
            artifact_type: manifest.artifact_type.clone(),
            digest: Some(manifest.digest.to_string()),
            media_type: Some(manifest.media_type.clone()),
            size: Some(i64::try_from(manifest.manifest_bytes).unwrap_or(i64::MAX)),
        });
    }
    Ok(ListImageReferrersResponse { next_token, referrers: Some(referrers) })
}
