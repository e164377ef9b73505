//! Events in EventBridge's sense: that a task changed, what a service did, how a deployment goes.
//! They are derived from the records they tell of, in order, and kept for a while to be read.
//! Source: ECS developer guide, ecs_task_events, ecs_service_events, ecs_service_deployment_events.

use crate::ids::{ClusterName, DeploymentId, ServiceName};
use crate::task::Task;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EventLevel {
    Info,
    Warn,
    Error,
}

impl EventLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// What happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Happening {
    /// The task as it was then.
    Task(Arc<Task>),
    ServiceAction {
        cluster: ClusterName,
        service: ServiceName,
        /// As in `SERVICE_STEADY_STATE`.
        name: String,
        level: EventLevel,
        /// The text of the service's own event.
        reason: String,
    },
    Deployment {
        cluster: ClusterName,
        service: ServiceName,
        deployment: DeploymentId,
        /// As in `SERVICE_DEPLOYMENT_COMPLETED`.
        name: String,
        level: EventLevel,
        reason: String,
        updated_at: Timestamp,
    },
}

impl Happening {
    /// AWS's `detail-type`.
    pub fn detail_type(&self) -> &'static str {
        match self {
            Self::Task(_) => "ECS Task State Change",
            Self::ServiceAction { .. } => "ECS Service Action",
            Self::Deployment { .. } => "ECS Deployment State Change",
        }
    }
}

/// Writer: the events reconciler.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the stream.
    pub sequence: u64,
    /// A UUID.
    pub id: String,
    /// What of the record it tells of, so that nothing is told twice.
    pub subject: String,
    pub at: Timestamp,
    pub happening: Happening,
}

/// Up to where the records have been told. Writer: the events reconciler.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EventCursor {
    /// The last event's.
    pub sequence: u64,
    /// Of the store: what was written later may be untold.
    pub revision: u64,
}
