//! Log records from an agent's spools become log events. The offset they came from is stored with
//! them, so that a batch sent again after a crash of either side is recognised and stored once.

use crate::Context;
use model::logs::{LogGroup, LogStream};
use model::session::{LogBatch, LogFailure, ToAgent};
use store::kinds::log_stream_key;
use store::logs::{LogEvent, Source};
use tokio::sync::mpsc;

/// Returns when the session is over.
pub async fn keep_storing(
    cx: &Context,
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
        let (offset, failure) = match store_batch(cx, batch).await {
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
async fn store_batch(cx: &Context, batch: LogBatch) -> Result<u64, LogFailure> {
    let now = cx.now();
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
