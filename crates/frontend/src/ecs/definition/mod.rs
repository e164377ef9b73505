//! Task definitions: how one is checked, kept, found and shown.

pub mod attributes;
pub mod check;
pub mod fargate;
pub mod stored;
pub mod template;
pub mod unhonoured;

pub use stored::Stored;

use super::names::DefinitionName;
use super::time;
use crate::context::Context;
use crate::tagging;
use model::TaskDefinitionRevision;
use model::task_definition::{TaskDefinition, TaskDefinitionFamily, TaskDefinitionStatus};
use std::sync::Arc;
use store::Snapshot;
use store::kinds::task_definition_key;
use wire::ecs;

/// The definition of this name: of a family alone the newest active revision.
pub fn find(snapshot: &Snapshot, name: &DefinitionName) -> Option<Arc<TaskDefinition>> {
    if let Some(revision) = name.revision {
        let key = task_definition_key(&name.family, revision);
        return snapshot.get::<TaskDefinition>(&key).map(|found| found.value);
    }
    let newest = snapshot.get::<TaskDefinitionFamily>(name.family.as_str())?.newest;
    // Downwards from the newest: only deregistered ones are passed over.
    (1..=newest.0).rev().find_map(|revision| {
        let key = task_definition_key(&name.family, TaskDefinitionRevision(revision));
        let found = snapshot.get::<TaskDefinition>(&key)?.value;
        (found.status == TaskDefinitionStatus::Active).then_some(found)
    })
}

/// The whole definition as DescribeTaskDefinition shows it. Tags are shown beside it, not in it.
pub fn show(cx: &Context, definition: &TaskDefinition) -> ecs::TaskDefinition {
    let stored = Stored::from_document(&definition.document);
    let required = attributes::required(&stored);
    let compatibilities = attributes::compatibilities(&stored);
    describe(cx, definition, required, compatibilities, stored)
}

/// `show` for who has the document read already.
pub fn describe(
    cx: &Context,
    definition: &TaskDefinition,
    required: Vec<ecs::Attribute>,
    compatibilities: Vec<ecs::Compatibility>,
    stored: Stored,
) -> ecs::TaskDefinition {
    ecs::TaskDefinition {
        task_definition_arn: Some(arn(cx, definition)),
        family: Some(definition.family.to_string()),
        revision: i32::try_from(definition.revision.0).ok(),
        status: Some(match definition.status {
            TaskDefinitionStatus::Active => ecs::TaskDefinitionStatus::Active,
            TaskDefinitionStatus::Inactive => ecs::TaskDefinitionStatus::Inactive,
            TaskDefinitionStatus::DeleteInProgress => ecs::TaskDefinitionStatus::DeleteInProgress,
        }),
        requires_attributes: Some(required),
        compatibilities: Some(compatibilities),
        registered_at: Some(time(definition.registered_at)),
        registered_by: Some(definition.registered_by.clone()),
        deregistered_at: definition.deregistered_at.map(time),
        delete_requested_at: definition.delete_requested_at.map(time),
        ..stored.into_wire()
    }
}

pub fn arn(cx: &Context, definition: &TaskDefinition) -> String {
    cx.locality.task_definition(&definition.family, definition.revision)
}

/// The tags if the call asked for them.
pub fn shown_tags(
    definition: &TaskDefinition,
    include: Option<&[ecs::TaskDefinitionField]>,
) -> Option<Vec<ecs::Tag>> {
    let wanted = include.unwrap_or_default().contains(&ecs::TaskDefinitionField::Tags);
    wanted.then(|| tagging::show(&definition.tags))
}
