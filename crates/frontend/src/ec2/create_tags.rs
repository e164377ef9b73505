//! CreateTags: tags for up to many resources at once, all or none.

use super::change::invalid;
use super::describe::dry_run;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::TAGGED_RESOURCES_MAX;
use wire::NoOutput;
use wire::ec2::CreateTagsRequest;

pub async fn create_tags(
    cx: &Context,
    _caller: &Caller,
    input: CreateTagsRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    let resources = input.resources.unwrap_or_default();
    let tags = input.tags.unwrap_or_default();
    check_resources(&resources)?;
    cx.transact(|txn| {
        for id in &resources {
            let add = |known: &mut model::Tags| {
                tagged::add(known, tags.clone())?;
                tagged::check_count(known)
            };
            if !tagged::change(txn, id, &add)? {
                return Err(no_resource(id));
            }
        }
        Ok(NoOutput)
    })
    .await
}

pub fn check_resources(resources: &[String]) -> Result<(), Fault> {
    if resources.len() > TAGGED_RESOURCES_MAX {
        return Err(invalid(format!(
            "At most {TAGGED_RESOURCES_MAX} resources can be tagged at once"
        )));
    }
    Ok(())
}

pub fn no_resource(id: &str) -> Fault {
    Fault::client("InvalidID", format!("The ID '{id}' is not valid"))
}
