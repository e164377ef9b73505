//! What containers use, in the shape of Docker's statistics, which the metadata endpoint tells and
//! every monitoring agent reads. Rates need two moments: the one before is what was told last, and
//! where nothing was told of late, two are taken a second apart, as Docker does.
//! Source: Docker Engine API, ContainerStats; developer guide, task-metadata-endpoint-v4-fargate.

use super::document::time;
use model::Timestamp;
use model::session::Assignment;
use runtime::{ContainerUsage, Usage};
use serde_json::{Map, Value, json};

/// What a task used at a moment.
#[derive(Clone, Debug)]
pub struct Sample {
    pub at: Timestamp,
    pub usage: Usage,
}

/// One container's statistics; None where it does not run.
pub fn container(
    assignment: &Assignment,
    at: usize,
    before: &Sample,
    now: &Sample,
) -> Option<Value> {
    let name = &assignment.template.containers.get(at)?.name;
    let used = now.usage.containers.iter().find(|c| c.name == *name)?;
    let earlier = before.usage.containers.iter().find(|c| c.name == *name);
    let id = assignment.inside.runtime_ids.get(at)?;
    let seconds = now.at.since_ms(before.at) as f64 / 1000.0;
    let (counted, then) = (now.usage.network, before.usage.network);
    let rate = |now: u64, before: u64| match seconds > 0.0 {
        true => now.saturating_sub(before) as f64 / seconds,
        false => 0.0,
    };
    Some(json!({
        "read": time(now.at),
        "preread": time(before.at),
        "pids_stats": { "current": used.pids },
        "blkio_stats": blkio(),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(used, &now.usage),
        "precpu_stats": earlier.map_or_else(|| json!({}), |used| cpu(used, &before.usage)),
        "memory_stats": memory(used),
        "name": name,
        "id": id,
        "networks": { "eth0": network(&now.usage) },
        "network_rate_stats": {
            "rx_bytes_per_sec": rate(counted.received_bytes, then.received_bytes),
            "tx_bytes_per_sec": rate(counted.sent_bytes, then.sent_bytes),
        },
    }))
}

/// Every container's, by its id; null where it does not run.
pub fn task(assignment: &Assignment, before: &Sample, now: &Sample) -> Value {
    let each = assignment.inside.runtime_ids.iter().enumerate();
    let all: Map<String, Value> = each
        .map(|(at, id)| {
            let told = container(assignment, at, before, now);
            (id.clone(), told.unwrap_or(Value::Null))
        })
        .collect();
    Value::Object(all)
}

fn cpu(used: &ContainerUsage, task: &Usage) -> Value {
    json!({
        "cpu_usage": {
            "total_usage": used.cpu_nanoseconds,
            "usage_in_kernelmode": used.cpu_kernel_nanoseconds,
            "usage_in_usermode": used.cpu_user_nanoseconds,
        },
        "system_cpu_usage": task.machine_cpu_nanoseconds,
        "online_cpus": task.machine_cpus,
        "throttling_data": {
            "periods": used.throttling.periods,
            "throttled_periods": used.throttling.throttled_periods,
            "throttled_time": used.throttling.throttled_nanoseconds,
        },
    })
}

fn memory(used: &ContainerUsage) -> Value {
    json!({
        "usage": used.memory_bytes,
        "max_usage": used.memory_peak_bytes,
        "stats": used.memory_details,
        "limit": used.memory_limit_bytes,
    })
}

/// Bytes read and written are not counted for each container; Docker tells empty lists then.
fn blkio() -> Value {
    json!({
        "io_service_bytes_recursive": [],
        "io_serviced_recursive": [],
        "io_queue_recursive": [],
        "io_service_time_recursive": [],
        "io_wait_time_recursive": [],
        "io_merged_recursive": [],
        "io_time_recursive": [],
        "sectors_recursive": [],
    })
}

fn network(usage: &Usage) -> Value {
    let counted = usage.network;
    json!({
        "rx_bytes": counted.received_bytes,
        "rx_packets": counted.received_packets,
        "rx_errors": counted.received_errors,
        "rx_dropped": counted.received_dropped,
        "tx_bytes": counted.sent_bytes,
        "tx_packets": counted.sent_packets,
        "tx_errors": counted.sent_errors,
        "tx_dropped": counted.sent_dropped,
    })
}
