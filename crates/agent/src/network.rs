//! The networks of this instance: the tables that sessions bring, and a worker that has the runtime
//! carry them out. A task's sandbox waits until the table that has its interface is carried out, so
//! that it never runs outside of its walls. A table that is not told again stays: losing the
//! control plane changes nothing.

use crate::Shared;
use crate::images::Images;
use crate::limits::{NETWORK_REMOVALS_MAX, NETWORK_RETRY_MS, NETWORK_WAIT_MS};
use model::VpcId;
use model::vpc_table::{InterfaceChanges, Place, VpcTable};
use runtime::{Failure, Runtime};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// What all parts of the agent know of networks.
pub struct Networks {
    state: Mutex<State>,
    told: Notify,
    /// Counts what was carried out; who waits looks again.
    done: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    vpcs: BTreeMap<VpcId, Vpc>,
    /// Every VPC there is, when that was told and has not been acted upon.
    all: Option<BTreeSet<VpcId>>,
}

struct Vpc {
    wanted: VpcTable,
    pending: Pending,
    /// Tasks of this instance that the runtime lets in.
    ready: BTreeSet<Ipv4Addr>,
}

/// What the runtime has not been asked for.
enum Pending {
    Nothing,
    Interfaces(InterfaceChanges),
    Everything,
}

/// One thing to be asked of the runtime.
enum Work {
    Replace(VpcTable),
    Change(VpcId, InterfaceChanges),
    Keep(BTreeSet<VpcId>),
}

impl Default for Networks {
    fn default() -> Self {
        Self { state: Mutex::default(), told: Notify::new(), done: watch::Sender::new(0) }
    }
}

impl Networks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the networks")
    }

    pub fn learn(&self, all: Option<BTreeSet<VpcId>>, tables: Vec<Arc<VpcTable>>) {
        let mut state = self.lock();
        if let Some(all) = all {
            state.vpcs.retain(|vpc, _| all.contains(vpc));
            state.all = Some(all);
        }
        for table in tables {
            let wanted = Arc::unwrap_or_clone(table);
            let known = state.vpcs.remove(&wanted.id);
            let ready = known.map(|known| known.ready).unwrap_or_default();
            let vpc = Vpc { wanted, pending: Pending::Everything, ready };
            state.vpcs.insert(vpc.wanted.id.clone(), vpc);
        }
        self.told.notify_one();
    }

    pub fn learn_interfaces(&self, vpc: &VpcId, changes: InterfaceChanges) {
        let mut state = self.lock();
        // A VPC that isn't there has just gone, and its interfaces with it.
        let Some(known) = state.vpcs.get_mut(vpc) else { return };
        changes.apply(&mut known.wanted.interfaces);
        known.pending = match std::mem::replace(&mut known.pending, Pending::Nothing) {
            Pending::Nothing => Pending::Interfaces(changes),
            Pending::Interfaces(before) => Pending::Interfaces(before.then(changes)),
            Pending::Everything => Pending::Everything,
        };
        self.told.notify_one();
    }

    /// Waits until the runtime lets a task with this address in.
    pub async fn ready(&self, vpc: &VpcId, address: Ipv4Addr) -> Result<(), String> {
        let mut done = self.done.subscribe();
        let is_ready =
            |_: &u64| self.lock().vpcs.get(vpc).is_some_and(|vpc| vpc.ready.contains(&address));
        let patience = Duration::from_millis(NETWORK_WAIT_MS);
        match tokio::time::timeout(patience, done.wait_for(is_ready)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("the rules for {address} in {vpc} could not be set up")),
        }
    }

    fn take(&self) -> Option<Work> {
        let mut state = self.lock();
        let pending = state.vpcs.values_mut().find_map(|vpc| {
            match std::mem::replace(&mut vpc.pending, Pending::Nothing) {
                Pending::Nothing => None,
                Pending::Everything => Some(Work::Replace(vpc.wanted.clone())),
                Pending::Interfaces(changes) => Some(Work::Change(vpc.wanted.id.clone(), changes)),
            }
        });
        // What goes comes last: nobody waits for it.
        pending.or_else(|| state.all.take().map(Work::Keep))
    }

    fn put_back(&self, work: &Work) {
        let mut state = self.lock();
        match work {
            Work::Keep(all) => drop(state.all.get_or_insert(all.clone())),
            Work::Replace(VpcTable { id, .. }) | Work::Change(id, _) => {
                if let Some(vpc) = state.vpcs.get_mut(id) {
                    vpc.pending = Pending::Everything;
                }
            }
        }
        self.told.notify_one();
    }

    fn carried_out(&self, vpc: &VpcId, change: impl FnOnce(&mut Vpc)) {
        if let Some(vpc) = self.lock().vpcs.get_mut(vpc) {
            change(vpc);
        }
        self.done.send_modify(|done| *done += 1);
    }
}

/// Has the runtime carry out what is told, as long as the agent lives: this must not keep alive
/// what it carries out with.
pub async fn keep_applying<R: Runtime, I: Images>(
    networks: Arc<Networks>,
    agent: Weak<Shared<R, I>>,
) {
    loop {
        networks.told.notified().await;
        while let Some(work) = networks.take() {
            let Some(shared) = agent.upgrade() else { return };
            let done = perform(shared, &work).await;
            if let Err(failure) = done {
                tracing::error!(%failure, "a network could not be set up; trying again");
                networks.put_back(&work);
                tokio::time::sleep(Duration::from_millis(NETWORK_RETRY_MS)).await;
            }
        }
    }
}

async fn perform<R: Runtime, I: Images>(
    shared: Arc<Shared<R, I>>,
    work: &Work,
) -> Result<(), Failure> {
    match work {
        Work::Keep(all) => {
            for vpc in shared.runtime.vpcs().await {
                if !all.contains(&vpc) {
                    // It may wait for the last interfaces to go, and nobody waits for it.
                    tokio::spawn(remove(Arc::downgrade(&shared), vpc));
                }
            }
        }
        Work::Replace(table) => {
            shared.runtime.ensure_vpc(table.clone()).await?;
            let tasks = table.interfaces.iter().filter(|(_, it)| it.place == Place::Task);
            let tasks = tasks.map(|(address, _)| *address).collect();
            shared.networks.carried_out(&table.id, |vpc| vpc.ready = tasks);
        }
        Work::Change(id, changes) => {
            if !shared.runtime.change_interfaces(id, changes.clone()).await? {
                let reason = format!("the runtime has forgotten the rules of {id}");
                return Err(Failure::Refused(reason));
            }
            shared.networks.carried_out(id, |vpc| vpc.change_ready(changes));
        }
    }
    Ok(())
}

async fn remove<R: Runtime, I: Images>(agent: Weak<Shared<R, I>>, vpc: VpcId) {
    for _ in 0..NETWORK_REMOVALS_MAX {
        let Some(shared) = agent.upgrade() else { return };
        shared.stop_serving(&vpc).await;
        let Err(failure) = shared.runtime.remove_vpc(&vpc).await else { return };
        drop(shared);
        tracing::debug!(%vpc, %failure, "a VPC that is gone can't go here yet");
        tokio::time::sleep(Duration::from_millis(NETWORK_RETRY_MS)).await;
    }
    // The next session says again what there is.
    tracing::warn!(%vpc, "a VPC that is gone stays on this instance for now");
}

impl Vpc {
    fn change_ready(&mut self, changes: &InterfaceChanges) {
        for address in &changes.remove {
            self.ready.remove(address);
        }
        for (address, interface) in &changes.upsert {
            match interface.place {
                Place::Task => drop(self.ready.insert(*address)),
                _ => drop(self.ready.remove(address)),
            }
        }
    }
}
