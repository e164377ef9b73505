//! When to check a container's health and what a result means. ECS's rules: a success is healthy at
//! once; `retries` failures in a row are unhealthy, but failures in the start period don't count.

use crate::event::{HealthFact, HealthStatus};
use crate::limits::HEALTH_OUTPUT_BYTES_MAX;
use crate::spec::{HealthSpec, Timestamp};
use std::time::{Duration, Instant};

pub struct Health {
    spec: HealthSpec,
    started: Instant,
    next: Instant,
    failures: u32,
    status: HealthStatus,
}

impl Health {
    pub fn new(spec: HealthSpec, started: Instant) -> Self {
        let next = started + Duration::from_millis(spec.interval_ms);
        Self { spec, started, next, failures: 0, status: HealthStatus::Unknown }
    }

    /// When the next check is due; none is while one runs.
    pub fn next(&self) -> Instant {
        self.next
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.spec.timeout_ms)
    }

    /// A check ended at `now` (with no code when it took too long). Returns the fact to tell.
    pub fn observe(
        &mut self,
        code: Option<i32>,
        output: &[u8],
        now: Instant,
        at: Timestamp,
    ) -> HealthFact {
        self.next = now + Duration::from_millis(self.spec.interval_ms);
        let start_period = Duration::from_millis(self.spec.start_period_ms);
        if code == Some(0) {
            self.failures = 0;
            self.status = HealthStatus::Healthy;
        } else if now.duration_since(self.started) >= start_period
            || self.status != HealthStatus::Unknown
        {
            self.failures += 1;
            if self.failures >= self.spec.retries.max(1) {
                self.status = HealthStatus::Unhealthy;
            }
        }
        let kept = &output[..output.len().min(HEALTH_OUTPUT_BYTES_MAX)];
        let mut output = String::from_utf8_lossy(kept).into_owned();
        if code.is_none() {
            output = format!("health check exceeded its timeout of {} ms", self.spec.timeout_ms);
        }
        HealthFact { status: self.status, output, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_period_forgives_until_the_first_success() {
        let spec = HealthSpec {
            argv: vec!["true".to_owned()],
            interval_ms: 1000,
            timeout_ms: 500,
            retries: 2,
            start_period_ms: 10_000,
        };
        let start = Instant::now();
        let mut health = Health::new(spec, start);
        let mut check = |seconds: u64, code: Option<i32>| {
            let now = start + Duration::from_secs(seconds);
            health.observe(code, b"said", now, Timestamp(0)).status
        };
        assert_eq!(check(1, Some(1)), HealthStatus::Unknown);
        assert_eq!(check(2, None), HealthStatus::Unknown);
        assert_eq!(check(3, Some(1)), HealthStatus::Unknown);
        assert_eq!(check(4, Some(0)), HealthStatus::Healthy);
        assert_eq!(check(5, Some(1)), HealthStatus::Healthy, "one failure is not two");
        assert_eq!(check(6, None), HealthStatus::Unhealthy);
        assert_eq!(check(7, Some(0)), HealthStatus::Healthy);
        assert_eq!(check(20, Some(1)), HealthStatus::Healthy);
        assert_eq!(check(21, Some(1)), HealthStatus::Unhealthy);
    }
}
