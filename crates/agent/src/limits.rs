//! Bounds of the agent's machinery, with their units.

/// Messages waiting to be sent to the control plane.
pub const OUTBOX_MESSAGES_MAX: usize = 1024;
/// Events and news waiting for one task's actor. The runtime's events are few per task; beyond this
/// many the dispatcher waits.
pub const ACTOR_INBOX_MAX: usize = 256;
/// Bytes read from a session at once.
pub const READ_BYTES: usize = 64 * 1024;
/// How long a report that tells only how far a launch has come waits for another, in milliseconds:
/// longer than a launch takes whose image is here, shorter than anybody watches.
pub const PROGRESS_WAITS_MS: u64 = 20;
/// How often a silent session says that it lives, in milliseconds: a fraction of the lease.
pub const HEARTBEAT_MS: u64 = 4_000;
/// How long to wait before calling the control plane again, in milliseconds: doubled up to the
/// second number.
pub const RECONNECT_MS: (u64, u64) = (50, 2_000);
/// Bytes of log records sent in one batch. CloudWatch's own bound for a batch is 1 MiB.
pub const LOG_BATCH_BYTES: usize = 512 * 1024;
/// Bytes of one log event: CloudWatch Logs counts 26 bytes of its own towards its 256 KiB.
pub const LOG_EVENT_BYTES_MAX: usize = 256 * 1024 - 26;
/// How long an event of several lines waits for more, in milliseconds. Docker's is the same.
pub const LOG_EVENT_WAIT_MS: u64 = 5_000;
/// How often is looked for its end meanwhile, in milliseconds.
pub const LOG_EVENT_LOOK_MS: u64 = 250;
/// How long log records wait when they could not be stored, in milliseconds.
pub const LOG_RETRY_MS: u64 = 1_000;
/// Connections that one task may have to the endpoints in its network at a time, and as many to the
/// API.
pub const INSIDE_CONNECTIONS_PER_TASK_MAX: usize = 128;
/// Requests that one task may make of its endpoints: at once, and each second in the long run.
/// Source: amazon-ecs-agent, ECS_TASK_METADATA_RPS_LIMIT.
pub const INSIDE_REQUESTS_BURST: f64 = 60.0;
pub const INSIDE_REQUESTS_PER_SECOND: f64 = 40.0;
/// How long a task may take to send a request's head, in milliseconds.
pub const INSIDE_HEAD_TIMEOUT_MS: u64 = 30_000;
/// Bytes of a request's body.
pub const INSIDE_BODY_BYTES_MAX: usize = 16 * 1024;
/// How long to wait after the system refused a connection, in milliseconds.
pub const ACCEPT_RETRY_MS: u64 = 50;
/// How long the API may take to accept a task's connection, in milliseconds.
pub const API_CONNECT_TIMEOUT_MS: u64 = 5_000;
/// How long a call of the API in a task's name may take, in milliseconds. Source:
/// amazon-ecs-agent's timeout for task protection.
pub const API_CALL_TIMEOUT_MS: u64 = 4_000;
/// Bytes of the API's answer to such a call.
pub const API_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How far apart the two moments of statistics are at least, in milliseconds.
pub const SAMPLE_APART_MS: i64 = 1_000;
/// How old the first of them may be, in milliseconds.
pub const SAMPLE_KEPT_MS: i64 = 60_000;
/// How long a task waits for its role's first keys, in milliseconds: less than SDKs do.
pub const KEYS_WAIT_MS: u64 = 1_500;
/// How often keys that did not come are asked for again, in milliseconds.
pub const KEYS_ASK_AGAIN_MS: i64 = 5_000;
/// How long a task's sandbox waits for the rules of its network, in milliseconds.
pub const NETWORK_WAIT_MS: u64 = 30_000;
/// How long to wait before asking again for a network that could not be set up, in milliseconds.
pub const NETWORK_RETRY_MS: u64 = 500;
/// How often a VPC that is gone is tried to be taken away before the next session says so again.
pub const NETWORK_REMOVALS_MAX: usize = 60;
/// How often the control plane is told what tasks use, in milliseconds.
pub const USAGE_EVERY_MS: u64 = 5_000;
/// Tasks whose use is told in one message: some 100 bytes each.
pub const USAGES_PER_MESSAGE_MAX: usize = 500;
/// Supervisors that are asked at a time.
pub const USAGES_AT_ONCE_MAX: usize = 32;
