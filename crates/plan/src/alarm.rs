//! What an alarm is found to be, from the newest periods of its metric. A function of data: which
//! periods there are and when to look is the reconciler's affair. Source: CloudWatch user guide,
//! "Evaluating an alarm" and "Configuring how CloudWatch alarms treat missing data".

use crate::schedule::{written, written_long};
use model::metrics::{Alarm, AlarmValue, MissingData, Point, Statistic, Summary};
use model::{Document, Timestamp};
use serde_json::json;

/// Periods before those to evaluate that stand in for missing ones.
const PERIODS_BEHIND: u32 = 2;

/// A period of an alarm and what was measured in it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Period {
    pub at: Timestamp,
    pub value: Option<f64>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    pub value: AlarmValue,
    pub reason: String,
    pub reason_data: Document,
}

/// How many periods `evaluate` wants to see.
pub fn periods_wanted(alarm: &Alarm) -> u32 {
    alarm.evaluation_periods.max(1).saturating_add(PERIODS_BEHIND)
}

/// Points added up by period: `count` periods that end at `until`, the oldest first.
pub fn by_period(
    points: &[Point],
    until: Timestamp,
    period_ms: i64,
    count: u32,
    statistic: Statistic,
) -> Vec<Period> {
    let first = until.plus_ms(-period_ms.saturating_mul(i64::from(count)));
    let summaries = summaries(points, first, period_ms, count);
    let value = |summary: Option<Summary>| summary.map(|summary| summary.get(statistic));
    let period = |(at, summary)| Period { at, value: value(summary) };
    summaries.into_iter().map(period).collect()
}

/// Points added up by period: `count` periods from `first` on.
pub fn summaries(
    points: &[Point],
    first: Timestamp,
    period_ms: i64,
    count: u32,
) -> Vec<(Timestamp, Option<Summary>)> {
    let mut all: Vec<(Timestamp, Option<Summary>)> = (0..i64::from(count))
        .map(|number| (first.plus_ms(number.saturating_mul(period_ms)), None))
        .collect();
    for point in points {
        let place = point.at.since_ms(first).div_euclid(period_ms.max(1));
        let Some((_, summary)) = usize::try_from(place).ok().and_then(|at| all.get_mut(at)) else {
            continue;
        };
        match summary {
            Some(summary) => summary.add(&point.summary),
            None => *summary = Some(point.summary),
        }
    }
    all
}

/// None: it stays as it is, as missing data is to be ignored.
pub fn evaluate(
    alarm: &Alarm,
    periods: &[Period],
    before: AlarmValue,
    now: Timestamp,
) -> Option<Found> {
    let wanted = usize::try_from(alarm.evaluation_periods.max(1)).unwrap_or(usize::MAX);
    let needed = usize::try_from(alarm.needed()).unwrap_or(usize::MAX);
    let mut seen: Vec<&Period> = periods.iter().filter(|it| it.value.is_some()).collect();
    seen.drain(..seen.len().saturating_sub(wanted));
    let gaps = wanted - seen.len();
    let breaches = |period: &Period| {
        period.value.is_some_and(|value| alarm.comparison.breaches(value, alarm.threshold))
    };
    let breaching = seen.iter().filter(|period| breaches(period)).count();
    let all_breach = breaching == seen.len() && !seen.is_empty();
    // Nothing but breaches since so long ago that it would be enough without the gaps.
    let oldest = periods.iter().position(breaches).map_or(0, |at| periods.len() - at);
    let missing = alarm.missing.unwrap_or(MissingData::Missing);
    let filled = if missing == MissingData::Breaching { gaps } else { 0 };
    let fine = seen.len() - breaching > wanted - needed.min(wanted);
    let value = match missing {
        _ if breaching + filled >= needed => AlarmValue::Alarm,
        MissingData::Missing if seen.is_empty() => AlarmValue::InsufficientData,
        MissingData::Missing if all_breach && oldest >= needed => AlarmValue::Alarm,
        MissingData::Ignore if gaps > 0 && !fine => return None,
        _ => AlarmValue::Ok,
    };
    let breaching = breaching + filled;
    let reason = reason(alarm, &seen, value, breaching, before);
    Some(Found { value, reason, reason_data: data(alarm, &seen, now) })
}

fn reason(
    alarm: &Alarm,
    seen: &[&Period],
    value: AlarmValue,
    breaching: usize,
    before: AlarmValue,
) -> String {
    let plural = |count: usize| if count == 1 { "datapoint was" } else { "datapoints were" };
    if value == AlarmValue::InsufficientData {
        let count = alarm.evaluation_periods as usize;
        return format!("Insufficient Data: {count} {} unknown.", plural(count));
    }
    let mut shown: Vec<String> = seen
        .iter()
        .rev()
        .filter_map(|period| Some(format!("{:?} ({})", period.value?, written(period.at))))
        .collect();
    // CloudWatch shows no more than five.
    shown.truncate(5);
    let in_alarm = value == AlarmValue::Alarm;
    let count = if in_alarm { breaching } else { seen.len() - breaching.min(seen.len()) };
    let needed = match in_alarm {
        true => alarm.needed() as usize,
        false => alarm.evaluation_periods.saturating_sub(alarm.needed()) as usize + 1,
    };
    let was = if count == 1 { "was" } else { "were" };
    let not = if in_alarm { "" } else { "not " };
    let datapoints = if needed == 1 { "datapoint" } else { "datapoints" };
    let (from, to) = match in_alarm {
        true => ("OK", "ALARM"),
        false if before == AlarmValue::InsufficientData => ("INSUFFICIENT_DATA", "OK"),
        false => ("ALARM", "OK"),
    };
    format!(
        "Threshold Crossed: {count} out of the last {} datapoints [{}] {was} {not}{} the \
         threshold ({:?}) (minimum {needed} {datapoints} for {from} -> {to} transition).",
        seen.len(),
        shown.join(", "),
        alarm.comparison.in_words(),
        alarm.threshold,
    )
}

fn data(alarm: &Alarm, seen: &[&Period], now: Timestamp) -> Document {
    let values: Vec<f64> = seen.iter().filter_map(|period| period.value).collect();
    let first = seen.iter().find(|period| period.value.is_some());
    let mut data = json!({
        "version": "1.0",
        "queryDate": written_long(now),
        "statistic": alarm.statistic.as_str(),
        "period": alarm.period_seconds,
        "recentDatapoints": values,
        "threshold": alarm.threshold,
    });
    if let Some(first) = first {
        data["startDate"] = written_long(first.at).into();
    }
    Document::new(data.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Tags;
    use model::metrics::{Comparison, MetricKey};

    fn alarm(needed: u32, of: u32, missing: Option<MissingData>) -> Alarm {
        Alarm {
            name: "a".to_owned(),
            metric: MetricKey::new("AWS/ECS", "CPUUtilization", &[]),
            statistic: Statistic::Average,
            period_seconds: 60,
            evaluation_periods: of,
            datapoints_to_alarm: Some(needed),
            threshold: 50.0,
            comparison: Comparison::Above,
            missing,
            actions_enabled: true,
            alarm_actions: Vec::new(),
            ok_actions: Vec::new(),
            insufficient_data_actions: Vec::new(),
            description: None,
            unit: None,
            tags: Tags::new(),
            configured_at: Timestamp(0),
        }
    }

    /// `X` breaches, `0` doesn't, `-` is missing; the newest last.
    fn found(alarm: &Alarm, periods: &str) -> Option<AlarmValue> {
        let value = |mark| match mark {
            'X' => Some(90.0),
            '0' => Some(10.0),
            _ => None,
        };
        let period = |(number, mark): (i64, char)| Period {
            at: Timestamp(number * 60_000),
            value: value(mark),
        };
        let periods: Vec<Period> = (0..).zip(periods.chars()).map(period).collect();
        evaluate(alarm, &periods, AlarmValue::Ok, Timestamp(0)).map(|found| found.value)
    }

    /// The tables of the CloudWatch user guide, for three out of three, and two out of three.
    #[test]
    fn missing_data_is_treated_as_the_guide_says() {
        use AlarmValue::{Alarm as A, InsufficientData as I, Ok as O};
        use MissingData::{Breaching, Ignore, Missing, NotBreaching};
        for (needed, periods, missing, ignore, breaching, not_breaching) in [
            (3, "0-X-X", Some(O), Some(O), Some(O), Some(O)),
            (3, "0----", Some(O), Some(O), Some(O), Some(O)),
            (3, "-----", Some(I), None, Some(A), Some(O)),
            (3, "0XX-X", Some(A), Some(A), Some(A), Some(A)),
            (3, "--X--", Some(A), None, Some(A), Some(O)),
            (2, "0-X-X", Some(A), Some(A), Some(A), Some(A)),
            (2, "00X0X", Some(A), Some(A), Some(A), Some(A)),
            (2, "0-X--", Some(O), None, Some(A), Some(O)),
            (2, "----0", Some(O), None, Some(A), Some(O)),
            (2, "---X-", Some(A), None, Some(A), Some(O)),
        ] {
            for (treatment, wanted) in [
                (Missing, missing),
                (Ignore, ignore),
                (Breaching, breaching),
                (NotBreaching, not_breaching),
            ] {
                let seen = found(&alarm(needed, 3, Some(treatment)), periods);
                assert_eq!(seen, wanted, "{needed} of 3 in {periods}, {treatment:?}");
            }
        }
        // One measurement is no reason to call off what needs three.
        assert_eq!(found(&alarm(3, 3, None), "----X"), Some(O));
    }

    #[test]
    fn a_reason_tells_what_was_seen() {
        let period = |minute: i64, value| Period { at: Timestamp(minute * 60_000), value };
        let periods = [period(0, Some(99.5)), period(1, Some(80.0))];
        let found = evaluate(&alarm(2, 2, None), &periods, AlarmValue::Ok, Timestamp(120_000));
        let found = found.expect("it is found something");
        assert_eq!(
            found.reason,
            "Threshold Crossed: 2 out of the last 2 datapoints [80.0 (01/01/70 00:01:00), 99.5 \
             (01/01/70 00:00:00)] were greater than the threshold (50.0) (minimum 2 datapoints for \
             OK -> ALARM transition)."
        );
        assert!(found.reason_data.as_str().contains(r#""recentDatapoints":[99.5,80.0]"#));
    }

    #[test]
    fn points_add_up_by_period() {
        let point = |minute: i64, value| Point {
            at: Timestamp(minute * 60_000),
            summary: Summary::of(value),
        };
        let points = [point(1, 1.0), point(2, 3.0), point(5, 7.0), point(9, 100.0)];
        let until = Timestamp(7 * 60_000);
        let periods = by_period(&points, until, 120_000, 3, Statistic::Average);
        let values: Vec<_> = periods.iter().map(|period| period.value).collect();
        assert_eq!(values, [Some(2.0), None, Some(7.0)]);
        assert_eq!(periods[0].at, Timestamp(60_000));
    }
}
