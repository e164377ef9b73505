//! Who calls: every request carries a signature, and it is checked before anything else is
//! believed. An unknown key and a wrong signature are answered alike and cost alike, so that nobody
//! learns which keys exist.

mod keys;
mod session;

pub use keys::Keys;
pub use session::{unique_id, user_id as unique_id_of};

use crate::context::{Caller, Context};
use model::account::AccessKey;
use model::arn::Locality;
use model::{AccessKeyId, Timestamp};
use store::secret::{Sealer, Secret, SecretFailure};
use wire::RequestParts;
use wire::sigv4::{self, Accepted, PathStyle, SecretKey, SignatureFault, SigningKey};

/// Where the global services' clients sign for, wherever they are.
const GLOBAL_REGION: &str = "us-east-1";
const GLOBAL_SERVICES: [&str; 2] = ["iam", "sts"];

/// A request whose signature holds.
#[derive(Debug)]
pub struct Signed {
    pub caller: Caller,
    /// The service in the signature's scope.
    pub service: String,
}

pub fn verify(
    cx: &Context,
    keys: &Keys,
    parts: &RequestParts<'_>,
    body: &[u8],
) -> Result<Signed, SignatureFault> {
    let claim = sigv4::parse(parts)?;
    let ours = cx.locality.region.as_str();
    let both = [ours, GLOBAL_REGION];
    let global = GLOBAL_SERVICES.contains(&claim.scope.service.as_str());
    let accepted = Accepted {
        regions: Some(if global { &both } else { &both[..1] }),
        services: None,
        path_style: PathStyle::Normalized,
        unsigned_payload: false,
    };
    let now = wire::Timestamp::from_unix_ms(cx.now().0);
    let snapshot = cx.store.snapshot();
    if let Some(token) = &claim.session_token {
        let (said, secret) = session::open(cx, &claim, token.expose())?;
        let key = SigningKey::derive(&SecretKey::new(secret.expose()), &claim.scope);
        claim.verify(parts, body, &key, now, &accepted)?;
        session::check(&snapshot, &said, cx.now())?;
        let principal_arn = said.principal_arn(cx.locality.account.as_str());
        return Ok(Signed {
            caller: Caller {
                user_id: session::user_id(cx, &snapshot, &said).into(),
                access_key: said.access_key,
                principal_arn: principal_arn.into(),
                host: host(parts),
            },
            service: claim.scope.service,
        });
    }
    let found = snapshot.get::<AccessKey>(&claim.access_key_id);
    let record = found.as_ref().map(|found| &*found.value).filter(|record| record.active);
    let candidate = keys.signing_key(&cx.sealer, record, &claim.scope);
    if let Err(fault) = claim.verify(parts, body, &candidate.key, now, &accepted) {
        Keys::spend(&claim.scope, &candidate);
        return Err(fault);
    }
    // A signature under the decoy key never holds; this is what says so if it did.
    let record = record.ok_or(SignatureFault::Mismatch)?;
    keys.keep(record, &claim.scope, &candidate);
    Ok(Signed {
        caller: Caller {
            access_key: record.id.clone(),
            principal_arn: record.principal_arn.as_str().into(),
            user_id: record.user_id.as_str().into(),
            host: host(parts),
        },
        service: claim.scope.service,
    })
}

fn host(parts: &RequestParts<'_>) -> std::sync::Arc<str> {
    parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("").into()
}

/// The service that the signature's scope claims, before anything is verified: only for choosing
/// the form of a refusal.
pub fn claimed_service(parts: &RequestParts<'_>) -> Option<String> {
    sigv4::parse(parts).ok().map(|claim| claim.scope.service)
}

/// What a key's secret is sealed with, so that it can't be moved to another key.
fn seal_context(id: &AccessKeyId) -> String {
    format!("access-key/{id}")
}

/// The record of an access key of the account's root user, to be put into the store.
pub fn root_access_key(
    locality: &Locality,
    sealer: &Sealer,
    id: AccessKeyId,
    secret: &Secret,
    now: Timestamp,
) -> Result<AccessKey, SecretFailure> {
    let sealed = sealer.seal(&seal_context(&id), secret)?;
    Ok(AccessKey {
        sealed_secret: sealed.to_hex(),
        principal_arn: locality.root_principal(),
        user_id: locality.account.to_string(),
        created_at: now,
        active: true,
        id,
    })
}
