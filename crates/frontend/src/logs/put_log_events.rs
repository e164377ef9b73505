//! PutLogEvents: a batch of events in the order of their times. Events that are too old or too new
//! are left out and named; everything else that is wrong refuses the whole batch. Sequence tokens
//! have had no meaning for AWS since 2023 and have none here. Source: API reference, PutLogEvents.

use super::names::{
    DAY_MS, check_group, check_stream, find_group, find_stream, invalid, kept_from_ms, storage,
};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::Timestamp;
use std::ops::Range;
use store::limits::LOG_EVENT_OVERHEAD_BYTES;
use store::logs::LogEvent;
use wire::logs::{InputLogEvent, PutLogEventsRequest, PutLogEventsResponse, RejectedLogEventsInfo};

/// Messages of one batch together, with what each event costs.
const BATCH_BYTES_MAX: usize = 1_048_576;
/// How far an event may lie in the past and in the future.
const PAST_MS_MAX: i64 = 14 * DAY_MS;
const FUTURE_MS_MAX: i64 = 2 * 3600 * 1000;
/// From the first event of a batch to its last.
const SPAN_MS_MAX: i64 = DAY_MS;

pub async fn put_log_events(
    cx: &Context,
    _caller: &Caller,
    input: PutLogEventsRequest,
) -> Result<PutLogEventsResponse, Fault> {
    let group = input.log_group_name.unwrap_or_default();
    let stream = input.log_stream_name.unwrap_or_default();
    check_group(&group, "logGroupName")?;
    check_stream(&stream, "logStreamName")?;
    let mut events: Vec<LogEvent> =
        input.log_events.unwrap_or_default().into_iter().map(event).collect();
    check_batch(&events)?;
    let snapshot = cx.store.snapshot();
    let found = find_group(&snapshot, &group)?;
    find_stream(&snapshot, &group, &stream)?;
    let now = cx.now();
    let (accepted, rejected) = sort_out(&events, now, kept_from_ms(cx, &found));
    let span = &events[accepted.clone()];
    if let (Some(first), Some(last)) = (span.first(), span.last())
        && last.timestamp_ms - first.timestamp_ms > SPAN_MS_MAX
    {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than \
             24 hours.",
        ));
    }
    events.truncate(accepted.end);
    events.drain(..accepted.start);
    if !events.is_empty() {
        let stored = cx.logs.append(&group, &stream, None, events, now.0).await;
        stored.map_err(|failure| storage(&failure))?;
    }
    Ok(PutLogEventsResponse {
        next_sequence_token: Some(sequence_token(now)),
        rejected_log_events_info: rejected,
        ..PutLogEventsResponse::default()
    })
}

fn event(input: InputLogEvent) -> LogEvent {
    LogEvent {
        timestamp_ms: input.timestamp.unwrap_or_default(),
        message: input.message.unwrap_or_default(),
    }
}

fn check_batch(events: &[LogEvent]) -> Result<(), Fault> {
    let bytes: usize =
        events.iter().map(|event| event.message.len() + LOG_EVENT_OVERHEAD_BYTES).sum();
    if bytes > BATCH_BYTES_MAX {
        let text = format!("Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}");
        return Err(invalid(text));
    }
    if !events.is_sorted_by_key(|event| event.timestamp_ms) {
        return Err(invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    Ok(())
}

/// Which events are taken, and what is said of the others. The ends of what is too old or expired
/// are exclusive, the start of what is too new is inclusive.
fn sort_out(
    events: &[LogEvent],
    now: Timestamp,
    kept_from_ms: i64,
) -> (Range<usize>, Option<RejectedLogEventsInfo>) {
    let before = |ms: i64| events.partition_point(|event| event.timestamp_ms < ms);
    let index = |at: usize| Some(i32::try_from(at).unwrap_or(i32::MAX));
    let too_old = before(now.0 - PAST_MS_MAX);
    let expired = before(kept_from_ms);
    let too_new = before(now.0 + FUTURE_MS_MAX + 1);
    let rejected = RejectedLogEventsInfo {
        too_old_log_event_end_index: index(too_old).filter(|_| too_old > 0),
        expired_log_event_end_index: index(expired).filter(|_| expired > 0),
        too_new_log_event_start_index: index(too_new).filter(|_| too_new < events.len()),
    };
    let start = too_old.max(expired).min(too_new);
    let any = rejected != RejectedLogEventsInfo::default();
    (start..too_new, any.then_some(rejected))
}

/// Nobody reads it, but older SDKs insist on its being there.
pub fn sequence_token(now: Timestamp) -> String {
    format!("{:056}", now.0.max(0))
}
