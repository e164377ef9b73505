//! GetLogEvents: one stream, page by page in either direction. At an end of the stream the token
//! that was sent comes back, which is how clients know that they have seen everything.

use super::names::{
    check_stream, find_group, find_stream, kept_from_ms, requested_group, storage, unknown_token,
};
use super::place::{backward_token, forward_token, page_start};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use store::logs::{PageLimit, PageStart, StoredEvent, TimeRange};
use wire::logs::{GetLogEventsRequest, GetLogEventsResponse, OutputLogEvent};

/// Events and bytes of one page. Source: API reference, GetLogEvents.
pub const PAGE_EVENTS_MAX: usize = 10_000;
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

pub async fn get_log_events(
    cx: &Context,
    _caller: &Caller,
    input: GetLogEventsRequest,
) -> Result<GetLogEventsResponse, Fault> {
    let group = requested_group(cx, input.log_group_name, input.log_group_identifier)?;
    let stream = input.log_stream_name.unwrap_or_default();
    check_stream(&stream, "logStreamName")?;
    let snapshot = cx.store.snapshot();
    let found = find_group(&snapshot, &group)?;
    find_stream(&snapshot, &group, &stream)?;
    let start = match &input.next_token {
        Some(token) => page_start(&stream, token).ok_or_else(unknown_token)?,
        None if input.start_from_head == Some(true) => PageStart::Head,
        None => PageStart::Tail,
    };
    let range = time_range(input.start_time, input.end_time, kept_from_ms(cx, &found));
    let limit = page_limit(input.limit);
    let page = cx.logs.read(&group, &stream, start, range, limit).await;
    let page = page.map_err(|failure| storage(&failure))?;
    Ok(GetLogEventsResponse {
        events: Some(page.events.into_iter().map(show).collect()),
        next_backward_token: Some(backward_token(&stream, page.backward)),
        next_forward_token: Some(forward_token(&stream, page.forward)),
    })
}

/// From `start_ms`, inclusive, to `end_ms`, exclusive, but nothing that retention has let go.
pub fn time_range(start_ms: Option<i64>, end_ms: Option<i64>, kept_from_ms: i64) -> TimeRange {
    let start_ms = start_ms.unwrap_or(i64::MIN).max(kept_from_ms);
    TimeRange { start_ms, end_ms: end_ms.unwrap_or(i64::MAX).max(start_ms) }
}

pub fn page_limit(limit: Option<i32>) -> PageLimit {
    let events_max = limit.and_then(|limit| usize::try_from(limit).ok());
    PageLimit {
        events_max: events_max.unwrap_or(PAGE_EVENTS_MAX).min(PAGE_EVENTS_MAX),
        bytes_max: PAGE_BYTES_MAX,
    }
}

fn show(event: StoredEvent) -> OutputLogEvent {
    OutputLogEvent {
        ingestion_time: Some(event.ingestion_ms),
        message: Some(event.message),
        timestamp: Some(event.position.timestamp_ms),
    }
}
