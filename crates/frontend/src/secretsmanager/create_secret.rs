//! CreateSecret: a secret, and its first version if a value is given.

use super::secrets::{
    add_version, given, invalid_parameter, invalid_request, is_repeated, label, token,
};
use super::tags;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::secret::{CURRENT, Secret, mint_suffix};
use std::collections::BTreeMap;
use wire::secretsmanager::{CreateSecretRequest, CreateSecretResponse, ErrorCode};

/// Characters of a name. Source: API reference, CreateSecret.
const NAME_CHARS_MAX: usize = 512;

pub async fn create_secret(
    cx: &Context,
    _caller: &Caller,
    input: CreateSecretRequest,
) -> Result<CreateSecretResponse, Fault> {
    let name = input.name.unwrap_or_default();
    check_name(&name)?;
    if input.add_replica_regions.is_some_and(|regions| !regions.is_empty()) {
        return Err(invalid_parameter("Neargate does not support AddReplicaRegions."));
    }
    if input.r#type.is_some() {
        return Err(invalid_parameter("Neargate does not support secrets of a Type."));
    }
    let token = token(input.client_request_token)?;
    let given = given(input.secret_string, input.secret_binary)?;
    let (now, suffix) = (cx.now(), mint_suffix(cx.random()));
    let made = Secret {
        name,
        suffix,
        description: input.description,
        kms_key_id: input.kms_key_id,
        tags: tags::RULES.read(input.tags)?,
        policy: None,
        created_at: now,
        changed_at: now,
        accessed_at: None,
        deleted_at: None,
        gone_at: None,
        stages: BTreeMap::new(),
    };
    let secret = cx
        .transact(|txn| {
            if let Some(known) = txn.get::<Secret>(&made.name) {
                if known.deleted_at.is_some() {
                    return Err(invalid_request(
                        "You can't create this secret because a secret with this name is already \
                         scheduled for deletion.",
                    ));
                }
                let exists = || {
                    ErrorCode::ResourceExistsException.fault(format!(
                        "The operation failed because the secret {} already exists.",
                        known.name
                    ))
                };
                let given = given.as_ref().ok_or_else(exists)?;
                let repeated = is_repeated(cx, txn.snapshot(), &known, &token, given);
                return match repeated {
                    Ok(true) => Ok((*known).clone()),
                    _ => Err(exists()),
                };
            }
            let mut secret = made.clone();
            if let Some(given) = &given {
                add_version(cx, txn, &secret, &token, given)?;
                label(&mut secret, &token, &[CURRENT.to_owned()])?;
            }
            txn.put(secret.clone());
            Ok(secret)
        })
        .await?;
    Ok(CreateSecretResponse {
        arn: Some(secret.arn(&cx.locality)),
        name: Some(secret.name),
        replication_status: None,
        version_id: given.map(|_| token),
    })
}

fn check_name(name: &str) -> Result<(), Fault> {
    let known = |c: char| c.is_ascii_alphanumeric() || "-/_+=.@!".contains(c);
    match !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(known) {
        true => Ok(()),
        false => Err(Fault::client(
            "ValidationException",
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of the \
             following: -/_+=.@!",
        )),
    }
}
