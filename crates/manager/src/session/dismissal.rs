//! The last session of an instance that was forgotten while it was away: whatever it still runs was
//! given up, and its addresses may be others' by now. It is told to have nothing, and is refused
//! for good once it says that nothing is left.

use crate::limits::DISMISSAL_SECONDS;
use crate::session::SessionFailure;
use crate::session::stream::Messages;
use model::facts::InterfaceFact;
use model::session::{Hello, ToAgent, ToControl};
use model::{InstanceId, TaskId};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

pub async fn dismiss<R: AsyncRead + Unpin>(
    instance: &InstanceId,
    hello: &Hello,
    messages: &mut Messages<R>,
    outbox: &mpsc::Sender<ToAgent>,
) -> SessionFailure {
    let held = hello.tasks.iter().filter(|task| task.interface != InterfaceFact::Released);
    let left: BTreeSet<TaskId> = held.map(|report| report.task.clone()).collect();
    tracing::warn!(%instance, tasks = left.len(), "a forgotten instance is back and dismissed");
    let patience = Duration::from_secs(DISMISSAL_SECONDS);
    match tokio::time::timeout(patience, until_empty(left, messages, outbox)).await {
        Ok(Err(failure)) => failure,
        // One that takes longer calls again, as the refusal ends neither it nor its tasks' end.
        Ok(Ok(())) => SessionFailure::Forgotten,
        Err(_) => SessionFailure::Silent,
    }
}

async fn until_empty<R: AsyncRead + Unpin>(
    mut left: BTreeSet<TaskId>,
    messages: &mut Messages<R>,
    outbox: &mpsc::Sender<ToAgent>,
) -> Result<(), SessionFailure> {
    let nothing = ToAgent::Assignments { sequence: 1, tasks: Vec::new() };
    outbox.send(nothing).await.map_err(|_| SessionFailure::Closing)?;
    while !left.is_empty() {
        if let ToControl::Report { number, report } = messages.next::<ToControl>().await? {
            if report.interface == InterfaceFact::Released {
                left.remove(&report.task);
            }
            let heard = ToAgent::Reported { number };
            outbox.send(heard).await.map_err(|_| SessionFailure::Closing)?;
        }
    }
    Ok(())
}
