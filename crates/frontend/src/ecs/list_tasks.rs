//! ListTasks: a cluster's tasks by what is desired of them, RUNNING unless another is asked for.
//! PENDING is never desired, so asking for it finds nothing, as on AWS.

use super::page::Page;
use super::{clusters, service, tasks};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use crate::limits::PAGE_ITEMS_MAX;
use model::service::{SERVICE_GROUP_PREFIX, Service};
use model::task::Task;
use store::kinds::{service_key, task_key, task_prefix};
use wire::ecs::{DesiredStatus, LaunchType, ListTasksRequest, ListTasksResponse};

pub async fn list_tasks(
    cx: &Context,
    _caller: &Caller,
    input: ListTasksRequest,
) -> Result<ListTasksResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let cluster = clusters::active(cx, &snapshot, input.cluster.as_deref())?;
    let service = match input.service_name.as_deref() {
        None | Some("") => None,
        given => Some(service::name(&cx.locality, &cluster.name, given)?),
    };
    if let Some(name) = &service
        && snapshot.get::<Service>(&service_key(&cluster.name, name)).is_none()
    {
        return Err(service::not_found());
    }
    let group = service.map(|name| format!("{SERVICE_GROUP_PREFIX}{name}"));
    if input.daemon_name.is_some() {
        return Err(invalid_parameter("The specified daemon was not found."));
    }
    if input.container_instance.is_some() {
        // Tasks on Fargate are on no container instance.
        return Err(invalid_parameter("The specified container instance was not found."));
    }
    let desired = input.desired_status.unwrap_or(DesiredStatus::Running);
    let launch_type = input.launch_type.as_ref().map(LaunchType::as_str);
    let (family, started_by) = (input.family.as_deref(), input.started_by.as_deref());
    let filters = [
        Some("ListTasks"),
        Some(cluster.name.as_str()),
        Some(desired.as_str()),
        launch_type,
        family,
        started_by,
        group.as_deref(),
    ];
    let token = input.next_token.as_deref();
    let page = Page::new(&filters, token, input.max_results, PAGE_ITEMS_MAX)?;

    let prefix = task_prefix(&cluster.name);
    let after = page.after().map(|id| task_key(&cluster.name, &id.into()));
    let wanted = |task: &Task| {
        tasks::desired(task.facts.desired_status()) == desired.as_str()
            && launch_type.is_none_or(|wanted| wanted == "FARGATE")
            && family.is_none_or(|wanted| wanted == task.family.as_str())
            && started_by.is_none_or(|wanted| task.started_by.as_deref() == Some(wanted))
            && group.as_ref().is_none_or(|wanted| task.group == *wanted)
    };
    let found = snapshot
        .scan_from::<Task>(&prefix, after.as_deref().unwrap_or(""))
        .map(|(_, task)| task)
        .filter(|task| wanted(task));
    let (found, next_token) = page.take(found, |task| task.id.as_str());
    let arns = found.iter().map(|task| cx.locality.task(&task.cluster, &task.id)).collect();
    Ok(ListTasksResponse { task_arns: Some(arns), next_token })
}
