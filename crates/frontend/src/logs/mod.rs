//! Amazon CloudWatch Logs. Groups and streams are state; the events are in the log store. An
//! operation checks the state first and then turns to the events, so what has been deleted is not
//! served any more even while its events still wait to be removed.

mod create_log_group;
mod create_log_stream;
mod delete_log_group;
mod delete_log_stream;
mod delete_retention_policy;
mod describe_log_groups;
mod describe_log_streams;
mod filter_log_events;
mod get_log_events;
mod list_tags_for_resource;
mod list_tags_log_group;
mod names;
mod pattern;
mod place;
mod put_log_events;
mod put_retention_policy;
mod tag_log_group;
mod tag_resource;
mod tags;
#[cfg(test)]
mod tests;
mod untag_log_group;
mod untag_resource;

use crate::dispatch::{Route, route};

pub const ROUTES: &[Route] = &[
    route!(logs, CreateLogGroupRequest, create_log_group::create_log_group, ignores["kmsKeyId"]),
    route!(logs, CreateLogStreamRequest, create_log_stream::create_log_stream),
    route!(logs, DeleteLogGroupRequest, delete_log_group::delete_log_group),
    route!(logs, DeleteLogStreamRequest, delete_log_stream::delete_log_stream),
    route!(logs, DeleteRetentionPolicyRequest, delete_retention_policy::delete_retention_policy),
    route!(
        logs,
        DescribeLogGroupsRequest,
        describe_log_groups::describe_log_groups,
        ignores["includeLinkedAccounts"]
    ),
    route!(logs, DescribeLogStreamsRequest, describe_log_streams::describe_log_streams),
    route!(
        logs,
        FilterLogEventsRequest,
        filter_log_events::filter_log_events,
        ignores ["interleaved", "unmask"]
    ),
    route!(logs, GetLogEventsRequest, get_log_events::get_log_events, ignores["unmask"]),
    route!(logs, ListTagsForResourceRequest, list_tags_for_resource::list_tags_for_resource),
    route!(logs, ListTagsLogGroupRequest, list_tags_log_group::list_tags_log_group),
    route!(
        logs,
        PutLogEventsRequest,
        put_log_events::put_log_events,
        ignores ["entity", "sequenceToken"]
    ),
    route!(logs, PutRetentionPolicyRequest, put_retention_policy::put_retention_policy),
    route!(logs, TagLogGroupRequest, tag_log_group::tag_log_group),
    route!(logs, TagResourceRequest, tag_resource::tag_resource),
    route!(logs, UntagLogGroupRequest, untag_log_group::untag_log_group),
    route!(logs, UntagResourceRequest, untag_resource::untag_resource),
];
