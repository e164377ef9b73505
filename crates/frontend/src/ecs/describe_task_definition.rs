//! DescribeTaskDefinition: any revision, also an inactive one; of a family alone the newest active
//! one.

use super::{definition, names};
use crate::context::{Caller, Context};
use crate::fault::{Fault, client};
use wire::ecs::{DescribeTaskDefinitionRequest, DescribeTaskDefinitionResponse};

pub async fn describe_task_definition(
    cx: &Context,
    _caller: &Caller,
    input: DescribeTaskDefinitionRequest,
) -> Result<DescribeTaskDefinitionResponse, Fault> {
    let text = input.task_definition.as_deref().unwrap_or("");
    let name = names::task_definition(&cx.locality, text)?;
    let found = definition::find(&cx.store.snapshot(), &name)
        .ok_or_else(|| client("Unable to describe task definition."))?;
    Ok(DescribeTaskDefinitionResponse {
        tags: definition::shown_tags(&found, input.include.as_deref()),
        task_definition: Some(definition::show(cx, &found)),
    })
}
