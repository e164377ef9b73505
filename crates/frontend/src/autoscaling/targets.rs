//! Scalable targets: which services may be scaled, and between which counts.

use super::{Asked, Paging, Scope, asked, dimension, invalid, named, namespace, role, tags, time};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::SCALABLE_TARGETS_MAX;
use model::metrics::{Alarm, AlarmState};
use model::scaling::{ScalableTarget, ScalingPolicy, ScalingProgress, ScheduledAction, Suspended};
use model::service::{Service, ServiceProgress, ServiceStatus};
use std::sync::Arc;
use store::Txn;
use store::kinds::{scaling_key, scaling_prefix};
use wire::application_autoscaling as aas;
use wire::application_autoscaling::ErrorCode;

pub async fn register(
    cx: &Context,
    _caller: &Caller,
    input: aas::RegisterScalableTargetRequest,
) -> Result<aas::RegisterScalableTargetResponse, Fault> {
    let scope = named!(Scope::read, input)?;
    let least = capacity(input.min_capacity)?;
    let most = capacity(input.max_capacity)?;
    let given = tags::read(input.tags)?;
    let target = cx
        .transact(|txn| {
            check_service(txn, &scope)?;
            let mut target = match txn.get::<ScalableTarget>(&scope.key()) {
                Some(known) if given.is_empty() => (*known).clone(),
                Some(_) => {
                    // Source: API reference, RegisterScalableTarget (Tags).
                    let text = "Tags cannot be specified when updating a scalable target. Use \
                                TagResource instead.";
                    return Err(invalid(text));
                }
                None => new_target(cx, txn, &scope, least, most, given.clone())?,
            };
            target.min_capacity = least.unwrap_or(target.min_capacity);
            target.max_capacity = most.unwrap_or(target.max_capacity);
            if target.max_capacity < target.min_capacity {
                return Err(invalid("Maximum capacity cannot be less than minimum capacity"));
            }
            if let Some(state) = &input.suspended_state {
                suspend(&mut target.suspended, state);
            }
            let target = Arc::new(target);
            txn.put_arc(Arc::clone(&target));
            Ok(target)
        })
        .await?;
    let scalable_target_arn = Some(target.arn(&cx.locality));
    Ok(aas::RegisterScalableTargetResponse { scalable_target_arn })
}

fn new_target(
    cx: &Context,
    txn: &Txn,
    scope: &Scope,
    least: Option<u32>,
    most: Option<u32>,
    tags: model::Tags,
) -> Result<ScalableTarget, Fault> {
    let (Some(min_capacity), Some(max_capacity)) = (least, most) else {
        let text = "MinCapacity and MaxCapacity are required to register a new scalable target";
        return Err(invalid(text));
    };
    if txn.snapshot().count::<ScalableTarget>("") >= SCALABLE_TARGETS_MAX {
        let text = format!("The limit of {SCALABLE_TARGETS_MAX} scalable targets is exceeded");
        return Err(ErrorCode::LimitExceededException.fault(text));
    }
    Ok(ScalableTarget {
        cluster: scope.cluster.clone(),
        service: scope.service.clone(),
        // The form AWS uses: 34 letters and digits.
        id: format!("0ec5{:030x}", cx.random() >> 8),
        min_capacity,
        max_capacity,
        suspended: Suspended::default(),
        tags,
        created_at: cx.now(),
    })
}

fn capacity(given: Option<i32>) -> Result<Option<u32>, Fault> {
    let negative = |_| invalid("Minimum and maximum capacity must not be negative");
    given.map(u32::try_from).transpose().map_err(negative)
}

fn suspend(suspended: &mut Suspended, state: &aas::SuspendedState) {
    let set = |flag: &mut bool, given: Option<bool>| *flag = given.unwrap_or(*flag);
    set(&mut suspended.scale_in, state.dynamic_scaling_in_suspended);
    set(&mut suspended.scale_out, state.dynamic_scaling_out_suspended);
    set(&mut suspended.scheduled, state.scheduled_scaling_suspended);
}

fn check_service(txn: &mut Txn, scope: &Scope) -> Result<(), Fault> {
    let service = txn.get::<Service>(&scope.key());
    let progress = txn.snapshot().get::<ServiceProgress>(&scope.key());
    let active = service.is_some_and(|service| {
        let progress = progress.as_ref().map(|progress| &*progress.value);
        plan::service::status(&service, progress) == ServiceStatus::Active
    });
    match active {
        true => Ok(()),
        false => Err(invalid(format!("ECS service doesn't exist: {}", scope.resource_id()))),
    }
}

/// Takes away the target with all that is about it.
pub async fn deregister(
    cx: &Context,
    _caller: &Caller,
    input: aas::DeregisterScalableTargetRequest,
) -> Result<aas::DeregisterScalableTargetResponse, Fault> {
    let scope = named!(Scope::read, input)?;
    cx.transact(|txn| {
        if txn.get::<ScalableTarget>(&scope.key()).is_none() {
            let text = format!("No scalable target found for {}", scope.in_words());
            return Err(ErrorCode::ObjectNotFoundException.fault(text));
        }
        let snapshot = txn.snapshot().clone();
        let prefix = scaling_prefix(&scope.cluster, &scope.service);
        for (key, policy) in snapshot.scan::<ScalingPolicy>(&prefix) {
            remove_alarms(txn, &policy);
            txn.delete::<ScalingPolicy>(key);
        }
        for (_, action) in snapshot.scan::<ScheduledAction>(&prefix) {
            let key = scaling_key(&scope.cluster, &scope.service, &action.name);
            txn.delete::<ScheduledAction>(&key);
        }
        txn.delete::<ScalingProgress>(&scope.key());
        txn.delete::<ScalableTarget>(&scope.key());
        Ok(())
    })
    .await?;
    Ok(aas::DeregisterScalableTargetResponse {})
}

/// The alarms that a policy made for itself go with it.
pub fn remove_alarms(txn: &mut Txn, policy: &ScalingPolicy) {
    for alarm in &policy.alarms {
        txn.delete::<Alarm>(alarm);
        txn.delete::<AlarmState>(alarm);
    }
}

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: aas::DescribeScalableTargetsRequest,
) -> Result<aas::DescribeScalableTargetsResponse, Fault> {
    let (namespace, dimension) =
        (input.service_namespace.as_ref(), input.scalable_dimension.as_ref());
    let asked = Asked {
        request: "DescribeScalableTargets",
        scope: asked(namespace, None, dimension)?,
        names: input.resource_ids.unwrap_or_default(),
        paging: Paging { token: input.next_token.as_deref(), max_results: input.max_results },
    };
    let (targets, next_token) =
        asked.page(cx, ScalableTarget::resource_id, |target| show(cx, target))?;
    Ok(aas::DescribeScalableTargetsResponse { scalable_targets: Some(targets), next_token })
}

fn show(cx: &Context, target: &ScalableTarget) -> aas::ScalableTarget {
    let shown = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
    aas::ScalableTarget {
        creation_time: Some(time(target.created_at)),
        max_capacity: shown(target.max_capacity),
        min_capacity: shown(target.min_capacity),
        predicted_capacity: None,
        resource_id: Some(target.resource_id()),
        role_arn: Some(role(cx)),
        scalable_dimension: dimension(),
        scalable_target_arn: Some(target.arn(&cx.locality)),
        service_namespace: namespace(),
        suspended_state: Some(aas::SuspendedState {
            dynamic_scaling_in_suspended: Some(target.suspended.scale_in),
            dynamic_scaling_out_suspended: Some(target.suspended.scale_out),
            scheduled_scaling_suspended: Some(target.suspended.scheduled),
        }),
    }
}
