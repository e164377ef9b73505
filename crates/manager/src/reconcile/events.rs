//! Events are derived from the records they tell of, commit by commit, and written in their order.
//! How far that has come is a record, too, written together with the events: after a restart, what
//! was written since is told as it is then. An event may so be missed for a state that nobody saw;
//! none is told twice. They are bounded by age and number.

use crate::Context;
use crate::limits::{
    EVENTS_GATHERED_MS, EVENTS_KEPT_MAX, EVENTS_KEPT_SECONDS, EVENTS_PER_COMMIT_MAX,
    EVENTS_REMOVED_PER_COMMIT_MAX, RETRY_AFTER_MS,
};
use model::event::{Event, EventCursor};
use model::service::ServiceProgress;
use model::task::Task;
use plan::events::{Told, of_service, of_task};
use std::collections::BTreeSet;
use std::time::Duration;
use store::kinds::{EVENT_CURSOR_KEY, event_key};
use store::{Batch, CommitFailure, Snapshot, Txn, WatchFailure};

pub async fn run(cx: &Context) {
    loop {
        let snapshot = cx.store.snapshot();
        let untold = since_restart(&snapshot);
        if !write(cx, untold, snapshot.revision().0).await {
            return;
        }
        let mut watch = cx.store.watch(snapshot.revision());
        loop {
            let mut batches = match watch.next().await {
                Ok(batch) => vec![batch],
                // What was missed is found in the records.
                Err(WatchFailure::Compacted { .. }) => break,
                Err(WatchFailure::Closed) => return,
            };
            // What happens together is written together: events must not slow down what happens.
            tokio::time::sleep(Duration::from_millis(EVENTS_GATHERED_MS)).await;
            while let Ok(Some(batch)) = watch.try_next() {
                batches.push(batch);
            }
            let told: Vec<Told> = batches.iter().flat_map(|batch| of_batch(batch)).collect();
            let revision = batches.last().map_or(0, |batch| batch.revision.0);
            if !told.is_empty() && !write(cx, told, revision).await {
                return;
            }
        }
    }
}

fn of_batch(batch: &Batch) -> Vec<Told> {
    let mut told = Vec::new();
    for change in &batch.changes {
        if let Some((before, Some(task))) = change.of::<Task>() {
            told.extend(of_task(before.as_deref(), &task));
        }
        if let Some((before, Some(progress))) = change.of::<ServiceProgress>() {
            told.extend(of_service(before.as_deref(), &progress));
        }
    }
    told
}

/// What was written after the last event, and is not told by one that is kept.
fn since_restart(snapshot: &Snapshot) -> Vec<Told> {
    let cursor = cursor(snapshot);
    let told: BTreeSet<String> =
        snapshot.scan::<Event>("").map(|(_, event)| event.subject.clone()).collect();
    let mut untold = Vec::new();
    for (key, task) in snapshot.scan::<Task>("") {
        if snapshot.get::<Task>(key).is_some_and(|it| it.revision.0 > cursor.revision) {
            untold.extend(of_task(None, &task));
        }
    }
    for (key, progress) in snapshot.scan::<ServiceProgress>("") {
        if snapshot.get::<ServiceProgress>(key).is_some_and(|it| it.revision.0 > cursor.revision) {
            untold.extend(of_service(None, &progress));
        }
    }
    untold.retain(|one| !told.contains(&one.subject));
    untold
}

fn cursor(snapshot: &Snapshot) -> EventCursor {
    let known = snapshot.get::<EventCursor>(EVENT_CURSOR_KEY);
    known.map(|known| (*known.value).clone()).unwrap_or_default()
}

/// False: the store is closed.
async fn write(cx: &Context, told: Vec<Told>, revision: u64) -> bool {
    let groups = told.chunks(EVENTS_PER_COMMIT_MAX);
    let count = groups.len();
    for (number, group) in groups.enumerate() {
        // Only with the last is all of it told.
        let up_to = (number + 1 == count).then_some(revision);
        loop {
            let written = cx.store.transact(|txn| {
                append(cx, txn, group, up_to);
                Ok::<_, CommitFailure>(())
            });
            match written.await {
                Ok(_) => break,
                Err(store::TransactFailure::Commit(CommitFailure::Closed)) => return false,
                Err(failure) => {
                    tracing::error!(%failure, "events are not written; trying again");
                    tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
                }
            }
        }
    }
    true
}

fn append(cx: &Context, txn: &mut Txn, group: &[Told], up_to: Option<u64>) {
    let now = cx.now();
    let known = txn.get::<EventCursor>(EVENT_CURSOR_KEY);
    let mut cursor = known.map(|known| (*known).clone()).unwrap_or_default();
    for told in group {
        cursor.sequence += 1;
        txn.put(Event {
            sequence: cursor.sequence,
            id: model::uuid(cx.random()),
            subject: told.subject.clone(),
            at: now,
            happening: told.happening.clone(),
        });
    }
    if let Some(revision) = up_to {
        cursor.revision = cursor.revision.max(revision);
    }
    let snapshot = txn.snapshot().clone();
    let over = (snapshot.count::<Event>("") + group.len()).saturating_sub(EVENTS_KEPT_MAX);
    let oldest = snapshot.scan::<Event>("").take(EVENTS_REMOVED_PER_COMMIT_MAX);
    for (number, (_, event)) in oldest.enumerate() {
        let aged = now.since_ms(event.at) > EVENTS_KEPT_SECONDS * 1000;
        if number >= over && !aged {
            break;
        }
        txn.delete::<Event>(&event_key(event.sequence));
    }
    txn.put(cursor);
}
