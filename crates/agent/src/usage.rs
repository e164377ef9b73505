//! What this instance's tasks use, told to the control plane every few seconds: metrics are made of
//! it. Nothing is kept and nothing is sent twice; a number that got lost is a gap in a graph.

use crate::limits::{USAGE_EVERY_MS, USAGES_AT_ONCE_MAX, USAGES_PER_MESSAGE_MAX};
use crate::link::Link;
use crate::metadata::Residents;
use futures_util::stream::{self, StreamExt};
use model::session::{TaskUsage, ToControl};
use model::{TaskId, Timestamp};
use runtime::Runtime;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

pub async fn keep_reporting<R: Runtime>(
    residents: &Residents,
    runtime: &R,
    link: &Link,
    now: impl Fn() -> Timestamp,
) -> std::convert::Infallible {
    let sessions = link.sessions();
    let every = Duration::from_millis(USAGE_EVERY_MS);
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let session = sessions.borrow().clone();
        let Some(session) = session else { continue };
        let all: Vec<_> = residents.all().iter().map(|resident| resident.assignment()).collect();
        // Each asks the task's own supervisor, so that a few at a time are as fast as all.
        let asked = all.into_iter().map(|assignment| async move {
            let used = used(runtime, &assignment.task).await?;
            let (cpu_nanoseconds, memory_bytes) = used;
            let (task, cluster) = (assignment.task.clone(), assignment.cluster.clone());
            Some(TaskUsage { task, cluster, cpu_nanoseconds, memory_bytes })
        });
        let found = stream::iter(asked).buffer_unordered(USAGES_AT_ONCE_MAX);
        let told: Vec<TaskUsage> = found.filter_map(std::future::ready).collect().await;
        for tasks in told.chunks(USAGES_PER_MESSAGE_MAX) {
            let message = ToControl::Usage { at: now(), tasks: tasks.to_vec() };
            if session.send(message).await.is_err() {
                break;
            }
        }
    }
}

/// None: the task does not run, or is just ending.
async fn used<R: Runtime>(runtime: &R, task: &TaskId) -> Option<(u64, u64)> {
    let usage = runtime.usage(task).await.ok()?;
    let runs = !usage.containers.is_empty();
    runs.then_some((usage.cpu_nanoseconds, usage.memory_bytes))
}
