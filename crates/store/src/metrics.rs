//! Measurements in memory, bounded in age and number: a point a minute for each metric. They are
//! not state: a restart begins with none, as nothing that is decided by them needs more than the
//! last quarter of an hour. Tests may have shorter minutes.

use crate::limits::{METRIC_POINTS_MAX, METRICS_MAX};
use model::Timestamp;
use model::metrics::{MetricKey, Point, Summary};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How long a minute of metrics lasts, in seconds, unless somebody says otherwise.
pub const MINUTE_SECONDS: u32 = 60;

/// Clones share the measurements.
#[derive(Clone, Debug)]
pub struct Metrics {
    minute_ms: i64,
    series: Arc<Mutex<BTreeMap<MetricKey, Series>>>,
}

#[derive(Debug, Default)]
struct Series {
    /// By their beginnings, in milliseconds; these rise.
    points: VecDeque<(i64, Summary)>,
    unit: Option<String>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(MINUTE_SECONDS)
    }
}

impl Metrics {
    /// `minute_seconds`: what a minute is taken to be.
    pub fn new(minute_seconds: u32) -> Self {
        Self { minute_ms: i64::from(minute_seconds.max(1)) * 1000, series: Arc::default() }
    }

    pub fn minute_ms(&self) -> i64 {
        self.minute_ms
    }

    /// The beginning of the minute that a moment is in.
    pub fn minute_of(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0 - at.0.rem_euclid(self.minute_ms))
    }

    /// Adds what was measured at a moment. What is too old for the metric to hold is dropped; the
    /// metric that was quiet for the longest time makes room for a new one.
    pub fn add(&self, key: MetricKey, at: Timestamp, unit: Option<&str>, summary: Summary) {
        let minute = self.minute_of(at).0;
        let mut all = self.lock();
        if !all.contains_key(&key) && all.len() >= METRICS_MAX {
            let newest = |series: &Series| series.points.back().map_or(i64::MIN, |(at, _)| *at);
            let quiet = all.iter().min_by_key(|(_, series)| newest(series));
            if let Some(quiet) = quiet.map(|(key, _)| key.clone()) {
                all.remove(&quiet);
            }
        }
        let series = all.entry(key).or_default();
        if let Some(unit) = unit {
            series.unit = Some(unit.to_owned());
        }
        series.add(minute, summary);
    }

    /// The points whose minute begins in `from..until`, in order, and the metric's unit.
    pub fn read(
        &self,
        key: &MetricKey,
        from: Timestamp,
        until: Timestamp,
    ) -> (Vec<Point>, Option<String>) {
        let all = self.lock();
        let Some(series) = all.get(key) else { return (Vec::new(), None) };
        let inside = series.points.iter().filter(|(at, _)| (from.0..until.0).contains(at));
        let point =
            |(at, summary): &(i64, Summary)| Point { at: Timestamp(*at), summary: *summary };
        (inside.map(point).collect(), series.unit.clone())
    }

    /// The metrics that there are, in order, with the beginning of their newest minute.
    pub fn list(&self) -> Vec<(MetricKey, Timestamp)> {
        let all = self.lock();
        let newest = |series: &Series| series.points.back().map_or(0, |(at, _)| *at);
        all.iter().map(|(key, series)| (key.clone(), Timestamp(newest(series)))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<MetricKey, Series>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn add(&mut self, minute: i64, summary: Summary) {
        let place = self.points.partition_point(|(at, _)| *at < minute);
        match self.points.get_mut(place) {
            Some((at, known)) if *at == minute => known.add(&summary),
            _ => {
                let full = self.points.len() >= METRIC_POINTS_MAX;
                if full && place == 0 {
                    return;
                }
                self.points.insert(place, (minute, summary));
                if full {
                    self.points.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> MetricKey {
        MetricKey::new("Test", name, &[("Of", "one")])
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp(minute * 60_000)
    }

    #[test]
    fn what_is_measured_in_a_minute_adds_up_whatever_the_order() {
        let metrics = Metrics::default();
        for (ms, value) in [(61_000, 3.0), (5_000, 1.0), (59_999, 5.0), (60_000, 7.0)] {
            metrics.add(key("a"), Timestamp(ms), Some("Percent"), Summary::of(value));
        }
        let (points, unit) = metrics.read(&key("a"), at(0), at(2));
        assert_eq!(unit.as_deref(), Some("Percent"));
        let first = Summary { count: 2.0, sum: 6.0, minimum: 1.0, maximum: 5.0 };
        let second = Summary { count: 2.0, sum: 10.0, minimum: 3.0, maximum: 7.0 };
        assert_eq!(
            points,
            [Point { at: at(0), summary: first }, Point { at: at(1), summary: second }]
        );
        assert_eq!(metrics.read(&key("a"), at(1), at(1)).0, []);
        assert_eq!(metrics.read(&key("b"), at(0), at(9)).0, []);
    }

    #[test]
    fn neither_points_nor_metrics_pile_up() {
        let metrics = Metrics::default();
        let many = METRIC_POINTS_MAX as i64 + 10;
        for minute in 0..many {
            metrics.add(key("a"), at(minute), None, Summary::of(1.0));
        }
        // Too old to be kept, and it pushes nothing out.
        metrics.add(key("a"), at(3), None, Summary::of(1.0));
        let (points, _) = metrics.read(&key("a"), at(0), at(many));
        assert_eq!((points.len(), points[0].at), (METRIC_POINTS_MAX, at(10)));
        for number in 0..METRICS_MAX {
            metrics.add(key(&format!("n{number}")), at(many), None, Summary::of(1.0));
        }
        let left = metrics.list();
        assert_eq!(left.len(), METRICS_MAX);
        assert!(left.iter().all(|(left, _)| *left != key("a")), "the quiet one made room");
    }
}
