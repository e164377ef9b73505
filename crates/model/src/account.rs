//! Who may call, and the account's settings.

use crate::ids::AccessKeyId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A key that signs calls. The secret is sealed by `store::secret`; only the sealed form is ever
/// stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AccessKey {
    pub id: AccessKeyId,
    pub sealed_secret: String,
    /// The ARN of who signs with it.
    pub principal_arn: String,
    /// What GetCallerIdentity calls `UserId`.
    pub user_id: String,
    pub created_at: Timestamp,
    pub active: bool,
}

/// One ECS account setting. `principal_arn` of None is the account's default.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AccountSetting {
    pub name: String,
    pub principal_arn: Option<String>,
    pub value: String,
}

/// What a call with a client token did, so that its repetition answers the same and does nothing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClientToken {
    /// The operation and what it is scoped to, as in `RunTask/default`.
    pub scope: String,
    pub token: String,
    /// SHA-256 over the request's parameters, hexadecimal.
    pub fingerprint: String,
    /// The ids of what the call made.
    pub resources: Vec<String>,
    pub expires_at: Timestamp,
}
