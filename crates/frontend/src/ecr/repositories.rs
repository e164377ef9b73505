//! How repositories are named, found and shown.

use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::RepositoryName;
use model::image::Repository;
use std::sync::Arc;
use store::{Snapshot, Txn};
use wire::ecr::{self, EncryptionConfiguration, ErrorCode, ImageScanningConfiguration};

/// Names ending so mean AWS's own hosts, which reach us only from where they have been made to.
const AWS_SUFFIX: &str = ".amazonaws.com";

pub fn invalid(path: &str, constraint: &str) -> Fault {
    ErrorCode::InvalidParameterException.fault(format!(
        "Invalid parameter at '{path}' failed to satisfy constraint: '{constraint}'"
    ))
}

pub fn not_found(cx: &Context, name: &str) -> Fault {
    not_found_in(name, cx.locality.account.as_str())
}

fn not_found_in(name: &str, registry: &str) -> Fault {
    ErrorCode::RepositoryNotFoundException.fault(format!(
        "The repository with name '{name}' does not exist in the registry with id '{registry}'"
    ))
}

/// The repository a call names. There is one registry, ours: nothing is in any other.
pub fn named(
    cx: &Context,
    registry_id: Option<&str>,
    name: Option<String>,
) -> Result<RepositoryName, Fault> {
    let name = name.unwrap_or_default();
    check_name(&name)?;
    match registry_id.filter(|id| *id != cx.locality.account.as_str()) {
        Some(other) => Err(not_found_in(&name, other)),
        None => Ok(RepositoryName::from(name)),
    }
}

/// Lower-case words joined by single `.`, `_`, `-` and `/`. Source: API reference,
/// CreateRepository.
fn check_name(name: &str) -> Result<(), Fault> {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    match name.split(['.', '_', '-', '/']).all(word) {
        true => Ok(()),
        false => Err(invalid(
            "repositoryName",
            "must satisfy regular expression \
             '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'",
        )),
    }
}

pub fn find(
    cx: &Context,
    snapshot: &Snapshot,
    name: &RepositoryName,
) -> Result<Arc<Repository>, Fault> {
    let found = snapshot.get::<Repository>(name.as_str());
    found.map(|found| found.value).ok_or_else(|| not_found(cx, name.as_str()))
}

/// Changes a repository in one transaction and returns it as it is then.
pub async fn change(
    cx: &Context,
    name: &RepositoryName,
    mut change: impl FnMut(&mut Repository) -> Result<(), Fault>,
) -> Result<Repository, Fault> {
    let changed = cx.store.transact(|txn: &mut Txn| {
        let found = txn.get::<Repository>(name.as_str());
        let found = found.ok_or_else(|| not_found(cx, name.as_str()))?;
        let mut repository = Repository::clone(&found);
        change(&mut repository)?;
        txn.put(repository.clone());
        Ok(repository)
    });
    changed.await.map(|(repository, _)| repository).map_err(crate::fault::transact)
}

/// The host part of our repositories' URIs, as this caller can use it.
pub fn host(cx: &Context, caller: &Caller) -> String {
    let name = caller.host.rsplit_once(':').map_or(&*caller.host, |(name, _)| name);
    match caller.host.is_empty() || name.ends_with(AWS_SUFFIX) {
        true => cx.locality.registry_host(),
        false => caller.host.to_string(),
    }
}

pub fn show(cx: &Context, caller: &Caller, repository: &Repository) -> ecr::Repository {
    let name = &repository.name;
    ecr::Repository {
        created_at: Some(wire::Timestamp::from_unix_ms(repository.created_at.0)),
        encryption_configuration: Some(EncryptionConfiguration {
            encryption_type: Some("AES256".into()),
            kms_key: None,
        }),
        image_scanning_configuration: Some(ImageScanningConfiguration {
            scan_on_push: Some(repository.scan_on_push),
        }),
        image_tag_mutability: Some(mutability(repository).into()),
        image_tag_mutability_exclusion_filters: None,
        registry_id: Some(cx.locality.account.to_string()),
        repository_arn: Some(cx.locality.repository(name)),
        repository_name: Some(name.to_string()),
        repository_uri: Some(format!("{}/{name}", host(cx, caller))),
    }
}

pub fn mutability(repository: &Repository) -> &'static str {
    match repository.immutable_tags {
        true => "IMMUTABLE",
        false => "MUTABLE",
    }
}

/// Whether tags are to be immutable. Exceptions by wildcard are not served, and so refused.
pub fn wants_immutable(
    mutability: Option<&ecr::ImageTagMutability>,
    exclusions: Option<&[ecr::ImageTagMutabilityExclusionFilter]>,
) -> Result<bool, Fault> {
    let unserved = || {
        ErrorCode::InvalidParameterException
            .fault("Exclusions from tag mutability are not supported by Neargate")
    };
    if exclusions.is_some_and(|exclusions| !exclusions.is_empty()) {
        return Err(unserved());
    }
    match mutability {
        None | Some(ecr::ImageTagMutability::Mutable) => Ok(false),
        Some(ecr::ImageTagMutability::Immutable) => Ok(true),
        Some(_) => Err(unserved()),
    }
}
