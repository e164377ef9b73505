//! Application Auto Scaling of services: a scalable target bounds a service's desired count, its
//! policies and scheduled actions move it. Policies and actions are what callers want; what has
//! come of them stands in `ScalingProgress`. Source: Application Auto Scaling user guide and API
//! reference.

use crate::arn::Locality;
use crate::document::{Document, Tags};
use crate::ids::{ClusterName, ServiceName};
use crate::metrics::{MetricKey, Statistic};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The only dimension of services there is.
pub const DIMENSION: &str = "ecs:service:DesiredCount";
pub const NAMESPACE: &str = "ecs";

/// `service/CLUSTER/SERVICE`: what a scalable target is called.
pub fn resource_id(cluster: &ClusterName, service: &ServiceName) -> String {
    format!("service/{cluster}/{service}")
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Suspended {
    pub scale_in: bool,
    pub scale_out: bool,
    pub scheduled: bool,
}

/// Writers: frontend; the scaling reconciler, when a scheduled action sets the bounds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScalableTarget {
    pub cluster: ClusterName,
    pub service: ServiceName,
    /// What its ARN ends with.
    pub id: String,
    pub min_capacity: u32,
    pub max_capacity: u32,
    pub suspended: Suspended,
    pub tags: Tags,
    pub created_at: Timestamp,
}

impl ScalableTarget {
    pub fn resource_id(&self) -> String {
        resource_id(&self.cluster, &self.service)
    }

    pub fn arn(&self, locality: &Locality) -> String {
        locality.arn("application-autoscaling", &format!("scalable-target/{}", self.id))
    }
}

/// What a target-tracking policy keeps at its target.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum TrackedMetric {
    Cpu,
    Memory,
    /// Requests per target of a target group, each minute. `app/NAME/ID/targetgroup/NAME/ID`.
    RequestsPerTarget {
        label: String,
    },
    Custom {
        metric: MetricKey,
        statistic: Statistic,
    },
    /// Metric math: kept, and echoed; nothing is computed of it.
    Expression,
}

impl TrackedMetric {
    /// The metric and the statistic of each minute that is compared with the target.
    pub fn metric(
        &self,
        cluster: &ClusterName,
        service: &ServiceName,
    ) -> Option<(MetricKey, Statistic)> {
        let of_service = |name: &str| {
            let dimensions = [("ClusterName", cluster.as_str()), ("ServiceName", service.as_str())];
            MetricKey::new("AWS/ECS", name, &dimensions)
        };
        match self {
            Self::Cpu => Some((of_service("CPUUtilization"), Statistic::Average)),
            Self::Memory => Some((of_service("MemoryUtilization"), Statistic::Average)),
            Self::RequestsPerTarget { label } => {
                let (_, group) = label.split_once("/targetgroup/")?;
                let group = format!("targetgroup/{group}");
                let dimensions = [("TargetGroup", group.as_str())];
                let key =
                    MetricKey::new("AWS/ApplicationELB", "RequestCountPerTarget", &dimensions);
                Some((key, Statistic::Sum))
            }
            Self::Custom { metric, statistic } => Some((metric.clone(), *statistic)),
            Self::Expression => None,
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TargetTracking {
    pub metric: TrackedMetric,
    pub target: f64,
    pub out_cooldown_seconds: u32,
    pub in_cooldown_seconds: u32,
    pub disable_scale_in: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Adjustment {
    By,
    ByPercent,
    To,
}

/// Bounds are distances from the alarm's threshold.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    pub adjustment: i32,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepScaling {
    pub adjustment: Adjustment,
    pub steps: Vec<Step>,
    pub min_magnitude: Option<u32>,
    pub cooldown_seconds: u32,
    /// Of the alarm's metric over its period.
    pub aggregation: Statistic,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum PolicyRule {
    TargetTracking(TargetTracking),
    Step(StepScaling),
}

/// Writer: frontend.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScalingPolicy {
    pub name: String,
    pub cluster: ClusterName,
    pub service: ServiceName,
    /// A UUID, part of its ARN.
    pub id: String,
    pub rule: PolicyRule,
    /// The configuration as it will be echoed.
    pub document: Document,
    /// The names of the alarms that target tracking made for itself.
    pub alarms: Vec<String>,
    pub created_at: Timestamp,
}

impl ScalingPolicy {
    pub fn arn(&self, locality: &Locality) -> String {
        let resource = resource_id(&self.cluster, &self.service);
        let rest = format!(
            "scalingPolicy:{}:resource/{NAMESPACE}/{resource}:policyName/{}",
            self.id, self.name
        );
        locality.arn("autoscaling", &rest)
    }
}

/// Writer: frontend.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScheduledAction {
    pub name: String,
    pub cluster: ClusterName,
    pub service: ServiceName,
    /// A UUID, part of its ARN.
    pub id: String,
    /// `at(…)`, `cron(…)` or `rate(…)`, checked.
    pub schedule: String,
    pub timezone: Option<String>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub min_capacity: Option<u32>,
    pub max_capacity: Option<u32>,
    pub created_at: Timestamp,
}

impl ScheduledAction {
    pub fn arn(&self, locality: &Locality) -> String {
        let resource = resource_id(&self.cluster, &self.service);
        let rest = format!(
            "scheduledAction:{}:resource/{NAMESPACE}/{resource}:scheduledActionName/{}",
            self.id, self.name
        );
        locality.arn("autoscaling", &rest)
    }
}

/// Something that was done about a service's count.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScalingActivity {
    /// A UUID.
    pub id: String,
    pub description: String,
    pub cause: String,
    pub message: String,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
}

/// A change of the desired count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scaled {
    pub at: Timestamp,
    pub from: u32,
    pub to: u32,
    /// Until when no other may follow.
    pub until: Timestamp,
}

/// How far scaling has come. Writer: the scaling reconciler.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScalingProgress {
    pub cluster: ClusterName,
    pub service: ServiceName,
    pub scaled_out: Option<Scaled>,
    pub scaled_in: Option<Scaled>,
    /// The bounds that the count was last brought into: others are to be enforced at once. Within
    /// them it may be set by hand to what lies outside.
    pub enforced: Option<(u32, u32)>,
    /// When each scheduled action last ran, by name.
    pub ran: BTreeMap<String, Timestamp>,
    /// The newest first.
    pub activities: Vec<ScalingActivity>,
}

/// Activities of a service that are kept. AWS keeps six weeks.
pub const ACTIVITIES_MAX: usize = 100;

impl ScalingProgress {
    pub fn new(target: &ScalableTarget) -> Self {
        Self {
            cluster: target.cluster.clone(),
            service: target.service.clone(),
            scaled_out: None,
            scaled_in: None,
            enforced: None,
            ran: BTreeMap::new(),
            activities: Vec::new(),
        }
    }
}
