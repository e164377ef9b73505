//! Instances that have gone silent: after lease and grace they are lost, and so is what ran on
//! them. An instance that returns later gets a list without those tasks, so its strays stop; the
//! replacement stays. One that an operator has forgotten ends likewise, gives back what it held,
//! and its record goes.

use crate::Context;
use crate::limits::RETRY_AFTER_MS;
use crate::session::Connected;
use model::facts::TaskStatus;
use model::instance::{Allocation, Instance, InstanceState};
use model::join::{AgentCertificate, JoinToken};
use model::task::Task;
use plan::instance::Lease;
use std::sync::Arc;
use std::time::Duration;
use store::{CommitFailure, Snapshot};

/// Tasks marked lost in one transaction.
const LOST_PER_COMMIT_MAX: usize = 100;
/// Records of tokens, and of certificates, removed in one transaction.
const ENDED_PER_COMMIT_MAX: usize = 50;
/// How often silence is measured, in seconds: a fraction of the lease.
const LOOK_EVERY_SECONDS: u64 = 5;

pub async fn run(cx: &Context, connected: &Connected) {
    // Right after a start nobody is connected yet, which says nothing about the instances.
    let began = cx.now();
    let mut ticks = tokio::time::interval(Duration::from_secs(LOOK_EVERY_SECONDS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let snapshot = cx.store.snapshot();
        forget_ended(cx, &snapshot).await;
        for (_, instance) in snapshot.scan::<Instance>("") {
            if instance.state.is_over() {
                finish(cx, &instance).await;
                if instance.state == InstanceState::Forgotten {
                    remove(cx, &instance).await;
                }
                continue;
            }
            let heard_at = instance.seen_at.max(began);
            let lease = plan::instance::lease(instance.state, heard_at, cx.now());
            if lease == Lease::Lost && !connected.has(&instance.id) {
                lose(cx, &instance).await;
            }
        }
    }
}

async fn lose(cx: &Context, instance: &Instance) {
    let epoch = instance.session_epoch;
    let marked = cx.store.transact(|txn| {
        let known = txn.get::<Instance>(instance.id.as_str());
        // A session that began meanwhile has another epoch: the instance is back.
        let silent = |known: &Arc<Instance>| {
            known.session_epoch == epoch && known.state != InstanceState::Forgotten
        };
        if let Some(known) = known.filter(silent) {
            let mut lost = (*known).clone();
            lost.drains = known.drains();
            lost.state = InstanceState::Lost;
            txn.put(lost);
        }
        Ok::<(), CommitFailure>(())
    });
    match marked.await {
        Ok(_) => {
            tracing::warn!(instance = %instance.id, name = instance.name, "an instance is lost");
            finish(cx, instance).await;
        }
        Err(failure) => tracing::error!(%failure, "an instance could not be marked lost"),
    }
}

/// Ends the tasks of a lost instance; also what a crash between marking and this left over.
async fn finish(cx: &Context, instance: &Instance) {
    let snapshot = cx.store.snapshot();
    let here: Vec<Arc<str>> = snapshot
        .scan::<Task>("")
        .filter(|(_, task)| {
            task.facts.placed.as_ref().is_some_and(|placed| placed.instance == instance.id)
                && task.last_status() != TaskStatus::Stopped
        })
        .map(|(key, _)| Arc::from(key))
        .collect();
    for group in here.chunks(LOST_PER_COMMIT_MAX) {
        let now = cx.now();
        let ended = cx.store.transact(|txn| {
            let state = txn.get::<Instance>(instance.id.as_str()).map(|i| i.state);
            if !state.is_some_and(InstanceState::is_over) {
                return Ok(());
            }
            for key in group {
                if let Some(task) = txn.get::<Task>(key) {
                    let mut task = (*task).clone();
                    if task.lose_instance("The instance that the task ran on was lost.", now) {
                        txn.put(task);
                    }
                }
            }
            Ok::<(), CommitFailure>(())
        });
        if let Err(failure) = ended.await {
            tracing::error!(%failure, "tasks of a lost instance could not be ended; trying on");
            tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
        }
    }
}

/// A forgotten instance's record goes when nothing of it is held any more.
async fn remove(cx: &Context, instance: &Instance) {
    let removed = cx.store.transact(|txn| {
        let state = txn.get::<Instance>(instance.id.as_str()).map(|known| known.state);
        let held = txn.get::<Allocation>(instance.id.as_str()).map_or(0, |held| held.tasks);
        if state != Some(InstanceState::Forgotten) || held > 0 {
            return Ok(false);
        }
        txn.delete::<Instance>(instance.id.as_str());
        txn.delete::<Allocation>(instance.id.as_str());
        Ok::<bool, CommitFailure>(true)
    });
    match removed.await {
        Ok((false, _)) => {}
        Ok((true, _)) => tracing::info!(instance = %instance.id, "an instance is forgotten"),
        Err(failure) => tracing::error!(%failure, "a forgotten instance's record stays for now"),
    }
}

/// Tokens and certificates that have ended open nothing any more; nobody needs their records.
async fn forget_ended(cx: &Context, snapshot: &Snapshot) {
    let now = cx.now();
    let tokens = snapshot.scan::<JoinToken>("").filter(|(_, it)| it.expires_at < now);
    let tokens: Vec<String> =
        tokens.map(|(key, _)| key.to_owned()).take(ENDED_PER_COMMIT_MAX).collect();
    let ended = snapshot.scan::<AgentCertificate>("").filter(|(_, it)| it.expires_at < now);
    let ended: Vec<String> =
        ended.map(|(key, _)| key.to_owned()).take(ENDED_PER_COMMIT_MAX).collect();
    if tokens.is_empty() && ended.is_empty() {
        return;
    }
    let removed = cx.store.transact(|txn| {
        for token in &tokens {
            txn.delete::<JoinToken>(token);
        }
        for certificate in &ended {
            txn.delete::<AgentCertificate>(certificate);
        }
        Ok::<(), CommitFailure>(())
    });
    if let Err(failure) = removed.await {
        tracing::error!(%failure, "records of tokens and certificates that ended stay for now");
    }
}
