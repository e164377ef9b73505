//! What all operations on secrets share: finding one, opening and adding versions, and Secrets
//! Manager's words for what can't be done. A value is sealed before it is anything else.

use crate::context::Context;
use crate::fault::{self, Fault};
use model::Timestamp;
use model::secret::{CURRENT, PREVIOUS, Secret, SecretVersion};
use std::sync::Arc;
use store::kinds::{secret_version_key, secret_version_prefix};
use store::secret::Secret as Value;
use store::{Snapshot, Txn, vault};
use wire::secretsmanager::ErrorCode;
use wire::{Blob, Sensitive};

/// Bytes of one value. Source: user guide, reference_limits.
const VALUE_BYTES_MAX: usize = 65_536;
/// Versions of one secret. Source: user guide, reference_limits.
const VERSIONS_MAX: usize = 100;
/// How old a version without a label must be, in seconds, before it makes room for another.
/// Source: user guide, getting-started (versions).
const UNLABELED_KEPT_SECONDS: i64 = 24 * 3600;
/// Labels of one version. Source: API reference, PutSecretValue (VersionStages).
const STAGES_MAX: usize = 20;

/// A value as it came in.
pub struct Given {
    pub value: Value,
    pub is_binary: bool,
}

pub fn invalid_parameter(text: impl Into<String>) -> Fault {
    ErrorCode::InvalidParameterException.fault(text)
}

pub fn invalid_request(text: impl Into<String>) -> Fault {
    ErrorCode::InvalidRequestException.fault(text)
}

pub fn not_found() -> Fault {
    ErrorCode::ResourceNotFoundException.fault("Secrets Manager can't find the specified secret.")
}

/// The value a call gives; None if it gives none.
pub fn given(text: Option<Sensitive>, binary: Option<Blob>) -> Result<Option<Given>, Fault> {
    let given = match (text, binary) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(invalid_parameter(
                "You can't specify both a binary secret value and a string secret value in the \
                 same secret.",
            ));
        }
        (Some(text), None) => Given { value: Value::new(text.into_exposed()), is_binary: false },
        (None, Some(binary)) => Given { value: Value::new(binary.0), is_binary: true },
    };
    if given.value.expose().len() > VALUE_BYTES_MAX {
        let text = format!("The secret value can have at most {VALUE_BYTES_MAX} bytes.");
        return Err(invalid_parameter(text));
    }
    Ok(Some(given))
}

/// The id of the version that a call makes. SDKs fill it in; a call without one can't be repeated
/// safely, so AWS refuses it.
pub fn token(token: Option<String>) -> Result<String, Fault> {
    token.ok_or_else(|| {
        invalid_request(
            "You must provide a ClientRequestToken value. We recommend a UUID-type value.",
        )
    })
}

/// A secret that is there, even if it is to be deleted.
pub fn find(cx: &Context, snapshot: &Snapshot, id: Option<&str>) -> Result<Arc<Secret>, Fault> {
    let id = id.unwrap_or_default();
    vault::find_secret(snapshot, &cx.locality, id).ok_or_else(not_found)
}

/// A secret that can be used.
pub fn find_live(
    cx: &Context,
    snapshot: &Snapshot,
    id: Option<&str>,
) -> Result<Arc<Secret>, Fault> {
    let secret = find(cx, snapshot, id)?;
    check_live(&secret)?;
    Ok(secret)
}

pub fn check_live(secret: &Secret) -> Result<(), Fault> {
    match secret.deleted_at {
        None => Ok(()),
        Some(_) => Err(invalid_request(
            "You can't perform this operation on the secret because it was marked for deletion.",
        )),
    }
}

/// Changes a secret in one transaction. The closure sees it as it is then, guarded; what it leaves
/// is written.
pub async fn change<R>(
    cx: &Context,
    id: Option<&str>,
    mut change: impl FnMut(&mut Txn, &mut Secret) -> Result<R, Fault>,
) -> Result<(Secret, R), Fault> {
    cx.transact(|txn| {
        let found = find(cx, txn.snapshot(), id)?;
        let found = txn.get::<Secret>(&found.name).ok_or_else(not_found)?;
        let mut secret = Secret::clone(&found);
        let result = change(txn, &mut secret)?;
        if secret != *found {
            txn.put(secret.clone());
        }
        Ok((secret, result))
    })
    .await
}

pub fn open(cx: &Context, secret: &Secret, version: &SecretVersion) -> Result<Value, Fault> {
    vault::open_secret(&cx.sealer, secret, version).map_err(|failure| {
        tracing::error!(secret = secret.name, %failure, "a secret can't be opened");
        ErrorCode::DecryptionFailure.fault(
            "Secrets Manager can't decrypt the protected secret text using the provided KMS key.",
        )
    })
}

/// Whether a version of this id is there already with the same value; another value is refused.
pub fn is_repeated(
    cx: &Context,
    snapshot: &Snapshot,
    secret: &Secret,
    id: &str,
    given: &Given,
) -> Result<bool, Fault> {
    let known = snapshot.get::<SecretVersion>(&secret_version_key(&secret.name, id));
    let Some(known) = known else { return Ok(false) };
    let same = known.is_binary == given.is_binary
        && open(cx, secret, &known)?.expose() == given.value.expose();
    match same {
        true => Ok(true),
        false => Err(ErrorCode::ResourceExistsException.fault(
            "You can't use this ClientRequestToken because a version with this token already \
             exists with another value.",
        )),
    }
}

/// Adds a version without a label, making room for it if there is none.
pub fn add_version(
    cx: &Context,
    txn: &mut Txn,
    secret: &Secret,
    id: &str,
    given: &Given,
) -> Result<(), Fault> {
    let now = cx.now();
    make_room(txn, secret, now)?;
    let sealed = cx.sealer.seal(&secret.seal_context(id), &given.value).map_err(|failure| {
        tracing::error!(secret = secret.name, %failure, "a secret can't be sealed");
        fault::internal(wire::Protocol::AwsJson11)
    })?;
    txn.put(SecretVersion {
        secret: secret.name.clone(),
        id: id.to_owned(),
        created_at: now,
        accessed_at: None,
        sealed_value: sealed.to_hex(),
        is_binary: given.is_binary,
    });
    Ok(())
}

/// Versions without a label go, the oldest first; those with one never do.
fn make_room(txn: &mut Txn, secret: &Secret, now: Timestamp) -> Result<(), Fault> {
    let snapshot = txn.snapshot().clone();
    let mut versions = versions(&snapshot, &secret.name);
    if versions.len() < VERSIONS_MAX {
        return Ok(());
    }
    versions.retain(|version| {
        let labeled = secret.stages.values().any(|at| *at == version.id);
        !labeled && now >= version.created_at.plus_seconds(UNLABELED_KEPT_SECONDS)
    });
    versions.sort_by_key(|version| version.created_at);
    let Some(oldest) = versions.first() else {
        let text = format!("The secret has {VERSIONS_MAX} versions, and none of them can go.");
        return Err(ErrorCode::LimitExceededException.fault(text));
    };
    txn.delete::<SecretVersion>(&secret_version_key(&secret.name, &oldest.id));
    Ok(())
}

pub fn versions(snapshot: &Snapshot, name: &str) -> Vec<Arc<SecretVersion>> {
    let prefix = secret_version_prefix(name);
    snapshot.scan::<SecretVersion>(&prefix).map(|(_, version)| version).collect()
}

/// Puts labels on a version; each is on one version only. What was current becomes previous.
pub fn label(secret: &mut Secret, version: &str, stages: &[String]) -> Result<(), Fault> {
    if stages.len() > STAGES_MAX {
        let text = format!("A version can have at most {STAGES_MAX} staging labels.");
        return Err(ErrorCode::LimitExceededException.fault(text));
    }
    for stage in stages {
        match stage.as_str() {
            CURRENT => secret.make_current(version),
            PREVIOUS if stages.iter().any(|stage| stage == CURRENT) => {}
            _ => {
                secret.stages.insert(stage.clone(), version.to_owned());
            }
        }
    }
    Ok(())
}

pub fn time(at: Timestamp) -> wire::Timestamp {
    wire::Timestamp::from_unix_ms(at.0)
}

/// The UTC day a moment is in.
pub fn day(at: Timestamp) -> Timestamp {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    Timestamp(at.0.div_euclid(DAY_MS) * DAY_MS)
}
