//! DeleteLogGroup: the group goes at once and with it everything in it goes from sight; its
//! streams' records follow in portions, since a transaction is bounded, and its events last.

use super::names::{check_group, group_missing, storage, transact};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::logs::{LogGroup, LogStream};
use store::kinds::log_stream_prefix;
use wire::NoOutput;
use wire::logs::DeleteLogGroupRequest;

/// Streams whose records one transaction removes.
const PORTION_STREAMS: usize = 100;

pub async fn delete_log_group(
    cx: &Context,
    _caller: &Caller,
    input: DeleteLogGroupRequest,
) -> Result<NoOutput, Fault> {
    let name = input.log_group_name.unwrap_or_default();
    check_group(&name, "logGroupName")?;
    let deleted = cx.store.transact(|txn| {
        txn.get::<LogGroup>(&name).ok_or_else(group_missing)?;
        txn.delete::<LogGroup>(&name);
        Ok(())
    });
    deleted.await.map_err(transact)?;
    cx.logs.delete_group(&name).await.map_err(|failure| storage(&failure))?;
    sweep(cx, &name).await?;
    Ok(NoOutput)
}

/// Removes the streams of a group that is no more. Stops when the group is made anew: whoever makes
/// it sweeps first.
pub async fn sweep(cx: &Context, group: &str) -> Result<(), Fault> {
    let prefix = log_stream_prefix(group);
    loop {
        let swept = cx.store.transact(|txn| {
            if txn.get::<LogGroup>(group).is_some() {
                return Ok(0);
            }
            let snapshot = txn.snapshot().clone();
            let keys = snapshot.scan::<LogStream>(&prefix).map(|(key, _)| key);
            let keys: Vec<&str> = keys.take(PORTION_STREAMS).collect();
            for key in &keys {
                txn.delete::<LogStream>(key);
            }
            Ok(keys.len())
        });
        let (count, _) = swept.await.map_err(transact)?;
        if count < PORTION_STREAMS {
            return Ok(());
        }
    }
}
