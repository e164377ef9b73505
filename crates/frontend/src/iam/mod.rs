//! AWS Identity and Access Management, as far as roles and policies are kept and told again as they
//! were given. Nothing is decided by a policy yet: that a role is there, and may be assumed, is all
//! it means here. A file for each noun, as most operations are a few lines.

mod attachments;
mod aws_managed;
mod documents;
mod policies;
mod roles;

use crate::cursor::Cursor;
use crate::dispatch::{Route, route};
use crate::fault::Fault;
use model::Tags;
use wire::iam::{ErrorCode, Tag};

pub const ROUTES: &[Route] = &[
    route!(iam, AttachRolePolicyRequest, attachments::attach),
    route!(iam, CreatePolicyRequest, policies::create),
    route!(iam, CreatePolicyVersionRequest, policies::create_version),
    route!(iam, CreateRoleRequest, roles::create, ignores["assumeRolePolicyDocument (kept)"]),
    route!(iam, DeletePolicyRequest, policies::delete),
    route!(iam, DeletePolicyVersionRequest, policies::delete_version),
    route!(iam, DeleteRolePolicyRequest, attachments::delete_inline),
    route!(iam, DeleteRoleRequest, roles::delete),
    route!(iam, DetachRolePolicyRequest, attachments::detach),
    route!(iam, GetPolicyRequest, policies::get),
    route!(iam, GetPolicyVersionRequest, policies::get_version),
    route!(iam, GetRolePolicyRequest, attachments::get_inline),
    route!(iam, GetRoleRequest, roles::get),
    route!(iam, ListAttachedRolePoliciesRequest, attachments::list_attached),
    route!(iam, ListInstanceProfilesForRoleRequest, roles::list_instance_profiles),
    route!(
        iam,
        ListPoliciesRequest,
        policies::list,
        ignores["policyUsageFilter (all are of either use)"]
    ),
    route!(iam, ListPolicyVersionsRequest, policies::list_versions),
    route!(iam, ListRolePoliciesRequest, attachments::list_inline),
    route!(iam, ListRoleTagsRequest, roles::list_tags),
    route!(iam, ListRolesRequest, roles::list),
    route!(iam, PutRolePolicyRequest, attachments::put_inline),
    route!(iam, SetDefaultPolicyVersionRequest, policies::set_default_version),
    route!(iam, TagRoleRequest, roles::tag),
    route!(iam, UntagRoleRequest, roles::untag),
    route!(iam, UpdateAssumeRolePolicyRequest, roles::update_trust),
];

/// Items of one page when the caller names no number. Source: API reference.
const PAGE_ITEMS: usize = 100;
const TAGS_MAX: usize = 50;

fn invalid(text: impl Into<String>) -> Fault {
    ErrorCode::InvalidInputException.fault(text)
}

fn no_entity(text: impl Into<String>) -> Fault {
    ErrorCode::NoSuchEntityException.fault(text)
}

/// One page: what to show, and the marker of the next.
fn page<T>(
    cursor: &Cursor,
    items: impl Iterator<Item = (String, T)>,
    marker: Option<&str>,
    max_items: Option<i32>,
) -> Result<(Vec<T>, Option<String>), Fault> {
    let after = match marker {
        None => None,
        Some(marker) => Some(
            cursor
                .open(marker)
                .ok_or_else(|| Fault::client("ValidationError", "Invalid Marker."))?,
        ),
    };
    let limit = max_items.and_then(|n| usize::try_from(n).ok()).unwrap_or(PAGE_ITEMS);
    let mut rest = items.filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
    let page: Vec<(String, T)> = rest.by_ref().take(limit.max(1)).collect();
    let more = rest.next().is_some();
    let next = page.last().filter(|_| more).map(|(key, _)| cursor.seal(key));
    Ok((page.into_iter().map(|(_, item)| item).collect(), next))
}

fn read_tags(given: Option<Vec<Tag>>) -> Result<Tags, Fault> {
    let mut tags = Tags::new();
    for tag in given.unwrap_or_default() {
        let key = tag.key.unwrap_or_default();
        if tags.insert(key.clone(), tag.value.unwrap_or_default()).is_some() {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(invalid(text));
        }
    }
    check_tags(&tags)?;
    Ok(tags)
}

fn check_tags(tags: &Tags) -> Result<(), Fault> {
    if tags.len() <= TAGS_MAX {
        return Ok(());
    }
    let text = format!("Cannot exceed quota for TagsPerResource: {TAGS_MAX}");
    Err(ErrorCode::LimitExceededException.fault(text))
}

fn show_tags(tags: &Tags) -> Option<Vec<Tag>> {
    let one = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    (!tags.is_empty()).then(|| tags.iter().map(one).collect())
}

fn time(at: model::Timestamp) -> Option<wire::Timestamp> {
    Some(wire::Timestamp::from_unix_ms(at.0))
}

/// `/`, or begins and ends with it. Source: API reference, pathType.
fn read_path(given: Option<String>) -> Result<String, Fault> {
    let path = given.unwrap_or_else(|| "/".to_owned());
    let plain = path.bytes().all(|b| b.is_ascii_graphic());
    if plain && path.starts_with('/') && path.ends_with('/') && path.len() <= 512 {
        return Ok(path);
    }
    let text = "The specified value for path is invalid. It must begin and end with / and contain \
                only alphanumeric characters and/or / characters.";
    Err(Fault::client("ValidationError", text))
}

/// Source: API reference, the patterns of roleNameType and policyNameType.
fn check_name(what: &str, name: &str) -> Result<(), Fault> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    if !name.is_empty() && name.bytes().all(allowed) {
        return Ok(());
    }
    let text = format!(
        "The specified value for {what} is invalid. It must contain only alphanumeric characters \
         and/or the following: +=,.@_-"
    );
    Err(Fault::client("ValidationError", text))
}
