//! Bounds of the data plane, with their units. Those of ALB are from the ELB user guide, "Quotas"
//! and "Troubleshoot".

/// Bytes of a request line. ALB.
pub const REQUEST_LINE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one header. ALB.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request's head. ALB.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer's head. ALB.
pub const ANSWER_HEAD_BYTES_MAX: usize = 32 * 1024;
/// Headers of one head.
pub const HEADERS_MAX: usize = 256;
/// Addresses in X-Forwarded-For. ALB: more is 463.
pub const FORWARDED_ADDRESSES_MAX: usize = 30;
/// Bytes of a chunk's size line, and of all trailers together.
pub const CHUNK_LINE_BYTES_MAX: usize = 4 * 1024;
/// Streams of one HTTP/2 connection. ALB.
pub const STREAMS_MAX: u32 = 128;
/// Connections of clients, all listeners together; beyond that they are closed at once.
pub const CONNECTIONS_MAX: u32 = 9_000;
/// How long a target may take to accept a connection, in milliseconds. ALB: then 504.
pub const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// The same where another target could be asked instead: a machine that is gone says nothing, and
/// nobody should wait for it for long.
pub const CONNECT_IMPATIENT_MS: u64 = 1_000;
/// How long a TLS handshake may take, in milliseconds.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// How long a target's machine may leave unacknowledged what it was sent, in milliseconds: one that
/// is there acknowledges at once, however long its application takes.
pub const TARGET_SILENT_MS: u32 = 3_000;
/// Idle connections that are kept for one target by one worker.
pub const IDLE_PER_TARGET_MAX: usize = 256;
/// How long an idle connection to a target is kept, in milliseconds.
pub const IDLE_TARGET_MS: u64 = 60_000;
/// How fresh an idle connection must be, in milliseconds, to carry a request that can't be sent
/// again: targets close idle ones after a few seconds, and no such request should meet that.
pub const IDLE_UNREPEATABLE_MS: u64 = 1_000;
/// How often kept connections are looked through, in milliseconds.
pub const SWEEP_MS: u64 = 5_000;
/// Tries of one request, the first included.
pub const ATTEMPTS_MAX: u32 = 4;
/// Bytes that a connection's buffer begins with, and that it may grow to for bodies.
pub const BUFFER_BYTES: usize = 4 * 1024;
pub const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How long a connection that failed to be accepted holds up the next try, in milliseconds.
pub const ACCEPT_RETRY_MS: u64 = 20;
/// How long we read on after an answer that closes, in milliseconds, so that it isn't lost to a
/// reset.
pub const LINGER_MS: u64 = 500;
/// Lines of the access log that wait to be written; more are dropped and counted.
pub const LOG_LINES_MAX: usize = 16_384;
/// Bytes of an access log file before it is set aside, and how many are kept.
pub const LOG_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
pub const LOG_FILES_MAX: usize = 4;

/// Health checks that are on their way at one time; more wait their turn.
pub const CHECKS_AT_ONCE_MAX: usize = 512;
/// Bytes of a health check's answer that are read, so that the target isn't reset in mid-answer.
pub const CHECK_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The first pause, in milliseconds, before a target that has not passed yet is looked at again;
/// each pause is twice the one before, up to the interval.
pub const EARLY_CHECK_FIRST_MS: u64 = 10;
/// Between checks that a refused connection prompted, in milliseconds.
pub const PROMPTED_CHECK_PAUSE_MS: u64 = 30;
/// Bytes of each direction's buffer of a TCP connection.
pub const STREAM_BUFFER_BYTES: usize = 16 * 1024;
