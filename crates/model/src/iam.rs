//! Roles and managed policies as IAM keeps them. They are stored and echoed; nothing is decided by
//! a policy yet.

use crate::document::Tags;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Role {
    /// As given; names are unique whatever their case.
    pub name: String,
    /// `AROA` and 17 upper-case letters and digits.
    pub id: String,
    /// `/`, or begins and ends with it.
    pub path: String,
    /// JSON as given: who may assume it.
    pub assume_role_policy: String,
    pub description: Option<String>,
    pub max_session_seconds: i64,
    pub permissions_boundary: Option<String>,
    /// ARNs of managed policies.
    pub attached: BTreeSet<String>,
    /// Inline policies, name to JSON as given.
    pub inline: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ManagedPolicy {
    pub arn: String,
    pub name: String,
    /// `ANPA` and 17 upper-case letters and digits.
    pub id: String,
    pub path: String,
    pub description: Option<String>,
    /// At most five, oldest first.
    pub versions: Vec<PolicyVersion>,
    /// A number of `versions`.
    pub default_version: u32,
    /// Never reused.
    pub newest_version: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// Shown as `v1`.
    pub number: u32,
    /// JSON as given.
    pub document: String,
    pub created_at: Timestamp,
}
