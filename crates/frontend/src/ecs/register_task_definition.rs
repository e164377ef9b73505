//! RegisterTaskDefinition: the next revision of a family.

use super::definition::{self, Stored, attributes, check, fargate, template};
use super::{names, settings, size, tags};
use crate::context::{Caller, Context};
use crate::fault::{Fault, client};
use crate::tagging;
use model::limits::TASK_DEFINITION_BYTES_MAX;
use model::task_definition::{TaskDefinition, TaskDefinitionStatus};
use model::{Family, TaskDefinitionRevision};
use std::sync::Arc;
use wire::ecs::{RegisterTaskDefinitionRequest, RegisterTaskDefinitionResponse};

pub async fn register_task_definition(
    cx: &Context,
    caller: &Caller,
    mut input: RegisterTaskDefinitionRequest,
) -> Result<RegisterTaskDefinitionResponse, Fault> {
    let family = match input.family.take().unwrap_or_default() {
        family if names::is_name(&family) => Family::from(family),
        _ => return Err(client("Family contains invalid characters.")),
    };
    let tags = tags::RULES.read(input.tags.take())?;
    let stored = accept(input)?;
    let document = stored.to_document();
    let bytes = document.as_str().len();
    if bytes > TASK_DEFINITION_BYTES_MAX {
        return Err(client(format!(
            "Actual length: '{bytes}'. Max allowed length is '{TASK_DEFINITION_BYTES_MAX}' bytes."
        )));
    }
    let log_mode = settings::effective(cx, caller, settings::DEFAULT_LOG_DRIVER_MODE);
    let template = Arc::new(template::template(&stored, log_mode == settings::NON_BLOCKING));
    plan::check_dependencies(&template).map_err(|fault| client(fault.to_string()))?;

    let made = TaskDefinition {
        family,
        revision: TaskDefinitionRevision(0),
        status: TaskDefinitionStatus::Active,
        registered_at: cx.now(),
        registered_by: caller.principal_arn.to_string(),
        deregistered_at: None,
        delete_requested_at: None,
        document,
        template,
        tags,
    };
    let made = cx.family_queues.register(cx, made).await?;
    Ok(RegisterTaskDefinitionResponse {
        tags: Some(tagging::show(&made.tags)),
        task_definition: Some(definition::describe(
            cx,
            &made,
            attributes::required(&stored),
            attributes::compatibilities(&stored),
            stored,
        )),
    })
}

/// Checks what was given and fills in what was not.
fn accept(input: RegisterTaskDefinitionRequest) -> Result<Stored, Fault> {
    let mut stored = Stored::from_request(input);
    stored.fill_defaults();
    // No role, as ECS takes it: ecs-deploy sends empty ones for a definition that has none.
    for role in [&mut stored.task_role_arn, &mut stored.execution_role_arn] {
        role.take_if(|role| role.is_empty());
    }
    if let Some(text) = stored.cpu.take() {
        let units = size::parse_cpu_units(&text);
        let units = units.ok_or_else(|| client("Invalid 'cpu' setting for task."))?;
        stored.cpu = Some(units.to_string());
    }
    if let Some(text) = stored.memory.take() {
        let mib = size::parse_memory_mib(&text);
        let mib = mib.ok_or_else(|| client("Invalid 'memory' setting for task."))?;
        stored.memory = Some(mib.to_string());
    }
    check::check(&stored)?;
    if stored.requires_fargate()
        && let Some(problem) = fargate::problem(&stored)
    {
        return Err(client(problem));
    }
    Ok(stored)
}
