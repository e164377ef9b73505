//! The balancer as the assembly sees it: it learns tables, says what it found of targets, and ends.
//! What of a table is as it was keeps its socket, its targets' connections and its counts.

use crate::core::Core;
use crate::counts::BalancerTally;
use crate::doors::Doors;
use crate::group::{Group, Memory, Parts};
use crate::health::Checked;
use crate::leash::Leashes;
use crate::limits::SWEEP_MS;
use crate::listener::Listening;
use crate::settings::Settings;
use crate::table::{self, Front};
use crate::target::{Place, Target};
use crate::tls::{self, Cabinet};
use model::balancing::{
    Action, BalancerTable, Certificates, Found, GroupEntry, ListenerEntry, Protocol, Served,
    TargetEntry, TargetKey,
};
use model::{LoadBalancerId, TargetGroupId, VpcId};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// Why part of a table is not served; the rest is.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no listening on {at}: {source}")]
    Listen { at: SocketAddrV4, source: std::io::Error },
    #[error("certificate {arn}: {reason}")]
    Certificate { arn: String, reason: String },
    #[error("listener {balancer}:{port} has no certificate that could be used")]
    NoCertificate { balancer: String, port: u16 },
}

/// Cheap to clone; all clones are one balancer.
#[derive(Clone)]
pub struct Balancer {
    core: Arc<Core>,
    learned: Arc<Mutex<Learned>>,
}

/// What is kept from one table to the next.
#[derive(Default)]
struct Learned {
    cabinet: Cabinet,
    tallies: BTreeMap<LoadBalancerId, Arc<BalancerTally>>,
    memories: BTreeMap<TargetGroupId, Arc<Memory>>,
    groups: BTreeMap<TargetGroupId, Arc<Group>>,
    targets: BTreeMap<TargetKey, Arc<Target>>,
    listening: BTreeMap<Spot, Listening>,
    /// Of listeners that were closed: their connections, which end by themselves.
    closed: Vec<Arc<Leashes>>,
    ended: bool,
}

/// Where a listener's socket is. Ranges of VPCs may overlap, so an address alone names nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    vpc: VpcId,
    balancer: LoadBalancerId,
    at: SocketAddrV4,
}

impl Balancer {
    /// Its threads run until it has ended or its last clone is gone.
    pub fn new(doors: Arc<dyn Doors>, settings: Settings) -> Self {
        let core = Arc::new(Core::new(doors, settings));
        for (index, worker) in core.workers.iter().enumerate() {
            worker.spawn(sweep(Arc::downgrade(&core), index));
        }
        Self { core, learned: Arc::default() }
    }

    /// Replaces the table whole; listeners that stay keep their connections. Names what could not
    /// be served (port taken, bad PEM).
    // By value, as it comes: a later version may keep it.
    #[allow(clippy::needless_pass_by_value)]
    pub fn learn(
        &self,
        table: Arc<BalancerTable>,
        certificates: Arc<Certificates>,
    ) -> Vec<Failure> {
        let mut learned = self.learned.lock().expect("no panic while it is held");
        if learned.ended {
            return Vec::new();
        }
        let mut failures = Vec::new();
        learned.cabinet.learn(&certificates);
        let (checked, leaving) = self.learn_groups(&mut learned, &table);
        self.learn_listeners(&mut learned, &table, &mut failures);
        for target in leaving {
            target.set_draining(true);
            if let Some(group) = learned.groups.get(&target.place.key.group) {
                group.refresh();
            }
        }
        // Only now: who listens no longer hands out targets that are retired here.
        self.core.board.replace(learned.groups.clone(), learned.targets.clone());
        self.core.checks.learn(checked);
        failures
    }

    /// What is found of every target: changes wake the receiver.
    pub fn found(&self) -> watch::Receiver<Arc<BTreeMap<TargetKey, Found>>> {
        self.core.board.found()
    }

    /// What was served since this was last asked.
    pub fn served(&self) -> Served {
        let learned = self.learned.lock().expect("no panic while it is held");
        let mut served = Served::default();
        for (id, tally) in &learned.tallies {
            let own = learned.listening.iter().filter(|(spot, _)| spot.balancer == *id);
            let active = own.map(|(_, listening)| listening.leashes.count() as u64).sum();
            let mut counts = tally.take();
            counts.active_connections = active;
            served.balancers.push((id.clone(), counts));
        }
        for (id, memory) in &learned.memories {
            served.groups.push((id.clone(), memory.tally.taken()));
        }
        served.balancers.retain(|(_, counts)| *counts != Default::default());
        served.groups.retain(|(_, counts)| *counts != Default::default());
        served
    }

    /// Stops listening, lets requests end, at most for `limit`.
    pub async fn end(&self, limit: Duration) {
        let closed = {
            let mut learned = self.learned.lock().expect("no panic while it is held");
            learned.ended = true;
            let mut closed = std::mem::take(&mut learned.closed);
            let listening = std::mem::take(&mut learned.listening);
            closed.extend(listening.into_values().map(Listening::close));
            closed
        };
        let quiet = async {
            while closed.iter().any(|leashes| leashes.count() > 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // What goes on after the limit is cut.
        let _ = tokio::time::timeout(limit, quiet).await;
        self.core.checks.learn(Vec::new());
        for worker in &self.core.workers {
            worker.end();
        }
    }

    /// Makes the groups and targets of a table, taking over what is as it was. Gives what is to be
    /// checked, and the targets that are to drain, but not before listeners hand out others.
    fn learn_groups(
        &self,
        learned: &mut Learned,
        table: &BalancerTable,
    ) -> (Vec<Checked>, Vec<Arc<Target>>) {
        let users = users(table);
        let (mut groups, mut targets) = (BTreeMap::new(), BTreeMap::new());
        let (mut checked, mut leaving) = (Vec::new(), Vec::new());
        let workers = self.core.workers.len();
        for (id, entry) in &table.groups {
            let from = users.get(id).cloned().unwrap_or_default();
            let mut own = Vec::new();
            for target in &entry.targets {
                let made = self.learn_target(learned, id, entry, target);
                let key = made.place.key.clone();
                match (made.is_draining(), target.draining) {
                    (true, false) => made.set_draining(false),
                    (false, true) => leaving.push(made.clone()),
                    (true, true) | (false, false) => {}
                }
                checked.push(Checked {
                    key: key.clone(),
                    vpc: entry.vpc.clone(),
                    from: from.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED),
                    address: made.place.address,
                    version: entry.version,
                    check: entry.health_check.clone(),
                });
                own.push(made.clone());
                targets.insert(key, made);
            }
            let before = learned.groups.get(id).filter(|group| {
                group.entry == *entry
                    && group.from == from
                    && group.targets.iter().zip(&own).all(|(a, b)| Arc::ptr_eq(a, b))
            });
            if let Some(before) = before {
                groups.insert(id.clone(), before.clone());
                continue;
            }
            let memory = learned.memories.entry(id.clone());
            let memory = memory.or_insert_with(|| Arc::new(Memory::new(workers))).clone();
            let parts = Parts {
                id: id.clone(),
                tag: self.core.seal.group_tag(id),
                arn: format!("{}:targetgroup/{}/{}", self.core.settings.arn_prefix, entry.name, id),
                entry: entry.clone(),
                memory,
                from,
            };
            groups.insert(id.clone(), Arc::new(Group::new(parts, own)));
        }
        learned.memories.retain(|id, _| table.groups.contains_key(id));
        (learned.groups, learned.targets) = (groups, targets);
        (checked, leaving)
    }

    /// The target as it was, if it is still in its place.
    fn learn_target(
        &self,
        learned: &Learned,
        group: &TargetGroupId,
        entry: &GroupEntry,
        target: &TargetEntry,
    ) -> Arc<Target> {
        let key = TargetKey { group: group.clone(), id: target.id.clone(), port: target.port };
        let place = Place {
            key: key.clone(),
            vpc: entry.vpc.clone(),
            address: SocketAddrV4::new(target.address, target.port),
            secure: entry.protocol == Protocol::Https,
            version: entry.version,
        };
        let known = learned.targets.get(&key).filter(|known| known.place == place);
        known.cloned().unwrap_or_else(|| {
            let tag = self.core.seal.target_tag(&key);
            let made = Target::new(place, tag, self.core.board.clone(), self.core.workers.len());
            // Spoken to otherwise, but in the same place: its checks go on as they were.
            let old = learned.targets.get(&key).filter(|old| old.is_at(&made.place));
            if let Some(old) = old {
                made.set_state(old.state());
            }
            Arc::new(made)
        })
    }

    fn learn_listeners(
        &self,
        learned: &mut Learned,
        table: &BalancerTable,
        failures: &mut Vec<Failure>,
    ) {
        let mut wanted = BTreeMap::new();
        let workers = self.core.workers.len();
        for (id, entry) in &table.balancers {
            let tally = learned.tallies.entry(id.clone());
            let tally = tally.or_insert_with(|| Arc::new(BalancerTally::new(workers))).clone();
            let front = Arc::new(table::front(id, entry, tally));
            for (port, listener) in &entry.listeners {
                let tls = match listener.protocol {
                    Protocol::Https => match served(learned, &front, *port, listener, failures) {
                        Some(tls) => Some(tls),
                        None => continue,
                    },
                    Protocol::Http | Protocol::Tcp => None,
                };
                let spots = entry.addresses.iter().map(|address| Spot {
                    vpc: entry.vpc.clone(),
                    balancer: id.clone(),
                    at: SocketAddrV4::new(*address, *port),
                });
                let spots: Vec<Spot> = spots.collect();
                let before = spots.iter().find_map(|spot| learned.listening.get(spot));
                let before = before.map(|listening| listening.seat.site());
                let (front, groups) = (front.clone(), &learned.groups);
                let site = table::site(front, *port, listener, tls, groups, before.as_deref());
                let site = Arc::new(site);
                wanted.extend(spots.into_iter().map(|spot| (spot, site.clone())));
            }
        }
        // Those that go close first: another may take their place.
        let going = learned.listening.extract_if(.., |spot, _| !wanted.contains_key(spot));
        let going: Vec<Listening> = going.map(|(_, listening)| listening).collect();
        learned.closed.retain(|leashes| leashes.count() > 0);
        learned.closed.extend(going.into_iter().map(Listening::close));
        for (spot, site) in wanted {
            if let Some(listening) = learned.listening.get(&spot) {
                listening.replace(site);
                continue;
            }
            match self.core.doors.listen(&spot.vpc, spot.at) {
                Ok(socket) => {
                    let listening = Listening::start(&self.core, spot.at, socket, site);
                    learned.listening.insert(spot, listening);
                }
                Err(source) => failures.push(Failure::Listen { at: spot.at, source }),
            }
        }
        learned.tallies.retain(|id, _| table.balancers.contains_key(id));
    }
}

/// What a TLS listener is served with; None: it has no certificate that could be used.
fn served(
    learned: &Learned,
    front: &Front,
    port: u16,
    listener: &ListenerEntry,
    failures: &mut Vec<Failure>,
) -> Option<tls::Served> {
    let mut usable = Vec::new();
    for arn in &listener.certificates {
        match learned.cabinet.get(arn) {
            Ok(certificate) => usable.push(certificate.clone()),
            Err(reason) => {
                let (arn, reason) = (arn.clone(), reason.to_owned());
                failures.push(Failure::Certificate { arn, reason });
            }
        }
    }
    if usable.is_empty() {
        failures.push(Failure::NoCertificate { balancer: front.name.clone(), port });
        return None;
    }
    Some(tls::serve(usable, listener.ssl_policy.as_deref(), front.settings.http2))
}

/// For each group the addresses of the load balancers that lead to it.
fn users(table: &BalancerTable) -> BTreeMap<TargetGroupId, Vec<Ipv4Addr>> {
    let mut users: BTreeMap<TargetGroupId, Vec<Ipv4Addr>> = BTreeMap::new();
    for balancer in table.balancers.values() {
        for rule in balancer.listeners.values().flat_map(|listener| &listener.rules) {
            let Action::Forward(forward) = &rule.action else { continue };
            for (group, _) in &forward.groups {
                let own = users.entry(group.clone()).or_default();
                let new = balancer.addresses.iter().filter(|address| !own.contains(address));
                let new: Vec<Ipv4Addr> = new.copied().collect();
                own.extend(new);
            }
        }
    }
    users
}

/// Looks through one worker's kept connections from time to time.
async fn sweep(core: Weak<Core>, worker: usize) {
    loop {
        tokio::time::sleep(Duration::from_millis(SWEEP_MS)).await;
        let Some(core) = core.upgrade() else { return };
        for target in core.board.targets() {
            target.sweep(worker);
        }
        if worker == 0 {
            core.board.end_slow_starts();
        }
    }
}
