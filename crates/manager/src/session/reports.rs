//! Reports become facts: each is folded into its task, many in one transaction, and acknowledged
//! once durable. A report of a session that has been superseded is refused, whatever it says.

use crate::Context;
use crate::limits::REPORTS_PER_COMMIT_MAX;
use crate::session::Connected;
use model::facts::{InterfaceFact, TaskStatus};
use model::instance::Instance;
use model::session::{TaskReport, ToAgent};
use model::task::Task;
use model::{InstanceId, TaskId};
use std::collections::BTreeSet;
use store::kinds::task_key;
use store::{TransactFailure, Txn};
use tokio::sync::mpsc;

#[derive(Debug, thiserror::Error)]
pub enum ReportFailure {
    #[error("a newer session of instance {0} has begun")]
    Superseded(InstanceId),
    #[error("reports could not be stored")]
    Store(#[source] Box<TransactFailure<std::convert::Infallible>>),
    #[error("the session is over")]
    SessionOver,
}

/// Numbers are the agent's; 0 stands for what came with its Hello.
pub type Numbered = (u64, TaskReport);

pub async fn keep_folding(
    cx: &Context,
    connected: &Connected,
    instance: &InstanceId,
    epoch: u64,
    inbox: &mut mpsc::Receiver<Numbered>,
    outbox: &mpsc::Sender<ToAgent>,
) -> ReportFailure {
    let mut group = Vec::new();
    loop {
        group.clear();
        if inbox.recv_many(&mut group, REPORTS_PER_COMMIT_MAX).await == 0 {
            return ReportFailure::SessionOver;
        }
        if let Err(failure) = fold(cx, instance, epoch, &group).await {
            return failure;
        }
        for (_, report) in &group {
            if report.interface == InterfaceFact::Released {
                connected.is_gone(instance, &report.task);
            }
        }
        let number = group.iter().map(|(number, _)| *number).max().unwrap_or(0);
        if number > 0 && outbox.send(ToAgent::Reported { number }).await.is_err() {
            return ReportFailure::SessionOver;
        }
    }
}

/// Tasks that an agent still has although they are over, or were never known.
pub fn strays<'a>(cx: &Context, reports: impl Iterator<Item = &'a TaskReport>) -> BTreeSet<TaskId> {
    let snapshot = cx.store.snapshot();
    let held = reports.filter(|report| report.interface != InterfaceFact::Released);
    held.filter(|report| {
        let task = snapshot.get::<Task>(&task_key(&report.cluster, &report.task));
        task.is_none_or(|task| task.last_status() == TaskStatus::Stopped)
    })
    .map(|report| report.task.clone())
    .collect()
}

pub async fn fold(
    cx: &Context,
    instance: &InstanceId,
    epoch: u64,
    reports: &[Numbered],
) -> Result<(), ReportFailure> {
    let now = cx.now();
    let folded = cx.store.transact(|txn| {
        let current = txn.get::<Instance>(instance.as_str()).map(|i| i.session_epoch);
        if current != Some(epoch) {
            return Ok(false);
        }
        for (_, report) in reports {
            fold_one(txn, instance, report, now);
        }
        Ok(true)
    });
    match folded.await {
        Ok((true, _)) => Ok(()),
        Ok((false, _)) => Err(ReportFailure::Superseded(instance.clone())),
        Err(failure) => Err(ReportFailure::Store(Box::new(failure))),
    }
}

/// A report on a task that is unknown, or placed elsewhere by now, says nothing: that task is not
/// in the list the agent gets, which makes it remove whatever it has of it.
fn fold_one(txn: &mut Txn, instance: &InstanceId, report: &TaskReport, now: model::Timestamp) {
    let Some(known) = txn.get::<Task>(&task_key(&report.cluster, &report.task)) else { return };
    let here = known.facts.placed.as_ref().is_some_and(|p| p.instance == *instance);
    if !here {
        return;
    }
    let mut task = (*known).clone();
    if task.observe(report, now) {
        txn.put(task);
    }
}
