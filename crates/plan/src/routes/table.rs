//! The table of a balancer, out of the records: whole, so that it replaces the one before whole.
//! Only target groups that a rule leads to are in it: the others' targets are `unused`.

use super::attributes::{balancer_settings, group_settings, listener_settings};
use model::balancing::{
    Action, BalancerEntry, BalancerTable, GroupEntry, Listener, ListenerEntry, LoadBalancer, Rule,
    RuleEntry, Target, TargetEntry, TargetGroup,
};
use model::{InterfaceId, ListenerId, LoadBalancerId, TargetGroupId};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// What the table is made of.
#[derive(Debug, Default)]
pub struct Records<'a> {
    pub balancers: Vec<&'a LoadBalancer>,
    pub listeners: Vec<&'a Listener>,
    pub rules: Vec<&'a Rule>,
    pub groups: Vec<&'a TargetGroup>,
    pub targets: Vec<&'a Target>,
}

/// `address` gives an interface's own.
pub fn table(
    records: &Records<'_>,
    address: impl Fn(&InterfaceId) -> Option<Ipv4Addr>,
) -> BalancerTable {
    let mut table = BalancerTable::default();
    for balancer in &records.balancers {
        let entry = BalancerEntry {
            name: balancer.name.clone(),
            internal: balancer.internal,
            vpc: balancer.vpc.clone(),
            dns_name: balancer.dns_name.clone(),
            addresses: balancer.interfaces.iter().filter_map(&address).collect(),
            settings: balancer_settings(&balancer.attributes),
            listeners: BTreeMap::new(),
        };
        table.balancers.insert(balancer.id.clone(), entry);
    }
    let mut rules: BTreeMap<&ListenerId, Vec<&Rule>> = BTreeMap::new();
    for rule in &records.rules {
        rules.entry(&rule.listener).or_default().push(rule);
    }
    for listener in &records.listeners {
        let mut own = rules.remove(&listener.id).unwrap_or_default();
        own.sort_by_key(|rule| rule.priority);
        let Some(entry) = entry(listener, &own) else { continue };
        if let Some(balancer) = table.balancers.get_mut(&listener.load_balancer) {
            balancer.listeners.insert(listener.port, entry);
        }
    }
    let used = used(&table);
    for group in records.groups.iter().filter(|group| used.contains_key(&group.id)) {
        let own = records.targets.iter().filter(|target| target.group == group.id);
        let targets = own.map(|target| TargetEntry {
            id: target.id.clone(),
            address: target.address,
            port: target.port,
            draining: target.draining_since.is_some(),
        });
        let entry = GroupEntry {
            name: group.name.clone(),
            protocol: group.protocol,
            version: group.version,
            vpc: group.vpc.clone(),
            health_check: group.health_check.clone(),
            settings: group_settings(&group.attributes),
            targets: targets.collect(),
        };
        table.groups.insert(group.id.clone(), entry);
    }
    table
}

/// A rule's last action is what it does; those before it (authentication) are refused when given.
fn entry(listener: &Listener, rules: &[&Rule]) -> Option<ListenerEntry> {
    let of = |priority, conditions, actions: &[Action]| {
        let action = actions.last()?.clone();
        Some(RuleEntry { priority, conditions, action })
    };
    let given = rules.iter();
    let given = given.filter_map(|rule| of(rule.priority, rule.conditions.clone(), &rule.actions));
    let mut entries: Vec<RuleEntry> = given.collect();
    entries.push(of(0, Vec::new(), &listener.default_actions)?);
    let certificates = listener.certificates.clone();
    Some(ListenerEntry {
        protocol: listener.protocol,
        ssl_policy: listener.ssl_policy.clone(),
        certificates,
        rules: entries,
        settings: listener_settings(&listener.attributes, listener.protocol),
    })
}

/// The groups that some rule leads to, with the balancers that do.
pub fn used(table: &BalancerTable) -> BTreeMap<TargetGroupId, Vec<LoadBalancerId>> {
    let mut used: BTreeMap<TargetGroupId, Vec<LoadBalancerId>> = BTreeMap::new();
    for (id, balancer) in &table.balancers {
        let rules = balancer.listeners.values().flat_map(|listener| &listener.rules);
        for rule in rules {
            let Action::Forward(forward) = &rule.action else { continue };
            for (group, _) in &forward.groups {
                let by = used.entry(group.clone()).or_default();
                if !by.contains(id) {
                    by.push(id.clone());
                }
            }
        }
    }
    used
}
