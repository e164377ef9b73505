//! Giving back what a task held: once its interface is gone, its address and its share of the
//! instance are free again. The interface's record stands for both: while it is there, they are
//! held; the transaction that removes it frees them, so that a repetition frees nothing twice.

use crate::Context;
use crate::follow::{Follow, Step};
use crate::limits::{RELEASES_PER_COMMIT_MAX, RETRY_AFTER_MS};
use model::facts::TaskStatus;
use model::instance::Allocation;
use model::network::{AddressPool, NetworkInterface, Subnet};
use model::task::Task;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::{CommitFailure, Txn};

pub async fn run(cx: &Context) {
    let mut follow = Follow::<Task>::new(&cx.store);
    let mut over: BTreeSet<Arc<str>> = BTreeSet::new();
    loop {
        if over.is_empty() {
            match follow.next().await {
                Ok(Step::Everything(snapshot)) => {
                    for (key, task) in snapshot.scan::<Task>("").filter(|(_, t)| is_over(t)) {
                        let interface = task.interface.as_ref().map(|i| i.interface.as_str());
                        if interface.is_some_and(|i| snapshot.get::<NetworkInterface>(i).is_some())
                        {
                            over.insert(Arc::from(key));
                        }
                    }
                }
                Ok(Step::Changes(changes)) => {
                    let ended = changes.into_iter().filter(|(_, task)| {
                        task.as_ref().is_some_and(|task| is_over(task) && task.interface.is_some())
                    });
                    over.extend(ended.map(|(key, _)| key));
                }
                Err(_) => return,
            }
        }
        let group: Vec<_> = over.iter().take(RELEASES_PER_COMMIT_MAX).map(Arc::clone).collect();
        match release(cx, &group).await {
            Ok(()) => group.iter().for_each(|key| {
                over.remove(key);
            }),
            Err(failure) => {
                tracing::error!(%failure, "addresses and room could not be given back; trying on");
                tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
            }
        }
    }
}

fn is_over(task: &Task) -> bool {
    task.last_status() == TaskStatus::Stopped
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
