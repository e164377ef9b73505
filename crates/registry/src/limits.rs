//! Bounds of the registry, with their units.

/// Bytes gathered from the network before one write to the disk.
pub const WRITE_BYTES: usize = 1024 * 1024;
/// How long a client may pause within a body, in seconds.
pub const BODY_PAUSE_SECONDS_MAX: u64 = 60;
/// Entries of one page of a list when the client names no number, and the most it may name.
pub const PAGE_ENTRIES_MAX: usize = 1000;
/// Entries of one referrers list.
pub const REFERRERS_MAX: usize = 1000;
/// How long a password of GetAuthorizationToken is good, in seconds.
pub const PASSWORD_SECONDS: i64 = 12 * 3600;
/// The shortest time an object that nothing names is spared, in seconds: from storing a blob to
/// linking it is one transaction, and this is a long time for one.
pub const OBJECT_GRACE_SECONDS_MIN: u64 = 600;
/// Blobs condemned at one time; about 200 bytes each.
pub const CONDEMNED_MAX: usize = 100_000;
/// Blobs that leave their repositories in one transaction; the store's bound is 128.
pub const UNLINK_BATCH_LINKS: usize = 100;
/// Records from which on a collection looks at them on a thread of its own: some milliseconds.
pub const ASIDE_RECORDS: usize = 10_000;
/// Objects of one page while sweeping.
pub const SWEEP_PAGE_OBJECTS: usize = 1000;
/// How often garbage is collected, in seconds.
pub const COLLECT_EVERY_SECONDS: u64 = 3600;
/// What a regular collection spares, in seconds: the longest push from its first layer to its
/// manifest, and the longest pause of an upload.
pub const COLLECT_GRACE_SECONDS: u64 = 24 * 3600;
/// Bytes of manifests kept in memory.
pub const MANIFEST_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// How long a tag of a pull-through cache is served without a look at its upstream, in seconds.
/// Source: ECR user guide, pull-through-cache.
pub const TAG_FRESH_SECONDS: i64 = 24 * 3600;
/// Tags whose last comparison is remembered.
pub const TAGS_COMPARED_MAX: usize = 100_000;
/// Blobs that are fetched from upstreams at the same time.
pub const ARRIVING_AT_ONCE_MAX: usize = 8;
/// Bytes that a client is sent at a time of a blob that is still arriving.
pub const ARRIVING_PIECE_BYTES: u64 = 256 * 1024;
/// Names of manifests asked for whose turns are remembered before the idle ones are forgotten.
pub const TURNS_KEPT_MAX: usize = 1024;
