//! Scaling policies, and the alarms of those that track a target: one that asks for more within
//! three minutes, one that asks for less after fifteen. Source: ECS developer guide,
//! service-autoscaling-targettracking; the alarms' names and texts are AWS's own.

use super::targets::remove_alarms;
use super::{
    Asked, Paging, Scope, asked, configuration, dimension, invalid, named, namespace, remove, time,
};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::SCALING_POLICIES_PER_TARGET_MAX;
use model::metrics::{Alarm, AlarmState, Comparison};
use model::scaling::{PolicyRule, ScalingPolicy, TargetTracking, TrackedMetric};
use model::{Document, Tags};
use std::sync::Arc;
use store::Txn;
use store::kinds::{scaling_key, scaling_prefix};
use wire::application_autoscaling as aas;
use wire::application_autoscaling::ErrorCode;

/// Minutes above the target until it is scaled out, and below until it is scaled in.
const OUT_MINUTES: u32 = 3;
const IN_MINUTES: u32 = 15;
/// How far below its target a metric must be to scale in.
const IN_SHARE: f64 = 0.9;

pub async fn put(
    cx: &Context,
    _caller: &Caller,
    input: aas::PutScalingPolicyRequest,
) -> Result<aas::PutScalingPolicyResponse, Fault> {
    let scope = named!(Scope::read, input)?;
    let name = input.policy_name.clone().unwrap_or_default();
    let (rule, document) = rule(&input)?;
    let policy = cx
        .transact(|txn| {
            scope.target(txn)?;
            let key = scaling_key(&scope.cluster, &scope.service, &name);
            let known = txn.get::<ScalingPolicy>(&key);
            check(txn, &scope, &name, known.is_some(), &rule)?;
            let (id, created_at) = match &known {
                Some(known) => (known.id.clone(), known.created_at),
                None => (model::uuid(cx.random()), cx.now()),
            };
            let mut policy = ScalingPolicy {
                name: name.clone(),
                cluster: scope.cluster.clone(),
                service: scope.service.clone(),
                id,
                rule: rule.clone(),
                document: document.clone(),
                alarms: Vec::new(),
                created_at,
            };
            if let Some(known) = &known {
                remove_alarms(txn, known);
            }
            for alarm in alarms(cx, &policy) {
                policy.alarms.push(alarm.name.clone());
                txn.delete::<AlarmState>(&alarm.name);
                txn.put(alarm);
            }
            let policy = Arc::new(policy);
            txn.put_arc(Arc::clone(&policy));
            Ok(policy)
        })
        .await?;
    Ok(aas::PutScalingPolicyResponse {
        alarms: Some(shown_alarms(cx, &policy)),
        policy_arn: Some(policy.arn(&cx.locality)),
    })
}

fn rule(input: &aas::PutScalingPolicyRequest) -> Result<(PolicyRule, Document), Fault> {
    let kind = input.policy_type.as_ref().map_or("StepScaling", |kind| kind.as_str());
    let tracking = input.target_tracking_scaling_policy_configuration.as_ref();
    let steps = input.step_scaling_policy_configuration.as_ref();
    match (kind, tracking, steps) {
        ("TargetTrackingScaling", Some(given), None) => configuration::tracking(given),
        ("StepScaling", None, Some(given)) => configuration::steps(given),
        ("PredictiveScaling", ..) => Err(invalid("PredictiveScaling is not supported by Neargate")),
        (kind, ..) => Err(invalid(format!(
            "The configuration of a {kind} policy, and no other, must be specified"
        ))),
    }
}

fn check(
    txn: &Txn,
    scope: &Scope,
    name: &str,
    known: bool,
    rule: &PolicyRule,
) -> Result<(), Fault> {
    let prefix = scaling_prefix(&scope.cluster, &scope.service);
    let snapshot = txn.snapshot();
    let mut others = snapshot.scan::<ScalingPolicy>(&prefix).filter(|(_, it)| it.name != name);
    let metric = |rule: &PolicyRule| match rule {
        PolicyRule::TargetTracking(tracking) => Some(tracking.metric.clone()),
        PolicyRule::Step(_) => None,
    };
    let own = metric(rule).filter(|metric| *metric != TrackedMetric::Expression);
    if own.is_some() && others.any(|(_, other)| metric(&other.rule) == own) {
        let text = "Only one TargetTrackingScaling policy for a given metric specification is \
                    allowed.";
        return Err(invalid(text));
    }
    if !known && snapshot.count::<ScalingPolicy>(&prefix) >= SCALING_POLICIES_PER_TARGET_MAX {
        let text = format!(
            "The limit of {SCALING_POLICIES_PER_TARGET_MAX} scaling policies for a scalable \
             target is exceeded"
        );
        return Err(ErrorCode::LimitExceededException.fault(text));
    }
    Ok(())
}

/// The alarms of a policy that tracks a target.
fn alarms(cx: &Context, policy: &ScalingPolicy) -> Vec<Alarm> {
    let PolicyRule::TargetTracking(tracking) = &policy.rule else { return Vec::new() };
    let high = alarm(cx, policy, tracking, "High");
    let low = match tracking.disable_scale_in {
        true => None,
        false => alarm(cx, policy, tracking, "Low"),
    };
    high.into_iter().chain(low).collect()
}

fn alarm(
    cx: &Context,
    policy: &ScalingPolicy,
    tracking: &TargetTracking,
    side: &str,
) -> Option<Alarm> {
    let (metric, statistic) = tracking.metric.metric(&policy.cluster, &policy.service)?;
    let resource = model::scaling::resource_id(&policy.cluster, &policy.service);
    let arn = policy.arn(&cx.locality);
    let (comparison, threshold, minutes) = match side {
        "High" => (Comparison::Above, tracking.target, OUT_MINUTES),
        _ => (Comparison::Below, tracking.target * IN_SHARE, IN_MINUTES),
    };
    Some(Alarm {
        name: format!("TargetTracking-{resource}-Alarm{side}-{}", model::uuid(cx.random())),
        metric,
        statistic,
        period_seconds: 60,
        evaluation_periods: minutes,
        datapoints_to_alarm: None,
        threshold,
        comparison,
        missing: None,
        actions_enabled: true,
        description: Some(format!(
            "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {arn}."
        )),
        alarm_actions: vec![arn],
        ok_actions: Vec::new(),
        insufficient_data_actions: Vec::new(),
        unit: None,
        tags: Tags::new(),
        configured_at: cx.now(),
    })
}

pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: aas::DeleteScalingPolicyRequest,
) -> Result<aas::DeleteScalingPolicyResponse, Fault> {
    let scope = named!(Scope::read, input)?;
    let name = input.policy_name.unwrap_or_default();
    let words = ("scaling policy", "policy name");
    remove(cx, &scope, &name, words, remove_alarms).await?;
    Ok(aas::DeleteScalingPolicyResponse {})
}

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: aas::DescribeScalingPoliciesRequest,
) -> Result<aas::DescribeScalingPoliciesResponse, Fault> {
    let asked = Asked {
        request: "DescribeScalingPolicies",
        scope: named!(asked, input)?,
        names: input.policy_names.unwrap_or_default(),
        paging: Paging { token: input.next_token.as_deref(), max_results: input.max_results },
    };
    let (scaling_policies, next_token) =
        asked.page(cx, |policy: &ScalingPolicy| policy.name.clone(), |policy| show(cx, policy))?;
    Ok(aas::DescribeScalingPoliciesResponse {
        scaling_policies: Some(scaling_policies),
        next_token,
    })
}

fn shown_alarms(cx: &Context, policy: &ScalingPolicy) -> Vec<aas::Alarm> {
    let alarm = |name: &String| aas::Alarm {
        alarm_arn: Some(crate::cloudwatch::alarm_arn(cx, name)),
        alarm_name: Some(name.clone()),
    };
    policy.alarms.iter().map(alarm).collect()
}

fn show(cx: &Context, policy: &ScalingPolicy) -> aas::ScalingPolicy {
    let text = policy.document.as_str();
    let mut shown = aas::ScalingPolicy {
        alarms: Some(shown_alarms(cx, policy)),
        creation_time: Some(time(policy.created_at)),
        policy_arn: Some(policy.arn(&cx.locality)),
        policy_name: Some(policy.name.clone()),
        resource_id: Some(model::scaling::resource_id(&policy.cluster, &policy.service)),
        scalable_dimension: dimension(),
        service_namespace: namespace(),
        ..aas::ScalingPolicy::default()
    };
    const OURS: &str = "the document was written by this service";
    match &policy.rule {
        PolicyRule::TargetTracking(_) => {
            shown.policy_type = Some(aas::PolicyType::TargetTrackingScaling);
            shown.target_tracking_scaling_policy_configuration =
                Some(serde_json::from_str(text).expect(OURS));
        }
        PolicyRule::Step(_) => {
            shown.policy_type = Some(aas::PolicyType::StepScaling);
            shown.step_scaling_policy_configuration = Some(serde_json::from_str(text).expect(OURS));
        }
    }
    shown
}
