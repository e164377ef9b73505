//! PutSecretValue, UpdateSecret, UpdateSecretVersionStage: new versions, and which version carries
//! which label.

use super::secrets::{
    add_version, change, check_live, given, invalid_parameter, invalid_request, is_repeated, label,
    token,
};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::secret::{CURRENT, Secret, SecretVersion};
use store::kinds::secret_version_key;
use wire::secretsmanager::{
    ErrorCode, PutSecretValueRequest, PutSecretValueResponse, UpdateSecretRequest,
    UpdateSecretResponse, UpdateSecretVersionStageRequest, UpdateSecretVersionStageResponse,
};

pub async fn put_secret_value(
    cx: &Context,
    _caller: &Caller,
    input: PutSecretValueRequest,
) -> Result<PutSecretValueResponse, Fault> {
    let token = token(input.client_request_token)?;
    let given = given(input.secret_string, input.secret_binary)?;
    let given = given
        .ok_or_else(|| invalid_request("You must provide either SecretString or SecretBinary."))?;
    let stages = input.version_stages.filter(|stages| !stages.is_empty());
    let (secret, ()) = change(cx, input.secret_id.as_deref(), |txn, secret| {
        check_live(secret)?;
        if is_repeated(cx, txn.snapshot(), secret, &token, &given)? {
            return Ok(());
        }
        add_version(cx, txn, secret, &token, &given)?;
        let mut stages = stages.clone().unwrap_or_else(|| vec![CURRENT.to_owned()]);
        // The first version is the current one whatever else it is.
        if !secret.stages.contains_key(CURRENT) && !stages.iter().any(|it| it == CURRENT) {
            stages.push(CURRENT.to_owned());
        }
        label(secret, &token, &stages)?;
        secret.changed_at = cx.now();
        Ok(())
    })
    .await?;
    Ok(PutSecretValueResponse {
        arn: Some(secret.arn(&cx.locality)),
        version_stages: Some(secret.stages_of(&token)),
        name: Some(secret.name),
        version_id: Some(token),
    })
}

pub async fn update_secret(
    cx: &Context,
    _caller: &Caller,
    input: UpdateSecretRequest,
) -> Result<UpdateSecretResponse, Fault> {
    let token = token(input.client_request_token)?;
    if input.r#type.is_some() {
        return Err(invalid_parameter("Neargate does not support secrets of a Type."));
    }
    let given = given(input.secret_string, input.secret_binary)?;
    let (secret, ()) = change(cx, input.secret_id.as_deref(), |txn, secret| {
        check_live(secret)?;
        if let Some(given) = &given
            && !is_repeated(cx, txn.snapshot(), secret, &token, given)?
        {
            add_version(cx, txn, secret, &token, given)?;
            label(secret, &token, &[CURRENT.to_owned()])?;
        }
        if let Some(description) = &input.description {
            secret.description = Some(description.clone());
        }
        if let Some(key) = &input.kms_key_id {
            secret.kms_key_id = Some(key.clone());
        }
        secret.changed_at = cx.now();
        Ok(())
    })
    .await?;
    Ok(UpdateSecretResponse {
        arn: Some(secret.arn(&cx.locality)),
        name: Some(secret.name),
        version_id: given.map(|_| token),
    })
}

pub async fn update_secret_version_stage(
    cx: &Context,
    _caller: &Caller,
    input: UpdateSecretVersionStageRequest,
) -> Result<UpdateSecretVersionStageResponse, Fault> {
    let stage = input.version_stage.unwrap_or_default();
    let (from, to) = (input.remove_from_version_id, input.move_to_version_id);
    let (secret, ()) = change(cx, input.secret_id.as_deref(), |txn, secret| {
        check_live(secret)?;
        for id in [&from, &to].into_iter().flatten() {
            if txn.get::<SecretVersion>(&secret_version_key(&secret.name, id)).is_none() {
                return Err(ErrorCode::ResourceNotFoundException.fault(format!(
                    "Secrets Manager can't find the specified secret value for VersionId: {id}"
                )));
            }
        }
        move_label(secret, &stage, from.as_deref(), to.as_deref())?;
        secret.changed_at = cx.now();
        Ok(())
    })
    .await?;
    Ok(UpdateSecretVersionStageResponse {
        arn: Some(secret.arn(&cx.locality)),
        name: Some(secret.name),
    })
}

/// Where a label is must be said before it is taken from there.
fn move_label(
    secret: &mut Secret,
    stage: &str,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(), Fault> {
    let at = secret.stages.get(stage).cloned();
    match (at.as_deref(), from) {
        (Some(at), _) if to == Some(at) => return Ok(()),
        (Some(at), None) => {
            return Err(invalid_parameter(format!(
                "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is \
                 currently attached to version {at}, so you must explicitly reference that version \
                 in RemoveFromVersionId."
            )));
        }
        (at, Some(from)) if at != Some(from) => {
            return Err(invalid_parameter(format!(
                "The parameter RemoveFromVersionId can't be {from}. Staging label {stage} is not \
                 attached to that version."
            )));
        }
        _ => {}
    }
    match to {
        Some(to) => label(secret, to, &[stage.to_owned()]),
        None if stage == CURRENT => Err(invalid_parameter(format!(
            "You can only move staging label {CURRENT} to a different secret version. It can't be \
             completely removed."
        ))),
        None => {
            secret.stages.remove(stage);
            Ok(())
        }
    }
}
