//! DescribeLogStreams: by name, or by the time of the last event.

use super::names::{find_group, invalid, requested_group, storage, stream_arn, unknown_token};
use super::put_log_events::sequence_token;
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::Timestamp;
use model::logs;
use std::sync::Arc;
use store::Snapshot;
use store::kinds::log_stream_prefix;
use store::logs::StreamStats;
use wire::logs::{DescribeLogStreamsRequest, DescribeLogStreamsResponse, LogStream, OrderBy};

/// Streams of one page when the caller names no number.
const PAGE_STREAMS: usize = 50;

/// A stream and where it stands in the order asked for.
struct Ranked {
    /// Sorts as the order asked for: the name, or the last event's time and then the name.
    rank: String,
    stream: Arc<logs::LogStream>,
}

pub async fn describe_log_streams(
    cx: &Context,
    _caller: &Caller,
    input: DescribeLogStreamsRequest,
) -> Result<DescribeLogStreamsResponse, Fault> {
    let group = requested_group(cx, input.log_group_name, input.log_group_identifier)?;
    let by_time = input.order_by == Some(OrderBy::LastEventTime);
    let descending = input.descending.unwrap_or(false);
    let prefix = input.log_stream_name_prefix.unwrap_or_default();
    if by_time && !prefix.is_empty() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let snapshot = cx.store.snapshot();
    find_group(&snapshot, &group)?;
    let order = format!("{by_time} {descending}");
    let cursor = Cursor::new(&["DescribeLogStreams", &group, &prefix, &order]);
    let after = cursor.after(input.next_token.as_deref(), unknown_token)?;
    let mut ranked = rank(cx, &snapshot, &group, &prefix, by_time).await?;
    if by_time {
        ranked.sort_by(|a, b| a.rank.cmp(&b.rank));
    }
    if descending {
        ranked.reverse();
    }
    if let Some(after) = after {
        ranked.retain(|it| if descending { it.rank < after } else { it.rank > after });
    }
    let limit = page_items(input.limit, PAGE_STREAMS);
    let (page, next_token) = cursor.take(ranked.into_iter(), limit, |it| &it.rank);
    let mut streams = Vec::with_capacity(page.len());
    for Ranked { stream, .. } in page {
        let stats = stats(cx, &stream).await?;
        streams.push(show(cx, &stream, stats));
    }
    Ok(DescribeLogStreamsResponse { log_streams: Some(streams), next_token })
}

async fn rank(
    cx: &Context,
    snapshot: &Snapshot,
    group: &str,
    prefix: &str,
    by_time: bool,
) -> Result<Vec<Ranked>, Fault> {
    let key = log_stream_prefix(group) + prefix;
    let mut ranked = Vec::new();
    for (_, stream) in snapshot.scan::<logs::LogStream>(&key) {
        let rank = match by_time {
            false => stream.name.clone(),
            true => {
                let last_ms = stats(cx, &stream).await?.last_event_ms.unwrap_or(0).max(0);
                format!("{last_ms:020}:{}", stream.name)
            }
        };
        ranked.push(Ranked { rank, stream });
    }
    Ok(ranked)
}

async fn stats(cx: &Context, stream: &logs::LogStream) -> Result<StreamStats, Fault> {
    let stats = cx.logs.stats(&stream.group, &stream.name).await;
    stats.map_err(|failure| storage(&failure))
}

/// A stream with events has all three times, one without has none. `storedBytes` of a stream has
/// been 0 on AWS since 2019; that of the group is the one to read.
fn show(cx: &Context, stream: &logs::LogStream, stats: StreamStats) -> LogStream {
    let token = stats.last_ingestion_ms.map(|ms| sequence_token(Timestamp(ms)));
    LogStream {
        arn: Some(stream_arn(cx, &stream.group, &stream.name)),
        creation_time: Some(stream.created_at.0),
        first_event_timestamp: stats.first_event_ms,
        last_event_timestamp: stats.last_event_ms,
        last_ingestion_time: stats.last_ingestion_ms.filter(|_| stats.last_event_ms.is_some()),
        log_stream_name: Some(stream.name.clone()),
        stored_bytes: Some(0),
        upload_sequence_token: token,
    }
}
