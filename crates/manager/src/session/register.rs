//! An agent introduces itself: its instance is made or refreshed, and its session gets an epoch of
//! its own. From then on every write of an older session of the same instance is refused.

use crate::Context;
use model::InstanceId;
use model::instance::{Allocation, Instance, InstanceState};
use model::session::Hello;
use store::{CommitFailure, TransactFailure};

/// Where an agent is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// On the control plane's machine, where load balancers are served.
    OwnMachine,
    Elsewhere,
}

pub async fn register(
    cx: &Context,
    hello: &Hello,
    origin: Origin,
) -> Result<(InstanceId, u64), TransactFailure<CommitFailure>> {
    let now = cx.now();
    let id = hello.instance.clone().unwrap_or_else(|| InstanceId::mint(cx.random()));
    let ((), _) = cx
        .store
        .transact(|txn| {
            let known = txn.get::<Instance>(id.as_str());
            let state = match known.as_ref().map(|i| i.state) {
                Some(InstanceState::Draining) => InstanceState::Draining,
                _ => InstanceState::Active,
            };
            txn.put(Instance {
                id: id.clone(),
                name: hello.name.clone(),
                zone: known.as_ref().map_or_else(|| cx.zone.clone(), |i| i.zone.clone()),
                cpu_architecture: hello.cpu_architecture.clone(),
                state,
                cpu_units: hello.cpu_units,
                memory_mib: hello.memory_mib,
                registered_at: known.as_ref().map_or(now, |i| i.registered_at),
                boot_id: hello.boot_id.clone(),
                agent_version: hello.agent_version.clone(),
                session_epoch: known.as_ref().map_or(0, |i| i.session_epoch) + 1,
                seen_at: now,
                serves_balancers: origin == Origin::OwnMachine,
            });
            if txn.get::<Allocation>(id.as_str()).is_none() {
                let instance = id.clone();
                txn.put(Allocation { instance, cpu_units: 0, memory_mib: 0, tasks: 0 });
            }
            Ok(())
        })
        .await?;
    let epoch = cx.store.snapshot().get::<Instance>(id.as_str()).map_or(0, |i| i.session_epoch);
    Ok((id, epoch))
}

/// Notes when a session of this epoch was last heard of, as it ends.
pub async fn part(cx: &Context, instance: &InstanceId, epoch: u64) {
    let now = cx.now();
    let noted = cx
        .store
        .transact(|txn| {
            if let Some(known) = txn.get::<Instance>(instance.as_str())
                && known.session_epoch == epoch
            {
                let mut parted = (*known).clone();
                parted.seen_at = now;
                txn.put(parted);
            }
            Ok::<(), CommitFailure>(())
        })
        .await;
    if let Err(failure) = noted {
        // The lease then counts from when the session began, which only makes it end earlier.
        tracing::warn!(%instance, %failure, "could not note the end of a session");
    }
}
