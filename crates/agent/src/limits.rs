//! Bounds of the agent's machinery, with their units.

/// Messages waiting to be sent to the control plane.
pub const OUTBOX_MESSAGES_MAX: usize = 1024;
/// Events and news waiting for one task's actor. The runtime's events are few per task; beyond this
/// many the dispatcher waits.
pub const ACTOR_INBOX_MAX: usize = 256;
/// Bytes read from a session at once.
pub const READ_BYTES: usize = 64 * 1024;
/// How often a silent session says that it lives, in milliseconds: a fraction of the lease.
pub const HEARTBEAT_MS: u64 = 4_000;
/// How long to wait before calling the control plane again, in milliseconds: doubled up to the
/// second number.
pub const RECONNECT_MS: (u64, u64) = (50, 2_000);
/// Bytes of log records sent in one batch. CloudWatch's own bound for a batch is 1 MiB.
pub const LOG_BATCH_BYTES: usize = 512 * 1024;
/// How long log records wait when they could not be stored, in milliseconds.
pub const LOG_RETRY_MS: u64 = 1_000;
