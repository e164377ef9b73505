//! What an instance must know of VPCs: the tables of those it has interfaces in, whole when rules
//! change, and by their interfaces otherwise, so that a task's launch sends no more than its own
//! address. Nothing is sent that was not derived from the records whole: when they can't be read
//! the instance keeps what it has.

use crate::Context;
use crate::follow::Closed;
use model::instance::Instance;
use model::network::{
    InternetGateway, ManagedPrefixList, NatGateway, NetworkAcl, NetworkInterface, RouteTable,
    SecurityGroup, Subnet, Vpc,
};
use model::session::ToAgent;
use model::vpc_table::{InterfaceChanges, Place, TableInterface, VpcTable};
use model::{InstanceId, SubnetId, VpcId};
use plan::network::{Instances, Records};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use store::{Batch, Change, Record, Snapshot, Watch, WatchFailure};

pub struct Networks {
    instance: InstanceId,
    /// Addresses between instances, of those that have one.
    underlays: BTreeMap<InstanceId, Ipv4Addr>,
    /// Which instance serves load balancers.
    balancing: Option<InstanceId>,
    sequence: u64,
    watch: Option<Watch>,
    /// None: nothing in this session.
    all: Option<BTreeSet<VpcId>>,
    sent: BTreeMap<VpcId, Arc<VpcTable>>,
    public_subnets: BTreeSet<SubnetId>,
}

/// What several commits say of one interface: as it was before, and as it is now.
type Changed = BTreeMap<Arc<str>, (Option<Arc<NetworkInterface>>, Option<Arc<NetworkInterface>>)>;

impl Networks {
    pub fn new(instance: &InstanceId) -> Self {
        Self {
            instance: instance.clone(),
            underlays: BTreeMap::new(),
            balancing: None,
            sequence: 0,
            watch: None,
            all: None,
            sent: BTreeMap::new(),
            public_subnets: BTreeSet::new(),
        }
    }

    /// Completes when something was committed that `news` has not seen.
    pub async fn may_differ(&self, cx: &Context) {
        if let Some(watch) = &self.watch {
            cx.store.changed_after(watch.position()).await;
        }
    }

    /// What the instance must be told to know everything that is committed by now.
    pub fn news(&mut self, cx: &Context) -> Result<Vec<ToAgent>, Closed> {
        let mut changed = Changed::new();
        let mut anew = self.watch.is_none();
        while let Some(watch) = &mut self.watch {
            match watch.try_next() {
                Ok(Some(batch)) => anew |= collect(&batch, &mut changed),
                Ok(None) => break,
                Err(WatchFailure::Compacted { .. }) => self.watch = None,
                Err(WatchFailure::Closed) => return Err(Closed),
            }
        }
        let others = changed.values().any(|(_, new)| {
            new.as_ref().is_some_and(|new| self.concerns(new) && !self.sent.contains_key(&new.vpc))
        });
        if anew || others || self.watch.is_none() {
            let snapshot = cx.store.snapshot();
            self.watch = Some(cx.store.watch(snapshot.revision()));
            return Ok(self.everything(&snapshot));
        }
        Ok(self.interfaces(changed))
    }

    /// Whether the instance has something to do with the interface.
    fn concerns(&self, one: &NetworkInterface) -> bool {
        let parts = self.parts(one);
        parts.iter().any(|(_, it)| matches!(it.place, Place::Task | Place::Endpoint))
    }

    fn parts(&self, one: &NetworkInterface) -> Vec<(Ipv4Addr, TableInterface)> {
        let instances = Instances {
            here: &self.instance,
            underlays: &self.underlays,
            balancing: self.balancing.as_ref(),
        };
        plan::network::interface(one, instances, &self.public_subnets)
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn everything(&mut self, snapshot: &Snapshot) -> Vec<ToAgent> {
        let (all, tables) = self.derive(snapshot);
        let mut messages = Vec::new();
        let mut whole = Vec::new();
        for (vpc, table) in &tables {
            match self.sent.get(vpc) {
                Some(sent) if sent.same_rules(table) => {
                    let changes = InterfaceChanges::between(&sent.interfaces, &table.interfaces);
                    if !changes.is_empty() {
                        let (sequence, vpc) = (self.next(), vpc.clone());
                        messages.push(ToAgent::Interfaces { sequence, vpc, changes });
                    }
                }
                _ => whole.push(Arc::clone(table)),
            }
        }
        let gone = self.all.as_ref().is_none_or(|known| !known.is_subset(&all));
        if gone || !whole.is_empty() {
            let sequence = self.next();
            let all = gone.then(|| all.clone());
            messages.push(ToAgent::Networks { sequence, all, tables: whole });
        }
        self.all = Some(all);
        self.sent = tables;
        messages
    }

    /// Every VPC there is, and the tables of those that matter here. One that was sent goes on to
    /// matter: its next task finds it ready.
    fn derive(&mut self, snapshot: &Snapshot) -> (BTreeSet<VpcId>, BTreeMap<VpcId, Arc<VpcTable>>) {
        let vpcs = all_of::<Vpc>(snapshot);
        let subnets = all_of::<Subnet>(snapshot);
        let route_tables = all_of::<RouteTable>(snapshot);
        let internet_gateways = all_of::<InternetGateway>(snapshot);
        let nat_gateways = all_of::<NatGateway>(snapshot);
        let groups = all_of::<SecurityGroup>(snapshot);
        let acls = all_of::<NetworkAcl>(snapshot);
        let prefix_lists = all_of::<ManagedPrefixList>(snapshot);
        let records = Records {
            vpcs: &references(&vpcs),
            subnets: &references(&subnets),
            route_tables: &references(&route_tables),
            internet_gateways: &references(&internet_gateways),
            nat_gateways: &references(&nat_gateways),
            groups: &references(&groups),
            acls: &references(&acls),
            prefix_lists: &references(&prefix_lists),
        };
        self.public_subnets = plan::network::public_subnets(&records);
        let instances = all_of::<Instance>(snapshot);
        let reached = instances.iter().filter(|one| !one.state.is_over());
        let address = |one: &Arc<Instance>| Some((one.id.clone(), one.underlay?));
        self.underlays = reached.filter_map(address).collect();
        self.balancing = Instance::balancing(instances.iter().map(|one| &**one)).cloned();
        let interfaces = all_of::<NetworkInterface>(snapshot);
        let mut wanted: BTreeSet<&VpcId> = self.sent.keys().collect();
        wanted.extend(interfaces.iter().filter(|one| self.concerns(one)).map(|one| &one.vpc));
        let mut tables = BTreeMap::new();
        for vpc in wanted {
            // A VPC that is gone has no interfaces either.
            let Some(mut table) = plan::network::rules(&records, vpc) else { continue };
            let members = interfaces.iter().filter(|one| one.vpc == *vpc);
            table.interfaces = members.flat_map(|one| self.parts(one)).collect();
            tables.insert(vpc.clone(), Arc::new(table));
        }
        (vpcs.iter().map(|vpc| vpc.id.clone()).collect(), tables)
    }

    fn interfaces(&mut self, changed: Changed) -> Vec<ToAgent> {
        let mut by_vpc: BTreeMap<VpcId, InterfaceChanges> = BTreeMap::new();
        for (old, new) in changed.into_values() {
            let Some(vpc) = new.as_ref().or(old.as_ref()).map(|one| one.vpc.clone()) else {
                continue;
            };
            let Some(sent) = self.sent.get(&vpc) else { continue };
            let new: BTreeMap<_, _> = new.iter().flat_map(|one| self.parts(one)).collect();
            let old = old.iter().flat_map(|one| self.parts(one)).map(|(address, _)| address);
            let gone = old.filter(|address| {
                !new.contains_key(address) && sent.interfaces.contains_key(address)
            });
            let gone: Vec<_> = gone.collect();
            let came =
                new.into_iter().filter(|(address, one)| sent.interfaces.get(address) != Some(one));
            let came: Vec<_> = came.collect();
            let changes = by_vpc.entry(vpc).or_default();
            changes.remove.extend(gone);
            changes.upsert.extend(came);
        }
        let mut messages = Vec::new();
        for (vpc, mut changes) in by_vpc {
            // An address that one interface gave up and another got by now is only changed.
            changes.remove.retain(|address| !changes.upsert.contains_key(address));
            if changes.is_empty() {
                continue;
            }
            if let Some(table) = self.sent.get_mut(&vpc) {
                changes.apply(&mut Arc::make_mut(table).interfaces);
            }
            messages.push(ToAgent::Interfaces { sequence: self.next(), vpc, changes });
        }
        messages
    }
}

/// Whether rules changed; changed interfaces are gathered.
fn collect(batch: &Batch, changed: &mut Changed) -> bool {
    let mut rules = false;
    for change in &batch.changes {
        rules |= is_of_rules(change) || moves_instances(change);
        if let Some((old, new)) = change.of::<NetworkInterface>() {
            let known = changed.entry(Arc::clone(&change.key)).or_insert((old, None));
            known.1 = new;
        }
    }
    rules
}

/// Whether an instance came, went or is reached elsewhere, or load balancers are.
fn moves_instances(change: &Change) -> bool {
    let Some((old, new)) = change.of::<Instance>() else { return false };
    let where_it_is = |one: Option<Arc<Instance>>| {
        let one = one.filter(|one| !one.state.is_over())?;
        Some((one.underlay, one.serves_balancers))
    };
    where_it_is(old) != where_it_is(new)
}

fn is_of_rules(change: &Change) -> bool {
    const KINDS: [&str; 8] = [
        Vpc::KIND,
        Subnet::KIND,
        RouteTable::KIND,
        InternetGateway::KIND,
        NatGateway::KIND,
        SecurityGroup::KIND,
        NetworkAcl::KIND,
        ManagedPrefixList::KIND,
    ];
    KINDS.contains(&change.kind)
}

fn all_of<T: Record>(snapshot: &Snapshot) -> Vec<Arc<T>> {
    snapshot.scan::<T>("").map(|(_, found)| found).collect()
}

fn references<T>(records: &[Arc<T>]) -> Vec<&T> {
    records.iter().map(|record| &**record).collect()
}
