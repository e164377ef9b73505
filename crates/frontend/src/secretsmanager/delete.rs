//! DeleteSecret, RestoreSecret. A deleted secret waits for its recovery window to pass; `manager`
//! removes it then.

use super::secrets::{change, check_live, invalid_parameter, not_found, time, versions};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::secret::{Secret, SecretVersion, mint_suffix, secret_names};
use store::kinds::secret_version_key;
use store::vault;
use wire::secretsmanager::{
    DeleteSecretRequest, DeleteSecretResponse, RestoreSecretRequest, RestoreSecretResponse,
};

/// Source: API reference, DeleteSecret (RecoveryWindowInDays).
const WINDOW_DAYS: std::ops::RangeInclusive<i64> = 7..=30;
const WINDOW_DAYS_DEFAULT: i64 = 30;

pub async fn delete_secret(
    cx: &Context,
    _caller: &Caller,
    input: DeleteSecretRequest,
) -> Result<DeleteSecretResponse, Fault> {
    let force = input.force_delete_without_recovery.unwrap_or(false);
    if force && input.recovery_window_in_days.is_some() {
        return Err(invalid_parameter(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
        ));
    }
    let days = input.recovery_window_in_days.unwrap_or(WINDOW_DAYS_DEFAULT);
    if !WINDOW_DAYS.contains(&days) {
        return Err(invalid_parameter(
            "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
        ));
    }
    let id = input.secret_id.unwrap_or_default();
    if force {
        return delete_now(cx, &id).await;
    }
    let now = cx.now();
    let (secret, ()) = change(cx, Some(&id), |_, secret| {
        check_live(secret)?;
        secret.deleted_at = Some(now);
        secret.gone_at = Some(now.plus_seconds(days * 24 * 3600));
        Ok(())
    })
    .await?;
    Ok(DeleteSecretResponse {
        arn: Some(secret.arn(&cx.locality)),
        deletion_date: secret.gone_at.map(time),
        name: Some(secret.name),
    })
}

/// Also what is not there can be deleted by force, and so can what is deleted already.
/// Source: API reference, DeleteSecret (ForceDeleteWithoutRecovery).
async fn delete_now(cx: &Context, id: &str) -> Result<DeleteSecretResponse, Fault> {
    let deleted = cx
        .transact(|txn| {
            let Some(found) = vault::find_secret(txn.snapshot(), &cx.locality, id) else {
                return Ok(None);
            };
            let Some(secret) = txn.get::<Secret>(&found.name) else { return Ok(None) };
            for version in versions(&txn.snapshot().clone(), &secret.name) {
                txn.delete::<SecretVersion>(&secret_version_key(&secret.name, &version.id));
            }
            txn.delete::<Secret>(&secret.name);
            Ok(Some((secret.name.clone(), secret.arn(&cx.locality))))
        })
        .await?;
    let (name, arn) = match deleted {
        Some(deleted) => deleted,
        None => {
            let named = secret_names(&cx.locality, id).into_iter().next();
            let named = named.ok_or_else(not_found)?;
            let suffix = named.suffix.unwrap_or_else(|| mint_suffix(cx.random()));
            let resource = format!("secret:{}-{suffix}", named.name);
            (named.name, cx.locality.arn("secretsmanager", &resource))
        }
    };
    let (arn, name, deletion_date) = (Some(arn), Some(name), Some(time(cx.now())));
    Ok(DeleteSecretResponse { arn, deletion_date, name })
}

pub async fn restore_secret(
    cx: &Context,
    _caller: &Caller,
    input: RestoreSecretRequest,
) -> Result<RestoreSecretResponse, Fault> {
    let (secret, ()) = change(cx, input.secret_id.as_deref(), |_, secret| {
        secret.deleted_at = None;
        secret.gone_at = None;
        Ok(())
    })
    .await?;
    Ok(RestoreSecretResponse { arn: Some(secret.arn(&cx.locality)), name: Some(secret.name) })
}
