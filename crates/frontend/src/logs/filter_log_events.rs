//! FilterLogEvents: the events of a group's streams that match a pattern, merged by time.

use super::get_log_events::{page_limit, time_range};
use super::names::{
    check_stream, find_group, find_stream, invalid, kept_from_ms, requested_group, storage,
    unknown_token,
};
use super::pattern::Pattern;
use super::place::event_id;
use crate::context::{Caller, Context};
use crate::cursor::Cursor;
use crate::fault::Fault;
use model::logs::LogStream;
use store::Snapshot;
use store::kinds::log_stream_prefix;
use store::logs::{FilterPosition, FilteredEvent};
use wire::logs::{FilterLogEventsRequest, FilterLogEventsResponse, FilteredLogEvent};

pub async fn filter_log_events(
    cx: &Context,
    _caller: &Caller,
    input: FilterLogEventsRequest,
) -> Result<FilterLogEventsResponse, Fault> {
    let pattern = Pattern::parse(input.filter_pattern.as_deref().unwrap_or_default());
    let pattern = pattern.map_err(|bad| invalid(bad.to_string()))?;
    let cursor = Cursor::new(&[
        "FilterLogEvents",
        input.log_group_name.as_deref().unwrap_or_default(),
        input.log_group_identifier.as_deref().unwrap_or_default(),
        input.filter_pattern.as_deref().unwrap_or_default(),
        input.log_stream_name_prefix.as_deref().unwrap_or_default(),
        &input.log_stream_names.as_deref().unwrap_or_default().join(":"),
    ]);
    let group = requested_group(cx, input.log_group_name, input.log_group_identifier)?;
    let snapshot = cx.store.snapshot();
    let found = find_group(&snapshot, &group)?;
    let prefix = input.log_stream_name_prefix.as_deref();
    let streams = streams(&snapshot, &group, input.log_stream_names, prefix)?;
    let after = match input.next_token.as_deref() {
        None => None,
        Some(token) => {
            Some(cursor.open(token).and_then(|text| read_place(&text)).ok_or_else(unknown_token)?)
        }
    };
    let range = time_range(input.start_time, input.end_time, kept_from_ms(cx, &found));
    let limit = page_limit(input.limit);
    let wanted = move |event: &store::logs::LogEvent| pattern.matches(&event.message);
    let page = cx.logs.filter(&group, streams, after, range, limit, wanted).await;
    let page = page.map_err(|failure| storage(&failure))?;
    Ok(FilterLogEventsResponse {
        events: Some(page.events.into_iter().map(show).collect()),
        next_token: page.next.map(|place| cursor.seal(&write_place(&place))),
        // AWS has answered an empty list since 2019.
        searched_log_streams: Some(Vec::new()),
    })
}

fn streams(
    snapshot: &Snapshot,
    group: &str,
    names: Option<Vec<String>>,
    prefix: Option<&str>,
) -> Result<Vec<String>, Fault> {
    match (names, prefix) {
        (Some(_), Some(_)) => Err(invalid(
            "logStreamNamePrefix and logStreamNames are mutually exclusive parameters.",
        )),
        (Some(mut names), None) => {
            for name in &names {
                check_stream(name, "logStreamNames")?;
                find_stream(snapshot, group, name)?;
            }
            names.sort();
            names.dedup();
            Ok(names)
        }
        (None, prefix) => {
            let prefix = log_stream_prefix(group) + prefix.unwrap_or_default();
            let found = snapshot.scan::<LogStream>(&prefix);
            Ok(found.map(|(_, stream)| stream.name.clone()).collect())
        }
    }
}

fn write_place(place: &FilterPosition) -> String {
    format!("{}:{}:{}", place.timestamp_ms, place.sequence, place.stream)
}

fn read_place(text: &str) -> Option<FilterPosition> {
    let mut parts = text.splitn(3, ':');
    let timestamp_ms = parts.next()?.parse().ok()?;
    let sequence = parts.next()?.parse().ok()?;
    let stream = parts.next()?.to_owned();
    Some(FilterPosition { timestamp_ms, stream, sequence })
}

fn show(found: FilteredEvent) -> FilteredLogEvent {
    let FilteredEvent { stream, event } = found;
    FilteredLogEvent {
        event_id: Some(event_id(&stream, event.position)),
        ingestion_time: Some(event.ingestion_ms),
        log_stream_name: Some(stream),
        message: Some(event.message),
        timestamp: Some(event.position.timestamp_ms),
    }
}
