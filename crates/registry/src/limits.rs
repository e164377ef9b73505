//! Bounds of the registry, with their units.

/// One blob. ECR's bound for a layer is 52,000 MiB.
pub const BLOB_BYTES_MAX: u64 = 52_000 * 1024 * 1024;
/// Uploads begun and not ended, of all repositories together.
pub const UPLOADS_MAX: usize = 4096;
/// How long an upload nobody touches is kept, in seconds.
pub const UPLOAD_KEPT_SECONDS: u64 = 24 * 3600;
/// How often uploads that nobody touches are looked for, in seconds.
pub const SWEEP_EVERY_SECONDS: u64 = 3600;
/// Bytes gathered from the network before one write to the disk.
pub const WRITE_BYTES: usize = 1024 * 1024;
/// How long a client may pause within a body, in seconds.
pub const BODY_PAUSE_SECONDS_MAX: u64 = 60;
/// How long a request waits for an earlier one of the same upload, in seconds.
pub const UPLOAD_WAIT_SECONDS_MAX: u64 = 20;
/// Entries of one page of a list when the client names no number, and the most it may name.
pub const PAGE_ENTRIES_MAX: usize = 1000;
/// Entries of one referrers list.
pub const REFERRERS_MAX: usize = 1000;
/// How long a password of GetAuthorizationToken is good, in seconds.
pub const PASSWORD_SECONDS: i64 = 12 * 3600;
