//! DescribeSecret, ListSecrets: everything of secrets but their values.

use super::secrets::{find, time};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use crate::tagging;
use model::secret::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Snapshot;
use wire::secretsmanager::{
    DescribeSecretRequest, DescribeSecretResponse, ErrorCode, Filter, FilterNameStringType,
    ListSecretsRequest, ListSecretsResponse, SecretListEntry, SortByType, SortOrderType,
};

/// Secrets of one page when the caller names no number. Source: API reference.
const PAGE_SECRETS: usize = 100;

pub async fn describe_secret(
    cx: &Context,
    _caller: &Caller,
    input: DescribeSecretRequest,
) -> Result<DescribeSecretResponse, Fault> {
    let secret = find(cx, &cx.store.snapshot(), input.secret_id.as_deref())?;
    let shown = show(cx, &secret);
    Ok(DescribeSecretResponse {
        arn: shown.arn,
        created_date: shown.created_date,
        deleted_date: shown.deleted_date,
        description: shown.description,
        kms_key_id: shown.kms_key_id,
        last_accessed_date: shown.last_accessed_date,
        last_changed_date: shown.last_changed_date,
        name: shown.name,
        tags: shown.tags,
        version_ids_to_stages: shown.secret_versions_to_stages,
        ..DescribeSecretResponse::default()
    })
}

pub async fn list_secrets(
    cx: &Context,
    _caller: &Caller,
    input: ListSecretsRequest,
) -> Result<ListSecretsResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let filters = input.filters.unwrap_or_default();
    let deleted = input.include_planned_deletion.unwrap_or(false);
    let mut secrets = chosen(&snapshot, &filters, deleted);
    sort(&mut secrets, input.sort_by.as_ref());
    if input.sort_order != Some(SortOrderType::Asc) && input.sort_by.is_some()
        || input.sort_order == Some(SortOrderType::Desc)
    {
        secrets.reverse();
    }
    let request = format!("{filters:?} {deleted} {:?} {:?}", input.sort_by, input.sort_order);
    let cursor = Cursor::new(&["ListSecrets", &request]);
    let token = input.next_token.as_deref();
    let (page, next_token) = page(secrets, &cursor, token, input.max_results, PAGE_SECRETS)?;
    let secret_list = Some(page.iter().map(|secret| show(cx, secret)).collect());
    Ok(ListSecretsResponse { next_token, secret_list })
}

fn sort(secrets: &mut [Arc<Secret>], by: Option<&SortByType>) {
    let key = |secret: &Arc<Secret>| match by {
        Some(SortByType::LastAccessedDate) => secret.accessed_at.map_or(0, |at| at.0),
        Some(SortByType::LastChangedDate) => secret.changed_at.0,
        Some(SortByType::CreatedDate) | None => secret.created_at.0,
        // By name, the order in which they come.
        Some(_) => 0,
    };
    secrets.sort_by_key(key);
}

/// Where a token says that the next page begins.
pub fn after(cursor: &Cursor, token: Option<&str>) -> Result<Option<String>, Fault> {
    let bad = || ErrorCode::InvalidNextTokenException.fault("The NextToken value is invalid.");
    cursor.after(token, bad)
}

/// One page of a list of secrets in any order, and the token for the next.
pub fn page(
    secrets: Vec<Arc<Secret>>,
    cursor: &Cursor,
    token: Option<&str>,
    size: Option<i32>,
    default: usize,
) -> Result<(Vec<Arc<Secret>>, Option<String>), Fault> {
    let after = after(cursor, token)?;
    let last = after.and_then(|after| secrets.iter().position(|secret| secret.name == after));
    let rest = secrets.into_iter().skip(last.map_or(0, |last| last + 1));
    Ok(cursor.take(rest, page_items(size, default), |secret| &secret.name))
}

/// The secrets that pass all filters, by name.
pub fn chosen(snapshot: &Snapshot, filters: &[Filter], deleted: bool) -> Vec<Arc<Secret>> {
    let all = snapshot.scan::<Secret>("").map(|(_, secret)| secret);
    let live = all.filter(|secret| deleted || secret.deleted_at.is_none());
    live.filter(|secret| filters.iter().all(|filter| passes(secret, filter))).collect()
}

/// One of the filter's values must match; a value after `!` must not.
/// Source: API reference, Filter.
fn passes(secret: &Secret, filter: &Filter) -> bool {
    let Some(key) = &filter.key else { return true };
    filter.values.iter().flatten().any(|value| match value.strip_prefix('!') {
        Some(value) => !matches(secret, key, value),
        None => matches(secret, key, value),
    })
}

fn matches(secret: &Secret, key: &FilterNameStringType, value: &str) -> bool {
    let description = secret.description.as_deref().unwrap_or_default();
    let lower = value.to_lowercase();
    match key {
        FilterNameStringType::Name => secret.name.starts_with(value),
        FilterNameStringType::Description => description.to_lowercase().starts_with(&lower),
        FilterNameStringType::TagKey => secret.tags.keys().any(|key| key.starts_with(value)),
        FilterNameStringType::TagValue => secret.tags.values().any(|it| it.starts_with(value)),
        FilterNameStringType::All => lower.split_whitespace().all(|word| {
            let tags = secret.tags.iter().flat_map(|(key, value)| [key.as_str(), value]);
            let mut texts = tags.chain([secret.name.as_str(), description]);
            texts.any(|text| text.to_lowercase().contains(word))
        }),
        // Of another region's, or another service's: none of ours is.
        _ => false,
    }
}

fn show(cx: &Context, secret: &Secret) -> SecretListEntry {
    let mut stages = BTreeMap::<String, Vec<String>>::new();
    for (stage, version) in &secret.stages {
        stages.entry(version.clone()).or_default().push(stage.clone());
    }
    SecretListEntry {
        arn: Some(secret.arn(&cx.locality)),
        created_date: Some(time(secret.created_at)),
        deleted_date: secret.gone_at.map(time),
        description: secret.description.clone(),
        kms_key_id: secret.kms_key_id.clone(),
        last_accessed_date: secret.accessed_at.map(time),
        last_changed_date: Some(time(secret.changed_at)),
        name: Some(secret.name.clone()),
        secret_versions_to_stages: Some(stages).filter(|stages| !stages.is_empty()),
        tags: Some(tagging::show(&secret.tags)).filter(|tags: &Vec<_>| !tags.is_empty()),
        ..SecretListEntry::default()
    }
}
