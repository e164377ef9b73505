//! Target groups: shown, changed, deleted.

use super::health_checks::{self, Given, Of};
use super::load_balancers::check_named;
use super::{change, nouns, page, said, shown, usage, validation};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::balancing::{Target, TargetGroup, TargetHealth};
use std::sync::Arc;
use store::kinds::{target_key, target_prefix};
use wire::elbv2;
use wire::elbv2::ErrorCode;

/// Targets removed in one transaction, each with its health; the store's bound is 128.
const REMOVED_AT_ONCE_MAX: usize = 50;
/// ARNs or names of one call. Source: API reference gives no number; the load balancers' is 20.
const NAMED_MAX: usize = 100;

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeTargetGroupsInput,
) -> Result<elbv2::DescribeTargetGroupsOutput, Fault> {
    let arns = input.target_group_arns.unwrap_or_default();
    let names = input.names.unwrap_or_default();
    check_named(&arns, &names, NAMED_MAX)?;
    let snapshot = cx.store.snapshot();
    let used = super::used(&snapshot);
    let mut found: Vec<Arc<TargetGroup>> = Vec::new();
    for arn in &arns {
        found.push(nouns::target_group(cx, &snapshot, arn)?);
    }
    let all: Vec<_> = snapshot.scan::<TargetGroup>("").map(|(_, it)| it).collect();
    for name in &names {
        let one = all.iter().find(|it| it.name == *name).ok_or_else(nouns::no_target_groups)?;
        found.push(one.clone());
    }
    let of = input.load_balancer_arn;
    match &of {
        Some(_) if !arns.is_empty() || !names.is_empty() => {
            let text = "A load balancer ARN cannot be specified with names or ARNs of groups";
            return Err(validation(text));
        }
        Some(arn) => {
            let balancer = nouns::load_balancer(cx, &snapshot, arn)?;
            let by = |it: &Arc<TargetGroup>| {
                used.get(&it.id).is_some_and(|by| by.contains(&balancer.id))
            };
            found = all.into_iter().filter(by).collect();
        }
        None if arns.is_empty() && names.is_empty() => found = all,
        None => {}
    }
    let asked = format!("{arns:?}{names:?}{of:?}");
    let request = ["DescribeTargetGroups", asked.as_str()];
    let key = |it: &Arc<TargetGroup>| it.id.to_string();
    let (page, next_marker) = page(&request, found, key, input.marker.as_deref(), input.page_size)?;
    let show = |it: &Arc<TargetGroup>| shown::target_group(cx, &snapshot, it, used.get(&it.id));
    let groups = page.iter().map(show).collect();
    Ok(elbv2::DescribeTargetGroupsOutput { target_groups: Some(groups), next_marker })
}

pub async fn modify(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::ModifyTargetGroupInput,
) -> Result<elbv2::ModifyTargetGroupOutput, Fault> {
    let arn = input.target_group_arn.clone().unwrap_or_default();
    let changed = change(cx, |txn| {
        let group = nouns::target_group(cx, txn.snapshot(), &arn)?;
        let of = Of { protocol: group.protocol, version: group.version };
        let given = Given {
            enabled: input.health_check_enabled,
            protocol: input.health_check_protocol.clone(),
            port: said(input.health_check_port.clone()),
            path: input.health_check_path.clone(),
            interval_seconds: input.health_check_interval_seconds,
            timeout_seconds: input.health_check_timeout_seconds,
            healthy_threshold: input.healthy_threshold_count,
            unhealthy_threshold: input.unhealthy_threshold_count,
            matcher: input.matcher.clone(),
        };
        let health_check = health_checks::read(of, given, Some(&group.health_check))?;
        let changed = TargetGroup { health_check, ..(*group).clone() };
        txn.put(changed.clone());
        Ok(changed)
    })
    .await?;
    let snapshot = cx.store.snapshot();
    let used = super::used(&snapshot);
    let shown = shown::target_group(cx, &snapshot, &changed, used.get(&changed.id));
    Ok(elbv2::ModifyTargetGroupOutput { target_groups: Some(vec![shown]) })
}

/// Deleting one that is not there succeeds, as for load balancers.
pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DeleteTargetGroupInput,
) -> Result<elbv2::DeleteTargetGroupOutput, Fault> {
    let arn = input.target_group_arn.unwrap_or_default();
    let gone = || {
        change(cx, |txn| {
            let snapshot = txn.snapshot().clone();
            let group = match nouns::target_group(cx, &snapshot, &arn) {
                Err(fault) if fault.code == "TargetGroupNotFound" => return Ok(true),
                found => found?,
            };
            if usage::used(&snapshot).contains_key(&group.id) {
                let text =
                    format!("Target group '{arn}' is currently in use by a listener or a rule");
                return Err(ErrorCode::ResourceInUseException.fault(text));
            }
            let prefix = target_prefix(&group.id);
            let mut targets = snapshot.scan::<Target>(&prefix).map(|(_, it)| it);
            for target in targets.by_ref().take(REMOVED_AT_ONCE_MAX) {
                let key = target_key(&group.id, &target.id, target.port);
                txn.delete::<Target>(&key);
                txn.delete::<TargetHealth>(&key);
            }
            if targets.next().is_some() {
                return Ok(false);
            }
            // Who registers a task reads its group in that transaction.
            txn.get::<TargetGroup>(group.id.as_str());
            txn.delete::<TargetGroup>(group.id.as_str());
            Ok(true)
        })
    };
    while !gone().await? {}
    Ok(elbv2::DeleteTargetGroupOutput {})
}
