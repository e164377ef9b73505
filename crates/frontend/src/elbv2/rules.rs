//! Rules of listeners. A listener's default rule is shown with them and changed with the listener.

use super::nouns::{self, Named};
use super::{actions, change, conditions, not_here, page, shown, tags, usage};
use super::{invalid_configuration, validation};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::RuleId;
use model::balancing::{BalancerKind, Listener, LoadBalancer, Rule};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Snapshot;
use store::kinds::{rule_key, rule_prefix};
use wire::elbv2;
use wire::elbv2::ErrorCode;

/// Rules of a load balancer, its listeners' default ones not counted. Source: user guide, quotas.
const RULES_MAX: usize = 100;

fn refuse_transforms(given: Option<&Vec<elbv2::RuleTransform>>) -> Result<(), Fault> {
    match given.and_then(|all| all.first()) {
        None => Ok(()),
        Some(one) => {
            let kind = one.r#type.as_ref().map_or("", |it| it.as_str());
            Err(not_here(&format!("the transform type {kind}")))
        }
    }
}

fn default_stays(arn: &str) -> Fault {
    let text = format!("Default rule '{arn}' cannot be modified or deleted");
    ErrorCode::OperationNotPermittedException.fault(text)
}

fn in_use(priority: u32) -> Fault {
    let text = format!("Priority '{priority}' is currently in use");
    ErrorCode::PriorityInUseException.fault(text)
}

fn read_priority(given: Option<i32>) -> Result<u32, Fault> {
    let fits = given.and_then(|it| u32::try_from(it).ok()).filter(|it| (1..=50_000).contains(it));
    fits.ok_or_else(|| validation("Priority must be between '1' and '50000'"))
}

pub async fn create(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::CreateRuleInput,
) -> Result<elbv2::CreateRuleOutput, Fault> {
    refuse_transforms(input.transforms.as_ref())?;
    let arn = input.listener_arn.unwrap_or_default();
    let conditions = conditions::read(input.conditions.as_deref().unwrap_or_default())?;
    let priority = read_priority(input.priority)?;
    let given = input.actions.unwrap_or_default();
    let tags = tags::RULES.read(input.tags)?;
    let made = change(cx, |txn| {
        let snapshot = txn.snapshot().clone();
        let (balancer, listener) = nouns::listener(cx, &snapshot, &arn)?;
        if balancer.kind == BalancerKind::Network {
            let text = "Rules are not supported for listeners of Network Load Balancers";
            return Err(invalid_configuration(text));
        }
        let (actions, action_order) = actions::read(cx, &snapshot, &given)?;
        let own = nouns::rules_of(&snapshot, &listener);
        if own.iter().any(|rule| rule.priority == priority) {
            return Err(in_use(priority));
        }
        let all = nouns::listeners_of(&snapshot, &balancer);
        let count = |it: &Arc<Listener>| snapshot.scan::<Rule>(&rule_prefix(&it.id)).count();
        if all.iter().map(count).sum::<usize>() >= RULES_MAX {
            let text = "The maximum number of rules of this load balancer has been reached";
            return Err(ErrorCode::TooManyRulesException.fault(text));
        }
        usage::check(cx, &snapshot, &balancer, &actions)?;
        let rule = Rule {
            id: RuleId::mint(cx.random()),
            load_balancer: balancer.id.clone(),
            listener: listener.id.clone(),
            priority,
            conditions: conditions.clone(),
            actions,
            action_order,
            created_at: cx.now(),
            tags: tags.clone(),
        };
        txn.put(rule.clone());
        Ok((balancer, listener, Arc::new(rule)))
    })
    .await?;
    let rules = Some(vec![show(cx, &cx.store.snapshot(), &made)]);
    Ok(elbv2::CreateRuleOutput { rules })
}

type Found = (Arc<LoadBalancer>, Arc<Listener>, Arc<Rule>);

fn show(cx: &Context, snapshot: &Snapshot, (balancer, listener, rule): &Found) -> elbv2::Rule {
    shown::rule(cx, snapshot, balancer, listener, rule)
}

/// A rule that is not a default one.
fn own(cx: &Context, snapshot: &Snapshot, arn: &str) -> Result<Found, Fault> {
    match nouns::rule(cx, snapshot, arn)? {
        Named::Rule(balancer, listener, rule) => Ok((balancer, listener, rule)),
        _ => Err(default_stays(arn)),
    }
}

pub async fn modify(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::ModifyRuleInput,
) -> Result<elbv2::ModifyRuleOutput, Fault> {
    refuse_transforms(input.transforms.as_ref())?;
    let arn = input.rule_arn.unwrap_or_default();
    let conditions = input.conditions.as_deref().map(conditions::read).transpose()?;
    let given = input.actions;
    let changed = change(cx, |txn| {
        let snapshot = txn.snapshot().clone();
        let (balancer, listener, rule) = own(cx, &snapshot, &arn)?;
        let mut rule = (*rule).clone();
        if let Some(conditions) = &conditions {
            rule.conditions.clone_from(conditions);
        }
        if let Some(given) = &given {
            (rule.actions, rule.action_order) = actions::read(cx, &snapshot, given)?;
            usage::check(cx, &snapshot, &balancer, &rule.actions)?;
        }
        txn.put(rule.clone());
        Ok((balancer, listener, Arc::new(rule)))
    })
    .await?;
    let rules = Some(vec![show(cx, &cx.store.snapshot(), &changed)]);
    Ok(elbv2::ModifyRuleOutput { rules })
}

pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DeleteRuleInput,
) -> Result<elbv2::DeleteRuleOutput, Fault> {
    let arn = input.rule_arn.unwrap_or_default();
    change(cx, |txn| {
        let (_, listener, rule) = own(cx, txn.snapshot(), &arn)?;
        txn.delete::<Rule>(&rule_key(&listener.id, &rule.id));
        Ok(())
    })
    .await?;
    Ok(elbv2::DeleteRuleOutput {})
}

/// All at once: what a rule leaves, another may take.
pub async fn set_priorities(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::SetRulePrioritiesInput,
) -> Result<elbv2::SetRulePrioritiesOutput, Fault> {
    let mut wanted = BTreeMap::new();
    for pair in input.rule_priorities.unwrap_or_default() {
        let arn = pair.rule_arn.unwrap_or_default();
        if wanted.insert(arn.clone(), read_priority(pair.priority)?).is_some() {
            return Err(validation(format!("Rule '{arn}' is specified more than once")));
        }
    }
    let changed = change(cx, |txn| {
        let snapshot = txn.snapshot().clone();
        let mut changed: Vec<Found> = Vec::new();
        for (arn, priority) in &wanted {
            let (balancer, listener, rule) = own(cx, &snapshot, arn)?;
            let rule = Rule { priority: *priority, ..(*rule).clone() };
            changed.push((balancer, listener, Arc::new(rule)));
        }
        for (_, listener, rule) in &changed {
            let moved = |id: &RuleId| changed.iter().any(|(_, _, it)| it.id == *id);
            let all = nouns::rules_of(&snapshot, listener);
            let stays = all.iter().filter(|it| !moved(&it.id));
            let others =
                changed.iter().filter(|(_, of, it)| of.id == listener.id && it.id != rule.id);
            let mut held = stays.chain(others.map(|(_, _, it)| it));
            if held.any(|it| it.priority == rule.priority) {
                return Err(in_use(rule.priority));
            }
        }
        for (_, _, rule) in &changed {
            txn.put_arc(rule.clone());
        }
        Ok(changed)
    })
    .await?;
    let snapshot = cx.store.snapshot();
    let rules = changed.iter().map(|found| show(cx, &snapshot, found)).collect();
    Ok(elbv2::SetRulePrioritiesOutput { rules: Some(rules) })
}

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeRulesInput,
) -> Result<elbv2::DescribeRulesOutput, Fault> {
    let snapshot = cx.store.snapshot();
    let arns = input.rule_arns.unwrap_or_default();
    let of = input.listener_arn;
    let mut found: Vec<(String, elbv2::Rule)> = Vec::new();
    let default = |balancer: &LoadBalancer, listener: &Listener| {
        let shown = shown::default_rule(cx, &snapshot, balancer, listener);
        (format!("default/{}", listener.id), shown)
    };
    let one = |balancer: &LoadBalancer, listener: &Listener, rule: &Rule| {
        let shown = shown::rule(cx, &snapshot, balancer, listener, rule);
        (format!("{:05}/{}", rule.priority, rule.id), shown)
    };
    match &of {
        Some(_) if !arns.is_empty() => {
            let text = "A listener ARN and rule ARNs cannot be specified at the same time";
            return Err(validation(text));
        }
        Some(arn) => {
            let (balancer, listener) = nouns::listener(cx, &snapshot, arn)?;
            let all = nouns::rules_of(&snapshot, &listener);
            found.extend(all.iter().map(|rule| one(&balancer, &listener, rule)));
            found.push(default(&balancer, &listener));
        }
        None if arns.is_empty() => {
            return Err(validation("You must specify either listener rule ARNs or a listener ARN"));
        }
        None => {
            for arn in &arns {
                found.push(match nouns::rule(cx, &snapshot, arn)? {
                    Named::Rule(balancer, listener, rule) => one(&balancer, &listener, &rule),
                    Named::DefaultRule(balancer, listener) => default(&balancer, &listener),
                    _ => return Err(nouns::no_rules()),
                });
            }
        }
    }
    let asked = format!("{arns:?}{of:?}");
    let request = ["DescribeRules", asked.as_str()];
    let key = |(key, _): &(String, elbv2::Rule)| key.clone();
    let (page, next_marker) = page(&request, found, key, input.marker.as_deref(), input.page_size)?;
    let rules = Some(page.into_iter().map(|(_, rule)| rule).collect());
    Ok(elbv2::DescribeRulesOutput { next_marker, rules })
}
