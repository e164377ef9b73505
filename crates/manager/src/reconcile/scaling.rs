//! Alarms are looked at, and services scaled by them: wake with each minute of metrics, look at
//! every alarm (`plan::alarm`), and at every scalable target with the alarms that call for its
//! policies (`plan::scaling`). What a policy decides is committed with the service's new count in
//! one transaction; that the count comes true is the service reconciler's.

use crate::Context;
use model::Timestamp;
use model::metrics::{Alarm, AlarmState, AlarmValue};
use model::scaling::{PolicyRule, ScalableTarget, ScalingPolicy, ScalingProgress, ScheduledAction};
use model::service::{Service, ServiceProgress, ServiceStatus};
use plan::scaling::{PolicyView, Signal, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::kinds::scaling_prefix;
use store::{CommitFailure, Snapshot, Txn};

/// How often to look, in parts of a minute of metrics, and at most and at least in milliseconds.
const LOOKS_PER_MINUTE: i64 = 12;
const LOOK_EVERY_MS: (i64, i64) = (250, 5_000);

pub async fn run(cx: &Context) {
    let every_ms = (cx.metrics.minute_ms() / LOOKS_PER_MINUTE)
        .clamp(LOOK_EVERY_MS.0, LOOK_EVERY_MS.1)
        .unsigned_abs();
    let mut ticks = tokio::time::interval(Duration::from_millis(every_ms));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = Timestamp(i64::MIN);
    loop {
        ticks.tick().await;
        let snapshot = cx.store.snapshot();
        let minute = cx.metrics.minute_of(cx.now());
        if minute > seen {
            // Only minutes that are over say anything.
            seen = minute;
            for (_, alarm) in snapshot.scan::<Alarm>("") {
                look_at(cx, &alarm, minute).await;
            }
        }
        // Again: what was just found is part of it.
        let snapshot = cx.store.snapshot();
        if snapshot.count::<ScalableTarget>("") == 0 {
            continue;
        }
        let signals = signals(cx, &snapshot);
        for (key, _) in snapshot.scan::<ScalableTarget>("") {
            scale(cx, key, &signals).await;
        }
    }
}

/// Periods of an alarm are counted in minutes, which tests have shorter.
fn period_ms(cx: &Context, alarm: &Alarm) -> i64 {
    i64::from(alarm.period_seconds / 60).max(1).saturating_mul(cx.metrics.minute_ms())
}

fn periods(cx: &Context, alarm: &Alarm, until: Timestamp) -> Vec<plan::alarm::Period> {
    let (period_ms, count) = (period_ms(cx, alarm), plan::alarm::periods_wanted(alarm));
    let from = until.plus_ms(-period_ms.saturating_mul(i64::from(count)));
    let (points, _) = cx.metrics.read(&alarm.metric, from, until);
    plan::alarm::by_period(&points, until, period_ms, count, alarm.statistic)
}

async fn look_at(cx: &Context, alarm: &Arc<Alarm>, minute: Timestamp) {
    let (periods, now) = (periods(cx, alarm, minute), cx.now());
    let written = cx.store.transact(|txn| {
        // Guarded: what was found is of this alarm, not of the one that it is changed to.
        let same = txn.get::<Alarm>(&alarm.name).is_some_and(|known| known == *alarm);
        let before = txn.get::<AlarmState>(&alarm.name);
        let value = before.as_ref().map_or(AlarmValue::InsufficientData, |state| state.value);
        let found = plan::alarm::evaluate(alarm, &periods, value, now).filter(|_| same);
        if let Some(found) = found
            && (before.is_none() || found.value != value)
        {
            let state = AlarmState::next(
                before.as_deref(),
                &alarm.name,
                found.value,
                found.reason,
                found.reason_data,
                now,
            );
            txn.put(state);
        }
        Ok::<_, CommitFailure>(())
    });
    if let Err(failure) = written.await {
        tracing::error!(alarm = alarm.name, %failure, "an alarm is not looked at; trying on");
    }
}

async fn scale(cx: &Context, key: &str, signals: &BTreeMap<String, Vec<Signal>>) {
    match cx.store.transact(|txn| Ok::<_, CommitFailure>(step(cx, txn, key, signals))).await {
        Ok((Some((from, to)), _)) => tracing::info!(service = key, from, to, "a service is scaled"),
        Ok((None, _)) => {}
        Err(failure) => {
            tracing::error!(service = key, %failure, "a service is not scaled; trying on");
        }
    }
}

/// The alarms that are in ALARM, by the ARN of what they call for.
fn signals(cx: &Context, snapshot: &Snapshot) -> BTreeMap<String, Vec<Signal>> {
    let mut signals = BTreeMap::<String, Vec<Signal>>::new();
    let minute = cx.metrics.minute_of(cx.now());
    for (name, state) in snapshot.scan::<AlarmState>("") {
        if state.value != AlarmValue::Alarm {
            continue;
        }
        let Some(alarm) = snapshot.get::<Alarm>(name).filter(|alarm| alarm.actions_enabled) else {
            continue;
        };
        let newest = periods(cx, &alarm, minute).iter().rev().find_map(|period| period.value);
        // An alarm that was set by hand has nothing to say of how far off it is.
        let Some(value) = newest else { continue };
        let signal = Signal { alarm: name.to_owned(), threshold: alarm.threshold, value };
        for action in &alarm.alarm_actions {
            signals.entry(action.clone()).or_default().push(signal.clone());
        }
    }
    signals
}

/// Brings one service's count a step on. What it was and became, if it changed.
fn step(
    cx: &Context,
    txn: &mut Txn,
    key: &str,
    signals: &BTreeMap<String, Vec<Signal>>,
) -> Option<(u32, u32)> {
    let target = txn.get::<ScalableTarget>(key)?;
    let service = txn.get::<Service>(key)?;
    let progress = txn.get::<ScalingProgress>(key);
    let snapshot = txn.snapshot().clone();
    let known = snapshot.get::<ServiceProgress>(key);
    let of = known.as_ref().map(|known| &*known.value);
    if plan::service::status(&service, of) != ServiceStatus::Active {
        return None;
    }
    let prefix = scaling_prefix(&target.cluster, &target.service);
    let policies: Vec<Arc<ScalingPolicy>> =
        snapshot.scan::<ScalingPolicy>(&prefix).map(|(_, policy)| policy).collect();
    let actions: Vec<Arc<ScheduledAction>> =
        snapshot.scan::<ScheduledAction>(&prefix).map(|(_, action)| action).collect();
    let actions: Vec<&ScheduledAction> = actions.iter().map(|action| &**action).collect();
    let views: Vec<PolicyView<'_>> = policies
        .iter()
        .map(|policy| PolicyView { policy, signals: of_policy(cx, policy, signals) })
        .collect();
    let view = View {
        target: &target,
        policies: &views,
        actions: &actions,
        desired: service.desired_count,
        progress: progress.as_deref(),
        minute_ms: cx.metrics.minute_ms(),
        now: cx.now(),
    };
    let decided = plan::scaling::decide(&view, &mut || cx.random());
    let bounds = (decided.min_capacity, decided.max_capacity);
    if bounds != (target.min_capacity, target.max_capacity) {
        let (min_capacity, max_capacity) = bounds;
        txn.put(ScalableTarget { min_capacity, max_capacity, ..(*target).clone() });
    }
    if progress.as_deref() != Some(&decided.progress) {
        txn.put(decided.progress);
    }
    if decided.desired == service.desired_count {
        return None;
    }
    let mut changed = (*service).clone();
    changed.desired_count = decided.desired;
    txn.put(changed);
    Some((service.desired_count, decided.desired))
}

fn of_policy(
    cx: &Context,
    policy: &ScalingPolicy,
    signals: &BTreeMap<String, Vec<Signal>>,
) -> Vec<Signal> {
    let all = signals.get(&policy.arn(&cx.locality)).cloned().unwrap_or_default();
    match &policy.rule {
        // Only its own alarms are about its target.
        PolicyRule::TargetTracking(_) => {
            all.into_iter().filter(|signal| policy.alarms.contains(&signal.alarm)).collect()
        }
        PolicyRule::Step(_) => all,
    }
}
