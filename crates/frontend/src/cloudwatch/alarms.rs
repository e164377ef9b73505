//! Alarms made, changed and removed. Source: API reference, PutMetricAlarm.

use super::{combination, invalid, key, tags};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{ALARM_PERIODS_MAX, ALARMS_MAX};
use model::metrics::{Alarm, AlarmState, AlarmValue, Comparison, MissingData, Statistic};
use model::{Document, Tags};
use store::Txn;
use wire::NoOutput;
use wire::cloudwatch as cw;
use wire::cloudwatch::ErrorCode;

/// Alarms named in one call. Source: API reference, DeleteAlarms.
const NAMES_MAX: usize = 100;

pub async fn put(
    cx: &Context,
    _caller: &Caller,
    input: cw::PutMetricAlarmInput,
) -> Result<NoOutput, Fault> {
    let given = tags::RULES.read(input.tags.clone())?;
    let alarm = read(cx, input, given)?;
    cx.transact(|txn| {
        let mut alarm = alarm.clone();
        match txn.get::<Alarm>(&alarm.name) {
            // Tags of an alarm that is there are changed by TagResource.
            Some(known) => alarm.tags = known.tags.clone(),
            None if txn.snapshot().count::<Alarm>("") >= ALARMS_MAX => {
                let text = format!("The maximum limit of {ALARMS_MAX} alarms exceeded.");
                return Err(ErrorCode::LimitExceededFault.fault(text));
            }
            None => {}
        }
        // What it was found to be before says nothing of what it is now.
        txn.delete::<AlarmState>(&alarm.name);
        txn.put(alarm);
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}

fn read(cx: &Context, input: cw::PutMetricAlarmInput, tags: Tags) -> Result<Alarm, Fault> {
    let metrics = input.metrics.as_ref().is_some_and(|metrics| !metrics.is_empty());
    if metrics || input.extended_statistic.is_some() || input.threshold_metric_id.is_some() {
        return Err(invalid(
            "Neargate computes no metric math, no percentiles and no anomalies: an alarm goes by \
             MetricName, Statistic and Threshold",
        ));
    }
    let missing = |name: &str| {
        let text = format!("The parameter {name} is required.");
        ErrorCode::MissingRequiredParameterException.fault(text)
    };
    let namespace = input.namespace.ok_or_else(|| missing("Namespace"))?;
    let name = input.metric_name.ok_or_else(|| missing("MetricName"))?;
    let statistic = input.statistic.as_ref().and_then(|it| Statistic::parse(it.as_str()));
    let period = input.period.ok_or_else(|| missing("Period"))?;
    let period_seconds = match u32::try_from(period) {
        // Finer than a minute is not measured.
        Ok(10 | 20 | 30) => 60,
        Ok(period) if period > 0 && period % 60 == 0 => period,
        _ => return Err(invalid("Period must be 10, 20, 30 or a multiple of 60")),
    };
    let periods = input.evaluation_periods.and_then(|count| u32::try_from(count).ok());
    let evaluation_periods = periods.ok_or_else(|| missing("EvaluationPeriods"))?;
    if !(1..=ALARM_PERIODS_MAX).contains(&evaluation_periods) {
        return Err(invalid(format!("EvaluationPeriods must be 1 to {ALARM_PERIODS_MAX}")));
    }
    let datapoints_to_alarm = input.datapoints_to_alarm.and_then(|n| u32::try_from(n).ok());
    if datapoints_to_alarm.is_some_and(|needed| needed > evaluation_periods) {
        let text = "DatapointsToAlarm must be less than or equal to EvaluationPeriods";
        return Err(combination(text));
    }
    let comparison = input.comparison_operator.as_ref().map(|it| it.as_str().to_owned());
    let comparison = comparison.ok_or_else(|| missing("ComparisonOperator"))?;
    let treat = input.treat_missing_data.as_deref();
    let treated = treat.map(MissingData::parse);
    if treated == Some(None) {
        return Err(invalid(
            "TreatMissingData must be one of [breaching, notBreaching, ignore, \
                            missing]",
        ));
    }
    Ok(Alarm {
        name: input.alarm_name.unwrap_or_default(),
        metric: key(&namespace, &name, input.dimensions.as_deref()),
        statistic: statistic.ok_or_else(|| missing("Statistic"))?,
        period_seconds,
        evaluation_periods,
        datapoints_to_alarm,
        threshold: input.threshold.ok_or_else(|| missing("Threshold"))?,
        comparison: Comparison::parse(&comparison).ok_or_else(|| {
            invalid(format!("The ComparisonOperator {comparison} is not supported by Neargate"))
        })?,
        missing: treated.flatten(),
        actions_enabled: input.actions_enabled.unwrap_or(true),
        alarm_actions: input.alarm_actions.unwrap_or_default(),
        ok_actions: input.ok_actions.unwrap_or_default(),
        insufficient_data_actions: input.insufficient_data_actions.unwrap_or_default(),
        description: input.alarm_description,
        unit: input.unit.map(|unit| unit.as_str().to_owned()),
        tags,
        configured_at: cx.now(),
    })
}

/// Those that are not there are passed over, as AWS does it when several are named.
pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: cw::DeleteAlarmsInput,
) -> Result<NoOutput, Fault> {
    let names = names(input.alarm_names)?;
    // Four operations each, and a transaction has a bound.
    for names in names.chunks(20) {
        cx.transact(|txn| {
            for name in names {
                if txn.get::<Alarm>(name).is_some() {
                    txn.delete::<Alarm>(name);
                    txn.delete::<AlarmState>(name);
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(NoOutput)
}

fn names(given: Option<Vec<String>>) -> Result<Vec<String>, Fault> {
    let names = given.unwrap_or_default();
    if names.len() > NAMES_MAX {
        let text =
            format!("The collection AlarmNames must not have a size greater than {NAMES_MAX}.");
        return Err(invalid(text));
    }
    Ok(names)
}

pub async fn enable(
    cx: &Context,
    _caller: &Caller,
    input: cw::EnableAlarmActionsInput,
) -> Result<NoOutput, Fault> {
    switch(cx, input.alarm_names, true).await
}

pub async fn disable(
    cx: &Context,
    _caller: &Caller,
    input: cw::DisableAlarmActionsInput,
) -> Result<NoOutput, Fault> {
    switch(cx, input.alarm_names, false).await
}

async fn switch(
    cx: &Context,
    given: Option<Vec<String>>,
    enabled: bool,
) -> Result<NoOutput, Fault> {
    let names = names(given)?;
    for names in names.chunks(50) {
        cx.transact(|txn| {
            for name in names {
                let Some(known) = txn.get::<Alarm>(name) else { continue };
                txn.put(Alarm { actions_enabled: enabled, ..(*known).clone() });
            }
            Ok(())
        })
        .await?;
    }
    Ok(NoOutput)
}

/// For a moment: the next look at the metric says what it really is.
pub async fn set_state(
    cx: &Context,
    _caller: &Caller,
    input: cw::SetAlarmStateInput,
) -> Result<NoOutput, Fault> {
    let name = input.alarm_name.unwrap_or_default();
    let text = input.state_value.as_ref().map_or("", |value| value.as_str());
    let value = AlarmValue::parse(text)
        .ok_or_else(|| invalid(format!("The value {text} for parameter StateValue is invalid.")))?;
    let reason = input.state_reason.unwrap_or_default();
    let data = input.state_reason_data.unwrap_or_default();
    if !data.is_empty() && serde_json::from_str::<serde_json::Value>(&data).is_err() {
        return Err(ErrorCode::InvalidFormatFault.fault("StateReasonData was not valid JSON"));
    }
    let now = cx.now();
    cx.transact(|txn: &mut Txn| {
        if txn.get::<Alarm>(&name).is_none() {
            let text = format!("No such alarm: {name}");
            return Err(ErrorCode::ResourceNotFound.fault(text));
        }
        let before = txn.get::<AlarmState>(&name);
        let data = Document::new(data.clone());
        let state = AlarmState::next(before.as_deref(), &name, value, reason.clone(), data, now);
        txn.put(state);
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}
