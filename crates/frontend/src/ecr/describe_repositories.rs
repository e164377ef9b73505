//! DescribeRepositories.

use super::repositories::{find, named, show};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::image::Repository;
use wire::ecr::{DescribeRepositoriesRequest, DescribeRepositoriesResponse, ErrorCode};

/// Repositories of one page when the caller names no number. Source: API reference.
const PAGE_REPOSITORIES: usize = 100;

pub async fn describe_repositories(
    cx: &Context,
    caller: &Caller,
    input: DescribeRepositoriesRequest,
) -> Result<DescribeRepositoriesResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let registry_id = input.registry_id.as_deref();
    if let Some(names) = input.repository_names.filter(|names| !names.is_empty()) {
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let name = named(cx, registry_id, Some(name))?;
            found.push(show(cx, caller, &*find(cx, &snapshot, &name)?));
        }
        return Ok(DescribeRepositoriesResponse { next_token: None, repositories: Some(found) });
    }
    let cursor = Cursor::new(&["DescribeRepositories"]);
    let after = cursor.after(input.next_token.as_deref(), bad_token)?.unwrap_or_default();
    let ours = registry_id.is_none_or(|id| id == cx.locality.account.as_str());
    let limit = page_items(input.max_results, PAGE_REPOSITORIES);
    let rest = snapshot
        .scan_from::<Repository>("", &after)
        .map(|(_, repository)| repository)
        .filter(|repository| ours && repository.name.as_str() > after.as_str());
    let (page, next_token) = cursor.take(rest, limit, |repository| repository.name.as_str());
    let repositories = page.iter().map(|repository| show(cx, caller, repository)).collect();
    Ok(DescribeRepositoriesResponse { next_token, repositories: Some(repositories) })
}

pub fn bad_token() -> Fault {
    ErrorCode::InvalidParameterException.fault("The specified nextToken is invalid.")
}
