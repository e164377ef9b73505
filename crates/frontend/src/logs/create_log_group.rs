//! CreateLogGroup: an empty group whose events are kept for ever.

use super::names::{check_group, invalid, transact};
use super::tags;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::logs::{LogGroup, LogStream};
use store::kinds::log_stream_prefix;
use wire::NoOutput;
use wire::logs::{CreateLogGroupRequest, ErrorCode};

pub async fn create_log_group(
    cx: &Context,
    _caller: &Caller,
    input: CreateLogGroupRequest,
) -> Result<NoOutput, Fault> {
    let name = input.log_group_name.unwrap_or_default();
    check_group(&name, "logGroupName")?;
    if input.deletion_protection_enabled == Some(true) {
        // Taking it and deleting the group all the same would be worse than saying so.
        return Err(invalid("Deletion protection is not supported by Neargate"));
    }
    let tags = input.tags.unwrap_or_default();
    tags::RULES.check_all(&tags)?;
    let class = input.log_group_class.map_or("STANDARD".to_owned(), |class| class.to_string());
    // Streams that an interrupted DeleteLogGroup left must not appear in the new group.
    let left = log_stream_prefix(&name);
    if cx.store.snapshot().scan::<LogStream>(&left).next().is_some() {
        super::delete_log_group::sweep(cx, &name).await?;
    }
    let created = cx.store.transact(|txn| {
        if txn.get::<LogGroup>(&name).is_some() {
            let text = "The specified log group already exists";
            return Err(ErrorCode::ResourceAlreadyExistsException.fault(text));
        }
        txn.put(LogGroup {
            name: name.clone(),
            created_at: cx.now(),
            retention_days: None,
            class: class.clone(),
            kms_key_id: input.kms_key_id.clone(),
            tags: tags.clone(),
        });
        Ok(())
    });
    created.await.map_err(transact)?;
    Ok(NoOutput)
}
