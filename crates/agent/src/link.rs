//! The link to the control plane as the rest of the agent sees it: a place to leave reports and log
//! records. It is up or down; tasks neither know nor care. A report stays until the control plane
//! says it is durable, and only a task's newest report is kept, since it says all that the older
//! ones said. What somebody may wait for is sent at once; what only tells how far a launch has come
//! waits a moment for what comes next, because each report that is sent becomes a durable write.

use crate::limits::PROGRESS_WAITS_MS;
use model::TaskId;
use model::facts::{ContainersFact, InterfaceFact};
use model::session::{ContainerReport, LogBatch, TaskReport, ToControl};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

#[derive(Default)]
struct Reports {
    newest: BTreeMap<TaskId, TaskReport>,
    /// Not sent in this session, or changed since; and when to send them.
    unsent: BTreeMap<TaskId, Instant>,
    /// What was sent last of each task in this session.
    told: BTreeMap<TaskId, TaskReport>,
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
                self.told.remove(task);
            }
        }
        confirmed
    }

    /// When to send a report: at once, or when it has waited for another.
    fn due(&self, report: &TaskReport, now: Instant) -> Instant {
        let told = self.told.get(&report.task);
        if told.is_some_and(|told| is_mere_progress(told, report)) {
            now + Duration::from_millis(PROGRESS_WAITS_MS)
        } else {
            now
        }
    }
}

/// Whether a report changes nothing that anybody decides by: neither whether the task runs or has
/// ended, nor what it holds, nor its containers' health and ends.
fn is_mere_progress(told: &TaskReport, new: &TaskReport) -> bool {
    let released = |report: &TaskReport| report.interface == InterfaceFact::Released;
    let decisive = |container: &ContainerReport| {
        (container.exit_code, container.health, container.restart_count, container.stopped_at)
    };
    told.containers_fact == new.containers_fact
        && told.stop == new.stop
        && released(told) == released(new)
        && told.containers.iter().map(decisive).eq(new.containers.iter().map(decisive))
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
        self.report_at(report, Instant::now());
    }

    fn report_at(&self, report: TaskReport, now: Instant) {
        let mut reports = self.reports();
        if reports.newest.get(&report.task) == Some(&report) {
            return;
        }
        let due = reports.due(&report, now);
        // One that waited already waits no longer for this one.
        let due = reports.unsent.get(&report.task).map_or(due, |before| due.min(*before));
        reports.unsent.insert(report.task.clone(), due);
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
        let mut guard = self.reports();
        let reports = &mut *guard;
        reports.unsent.clear();
        reports.told.clone_from(&reports.newest);
        reports.unconfirmed.clear();
        reports.number = 0;
        let all: Vec<TaskReport> = reports.newest.values().cloned().collect();
        reports.greeted = all.iter().map(|r| (r.task.clone(), r.containers_fact)).collect();
        drop(guard);
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
            let (ready, next) = self.take_unsent(Instant::now());
            if !ready.is_empty() {
                return ready;
            }
            match next {
                Some(next) => drop(tokio::time::timeout_at(next, news).await),
                None => news.await,
            }
        }
    }

    /// Those whose time has come, and when that of the next one will.
    fn take_unsent(&self, now: Instant) -> (Vec<ToControl>, Option<Instant>) {
        let mut guard = self.reports();
        let reports = &mut *guard;
        let (mut ready, mut next) = (Vec::new(), None::<Instant>);
        for (task, due) in std::mem::take(&mut reports.unsent) {
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
                reports.unsent.insert(task, due);
                continue;
            }
            let Some(report) = reports.newest.get(&task) else { continue };
            reports.told.insert(task.clone(), report.clone());
            reports.number += 1;
            reports.unconfirmed.insert(reports.number, (task, report.containers_fact));
            ready.push(ToControl::Report { number: reports.number, report: report.clone() });
        }
        (ready, next)
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::ClusterName;
    use model::container::{ContainerPhase, Health};
    use model::session::ReportTimes;

    fn report(fact: ContainersFact, pulled: i64) -> TaskReport {
        let pull_stopped_at = Some(model::Timestamp(pulled));
        TaskReport {
            task: TaskId::from("0123"),
            cluster: ClusterName::from("default"),
            containers_fact: fact,
            interface: InterfaceFact::Wanted,
            containers: Vec::new(),
            times: ReportTimes { pull_stopped_at, ..ReportTimes::default() },
            stop: None,
        }
    }

    fn sent(messages: &[ToControl]) -> Vec<TaskReport> {
        let report = |message: &ToControl| match message {
            ToControl::Report { report, .. } => report.clone(),
            other => panic!("not a report: {other:?}"),
        };
        messages.iter().map(report).collect()
    }

    #[test]
    fn progress_waits_for_what_comes_next_and_nothing_else_waits() {
        let link = Link::default();
        let now = Instant::now();
        let later = |part: u64| now + Duration::from_millis(PROGRESS_WAITS_MS * part / 4);
        // The first word of a task is sent at once, though it is only progress.
        link.report_at(report(ContainersFact::Accepted, 1), now);
        assert_eq!(sent(&link.take_unsent(now).0), [report(ContainersFact::Accepted, 1)]);
        // Progress is overtaken by what matters, and both are one report.
        link.report_at(report(ContainersFact::Accepted, 2), now);
        let (none, next) = link.take_unsent(now);
        assert!(none.is_empty() && next == Some(later(4)));
        link.report_at(report(ContainersFact::Running, 2), later(1));
        assert_eq!(sent(&link.take_unsent(later(1)).0), [report(ContainersFact::Running, 2)]);
        // With nothing to overtake it, it is sent all the same, and more of it defers nothing.
        link.report_at(report(ContainersFact::Running, 3), now);
        link.report_at(report(ContainersFact::Running, 4), later(3));
        assert!(link.take_unsent(later(3)).0.is_empty());
        assert_eq!(sent(&link.take_unsent(later(4)).0), [report(ContainersFact::Running, 4)]);
        assert_eq!(link.take_unsent(later(8)), (Vec::new(), None));
    }

    #[test]
    fn ends_releases_and_health_are_more_than_progress() {
        let base = report(ContainersFact::Running, 1);
        assert!(is_mere_progress(&base, &report(ContainersFact::Running, 2)));
        let attached = TaskReport { interface: InterfaceFact::Attached, ..base.clone() };
        assert!(is_mere_progress(&base, &attached));
        let released = TaskReport { interface: InterfaceFact::Released, ..base.clone() };
        assert!(!is_mere_progress(&base, &released));
        assert!(!is_mere_progress(&base, &report(ContainersFact::Stopped, 1)));
        let container = |health| ContainerReport {
            name: "web".to_owned(),
            phase: ContainerPhase::Running,
            image_digest: None,
            exit_code: None,
            reason: None,
            health,
            health_at: None,
            restart_count: 0,
            started_at: None,
            stopped_at: None,
        };
        let with = |health| TaskReport { containers: vec![container(health)], ..base.clone() };
        let (unknown, healthy) = (with(Health::Unknown), with(Health::Healthy));
        assert!(!is_mere_progress(&unknown, &healthy));
    }
}
