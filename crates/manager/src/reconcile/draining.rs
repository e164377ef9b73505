//! The end of targets. One that drains goes as soon as the balancer says that nothing of it is in
//! flight any more, or when its group's deregistration delay is over; at once when no listener
//! leads to its group, as then nobody sends it anything. The same for targets that are tasks and
//! for those registered by hand. Source: Elastic Load Balancing user guide, deregistration delay.

use crate::Context;
use crate::agenda::Agenda;
use crate::follow::{Follow, Step};
use crate::limits::{DRAINED_PER_COMMIT_MAX, RETRY_AFTER_MS};
use model::balancing::{Action, Listener, Rule, Target, TargetGroup, TargetHealth};
use model::{TargetGroupId, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::{CommitFailure, Snapshot, Txn};

pub async fn run(cx: &Context) {
    let mut targets = Follow::<Target>::new(&cx.store);
    let mut health = Follow::<TargetHealth>::new(&cx.store);
    let mut listeners = Follow::<Listener>::new(&cx.store);
    let mut rules = Follow::<Rule>::new(&cx.store);
    let mut due = BTreeSet::new();
    let mut agenda = Agenda::default();
    loop {
        let woken = tokio::select! {
            // Groups may have fallen out of use.
            step = listeners.next() => step.map(|_| due.extend(agenda.keys().cloned())),
            step = rules.next() => step.map(|_| due.extend(agenda.keys().cloned())),
            step = targets.next() => step.map(|step| match step {
                Step::Everything(snapshot) => {
                    let all = snapshot.scan::<Target>("");
                    let draining = all.filter(|(_, target)| target.draining_since.is_some());
                    due.extend(draining.map(|(key, _)| Arc::<str>::from(key)));
                }
                Step::Changes(changes) => due.extend(changes.into_iter().map(|(key, _)| key)),
            }),
            step = health.next() => step.map(|step| match step {
                // What drains is looked at for its own sake at the start.
                Step::Everything(_) => {}
                Step::Changes(changes) => {
                    let drained = changes.into_iter().filter(|(_, health)| {
                        health.as_ref().is_some_and(|health| health.drained)
                    });
                    due.extend(drained.map(|(key, _)| key));
                }
            }),
            () = tokio::time::sleep(agenda.sleep(cx.now())) => Ok(()),
        };
        if woken.is_err() {
            return;
        }
        while let Some(key) = agenda.due(cx.now()) {
            agenda.set(Arc::clone(&key), None);
            due.insert(key);
        }
        while !due.is_empty() {
            look(cx, &mut due, &mut agenda).await;
        }
    }
}

/// Sees to as many as fit one transaction.
async fn look(cx: &Context, due: &mut BTreeSet<Arc<str>>, agenda: &mut Agenda) {
    let keys: Vec<Arc<str>> = due.iter().take(DRAINED_PER_COMMIT_MAX).cloned().collect();
    let looked = cx.store.transact(|txn| {
        let again = keys.iter().map(|key| step(txn, key, cx.now()));
        Ok::<Vec<_>, CommitFailure>(again.collect())
    });
    match looked.await {
        Ok((again, _)) => {
            for (key, at) in keys.into_iter().zip(again) {
                due.remove(&key);
                agenda.set(key, at);
            }
        }
        Err(failure) => {
            tracing::error!(%failure, "targets could not be removed; trying on");
            tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
        }
    }
}

/// Removes the target if its time has come; else says when it will have.
fn step(txn: &mut Txn, key: &str, now: Timestamp) -> Option<Timestamp> {
    let target = txn.get::<Target>(key)?;
    let since = target.draining_since?;
    let over_at = txn.peek::<TargetGroup>(target.group.as_str()).map(|group| {
        let settings = plan::routes::group_settings(&group.attributes);
        since.plus_seconds(i64::from(settings.deregistration_delay_seconds))
    });
    let health = txn.get::<TargetHealth>(key);
    // What was said before it drained is about another time.
    let drained = health.is_some_and(|health| health.drained && health.since >= since);
    let waits = over_at.filter(|at| now < *at && !drained);
    if waits.is_some() && is_used(txn.snapshot(), &target.group) {
        return waits;
    }
    txn.delete::<Target>(key);
    txn.delete::<TargetHealth>(key);
    None
}

/// Whether some listener leads to the group.
fn is_used(snapshot: &Snapshot, group: &TargetGroupId) -> bool {
    let leads = |actions: &[Action]| {
        actions.iter().any(|action| match action {
            Action::Forward(forward) => forward.groups.iter().any(|(to, _)| to == group),
            Action::Redirect(_) | Action::Fixed(_) => false,
        })
    };
    snapshot.scan::<Listener>("").any(|(_, listener)| leads(&listener.default_actions))
        || snapshot.scan::<Rule>("").any(|(_, rule)| leads(&rule.actions))
}
