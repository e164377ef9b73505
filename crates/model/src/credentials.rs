//! Short-lived credentials. There is no record of them: what they say (whose role, for which task,
//! until when) is sealed into the session token itself, and who is shown a token opens it. The
//! secret follows from the same statement, so nothing about a session is ever stored.

use crate::ids::{AccessKeyId, ClusterName, TaskId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a session token says, sealed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SessionStatement {
    pub access_key: AccessKeyId,
    /// `arn:aws:iam::ACCOUNT:role/…`.
    pub role_arn: String,
    /// The last part of `assumed-role/ROLE/SESSION`; a task's id for a task.
    pub session_name: String,
    pub origin: SessionOrigin,
    pub expires_at: Timestamp,
}

/// Why a session is, and so when it ends before its time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SessionOrigin {
    /// A task's role: good while the task's containers live.
    Task { cluster: ClusterName, task: TaskId },
    /// AssumeRole: good while the role, under this unique id, exists.
    AssumedRole { role: String, role_id: String },
}

impl SessionStatement {
    /// The last part of the role's ARN: its name without its path.
    pub fn role_name(&self) -> &str {
        self.role_arn.rsplit('/').next().unwrap_or(&self.role_arn)
    }

    /// Who signs with it, as STS says it. Source: STS, GetCallerIdentity.
    pub fn principal_arn(&self, account: &str) -> String {
        format!("arn:aws:sts::{account}:assumed-role/{}/{}", self.role_name(), self.session_name)
    }
}

/// Text that Debug does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that must have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hidden(..)")
    }
}

/// A session's keys as they are handed out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SessionKeys {
    pub role_arn: String,
    pub access_key: AccessKeyId,
    pub secret: Hidden,
    pub token: Hidden,
    pub expires_at: Timestamp,
}

/// How long a task role's keys last, in seconds. Source: developer guide, task-iam-roles.
pub const TASK_ROLE_SECONDS: i64 = 6 * 3600;
/// Keys with less than this left, in seconds, are never handed out while new ones can be had.
pub const TASK_ROLE_LEFT_SECONDS_MIN: i64 = 15 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_as_sts_does_and_keys_are_not_printed() {
        let statement = SessionStatement {
            access_key: AccessKeyId::from("ASIA0000000000000000"),
            role_arn: "arn:aws:iam::000000000000:role/service/web".to_owned(),
            session_name: "0123".to_owned(),
            origin: SessionOrigin::Task {
                cluster: ClusterName::from("default"),
                task: TaskId::from("0123"),
            },
            expires_at: Timestamp(0),
        };
        let arn = "arn:aws:sts::000000000000:assumed-role/web/0123";
        assert_eq!(statement.principal_arn("000000000000"), arn);
        assert_eq!(format!("{:?}", Hidden::new("s3cret")), "Hidden(..)");
    }
}
