//! DescribeTasks: in the order they were asked for; what isn't there is a failure, not a fault.

use super::{clusters, names, tasks};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use model::limits::DESCRIBE_IDS_MAX;
use model::task::Task;
use store::kinds::task_key;
use wire::ecs::{DescribeTasksRequest, DescribeTasksResponse, TaskField};

pub async fn describe_tasks(
    cx: &Context,
    _caller: &Caller,
    input: DescribeTasksRequest,
) -> Result<DescribeTasksResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let cluster = clusters::active(cx, &snapshot, input.cluster.as_deref())?;
    let given = input.tasks.unwrap_or_default();
    if given.is_empty() {
        return Err(invalid_parameter("Tasks cannot be empty."));
    }
    if given.len() > DESCRIBE_IDS_MAX {
        return Err(invalid_parameter("tasks can have at most 100 items."));
    }
    let with_tags = input.include.unwrap_or_default().contains(&TaskField::Tags);
    let (mut found, mut failures) = (Vec::with_capacity(given.len()), Vec::new());
    for text in &given {
        let id = names::task(&cx.locality, &cluster.name, text)?;
        match snapshot.get::<Task>(&task_key(&cluster.name, &id)) {
            Some(task) => found.push(tasks::show(cx, &snapshot, &task, with_tags)),
            None => failures.push(clusters::missing(cx.locality.task(&cluster.name, &id))),
        }
    }
    Ok(DescribeTasksResponse { tasks: Some(found), failures: Some(failures) })
}
