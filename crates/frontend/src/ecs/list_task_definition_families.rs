//! ListTaskDefinitionFamilies: families that begin with a prefix; a family is active as long as one
//! of its revisions is.

use super::definition;
use super::names::DefinitionName;
use super::page::Page;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::PAGE_ITEMS_MAX;
use model::task_definition::TaskDefinitionFamily;
use std::sync::Arc;
use wire::ecs::{
    ListTaskDefinitionFamiliesRequest, ListTaskDefinitionFamiliesResponse,
    TaskDefinitionFamilyStatus,
};

pub async fn list_task_definition_families(
    cx: &Context,
    _caller: &Caller,
    input: ListTaskDefinitionFamiliesRequest,
) -> Result<ListTaskDefinitionFamiliesResponse, Fault> {
    let prefix = input.family_prefix.as_deref().unwrap_or("");
    let status = input.status.as_ref().map(TaskDefinitionFamilyStatus::as_str);
    let filters = [Some("ListTaskDefinitionFamilies"), Some(prefix), status];
    let page = Page::new(&filters, input.next_token.as_deref(), input.max_results, PAGE_ITEMS_MAX)?;
    let snapshot = cx.store.snapshot();
    let wanted = |(_, family): &(&str, Arc<TaskDefinitionFamily>)| {
        let name = DefinitionName { family: family.family.clone(), revision: None };
        let active = || definition::find(&snapshot, &name).is_some();
        match &input.status {
            // Source: API reference: without a status, active and inactive families are listed.
            None | Some(TaskDefinitionFamilyStatus::All) => true,
            Some(TaskDefinitionFamilyStatus::Inactive) => !active(),
            Some(_) => active(),
        }
    };
    let after = page.after().unwrap_or("");
    let found = snapshot.scan_from::<TaskDefinitionFamily>(prefix, after).filter(wanted);
    let (found, next_token) = page.take(found, |(key, _)| key);
    let families = found.iter().map(|(key, _)| (*key).to_owned()).collect();
    Ok(ListTaskDefinitionFamiliesResponse { families: Some(families), next_token })
}
