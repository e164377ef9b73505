//! A service: a wish for N running tasks of one template, and how far that wish has come true. Two
//! records, as they have two writers: `Service` is what the callers of the API want, written by the
//! frontend; `ServiceProgress` is what the service reconciler has made of it: deployments, failures
//! counted, events. A deployment begins by the frontend naming a new one in `Service::wanted`; what
//! becomes of it, also a rollback, stands in the progress only.

use crate::cluster::CapacityProviderStrategyItem;
use crate::document::{Document, Tags};
use crate::facts::TargetFact;
use crate::ids::{
    ClusterName, DeploymentId, Digest, Family, ServiceName, TargetGroupId, TaskDefinitionRevision,
    TaskId,
};
use crate::task::NetworkRequest;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ServiceStatus {
    Active,
    /// Deleted, with tasks that may still be ending.
    Draining,
    /// Deleted and gone; stays describable for a while, as on AWS.
    Inactive,
}

impl ServiceStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PropagateTags {
    TaskDefinition,
    Service,
}

/// How a rollout may proceed. Source: API reference, DeploymentConfiguration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeploymentRules {
    /// Of the desired count; rounded down.
    pub maximum_percent: u32,
    /// Of the desired count; rounded up.
    pub minimum_healthy_percent: u32,
    pub circuit_breaker: bool,
    pub rollback: bool,
    /// The members that are echoed and decide nothing (alarms, hooks).
    pub document: Document,
}

/// What the tasks of one deployment are made of: AWS's service revision.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServiceTemplate {
    pub family: Family,
    pub revision: TaskDefinitionRevision,
    /// None when a strategy was given.
    pub launch_type: Option<String>,
    pub strategy: Vec<CapacityProviderStrategyItem>,
    pub platform_version: String,
    pub network: NetworkRequest,
    pub enable_execute_command: bool,
    pub load_balancers: Vec<ServiceLoadBalancer>,
    pub registries: Vec<ServiceRegistryLink>,
    /// Its part in Service Connect, as it will be echoed; nothing is proxied yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Document>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceLoadBalancer {
    pub target_group_arn: String,
    pub container_name: String,
    pub container_port: u16,
}

impl ServiceLoadBalancer {
    /// `arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/0123456789abcdef`.
    pub fn group(&self) -> TargetGroupId {
        let arn = self.target_group_arn.as_str();
        TargetGroupId::from(arn.rsplit_once('/').map_or(arn, |(_, id)| id))
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceRegistryLink {
    pub registry_arn: String,
    pub port: Option<u16>,
    pub container_name: Option<String>,
    pub container_port: Option<u16>,
}

/// A deployment as it was asked for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WantedDeployment {
    pub id: DeploymentId,
    /// The number of the service revision, 19 digits.
    pub revision_number: u64,
    pub template: Arc<ServiceTemplate>,
    pub asked_at: Timestamp,
}

/// The wish to give a deployment up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Abort {
    pub deployment: DeploymentId,
    /// Back to the newest complete deployment; else the service stays as it is.
    pub rollback: bool,
}

/// What callers want. Writer: frontend.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    pub cluster: ClusterName,
    /// `Active` or `Draining`; a service that is drained is Inactive by its progress.
    pub status: ServiceStatus,
    pub desired_count: u32,
    pub wanted: WantedDeployment,
    pub rules: DeploymentRules,
    pub health_check_grace_period_seconds: Option<u32>,
    pub az_rebalancing: bool,
    pub propagate_tags: Option<PropagateTags>,
    pub enable_managed_tags: bool,
    pub tags: Tags,
    pub created_at: Timestamp,
    /// The ARN of who created it.
    pub created_by: String,
    /// A deployment that is to be given up, as StopServiceDeployment asked.
    #[serde(default)]
    pub abort: Option<Abort>,
    /// The client token of its creation with the call's fingerprint; a repetition is no error.
    pub client_token: Option<(String, String)>,
}

impl Service {
    /// The group of its tasks.
    pub fn group(&self) -> String {
        format!("{SERVICE_GROUP_PREFIX}{}", self.name)
    }
}

/// What the groups of services' tasks begin with.
pub const SERVICE_GROUP_PREFIX: &str = "service:";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Rollout {
    InProgress,
    Completed,
    Failed,
}

impl Rollout {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

/// A deployment and how far it has come.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Deployment {
    pub id: DeploymentId,
    pub revision_number: u64,
    pub template: Arc<ServiceTemplate>,
    pub rollout: Rollout,
    pub rollout_reason: String,
    /// Whether it ever was complete: what can be rolled back to.
    pub was_completed: bool,
    /// Tasks that never ran, all told.
    pub failed_tasks: u32,
    /// Of them, those since a task last was healthy: what the breaker and the delay go by.
    pub failed_in_a_row: u32,
    pub last_failure_at: Option<Timestamp>,
    /// Tasks whose end has been counted and that are still on record.
    pub counted: BTreeSet<TaskId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// Set when this deployment was given up for another.
    pub rolled_back_to: Option<DeploymentId>,
    /// What its containers' images are, by container, as its first task found them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, Digest>,
}

/// Tasks more than are wanted, started in zones that had too few; when they are healthy, as many
/// go where there are too many.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rebalance {
    pub tasks: BTreeSet<TaskId>,
    pub begun_at: Timestamp,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServiceEvent {
    /// A UUID.
    pub id: String,
    pub at: Timestamp,
    pub message: String,
}

/// How far a service has come. Writer: the service reconciler.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServiceProgress {
    pub name: ServiceName,
    pub cluster: ClusterName,
    /// Rises with every plan that was carried out, so that no plan is carried out twice.
    pub generation: u64,
    /// The primary first, then those that still have tasks, the newest first.
    pub deployments: Vec<Deployment>,
    /// Those that are over, the newest first.
    pub finished: Vec<Deployment>,
    /// The newest first.
    pub events: Vec<ServiceEvent>,
    /// Whether the last word of the events is that all is steady.
    pub steady: bool,
    /// What the events have told of the targets of its tasks that are still on record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets_told: BTreeMap<TaskId, TargetFact>,
    #[serde(default)]
    pub rebalance: Option<Rebalance>,
    /// When the last one was over, however it went.
    #[serde(default)]
    pub rebalanced_at: Option<Timestamp>,
    pub inactive_at: Option<Timestamp>,
}

impl ServiceProgress {
    pub fn new(service: &Service) -> Self {
        Self {
            name: service.name.clone(),
            cluster: service.cluster.clone(),
            generation: 0,
            deployments: Vec::new(),
            finished: Vec::new(),
            events: Vec::new(),
            steady: false,
            targets_told: BTreeMap::new(),
            rebalance: None,
            rebalanced_at: None,
            inactive_at: None,
        }
    }

    pub fn primary(&self) -> Option<&Deployment> {
        self.deployments.first()
    }

    /// Whether this deployment has ever been taken up.
    pub fn knows(&self, id: &DeploymentId) -> bool {
        self.deployments.iter().chain(&self.finished).any(|known| &known.id == id)
    }
}
