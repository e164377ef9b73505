//! DeleteCluster: an empty cluster becomes INACTIVE. A scan for tasks and services is not guarded
//! by a transaction, so it is made twice: before, to refuse without doing anything; and after the
//! cluster took its new status, when no RunTask can add to it any more. Should one have slipped in
//! between, the cluster is given back.

use super::{clusters, names, service};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::ClusterName;
use model::cluster::{Cluster, ClusterStatus};
use model::facts::TaskStatus;
use model::task::Task;
use store::Snapshot;
use store::kinds::task_prefix;
use wire::ecs::{DeleteClusterRequest, DeleteClusterResponse, ErrorCode};

pub async fn delete_cluster(
    cx: &Context,
    _caller: &Caller,
    input: DeleteClusterRequest,
) -> Result<DeleteClusterResponse, Fault> {
    let name = names::cluster(&cx.locality, input.cluster.as_deref())?;
    let deleted = cx
        .transact(|txn| {
            let mut cluster = (*clusters::active_in(txn, &name)?).clone();
            empty(txn.snapshot(), &name)?;
            cluster.status = ClusterStatus::Inactive;
            txn.put(cluster.clone());
            Ok(cluster)
        })
        .await?;
    let snapshot = cx.store.snapshot();
    if let Err(fault) = empty(&snapshot, &name) {
        give_back(cx, &deleted).await?;
        return Err(fault);
    }
    let shown = clusters::show(cx, &snapshot, &deleted, clusters::Shown::CHANGED);
    Ok(DeleteClusterResponse { cluster: Some(shown) })
}

fn empty(snapshot: &Snapshot, cluster: &ClusterName) -> Result<(), Fault> {
    if service::count(snapshot, cluster) > 0 {
        let text = "The Cluster cannot be deleted while Services are active.";
        return Err(ErrorCode::ClusterContainsServicesException.fault(text));
    }
    if has_tasks(snapshot, cluster) { Err(contains_tasks()) } else { Ok(()) }
}

fn has_tasks(snapshot: &Snapshot, cluster: &ClusterName) -> bool {
    let prefix = task_prefix(cluster);
    let mut tasks = snapshot.scan::<Task>(&prefix);
    tasks.any(|(_, task)| task.last_status() != TaskStatus::Stopped)
}

fn contains_tasks() -> Fault {
    let text = "The Cluster cannot be deleted while Tasks are active.";
    ErrorCode::ClusterContainsTasksException.fault(text)
}

/// Only what we made of it is undone: a cluster that somebody has made anew meanwhile stays theirs.
async fn give_back(cx: &Context, deleted: &Cluster) -> Result<(), Fault> {
    cx.transact(|txn| {
        if txn.get::<Cluster>(deleted.name.as_str()).as_deref() == Some(deleted) {
            txn.put(Cluster { status: ClusterStatus::Active, ..deleted.clone() });
        }
        Ok(())
    })
    .await
}
