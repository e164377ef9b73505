//! DeleteTags: by key, by key and value, or all.

use super::create_tags::{check_resources, no_resource};
use super::describe::dry_run;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::NoOutput;
use wire::ec2::DeleteTagsRequest;

pub async fn delete_tags(
    cx: &Context,
    _caller: &Caller,
    input: DeleteTagsRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    let resources = input.resources.unwrap_or_default();
    check_resources(&resources)?;
    let unwanted = input.tags.unwrap_or_default();
    cx.transact(|txn| {
        let remove = |known: &mut model::Tags| {
            // Without tags all go; one without a value goes whatever its value is.
            known.retain(|key, value| {
                let goes = unwanted.iter().any(|tag| {
                    tag.key.as_ref() == Some(key) && tag.value.as_ref().is_none_or(|it| it == value)
                });
                !(unwanted.is_empty() || goes)
            });
            Ok(())
        };
        for id in &resources {
            if !tagged::change(txn, id, &remove)? {
                return Err(no_resource(id));
            }
        }
        Ok(NoOutput)
    })
    .await
}
