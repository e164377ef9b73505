//! StopTask: one new fact, `desired = STOPPED`; the rest follows. Stopping a stopped task is no
//! error.

use super::{clusters, names, tasks};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use crate::limits::STOP_REASON_CHARS_MAX;
use model::task::{StopCode, Task};
use std::sync::Arc;
use store::kinds::task_key;
use wire::ecs::{StopTaskRequest, StopTaskResponse};

const REASON_DEFAULT: &str = "Task stopped by user";

pub async fn stop_task(
    cx: &Context,
    _caller: &Caller,
    input: StopTaskRequest,
) -> Result<StopTaskResponse, Fault> {
    let cluster = names::cluster(&cx.locality, input.cluster.as_deref())?;
    clusters::active(cx, &cx.store.snapshot(), Some(cluster.as_str()))?;
    let text = input.task.as_deref().unwrap_or("");
    let key = task_key(&cluster, &names::task(&cx.locality, &cluster, text)?);
    let reason = input.reason.as_deref().filter(|reason| !reason.is_empty());
    let reason = reason.unwrap_or(REASON_DEFAULT);
    if reason.chars().count() > STOP_REASON_CHARS_MAX {
        return Err(invalid_parameter("reason length should be at most 1024"));
    }
    let now = cx.now();
    let task = cx
        .transact(|txn| {
            let found = txn.get::<Task>(&key);
            let found =
                found.ok_or_else(|| invalid_parameter("The referenced task was not found."))?;
            let mut task = (*found).clone();
            if !task.request_stop(StopCode::UserInitiated, reason, now) {
                return Ok(found);
            }
            let task = Arc::new(task);
            txn.put_arc(Arc::clone(&task));
            Ok(task)
        })
        .await?;
    let shown = tasks::show(cx, &cx.store.snapshot(), &task, true);
    Ok(StopTaskResponse { task: Some(shown) })
}
