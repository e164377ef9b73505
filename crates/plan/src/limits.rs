//! Bounds of the decisions, with their units. Each is the deadline of a state that would otherwise
//! have none.

/// How long a runtime may take to make a sandbox, in seconds.
pub const SANDBOX_TIMEOUT_SECONDS: i64 = 60;
/// How long a runtime may take from being asked to start a container to saying what came of it, in
/// seconds.
pub const LAUNCH_TIMEOUT_SECONDS: i64 = 60;
/// How long a container may live after SIGKILL before its sandbox is removed under it, in seconds.
pub const KILL_TIMEOUT_SECONDS: i64 = 10;
/// How long a removal may take before it is asked for again, in seconds.
pub const REMOVE_TIMEOUT_SECONDS: i64 = 30;
/// How long after a refused signal or a failed removal it is tried again, in seconds.
pub const RETRY_SECONDS: i64 = 2;
/// How long ended containers' log records may take to leave the machine before they are given up,
/// in seconds.
pub const LOG_DRAIN_TIMEOUT_SECONDS: i64 = 600;
/// How long an ended task may hold its interface before its instance is taken not to give it back,
/// in seconds.
pub const RELEASE_TIMEOUT_SECONDS: i64 = LOG_DRAIN_TIMEOUT_SECONDS + 300;
/// Tasks of one service started by one plan; the rest follow in the next.
pub const SERVICE_STARTS_PER_PLAN_MAX: u32 = 50;
pub const SERVICE_STOPS_PER_PLAN_MAX: usize = 50;
/// Events kept with a service. Source: API reference, Service (events).
pub const SERVICE_EVENTS_MAX: usize = 100;
/// Deployments that are over, kept with a service.
pub const SERVICE_DEPLOYMENTS_KEPT_MAX: usize = 20;
/// How long the tasks of a rebalancing may take to be healthy, in seconds; shorter than placement
/// waits, so that one that finds no room is stopped by us and is no failure.
pub const REBALANCE_PATIENCE_SECONDS: i64 = 240;
/// How long after one rebalancing the next may begin, in seconds.
pub const REBALANCE_AGAIN_SECONDS: i64 = 1800;
