//! Giving back what a task held: once its interface is gone, its address and its share of the
//! instance are free again. The interface's record stands for both: while it is there, they are
//! held; the transaction that removes it frees them, so that a repetition frees nothing twice.

use crate::Context;
use crate::follow::{Follow, Step};
use crate::limits::{RELEASES_PER_COMMIT_MAX, RETRY_AFTER_MS};
use crate::session::Connected;
use model::InstanceId;
use model::facts::{Placement, TaskStatus};
use model::instance::{Allocation, Instance, InstanceState};
use model::network::{Address, AddressPool, NetworkInterface, PublicAddress, PublicPool, Subnet};
use model::task::Task;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::kinds::PUBLIC_POOL_KEY;
use store::{CommitFailure, Snapshot, Txn};

/// Tasks that are over and may still hold something.
#[derive(Default)]
struct Over {
    /// To be looked at.
    fresh: BTreeSet<Arc<str>>,
    /// Their instance is away, or still has something of them: given back when it says otherwise.
    held: BTreeSet<Arc<str>>,
}

impl Over {
    fn fold(&mut self, step: Step<Task>) {
        match step {
            Step::Everything(snapshot) => {
                *self = Self::default();
                let over = snapshot.scan::<Task>("").filter(|(_, task)| is_over(task));
                self.fresh.extend(over.map(|(key, _)| Arc::from(key)));
            }
            Step::Changes(changes) => {
                let over = changes.into_iter().filter(|(_, task)| {
                    task.as_ref().is_some_and(|task| is_over(task) && task.interface.is_some())
                });
                self.fresh.extend(over.map(|(key, _)| key));
            }
        }
    }

    fn look_again(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.fresh.extend(held);
    }

    /// The next ones that can be given back; sets aside those that can't.
    fn take(&mut self, snapshot: &Snapshot, connected: &Connected) -> Vec<Arc<str>> {
        let mut group = Vec::new();
        while group.len() < RELEASES_PER_COMMIT_MAX {
            let Some(key) = self.fresh.pop_first() else { break };
            let Some(task) = snapshot.get::<Task>(&key) else { continue };
            if !holds(snapshot, &task) {
                continue;
            }
            let placed = task.facts.placed.as_ref();
            let is_given_up = |p: &Placement| {
                connected.is_rid_of(&p.instance, &task.id) || is_forgotten(snapshot, &p.instance)
            };
            match placed.is_none_or(is_given_up) {
                true => group.push(key),
                false => drop(self.held.insert(key)),
            }
        }
        group
    }
}

pub async fn run(cx: &Context, connected: &Connected) {
    let mut follow = Follow::<Task>::new(&cx.store);
    let mut sessions = connected.changes();
    let mut instances = Follow::<Instance>::new(&cx.store);
    let mut over = Over::default();
    loop {
        tokio::select! {
            step = follow.next() => match step {
                Ok(step) => over.fold(step),
                Err(_) => return,
            },
            () = sessions.next() => over.look_again(),
            step = instances.next() => match step {
                Ok(_) => over.look_again(),
                Err(_) => return,
            },
        }
        loop {
            let group = over.take(&cx.store.snapshot(), connected);
            if group.is_empty() {
                break;
            }
            if let Err(failure) = release(cx, &group).await {
                tracing::error!(%failure, "addresses and room could not be given back; trying on");
                over.fresh.extend(group);
                tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
            }
        }
    }
}

fn is_over(task: &Task) -> bool {
    task.last_status() == TaskStatus::Stopped
}

/// An operator says that nothing of it runs any more. Its record goes last of all, so that what has
/// none was forgotten, too.
fn is_forgotten(snapshot: &Snapshot, instance: &InstanceId) -> bool {
    let found = snapshot.get::<Instance>(instance.as_str());
    found.is_none_or(|found| found.state == InstanceState::Forgotten)
}

/// Whether a task's address and room have not been given back.
pub fn holds(snapshot: &Snapshot, task: &Task) -> bool {
    let interface = task.interface.as_ref();
    interface.is_some_and(|i| snapshot.get::<NetworkInterface>(i.interface.as_str()).is_some())
}

async fn release(
    cx: &Context,
    keys: &[Arc<str>],
) -> Result<(), store::TransactFailure<CommitFailure>> {
    let released = cx.store.transact(|txn| {
        for key in keys {
            release_one(txn, key);
        }
        Ok(())
    });
    released.await.map(|_| ())
}

/// An elastic address is its user's still; one that came with the interface is free.
fn release_public(txn: &mut Txn, public: &PublicAddress) {
    if let Some(allocation) = &public.allocation {
        if let Some(address) = txn.get::<Address>(allocation.as_str()) {
            txn.put(Address { association: None, ..(*address).clone() });
        }
    } else if let Some(pool) = txn.get::<PublicPool>(PUBLIC_POOL_KEY) {
        let mut pool = (*pool).clone();
        pool.give_back(public.ip);
        txn.put(pool);
    }
}

fn release_one(txn: &mut Txn, key: &str) {
    let Some(task) = txn.peek::<Task>(key) else { return };
    let Some(held) = &task.interface else { return };
    let Some(interface) = txn.get::<NetworkInterface>(held.interface.as_str()) else { return };
    txn.delete::<NetworkInterface>(held.interface.as_str());
    if let Some(pool) = txn.get::<AddressPool>(interface.subnet.as_str())
        && let Some(subnet) = txn.peek::<Subnet>(interface.subnet.as_str())
    {
        let first = u32::from(subnet.cidr.address);
        let mut pool = (*pool).clone();
        pool.taken.remove(&(u32::from(interface.private_ip).wrapping_sub(first)));
        txn.put(pool);
    }
    if let Some(public) = &interface.public {
        release_public(txn, public);
    }
    let Some(placed) = &task.facts.placed else { return };
    if let Some(allocation) = txn.get::<Allocation>(placed.instance.as_str()) {
        let mut allocation = (*allocation).clone();
        let took = |held: u32, part: u32| {
            held.checked_sub(part).expect("an instance gives back no more than was taken of it")
        };
        allocation.cpu_units = took(allocation.cpu_units, task.cpu_units);
        allocation.memory_mib = took(allocation.memory_mib, task.memory_mib);
        allocation.tasks = took(allocation.tasks, 1);
        txn.put(allocation);
    }
}
