//! Log records from an agent's spools become log events. The offset they came from is stored with
//! them, so that a batch sent again after a crash of either side is recognised and stored once.

use crate::Context;
use model::InstanceId;
use model::logs::{LogGroup, LogStream};
use model::session::{LogBatch, LogFailure, ToAgent};
use model::task::Task;
use model::task_definition::TaskDefinition;
use store::Snapshot;
use store::kinds::{log_stream_key, task_definition_key, task_key};
use store::logs::{LogEvent, Source};
use tokio::sync::mpsc;

/// Returns when the session is over.
pub async fn keep_storing(
    cx: &Context,
    instance: &InstanceId,
    inbox: &mut mpsc::Receiver<LogBatch>,
    outbox: &mpsc::Sender<ToAgent>,
) {
    while let Some(batch) = inbox.recv().await {
        let (task, container, end) = (batch.task.clone(), batch.container.clone(), batch.end);
        tracing::trace!(
            container,
            offset = batch.offset,
            end,
            lines = batch.events.len(),
            "a log batch"
        );
        let (offset, failure) = match store_batch(cx, instance, batch).await {
            Ok(known_to) => (known_to, None),
            Err(failure) => (end, Some(failure)),
        };
        if outbox.send(ToAgent::Logged { task, container, offset, failure }).await.is_err() {
            return;
        }
    }
}

/// Returns up to where the container's log is stored now: the batch's end, or a place inside it
/// when its beginning was stored before.
async fn store_batch(
    cx: &Context,
    instance: &InstanceId,
    batch: LogBatch,
) -> Result<u64, LogFailure> {
    let now = cx.now();
    if !is_its_own(&cx.store.snapshot(), instance, &batch) {
        tracing::warn!(%instance, task = %batch.task, stream = batch.stream, "log lines refused");
        return Err(LogFailure::NotYours);
    }
    ensure_stream(cx, &batch).await?;
    if batch.events.is_empty() {
        return Ok(batch.end);
    }
    let end = batch.end;
    let source = Source {
        id: format!("{}/{}", batch.task, batch.container),
        offset: batch.offset,
        end: batch.end,
    };
    let events = batch.events.into_iter();
    let events =
        events.map(|line| LogEvent { timestamp_ms: line.at.0, message: line.message }).collect();
    let stored = cx.logs.append(&batch.group, &batch.stream, Some(source), events, now.0).await;
    match stored {
        Ok(_) => Ok(end),
        Err(store::logs::LogFailure::Overlap { known, .. }) => Ok(known),
        Err(failure) => {
            tracing::error!(group = batch.group, stream = batch.stream, %failure, "not stored");
            Err(LogFailure::Storage)
        }
    }
}

/// Whether the lines are of a task of this instance, for where its definition sends them. A task
/// that is not known any more may only finish the stream it has.
fn is_its_own(snapshot: &Snapshot, instance: &InstanceId, batch: &LogBatch) -> bool {
    let key = batch.cluster.as_ref().map(|cluster| task_key(cluster, &batch.task));
    let Some(task) = key.and_then(|key| snapshot.get::<Task>(&key)) else {
        let own_end = format!("/{}/{}", batch.container, batch.task);
        let stream = log_stream_key(&batch.group, &batch.stream);
        return batch.stream.ends_with(&own_end) && snapshot.get::<LogStream>(&stream).is_some();
    };
    let task: &Task = &task;
    let here = task.facts.placed.as_ref().is_some_and(|placed| placed.instance == *instance);
    let definition = task_definition_key(&task.family, task.revision);
    let Some(definition) = snapshot.get::<TaskDefinition>(&definition) else { return here };
    let containers = &definition.template.containers;
    let container = containers.iter().find(|container| container.name == batch.container);
    let log = container.and_then(|container| container.log.as_ref());
    here && log.is_some_and(|log| {
        log.group == batch.group
            && log.stream(&batch.container, batch.task.as_str()) == batch.stream
            && log.create_group == batch.create_group
    })
}

async fn ensure_stream(cx: &Context, batch: &LogBatch) -> Result<(), LogFailure> {
    let key = log_stream_key(&batch.group, &batch.stream);
    if cx.store.snapshot().get::<LogStream>(&key).is_some() {
        return Ok(());
    }
    let now = cx.now();
    let made = cx.store.transact(|txn| {
        if txn.get::<LogGroup>(&batch.group).is_none() {
            if !batch.create_group {
                return Err(LogFailure::GroupMissing);
            }
            txn.put(LogGroup {
                name: batch.group.clone(),
                created_at: now,
                retention_days: None,
                class: "STANDARD".to_owned(),
                kms_key_id: None,
                tags: model::Tags::new(),
            });
        }
        if txn.get::<LogStream>(&key).is_none() {
            let (group, name) = (batch.group.clone(), batch.stream.clone());
            txn.put(LogStream { group, name, created_at: now });
        }
        Ok(())
    });
    match made.await {
        Ok(_) => Ok(()),
        Err(store::TransactFailure::Aborted(failure)) => Err(failure),
        Err(failure) => {
            tracing::error!(group = batch.group, ?failure, "a log stream could not be made");
            Err(LogFailure::Storage)
        }
    }
}
