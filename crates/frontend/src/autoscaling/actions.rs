//! Scheduled actions: other bounds at a certain time, once or again and again.

use super::{Asked, Paging, Scope, asked, dimension, invalid, named, namespace, remove, time};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::SCHEDULED_ACTIONS_PER_TARGET_MAX;
use model::Timestamp;
use model::scaling::{ScheduledAction, resource_id};
use store::kinds::{scaling_key, scaling_prefix};
use wire::application_autoscaling as aas;
use wire::application_autoscaling::ErrorCode;

pub async fn put(
    cx: &Context,
    _caller: &Caller,
    input: aas::PutScheduledActionRequest,
) -> Result<aas::PutScheduledActionResponse, Fault> {
    let scope = named!(Scope::read, input)?;
    let name = input.scheduled_action_name.clone().unwrap_or_default();
    check_time(&input)?;
    cx.transact(|txn| {
        scope.target(txn)?;
        let key = scaling_key(&scope.cluster, &scope.service, &name);
        let known = txn.get::<ScheduledAction>(&key);
        let prefix = scaling_prefix(&scope.cluster, &scope.service);
        let count = txn.snapshot().count::<ScheduledAction>(&prefix);
        if known.is_none() && count >= SCHEDULED_ACTIONS_PER_TARGET_MAX {
            let text = format!(
                "The limit of {SCHEDULED_ACTIONS_PER_TARGET_MAX} scheduled actions for a \
                 scalable target is exceeded"
            );
            return Err(ErrorCode::LimitExceededException.fault(text));
        }
        txn.put(action(cx, &scope, &name, &input, known.as_deref())?);
        Ok(())
    })
    .await?;
    Ok(aas::PutScheduledActionResponse {})
}

fn check_time(input: &aas::PutScheduledActionRequest) -> Result<(), Fault> {
    if let Some(schedule) = &input.schedule
        && plan::schedule::parse(schedule).is_none()
    {
        return Err(invalid(format!("Invalid schedule expression: {schedule}")));
    }
    match input.timezone.as_deref() {
        None | Some("UTC" | "Etc/UTC" | "GMT" | "Etc/GMT") => Ok(()),
        Some(zone) => Err(invalid(format!(
            "The time zone {zone} is not supported by Neargate: schedules are in UTC"
        ))),
    }
}

/// What is not named stays; a schedule without bounds says nothing.
fn action(
    cx: &Context,
    scope: &Scope,
    name: &str,
    input: &aas::PutScheduledActionRequest,
    known: Option<&ScheduledAction>,
) -> Result<ScheduledAction, Fault> {
    let given = input.scalable_target_action.as_ref();
    let bound = |given: Option<i32>, before: Option<u32>| match given.map(u32::try_from) {
        None => Ok(before),
        Some(Ok(count)) => Ok(Some(count)),
        Some(Err(_)) => Err(invalid("Minimum and maximum capacity must not be negative")),
    };
    // Bounds are replaced together.
    let before = known.filter(|_| given.is_none());
    let (least, most) =
        given.map_or((None, None), |given| (given.min_capacity, given.max_capacity));
    let min_capacity = bound(least, before.and_then(|known| known.min_capacity))?;
    let max_capacity = bound(most, before.and_then(|known| known.max_capacity))?;
    if min_capacity.is_none() && max_capacity.is_none() {
        return Err(invalid("ScalableTargetAction must name a minimum or a maximum capacity"));
    }
    if let (Some(least), Some(most)) = (min_capacity, max_capacity)
        && least > most
    {
        return Err(invalid("Maximum capacity cannot be less than minimum capacity"));
    }
    let schedule = input.schedule.clone().or_else(|| known.map(|known| known.schedule.clone()));
    let moment = |given: Option<wire::Timestamp>| given.map(|at| Timestamp(at.unix_ms));
    Ok(ScheduledAction {
        name: name.to_owned(),
        cluster: scope.cluster.clone(),
        service: scope.service.clone(),
        id: known.map_or_else(|| model::uuid(cx.random()), |known| known.id.clone()),
        schedule: schedule.ok_or_else(|| invalid("Schedule is required"))?,
        timezone: input.timezone.clone().or_else(|| known.and_then(|it| it.timezone.clone())),
        start: moment(input.start_time).or(known.and_then(|known| known.start)),
        end: moment(input.end_time).or(known.and_then(|known| known.end)),
        min_capacity,
        max_capacity,
        created_at: known.map_or_else(|| cx.now(), |known| known.created_at),
    })
}

pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: aas::DeleteScheduledActionRequest,
) -> Result<aas::DeleteScheduledActionResponse, Fault> {
    let scope = named!(Scope::read, input)?;
    let name = input.scheduled_action_name.unwrap_or_default();
    let words = ("scheduled action", "scheduled action name");
    remove::<ScheduledAction>(cx, &scope, &name, words, |_, _| ()).await?;
    Ok(aas::DeleteScheduledActionResponse {})
}

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: aas::DescribeScheduledActionsRequest,
) -> Result<aas::DescribeScheduledActionsResponse, Fault> {
    let asked = Asked {
        request: "DescribeScheduledActions",
        scope: named!(asked, input)?,
        names: input.scheduled_action_names.unwrap_or_default(),
        paging: Paging { token: input.next_token.as_deref(), max_results: input.max_results },
    };
    let (scheduled_actions, next_token) = asked.page(
        cx,
        |action: &ScheduledAction| action.name.clone(),
        |action| show(cx, action),
    )?;
    Ok(aas::DescribeScheduledActionsResponse {
        scheduled_actions: Some(scheduled_actions),
        next_token,
    })
}

fn show(cx: &Context, action: &ScheduledAction) -> aas::ScheduledAction {
    let shown = |count: Option<u32>| count.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
    aas::ScheduledAction {
        creation_time: Some(time(action.created_at)),
        end_time: action.end.map(time),
        resource_id: Some(resource_id(&action.cluster, &action.service)),
        scalable_dimension: dimension(),
        scalable_target_action: Some(aas::ScalableTargetAction {
            max_capacity: shown(action.max_capacity),
            min_capacity: shown(action.min_capacity),
        }),
        schedule: Some(action.schedule.clone()),
        scheduled_action_arn: Some(action.arn(&cx.locality)),
        scheduled_action_name: Some(action.name.clone()),
        service_namespace: namespace(),
        start_time: action.start.map(time),
        timezone: action.timezone.clone(),
    }
}
