//! The link to the control plane as the rest of the agent sees it: a place to leave reports and log
//! records. It is up or down; tasks neither know nor care. A report stays until the control plane
//! says it is durable, and only a task's newest report is kept, since it says all that the older
//! ones said.

use model::TaskId;
use model::facts::ContainersFact;
use model::session::{LogBatch, TaskReport, ToControl};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc, watch};

#[derive(Default)]
struct Reports {
    newest: BTreeMap<TaskId, TaskReport>,
    /// Not sent in this session, or changed since.
    unsent: BTreeMap<TaskId, ()>,
    /// Sent and not yet durable, by number.
    unconfirmed: BTreeMap<u64, (TaskId, ContainersFact)>,
    /// What this session's Hello said, until the first list shows that it was read.
    greeted: Vec<(TaskId, ContainersFact)>,
    /// Tasks of which nothing is left here: forgotten once their last report is durable.
    leaving: BTreeSet<TaskId>,
    number: u64,
}

impl Reports {
    /// Forgets those of the tasks that have left, unless there is more to say of them.
    fn forget_left(
        &mut self,
        confirmed: Vec<(TaskId, ContainersFact)>,
    ) -> Vec<(TaskId, ContainersFact)> {
        for (task, _) in &confirmed {
            let more = self.unsent.contains_key(task)
                || self.unconfirmed.values().any(|(sent, _)| sent == task);
            if !more && self.leaving.remove(task) {
                self.newest.remove(task);
            }
        }
        confirmed
    }
}

pub struct Link {
    reports: Mutex<Reports>,
    news: Notify,
    /// Where log batches go while a session is up; a new sender for each session.
    session: watch::Sender<Option<mpsc::Sender<ToControl>>>,
}

impl Default for Link {
    fn default() -> Self {
        let (session, _) = watch::channel(None);
        Self { reports: Mutex::default(), news: Notify::new(), session }
    }
}

impl Link {
    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a task's report; one that says nothing new is not sent.
    pub fn report(&self, report: TaskReport) {
        let mut reports = self.reports();
        if reports.newest.get(&report.task) == Some(&report) {
            return;
        }
        reports.unsent.insert(report.task.clone(), ());
        reports.newest.insert(report.task.clone(), report);
        drop(reports);
        self.news.notify_one();
    }

    /// The newest report of a task.
    pub fn newest(&self, task: &TaskId) -> Option<TaskReport> {
        self.reports().newest.get(task).cloned()
    }

    /// Nothing of the task is left here: it is forgotten once its last report is durable.
    pub fn leave(&self, task: &TaskId) {
        self.reports().leaving.insert(task.clone());
    }

    /// What Hello says: every task's newest report. Numbering begins anew with the session.
    pub fn begin_session(&self, outbox: mpsc::Sender<ToControl>) -> Vec<TaskReport> {
        let mut reports = self.reports();
        reports.unsent.clear();
        reports.unconfirmed.clear();
        reports.number = 0;
        let all: Vec<TaskReport> = reports.newest.values().cloned().collect();
        reports.greeted = all.iter().map(|r| (r.task.clone(), r.containers_fact)).collect();
        drop(reports);
        self.session.send_replace(Some(outbox));
        all
    }

    pub fn end_session(&self) {
        self.session.send_replace(None);
    }

    /// Waits for reports that have not been sent and numbers them.
    pub async fn unsent(&self) -> Vec<ToControl> {
        loop {
            let news = self.news.notified();
            let ready = self.take_unsent();
            if !ready.is_empty() {
                return ready;
            }
            news.await;
        }
    }

    fn take_unsent(&self) -> Vec<ToControl> {
        let mut guard = self.reports();
        let reports = &mut *guard;
        let mut ready = Vec::new();
        while let Some((task, ())) = reports.unsent.pop_first() {
            let Some(report) = reports.newest.get(&task) else { continue };
            reports.number += 1;
            reports.unconfirmed.insert(reports.number, (task, report.containers_fact));
            ready.push(ToControl::Report { number: reports.number, report: report.clone() });
        }
        ready
    }

    /// Reports up to this number are durable: which tasks they were about, and what they said.
    pub fn confirmed(&self, number: u64) -> Vec<(TaskId, ContainersFact)> {
        let mut reports = self.reports();
        let later = reports.unconfirmed.split_off(&number.saturating_add(1));
        let confirmed = std::mem::replace(&mut reports.unconfirmed, later).into_values().collect();
        reports.forget_left(confirmed)
    }

    /// The control plane has read this session's Hello.
    pub fn greeting_confirmed(&self) -> Vec<(TaskId, ContainersFact)> {
        let mut reports = self.reports();
        let confirmed = std::mem::take(&mut reports.greeted);
        reports.forget_left(confirmed)
    }

    /// Sends log records as soon as a session is up. Whether they arrived is said by a Logged
    /// message; a session that ends before that takes the batch with it.
    pub async fn send_logs(&self, batch: LogBatch) {
        let mut message = ToControl::Logs(batch);
        let mut sessions = self.session.subscribe();
        loop {
            let session = sessions.borrow_and_update().clone();
            if let Some(session) = session {
                match session.send(message).await {
                    Ok(()) => return,
                    Err(mpsc::error::SendError(unsent)) => message = unsent,
                }
            }
            // The sender lives in self, so a change always comes or the agent ends.
            if sessions.changed().await.is_err() {
                return;
            }
        }
    }

    /// The session that is up, as it changes.
    pub fn sessions(&self) -> watch::Receiver<Option<mpsc::Sender<ToControl>>> {
        self.session.subscribe()
    }
}
