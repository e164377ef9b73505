//! Bounds of the frontend's machinery, with their units. What AWS's own model bounds (lengths,
//! ranges) is checked by `wire`; what the domain bounds is in `model::limits`.

/// Bytes of a request's body. CloudWatch Logs takes batches of 1 MiB, which JSON's escapes make
/// longer.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a client may take to send its body, in milliseconds.
pub const BODY_TIMEOUT_MS: u64 = 30_000;
/// Items of one page, in every ECS list.
pub const PAGE_ITEMS_MAX: usize = 100;
/// Bytes of a `nextToken`. Ours hold a key of the store.
pub const PAGE_TOKEN_BYTES_MAX: usize = 2048;
/// Characters of a RunTask `clientToken`. Source: API reference, RunTask.
pub const CLIENT_TOKEN_CHARS_MAX: usize = 64;
/// How long a client token is remembered, in seconds. Source: developer guide, ECS_Idempotency: at
/// most 24 hours.
pub const CLIENT_TOKEN_SECONDS: i64 = 24 * 3600;
/// Characters of RunTask's `startedBy`. Source: API reference, RunTask.
pub const STARTED_BY_CHARS_MAX: usize = 128;
/// Subnets of one awsvpcConfiguration. Source: API reference, AwsVpcConfiguration.
pub const SUBNETS_PER_TASK_MAX: usize = 16;
/// Security groups of one awsvpcConfiguration. Source: API reference, AwsVpcConfiguration.
pub const SECURITY_GROUPS_PER_TASK_MAX: usize = 5;
/// Task definitions of one DeleteTaskDefinitions call. Source: API reference.
pub const DELETE_TASK_DEFINITIONS_MAX: usize = 10;
/// Characters of a tag's key and value. Source: API reference, Tag.
pub const TAG_KEY_CHARS_MAX: usize = 128;
pub const TAG_VALUE_CHARS_MAX: usize = 256;
/// Characters of names of clusters, families and containers.
pub const NAME_CHARS_MAX: usize = 255;
/// Capacity providers of one strategy. Source: API reference, CapacityProviderStrategyItem.
pub const STRATEGY_ITEMS_MAX: usize = 20;
/// Bytes of a StopTask reason. Source: API reference, StopTask.
pub const STOP_REASON_CHARS_MAX: usize = 1024;
/// Access keys whose signing keys are kept in memory.
pub const UNSEALED_KEYS_MAX: usize = 1024;
/// Signing keys (a day, a region, a service) kept of each access key.
pub const SIGNING_KEYS_PER_ACCESS_KEY_MAX: usize = 32;
/// Task definitions of one family registered in one transaction; the store's bound is 128 writes.
pub const REGISTRATION_BATCH_MAX: usize = 100;
/// Bytes of their documents, counted twice for the template beside; the store's bound is 1 MiB.
pub const REGISTRATION_BATCH_BYTES_MAX: usize = 512 * 1024;
