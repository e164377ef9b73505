//! Clusters: how one is found, checked and shown.

use super::{names, service, strategy};
use crate::context::Context;
use crate::fault::{Fault, cluster_not_found, invalid_parameter};
use crate::tagging;
use model::cluster::{Cluster, ClusterStatus};
use model::facts::TaskStatus;
use model::task::Task;
use model::{ClusterName, Document};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::kinds::task_prefix;
use store::{Snapshot, Txn};
use wire::ecs;

/// The one setting a cluster has. Source: API reference, ClusterSetting.
pub const CONTAINER_INSIGHTS: &str = "containerInsights";
const CONTAINER_INSIGHTS_VALUES: [&str; 3] = ["enabled", "disabled", "enhanced"];

/// The active cluster of this name, given as name, ARN or not at all.
pub fn active(
    cx: &Context,
    snapshot: &Snapshot,
    given: Option<&str>,
) -> Result<Arc<Cluster>, Fault> {
    let name = names::cluster(&cx.locality, given)?;
    let found = snapshot.get::<Cluster>(name.as_str()).map(|found| found.value);
    found.filter(|cluster| cluster.status == ClusterStatus::Active).ok_or_else(cluster_not_found)
}

/// `active` within a transaction, which then depends on the cluster staying as it is.
pub fn active_in(txn: &mut Txn, name: &ClusterName) -> Result<Arc<Cluster>, Fault> {
    let found = txn.get::<Cluster>(name.as_str());
    found.filter(|cluster| cluster.status == ClusterStatus::Active).ok_or_else(cluster_not_found)
}

/// Checks settings and adds them to those there are.
pub fn read_settings(
    given: Option<Vec<ecs::ClusterSetting>>,
    settings: &mut BTreeMap<String, String>,
) -> Result<(), Fault> {
    for setting in given.unwrap_or_default() {
        let name = setting.name.as_ref().map_or("", |name| name.as_str());
        if name != CONTAINER_INSIGHTS {
            return Err(invalid_parameter(format!("Unknown cluster setting '{name}'.")));
        }
        let value = setting.value.unwrap_or_default();
        if !CONTAINER_INSIGHTS_VALUES.contains(&value.as_str()) {
            let values = CONTAINER_INSIGHTS_VALUES.join(",");
            return Err(invalid_parameter(format!("{name} should be one of [{values}]")));
        }
        settings.insert(name.to_owned(), value);
    }
    Ok(())
}

pub fn read_configuration(given: Option<&ecs::ClusterConfiguration>) -> Option<Document> {
    let json = serde_json::to_string(given?).expect("wire types have string keys only");
    Some(Document::new(json))
}

pub fn read_namespace(
    given: Option<ecs::ClusterServiceConnectDefaultsRequest>,
) -> Result<Option<String>, Fault> {
    match given.and_then(|defaults| defaults.namespace) {
        Some(namespace) if namespace.len() > 1024 => {
            Err(invalid_parameter("namespace length should be at most 1024"))
        }
        namespace => Ok(namespace.filter(|namespace| !namespace.is_empty())),
    }
}

/// What DescribeClusters leaves out unless it is asked for.
#[derive(Clone, Copy, Default)]
pub struct Shown {
    pub configuration: bool,
    pub settings: bool,
    pub statistics: bool,
    pub tags: bool,
}

impl Shown {
    /// What the calls that change a cluster answer with.
    pub const CHANGED: Self =
        Self { configuration: true, settings: true, statistics: false, tags: true };

    pub fn included(fields: Option<&[ecs::ClusterField]>) -> Self {
        let has = |field: ecs::ClusterField| fields.unwrap_or_default().contains(&field);
        Self {
            configuration: has(ecs::ClusterField::Configurations),
            settings: has(ecs::ClusterField::Settings),
            statistics: has(ecs::ClusterField::Statistics),
            tags: has(ecs::ClusterField::Tags),
        }
    }
}

#[derive(Default)]
struct Counts {
    running: i32,
    pending: i32,
}

fn count(snapshot: &Snapshot, cluster: &ClusterName) -> Counts {
    let mut counts = Counts::default();
    for (_, task) in snapshot.scan::<Task>(&task_prefix(cluster)) {
        match task.last_status() {
            TaskStatus::Running => counts.running += 1,
            TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating => {
                counts.pending += 1;
            }
            _ => {}
        }
    }
    counts
}

pub fn show(cx: &Context, snapshot: &Snapshot, cluster: &Cluster, shown: Shown) -> ecs::Cluster {
    let counts = count(snapshot, &cluster.name);
    let configuration = cluster.configuration.as_ref().filter(|_| shown.configuration);
    ecs::Cluster {
        cluster_arn: Some(cx.locality.cluster(&cluster.name)),
        cluster_name: Some(cluster.name.to_string()),
        status: Some(
            match cluster.status {
                ClusterStatus::Active => "ACTIVE",
                ClusterStatus::Inactive => "INACTIVE",
            }
            .to_owned(),
        ),
        registered_container_instances_count: Some(0),
        running_tasks_count: Some(counts.running),
        pending_tasks_count: Some(counts.pending),
        active_services_count: i32::try_from(service::count(snapshot, &cluster.name)).ok(),
        statistics: Some(if shown.statistics { statistics(&counts) } else { Vec::new() }),
        tags: Some(if shown.tags { tagging::show(&cluster.tags) } else { Vec::new() }),
        settings: Some(if shown.settings { settings(cluster) } else { Vec::new() }),
        configuration: configuration.map(|document| {
            serde_json::from_str(document.as_str()).expect("written by read_configuration")
        }),
        capacity_providers: Some(cluster.capacity_providers.clone()),
        default_capacity_provider_strategy: Some(strategy::show(
            &cluster.default_capacity_provider_strategy,
        )),
        service_connect_defaults: cluster.service_connect_namespace.as_ref().map(|namespace| {
            ecs::ClusterServiceConnectDefaults { namespace: Some(namespace.clone()) }
        }),
        ..Default::default()
    }
}

fn settings(cluster: &Cluster) -> Vec<ecs::ClusterSetting> {
    let pairs = cluster.settings.iter();
    pairs
        .map(|(name, value)| ecs::ClusterSetting {
            name: Some(name.as_str().into()),
            value: Some(value.clone()),
        })
        .collect()
}

/// Source: API reference, Cluster (statistics).
fn statistics(counts: &Counts) -> Vec<ecs::KeyValuePair> {
    [
        ("runningEC2TasksCount", 0),
        ("runningFargateTasksCount", counts.running),
        ("runningExternalTasksCount", 0),
        ("pendingEC2TasksCount", 0),
        ("pendingFargateTasksCount", counts.pending),
        ("pendingExternalTasksCount", 0),
        ("activeEC2ServiceCount", 0),
        ("activeFargateServiceCount", 0),
        ("activeExternalServiceCount", 0),
        ("drainingEC2ServiceCount", 0),
        ("drainingFargateServiceCount", 0),
        ("drainingExternalServiceCount", 0),
    ]
    .into_iter()
    .map(|(name, count)| ecs::KeyValuePair {
        name: Some(name.to_owned()),
        value: Some(count.to_string()),
    })
    .collect()
}

/// What describe calls say of a thing that is not there.
pub fn missing(arn: String) -> ecs::Failure {
    ecs::Failure { arn: Some(arn), reason: Some("MISSING".to_owned()), detail: None }
}

pub fn new(name: ClusterName, cx: &Context) -> Cluster {
    Cluster {
        name,
        status: ClusterStatus::Active,
        created_at: cx.now(),
        settings: BTreeMap::new(),
        configuration: None,
        service_connect_namespace: None,
        capacity_providers: Vec::new(),
        default_capacity_provider_strategy: Vec::new(),
        tags: BTreeMap::new(),
    }
}
