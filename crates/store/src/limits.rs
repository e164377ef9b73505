//! Every bound of the store in one place, each with its unit and the reason for its size. Bounds
//! are part of the interface: an engine that can't hold one of them (etcd) is why it isn't larger.

/// Conditions, and separately writes, in one transaction: etcd's default `max-txn-ops`.
pub const TRANSACTION_OPERATIONS_MAX: usize = 128;
/// Keys and encoded records of one transaction together. etcd takes requests of 1.5 MiB by
/// default; the rest is left for its framing and for the keys of the conditions.
pub const TRANSACTION_BYTES_MAX: usize = 1024 * 1024;
/// One key, its kind not counted: a log group and a stream of 512 characters each fit in it.
pub const KEY_BYTES_MAX: usize = 4096;
/// Attempts of `Store::transact`. Every attempt lost means that another writer got through.
pub const TRANSACT_ATTEMPTS_MAX: u32 = 128;
/// Transactions waiting for the committer; the next caller waits for room.
pub const COMMIT_QUEUE_TRANSACTIONS_MAX: usize = 4096;
/// Transactions that share one durable write.
pub const GROUP_TRANSACTIONS_MAX: usize = 1024;
/// Batches kept for watchers that lag behind.
pub const HISTORY_BATCHES_MAX: usize = 16 * 1024;
/// Encoded size of the records kept alive by those batches.
pub const HISTORY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The page cache of the file of records. Reads are served from decoded memory, so it has to hold
/// only the pages that folding touches.
pub const ENGINE_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of one durable write; the transaction that crosses it still belongs to the group.
pub const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// One object: larger than any image layer that makes sense.
pub const OBJECT_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// An object's name.
pub const OBJECT_NAME_BYTES_MAX: usize = 512;
/// Objects being written at one time, each with an open file.
pub const OBJECT_UPLOADS_MAX: usize = 256;
/// The unit in which objects are read and written.
pub const OBJECT_CHUNK_BYTES: usize = 256 * 1024;
/// One blob that is being sent to us. ECR's bound for a layer is 52,000 MiB.
pub const STAGED_BYTES_MAX: u64 = 52_000 * 1024 * 1024;
/// Blobs that are being sent to us, of all repositories together.
pub const STAGED_UPLOADS_MAX: usize = 4096;
/// How long one that nobody touches is kept, in seconds.
pub const STAGED_KEPT_SECONDS: u64 = 24 * 3600;
/// How long a request waits for an earlier one of the same upload, in seconds.
pub const STAGED_WAIT_SECONDS_MAX: u64 = 20;
/// Links of blobs that a manifest's transaction guards and renews: the repository, the tag and the
/// manifest need room in it too.
pub const LINKS_RENEWED_MAX: usize = 100;
/// A part of an object that is put to S3 in parts. S3 takes 10,000 of them and none but the last
/// below 5 MiB: this times that is more than `OBJECT_BYTES_MAX`.
pub const S3_PART_BYTES: u64 = 8 * 1024 * 1024;
/// Parts of one object on their way at one time, each in memory.
pub const S3_PARTS_AT_ONCE: usize = 4;
/// Keys of one page. S3's own bound.
pub const S3_PAGE_KEYS: usize = 1000;
/// An answer that is not an object: a page of keys is the longest.
pub const S3_ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How often a request is sent before its failure counts, and the pause after the first time, which
/// doubles.
pub const S3_ATTEMPTS_MAX: u32 = 5;
pub const S3_PAUSE_FIRST_MS: u64 = 100;
/// How long parts of an object that nobody finishes are kept, in seconds.
pub const S3_UNFINISHED_KEPT_SECONDS: u64 = 24 * 3600;
/// A segment of the log is full when it has reached this.
pub const WAL_SEGMENT_BYTES: usize = 4 * 1024 * 1024;
/// Full segments of the log that are not folded yet: a record that is written again soon need not
/// be folded twice.
pub const WAL_KEPT_BYTES: usize = 32 * 1024 * 1024;
/// The same as a number, because every start of the process begins a segment.
pub const WAL_KEPT_SEGMENTS: usize = 8;
/// A log of this size makes commits wait for folding: it bounds the disk and the time to open.
pub const WAL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Events of one append. CloudWatch's limit for PutLogEvents.
pub const LOG_BATCH_EVENTS_MAX: usize = 10_000;
/// Messages of one append together. Twice CloudWatch's limit, for batches of our own agents.
pub const LOG_BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What CloudWatch counts for an event beside its message, in sizes and limits.
pub const LOG_EVENT_OVERHEAD_BYTES: usize = 26;
/// A log segment is closed when it would grow beyond this. Reading looks at whole segments.
pub const LOG_SEGMENT_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Streams whose state is kept in memory, about 300 bytes each; others are read in when used.
pub const LOG_STREAMS_CACHED_MAX: usize = 64 * 1024;
/// Sources a stream remembers; beyond it the one longest silent is forgotten.
pub const LOG_SOURCES_MAX: usize = 256;
/// A source's name.
pub const LOG_SOURCE_ID_BYTES_MAX: usize = 1024;
/// Reads of log events at one time, each with up to a segment and a page in memory.
pub const LOG_READS_MAX: usize = 8;
/// Appends of log events at one time, each on a thread that may wait for a sync.
pub const LOG_APPENDS_MAX: usize = 32;
/// Events one call of `filter` looks at.
pub const LOG_FILTER_EVENTS_LOOKED_MAX: usize = 50_000;
/// Metrics in memory; with all their points some 60 MiB.
pub const METRICS_MAX: usize = 1024;
/// Points of one metric: a day of minutes.
pub const METRIC_POINTS_MAX: usize = 1440;
