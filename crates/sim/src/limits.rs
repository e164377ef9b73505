//! Bounds of a run, with their units: how long, how much, how often things go wrong.

/// How long faults happen and users ask for things, in seconds.
pub const FAULTS_SECONDS: i64 = 120;
/// How long after the faults everything may take to come to rest, in seconds: a task may wait for
/// room, a dependency may run into its timeout, a stop may need SIGKILL.
pub const REST_SECONDS: i64 = 900;
/// How often the control plane and the agents look around by themselves, in milliseconds.
pub const TICK_MS: i64 = 1000;
/// How often a whole list is sent though nothing changed, in seconds.
pub const LIST_SECONDS: i64 = 5;
/// How often an agent without a session asks for one, in seconds.
pub const HELLO_SECONDS: i64 = 2;
/// How long an agent hears nothing before it takes its session for dead, in seconds.
pub const SILENCE_SECONDS: i64 = 12;

/// Machines of a run.
pub const MACHINES_MAX: u64 = 3;
/// Tasks a user asks for in a run.
pub const TASKS_MAX: u64 = 14;

/// Tasks of the service, if a run has one.
pub const SERVICE_TASKS_MAX: u64 = 3;
/// How often machines are drained or activated in a run.
pub const DRAINS_MAX: u64 = 6;

/// Out of a thousand messages while there are faults.
pub const LOST_PERMILLE: u64 = 60;
pub const REPEATED_PERMILLE: u64 = 60;
pub const LATE_PERMILLE: u64 = 80;
/// Out of a thousand commits.
pub const REFUSED_PERMILLE: u64 = 100;
/// Out of a thousand pulls, launches and sandboxes.
pub const FAILED_PERMILLE: u64 = 25;
