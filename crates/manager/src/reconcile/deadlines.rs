//! Every state that is not the last has a deadline. This loop sleeps until the nearest one, stops
//! the task that has passed it, and says why in the task's own words.

use crate::Context;
use crate::agenda::{Agenda, SLEEP_MS_MAX};
use crate::follow::{Follow, Step};
use model::Timestamp;
use model::facts::TaskStatus;
use model::task::Task;
use plan::OverdueAction;
use std::sync::Arc;
use store::CommitFailure;

pub async fn run(cx: &Context) {
    let mut follow = Follow::<Task>::new(&cx.store);
    let mut agenda = Agenda::default();
    loop {
        let step = tokio::select! {
            step = follow.next() => step,
            () = tokio::time::sleep(agenda.sleep(cx.now())) => Ok(Step::Changes(Vec::new())),
        };
        match step {
            Ok(Step::Everything(snapshot)) => {
                agenda = Agenda::default();
                for (key, task) in snapshot.scan::<Task>("") {
                    agenda.set(Arc::from(key), next_deadline(&task));
                }
            }
            Ok(Step::Changes(changes)) => {
                for (key, task) in changes {
                    agenda.set(key, task.as_deref().and_then(next_deadline));
                }
            }
            Err(_) => return,
        }
        while let Some(key) = agenda.due(cx.now()) {
            let next = stop_overdue(cx, &key).await;
            agenda.set(key, next);
        }
    }
}

fn next_deadline(task: &Task) -> Option<Timestamp> {
    if task.last_status() == TaskStatus::Stopped { None } else { plan::next_deadline(task) }
}

/// Returns when to look at the task again.
async fn stop_overdue(cx: &Context, key: &str) -> Option<Timestamp> {
    let now = cx.now();
    let stopped = cx.store.transact(|txn| {
        let Some(task) = txn.get::<Task>(key) else { return Ok(None) };
        let Some(overdue) = plan::overdue(&task, now) else { return Ok(next_deadline(&task)) };
        let mut task = (*task).clone();
        let changed = match overdue.action {
            OverdueAction::Stop => task.request_stop(overdue.code, &overdue.reason, now),
            OverdueAction::Abandon => task.abandon(&overdue.reason, now),
        };
        if changed {
            tracing::warn!(task = %task.id, reason = overdue.reason, "a deadline has passed");
            txn.put(task.clone());
        } else {
            // Its containers count as ended already, but its interface may still be there: nothing
            // is freed on doubt. It ends when the instance says so or is lost.
            tracing::error!(task = %task.id, reason = overdue.reason, "an interface is overdue");
        }
        let again = next_deadline(&task).map(|at| at.max(now.plus_ms(SLEEP_MS_MAX)));
        Ok::<_, CommitFailure>(again)
    });
    match stopped.await {
        Ok((next, _)) => next,
        Err(failure) => {
            tracing::error!(%failure, "an overdue task could not be stopped; trying on");
            Some(now.plus_ms(SLEEP_MS_MAX))
        }
    }
}
