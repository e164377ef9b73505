//! CreateLogStream: a stream that PutLogEvents can write to; it has no events yet.

use super::names::{check_group, check_stream, group_missing, transact};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::logs::{LogGroup, LogStream};
use store::kinds::log_stream_key;
use wire::NoOutput;
use wire::logs::{CreateLogStreamRequest, ErrorCode};

pub async fn create_log_stream(
    cx: &Context,
    _caller: &Caller,
    input: CreateLogStreamRequest,
) -> Result<NoOutput, Fault> {
    let group = input.log_group_name.unwrap_or_default();
    let name = input.log_stream_name.unwrap_or_default();
    check_group(&group, "logGroupName")?;
    check_stream(&name, "logStreamName")?;
    let created = cx.store.transact(|txn| {
        txn.get::<LogGroup>(&group).ok_or_else(group_missing)?;
        if txn.get::<LogStream>(&log_stream_key(&group, &name)).is_some() {
            let text = "The specified log stream already exists";
            return Err(ErrorCode::ResourceAlreadyExistsException.fault(text));
        }
        let (group, name) = (group.clone(), name.clone());
        txn.put(LogStream { group, name, created_at: cx.now() });
        Ok(())
    });
    created.await.map_err(transact)?;
    Ok(NoOutput)
}
