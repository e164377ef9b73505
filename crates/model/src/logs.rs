//! CloudWatch Logs' groups and streams. The events themselves are not state: `store::logs` keeps
//! them.

use crate::document::Tags;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LogGroup {
    pub name: String,
    pub created_at: Timestamp,
    /// None keeps events for ever.
    pub retention_days: Option<u32>,
    /// STANDARD, INFREQUENT_ACCESS or DELIVERY.
    pub class: String,
    pub kms_key_id: Option<String>,
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LogStream {
    pub group: String,
    pub name: String,
    pub created_at: Timestamp,
}
