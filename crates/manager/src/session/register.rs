//! An agent introduces itself: its instance is made or refreshed, and its session gets an epoch of
//! its own. From then on every write of an older session of the same instance is refused.

use crate::Context;
use model::instance::{Allocation, Instance, InstanceState};
use model::session::Hello;
use model::{InstanceId, ZoneName};
use store::{CommitFailure, TransactFailure};

/// Where an agent is, and how it is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// On the control plane's machine, where load balancers are served: it may be any instance.
    OwnMachine,
    /// On a machine that joined: its certificate says which instance it is.
    Joined(InstanceId),
    /// As `Joined`, but an operator has forgotten the instance.
    Forgotten(InstanceId),
}

#[derive(Debug, thiserror::Error)]
pub enum RegisterFailure {
    #[error("the certificate is that of instance {certified}, not of {claimed}")]
    NotItself { certified: InstanceId, claimed: InstanceId },
    #[error("{zone} is no zone of {region}, whose zones are {region}a, {region}b, …")]
    Zone { zone: ZoneName, region: String },
    #[error("the instance has just been forgotten")]
    Forgotten,
}

/// What an agent may claim to be.
fn identity(cx: &Context, hello: &Hello, origin: &Origin) -> Result<InstanceId, RegisterFailure> {
    let region = cx.locality.region.as_str();
    if let Some(zone) = &hello.zone {
        let letter = zone.as_str().strip_prefix(region).map(str::as_bytes);
        if !matches!(letter, Some([b'a'..=b'z'])) {
            return Err(RegisterFailure::Zone { zone: zone.clone(), region: region.to_owned() });
        }
    }
    let claimed = hello.instance.clone();
    match origin {
        Origin::OwnMachine => Ok(claimed.unwrap_or_else(|| InstanceId::mint(cx.random()))),
        Origin::Joined(certified) | Origin::Forgotten(certified) => match claimed {
            Some(claimed) if claimed != *certified => {
                Err(RegisterFailure::NotItself { certified: certified.clone(), claimed })
            }
            _ => Ok(certified.clone()),
        },
    }
}

pub async fn register(
    cx: &Context,
    hello: &Hello,
    origin: &Origin,
) -> Result<(InstanceId, u64), TransactFailure<RegisterFailure>> {
    let now = cx.now();
    let id = identity(cx, hello, origin).map_err(TransactFailure::Aborted)?;
    let ((), _) = cx
        .store
        .transact(|txn| {
            let known = txn.get::<Instance>(id.as_str());
            // What it held is being given back.
            if known.as_ref().is_some_and(|i| i.state == InstanceState::Forgotten) {
                return Err(RegisterFailure::Forgotten);
            }
            let drains = known.as_ref().is_some_and(|i| i.drains());
            txn.put(Instance {
                id: id.clone(),
                name: hello.name.clone(),
                zone: hello.zone.clone().unwrap_or_else(|| cx.zone.clone()),
                cpu_architecture: hello.cpu_architecture.clone(),
                state: InstanceState::wished(drains),
                drains,
                cpu_units: hello.cpu_units,
                memory_mib: hello.memory_mib,
                registered_at: known.as_ref().map_or(now, |i| i.registered_at),
                boot_id: hello.boot_id.clone(),
                agent_version: hello.agent_version.clone(),
                session_epoch: known.as_ref().map_or(0, |i| i.session_epoch) + 1,
                seen_at: now,
                serves_balancers: *origin == Origin::OwnMachine,
                underlay: hello.underlay,
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
