//! CloudWatch's nouns: a metric's name with its dimensions, what is known of a metric in one span
//! of time, and alarms. Measurements themselves are no state: they live in memory
//! (`store::metrics`) and are gone with the process; alarms and what became of them are records.

use crate::document::{Document, Tags};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which measurements belong together. Source: CloudWatch user guide, "Metrics concepts".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct MetricKey {
    pub namespace: String,
    pub name: String,
    pub dimensions: BTreeMap<String, String>,
}

impl MetricKey {
    pub fn new(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Self {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions.iter().map(pair).collect(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
}

impl Statistic {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "SampleCount" => Self::SampleCount,
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SampleCount => "SampleCount",
            Self::Average => "Average",
            Self::Sum => "Sum",
            Self::Minimum => "Minimum",
            Self::Maximum => "Maximum",
        }
    }
}

/// Measurements added up: CloudWatch's statistic set.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Summary {
    pub count: f64,
    pub sum: f64,
    pub minimum: f64,
    pub maximum: f64,
}

impl Summary {
    pub fn of(value: f64) -> Self {
        Self { count: 1.0, sum: value, minimum: value, maximum: value }
    }

    /// One value that was measured several times.
    pub fn repeated(value: f64, count: f64) -> Self {
        Self { count, sum: value * count, minimum: value, maximum: value }
    }

    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
    }

    pub fn get(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::SampleCount => self.count,
            Statistic::Average if self.count > 0.0 => self.sum / self.count,
            Statistic::Average => 0.0,
            Statistic::Sum => self.sum,
            Statistic::Minimum => self.minimum,
            Statistic::Maximum => self.maximum,
        }
    }
}

/// What is known of a metric in the span that begins at `at`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    pub at: Timestamp,
    pub summary: Summary,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Comparison {
    AtOrAbove,
    Above,
    Below,
    AtOrBelow,
}

impl Comparison {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "GreaterThanOrEqualToThreshold" => Self::AtOrAbove,
            "GreaterThanThreshold" => Self::Above,
            "LessThanThreshold" => Self::Below,
            "LessThanOrEqualToThreshold" => Self::AtOrBelow,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtOrAbove => "GreaterThanOrEqualToThreshold",
            Self::Above => "GreaterThanThreshold",
            Self::Below => "LessThanThreshold",
            Self::AtOrBelow => "LessThanOrEqualToThreshold",
        }
    }

    pub fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::AtOrAbove => value >= threshold,
            Self::Above => value > threshold,
            Self::Below => value < threshold,
            Self::AtOrBelow => value <= threshold,
        }
    }

    /// As the reasons of alarms say it.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::AtOrAbove => "greater than or equal to",
            Self::Above => "greater than",
            Self::Below => "less than",
            Self::AtOrBelow => "less than or equal to",
        }
    }
}

/// What a span without measurements counts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MissingData {
    Missing,
    Ignore,
    Breaching,
    NotBreaching,
}

impl MissingData {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "missing" => Self::Missing,
            "ignore" => Self::Ignore,
            "breaching" => Self::Breaching,
            "notBreaching" => Self::NotBreaching,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ignore => "ignore",
            Self::Breaching => "breaching",
            Self::NotBreaching => "notBreaching",
        }
    }
}

/// An alarm as it was asked for, by a caller or by a scaling policy. Writer: frontend.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alarm {
    pub name: String,
    pub metric: MetricKey,
    pub statistic: Statistic,
    /// A multiple of 60.
    pub period_seconds: u32,
    pub evaluation_periods: u32,
    /// How many of them must breach; None: all.
    pub datapoints_to_alarm: Option<u32>,
    pub threshold: f64,
    pub comparison: Comparison,
    pub missing: Option<MissingData>,
    pub actions_enabled: bool,
    /// ARNs of scaling policies act; others are kept and told to nobody.
    pub alarm_actions: Vec<String>,
    pub ok_actions: Vec<String>,
    pub insufficient_data_actions: Vec<String>,
    pub description: Option<String>,
    pub unit: Option<String>,
    pub tags: Tags,
    pub configured_at: Timestamp,
}

impl Alarm {
    pub fn needed(&self) -> u32 {
        self.datapoints_to_alarm.unwrap_or(self.evaluation_periods).max(1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AlarmValue {
    Ok,
    Alarm,
    InsufficientData,
}

impl AlarmValue {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "OK" => Self::Ok,
            "ALARM" => Self::Alarm,
            "INSUFFICIENT_DATA" => Self::InsufficientData,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

/// What has become of an alarm. Writers: the scaling reconciler, and SetAlarmState, each a whole
/// new state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlarmState {
    pub alarm: String,
    pub value: AlarmValue,
    pub reason: String,
    /// JSON, as CloudWatch gives it.
    pub reason_data: Document,
    pub updated_at: Timestamp,
    /// When the value last became another.
    pub transitioned_at: Timestamp,
    /// The newest first.
    pub history: Vec<AlarmTransition>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlarmTransition {
    pub at: Timestamp,
    pub from: AlarmValue,
    pub to: AlarmValue,
    pub reason: String,
}

/// Transitions of an alarm that are kept.
pub const ALARM_HISTORY_MAX: usize = 50;

impl AlarmState {
    /// The state that follows when an alarm is found to be so.
    pub fn next(
        before: Option<&Self>,
        alarm: &str,
        value: AlarmValue,
        reason: String,
        reason_data: Document,
        now: Timestamp,
    ) -> Self {
        let mut history = before.map(|state| state.history.clone()).unwrap_or_default();
        let from = before.map_or(AlarmValue::InsufficientData, |state| state.value);
        let mut transitioned_at = before.map_or(now, |state| state.transitioned_at);
        if from != value {
            transitioned_at = now;
            history.insert(0, AlarmTransition { at: now, from, to: value, reason: reason.clone() });
            history.truncate(ALARM_HISTORY_MAX);
        }
        let alarm = alarm.to_owned();
        Self { alarm, value, reason, reason_data, updated_at: now, transitioned_at, history }
    }
}
