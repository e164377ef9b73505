//! How a machine becomes an instance of a control plane elsewhere (ADR 0019). A join token, shown
//! once to an operator, proves a machine's first call; from then on it is known by a certificate.
//! Certificates are written down, so that an instance can be forgotten: what is not written down,
//! or was revoked, opens nothing, whoever signed it.

use crate::credentials::Hidden;
use crate::ids::InstanceId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JoinToken {
    pub id: String,
    /// Of the part that nobody but its holder knows.
    pub secret_sha256: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// How many machines may join with it.
    pub uses_max: u32,
    /// Those that did, by their public key's SHA-256: who lost the answer may ask again.
    pub used: BTreeMap<String, InstanceId>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AgentCertificate {
    /// SHA-256 of the certificate.
    pub fingerprint: String,
    pub instance: InstanceId,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// Set when the instance was forgotten.
    pub revoked_at: Option<Timestamp>,
}

/// What a machine asks for, in a frame of its own before anything else is said.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    pub protocol: u32,
    /// None: an instance whose certificate is about to end asks for a new one.
    pub token: Option<TokenProof>,
    /// A point of P-256 in hexadecimal digits, uncompressed.
    pub public_key: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TokenProof {
    pub id: String,
    pub secret: Hidden,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum JoinAnswer {
    Joined { instance: InstanceId, certificate_pem: String, expires_at: Timestamp },
    Refused { reason: String },
}
