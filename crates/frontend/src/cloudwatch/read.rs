//! GetMetricData and GetMetricStatistics: points added up by period.

use super::{combination, invalid, key, time};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{METRIC_DATAPOINTS_MAX, METRIC_QUERIES_MAX};
use model::Timestamp;
use model::metrics::{MetricKey, Statistic, Summary};
use std::collections::BTreeMap;
use wire::cloudwatch as cw;

/// The periods that begin in a span and hold anything, and the metric's unit.
type Periods = (BTreeMap<Timestamp, Summary>, Option<String>);

/// A minute of ours may be shorter than a minute; a period is counted in minutes.
fn period_ms(cx: &Context, seconds: i32) -> Result<i64, Fault> {
    match seconds {
        // Finer than a minute is what was measured in that minute.
        1 | 5 | 10 | 20 | 30 => Ok(cx.metrics.minute_ms()),
        seconds if seconds > 0 && seconds % 60 == 0 => {
            Ok(i64::from(seconds / 60).saturating_mul(cx.metrics.minute_ms()))
        }
        _ => Err(invalid(
            "The parameter Period must be a value in the set [ 1, 5, 10, 20, 30 ] or any multiple \
             of 60.",
        )),
    }
}

fn read(
    cx: &Context,
    key: &MetricKey,
    from: Timestamp,
    until: Timestamp,
    period_ms: i64,
    unit: Option<&str>,
) -> Periods {
    let floor = |at: Timestamp| Timestamp(at.0 - at.0.rem_euclid(period_ms));
    let (points, known) = cx.metrics.read(key, floor(from), until);
    let mut periods = BTreeMap::new();
    if unit.is_some_and(|unit| known.as_deref().unwrap_or("None") != unit) {
        return (periods, known);
    }
    for point in points {
        let at = floor(point.at);
        let add = |summary: &mut Summary| summary.add(&point.summary);
        periods.entry(at).and_modify(add).or_insert(point.summary);
    }
    (periods, known)
}

fn span(
    start: Option<wire::Timestamp>,
    end: Option<wire::Timestamp>,
) -> Result<(Timestamp, Timestamp), Fault> {
    let moment = |at: Option<wire::Timestamp>| Timestamp(at.map_or(0, |at| at.unix_ms));
    let (from, until) = (moment(start), moment(end));
    if from >= until {
        let text = "The parameter StartTime must be less than the parameter EndTime.";
        return Err(invalid(text));
    }
    Ok((from, until))
}

pub async fn statistics(
    cx: &Context,
    _caller: &Caller,
    input: cw::GetMetricStatisticsInput,
) -> Result<cw::GetMetricStatisticsOutput, Fault> {
    let (from, until) = span(input.start_time, input.end_time)?;
    let period_ms = period_ms(cx, input.period.unwrap_or(0))?;
    if input.extended_statistics.as_ref().is_some_and(|wanted| !wanted.is_empty()) {
        return Err(invalid("Neargate keeps no percentiles: ExtendedStatistics is not supported"));
    }
    let wanted = input.statistics.unwrap_or_default();
    if wanted.is_empty() {
        let text = "Must specify either Statistics or ExtendedStatistics";
        return Err(combination(text));
    }
    let count = until.since_ms(from) / period_ms;
    if count > METRIC_DATAPOINTS_MAX {
        let text = format!(
            "You have requested up to {count} datapoints, which exceeds the limit of \
             {METRIC_DATAPOINTS_MAX}. You may reduce the datapoints requested by increasing \
             Period, or decreasing the time range."
        );
        return Err(combination(text));
    }
    let name = input.metric_name.unwrap_or_default();
    let namespace = input.namespace.unwrap_or_default();
    let key = key(&namespace, &name, input.dimensions.as_deref());
    let unit = input.unit.as_ref().map(cw::StandardUnit::as_str);
    let (periods, known) = read(cx, &key, from, until, period_ms, unit);
    let unit = cw::StandardUnit::from(known.as_deref().unwrap_or("None"));
    let has = |statistic: &str| wanted.iter().any(|it| it.as_str() == statistic);
    let shown = |(at, summary): (Timestamp, Summary)| {
        let get = |statistic: Statistic| has(statistic.as_str()).then(|| summary.get(statistic));
        cw::Datapoint {
            average: get(Statistic::Average),
            extended_statistics: None,
            maximum: get(Statistic::Maximum),
            minimum: get(Statistic::Minimum),
            sample_count: get(Statistic::SampleCount),
            sum: get(Statistic::Sum),
            timestamp: Some(time(at)),
            unit: Some(unit.clone()),
        }
    };
    let datapoints = periods.into_iter().map(shown).collect();
    Ok(cw::GetMetricStatisticsOutput { datapoints: Some(datapoints), label: Some(name) })
}

pub async fn data(
    cx: &Context,
    _caller: &Caller,
    input: cw::GetMetricDataInput,
) -> Result<cw::GetMetricDataOutput, Fault> {
    let (from, until) = span(input.start_time, input.end_time)?;
    if input.next_token.is_some() {
        return Err(super::unknown_token());
    }
    let queries = input.metric_data_queries.unwrap_or_default();
    if queries.len() > METRIC_QUERIES_MAX {
        let text = format!(
            "The collection MetricDataQueries must not have a size greater than \
             {METRIC_QUERIES_MAX}."
        );
        return Err(invalid(text));
    }
    let oldest_first = input.scan_by.as_ref().is_some_and(|by| by.as_str() == "TimestampAscending");
    let mut results = Vec::new();
    for query in &queries {
        let result = answer(cx, query, from, until, oldest_first)?;
        if query.return_data != Some(false) {
            results.push(result);
        }
    }
    Ok(cw::GetMetricDataOutput {
        messages: Some(Vec::new()),
        metric_data_results: Some(results),
        next_token: None,
    })
}

fn answer(
    cx: &Context,
    query: &cw::MetricDataQuery,
    from: Timestamp,
    until: Timestamp,
    oldest_first: bool,
) -> Result<cw::MetricDataResult, Fault> {
    let id = query.id.clone().unwrap_or_default();
    let (Some(stat), None) = (&query.metric_stat, &query.expression) else {
        return Err(invalid(format!(
            "The query {id} is an expression: Neargate computes no metric math"
        )));
    };
    let period_ms = period_ms(cx, stat.period.unwrap_or(0))?;
    let name = stat.stat.as_deref().unwrap_or_default();
    let Some(statistic) = Statistic::parse(name) else {
        return Err(invalid(format!("The value {name} for parameter Stat is not supported.")));
    };
    let metric = stat.metric.clone().unwrap_or_default();
    let name = metric.metric_name.unwrap_or_default();
    let namespace = metric.namespace.unwrap_or_default();
    let key = key(&namespace, &name, metric.dimensions.as_deref());
    let unit = stat.unit.as_ref().map(cw::StandardUnit::as_str);
    let (periods, _) = read(cx, &key, from, until, period_ms, unit);
    let mut points: Vec<(Timestamp, f64)> =
        periods.iter().map(|(at, summary)| (*at, summary.get(statistic))).collect();
    if !oldest_first {
        points.reverse();
    }
    Ok(cw::MetricDataResult {
        id: Some(id),
        label: Some(query.label.clone().unwrap_or(name)),
        messages: None,
        status_code: Some(cw::StatusCode::Complete),
        timestamps: Some(points.iter().map(|(at, _)| time(*at)).collect()),
        values: Some(points.iter().map(|(_, value)| *value).collect()),
    })
}
