//! Bounds of the domain, with their units. Those of one crate's machinery are in that crate's
//! `limits`.

/// Containers of one task definition.
pub const CONTAINERS_PER_TASK_MAX: usize = 10;
/// Tags of one resource.
pub const TAGS_PER_RESOURCE_MAX: usize = 50;
/// Tasks of one RunTask call.
pub const RUN_TASK_COUNT_MAX: u32 = 10;
/// Ids in one DescribeTasks or DescribeClusters call.
pub const DESCRIBE_IDS_MAX: usize = 100;
/// Bytes of a task definition as given.
pub const TASK_DEFINITION_BYTES_MAX: usize = 64 * 1024;
/// Bytes of RunTask's overrides as JSON.
pub const OVERRIDES_BYTES_MAX: usize = 8192;
/// How long a stopped task stays describable, in seconds.
pub const STOPPED_TASK_KEPT_SECONDS: i64 = 3600;
/// Default of `stopTimeout`, in seconds.
pub const STOP_TIMEOUT_SECONDS_DEFAULT: u32 = 30;
/// The longest `stopTimeout` on Fargate, in seconds.
pub const STOP_TIMEOUT_SECONDS_MAX: u32 = 120;
/// How long a task may wait for room on an instance before it is stopped, in seconds.
pub const PLACEMENT_TIMEOUT_SECONDS: i64 = 300;
/// How long an instance may take from being handed a task to accepting it, in seconds.
pub const ACCEPT_TIMEOUT_SECONDS: i64 = 60;
/// How long a task may take from being accepted to RUNNING when its definition says nothing, in
/// seconds.
pub const START_TIMEOUT_SECONDS: i64 = 1800;
/// How long after its containers' stop timeouts a stop may take, in seconds.
pub const STOP_GRACE_SECONDS: i64 = 60;
/// The longest deregistration delay of a target group, in seconds. Source: Elastic Load Balancing
/// user guide, target group attributes.
pub const DEREGISTRATION_DELAY_SECONDS_MAX: i64 = 3600;
/// How long a session may be silent before its instance's lease ends, in seconds.
pub const SESSION_LEASE_SECONDS: i64 = 15;
/// How long after the lease an instance may return before its tasks count as lost, in seconds.
pub const INSTANCE_GRACE_SECONDS: i64 = 45;
/// How long a deleted service stays describable, in seconds.
pub const INACTIVE_SERVICE_KEPT_SECONDS: i64 = 3600;
/// Tasks of one service. Source: service quotas.
pub const TASKS_PER_SERVICE_MAX: u32 = 5000;
