//! Who may be an instance: tokens that let a machine join, and the certificates it is known by from
//! then on (ADR 0019). Secrets and certificates come in as SHA-256; whoever holds the connection
//! does the cryptography.

use crate::Context;
use model::InstanceId;
use model::instance::{Instance, InstanceState};
use model::join::{AgentCertificate, JoinToken};
use store::TransactFailure;

#[derive(Debug, thiserror::Error)]
pub enum JoinFailure {
    #[error("the token is not known here: make one with `neargate token`")]
    UnknownToken,
    #[error("the token has expired: make a new one with `neargate token`")]
    ExpiredToken,
    #[error("the token was used as often as it may be: make a new one with `neargate token`")]
    UsedToken,
    #[error("this instance was forgotten")]
    Revoked,
}

/// Whose certificate it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Certified {
    Instance(InstanceId),
    /// An operator has forgotten the instance.
    Forgotten(InstanceId),
    Unknown,
}

/// Lets a machine in. The same machine may ask again with the same token, if the answer was lost.
pub async fn join(
    cx: &Context,
    token: &str,
    secret_sha256: &str,
    public_key_sha256: &str,
) -> Result<InstanceId, TransactFailure<JoinFailure>> {
    let (now, random) = (cx.now(), cx.random());
    let joined = cx.store.transact(|txn| {
        let known =
            txn.get::<JoinToken>(token).filter(|known| known.secret_sha256 == secret_sha256);
        let known = known.ok_or(JoinFailure::UnknownToken)?;
        if known.expires_at <= now {
            return Err(JoinFailure::ExpiredToken);
        }
        if let Some(before) = known.used.get(public_key_sha256) {
            return Ok(before.clone());
        }
        if known.used.len() >= usize::try_from(known.uses_max).unwrap_or(usize::MAX) {
            return Err(JoinFailure::UsedToken);
        }
        let instance = InstanceId::mint(random);
        let mut used = (*known).clone();
        used.used.insert(public_key_sha256.to_owned(), instance.clone());
        txn.put(used);
        Ok(instance)
    });
    joined.await.map(|(instance, _)| instance)
}

/// Writes a certificate down, which makes it good for something. One that takes another's place
/// does so only if that is good itself.
pub async fn certify(
    cx: &Context,
    certificate: AgentCertificate,
    renewed: Option<String>,
) -> Result<(), TransactFailure<JoinFailure>> {
    let written = cx.store.transact(|txn| {
        if let Some(renewed) = &renewed {
            let known = txn.get::<AgentCertificate>(renewed);
            if known.is_none_or(|known| known.revoked_at.is_some()) {
                return Err(JoinFailure::Revoked);
            }
        }
        txn.put(certificate.clone());
        Ok(())
    });
    written.await.map(|_| ())
}

pub fn certified(cx: &Context, fingerprint: &str) -> Certified {
    let snapshot = cx.store.snapshot();
    let Some(known) = snapshot.get::<AgentCertificate>(fingerprint) else {
        return Certified::Unknown;
    };
    let instance = snapshot.get::<Instance>(known.instance.as_str());
    let forgotten = instance.is_some_and(|found| found.state == InstanceState::Forgotten);
    match forgotten || known.revoked_at.is_some() {
        true => Certified::Forgotten(known.instance.clone()),
        false => Certified::Instance(known.instance.clone()),
    }
}
