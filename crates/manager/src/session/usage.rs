//! What tasks use becomes metrics: of each two counts in a row the share of its CPU and memory that
//! a task used between them, for its service and for its cluster. Source: ECS developer guide,
//! cloudwatch-metrics and service utilization.

use crate::Context;
use model::facts::TaskStatus;
use model::metrics::{MetricKey, Summary};
use model::service::SERVICE_GROUP_PREFIX;
use model::session::TaskUsage;
use model::task::Task;
use model::{InstanceId, TaskId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use store::Snapshot;
use store::kinds::task_key;

/// AWS's share of a CPU in one CPU unit.
const CPU_UNITS_PER_CPU: f64 = 1024.0;
const NANOSECONDS_PER_MS: f64 = 1e6;
/// Counts that are further apart, in milliseconds, say nothing of any minute.
const APART_MS_MAX: i64 = 120_000;

/// The last count of each task of one session.
#[derive(Default)]
pub struct Counts(Mutex<BTreeMap<TaskId, Count>>);

#[derive(Clone, Copy)]
struct Count {
    at: Timestamp,
    cpu_nanoseconds: u64,
}

impl Counts {
    /// Nanoseconds of CPU and the milliseconds in which they were used, since the last count.
    fn since_last(&self, usage: &TaskUsage, at: Timestamp) -> Option<(u64, i64)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Tasks that are over are not counted any more.
        all.retain(|_, count| at.since_ms(count.at) <= APART_MS_MAX);
        let count = Count { at, cpu_nanoseconds: usage.cpu_nanoseconds };
        let last = all.insert(usage.task.clone(), count)?;
        let used = usage.cpu_nanoseconds.checked_sub(last.cpu_nanoseconds)?;
        let elapsed_ms = at.since_ms(last.at);
        (elapsed_ms > 0).then_some((used, elapsed_ms))
    }
}

pub fn measure(
    cx: &Context,
    instance: &InstanceId,
    counts: &Counts,
    at: Timestamp,
    tasks: &[TaskUsage],
) {
    let (snapshot, now) = (cx.store.snapshot(), cx.now());
    for usage in tasks {
        let Some(task) = here(&snapshot, instance, usage) else { continue };
        if let Some((used, elapsed_ms)) = counts.since_last(usage, at) {
            let cpus = used as f64 / (elapsed_ms as f64 * NANOSECONDS_PER_MS);
            let reserved = f64::from(task.cpu_units) / CPU_UNITS_PER_CPU;
            add(cx, &task, "CPUUtilization", 100.0 * cpus / reserved, now);
        }
        let reserved = f64::from(task.memory_mib) * 1024.0 * 1024.0;
        let used = usage.memory_bytes as f64;
        add(cx, &task, "MemoryUtilization", 100.0 * used / reserved, now);
    }
}

/// The task, if the instance may speak of it.
fn here(
    snapshot: &Snapshot,
    instance: &InstanceId,
    usage: &TaskUsage,
) -> Option<std::sync::Arc<Task>> {
    let task = snapshot.get::<Task>(&task_key(&usage.cluster, &usage.task))?.value;
    let placed = task.facts.placed.as_ref().is_some_and(|placed| placed.instance == *instance);
    (placed && task.last_status() == TaskStatus::Running).then_some(task)
}

fn add(cx: &Context, task: &Task, name: &str, percent: f64, now: Timestamp) {
    let summary = Summary::of(percent);
    let cluster = ("ClusterName", task.cluster.as_str());
    cx.metrics.add(MetricKey::new("AWS/ECS", name, &[cluster]), now, Some("Percent"), summary);
    if let Some(service) = task.group.strip_prefix(SERVICE_GROUP_PREFIX) {
        let key = MetricKey::new("AWS/ECS", name, &[cluster, ("ServiceName", service)]);
        cx.metrics.add(key, now, Some("Percent"), summary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_what_lies_between_two_counts() {
        let counts = Counts::default();
        let usage = |cpu_nanoseconds| TaskUsage {
            task: TaskId::from("a"),
            cluster: "default".into(),
            cpu_nanoseconds,
            memory_bytes: 0,
        };
        assert_eq!(counts.since_last(&usage(100), Timestamp(0)), None);
        assert_eq!(counts.since_last(&usage(350), Timestamp(5_000)), Some((250, 5_000)));
        // A count that went back is another sandbox's, or the clock's fault.
        assert_eq!(counts.since_last(&usage(10), Timestamp(6_000)), None);
        assert_eq!(counts.since_last(&usage(20), Timestamp(6_000)), None);
        let much_later = Timestamp(7_000 + APART_MS_MAX);
        assert_eq!(counts.since_last(&usage(30), much_later), None);
    }
}
