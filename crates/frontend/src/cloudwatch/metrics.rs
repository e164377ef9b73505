//! PutMetricData and ListMetrics.

use super::{invalid, key, shown_dimensions};
use crate::context::{Caller, Context};
use crate::cursor::Cursor;
use crate::fault::Fault;
use crate::limits::{
    METRIC_DATUMS_MAX, METRIC_FUTURE_MS_MAX, METRIC_PAST_MS_MAX, METRIC_VALUES_MAX,
    METRICS_LISTED_MAX,
};
use model::Timestamp;
use model::metrics::{MetricKey, Summary};
use wire::NoOutput;
use wire::cloudwatch as cw;
use wire::cloudwatch::ErrorCode;

/// How recently a metric was measured to count as recently active: AWS's only choice.
const ACTIVE_MS: i64 = 3 * 3600 * 1000;

pub async fn put(
    cx: &Context,
    _caller: &Caller,
    input: cw::PutMetricDataInput,
) -> Result<NoOutput, Fault> {
    let namespace = input.namespace.unwrap_or_default();
    if namespace.starts_with("AWS/") {
        let text = "The value AWS/ for parameter Namespace is invalid.";
        return Err(invalid(text));
    }
    let mut data = input.metric_data.unwrap_or_default();
    for entity in input.entity_metric_data.unwrap_or_default() {
        data.extend(entity.metric_data.unwrap_or_default());
    }
    if data.is_empty() {
        let text = "The parameter MetricData is required.";
        return Err(ErrorCode::MissingRequiredParameterException.fault(text));
    }
    if data.len() > METRIC_DATUMS_MAX {
        let text = format!(
            "The collection MetricData must not have a size greater than {METRIC_DATUMS_MAX}."
        );
        return Err(invalid(text));
    }
    let now = cx.now();
    let mut read = Vec::with_capacity(data.len());
    for (number, datum) in data.iter().enumerate() {
        read.push(measured(&namespace, number + 1, datum, now)?);
    }
    // All or nothing, as nothing is added before everything is checked.
    for (measured, datum) in read.into_iter().zip(&data) {
        let unit = datum.unit.as_ref().map(cw::StandardUnit::as_str);
        cx.metrics.add(measured.0, measured.1, unit, measured.2);
    }
    Ok(NoOutput)
}

fn measured(
    namespace: &str,
    number: usize,
    datum: &cw::MetricDatum,
    now: Timestamp,
) -> Result<(MetricKey, Timestamp, Summary), Fault> {
    let name = datum.metric_name.as_deref().unwrap_or_default();
    let key = key(namespace, name, datum.dimensions.as_deref());
    let at = datum.timestamp.map_or(now, |at| Timestamp(at.unix_ms));
    let ago_ms = now.since_ms(at);
    if !(-METRIC_FUTURE_MS_MAX..=METRIC_PAST_MS_MAX).contains(&ago_ms) {
        let text = format!(
            "The parameter MetricData.member.{number}.Timestamp must specify a time within the \
             past two weeks and no more than two hours in the future."
        );
        return Err(invalid(text));
    }
    let summary = summary(number, datum)?;
    Ok((key, at, summary))
}

fn summary(number: usize, datum: &cw::MetricDatum) -> Result<Summary, Fault> {
    let finite = |value: f64| match value.is_finite() {
        true => Ok(value),
        false => {
            let text = format!("The value {value} for MetricData.member.{number} is invalid.");
            Err(invalid(text))
        }
    };
    match (datum.value, &datum.statistic_values, &datum.values) {
        (Some(value), None, None) => Ok(Summary::of(finite(value)?)),
        (None, Some(set), None) => Ok(Summary {
            count: finite(set.sample_count.unwrap_or(0.0))?,
            sum: finite(set.sum.unwrap_or(0.0))?,
            minimum: finite(set.minimum.unwrap_or(0.0))?,
            maximum: finite(set.maximum.unwrap_or(0.0))?,
        }),
        (None, None, Some(values)) if (1..=METRIC_VALUES_MAX).contains(&values.len()) => {
            let counts = datum.counts.clone().unwrap_or_else(|| vec![1.0; values.len()]);
            if counts.len() != values.len() {
                let text = format!(
                    "The parameters MetricData.member.{number}.Values and \
                     MetricData.member.{number}.Counts must be of the same size."
                );
                return Err(invalid(text));
            }
            let mut all: Option<Summary> = None;
            for (value, count) in values.iter().zip(&counts) {
                let one = Summary::repeated(finite(*value)?, finite(*count)?);
                match &mut all {
                    Some(all) => all.add(&one),
                    None => all = Some(one),
                }
            }
            all.ok_or_else(|| invalid("there is no value"))
        }
        (None, None, Some(_)) => {
            let text = format!(
                "The collection MetricData.member.{number}.Values must have a size of 1 to \
                 {METRIC_VALUES_MAX}."
            );
            Err(invalid(text))
        }
        (None, None, None) => {
            let text = format!(
                "At least one of the parameters MetricData.member.{number}.Value, \
                 MetricData.member.{number}.Values and \
                 MetricData.member.{number}.StatisticValues must be specified."
            );
            Err(ErrorCode::MissingRequiredParameterException.fault(text))
        }
        _ => {
            let text = format!(
                "The parameters MetricData.member.{number}.Value, \
                 MetricData.member.{number}.Values and \
                 MetricData.member.{number}.StatisticValues are mutually exclusive and you have \
                 specified more than one."
            );
            Err(super::combination(text))
        }
    }
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: cw::ListMetricsInput,
) -> Result<cw::ListMetricsOutput, Fault> {
    let filters = input.dimensions.unwrap_or_default();
    let named = |filter: &cw::DimensionFilter| {
        let (name, value) = (filter.name.as_deref(), filter.value.as_deref());
        format!("{}={}", name.unwrap_or_default(), value.unwrap_or_default())
    };
    let filter_text: Vec<String> = filters.iter().map(named).collect();
    let namespace = input.namespace.as_deref();
    let name = input.metric_name.as_deref();
    let cursor = Cursor::new(&[
        "ListMetrics",
        namespace.unwrap_or(""),
        name.unwrap_or(""),
        &filter_text.join("\n"),
    ]);
    let after = cursor.after(input.next_token.as_deref(), super::unknown_token)?;
    let active_only = input.recently_active.is_some();
    let now = cx.now();
    let matches = |key: &MetricKey, newest: Timestamp| {
        namespace.is_none_or(|wanted| wanted == key.namespace)
            && name.is_none_or(|wanted| wanted == key.name)
            && (!active_only || now.since_ms(newest) <= ACTIVE_MS)
            && filters.iter().all(|filter| {
                let found = key.dimensions.get(filter.name.as_deref().unwrap_or_default());
                found.is_some_and(|found| filter.value.as_ref().is_none_or(|it| it == found))
            })
    };
    let all = cx.metrics.list().into_iter().filter(|(key, newest)| matches(key, *newest));
    let all = all.map(|(key, _)| (place(&key), key));
    let (page, next_token) = cursor.page(all, after.as_deref(), METRICS_LISTED_MAX);
    let show = |key: &MetricKey| cw::Metric {
        dimensions: Some(shown_dimensions(key)),
        metric_name: Some(key.name.clone()),
        namespace: Some(key.namespace.clone()),
    };
    let metrics = page.iter().map(show).collect();
    Ok(cw::ListMetricsOutput { metrics: Some(metrics), next_token, owning_accounts: None })
}

/// Sorts as the keys do: a character below all that names may have stands between their parts.
fn place(key: &MetricKey) -> String {
    let mut text = format!("{}\u{1}{}", key.namespace, key.name);
    for (name, value) in &key.dimensions {
        text.push_str(&format!("\u{1}{name}\u{1}{value}"));
    }
    text
}
