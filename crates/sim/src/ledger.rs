//! What must always hold, written down as it happens. The first violation ends the run.

use model::TaskId;
use model::facts::{InterfaceFact, TaskStatus};
use model::instance::{Allocation, Instance};
use model::network::AddressPool;
use model::task::Task;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

#[derive(Default)]
pub struct Ledger {
    /// Every launch of a container there ever was: where, and its last attempt.
    launches: BTreeMap<(TaskId, String), (usize, u32)>,
    /// Tasks of which a program really ran.
    started: BTreeSet<TaskId>,
    /// Tasks of which an agent has known that they are to stop.
    told_to_stop: BTreeSet<TaskId>,
    violation: Option<String>,
}

impl Ledger {
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    pub fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    /// One run of each container, on one machine; more of them only as its restart policy counts
    /// them.
    pub fn launched(
        &mut self,
        machine: usize,
        task: &Task,
        container: &str,
        attempt: u32,
        restarts: bool,
    ) {
        let key = (task.id.clone(), container.to_owned());
        let before = self.launches.insert(key, (machine, attempt));
        let id = &task.id;
        self.hold(before.is_none_or(|(on, _)| on == machine), || {
            format!(
                "{container} of {id} is started on machine {machine} and on another: {before:?}"
            )
        });
        let told = self.told_to_stop.contains(id);
        self.hold(!told, || format!("{container} of {id} is started though it is to stop"));
        let expected = before.map_or(1, |(_, last)| last + 1);
        self.hold(attempt == expected && (attempt == 1 || restarts), || {
            format!(
                "{container} of {id} is started once more: attempt {attempt}, before {before:?}"
            )
        });
    }

    pub fn told_to_stop(&mut self, task: &TaskId) {
        self.told_to_stop.insert(task.clone());
    }

    pub fn started(&mut self, task: &TaskId) {
        self.started.insert(task.clone());
    }

    pub fn ever_started(&self, task: &TaskId) -> bool {
        self.started.contains(task)
    }

    /// Facts and status go forward, and the version rises with them.
    pub fn changed(&mut self, before: &Task, after: &Task) {
        let (was, is) = (&before.facts, &after.facts);
        let forward = was.desired <= is.desired
            && was.interface <= is.interface
            && was.containers <= is.containers
            && was.target <= is.target
            && (was.placed.is_none() || was.placed == is.placed)
            && before.last_status() <= after.last_status();
        self.hold(forward, || format!("a fact went back: {was:?} -> {is:?}"));
        let visible = was != is || before.containers != after.containers;
        self.hold(!visible || after.version > before.version, || {
            format!("changed without a new version: {}", after.id)
        });
        let placed_while_stopping = was.placed.is_none()
            && is.placed.is_some()
            && is.desired != was.desired.min(is.desired);
        self.hold(!placed_while_stopping, || format!("a stopped task got a place: {}", after.id));
        let stopped = after.last_status() == TaskStatus::Stopped;
        let held = is.placed.is_some() && is.interface == InterfaceFact::Attached;
        self.hold(!(stopped && held), || format!("STOPPED holds its interface: {}", after.id));
    }

    /// No instance has given more than it has, and the books are right.
    pub fn rooms<'a>(
        &mut self,
        instance: &Instance,
        allocation: &Allocation,
        holders: impl Iterator<Item = &'a Task>,
    ) {
        let (mut cpu_units, mut memory_mib, mut tasks) = (0, 0, 0);
        for task in holders {
            cpu_units += task.cpu_units;
            memory_mib += task.memory_mib;
            tasks += 1;
        }
        let id = &instance.id;
        self.hold(cpu_units <= instance.cpu_units && memory_mib <= instance.memory_mib, || {
            format!("instance {id} is overcommitted: {cpu_units} units, {memory_mib} MiB")
        });
        let booked = (allocation.cpu_units, allocation.memory_mib, allocation.tasks);
        self.hold(booked == (cpu_units, memory_mib, tasks), || {
            format!("the books of {id} say {booked:?} for {:?}", (cpu_units, memory_mib, tasks))
        });
    }

    /// Every held address is taken, nobody shares one, and nothing else is taken.
    pub fn addresses<'a>(
        &mut self,
        pools: impl Iterator<Item = &'a AddressPool>,
        holders: impl Iterator<Item = &'a Task>,
    ) {
        let mut held = BTreeSet::new();
        for task in holders {
            let Some(interface) = &task.interface else { continue };
            let address = interface.private_ip;
            self.hold(held.insert(address), || format!("{address} is held twice"));
        }
        let taken: usize = pools.map(|p| p.taken.len()).sum();
        self.hold(taken == held.len(), || format!("{taken} addresses taken, {} held", held.len()));
    }

    /// No two machines answer to one address.
    pub fn answers(&mut self, address: Ipv4Addr, others: impl Iterator<Item = Ipv4Addr>) {
        let twice = others.into_iter().any(|other| other == address);
        self.hold(!twice, || format!("two sandboxes answer to {address}"));
    }
}
