//! What balancers served becomes CloudWatch's metrics of load balancers and target groups. Source:
//! Elastic Load Balancing user guide, CloudWatch metrics for your Application Load Balancer.

use crate::Context;
use model::balancing::{
    BalancerCounts, GroupCounts, LoadBalancer, Served, TargetGroup, TargetHealth, TargetState,
};
use model::metrics::{MetricKey, Summary};
use model::{LoadBalancerId, TargetGroupId};
use std::collections::BTreeMap;
use std::time::Duration;
use store::Snapshot;

const NAMESPACE: &str = "AWS/ApplicationELB";
/// How often hosts are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);
const MICROS_PER_SECOND: f64 = 1e6;

/// The dimensions of target groups: their own, and the balancer that leads to them.
struct Places {
    balancers: BTreeMap<LoadBalancerId, String>,
    groups: BTreeMap<TargetGroupId, (String, Option<String>)>,
}

impl Places {
    fn of(snapshot: &Snapshot) -> Self {
        let balancers: BTreeMap<_, _> =
            snapshot.scan::<LoadBalancer>("").map(|(_, it)| (it.id.clone(), it.path())).collect();
        let used = plan::routes::used(&super::table(snapshot));
        let groups = snapshot.scan::<TargetGroup>("").map(|(_, group)| {
            let by = used.get(&group.id).and_then(|balancers| balancers.first());
            let by = by.and_then(|id| balancers.get(id)).cloned();
            (group.id.clone(), (format!("targetgroup/{}/{}", group.name, group.id), by))
        });
        let groups = groups.collect();
        Self { balancers, groups }
    }

    /// Of the group alone and of the group behind its balancer.
    fn add(&self, cx: &Context, group: &TargetGroupId, metric: &Metric) {
        let Some((group, Some(balancer))) = self.groups.get(group) else { return };
        let pairs = [("LoadBalancer", balancer.as_str()), ("TargetGroup", group.as_str())];
        for dimensions in [&pairs[..], &pairs[1..]] {
            metric.add(cx, dimensions);
        }
    }

    /// Of all groups of the balancer that leads to this one.
    fn add_above(&self, cx: &Context, group: &TargetGroupId, metric: &Metric) {
        let Some((_, Some(balancer))) = self.groups.get(group) else { return };
        metric.add(cx, &[("LoadBalancer", balancer)]);
    }
}

struct Metric {
    name: &'static str,
    unit: &'static str,
    value: Summary,
}

impl Metric {
    fn add(&self, cx: &Context, dimensions: &[(&str, &str)]) {
        let key = MetricKey::new(NAMESPACE, self.name, dimensions);
        cx.metrics.add(key, cx.now(), Some(self.unit), self.value);
    }

    /// Things that were counted: CloudWatch has a sample of 1 for each. None: there were none.
    fn counted((name, count): (&'static str, u64)) -> Option<Self> {
        let value = Summary::repeated(1.0, count as f64);
        (count > 0).then_some(Self { name, unit: COUNT, value })
    }
}

const COUNT: &str = "Count";

pub fn note(cx: &Context, served: &Served) {
    let snapshot = cx.store.snapshot();
    let places = Places::of(&snapshot);
    for (id, counts) in &served.balancers {
        let Some(path) = places.balancers.get(id) else { continue };
        for metric in of_balancer(counts) {
            metric.add(cx, &[("LoadBalancer", path)]);
        }
    }
    let hosts = hosts(&snapshot);
    for (id, counts) in &served.groups {
        let counted = Metric::counted(("RequestCount", counts.requests));
        counted.iter().for_each(|metric| places.add(cx, id, metric));
        let healthy = hosts.get(id).map_or(0, |(healthy, _)| *healthy);
        if healthy > 0 && counts.requests > 0 {
            let value = Summary::of(counts.requests as f64 / f64::from(healthy));
            places.add(cx, id, &Metric { name: "RequestCountPerTarget", unit: COUNT, value });
        }
        for metric in of_group(counts) {
            places.add(cx, id, &metric);
            places.add_above(cx, id, &metric);
        }
    }
}

fn of_balancer(counts: &BalancerCounts) -> Vec<Metric> {
    let counted = [
        ("RequestCount", counts.requests),
        ("HTTPCode_ELB_3XX_Count", counts.elb_3xx),
        ("HTTPCode_ELB_4XX_Count", counts.elb_4xx),
        ("HTTPCode_ELB_5XX_Count", counts.elb_5xx),
        ("HTTPCode_ELB_500_Count", counts.elb_500),
        ("HTTPCode_ELB_502_Count", counts.elb_502),
        ("HTTPCode_ELB_503_Count", counts.elb_503),
        ("HTTPCode_ELB_504_Count", counts.elb_504),
        ("HTTP_Fixed_Response_Count", counts.fixed_responses),
        ("HTTP_Redirect_Count", counts.redirects),
        ("NewConnectionCount", counts.new_connections),
        ("RejectedConnectionCount", counts.rejected_connections),
        ("ClientTLSNegotiationErrorCount", counts.tls_errors),
        ("DesyncMitigationMode_NonCompliant_Request_Count", counts.desync_non_compliant),
        ("DroppedInvalidHeaderRequestCount", counts.dropped_invalid_headers),
        ("GrpcRequestCount", counts.grpc_requests),
    ];
    let mut all: Vec<_> = counted.into_iter().filter_map(Metric::counted).collect();
    if counts.processed_bytes > 0 {
        let value = Summary::of(counts.processed_bytes as f64);
        all.push(Metric { name: "ProcessedBytes", unit: "Bytes", value });
    }
    let value = Summary::of(counts.active_connections as f64);
    all.push(Metric { name: "ActiveConnectionCount", unit: COUNT, value });
    all
}

fn of_group(counts: &GroupCounts) -> Vec<Metric> {
    let counted = [
        ("HTTPCode_Target_2XX_Count", counts.target_2xx),
        ("HTTPCode_Target_3XX_Count", counts.target_3xx),
        ("HTTPCode_Target_4XX_Count", counts.target_4xx),
        ("HTTPCode_Target_5XX_Count", counts.target_5xx),
        ("TargetConnectionErrorCount", counts.connection_errors),
        ("TargetTLSNegotiationErrorCount", counts.tls_errors),
    ];
    let mut all: Vec<_> = counted.into_iter().filter_map(Metric::counted).collect();
    if counts.responses > 0 {
        let (count, sum) = (counts.responses as f64, counts.response_micros_sum as f64);
        let mean = sum / count / MICROS_PER_SECOND;
        let maximum = counts.response_micros_max as f64 / MICROS_PER_SECOND;
        let sum = sum / MICROS_PER_SECOND;
        // The least is not told: no more than the mean.
        let value = Summary { count, sum, minimum: mean, maximum };
        all.push(Metric { name: "TargetResponseTime", unit: "Seconds", value });
    }
    all
}

/// Counts healthy and unhealthy hosts, for as long as a balancer is there to look at them.
pub async fn keep_counting(cx: &Context) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(COUNT_EVERY).await;
        let snapshot = cx.store.snapshot();
        let places = Places::of(&snapshot);
        for (group, (healthy, unhealthy)) in hosts(&snapshot) {
            for (name, n) in [("HealthyHostCount", healthy), ("UnHealthyHostCount", unhealthy)] {
                let value = Summary::of(f64::from(n));
                places.add(cx, &group, &Metric { name, unit: COUNT, value });
            }
        }
    }
}

/// Healthy and unhealthy ones of each group.
fn hosts(snapshot: &Snapshot) -> BTreeMap<TargetGroupId, (u32, u32)> {
    let mut hosts: BTreeMap<TargetGroupId, (u32, u32)> = BTreeMap::new();
    for (_, health) in snapshot.scan::<TargetHealth>("") {
        let (healthy, unhealthy) = hosts.entry(health.group.clone()).or_default();
        match health.state {
            TargetState::Healthy => *healthy += 1,
            TargetState::Unhealthy => *unhealthy += 1,
            TargetState::Initial => {}
        }
    }
    hosts
}
