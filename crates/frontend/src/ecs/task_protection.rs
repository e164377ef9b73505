//! GetTaskProtection and UpdateTaskProtection: a task of a service may ask to be left alone by
//! scale-in and deployments for a while. Kept as one moment in the task, so that it ends by itself.
//! Source: API reference, UpdateTaskProtection; developer guide, task-scale-in-protection,
//! api_failures_messages.

use super::{clusters, names};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use model::facts::Desired;
use model::limits::DESCRIBE_IDS_MAX;
use model::task::Task;
use model::{ClusterName, TaskId, Timestamp};
use store::kinds::{task_key, task_prefix};
use wire::ecs::{
    Failure, GetTaskProtectionRequest, GetTaskProtectionResponse, ProtectedTask,
    UpdateTaskProtectionRequest, UpdateTaskProtectionResponse,
};

const MINUTES_DEFAULT: i32 = 120;
const MINUTES_MAX: i32 = 2_880;
const UPDATE_TASKS_MAX: usize = 10;

pub async fn get_task_protection(
    cx: &Context,
    _caller: &Caller,
    input: GetTaskProtectionRequest,
) -> Result<GetTaskProtectionResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let cluster = clusters::active(cx, &snapshot, input.cluster.as_deref())?.name.clone();
    let given = input.tasks.unwrap_or_default();
    let ids = match given.is_empty() {
        false => ids(cx, &cluster, &given, DESCRIBE_IDS_MAX)?,
        true => {
            let prefix = task_prefix(&cluster);
            let all = snapshot.scan::<Task>(&prefix);
            let valid = all.filter(|(_, task)| is_valid(task));
            valid.map(|(_, task)| task.id.clone()).take(DESCRIBE_IDS_MAX).collect()
        }
    };
    let (mut protected, mut failures) = (Vec::new(), Vec::new());
    for id in ids {
        match snapshot.get::<Task>(&task_key(&cluster, &id)) {
            Some(task) if is_valid(&task) => protected.push(show(cx, &task, cx.now())),
            found => failures.push(refuse(cx, &cluster, &id, found.is_some())),
        }
    }
    Ok(GetTaskProtectionResponse { failures: Some(failures), protected_tasks: Some(protected) })
}

pub async fn update_task_protection(
    cx: &Context,
    _caller: &Caller,
    input: UpdateTaskProtectionRequest,
) -> Result<UpdateTaskProtectionResponse, Fault> {
    let given = input.cluster.as_deref();
    let cluster = clusters::active(cx, &cx.store.snapshot(), given)?.name.clone();
    let given = input.tasks.unwrap_or_default();
    if given.is_empty() {
        return Err(invalid_parameter("Tasks cannot be empty."));
    }
    let ids = ids(cx, &cluster, &given, UPDATE_TASKS_MAX)?;
    let minutes = input.expires_in_minutes.unwrap_or(MINUTES_DEFAULT);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(invalid_parameter(format!(
            "expiresInMinutes should be between 1 and {MINUTES_MAX}"
        )));
    }
    let now = cx.now();
    let until = input.protection_enabled.unwrap_or(false);
    let until = until.then(|| now.plus_seconds(i64::from(minutes) * 60));
    let (protected, failures) = cx
        .transact(|txn| {
            let (mut protected, mut failures) = (Vec::new(), Vec::new());
            for id in &ids {
                let found = txn.get::<Task>(&task_key(&cluster, id));
                let Some(task) = found.as_ref().filter(|task| is_valid(task)) else {
                    failures.push(refuse(cx, &cluster, id, found.is_some()));
                    continue;
                };
                let mut task = (**task).clone();
                task.protected_until = until;
                protected.push(show(cx, &task, now));
                txn.put(task);
            }
            Ok((protected, failures))
        })
        .await?;
    Ok(UpdateTaskProtectionResponse { failures: Some(failures), protected_tasks: Some(protected) })
}

fn ids(
    cx: &Context,
    cluster: &ClusterName,
    given: &[String],
    max: usize,
) -> Result<Vec<TaskId>, Fault> {
    if given.len() > max {
        return Err(invalid_parameter(format!("tasks can have at most {max} items.")));
    }
    given.iter().map(|text| names::task(&cx.locality, cluster, text)).collect()
}

/// Only a service's tasks can be protected, and only while they are wanted.
fn is_valid(task: &Task) -> bool {
    task.group.starts_with("service:") && task.facts.desired_status() == Desired::Running
}

fn refuse(cx: &Context, cluster: &ClusterName, id: &TaskId, exists: bool) -> Failure {
    Failure {
        arn: Some(cx.locality.task(cluster, id)),
        detail: None,
        reason: Some(if exists { "TASK_NOT_VALID" } else { "MISSING" }.to_owned()),
    }
}

fn show(cx: &Context, task: &Task, now: Timestamp) -> ProtectedTask {
    let protected = task.is_protected(now);
    ProtectedTask {
        expiration_date: task.protected_until.filter(|_| protected).map(super::time),
        protection_enabled: Some(protected),
        task_arn: Some(cx.locality.task(&task.cluster, &task.id)),
    }
}
