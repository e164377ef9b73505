//! Measurements in and out, and alarms as they are kept and shown.

use crate::cloudwatch::{alarms, describe_alarms, metrics, read};
use crate::fixture::{Fixture, NOW};
use wire::Timestamp;
use wire::cloudwatch as cw;

fn datum(name: &str, value: f64, ago_ms: i64) -> cw::MetricDatum {
    cw::MetricDatum {
        metric_name: Some(name.to_owned()),
        value: Some(value),
        timestamp: Some(Timestamp::from_unix_ms(NOW.0 - ago_ms)),
        unit: Some(cw::StandardUnit::Count),
        ..Default::default()
    }
}

fn put(data: Vec<cw::MetricDatum>) -> cw::PutMetricDataInput {
    cw::PutMetricDataInput {
        namespace: Some("Shop".to_owned()),
        metric_data: Some(data),
        ..Default::default()
    }
}

#[tokio::test]
async fn what_is_put_is_found_by_period() {
    let Fixture { cx, caller, .. } = &Fixture::new();
    let data = vec![datum("Orders", 2.0, 61_000), datum("Orders", 4.0, 1_000)];
    metrics::put(cx, caller, put(data)).await.expect("put");
    let asked = |period| cw::GetMetricStatisticsInput {
        namespace: Some("Shop".to_owned()),
        metric_name: Some("Orders".to_owned()),
        start_time: Some(Timestamp::from_unix_ms(NOW.0 - 600_000)),
        end_time: Some(Timestamp::from_unix_ms(NOW.0)),
        period: Some(period),
        statistics: Some(vec![cw::Statistic::Sum, cw::Statistic::SampleCount]),
        ..Default::default()
    };
    let found = read::statistics(cx, caller, asked(60)).await.expect("read");
    let sums = |found: cw::GetMetricStatisticsOutput| -> Vec<Option<f64>> {
        found.datapoints.expect("points").iter().map(|point| point.sum).collect()
    };
    assert_eq!(sums(found), [Some(2.0), Some(4.0)]);
    let found = read::statistics(cx, caller, asked(3600)).await.expect("read");
    assert_eq!(sums(found), [Some(6.0)]);
    let refused = read::statistics(cx, caller, asked(61)).await.expect_err("no such period");
    assert_eq!(refused.code, "InvalidParameterValue");
    let all = metrics::list(cx, caller, cw::ListMetricsInput::default()).await.expect("listed");
    assert_eq!(all.metrics.expect("metrics").len(), 1);
}

#[tokio::test]
async fn what_is_no_measurement_is_refused_and_none_of_its_call_is_kept() {
    let Fixture { cx, caller, .. } = &Fixture::new();
    let both = cw::MetricDatum {
        statistic_values: Some(cw::StatisticSet::default()),
        ..datum("Orders", 1.0, 0)
    };
    let neither = cw::MetricDatum { value: None, ..datum("Orders", 1.0, 0) };
    let old = datum("Orders", 1.0, 15 * 24 * 3600 * 1000);
    for (wrong, code) in [
        (both, "InvalidParameterCombination"),
        (neither, "MissingParameter"),
        (old, "InvalidParameterValue"),
        (datum("Orders", f64::INFINITY, 0), "InvalidParameterValue"),
    ] {
        let data = vec![datum("Orders", 1.0, 0), wrong];
        let refused = metrics::put(cx, caller, put(data)).await.expect_err(code);
        assert_eq!(refused.code, code);
    }
    assert_eq!(cx.metrics.list(), []);
}

#[tokio::test]
async fn an_alarm_is_kept_shown_set_and_removed() {
    let Fixture { cx, caller, .. } = &Fixture::new();
    let wanted = cw::PutMetricAlarmInput {
        alarm_name: Some("busy".to_owned()),
        namespace: Some("Shop".to_owned()),
        metric_name: Some("Orders".to_owned()),
        statistic: Some(cw::Statistic::Average),
        period: Some(60),
        evaluation_periods: Some(2),
        threshold: Some(5.0),
        comparison_operator: Some(cw::ComparisonOperator::GreaterThanThreshold),
        ..Default::default()
    };
    alarms::put(cx, caller, wanted).await.expect("put");
    let shown = || async {
        let input = cw::DescribeAlarmsInput::default();
        let found = describe_alarms::describe(cx, caller, input).await.expect("described");
        found.metric_alarms.expect("alarms")
    };
    let first = shown().await.remove(0);
    assert_eq!(first.state_value, Some(cw::StateValue::InsufficientData));
    assert_eq!(first.state_reason.as_deref(), Some("Unchecked: Initial alarm creation"));
    let set = cw::SetAlarmStateInput {
        alarm_name: Some("busy".to_owned()),
        state_value: Some(cw::StateValue::Alarm),
        state_reason: Some("a test".to_owned()),
        state_reason_data: None,
    };
    alarms::set_state(cx, caller, set).await.expect("set");
    assert_eq!(shown().await[0].state_value, Some(cw::StateValue::Alarm));
    let history = cw::DescribeAlarmHistoryInput::default();
    let history = describe_alarms::history(cx, caller, history).await.expect("told");
    let told = history.alarm_history_items.expect("items").remove(0);
    let summary = "Alarm updated from INSUFFICIENT_DATA to ALARM";
    assert_eq!(told.history_summary.as_deref(), Some(summary));
    let names = Some(vec!["busy".to_owned(), "unknown".to_owned()]);
    alarms::delete(cx, caller, cw::DeleteAlarmsInput { alarm_names: names }).await.expect("gone");
    assert!(shown().await.is_empty());
}
