//! DescribeLogGroups: in the order of names.

use super::names::{group_missing, invalid, kept_from_ms, requested_group, storage, unknown_token};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::logs::{self, LogStream};
use std::sync::Arc;
use store::Snapshot;
use store::kinds::log_stream_prefix;
use wire::logs::{DescribeLogGroupsRequest, DescribeLogGroupsResponse, LogGroup};

/// Groups of one page when the caller names no number.
const PAGE_GROUPS: usize = 50;
/// Streams of a group that are counted for its `storedBytes`. AWS's number is late and rough too;
/// looking at every stream of a group with one for each task would make describing it slow.
const COUNTED_STREAMS_MAX: usize = 200;

pub async fn describe_log_groups(
    cx: &Context,
    _caller: &Caller,
    input: DescribeLogGroupsRequest,
) -> Result<DescribeLogGroupsResponse, Fault> {
    if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
        return Err(invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let cursor = Cursor::new(&[
        "DescribeLogGroups",
        &text(&input.log_group_name_prefix),
        &text(&input.log_group_name_pattern),
        &input.log_group_class.as_ref().map(ToString::to_string).unwrap_or_default(),
        &input.log_group_identifiers.as_deref().unwrap_or_default().join(","),
    ]);
    let after = cursor.after(input.next_token.as_deref(), unknown_token)?.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    let found = find(cx, &snapshot, &input, &after)?;
    let limit = page_items(input.limit, PAGE_GROUPS);
    let (page, next_token) = cursor.take(found.iter(), limit, |group| &group.name);
    let mut groups = Vec::with_capacity(page.len());
    for group in page {
        groups.push(show(cx, &snapshot, group).await?);
    }
    Ok(DescribeLogGroupsResponse { log_groups: Some(groups), next_token })
}

fn find(
    cx: &Context,
    snapshot: &Snapshot,
    input: &DescribeLogGroupsRequest,
    after: &str,
) -> Result<Vec<Arc<logs::LogGroup>>, Fault> {
    let account = cx.locality.account.as_str();
    let accounts = input.account_identifiers.as_deref().unwrap_or_default();
    if !accounts.is_empty() && !accounts.iter().any(|wanted| wanted == account) {
        return Ok(Vec::new());
    }
    let mut wanted = Vec::new();
    for identifier in input.log_group_identifiers.as_deref().unwrap_or_default() {
        let name = requested_group(cx, None, Some(identifier.clone()))?;
        if snapshot.get::<logs::LogGroup>(&name).is_none() {
            return Err(group_missing());
        }
        wanted.push(name);
    }
    let prefix = input.log_group_name_prefix.as_deref().unwrap_or_default();
    let pattern = input.log_group_name_pattern.as_deref().unwrap_or_default();
    let all = snapshot.scan_from::<logs::LogGroup>(prefix, after).map(|(_, group)| group);
    Ok(all
        .filter(|group| group.name.contains(pattern))
        .filter(|group| wanted.is_empty() || wanted.contains(&group.name))
        .filter(|group| {
            let class = input.log_group_class.as_ref().map(ToString::to_string);
            class.is_none_or(|class| class == group.class)
        })
        .collect())
}

async fn show(
    cx: &Context,
    snapshot: &Snapshot,
    group: &logs::LogGroup,
) -> Result<LogGroup, Fault> {
    let arn = cx.locality.log_group(&group.name);
    Ok(LogGroup {
        arn: Some(format!("{arn}:*")),
        creation_time: Some(group.created_at.0),
        deletion_protection_enabled: Some(false),
        kms_key_id: group.kms_key_id.clone(),
        log_group_arn: Some(arn),
        log_group_class: Some(group.class.as_str().into()),
        log_group_name: Some(group.name.clone()),
        metric_filter_count: Some(0),
        retention_in_days: group.retention_days.and_then(|days| i32::try_from(days).ok()),
        stored_bytes: Some(stored_bytes(cx, snapshot, group).await?),
        ..LogGroup::default()
    })
}

async fn stored_bytes(
    cx: &Context,
    snapshot: &Snapshot,
    group: &logs::LogGroup,
) -> Result<i64, Fault> {
    let prefix = log_stream_prefix(&group.name);
    let kept_from_ms = kept_from_ms(cx, group);
    let mut bytes = 0;
    for (_, stream) in snapshot.scan::<LogStream>(&prefix).take(COUNTED_STREAMS_MAX) {
        let stats = cx.logs.stats(&group.name, &stream.name).await;
        let stats = stats.map_err(|failure| storage(&failure))?;
        if stats.last_event_ms.is_some_and(|last_ms| last_ms >= kept_from_ms) {
            bytes += stats.stored_bytes;
        }
    }
    Ok(i64::try_from(bytes).unwrap_or(i64::MAX))
}
