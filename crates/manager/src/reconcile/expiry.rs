//! What has been over for long enough is forgotten: stopped tasks an hour after they stopped,
//! client tokens when they expire, deleted task definitions when no task is left on them. Retention
//! of log events is done here too.

use crate::Context;
use crate::reconcile::release;
use model::account::ClientToken;
use model::limits::STOPPED_TASK_KEPT_SECONDS;
use model::logs::LogGroup;
use model::task::Task;
use model::task_definition::{TaskDefinition, TaskDefinitionStatus};
use model::{Family, TaskDefinitionRevision, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;
use store::kinds::task_definition_key;
use store::{CommitFailure, Snapshot, Txn};

/// How often to look, in seconds; nothing here is urgent.
const LOOK_EVERY_SECONDS: u64 = 60;
/// Records removed in one transaction.
const REMOVED_PER_COMMIT_MAX: usize = 100;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A record to forget. Each is checked again inside the transaction that removes it.
enum Expired {
    Task(String),
    Token(String),
    Definition(String),
}

pub async fn run(cx: &Context) {
    let mut ticks = tokio::time::interval(Duration::from_secs(LOOK_EVERY_SECONDS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = cx.now();
        let snapshot = cx.store.snapshot();
        for group in expired(&snapshot, now).chunks(REMOVED_PER_COMMIT_MAX) {
            let removed = cx.store.transact(|txn| {
                group.iter().for_each(|one| forget(txn, one, now));
                Ok::<(), CommitFailure>(())
            });
            if let Err(failure) = removed.await {
                tracing::error!(%failure, "expired records could not be removed; trying on");
            }
        }
        trim_logs(cx, &snapshot, now).await;
    }
}

fn expired(snapshot: &Snapshot, now: Timestamp) -> Vec<Expired> {
    let mut all = Vec::new();
    let mut in_use = BTreeSet::<(Family, TaskDefinitionRevision)>::new();
    for (key, task) in snapshot.scan::<Task>("") {
        if task_expired(&task, now) && !release::holds(snapshot, &task) {
            all.push(Expired::Task(key.to_owned()));
        } else {
            in_use.insert((task.family.clone(), task.revision));
        }
    }
    for (key, token) in snapshot.scan::<ClientToken>("") {
        if token.expires_at <= now {
            all.push(Expired::Token(key.to_owned()));
        }
    }
    for (key, definition) in snapshot.scan::<TaskDefinition>("") {
        let deleted = definition.status == TaskDefinitionStatus::DeleteInProgress;
        if deleted && !in_use.contains(&(definition.family.clone(), definition.revision)) {
            all.push(Expired::Definition(key.to_owned()));
        }
    }
    all
}

fn task_expired(task: &Task, now: Timestamp) -> bool {
    task.stopped_at.is_some_and(|at| now >= at.plus_seconds(STOPPED_TASK_KEPT_SECONDS))
}

fn forget(txn: &mut Txn, one: &Expired, now: Timestamp) {
    match one {
        Expired::Task(key) => {
            if txn.get::<Task>(key).is_some_and(|task| task_expired(&task, now)) {
                txn.delete::<Task>(key);
            }
        }
        Expired::Token(key) => {
            if txn.get::<ClientToken>(key).is_some_and(|token| token.expires_at <= now) {
                txn.delete::<ClientToken>(key);
            }
        }
        Expired::Definition(key) => {
            if let Some(definition) = txn.get::<TaskDefinition>(key) {
                txn.delete::<TaskDefinition>(&task_definition_key(
                    &definition.family,
                    definition.revision,
                ));
            }
        }
    }
}

async fn trim_logs(cx: &Context, snapshot: &Snapshot, now: Timestamp) {
    for (_, group) in snapshot.scan::<LogGroup>("") {
        let Some(days) = group.retention_days else { continue };
        let before = now.plus_ms(-i64::from(days) * DAY_MS);
        if let Err(failure) = cx.logs.trim(&group.name, before.0).await {
            tracing::error!(group = group.name, %failure, "old log events could not be removed");
        }
    }
}
