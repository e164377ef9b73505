//! AWS Identity and Access Management, as far as roles and policies are kept and told again as they
//! were given. Nothing is decided by a policy yet: that a role is there, and may be assumed, is all
//! it means here. A file for each noun, as most operations are a few lines.

mod attachments;
mod aws_managed;
mod documents;
mod policies;
mod roles;

use crate::cursor::{Cursor, page_items};
use crate::dispatch::{Route, route};
use crate::fault::Fault;
use crate::tagging::{self, Rules, is_reserved};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
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
    let invalid = || Fault::client("ValidationError", "Invalid Marker.");
    let after = cursor.after(marker, invalid)?;
    Ok(cursor.page(items, after.as_deref(), page_items(max_items, PAGE_ITEMS).max(1)))
}

const TAGS: Rules = Rules {
    check: |key, _| match is_reserved(key) {
        true => Err(invalid("aws: prefixed tag key names are not allowed for external use.")),
        false => Ok(()),
    },
    twice: |_| invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive."),
    too_many: || {
        let text = format!("Cannot exceed quota for TagsPerResource: {TAGS_PER_RESOURCE_MAX}");
        ErrorCode::LimitExceededException.fault(text)
    },
};

fn show_tags(tags: &Tags) -> Option<Vec<Tag>> {
    (!tags.is_empty()).then(|| tagging::show(tags))
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
