//! DeleteLogStream: the record first, which hides the events, then the events.

use super::names::{check_group, check_stream, group_missing, storage, stream_missing, transact};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::logs::{LogGroup, LogStream};
use store::kinds::log_stream_key;
use wire::NoOutput;
use wire::logs::DeleteLogStreamRequest;

pub async fn delete_log_stream(
    cx: &Context,
    _caller: &Caller,
    input: DeleteLogStreamRequest,
) -> Result<NoOutput, Fault> {
    let group = input.log_group_name.unwrap_or_default();
    let name = input.log_stream_name.unwrap_or_default();
    check_group(&group, "logGroupName")?;
    check_stream(&name, "logStreamName")?;
    let key = log_stream_key(&group, &name);
    let deleted = cx.store.transact(|txn| {
        txn.get::<LogGroup>(&group).ok_or_else(group_missing)?;
        txn.get::<LogStream>(&key).ok_or_else(stream_missing)?;
        txn.delete::<LogStream>(&key);
        Ok(())
    });
    deleted.await.map_err(transact)?;
    cx.logs.delete_stream(&group, &name).await.map_err(|failure| storage(&failure))?;
    Ok(NoOutput)
}
