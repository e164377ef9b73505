//! DeregisterTaskDefinition: one revision becomes INACTIVE. What runs of it goes on.

use super::{definition, names};
use crate::context::{Caller, Context};
use crate::fault::{Fault, client};
use model::task_definition::{TaskDefinition, TaskDefinitionStatus};
use std::sync::Arc;
use store::kinds::task_definition_key;
use wire::ecs::{DeregisterTaskDefinitionRequest, DeregisterTaskDefinitionResponse};

pub async fn deregister_task_definition(
    cx: &Context,
    _caller: &Caller,
    input: DeregisterTaskDefinitionRequest,
) -> Result<DeregisterTaskDefinitionResponse, Fault> {
    let text = input.task_definition.as_deref().unwrap_or("");
    let name = names::task_definition(&cx.locality, text)?;
    let Some(revision) = name.revision else {
        return Err(client("Revision is missing."));
    };
    let key = task_definition_key(&name.family, revision);
    let now = cx.now();
    let changed = cx
        .transact(|txn| {
            let found = txn.get::<TaskDefinition>(&key);
            let found = found.ok_or_else(|| client("Unable to describe task definition."))?;
            if found.status != TaskDefinitionStatus::Active {
                return Ok(found);
            }
            let changed = Arc::new(TaskDefinition {
                status: TaskDefinitionStatus::Inactive,
                deregistered_at: Some(now),
                ..(*found).clone()
            });
            txn.put_arc(Arc::clone(&changed));
            Ok(changed)
        })
        .await?;
    let shown = definition::show(cx, &changed);
    Ok(DeregisterTaskDefinitionResponse { task_definition: Some(shown) })
}
