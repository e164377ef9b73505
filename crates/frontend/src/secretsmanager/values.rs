//! GetSecretValue, BatchGetSecretValue, ListSecretVersionIds.

use super::describe::{chosen, page};
use super::secrets::{
    day, find, find_live, invalid_parameter, invalid_request, open, time, versions,
};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::secret::{CURRENT, Secret, SecretVersion};
use std::sync::Arc;
use store::{Snapshot, vault};
use wire::secretsmanager::{
    APIErrorType, BatchGetSecretValueRequest, BatchGetSecretValueResponse, ErrorCode,
    GetSecretValueRequest, GetSecretValueResponse, ListSecretVersionIdsRequest,
    ListSecretVersionIdsResponse, SecretValueEntry, SecretVersionsListEntry,
};
use wire::{Blob, Sensitive};

/// Secrets of one page of values, and versions of one page. Source: API reference.
const PAGE_VALUES: usize = 20;
const PAGE_VERSIONS: usize = 100;

pub async fn get_secret_value(
    cx: &Context,
    _caller: &Caller,
    input: GetSecretValueRequest,
) -> Result<GetSecretValueResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let secret = find_live(cx, &snapshot, input.secret_id.as_deref())?;
    let (stage, id) = (input.version_stage.as_deref(), input.version_id.as_deref());
    let version = find_version(&snapshot, &secret, stage, id)?;
    let entry = read(cx, &secret, &version)?;
    note_access(cx, &secret).await?;
    Ok(GetSecretValueResponse {
        arn: entry.arn,
        created_date: entry.created_date,
        name: entry.name,
        secret_binary: entry.secret_binary,
        secret_string: entry.secret_string,
        version_id: entry.version_id,
        version_stages: entry.version_stages,
    })
}

fn find_version(
    snapshot: &Snapshot,
    secret: &Secret,
    stage: Option<&str>,
    id: Option<&str>,
) -> Result<Arc<SecretVersion>, Fault> {
    let missing = |text: String| ErrorCode::ResourceNotFoundException.fault(text);
    let cant = "Secrets Manager can't find the specified secret value for";
    if let Some(id) = id {
        let version = vault::find_secret_version(snapshot, secret, None, Some(id));
        let version = version.ok_or_else(|| missing(format!("{cant} VersionId: {id}")))?;
        let matches = stage.is_none_or(|stage| secret.stages.get(stage) == Some(&version.id));
        return match matches {
            true => Ok(version),
            false => Err(invalid_request(
                "You provided a VersionStage that is not associated to the provided VersionId.",
            )),
        };
    }
    let stage = stage.unwrap_or(CURRENT);
    let version = vault::find_secret_version(snapshot, secret, Some(stage), None);
    version.ok_or_else(|| missing(format!("{cant} staging label: {stage}")))
}

fn read(cx: &Context, secret: &Secret, version: &SecretVersion) -> Result<SecretValueEntry, Fault> {
    let value = open(cx, secret, version)?;
    let text = value.expose_str().filter(|_| !version.is_binary);
    Ok(SecretValueEntry {
        arn: Some(secret.arn(&cx.locality)),
        created_date: Some(time(version.created_at)),
        name: Some(secret.name.clone()),
        secret_binary: version.is_binary.then(|| Blob(value.expose().to_vec())),
        secret_string: text.map(Sensitive::new),
        version_id: Some(version.id.clone()),
        version_stages: Some(secret.stages_of(&version.id)),
    })
}

/// Notes the day on which a secret was last read, once a day.
async fn note_access(cx: &Context, secret: &Secret) -> Result<(), Fault> {
    let today = day(cx.now());
    if secret.accessed_at == Some(today) {
        return Ok(());
    }
    cx.transact(|txn| {
        if let Some(known) = txn.get::<Secret>(&secret.name)
            && known.suffix == secret.suffix
        {
            let mut noted = (*known).clone();
            noted.accessed_at = Some(today);
            txn.put(noted);
        }
        Ok(())
    })
    .await
}

pub async fn batch_get_secret_value(
    cx: &Context,
    _caller: &Caller,
    input: BatchGetSecretValueRequest,
) -> Result<BatchGetSecretValueResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let filters = input.filters.unwrap_or_default();
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    let mut add = |secret: &Secret| {
        let read = find_version(&snapshot, secret, None, None)
            .and_then(|version| read(cx, secret, &version));
        match read {
            Ok(entry) => values.push(entry),
            Err(fault) => errors.push(error(&secret.arn(&cx.locality), fault)),
        }
    };
    let ids = input.secret_id_list.filter(|ids| !ids.is_empty());
    match (ids, filters.is_empty()) {
        (Some(ids), true) => {
            if input.max_results.is_some() {
                return Err(invalid_parameter("MaxResults can only be used with Filters."));
            }
            let mut refused = Vec::new();
            for id in ids {
                match find_live(cx, &snapshot, Some(&id)) {
                    Ok(secret) => add(&secret),
                    Err(fault) => refused.push(error(&id, fault)),
                }
            }
            errors.extend(refused);
            Ok(BatchGetSecretValueResponse {
                errors: Some(errors),
                next_token: None,
                secret_values: Some(values),
            })
        }
        (None, false) => {
            let cursor = Cursor::new(&["BatchGetSecretValue", &format!("{filters:?}")]);
            let secrets = chosen(&snapshot, &filters, false);
            let size = input.max_results;
            let (secrets, next_token) =
                page(secrets, &cursor, input.next_token.as_deref(), size, PAGE_VALUES)?;
            secrets.iter().for_each(|secret| add(secret));
            let (errors, secret_values) = (Some(errors), Some(values));
            Ok(BatchGetSecretValueResponse { errors, next_token, secret_values })
        }
        _ => Err(invalid_parameter("You must include Filters or SecretIdList, but not both.")),
    }
}

fn error(id: &str, fault: Fault) -> APIErrorType {
    APIErrorType {
        error_code: Some(fault.code.into_owned()),
        message: Some(fault.message),
        secret_id: Some(id.to_owned()),
    }
}

pub async fn list_secret_version_ids(
    cx: &Context,
    _caller: &Caller,
    input: ListSecretVersionIdsRequest,
) -> Result<ListSecretVersionIdsResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let secret = find(cx, &snapshot, input.secret_id.as_deref())?;
    let deprecated = input.include_deprecated.unwrap_or(false);
    let mut all = versions(&snapshot, &secret.name);
    all.retain(|version| deprecated || !secret.stages_of(&version.id).is_empty());
    let cursor = Cursor::new(&["ListSecretVersionIds", &secret.name, &deprecated.to_string()]);
    let after = super::describe::after(&cursor, input.next_token.as_deref())?;
    let rest = all.into_iter().map(|version| (version.id.clone(), version));
    let limit = page_items(input.max_results, PAGE_VERSIONS);
    let (page, next_token) = cursor.page(rest, after.as_deref(), limit);
    let entry = |version: &Arc<SecretVersion>| SecretVersionsListEntry {
        created_date: Some(time(version.created_at)),
        kms_key_ids: None,
        last_accessed_date: version.accessed_at.map(time),
        version_id: Some(version.id.clone()),
        version_stages: Some(secret.stages_of(&version.id)).filter(|stages| !stages.is_empty()),
    };
    Ok(ListSecretVersionIdsResponse {
        arn: Some(secret.arn(&cx.locality)),
        name: Some(secret.name.clone()),
        next_token,
        versions: Some(page.iter().map(entry).collect()),
    })
}
