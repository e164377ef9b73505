//! The things that have tags, by ARN: clusters, services, tasks and task definitions.

use super::{names, service};
use crate::context::Context;
use crate::fault::{Fault, cluster_not_found, invalid_parameter};
use crate::tagging;
use model::cluster::{Cluster, ClusterStatus};
use model::service::Service;
use model::task::Task;
use model::task_definition::TaskDefinition;
use model::{ClusterName, Tags};
use store::kinds::{service_key, task_definition_key, task_key};
use store::{Snapshot, Txn};
use wire::ecs::ErrorCode;

/// What an ARN means, with its key in the store.
#[derive(Debug)]
pub enum Tagged {
    Cluster(ClusterName),
    Service(String),
    Task(String),
    TaskDefinition(String),
}

fn not_found(what: &str) -> Fault {
    let text = format!("The specified {what} was not found. Specify a valid {what} and try again.");
    ErrorCode::ResourceNotFoundException.fault(text)
}

impl Tagged {
    pub fn read(cx: &Context, text: Option<&str>) -> Result<Self, Fault> {
        let text = text.unwrap_or("");
        let arn = names::ours(&cx.locality, text)?;
        match arn.kind_and_rest() {
            Some(("cluster", _)) => Ok(Self::Cluster(names::cluster(&cx.locality, Some(text))?)),
            Some(("service", rest)) => {
                let cluster = rest.split_once('/').map_or(names::DEFAULT_CLUSTER, |(name, _)| name);
                let cluster = ClusterName::from(cluster);
                let name = service::name(&cx.locality, &cluster, Some(text))?;
                Ok(Self::Service(service_key(&cluster, &name)))
            }
            Some(("task", rest)) => {
                let cluster = rest.split_once('/').map_or(names::DEFAULT_CLUSTER, |(name, _)| name);
                let cluster = ClusterName::from(cluster);
                let id = names::task(&cx.locality, &cluster, text)?;
                Ok(Self::Task(task_key(&cluster, &id)))
            }
            Some(("task-definition", _)) => {
                let name = names::task_definition(&cx.locality, text)?;
                let revision = name.revision.ok_or_else(|| not_found("task definition"))?;
                Ok(Self::TaskDefinition(task_definition_key(&name.family, revision)))
            }
            Some((kind, _)) => Err(invalid_parameter(format!("Unsupported resource type: {kind}"))),
            None => Err(invalid_parameter("Invalid identifier: Unexpected number of separators")),
        }
    }

    pub fn tags(&self, snapshot: &Snapshot) -> Result<Tags, Fault> {
        match self {
            Self::Cluster(name) => snapshot
                .get::<Cluster>(name.as_str())
                .map(|found| found.tags.clone())
                .ok_or_else(cluster_not_found),
            Self::Service(key) => snapshot
                .get::<Service>(key)
                .map(|found| found.tags.clone())
                .ok_or_else(|| not_found("service")),
            Self::Task(key) => snapshot
                .get::<Task>(key)
                .map(|found| found.tags.clone())
                .ok_or_else(|| not_found("task")),
            Self::TaskDefinition(key) => snapshot
                .get::<TaskDefinition>(key)
                .map(|found| found.tags.clone())
                .ok_or_else(|| not_found("task definition")),
        }
    }

    /// Changes the tags within a transaction.
    pub fn change(
        &self,
        txn: &mut Txn,
        change: impl FnOnce(&mut Tags) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match self {
            Self::Cluster(name) => {
                let found = txn.get::<Cluster>(name.as_str()).ok_or_else(cluster_not_found)?;
                if found.status != ClusterStatus::Active {
                    let text = "The specified cluster is inactive. Specify an active cluster and \
                                try again.";
                    return Err(invalid_parameter(text));
                }
                tagging::change(txn, &*found, change)
            }
            Self::Service(key) => {
                let found = txn.get::<Service>(key).ok_or_else(|| not_found("service"))?;
                tagging::change(txn, &*found, change)
            }
            Self::Task(key) => {
                let found = txn.get::<Task>(key).ok_or_else(|| not_found("task"))?;
                tagging::change(txn, &*found, change)
            }
            Self::TaskDefinition(key) => {
                let found = txn.get::<TaskDefinition>(key);
                let found = found.ok_or_else(|| not_found("task definition"))?;
                tagging::change(txn, &*found, change)
            }
        }
    }
}
