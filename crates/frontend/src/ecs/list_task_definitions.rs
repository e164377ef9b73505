//! ListTaskDefinitions: revisions by family and number. `familyPrefix` is, in spite of its name, a
//! whole family.

use super::definition;
use super::page::Page;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::PAGE_ITEMS_MAX;
use model::Family;
use model::task_definition::{TaskDefinition, TaskDefinitionStatus};
use std::sync::Arc;
use store::kinds::task_definition_prefix;
use wire::ecs::{self, ListTaskDefinitionsRequest, ListTaskDefinitionsResponse};

pub async fn list_task_definitions(
    cx: &Context,
    _caller: &Caller,
    input: ListTaskDefinitionsRequest,
) -> Result<ListTaskDefinitionsResponse, Fault> {
    let status = match input.status {
        Some(ecs::TaskDefinitionStatus::Inactive) => TaskDefinitionStatus::Inactive,
        Some(ecs::TaskDefinitionStatus::DeleteInProgress) => TaskDefinitionStatus::DeleteInProgress,
        _ => TaskDefinitionStatus::Active,
    };
    let descending = input.sort == Some(ecs::SortOrder::Desc);
    let family = input.family_prefix.as_deref().filter(|family| !family.is_empty());
    let filters = [
        Some("ListTaskDefinitions"),
        family,
        input.status.as_ref().map(ecs::TaskDefinitionStatus::as_str),
        descending.then_some("DESC"),
    ];
    let page = Page::new(&filters, input.next_token.as_deref(), input.max_results, PAGE_ITEMS_MAX)?;

    let prefix =
        family.map_or_else(String::new, |family| task_definition_prefix(&Family::from(family)));
    let snapshot = cx.store.snapshot();
    let wanted = |(_, found): &(&str, Arc<TaskDefinition>)| found.status == status;
    let (found, next_token) = if descending {
        let mut found: Vec<_> = snapshot.scan::<TaskDefinition>(&prefix).filter(wanted).collect();
        found.reverse();
        page.take_sorted(found, true, |(key, _)| key)
    } else {
        let after = page.after().unwrap_or("");
        page.take(
            snapshot.scan_from::<TaskDefinition>(&prefix, after).filter(wanted),
            |(key, _)| key,
        )
    };
    let arns = found.iter().map(|(_, found)| definition::arn(cx, found)).collect();
    Ok(ListTaskDefinitionsResponse { task_definition_arns: Some(arns), next_token })
}
