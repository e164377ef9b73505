//! Bounds of the manager's machinery, with their units.

/// Tasks placed in one transaction: each writes its task and its interface, beside pool and
/// allocation.
pub const PLACEMENTS_PER_COMMIT_MAX: usize = 50;
/// Interfaces released in one transaction: each writes its interface, beside pools and allocations.
pub const RELEASES_PER_COMMIT_MAX: usize = 50;
/// Reports folded into tasks in one transaction.
pub const REPORTS_PER_COMMIT_MAX: usize = 100;
/// Messages waiting to be written to an agent.
pub const OUTBOX_MESSAGES_MAX: usize = 1024;
/// Reports and log batches received and not yet durable; the session reads no further beyond.
pub const INBOX_MESSAGES_MAX: usize = 4096;
/// How long an agent may take to introduce itself, in milliseconds.
pub const HELLO_TIMEOUT_MS: u64 = 10_000;
/// How long a forgotten instance may take to get rid of what it has, in seconds.
pub const DISMISSAL_SECONDS: u64 = 180;
/// Bytes read from a session at once.
pub const READ_BYTES: usize = 64 * 1024;
/// How long a reconciler waits after a storage failure before it tries again, in milliseconds.
pub const RETRY_AFTER_MS: u64 = 250;
/// Tasks taken up or let go in one transaction: each writes its task, its Cloud Map instance and
/// that one's service, and up to five targets with their health.
pub const TARGETS_PER_COMMIT_MAX: usize = 9;
/// How long a service's task that nothing checks must run before it counts as healthy, in
/// milliseconds. Source: ECS developer guide, service deployments (the 40-second rule).
pub const SERVICE_SETTLE_MS: i64 = 40_000;
/// Bytes of the values of a task's secrets together: they are sent with the task, and the whole
/// list of an instance's tasks is one message.
pub const SECRETS_PER_TASK_BYTES_MAX: usize = 256 * 1024;
/// Findings of the balancer folded in one transaction: each reads its target and its health.
pub const FOUND_PER_COMMIT_MAX: usize = 60;
/// Draining targets removed in one transaction.
pub const DRAINED_PER_COMMIT_MAX: usize = 60;
/// Events that are kept, and for how long, in seconds: each holds a task as it was.
pub const EVENTS_KEPT_MAX: usize = 2_000;
pub const EVENTS_KEPT_SECONDS: i64 = 24 * 3600;
/// How long changes are gathered before what they tell is written, in milliseconds.
pub const EVENTS_GATHERED_MS: u64 = 100;
/// Events written, and old ones removed, in one transaction.
pub const EVENTS_PER_COMMIT_MAX: usize = 50;
pub const EVENTS_REMOVED_PER_COMMIT_MAX: usize = 70;
