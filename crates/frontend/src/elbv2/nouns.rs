//! How a call's ARN becomes a record, with the words in which ELB refuses one that means nothing.
//! A changing call reads snapshots: what it has seen holds when it commits (`change`).

use super::validation;
use crate::context::Context;
use crate::fault::Fault;
use model::arn::Arn;
use model::balancing::{Listener, LoadBalancer, Rule, SERVICE, TargetGroup};
use model::{ListenerId, RuleId};
use std::sync::Arc;
use store::Snapshot;
use store::kinds::{listener_key, listener_prefix, rule_key, rule_prefix};
use wire::elbv2::ErrorCode;

pub fn no_load_balancer(arn: &str) -> Fault {
    ErrorCode::LoadBalancerNotFoundException.fault(format!("Load balancer '{arn}' not found"))
}

pub fn no_target_groups() -> Fault {
    ErrorCode::TargetGroupNotFoundException.fault("One or more target groups not found")
}

pub fn no_listeners() -> Fault {
    ErrorCode::ListenerNotFoundException.fault("One or more listeners not found")
}

pub fn no_rules() -> Fault {
    ErrorCode::RuleNotFoundException.fault("One or more rules not found")
}

/// The parts of an ARN of this kind, behind the kind; None when it is none.
fn parts<'a>(arn: &'a str, kind: &str, count: usize) -> Option<Vec<&'a str>> {
    let arn = Arn::parse(arn).filter(|arn| arn.service == SERVICE)?;
    let (of, rest) = arn.kind_and_rest()?;
    let parts: Vec<&str> = rest.split('/').collect();
    (of == kind && parts.len() == count && parts.iter().all(|part| !part.is_empty()))
        .then_some(parts)
}

/// What an ARN of ELB's names.
pub enum Named {
    LoadBalancer(Arc<LoadBalancer>),
    TargetGroup(Arc<TargetGroup>),
    Listener(Arc<Listener>),
    /// A listener's default rule is no record of its own.
    DefaultRule(Arc<LoadBalancer>, Arc<Listener>),
    Rule(Arc<LoadBalancer>, Arc<Listener>, Arc<Rule>),
}

pub fn load_balancer(
    cx: &Context,
    snapshot: &Snapshot,
    arn: &str,
) -> Result<Arc<LoadBalancer>, Fault> {
    let parts = parts(arn, "loadbalancer", 3)
        .ok_or_else(|| validation(format!("'{arn}' is not a valid load balancer ARN")))?;
    let found = snapshot.get::<LoadBalancer>(parts[2]).map(|found| found.value);
    found.filter(|it| it.arn(&cx.locality) == arn).ok_or_else(|| no_load_balancer(arn))
}

pub fn target_group(
    cx: &Context,
    snapshot: &Snapshot,
    arn: &str,
) -> Result<Arc<TargetGroup>, Fault> {
    let parts = parts(arn, "targetgroup", 2)
        .ok_or_else(|| validation(format!("'{arn}' is not a valid target group ARN")))?;
    let found = snapshot.get::<TargetGroup>(parts[1]).map(|found| found.value);
    found.filter(|it| it.arn(&cx.locality) == arn).ok_or_else(no_target_groups)
}

pub fn listener(
    cx: &Context,
    snapshot: &Snapshot,
    arn: &str,
) -> Result<(Arc<LoadBalancer>, Arc<Listener>), Fault> {
    let parts = parts(arn, "listener", 4)
        .ok_or_else(|| validation(format!("'{arn}' is not a valid listener ARN")))?;
    let balancer = snapshot.get::<LoadBalancer>(parts[2]).ok_or_else(no_listeners)?.value;
    let key = listener_key(&balancer.id, &ListenerId::from(parts[3]));
    let listener = snapshot.get::<Listener>(&key).ok_or_else(no_listeners)?.value;
    let same = listener.arn(&cx.locality, &balancer) == arn;
    if same { Ok((balancer, listener)) } else { Err(no_listeners()) }
}

/// A rule, also a listener's default one.
pub fn rule(cx: &Context, snapshot: &Snapshot, arn: &str) -> Result<Named, Fault> {
    let parts = parts(arn, "listener-rule", 5)
        .ok_or_else(|| validation(format!("'{arn}' is not a valid listener rule ARN")))?;
    let balancer = snapshot.get::<LoadBalancer>(parts[2]).ok_or_else(no_rules)?.value;
    let key = listener_key(&balancer.id, &ListenerId::from(parts[3]));
    let listener = snapshot.get::<Listener>(&key).ok_or_else(no_rules)?.value;
    let id = RuleId::from(parts[4]);
    if rule_arn(cx, &balancer, &listener, &id) != arn {
        return Err(no_rules());
    }
    if id == default_rule(&listener) {
        return Ok(Named::DefaultRule(balancer, listener));
    }
    let rule = snapshot.get::<Rule>(&rule_key(&listener.id, &id)).ok_or_else(no_rules)?.value;
    Ok(Named::Rule(balancer, listener, rule))
}

/// Whatever of ELB's has tags.
pub fn named(cx: &Context, snapshot: &Snapshot, arn: &str) -> Result<Named, Fault> {
    let kind = Arn::parse(arn).and_then(|arn| arn.kind_and_rest()).map(|(kind, _)| kind);
    match kind {
        Some("loadbalancer") => load_balancer(cx, snapshot, arn).map(Named::LoadBalancer),
        Some("targetgroup") => target_group(cx, snapshot, arn).map(Named::TargetGroup),
        Some("listener") => {
            listener(cx, snapshot, arn).map(|(_, listener)| Named::Listener(listener))
        }
        Some("listener-rule") => rule(cx, snapshot, arn),
        _ => Err(validation(format!("'{arn}' is not a valid resource ARN"))),
    }
}

/// The id of a listener's default rule follows from the listener's: its digits backwards.
pub fn default_rule(listener: &Listener) -> RuleId {
    RuleId::from(listener.id.as_str().chars().rev().collect::<String>())
}

pub fn rule_arn(
    cx: &Context,
    balancer: &LoadBalancer,
    listener: &Listener,
    rule: &RuleId,
) -> String {
    let path = balancer.path();
    cx.locality.arn(SERVICE, &format!("listener-rule/{path}/{}/{rule}", listener.id))
}

/// A balancer's listeners, those of lower ports first.
pub fn listeners_of(snapshot: &Snapshot, balancer: &LoadBalancer) -> Vec<Arc<Listener>> {
    let prefix = listener_prefix(&balancer.id);
    let mut all: Vec<_> = snapshot.scan::<Listener>(&prefix).map(|(_, it)| it).collect();
    all.sort_by_key(|listener| listener.port);
    all
}

/// A listener's rules in the order in which they are looked at, without its default.
pub fn rules_of(snapshot: &Snapshot, listener: &Listener) -> Vec<Arc<Rule>> {
    let prefix = rule_prefix(&listener.id);
    let mut all: Vec<_> = snapshot.scan::<Rule>(&prefix).map(|(_, it)| it).collect();
    all.sort_by_key(|rule| rule.priority);
    all
}
