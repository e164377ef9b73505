//! Who uses a target group, and whether one more may: a group belongs to one load balancer at a
//! time. Source: Elastic Load Balancing user guide, quotas ("load balancers per target group: 1").

use super::nouns;
use super::{incompatible, invalid_configuration};
use crate::context::Context;
use crate::fault::Fault;
use model::balancing::{Action, BalancerKind, Listener, LoadBalancer, Protocol, Rule, TargetGroup};
use model::{LoadBalancerId, TargetGroupId};
use std::collections::{BTreeMap, BTreeSet};
use store::Snapshot;
use wire::elbv2::ErrorCode;

/// Target groups of one load balancer. Source: quotas.
const GROUPS_PER_BALANCER_MAX: usize = 100;

/// Every group that some action leads to, with the load balancers of those actions.
pub fn used(snapshot: &Snapshot) -> BTreeMap<TargetGroupId, BTreeSet<LoadBalancerId>> {
    let mut used: BTreeMap<TargetGroupId, BTreeSet<LoadBalancerId>> = BTreeMap::new();
    let mut note = |balancer: &LoadBalancerId, actions: &[Action]| {
        for id in groups_of(actions) {
            used.entry(id.clone()).or_default().insert(balancer.clone());
        }
    };
    for (_, listener) in snapshot.scan::<Listener>("") {
        note(&listener.load_balancer, &listener.default_actions);
    }
    for (_, rule) in snapshot.scan::<Rule>("") {
        note(&rule.load_balancer, &rule.actions);
    }
    used
}

pub fn groups_of(actions: &[Action]) -> impl Iterator<Item = &TargetGroupId> {
    let forwards = actions.iter().filter_map(|action| match action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Fixed(_) => None,
    });
    forwards.flat_map(|forward| forward.groups.iter().map(|(id, _)| id))
}

/// Whether a load balancer's actions may lead to these groups.
pub fn check(
    cx: &Context,
    snapshot: &Snapshot,
    balancer: &LoadBalancer,
    actions: &[Action],
) -> Result<(), Fault> {
    let used = used(snapshot);
    let mut own: BTreeSet<&TargetGroupId> =
        used.iter().filter(|(_, by)| by.contains(&balancer.id)).map(|(group, _)| group).collect();
    let mut elsewhere = Vec::new();
    for id in groups_of(actions) {
        let group = snapshot.get::<TargetGroup>(id.as_str());
        let group = group.ok_or_else(nouns::no_target_groups)?;
        let arn = group.arn(&cx.locality);
        fits(balancer, &group, &arn)?;
        if used.get(id).is_some_and(|by| by.iter().any(|by| *by != balancer.id)) {
            elsewhere.push(arn);
        }
        own.insert(id);
    }
    if !elsewhere.is_empty() {
        let text = format!(
            "The following target groups cannot be associated with more than one load balancer: {}",
            elsewhere.join(", ")
        );
        return Err(ErrorCode::TargetGroupAssociationLimitException.fault(text));
    }
    if own.len() > GROUPS_PER_BALANCER_MAX {
        let text = format!("A load balancer can have at most {GROUPS_PER_BALANCER_MAX} groups");
        return Err(ErrorCode::TooManyUniqueTargetGroupsPerLoadBalancerException.fault(text));
    }
    Ok(())
}

fn fits(balancer: &LoadBalancer, group: &TargetGroup, arn: &str) -> Result<(), Fault> {
    if group.vpc != balancer.vpc {
        let text = format!(
            "The target group '{arn}' is in VPC '{}', the load balancer in '{}'",
            group.vpc, balancer.vpc
        );
        return Err(invalid_configuration(text));
    }
    let is_tcp = group.protocol == Protocol::Tcp;
    if is_tcp != (balancer.kind == BalancerKind::Network) {
        let text = format!(
            "The protocol of the target group '{arn}' is not compatible with the load balancer"
        );
        return Err(incompatible(text));
    }
    Ok(())
}
