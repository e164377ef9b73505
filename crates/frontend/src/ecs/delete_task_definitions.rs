//! DeleteTaskDefinitions: inactive revisions are marked for deletion. They stay describable as long
//! as a task refers to them; their numbers are never used again.

use super::{clusters, definition, names};
use crate::context::{Caller, Context};
use crate::fault::{Fault, client, invalid_parameter};
use crate::limits::DELETE_TASK_DEFINITIONS_MAX;
use model::Timestamp;
use model::task_definition::{TaskDefinition, TaskDefinitionStatus};
use std::sync::Arc;
use store::Txn;
use store::kinds::task_definition_key;
use wire::ecs::{DeleteTaskDefinitionsRequest, DeleteTaskDefinitionsResponse, Failure};

pub async fn delete_task_definitions(
    cx: &Context,
    _caller: &Caller,
    input: DeleteTaskDefinitionsRequest,
) -> Result<DeleteTaskDefinitionsResponse, Fault> {
    let given = input.task_definitions.unwrap_or_default();
    if given.is_empty() {
        return Err(invalid_parameter("Task definitions can not be empty."));
    }
    if given.len() > DELETE_TASK_DEFINITIONS_MAX {
        return Err(invalid_parameter("taskDefinitions can have at most 10 items."));
    }
    let mut wanted = Vec::with_capacity(given.len());
    for text in &given {
        let name = names::task_definition(&cx.locality, text)?;
        let revision = name.revision.ok_or_else(|| client("Revision is missing."))?;
        wanted.push((name.family, revision));
    }
    let now = cx.now();
    let (deleted, failures) = cx
        .transact(|txn| {
            let (mut deleted, mut failures) = (Vec::new(), Vec::new());
            for (family, revision) in &wanted {
                match delete(txn, &task_definition_key(family, *revision), now) {
                    Ok(found) => deleted.push(found),
                    Err(reason) => {
                        let arn = cx.locality.task_definition(family, *revision);
                        let reason = Some(reason.to_owned());
                        failures.push(Failure { reason, ..clusters::missing(arn) });
                    }
                }
            }
            Ok((deleted, failures))
        })
        .await?;
    Ok(DeleteTaskDefinitionsResponse {
        task_definitions: Some(deleted.iter().map(|found| definition::show(cx, found)).collect()),
        failures: Some(failures),
    })
}

/// Or the reason of the failure, in AWS's words.
fn delete(txn: &mut Txn, key: &str, now: Timestamp) -> Result<Arc<TaskDefinition>, &'static str> {
    let found =
        txn.get::<TaskDefinition>(key).ok_or("The specified task definition does not exist.")?;
    match found.status {
        TaskDefinitionStatus::DeleteInProgress => Ok(found),
        TaskDefinitionStatus::Active => Err(
            "The specified task definition is still in ACTIVE status. Please deregister the target \
             and try again.",
        ),
        TaskDefinitionStatus::Inactive => {
            let changed = Arc::new(TaskDefinition {
                status: TaskDefinitionStatus::DeleteInProgress,
                delete_requested_at: Some(now),
                ..(*found).clone()
            });
            txn.put_arc(Arc::clone(&changed));
            Ok(changed)
        }
    }
}
