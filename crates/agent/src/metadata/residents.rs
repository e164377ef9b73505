//! Who lives in this instance's VPCs, by address. A VPC's router lets nothing through that does not
//! come from its task's own address, so the address of who asks is who asks: nothing a task says
//! of itself is believed.

use super::stats::Sample;
use crate::limits::{
    INSIDE_CONNECTIONS_PER_TASK_MAX, INSIDE_REQUESTS_BURST, INSIDE_REQUESTS_PER_SECOND,
};
use model::credentials::SessionKeys;
use model::session::Assignment;
use model::{TaskId, VpcId};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One task, as the endpoints in its network know it.
pub struct Resident {
    assignment: Mutex<Arc<Assignment>>,
    /// The newest keys of the task's role.
    pub keys: watch::Sender<Option<SessionKeys>>,
    pub connections: Arc<Semaphore>,
    pub api_connections: Arc<Semaphore>,
    pace: Mutex<Pace>,
    /// What the task used when it was last asked.
    pub sample: tokio::sync::Mutex<Option<Sample>>,
}

impl Resident {
    fn new(assignment: Arc<Assignment>) -> Self {
        let connections = || Arc::new(Semaphore::new(INSIDE_CONNECTIONS_PER_TASK_MAX));
        Self {
            assignment: Mutex::new(assignment),
            keys: watch::channel(None).0,
            connections: connections(),
            api_connections: connections(),
            pace: Mutex::new(Pace::new(Instant::now())),
            sample: tokio::sync::Mutex::default(),
        }
    }

    pub fn assignment(&self) -> Arc<Assignment> {
        Arc::clone(&lock(&self.assignment))
    }

    /// Whether the task may ask once more just now.
    pub fn may_ask(&self) -> bool {
        lock(&self.pace).take(Instant::now())
    }
}

/// A bucket that fills at a steady pace and is emptied by requests.
struct Pace {
    left: f64,
    at: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { left: INSIDE_REQUESTS_BURST, at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * INSIDE_REQUESTS_PER_SECOND).min(INSIDE_REQUESTS_BURST);
        self.at = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[derive(Default)]
struct Table {
    by_address: BTreeMap<(VpcId, Ipv4Addr), TaskId>,
    by_task: BTreeMap<TaskId, Arc<Resident>>,
}

/// All of them.
#[derive(Default)]
pub struct Residents {
    table: Mutex<Table>,
    /// Somebody came who may need keys.
    pub arrivals: Notify,
}

impl Residents {
    /// A task that is to run here, or what has changed about it.
    pub fn enter(&self, assignment: &Arc<Assignment>) {
        let mut table = lock(&self.table);
        if let Some(interface) = &assignment.interface {
            let place = (interface.vpc.clone(), interface.private_ip);
            table.by_address.insert(place, assignment.task.clone());
        }
        match table.by_task.get(&assignment.task) {
            Some(known) => *lock(&known.assignment) = Arc::clone(assignment),
            None => {
                let resident = Arc::new(Resident::new(Arc::clone(assignment)));
                table.by_task.insert(assignment.task.clone(), resident);
            }
        }
        drop(table);
        if assignment.inside.credentials.is_some() {
            self.arrivals.notify_one();
        }
    }

    /// Nothing of the task is left. Its address may be another's by now.
    pub fn leave(&self, task: &TaskId) {
        let mut table = lock(&self.table);
        table.by_task.remove(task);
        table.by_address.retain(|_, of| of != task);
    }

    pub fn at(&self, vpc: &VpcId, address: Ipv4Addr) -> Option<Arc<Resident>> {
        let table = lock(&self.table);
        let task = table.by_address.get(&(vpc.clone(), address))?;
        table.by_task.get(task).cloned()
    }

    pub fn of(&self, task: &TaskId) -> Option<Arc<Resident>> {
        lock(&self.table).by_task.get(task).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Resident>> {
        lock(&self.table).by_task.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_let_through_and_then_a_steady_pace() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let burst = INSIDE_REQUESTS_BURST as usize;
        assert_eq!((0..burst * 2).filter(|_| pace.take(start)).count(), burst);
        let later = start + Duration::from_millis(500);
        let half = INSIDE_REQUESTS_PER_SECOND as usize / 2;
        assert_eq!((0..burst).filter(|_| pace.take(later)).count(), half);
        // Rest does not add up beyond a burst.
        let much_later = later + Duration::from_secs(3600);
        assert_eq!((0..burst * 2).filter(|_| pace.take(much_later)).count(), burst);
    }
}
