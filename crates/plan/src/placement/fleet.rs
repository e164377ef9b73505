//! The rooms of all instances and subnets while a plan is made, indexed for it.

use super::addresses::Addresses;
use super::room::{Free, Rooms};
use super::{
    Demand, InstanceRoom, Neighbours, Placed, Reason, Spread, SubnetRoom, Unplaceable, keeps_apart,
    serves,
};
use model::{InstanceId, SubnetId, ZoneName};
use std::collections::{BTreeMap, BTreeSet};

/// May be kept over several plans while nobody else changes what it was made of.
pub struct Fleet<'a> {
    /// In the order of ids: what `Free::rank` counts.
    ids: Vec<InstanceId>,
    /// Open instances, by architecture and zone.
    rooms: BTreeMap<String, BTreeMap<ZoneName, Rooms>>,
    /// Zones that have instances, open or not.
    zones: BTreeSet<ZoneName>,
    subnets: BTreeMap<SubnetId, Addresses<'a>>,
    spread: Spread,
    pub(super) neighbours: Neighbours,
}

/// An instance found for a demand.
struct Found {
    free: Free,
    slot: u32,
    zone: ZoneName,
    /// How many tasks of the same service are there; of other groups it doesn't matter.
    neighbours: u32,
}

impl<'a> Fleet<'a> {
    pub fn new(instances: &[InstanceRoom], subnets: &[SubnetRoom<'a>], spread: Spread) -> Self {
        let mut by_id: Vec<&InstanceRoom> = instances.iter().collect();
        by_id.sort_by(|a, b| a.id.cmp(&b.id));
        let mut rooms: BTreeMap<String, BTreeMap<ZoneName, Rooms>> = BTreeMap::new();
        for (rank, instance) in by_id.iter().enumerate().filter(|(_, i)| i.open) {
            let zones = rooms.entry(instance.cpu_architecture.clone()).or_default();
            zones.entry(instance.zone.clone()).or_default().insert(Free {
                memory_mib: instance.memory_mib_free,
                cpu_units: instance.cpu_units_free,
                rank: u32::try_from(rank).expect("fewer instances than 2^32"),
            });
        }
        Self {
            ids: by_id.iter().map(|i| i.id.clone()).collect(),
            rooms,
            zones: instances.iter().map(|i| i.zone.clone()).collect(),
            subnets: subnets.iter().map(|s| (s.subnet.id.clone(), Addresses::new(*s))).collect(),
            spread,
            neighbours: Neighbours::new(),
        }
    }

    /// Finds the demand a place and takes it.
    pub fn place(&mut self, demand: &Demand) -> Result<Placed, Unplaceable> {
        let choice = match demand.subnets.is_empty() {
            true => self.choose_zone(demand).map(|found| (None, found)),
            false => self.choose_subnet(demand).map(|(subnet, found)| (Some(subnet), found)),
        };
        let Some((subnet, found)) = choice else {
            return Err(Unplaceable { task: demand.task.clone(), reasons: self.explain(demand) });
        };
        let zones = self.rooms.get_mut(&demand.cpu_architecture).expect("it was found there");
        let rooms = zones.get_mut(&found.zone).expect("it was found there");
        rooms.take(found.slot, demand.cpu_units, demand.memory_mib);
        let mut zone = found.zone;
        let address = subnet.map(|subnet| {
            let addresses = self.subnets.get_mut(&subnet).expect("it was chosen from there");
            zone = addresses.zone().clone();
            addresses.take().expect("it was chosen for having one")
        });
        self.count(&demand.group, &zone);
        let instance = self.ids[found.free.rank as usize].clone();
        if keeps_apart(&demand.group) {
            let instances = self.neighbours.entry(demand.group.clone()).or_default();
            *instances.entry(instance.clone()).or_default() += 1;
        }
        Ok(Placed { task: demand.task.clone(), instance, zone, address })
    }

    fn count(&mut self, group: &str, zone: &ZoneName) {
        if !self.spread.contains_key(group) {
            self.spread.insert(group.to_owned(), BTreeMap::new());
        }
        let zones = self.spread.get_mut(group).expect("just made");
        *zones.entry(zone.clone()).or_default() += 1;
    }

    fn tasks_in(&self, group: &str, zone: &ZoneName) -> u32 {
        self.spread.get(group).and_then(|zones| zones.get(zone)).copied().unwrap_or(0)
    }

    /// For a task without subnets: the zone with the fewest of its group that has room.
    fn choose_zone(&self, demand: &Demand) -> Option<Found> {
        let zones = self.rooms.get(&demand.cpu_architecture)?;
        let mut order: Vec<&ZoneName> = zones.keys().collect();
        order.sort_by_key(|zone| self.tasks_in(&demand.group, zone));
        order.into_iter().find_map(|zone| self.best_in(demand, zone))
    }

    /// The subnet whose zone has the fewest of the task's group, then the one named first, that has
    /// an address and an instance with room.
    fn choose_subnet(&self, demand: &Demand) -> Option<(SubnetId, Found)> {
        let known = demand.subnets.iter().filter_map(|id| Some((id, self.subnets.get(id)?)));
        let mut order: Vec<(u32, &SubnetId, &Addresses<'_>)> = known
            .filter(|(_, addresses)| addresses.has_free())
            .map(|(id, addresses)| (self.tasks_in(&demand.group, addresses.zone()), id, addresses))
            .collect();
        order.sort_by_key(|(tasks, _, _)| *tasks);
        order.into_iter().find_map(|(_, id, addresses)| {
            let found = self.best_for(demand, addresses.zone())?;
            Some((id.clone(), found))
        })
    }

    fn best_in(&self, demand: &Demand, zone: &ZoneName) -> Option<Found> {
        let rooms = self.rooms.get(&demand.cpu_architecture)?.get(zone)?;
        let none = BTreeMap::new();
        let apart = keeps_apart(&demand.group).then(|| self.neighbours.get(&demand.group));
        let held = apart.flatten().unwrap_or(&none);
        let on = |rank: u32| held.get(&self.ids[rank as usize]).copied().unwrap_or(0);
        // As few as can be: first an instance with none, then with one, and so on.
        let levels: BTreeSet<u32> = std::iter::once(0).chain(held.values().copied()).collect();
        levels.into_iter().find_map(|neighbours| {
            let counts = |rank: u32| on(rank) <= neighbours;
            let fit = rooms.best_fit_of(demand.cpu_units, demand.memory_mib, &counts);
            fit.map(|(free, slot)| Found { free, slot, zone: zone.clone(), neighbours })
        })
    }

    /// The best fit among all instances that serve a subnet of this zone.
    fn best_for(&self, demand: &Demand, subnet_zone: &ZoneName) -> Option<Found> {
        if self.zones.contains(subnet_zone) {
            return self.best_in(demand, subnet_zone);
        }
        let zones = self.rooms.get(&demand.cpu_architecture)?.keys();
        let serving = zones.filter(|zone| serves(zone, subnet_zone, &self.zones));
        let found = serving.filter_map(|zone| self.best_in(demand, zone));
        found.min_by_key(|found| (found.neighbours, found.free))
    }

    /// Everything that stands between the demand and a place. Only asked when it has none.
    fn explain(&self, demand: &Demand) -> BTreeSet<Reason> {
        let mut reasons = BTreeSet::new();
        if demand.subnets.is_empty() {
            self.explain_room(demand, |_| true, &mut reasons);
        }
        for id in &demand.subnets {
            let Some(addresses) = self.subnets.get(id) else {
                reasons.insert(Reason::NoSuchSubnet { subnet: id.clone() });
                continue;
            };
            if !addresses.has_free() {
                reasons.insert(Reason::NoFreeAddress { subnet: id.clone() });
            }
            let zone = addresses.zone();
            let counts = |instance: &ZoneName| serves(instance, zone, &self.zones);
            self.explain_room(demand, counts, &mut reasons);
        }
        reasons
    }

    /// What the instances of the zones that count lack, if they lack anything.
    fn explain_room(
        &self,
        demand: &Demand,
        counts: impl Fn(&ZoneName) -> bool,
        reasons: &mut BTreeSet<Reason>,
    ) {
        if !self.rooms.values().flatten().any(|(zone, _)| counts(zone)) {
            reasons.insert(Reason::NoInstance);
            return;
        }
        let matching = self.rooms.get(&demand.cpu_architecture).into_iter().flatten();
        let rooms: Vec<&Rooms> =
            matching.filter(|(zone, _)| counts(zone)).map(|(_, rooms)| rooms).collect();
        if rooms.is_empty() {
            reasons.insert(Reason::Architecture { wanted: demand.cpu_architecture.clone() });
            return;
        }
        let (wanted_units, wanted_mib) = (demand.cpu_units, demand.memory_mib);
        if rooms.iter().any(|r| r.best_fit(wanted_units, wanted_mib).is_some()) {
            return;
        }
        let most_free_units = rooms.iter().map(|r| r.most_cpu_units()).max().unwrap_or(0);
        let most_free_mib = rooms.iter().map(|r| r.most_memory_mib()).max().unwrap_or(0);
        if most_free_units < wanted_units {
            reasons.insert(Reason::Cpu { wanted_units, most_free_units });
        }
        if most_free_mib < wanted_mib {
            reasons.insert(Reason::Memory { wanted_mib, most_free_mib });
        }
        if most_free_units >= wanted_units && most_free_mib >= wanted_mib {
            reasons.insert(Reason::CpuAndMemory { wanted_units, wanted_mib });
        }
    }
}
