//! One container's log records on their way to the control plane. A loop with one batch under way:
//! read from the spool, send, wait until durable, give the spool back. What is not acknowledged
//! stays in the spool, so a crash of either side loses nothing, and the offsets sent along let the
//! other side see a repetition.

use crate::limits::{LOG_BATCH_BYTES, LOG_EVENT_LOOK_MS, LOG_EVENT_WAIT_MS, LOG_RETRY_MS};
use crate::link::Link;
use crate::log_events::Beginnings;
use model::session::{LogBatch, LogFailure, LogLine};
use model::task_definition::LogConfiguration;
use model::{ClusterName, TaskId};
use runtime::Runtime;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

type Sessions = watch::Receiver<Option<mpsc::Sender<model::session::ToControl>>>;

/// The answer to a batch: records up to the offset are durable, or why not.
#[derive(Clone, Debug)]
pub struct Logged {
    pub offset: u64,
    pub failure: Option<LogFailure>,
}

/// What wakes a shipper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// There is more to read.
    Grew,
    /// The container has ended for good: ship what there is, then return.
    Ended,
}

/// How far a log is shipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shipped {
    offset: u64,
    /// An event begins here that may go on.
    waits: bool,
}

pub struct Shipper<R> {
    /// None: each line is an event.
    pub beginnings: Option<Beginnings>,
    pub runtime: Arc<R>,
    pub link: Arc<Link>,
    pub task: TaskId,
    pub cluster: ClusterName,
    pub container: String,
    pub log: LogConfiguration,
    /// Where to begin: what lies before was acknowledged by an earlier agent.
    pub from: u64,
    pub wakes: watch::Receiver<Wake>,
    pub answers: mpsc::Receiver<Logged>,
}

impl<R: Runtime> Shipper<R> {
    /// Returns when the container has ended and every record is durable, or can never be.
    pub async fn run(mut self) {
        let mut offset = self.from;
        // An empty batch makes the stream, as awslogs does when a container starts.
        if self.deliver(offset, offset, Vec::new()).await.is_none() {
            return;
        }
        // Since when an event waits for its end.
        let mut waits: Option<Instant> = None;
        loop {
            let wake = *self.wakes.borrow_and_update();
            tracing::trace!(container = self.container, ?wake, offset, "woken");
            let patience = Duration::from_millis(LOG_EVENT_WAIT_MS);
            let late = waits.is_some_and(|since| since.elapsed() >= patience);
            let Some(shipped) = self.ship_from(offset, wake, late).await else { return };
            let since = waits.filter(|_| offset == shipped.offset).unwrap_or_else(Instant::now);
            (offset, waits) = (shipped.offset, shipped.waits.then_some(since));
            if wake == Wake::Ended {
                return;
            }
            let look = Duration::from_millis(LOG_EVENT_LOOK_MS);
            tokio::select! {
                changed = self.wakes.changed() => if changed.is_err() {
                    return;
                },
                // The spool tells once that it grew, and is not yet given anything back.
                () = tokio::time::sleep(look), if waits.is_some() => {}
            }
        }
    }

    /// Ships until the spool holds nothing more, or only an event that may go on; one that is late,
    /// or whose container has ended, has ended too. None: these logs can't be stored, ever.
    async fn ship_from(&mut self, mut offset: u64, wake: Wake, mut late: bool) -> Option<Shipped> {
        loop {
            let read = self.runtime.read_log(&self.task, &self.container, offset, LOG_BATCH_BYTES);
            let batch = match read.await {
                Ok(batch) => batch,
                Err(failure) => {
                    tracing::warn!(task = %self.task, %failure, "a log can't be read any more");
                    return None;
                }
            };
            if batch.records.is_empty() {
                return Some(Shipped { offset, waits: false });
            }
            let all = wake == Wake::Ended || std::mem::take(&mut late);
            let (end, events) = match &self.beginnings {
                None => (batch.next_offset, lines(batch)),
                Some(beginnings) => {
                    let whole = match all {
                        true => batch.records.len(),
                        false => beginnings.whole(&batch.records),
                    };
                    let end = whole.checked_sub(1).map_or(offset, |last| batch.ends[last]);
                    (end, beginnings.events(&batch.records[..whole]))
                }
            };
            if end == offset {
                return Some(Shipped { offset, waits: true });
            }
            offset = self.deliver(offset, end, events).await?;
            let acknowledged =
                self.runtime.acknowledge_log(&self.task, &self.container, offset).await;
            if let Err(failure) = acknowledged {
                // The spool only grows the more for it; the next acknowledgement says the same.
                tracing::warn!(task = %self.task, %failure, "a log could not be acknowledged");
            }
        }
    }

    /// Sends a batch until it is durable, and says up to where the log is. That may be inside the
    /// batch, when an earlier agent sent its beginning: the rest is then to be sent by itself.
    /// None: it can never be stored.
    async fn deliver(&mut self, offset: u64, end: u64, events: Vec<LogLine>) -> Option<u64> {
        let batch = LogBatch {
            task: self.task.clone(),
            cluster: Some(self.cluster.clone()),
            container: self.container.clone(),
            group: self.log.group.clone(),
            stream: self.log.stream(&self.container, self.task.as_str()),
            create_group: self.log.create_group,
            offset,
            end,
            events,
        };
        let mut sessions = self.link.sessions();
        loop {
            sessions.borrow_and_update();
            self.link.send_logs(batch.clone()).await;
            if let Some(reached) = self.answered(offset, end, &mut sessions).await? {
                return Some(reached);
            }
        }
    }

    /// Waits for the answer to a batch. `Some(None)`: it must be sent again.
    async fn answered(
        &mut self,
        offset: u64,
        end: u64,
        sessions: &mut Sessions,
    ) -> Option<Option<u64>> {
        loop {
            let answer = tokio::select! {
                answer = self.answers.recv() => answer?,
                changed = sessions.changed() => {
                    changed.ok()?;
                    return Some(None);
                }
            };
            tracing::trace!(container = self.container, ?answer, offset, end, "answered");
            match answer.failure {
                // The answer to an older batch, or to one that was sent twice.
                _ if answer.offset < end && answer.offset <= offset => {}
                None => return Some(Some(answer.offset.min(end))),
                Some(LogFailure::GroupMissing) => {
                    let group = &self.log.group;
                    tracing::warn!(task = %self.task, group, "log lines dropped: no such group");
                    return Some(Some(end));
                }
                Some(LogFailure::NotYours) => {
                    let stream = self.log.stream(&self.container, self.task.as_str());
                    tracing::warn!(task = %self.task, stream, "log lines were refused and dropped");
                    return Some(Some(end));
                }
                Some(LogFailure::Storage) => {
                    tokio::time::sleep(Duration::from_millis(LOG_RETRY_MS)).await;
                    return Some(None);
                }
            }
        }
    }
}

fn lines(batch: runtime::spool::LogBatch) -> Vec<LogLine> {
    let records = batch.records.into_iter();
    let line = |record: runtime::spool::LogRecord| LogLine {
        at: record.at,
        message: match String::from_utf8(record.bytes) {
            Ok(text) => text,
            Err(not_utf8) => String::from_utf8_lossy(not_utf8.as_bytes()).into_owned(),
        },
    };
    // CloudWatch takes no empty events; awslogs leaves empty lines out.
    records.map(line).filter(|line| !line.message.is_empty()).collect()
}
