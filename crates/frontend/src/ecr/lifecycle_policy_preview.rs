//! StartLifecyclePolicyPreview, GetLifecyclePolicyPreview: what a policy would expire. Only what
//! was asked is kept; the answer is worked out when it is fetched, for the moment it was asked at,
//! so there is nothing to wait for but the caller is told to, as on ECR.

use super::describe_images::PAGE_IMAGES;
use super::describe_repositories::bad_token;
use super::images::{find as find_image, tags_by_digest};
use super::lifecycle_policy::{no_policy, read};
use super::repositories::{find, named, not_found};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::image::{LifecyclePolicy, LifecyclePreview, Manifest, Repository};
use model::{Digest, RepositoryName};
use plan::lifecycle_policy::{Expiry, Image, expired};
use std::collections::{BTreeMap, BTreeSet};
use store::Snapshot;
use store::kinds::repository_prefix;
use wire::ecr::{
    ErrorCode, GetLifecyclePolicyPreviewRequest, GetLifecyclePolicyPreviewResponse,
    LifecyclePolicyPreviewResult, LifecyclePolicyPreviewSummary, LifecyclePolicyRuleAction,
    StartLifecyclePolicyPreviewRequest, StartLifecyclePolicyPreviewResponse, TagStatus,
};

pub async fn start_lifecycle_policy_preview(
    cx: &Context,
    _caller: &Caller,
    input: StartLifecyclePolicyPreviewRequest,
) -> Result<StartLifecyclePolicyPreviewResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    if let Some(text) = &input.lifecycle_policy_text {
        read(text)?;
    }
    let text = cx
        .transact(|txn| {
            txn.get::<Repository>(name.as_str()).ok_or_else(|| not_found(cx, name.as_str()))?;
            let text = match &input.lifecycle_policy_text {
                Some(text) => text.clone(),
                None => {
                    let policy = txn.get::<LifecyclePolicy>(name.as_str());
                    policy.ok_or_else(|| no_policy(cx, &name))?.text.clone()
                }
            };
            let (repository, started_at) = (name.clone(), cx.now());
            txn.put(LifecyclePreview { repository, text: text.clone(), started_at });
            Ok(text)
        })
        .await?;
    Ok(StartLifecyclePolicyPreviewResponse {
        lifecycle_policy_text: Some(text),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
        status: Some("IN_PROGRESS".into()),
    })
}

pub async fn get_lifecycle_policy_preview(
    cx: &Context,
    _caller: &Caller,
    input: GetLifecyclePolicyPreviewRequest,
) -> Result<GetLifecyclePolicyPreviewResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let snapshot = cx.store.snapshot();
    find(cx, &snapshot, &name)?;
    let preview = snapshot.get::<LifecyclePreview>(name.as_str());
    let preview = preview.ok_or_else(|| no_preview(cx, &name))?;
    let (images, gone) = evaluate(&snapshot, &preview)?;
    let total = gone.len();
    let filter = input.filter.and_then(|filter| filter.tag_status);
    let wanted = |image: &Image| match &filter {
        Some(TagStatus::Tagged) => !image.tags.is_empty(),
        Some(TagStatus::Untagged) => image.tags.is_empty(),
        _ => true,
    };
    let named_ids = input.image_ids.filter(|ids| !ids.is_empty());
    let chosen = named_ids.as_ref().map(|ids| {
        let found = ids.iter().filter_map(|id| find_image(&snapshot, &name, id).ok());
        found.map(|manifest| manifest.digest.clone()).collect::<BTreeSet<Digest>>()
    });
    let chosen = chosen.as_ref();
    let results = gone.iter().filter_map(|expiry| {
        let image = images.get(&expiry.digest).filter(|image| wanted(image))?;
        let is_chosen = chosen.is_none_or(|chosen| chosen.contains(&expiry.digest));
        is_chosen.then(|| show(image, expiry))
    });
    let mut results: Vec<LifecyclePolicyPreviewResult> = results.collect();
    let status = filter.as_ref().map(ToString::to_string).unwrap_or_default();
    let started = preview.started_at.0.to_string();
    let cursor = Cursor::new(&["GetLifecyclePolicyPreview", name.as_str(), &status, &started]);
    if let Some(after) = cursor.after(input.next_token.as_deref(), bad_token)? {
        let last = results.iter().position(|it| it.image_digest.as_deref() == Some(&*after));
        results.drain(..last.map_or(0, |last| last + 1));
    }
    let limit = page_items(input.max_results, PAGE_IMAGES);
    let more = chosen.is_none() && results.len() > limit;
    if more {
        results.truncate(limit);
    }
    let last = results.last().filter(|_| more).and_then(|last| last.image_digest.as_deref());
    Ok(GetLifecyclePolicyPreviewResponse {
        lifecycle_policy_text: Some(preview.text.clone()),
        next_token: last.map(|last| cursor.seal(last)),
        preview_results: Some(results),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
        status: Some("COMPLETE".into()),
        summary: Some(LifecyclePolicyPreviewSummary {
            expiring_image_total_count: Some(i32::try_from(total).unwrap_or(i32::MAX)),
            transitioning_image_total_counts: None,
        }),
    })
}

/// The images there were when the preview was asked for, and which of them would go.
fn evaluate(
    snapshot: &Snapshot,
    preview: &LifecyclePreview,
) -> Result<(BTreeMap<Digest, Image>, Vec<Expiry>), Fault> {
    let policy = read(&preview.text)?;
    let name = &preview.repository;
    let mut tags = tags_by_digest(snapshot, name);
    let prefix = repository_prefix(name);
    let all = snapshot.scan::<Manifest>(&prefix).map(|(_, manifest)| manifest);
    let images = all.filter(|manifest| manifest.pushed_at <= preview.started_at);
    let images = images.map(|manifest| Image {
        tags: tags.remove(&manifest.digest).unwrap_or_default(),
        digest: manifest.digest.clone(),
        pushed_at: manifest.pushed_at,
        subject: manifest.subject.clone(),
        references: manifest.references.clone(),
    });
    let images: Vec<Image> = images.collect();
    let gone = expired(&policy, &images, preview.started_at, 0);
    Ok((images.into_iter().map(|image| (image.digest.clone(), image)).collect(), gone))
}

fn show(image: &Image, expiry: &Expiry) -> LifecyclePolicyPreviewResult {
    LifecyclePolicyPreviewResult {
        action: Some(LifecyclePolicyRuleAction {
            target_storage_class: None,
            r#type: Some("EXPIRE".into()),
        }),
        applied_rule_priority: expiry.priority.and_then(|priority| i32::try_from(priority).ok()),
        image_digest: Some(image.digest.to_string()),
        image_pushed_at: Some(wire::Timestamp::from_unix_ms(image.pushed_at.0)),
        image_tags: Some(image.tags.clone()),
        storage_class: Some("STANDARD".into()),
    }
}

fn no_preview(cx: &Context, name: &RepositoryName) -> Fault {
    ErrorCode::LifecyclePolicyPreviewNotFoundException.fault(format!(
        "Lifecycle policy preview request does not exist for the repository with name '{name}' in \
         the registry with id '{}'",
        cx.locality.account
    ))
}
