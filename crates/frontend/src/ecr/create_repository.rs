//! CreateRepository: an empty repository; nothing can be pushed to one that was not made.

use super::repositories::{named, show, wanted_mutability};
use super::{delete_repository, tags};
use crate::context::{Caller, Context};
use crate::fault::{self, Fault};
use model::image::Repository;
use wire::ecr::{
    CreateRepositoryRequest, CreateRepositoryResponse, EncryptionConfiguration, EncryptionType,
    ErrorCode,
};

pub async fn create_repository(
    cx: &Context,
    caller: &Caller,
    input: CreateRepositoryRequest,
) -> Result<CreateRepositoryResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let (immutable_tags, tag_exclusions) = wanted_mutability(
        input.image_tag_mutability.as_ref(),
        input.image_tag_mutability_exclusion_filters,
    )?;
    check_encryption(input.encryption_configuration.as_ref())?;
    let scanning = input.image_scanning_configuration;
    let repository = Repository {
        name: name.clone(),
        created_at: cx.now(),
        immutable_tags,
        tag_exclusions,
        scan_on_push: scanning.and_then(|scanning| scanning.scan_on_push).unwrap_or(false),
        tags: tags::RULES.read(input.tags)?,
    };
    // What an interrupted DeleteRepository left must not appear in the new repository.
    delete_repository::sweep(cx, &name).await?;
    let created = cx.store.transact(|txn| {
        if txn.get::<Repository>(name.as_str()).is_some() {
            let account = &cx.locality.account;
            return Err(ErrorCode::RepositoryAlreadyExistsException.fault(format!(
                "The repository with name '{name}' already exists in the registry with id \
                 '{account}'"
            )));
        }
        txn.put(repository.clone());
        Ok(())
    });
    created.await.map_err(fault::transact)?;
    Ok(CreateRepositoryResponse { repository: Some(show(cx, caller, &repository)) })
}

/// Keys of one's own are refused rather than promised and not used.
fn check_encryption(encryption: Option<&EncryptionConfiguration>) -> Result<(), Fault> {
    match encryption.and_then(|encryption| encryption.encryption_type.as_ref()) {
        None | Some(EncryptionType::Aes256) => Ok(()),
        Some(other) => Err(ErrorCode::InvalidParameterException
            .fault(format!("The encryption type {other} is not supported by Neargate"))),
    }
}
