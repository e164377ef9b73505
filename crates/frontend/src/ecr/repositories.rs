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
/// Filters of one repository, and stars of one filter. Source: API reference,
/// ImageTagMutabilityExclusionFilter.
const EXCLUSIONS_MAX: usize = 5;
const EXCLUSION_STARS_MAX: usize = 2;

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
        image_tag_mutability_exclusion_filters: exclusions(repository),
        registry_id: Some(cx.locality.account.to_string()),
        repository_arn: Some(cx.locality.repository(name)),
        repository_name: Some(name.to_string()),
        repository_uri: Some(format!("{}/{name}", host(cx, caller))),
    }
}

pub fn mutability(repository: &Repository) -> &'static str {
    match (repository.immutable_tags, repository.tag_exclusions.is_empty()) {
        (true, true) => "IMMUTABLE",
        (true, false) => "IMMUTABLE_WITH_EXCLUSION",
        (false, true) => "MUTABLE",
        (false, false) => "MUTABLE_WITH_EXCLUSION",
    }
}

/// The tags that are excluded, None without any.
pub fn exclusions(repository: &Repository) -> Option<Vec<ecr::ImageTagMutabilityExclusionFilter>> {
    let filter = |pattern: &String| ecr::ImageTagMutabilityExclusionFilter {
        filter: Some(pattern.clone()),
        filter_type: Some("WILDCARD".into()),
    };
    let all: Vec<_> = repository.tag_exclusions.iter().map(filter).collect();
    Some(all).filter(|all| !all.is_empty())
}

/// Whether tags are to be immutable, and which are to be the other way round.
/// Source: API reference, PutImageTagMutability and ImageTagMutabilityExclusionFilter.
pub fn wanted_mutability(
    mutability: Option<&ecr::ImageTagMutability>,
    exclusions: Option<Vec<ecr::ImageTagMutabilityExclusionFilter>>,
) -> Result<(bool, Vec<String>), Fault> {
    use ecr::ImageTagMutability::{
        Immutable, ImmutableWithExclusion, Mutable, MutableWithExclusion, Unrecognized,
    };
    let member = "imageTagMutabilityExclusionFilters";
    let (immutable, with_exclusions) = match mutability {
        None | Some(Mutable | Unrecognized(_)) => (false, false),
        Some(Immutable) => (true, false),
        Some(MutableWithExclusion) => (false, true),
        Some(ImmutableWithExclusion) => (true, true),
    };
    let filters = exclusions.unwrap_or_default();
    let patterns: Vec<String> = filters.into_iter().filter_map(|it| it.filter).collect();
    if with_exclusions == patterns.is_empty() {
        let text = "must be given with a mutability setting WITH_EXCLUSION, and only then";
        return Err(invalid(member, text));
    }
    if patterns.len() > EXCLUSIONS_MAX {
        let text = format!("Member must have length less than or equal to {EXCLUSIONS_MAX}");
        return Err(invalid(member, &text));
    }
    for pattern in &patterns {
        let known = |c: char| c.is_ascii_alphanumeric() || "._*-".contains(c);
        if !pattern.chars().all(known) {
            let text = "must satisfy regular expression '^[0-9a-zA-Z._*-]{1,128}$'";
            return Err(invalid(member, text));
        }
        if pattern.matches('*').count() > EXCLUSION_STARS_MAX {
            let text = format!("may have at most {EXCLUSION_STARS_MAX} wildcards");
            return Err(invalid(member, &text));
        }
    }
    Ok((immutable, patterns))
}
