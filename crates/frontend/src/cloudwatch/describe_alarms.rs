//! Alarms shown, with what they were last found to be.

use super::{alarm_arn, invalid, key, shown_dimensions, time, unknown_token};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::metrics::{Alarm, AlarmState, AlarmTransition, AlarmValue};
use serde_json::json;
use std::sync::Arc;
use store::Snapshot;
use wire::cloudwatch as cw;

/// Source: API reference, DescribeAlarms (MaxRecords).
const PAGE_ITEMS: usize = 50;
const PAGE_ITEMS_MAX: usize = 100;

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: cw::DescribeAlarmsInput,
) -> Result<cw::DescribeAlarmsOutput, Fault> {
    let names = input.alarm_names.unwrap_or_default();
    let prefix = input.alarm_name_prefix.unwrap_or_default();
    if !names.is_empty() && !prefix.is_empty() {
        return Err(super::combination(
            "The parameters AlarmNames and AlarmNamePrefix are mutually exclusive and you have \
             specified both.",
        ));
    }
    // Only metric alarms are there; they are shown unless others alone are asked for.
    let types = input.alarm_types.unwrap_or_default();
    let shows = types.is_empty() || types.iter().any(|it| it.as_str() == "MetricAlarm");
    let state = input.state_value.as_ref().map(|value| value.as_str().to_owned());
    let action = input.action_prefix.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<Alarm>(&prefix).filter(|(_, alarm)| {
        shows
            && (names.is_empty() || names.contains(&alarm.name))
            && (action.is_empty() || alarm.alarm_actions.iter().any(|it| it.starts_with(&action)))
            && state.as_deref().is_none_or(|wanted| value(&snapshot, alarm).as_str() == wanted)
    });
    let request =
        ["DescribeAlarms", &names.join("\n"), &prefix, &action, state.as_deref().unwrap_or("")];
    let items = all.map(|(key, alarm)| (key.to_owned(), show(cx, &snapshot, &alarm)));
    let token = input.next_token.as_deref();
    let (alarms, next_token) = page(&Cursor::new(&request), items, token, input.max_records)?;
    Ok(cw::DescribeAlarmsOutput {
        composite_alarms: Some(Vec::new()),
        metric_alarms: Some(alarms),
        next_token,
    })
}

fn page<T>(
    cursor: &Cursor,
    items: impl Iterator<Item = (String, T)>,
    token: Option<&str>,
    max_records: Option<i32>,
) -> Result<(Vec<T>, Option<String>), Fault> {
    let after = cursor.after(token, unknown_token)?;
    let limit = page_items(max_records, PAGE_ITEMS);
    if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
        return Err(invalid(format!("MaxRecords must be 1 to {PAGE_ITEMS_MAX}")));
    }
    Ok(cursor.page(items, after.as_deref(), limit))
}

fn value(snapshot: &Snapshot, alarm: &Alarm) -> AlarmValue {
    let state = snapshot.get::<AlarmState>(&alarm.name);
    state.map_or(AlarmValue::InsufficientData, |state| state.value.value)
}

fn show(cx: &Context, snapshot: &Snapshot, alarm: &Alarm) -> cw::MetricAlarm {
    let state = snapshot.get::<AlarmState>(&alarm.name).map(|state| state.value);
    let count = |number: u32| Some(i32::try_from(number).unwrap_or(i32::MAX));
    let found = state.as_deref();
    cw::MetricAlarm {
        actions_enabled: Some(alarm.actions_enabled),
        alarm_actions: Some(alarm.alarm_actions.clone()),
        alarm_arn: Some(alarm_arn(cx, &alarm.name)),
        alarm_configuration_updated_timestamp: Some(time(alarm.configured_at)),
        alarm_description: alarm.description.clone(),
        alarm_name: Some(alarm.name.clone()),
        comparison_operator: Some(alarm.comparison.as_str().into()),
        datapoints_to_alarm: alarm.datapoints_to_alarm.and_then(count),
        dimensions: Some(shown_dimensions(&alarm.metric)),
        evaluation_periods: count(alarm.evaluation_periods),
        insufficient_data_actions: Some(alarm.insufficient_data_actions.clone()),
        metric_name: Some(alarm.metric.name.clone()),
        namespace: Some(alarm.metric.namespace.clone()),
        ok_actions: Some(alarm.ok_actions.clone()),
        period: count(alarm.period_seconds),
        state_reason: Some(found.map_or_else(
            || "Unchecked: Initial alarm creation".to_owned(),
            |state| state.reason.clone(),
        )),
        state_reason_data: found.map(|state| state.reason_data.as_str().to_owned()),
        state_transitioned_timestamp: Some(time(
            found.map_or(alarm.configured_at, |state| state.transitioned_at),
        )),
        state_updated_timestamp: Some(time(
            found.map_or(alarm.configured_at, |state| state.updated_at),
        )),
        state_value: Some(
            found.map_or(AlarmValue::InsufficientData, |state| state.value).as_str().into(),
        ),
        statistic: Some(alarm.statistic.as_str().into()),
        threshold: Some(alarm.threshold),
        treat_missing_data: alarm.missing.map(|missing| missing.as_str().to_owned()),
        unit: alarm.unit.as_deref().map(cw::StandardUnit::from),
        ..cw::MetricAlarm::default()
    }
}

pub async fn for_metric(
    cx: &Context,
    _caller: &Caller,
    input: cw::DescribeAlarmsForMetricInput,
) -> Result<cw::DescribeAlarmsForMetricOutput, Fault> {
    let namespace = input.namespace.unwrap_or_default();
    let name = input.metric_name.unwrap_or_default();
    let metric = key(&namespace, &name, input.dimensions.as_deref());
    let statistic = input.statistic.as_ref().map(|it| it.as_str().to_owned());
    let period = input.period.and_then(|period| u32::try_from(period).ok());
    let unit = input.unit.as_ref().map(|unit| unit.as_str().to_owned());
    let snapshot = cx.store.snapshot();
    let of_metric = snapshot.scan::<Alarm>("").filter(|(_, alarm)| {
        alarm.metric == metric
            && input.extended_statistic.is_none()
            && statistic.as_deref().is_none_or(|wanted| wanted == alarm.statistic.as_str())
            && period.is_none_or(|wanted| wanted == alarm.period_seconds)
            && (unit.is_none() || unit == alarm.unit)
    });
    let alarms = of_metric.map(|(_, alarm)| show(cx, &snapshot, &alarm)).collect();
    Ok(cw::DescribeAlarmsForMetricOutput { metric_alarms: Some(alarms) })
}

pub async fn history(
    cx: &Context,
    _caller: &Caller,
    input: cw::DescribeAlarmHistoryInput,
) -> Result<cw::DescribeAlarmHistoryOutput, Fault> {
    let named = input.alarm_name.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    let from = input.start_date.map_or(i64::MIN, |at| at.unix_ms);
    let until = input.end_date.map_or(i64::MAX, |at| at.unix_ms);
    let oldest_first = input.scan_by.as_ref().is_some_and(|by| by.as_str() == "TimestampAscending");
    let states: Vec<Arc<AlarmState>> = snapshot
        .scan::<AlarmState>("")
        .filter(|(name, _)| named.is_empty() || *name == named)
        .map(|(_, state)| state)
        .collect();
    let mut all: Vec<(String, cw::AlarmHistoryItem)> = Vec::new();
    for state in &states {
        for (number, transition) in state.history.iter().enumerate() {
            if (from..=until).contains(&transition.at.0) {
                let ms = if oldest_first { transition.at.0 } else { i64::MAX - transition.at.0 };
                // Of one moment, the order in which they are kept.
                let key = format!("{ms:020}/{}/{number:03}", state.alarm);
                all.push((key, item(&state.alarm, transition)));
            }
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let by = if oldest_first { "oldest first" } else { "newest first" };
    let cursor = Cursor::new(&["DescribeAlarmHistory", &named, by]);
    let token = input.next_token.as_deref();
    let (items, next_token) = page(&cursor, all.into_iter(), token, input.max_records)?;
    Ok(cw::DescribeAlarmHistoryOutput { alarm_history_items: Some(items), next_token })
}

fn item(alarm: &str, transition: &AlarmTransition) -> cw::AlarmHistoryItem {
    let (from, to) = (transition.from.as_str(), transition.to.as_str());
    let data = json!({
        "version": "1.0",
        "oldState": { "stateValue": from },
        "newState": { "stateValue": to, "stateReason": transition.reason },
    });
    cw::AlarmHistoryItem {
        alarm_name: Some(alarm.to_owned()),
        alarm_type: Some("MetricAlarm".into()),
        history_data: Some(data.to_string()),
        history_item_type: Some("StateUpdate".into()),
        history_summary: Some(format!("Alarm updated from {from} to {to}")),
        timestamp: Some(time(transition.at)),
        ..cw::AlarmHistoryItem::default()
    }
}
