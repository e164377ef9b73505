//! Elastic Load Balancing (version 2): load balancers, their listeners and rules, target groups and
//! their targets. What is committed here is what a balancer serves a moment later: the table is
//! derived from these records whole (`plan::routes`). A file for each noun.
//!
//! Every changing call writes one common record (`change`), so two of them never pass each other.

mod account;
mod actions;
mod attributes;
mod certificates;
mod conditions;
mod create_load_balancer;
mod create_target_group;
mod health_checks;
mod listeners;
mod load_balancers;
mod nouns;
mod policies;
mod rules;
mod shown;
mod subnets;
mod tags;
mod target_groups;
mod target_health;
mod targets;
#[cfg(test)]
mod tests;
mod usage;

pub use attributes::kept as attributes_without_effect;
pub use nouns::target_group;
pub use usage::used;

use crate::context::Context;
use crate::cursor::{Cursor, page_items};
use crate::dispatch::{Route, route};
use crate::fault::Fault;
use model::balancing::BalancingChanges;
use store::Txn;
use store::kinds::BALANCING_CHANGES_KEY;
use wire::elbv2::ErrorCode;

pub const ROUTES: &[Route] = &[
    route!(elbv2, AddListenerCertificatesInput, certificates::add),
    route!(elbv2, AddTagsInput, tags::add),
    route!(
        elbv2,
        CreateListenerInput,
        listeners::create,
        ignores["SslPolicy (checked and shown; all speak TLS 1.2 and 1.3)"]
    ),
    route!(elbv2, CreateLoadBalancerInput, create_load_balancer::create),
    route!(elbv2, CreateRuleInput, rules::create),
    route!(elbv2, CreateTargetGroupInput, create_target_group::create),
    route!(elbv2, DeleteListenerInput, listeners::delete),
    route!(elbv2, DeleteLoadBalancerInput, load_balancers::delete),
    route!(elbv2, DeleteRuleInput, rules::delete),
    route!(elbv2, DeleteTargetGroupInput, target_groups::delete),
    route!(elbv2, DeregisterTargetsInput, targets::deregister),
    route!(elbv2, DescribeAccountLimitsInput, account::describe_limits),
    route!(elbv2, DescribeCapacityReservationInput, account::describe_capacity_reservation),
    route!(elbv2, DescribeListenerAttributesInput, attributes::describe_of_listener),
    route!(elbv2, DescribeListenerCertificatesInput, certificates::describe),
    route!(elbv2, DescribeListenersInput, listeners::describe),
    route!(elbv2, DescribeLoadBalancerAttributesInput, attributes::describe_of_load_balancer),
    route!(elbv2, DescribeLoadBalancersInput, load_balancers::describe),
    route!(elbv2, DescribeRulesInput, rules::describe),
    route!(elbv2, DescribeSSLPoliciesInput, policies::describe),
    route!(elbv2, DescribeTagsInput, tags::describe),
    route!(elbv2, DescribeTargetGroupAttributesInput, attributes::describe_of_target_group),
    route!(elbv2, DescribeTargetGroupsInput, target_groups::describe),
    route!(elbv2, DescribeTargetHealthInput, target_health::describe),
    route!(
        elbv2,
        ModifyListenerInput,
        listeners::modify,
        ignores["SslPolicy (checked and shown; all speak TLS 1.2 and 1.3)"]
    ),
    route!(elbv2, ModifyListenerAttributesInput, attributes::modify_of_listener),
    route!(elbv2, ModifyLoadBalancerAttributesInput, attributes::modify_of_load_balancer),
    route!(elbv2, ModifyRuleInput, rules::modify),
    route!(elbv2, ModifyTargetGroupInput, target_groups::modify),
    route!(elbv2, ModifyTargetGroupAttributesInput, attributes::modify_of_target_group),
    route!(elbv2, RegisterTargetsInput, targets::register),
    route!(elbv2, RemoveListenerCertificatesInput, certificates::remove),
    route!(elbv2, RemoveTagsInput, tags::remove),
    route!(elbv2, SetIpAddressTypeInput, load_balancers::set_ip_address_type),
    route!(elbv2, SetRulePrioritiesInput, rules::set_priorities),
    route!(elbv2, SetSecurityGroupsInput, load_balancers::set_security_groups),
    route!(elbv2, SetSubnetsInput, load_balancers::set_subnets),
];

/// Items of one page when the caller names no number. Source: API reference (PageSize).
const PAGE_ITEMS: usize = 400;

fn validation(text: impl Into<String>) -> Fault {
    Fault::client("ValidationError", text)
}

fn invalid_configuration(text: impl Into<String>) -> Fault {
    ErrorCode::InvalidConfigurationRequestException.fault(text)
}

fn incompatible(text: impl Into<String>) -> Fault {
    ErrorCode::IncompatibleProtocolsException.fault(text)
}

/// What ELB has and Neargate has not: refused by name, as what runs would not be what was asked.
fn not_here(what: &str) -> Fault {
    validation(format!("Neargate does not support {what}"))
}

/// A transaction that no other change of load balancing passes. So what it reads of load
/// balancing in `txn.snapshot()` holds when it commits.
pub async fn change<R>(
    cx: &Context,
    mut change: impl FnMut(&mut Txn) -> Result<R, Fault>,
) -> Result<R, Fault> {
    cx.transact(|txn| {
        let before = txn.get::<BalancingChanges>(BALANCING_CHANGES_KEY);
        let count = before.map_or(0, |before| before.count);
        let done = change(txn)?;
        txn.put(BalancingChanges { count: count + 1 });
        Ok(done)
    })
    .await
}

/// One page: what to show, and the marker of the next. `key` is unique and sorts.
fn page<T>(
    request: &[&str],
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    marker: Option<&str>,
    page_size: Option<i32>,
) -> Result<(Vec<T>, Option<String>), Fault> {
    let cursor = Cursor::new(request);
    let after = cursor.after(marker, || validation("Invalid marker"))?;
    let mut items: Vec<(String, T)> = items.into_iter().map(|it| (key(&it), it)).collect();
    items.sort_by(|a, b| a.0.cmp(&b.0));
    let limit = page_items(page_size, PAGE_ITEMS).max(1);
    Ok(cursor.page(items.into_iter(), after.as_deref(), limit))
}

/// An empty text says as much as none: clients send both for what they were not told.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn time(at: model::Timestamp) -> Option<wire::Timestamp> {
    Some(wire::Timestamp::from_unix_ms(at.0))
}
