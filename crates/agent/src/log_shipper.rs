//! One container's log records on their way to the control plane. A loop with one batch under way: read from the
//! spool, send, wait until durable, give the spool back. What is not acknowledged stays in the spool, so a crash
//! of either side loses nothing, and the offsets sent along let the other side see a repetition.

use crate::limits::{LOG_BATCH_BYTES, LOG_RETRY_MS};
use crate::link::Link;
use model::TaskId;
use model::session::{LogBatch, LogFailure, LogLine};
use model::task_definition::LogConfiguration;
use runtime::Runtime;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

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

pub struct Shipper<R> {
    pub runtime: Arc<R>,
    pub link: Arc<Link>,
    pub task: TaskId,
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
        if !self.deliver(offset, offset, Vec::new()).await {
            return;
        }
        loop {
            let wake = *self.wakes.borrow_and_update();
            match self.ship_from(offset).await {
                Some(reached) => offset = reached,
                None => return,
            }
            if wake == Wake::Ended {
                return;
            }
            if self.wakes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ships until the spool holds nothing more. None: these logs can't be stored, ever.
    async fn ship_from(&mut self, mut offset: u64) -> Option<u64> {
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
                return Some(offset);
            }
            let end = batch.next_offset;
            if !self.deliver(offset, end, lines(batch)).await {
                return None;
            }
            offset = end;
            let acknowledged =
                self.runtime.acknowledge_log(&self.task, &self.container, offset).await;
            if let Err(failure) = acknowledged {
                // The spool only grows the more for it; the next acknowledgement says the same.
                tracing::warn!(task = %self.task, %failure, "a log could not be acknowledged");
            }
        }
    }

    /// Sends a batch until it is durable. False: it can never be.
    async fn deliver(&mut self, offset: u64, end: u64, events: Vec<LogLine>) -> bool {
        let batch = LogBatch {
            task: self.task.clone(),
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
            let answer = tokio::select! {
                answer = self.answers.recv() => answer,
                changed = sessions.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => None,
                },
            };
            match answer {
                None => return false,
                Some(Logged { offset: reached, .. }) if reached < end => {}
                Some(Logged { failure: None, .. }) => return true,
                Some(Logged { failure: Some(LogFailure::GroupMissing), .. }) => {
                    let group = &self.log.group;
                    tracing::warn!(task = %self.task, group, "log lines dropped: no such group");
                    return true;
                }
                Some(Logged { failure: Some(LogFailure::Storage), .. }) => {
                    tokio::time::sleep(Duration::from_millis(LOG_RETRY_MS)).await;
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
