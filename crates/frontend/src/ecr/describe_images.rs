//! DescribeImages: one entry for each image, with all its tags.

use super::describe_repositories::bad_token;
use super::images::{find as find_image, tags_by_digest};
use super::repositories::{find, named};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::image::{ImagePull, Manifest};
use model::{Digest, RepositoryName};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Snapshot;
use store::kinds::{manifest_key, repository_prefix};
use wire::ecr::{
    DescribeImagesRequest, DescribeImagesResponse, ErrorCode, ImageDetail, ImageIdentifier,
    ImageStatusFilter, TagStatus,
};

/// Images of one page when the caller names no number. Source: API reference.
pub const PAGE_IMAGES: usize = 100;

pub async fn describe_images(
    cx: &Context,
    _caller: &Caller,
    input: DescribeImagesRequest,
) -> Result<DescribeImagesResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let snapshot = cx.store.snapshot();
    find(cx, &snapshot, &name)?;
    let tags = tags_by_digest(&snapshot, &name);
    if let Some(ids) = input.image_ids.filter(|ids| !ids.is_empty()) {
        let mut details = BTreeMap::new();
        for id in ids {
            let manifest = find_image(&snapshot, &name, &id);
            let manifest = manifest.map_err(|_| image_missing(cx, &name, &id))?;
            details.insert(manifest.digest.clone(), show(cx, &snapshot, &manifest, &tags));
        }
        let image_details = Some(details.into_values().collect());
        return Ok(DescribeImagesResponse { image_details, next_token: None });
    }
    let filter = input.filter.unwrap_or_default();
    let text = |shown: Option<String>| shown.unwrap_or_default();
    let cursor = Cursor::new(&[
        "DescribeImages",
        name.as_str(),
        &text(filter.tag_status.as_ref().map(ToString::to_string)),
        &text(filter.image_status.as_ref().map(ToString::to_string)),
    ]);
    let after = cursor.after(input.next_token.as_deref(), bad_token)?.unwrap_or_default();
    let mut found = images(&snapshot, &name, filter.tag_status.as_ref(), &tags);
    if !active_wanted(filter.image_status.as_ref()) {
        found.clear();
    }
    let limit = page_items(input.max_results, PAGE_IMAGES);
    let rest = found.iter().filter(|manifest| manifest.digest.as_str() > after.as_str());
    let (page, next_token) = cursor.take(rest, limit, |manifest| manifest.digest.as_str());
    let details = page.into_iter().map(|manifest| show(cx, &snapshot, manifest, &tags)).collect();
    Ok(DescribeImagesResponse { image_details: Some(details), next_token })
}

/// The images of a repository in the order of their digests.
pub fn images(
    snapshot: &Snapshot,
    name: &RepositoryName,
    tag_status: Option<&TagStatus>,
    tags: &BTreeMap<Digest, Vec<String>>,
) -> Vec<Arc<Manifest>> {
    let prefix = repository_prefix(name);
    let all = snapshot.scan::<Manifest>(&prefix).map(|(_, manifest)| manifest);
    all.filter(|manifest| match tag_status {
        Some(TagStatus::Tagged) => tags.contains_key(&manifest.digest),
        Some(TagStatus::Untagged) => !tags.contains_key(&manifest.digest),
        Some(TagStatus::Any | TagStatus::Unrecognized(_)) | None => true,
    })
    .collect()
}

/// Every image of ours is active: nothing is archived.
pub fn active_wanted(status: Option<&ImageStatusFilter>) -> bool {
    matches!(status, None | Some(ImageStatusFilter::Active | ImageStatusFilter::Any))
}

fn image_missing(cx: &Context, name: &RepositoryName, id: &ImageIdentifier) -> Fault {
    let shown = |text: &Option<String>| text.clone().unwrap_or("null".to_owned());
    ErrorCode::ImageNotFoundException.fault(format!(
        "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist within the \
         repository with name '{name}' in the registry with id '{}'",
        shown(&id.image_digest),
        shown(&id.image_tag),
        cx.locality.account
    ))
}

fn show(
    cx: &Context,
    snapshot: &Snapshot,
    manifest: &Manifest,
    tags: &BTreeMap<Digest, Vec<String>>,
) -> ImageDetail {
    ImageDetail {
        artifact_media_type: manifest.artifact_type.clone(),
        image_digest: Some(manifest.digest.to_string()),
        image_manifest_media_type: Some(manifest.media_type.clone()),
        image_pushed_at: Some(wire::Timestamp::from_unix_ms(manifest.pushed_at.0)),
        image_size_in_bytes: Some(i64::try_from(bytes(snapshot, manifest)).unwrap_or(i64::MAX)),
        image_status: Some("ACTIVE".into()),
        image_tags: tags.get(&manifest.digest).cloned(),
        last_recorded_pull_time: snapshot
            .get::<ImagePull>(&manifest_key(&manifest.repository, &manifest.digest))
            .map(|pull| wire::Timestamp::from_unix_ms(pull.pulled_at.0)),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(manifest.repository.to_string()),
        subject_manifest_digest: manifest.subject.as_ref().map(ToString::to_string),
        ..ImageDetail::default()
    }
}

/// Of a list of manifests it is the largest one's, as ECR has it.
fn bytes(snapshot: &Snapshot, manifest: &Manifest) -> u64 {
    let of = |digest: &Digest| {
        let inner = snapshot.get::<Manifest>(&manifest_key(&manifest.repository, digest));
        inner.map(|inner| inner.image_bytes)
    };
    let largest = manifest.references.iter().filter_map(of).max();
    largest.unwrap_or(0).max(manifest.image_bytes)
}
