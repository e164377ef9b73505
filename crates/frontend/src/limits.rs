//! Bounds of the frontend's machinery, with their units. What AWS's own model bounds (lengths,
//! ranges) is checked by `wire`; what the domain bounds is in `model::limits`.

/// Bytes of a request's body. CloudWatch Logs takes batches of 1 MiB, which JSON's escapes make
/// longer.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of the body of UploadLayerPart: 20 MiB in base64, and its other members.
pub const LAYER_BODY_BYTES_MAX: usize = 28 * 1024 * 1024;
/// Such bodies read at a time.
pub const LAYER_BODIES_MAX: usize = 4;
/// How long a client may take to send one, in milliseconds.
pub const LAYER_BODY_TIMEOUT_MS: u64 = 120_000;
/// How long a client may take to send its body, in milliseconds.
pub const BODY_TIMEOUT_MS: u64 = 30_000;
/// Items of one page, in every ECS list.
pub const PAGE_ITEMS_MAX: usize = 100;
/// Bytes of the token of a page. Ours hold a key of the store.
pub const PAGE_TOKEN_BYTES_MAX: usize = 4096;
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
/// How long a collection of the images' garbage spares what nobody needs when it isn't told, in
/// seconds. A push may take that long from its first layer to its manifest.
pub const COLLECT_GRACE_SECONDS: u64 = 24 * 3600;
/// The most it may be told, in seconds.
pub const COLLECT_GRACE_SECONDS_MAX: u64 = 365 * 24 * 3600;
/// Resources of one CreateTags or DeleteTags call; the store's bound is 128 records.
pub const TAGGED_RESOURCES_MAX: usize = 100;
/// VPCs of a region. Source: VPC quotas, as they can be raised.
pub const VPCS_MAX: usize = 100;
/// Subnets of a VPC: fewer than EC2's 200, as who removes a security group looks at all of them in
/// one transaction.
pub const SUBNETS_PER_VPC_MAX: usize = 100;
/// Ranges of a VPC, its first one too. Source: VPC quotas.
pub const CIDRS_PER_VPC_MAX: usize = 5;
/// Route tables of a VPC, and routes of a table. Source: VPC quotas.
pub const ROUTE_TABLES_PER_VPC_MAX: usize = 200;
pub const ROUTES_PER_TABLE_MAX: usize = 500;
/// Security groups of a region, their rules in each direction, and groups of an interface. Source:
/// VPC quotas.
pub const SECURITY_GROUPS_MAX: usize = 2500;
pub const RULES_PER_GROUP_MAX: usize = 60;
/// Network ACLs of a VPC, and entries in each direction. Source: VPC quotas.
pub const NETWORK_ACLS_PER_VPC_MAX: usize = 200;
pub const ACL_ENTRIES_MAX: usize = 40;
/// Internet gateways that are there at one time. Source: VPC quotas, as they can be raised.
pub const INTERNET_GATEWAYS_MAX: usize = 100;
/// NAT gateways that work at one time.
pub const NAT_GATEWAYS_MAX: usize = 100;
/// Elastic addresses.
pub const ADDRESSES_MAX: usize = 500;
/// How long a deleted NAT gateway is still shown. Source: VPC user guide, "NAT gateways": about an
/// hour.
pub const DELETED_NAT_GATEWAY_SHOWN_SECONDS: i64 = 3600;
/// Private addresses of an interface beside its first.
pub const SECONDARY_ADDRESSES_MAX: usize = 30;
/// Prefix lists, and entries of one. Source: VPC quotas.
pub const PREFIX_LISTS_MAX: usize = 100;
pub const PREFIX_LIST_ENTRIES_MAX: usize = 1000;
/// Endpoints of a VPC. Source: VPC quotas.
pub const ENDPOINTS_PER_VPC_MAX: usize = 50;
/// Bytes of an endpoint's policy. Source: VPC quotas.
pub const ENDPOINT_POLICY_BYTES_MAX: usize = 20_480;
/// DHCP option sets.
pub const DHCP_OPTIONS_MAX: usize = 500;
/// Characters of a security group's name or description. Source: API reference.
pub const GROUP_TEXT_CHARS_MAX: usize = 255;
/// How long a token lets machines join when nothing else is said, and the longest, in seconds.
pub const JOIN_TOKEN_SECONDS: i64 = 24 * 3600;
pub const JOIN_TOKEN_SECONDS_MAX: i64 = 365 * 24 * 3600;
/// Machines that may join with one token.
pub const JOIN_TOKEN_USES_MAX: u32 = 10_000;
/// Services that may be scaled. Source: Application Auto Scaling quotas (of ECS).
pub const SCALABLE_TARGETS_MAX: usize = 3000;
/// Both with their alarms are taken away in one transaction: a target with its policies, each with
/// two alarms and what these were found to be, and its scheduled actions. AWS allows more.
pub const SCALING_POLICIES_PER_TARGET_MAX: usize = 10;
pub const SCHEDULED_ACTIONS_PER_TARGET_MAX: usize = 50;
/// Measurements in one call, and values of one of them. Source: API reference, PutMetricData.
pub const METRIC_DATUMS_MAX: usize = 1000;
pub const METRIC_VALUES_MAX: usize = 150;
/// How old a measurement may be, and how far ahead, in milliseconds. Source: as above.
pub const METRIC_PAST_MS_MAX: i64 = 14 * 24 * 3600 * 1000;
pub const METRIC_FUTURE_MS_MAX: i64 = 2 * 3600 * 1000;
/// Metrics in one page. Source: API reference, ListMetrics.
pub const METRICS_LISTED_MAX: usize = 500;
/// Source: API reference, GetMetricStatistics and GetMetricData.
pub const METRIC_DATAPOINTS_MAX: i64 = 1440;
pub const METRIC_QUERIES_MAX: usize = 500;
/// Alarms. Source: CloudWatch quotas.
pub const ALARMS_MAX: usize = 5000;
/// Periods that an alarm looks at; a day of minutes is all that is kept.
pub const ALARM_PERIODS_MAX: u32 = 1440;
/// Events in one answer of the operator API.
pub const EVENTS_SHOWN_MAX: usize = 500;
/// Tasks named of an instance that drains; their number is told whole.
pub const LEFT_TASKS_SHOWN_MAX: usize = 100;
