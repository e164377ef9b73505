//! Tasks without a place get one: wake, snapshot, plan, commit. The commit takes the place only if
//! the tasks still want it and the rooms the plan relied on are unchanged; else everything is
//! planned again. What finds no room keeps the reason in view and is tried again whenever something
//! has changed.

use crate::Context;
use crate::follow::{Follow, Step};
use crate::limits::{PLACEMENTS_PER_COMMIT_MAX, RETRY_AFTER_MS};
use crate::session::Connected;
use model::facts::{Desired, Placement, TaskStatus};
use model::instance::{Allocation, Instance};
use model::network::{
    AddressPool, DhcpOptions, NetworkInterface, PublicAddress, PublicPool, Resolving, Subnet, Vpc,
};
use model::task::{Task, TaskInterface};
use model::{AttachmentId, InterfaceId, SubnetId, TaskId, Timestamp};
use plan::placement::{
    Address, Demand, InstanceRoom, Neighbours, Placed, Placements, Spread, SubnetRoom, keeps_apart,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use store::kinds::{PUBLIC_POOL_KEY, task_key};
use store::limits::TRANSACTION_OPERATIONS_MAX;
use store::{CommitFailure, Snapshot, Txn};

/// What a task waits for when it is to have a public address and none is left.
const NO_PUBLIC_ADDRESS: &str = "no public address is free";
/// Tasks looked at in one plan; the rest follow in the next.
const DEMANDS_PER_PLAN_MAX: usize = 1000;

/// Folded from the store: what wants a place, and where each group's tasks are.
#[derive(Default)]
struct Index {
    /// In the order in which they came.
    waiting: BTreeSet<(Timestamp, Arc<str>)>,
    /// Those of them that no plan has looked at since room last changed: the others would find none
    /// again.
    fresh: BTreeSet<(Timestamp, Arc<str>)>,
    known: BTreeMap<Arc<str>, Entry>,
    spread: Spread,
    neighbours: Neighbours,
}

struct Entry {
    created_at: Timestamp,
    group: String,
    placed: Option<Placement>,
}

impl Index {
    fn rebuild(&mut self, snapshot: &Snapshot) {
        *self = Self::default();
        for (key, task) in snapshot.scan::<Task>("") {
            self.fold(Arc::from(key), Some(&task));
        }
    }

    fn fold(&mut self, key: Arc<str>, task: Option<&Task>) {
        let mut is_fresh = true;
        if let Some(old) = self.known.remove(&key) {
            let place = (old.created_at, Arc::clone(&key));
            let waited = self.waiting.remove(&place);
            is_fresh = self.fresh.remove(&place) || !waited;
            self.count(&old, -1);
        }
        let Some(task) = task.filter(|task| task.last_status() != TaskStatus::Stopped) else {
            return;
        };
        if task.facts.placed.is_none() && task.facts.desired == Desired::Running {
            self.waiting.insert((task.created_at, Arc::clone(&key)));
            if is_fresh {
                self.fresh.insert((task.created_at, Arc::clone(&key)));
            }
        }
        let entry = Entry {
            created_at: task.created_at,
            group: task.group.clone(),
            placed: task.facts.placed.clone(),
        };
        self.count(&entry, 1);
        self.known.insert(key, entry);
    }

    /// Room may have come free: everything that waits is looked at again.
    fn room_changed(&mut self) {
        self.fresh.clone_from(&self.waiting);
    }

    /// These must be planned again.
    fn freshen(&mut self, keys: Vec<Arc<str>>) {
        for key in keys {
            let Some(entry) = self.known.get(&key) else { continue };
            let place = (entry.created_at, key);
            if self.waiting.contains(&place) {
                self.fresh.insert(place);
            }
        }
    }

    /// The next tasks to plan for, no longer fresh.
    fn take_fresh(&mut self) -> Vec<Arc<str>> {
        let mut taken = Vec::new();
        while taken.len() < DEMANDS_PER_PLAN_MAX {
            let Some((_, key)) = self.fresh.pop_first() else { break };
            taken.push(key);
        }
        taken
    }

    fn count(&mut self, entry: &Entry, by: i32) {
        let Some(placed) = &entry.placed else { return };
        let zones = self.spread.entry(entry.group.clone()).or_default();
        let tasks = zones.entry(placed.zone.clone()).or_insert(0);
        *tasks = tasks.saturating_add_signed(by);
        if *tasks == 0 {
            zones.remove(&placed.zone);
        }
        if zones.is_empty() {
            self.spread.remove(&entry.group);
        }
        if !keeps_apart(&entry.group) {
            return;
        }
        let instances = self.neighbours.entry(entry.group.clone()).or_default();
        let tasks = instances.entry(placed.instance.clone()).or_insert(0);
        *tasks = tasks.saturating_add_signed(by);
        if *tasks == 0 {
            instances.remove(&placed.instance);
        }
        if instances.is_empty() {
            self.neighbours.remove(&entry.group);
        }
    }
}

pub async fn run(cx: &Context, connected: &Connected) {
    let mut tasks = Follow::<Task>::new(&cx.store);
    let mut rooms = Follow::<Allocation>::new(&cx.store);
    let mut instances = Follow::<Instance>::new(&cx.store);
    let mut sessions = connected.changes();
    let mut index = Index::default();
    loop {
        let woken = tokio::select! {
            step = tasks.next() => step.map(|step| match step {
                Step::Everything(snapshot) => index.rebuild(&snapshot),
                Step::Changes(changes) => {
                    for (key, task) in changes {
                        index.fold(key, task.as_deref());
                    }
                }
            }),
            step = rooms.next() => step.map(|_| index.room_changed()),
            step = instances.next() => step.map(|_| index.room_changed()),
            () = sessions.next() => {
                index.room_changed();
                Ok(())
            }
        };
        if woken.is_err() {
            return;
        }
        while !index.fresh.is_empty() {
            let keys = index.take_fresh();
            match place(cx, connected, &keys, &index).await {
                Ok(overtaken) => index.freshen(overtaken),
                Err(failure) => {
                    tracing::error!(%failure, "tasks could not be placed; trying on");
                    tokio::time::sleep(Duration::from_millis(RETRY_AFTER_MS)).await;
                    index.rebuild(&cx.store.snapshot());
                }
            }
        }
    }
}

/// Returns the keys of tasks whose place was taken by something else meanwhile.
async fn place(
    cx: &Context,
    connected: &Connected,
    keys: &[Arc<str>],
    index: &Index,
) -> Result<Vec<Arc<str>>, CommitFailure> {
    let snapshot = cx.store.snapshot();
    let mut tasks = BTreeMap::new();
    let mut demands = Vec::new();
    let public = snapshot.get::<PublicPool>(PUBLIC_POOL_KEY);
    let mut public_left = public.map_or(0, |pool| pool.free());
    for key in keys {
        // The index may be behind: only what still waits is planned.
        let task = snapshot.get::<Task>(key).map(|found| found.value);
        let Some(task) = task.filter(|t| waits(t)) else { continue };
        if task.network.assign_public_ip {
            if public_left == 0 {
                explain(cx, &task, NO_PUBLIC_ADDRESS.to_owned()).await?;
                continue;
            }
            public_left -= 1;
        }
        demands.push(Demand::of(&task));
        tasks.insert(task.id.clone(), task);
    }
    let placements = decide(&snapshot, connected, &demands, index);
    let mut overtaken = Vec::new();
    let mut rest = placements.placed.as_slice();
    while !rest.is_empty() {
        let (group, later) = rest.split_at(fits_one_commit(rest));
        rest = later;
        if !commit(cx, &snapshot, &tasks, group).await? {
            let again = group.iter().filter_map(|placed| tasks.get(&placed.task));
            overtaken.extend(again.map(|task| Arc::from(task_key(&task.cluster, &task.id))));
        }
    }
    for waiting in placements.waiting {
        if let Some(task) = tasks.get(&waiting.task) {
            explain(cx, task, waiting.text()).await?;
        }
    }
    Ok(overtaken)
}

/// How many of the first fit one transaction: each reads its task and its interface, and all that
/// share an instance or a subnet read two records of that.
fn fits_one_commit(placed: &[Placed]) -> usize {
    let (mut instances, mut subnets) = (BTreeSet::new(), BTreeSet::new());
    for (n, placed) in placed.iter().enumerate() {
        instances.insert(&placed.instance);
        subnets.extend(placed.address.as_ref().map(|address| &address.subnet));
        let reads = 2 * (n + 1 + instances.len() + subnets.len()) + 1;
        if n == PLACEMENTS_PER_COMMIT_MAX || reads > TRANSACTION_OPERATIONS_MAX {
            return n.max(1);
        }
    }
    placed.len()
}

fn waits(task: &Task) -> bool {
    task.facts.placed.is_none() && task.facts.desired == Desired::Running
}

fn decide(
    snapshot: &Snapshot,
    connected: &Connected,
    demands: &[Demand],
    index: &Index,
) -> Placements {
    let rooms: Vec<InstanceRoom> = snapshot
        .scan::<Instance>("")
        .map(|(key, instance)| {
            let allocation = snapshot.get::<Allocation>(key);
            InstanceRoom::of(&instance, allocation.as_deref(), connected.has(&instance.id))
        })
        .collect();
    let wanted: BTreeSet<&SubnetId> = demands.iter().flat_map(|d| d.subnets.iter()).collect();
    let subnets: Vec<_> = wanted
        .into_iter()
        .filter_map(|id| {
            let subnet = snapshot.get::<Subnet>(id.as_str())?;
            Some((subnet, snapshot.get::<AddressPool>(id.as_str())))
        })
        .collect();
    let subnets: Vec<SubnetRoom<'_>> =
        subnets.iter().map(|(subnet, pool)| SubnetRoom { subnet, pool: pool.as_deref() }).collect();
    plan::place_beside(demands, &rooms, &subnets, &index.spread, &index.neighbours)
}

/// Takes the places, all or none; false: something has changed since the snapshot.
async fn commit(
    cx: &Context,
    snapshot: &Snapshot,
    tasks: &BTreeMap<TaskId, Arc<Task>>,
    group: &[Placed],
) -> Result<bool, CommitFailure> {
    let now = cx.now();
    let mut txn = cx.store.begin();
    // The plan was made of an older snapshot: what it relied on must be as it was there.
    let mut relied_on = BTreeSet::new();
    for placed in group {
        relied_on.insert((placed.instance.clone(), placed.address.as_ref().map(|a| &a.subnet)));
    }
    let wants_public = |placed: &&Placed| {
        tasks.get(&placed.task).is_some_and(|task| task.network.assign_public_ip)
    };
    let public = group.iter().filter(wants_public).count() as u64;
    if public > 0 && txn.get::<PublicPool>(PUBLIC_POOL_KEY).is_none_or(|it| it.free() < public) {
        return Ok(false);
    }
    for (instance, subnet) in relied_on {
        expect::<Instance>(&mut txn, snapshot, instance.as_str());
        expect::<Allocation>(&mut txn, snapshot, instance.as_str());
        if let Some(subnet) = subnet {
            expect::<AddressPool>(&mut txn, snapshot, subnet.as_str());
            // A subnet goes with its pool; without a pool it has to be there itself.
            if snapshot.get::<AddressPool>(subnet.as_str()).is_none() {
                expect::<Subnet>(&mut txn, snapshot, subnet.as_str());
            }
        }
    }
    for placed in group {
        let Some(task) = tasks.get(&placed.task) else { continue };
        let key = task_key(&task.cluster, &task.id);
        expect::<Task>(&mut txn, snapshot, &key);
        take(cx, &mut txn, task, placed, now);
    }
    match txn.commit().await {
        Ok(_) => Ok(true),
        Err(CommitFailure::Conflict { key }) => {
            tracing::debug!(key, "a placement was overtaken and is planned again");
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

fn expect<T: store::Record>(txn: &mut Txn, snapshot: &Snapshot, key: &str) {
    let revision = snapshot.get::<T>(key).map_or(store::Revision(0), |found| found.revision);
    txn.expect_revision::<T>(key, revision);
}

fn take(cx: &Context, txn: &mut Txn, task: &Task, placed: &Placed, now: Timestamp) {
    let mut taken = task.clone();
    let (instance, zone) = (placed.instance.clone(), placed.zone.clone());
    taken.facts.placed = Some(Placement { instance: instance.clone(), zone });
    taken.placed_at = Some(now);
    taken.waiting = None;
    if let Some(address) = &placed.address {
        taken.interface = take_address(cx, txn, task, placed, address, now);
    }
    let held = txn.peek::<Allocation>(instance.as_str());
    let held = held.map_or((0, 0, 0), |a| (a.cpu_units, a.memory_mib, a.tasks));
    txn.put(Allocation {
        instance,
        cpu_units: held.0 + task.cpu_units,
        memory_mib: held.1 + task.memory_mib,
        tasks: held.2 + 1,
    });
    taken.settle(now);
    txn.put(taken);
}

fn take_address(
    cx: &Context,
    txn: &mut Txn,
    task: &Task,
    placed: &Placed,
    address: &Address,
    now: Timestamp,
) -> Option<TaskInterface> {
    let subnet = txn.peek::<Subnet>(address.subnet.as_str())?;
    let pool = txn.peek::<AddressPool>(address.subnet.as_str());
    let mut pool = pool.map_or_else(
        || AddressPool { subnet: address.subnet.clone(), taken: BTreeSet::new(), next: 0 },
        |pool| (*pool).clone(),
    );
    pool.taken.insert(address.offset);
    pool.next = address.next_after;
    txn.put(pool);
    let ip = address.ip;
    let random = cx.random();
    let vpc = txn.peek::<Vpc>(subnet.vpc.as_str())?;
    let options = vpc.dhcp_options.as_ref().and_then(|id| txn.peek::<DhcpOptions>(id.as_str()));
    let resolving = Resolving::derive(&vpc, options.as_deref());
    let public_ip = task.network.assign_public_ip.then(|| take_public(txn));
    let interface = TaskInterface {
        attachment: AttachmentId::of_task(&task.id),
        interface: InterfaceId::mint(random),
        vpc: subnet.vpc.clone(),
        subnet: subnet.id.clone(),
        private_ip: ip,
        public_ip,
        mac: NetworkInterface::mac(ip, random),
        private_dns_name: NetworkInterface::dns_name(&subnet.zone, ip),
        resolving: Some(resolving),
    };
    txn.expect_absent::<NetworkInterface>(interface.interface.as_str());
    let (id, mac) = (interface.interface.clone(), interface.mac.clone());
    txn.put(NetworkInterface {
        zone: placed.zone.clone(),
        security_groups: task.network.security_groups.clone(),
        task: Some(task.id.clone()),
        instance: Some(placed.instance.clone()),
        description: format!(
            "arn:aws:ecs:{}:{}:attachment/{}",
            cx.locality.region, cx.locality.account, interface.attachment
        ),
        public: public_ip.map(|ip| PublicAddress { ip, allocation: None, association: None }),
        ..NetworkInterface::new(id, &subnet, ip, mac, now)
    });
    Some(interface)
}

fn take_public(txn: &mut Txn) -> Ipv4Addr {
    let pool = txn.get::<PublicPool>(PUBLIC_POOL_KEY).expect("it was looked at before");
    let mut pool = (*pool).clone();
    let ip = pool.take().expect("as many are free as this commit takes");
    txn.put(pool);
    ip
}

/// Keeps in view why a task still waits.
async fn explain(cx: &Context, task: &Task, why: String) -> Result<(), CommitFailure> {
    if task.waiting.as_ref() == Some(&why) {
        return Ok(());
    }
    let key = task_key(&task.cluster, &task.id);
    let mut txn = cx.store.begin();
    if let Some(task) = txn.get::<Task>(&key).filter(|task| waits(task)) {
        let mut waiting = (*task).clone();
        waiting.waiting = Some(why);
        txn.put(waiting);
    }
    match txn.commit().await {
        // Whoever changed it woke this loop, which looks at the task again.
        Ok(_) | Err(CommitFailure::Conflict { .. }) => Ok(()),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(instance: usize, subnet: usize) -> Placed {
        let address = Address {
            subnet: format!("subnet-{subnet}").into(),
            vpc: "vpc".into(),
            ip: Ipv4Addr::LOCALHOST,
            offset: 4,
            next_after: 5,
        };
        Placed {
            task: "t".into(),
            instance: format!("i-{instance}").into(),
            zone: "z".into(),
            address: Some(address),
        }
    }

    #[test]
    fn a_commit_stays_within_what_a_transaction_may_hold() {
        let one: Vec<_> = (0..80).map(|_| placed(0, 0)).collect();
        assert_eq!(fits_one_commit(&one), PLACEMENTS_PER_COMMIT_MAX);
        let many: Vec<_> = (0..80).map(|n| placed(n, n % 16)).collect();
        // 23 tasks, 23 instances, 16 subnets, two reads each, and the pool of public addresses.
        assert_eq!(fits_one_commit(&many), 23);
        assert_eq!(fits_one_commit(&many[..3]), 3);
    }
}
