//! Roles: kept, told again, and found by AssumeRole.

use super::{TAGS, check_name, documents, no_entity, page, read_path, show_tags, time};
use crate::context::{Caller, Context};
use crate::cursor::Cursor;
use crate::fault::Fault;
use crate::tagging;
use model::iam::Role;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::kinds::role_key;
use store::{Snapshot, Txn};
use wire::NoOutput;
use wire::iam;
use wire::iam::ErrorCode;

/// Seconds. Source: API reference, CreateRole (MaxSessionDuration).
const SESSION_SECONDS_DEFAULT: i64 = 3600;

pub fn arn(cx: &Context, role: &Role) -> String {
    format!("arn:aws:iam::{}:role{}{}", cx.locality.account, role.path, role.name)
}

fn no_role(name: &str) -> Fault {
    no_entity(format!("The role with name {name} cannot be found."))
}

pub fn find(snapshot: &Snapshot, name: Option<&str>) -> Result<Arc<Role>, Fault> {
    let name = name.unwrap_or_default();
    let found = snapshot.get::<Role>(&role_key(name)).map(|found| found.value);
    found.ok_or_else(|| no_role(name))
}

/// Changes a role in a transaction.
pub async fn change(
    cx: &Context,
    name: Option<String>,
    change: impl Fn(&mut Txn, &mut Role) -> Result<(), Fault>,
) -> Result<NoOutput, Fault> {
    let name = name.unwrap_or_default();
    cx.transact(|txn| {
        let found = txn.get::<Role>(&role_key(&name)).ok_or_else(|| no_role(&name))?;
        let mut changed = (*found).clone();
        change(txn, &mut changed)?;
        txn.put(changed);
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}

fn show(cx: &Context, role: &Role) -> iam::Role {
    iam::Role {
        arn: Some(arn(cx, role)),
        assume_role_policy_document: Some(documents::encode(&role.assume_role_policy)),
        create_date: time(role.created_at),
        description: role.description.clone(),
        max_session_duration: i32::try_from(role.max_session_seconds).ok(),
        path: Some(role.path.clone()),
        permissions_boundary: role.permissions_boundary.clone().map(|arn| {
            iam::AttachedPermissionsBoundary {
                permissions_boundary_arn: Some(arn),
                permissions_boundary_type: Some("Policy".into()),
            }
        }),
        role_id: Some(role.id.clone()),
        role_last_used: Some(iam::RoleLastUsed::default()),
        role_name: Some(role.name.clone()),
        tags: show_tags(&role.tags),
    }
}

pub async fn create(
    cx: &Context,
    _caller: &Caller,
    input: iam::CreateRoleRequest,
) -> Result<iam::CreateRoleResponse, Fault> {
    let name = input.role_name.unwrap_or_default();
    check_name("roleName", &name)?;
    let trust = input.assume_role_policy_document.unwrap_or_default();
    documents::check(&trust)?;
    let made = Role {
        id: crate::auth::unique_id("AROA", cx.random()),
        path: read_path(input.path)?,
        assume_role_policy: trust,
        description: input.description,
        max_session_seconds: input.max_session_duration.map_or(SESSION_SECONDS_DEFAULT, i64::from),
        permissions_boundary: input.permissions_boundary,
        attached: BTreeSet::new(),
        inline: BTreeMap::new(),
        created_at: cx.now(),
        tags: TAGS.read(input.tags)?,
        name,
    };
    cx.transact(|txn| {
        if txn.get::<Role>(&role_key(&made.name)).is_some() {
            let text = format!("Role with name {} already exists.", made.name);
            return Err(ErrorCode::EntityAlreadyExistsException.fault(text));
        }
        txn.put(made.clone());
        Ok(())
    })
    .await?;
    Ok(iam::CreateRoleResponse { role: Some(show(cx, &made)) })
}

pub async fn get(
    cx: &Context,
    _caller: &Caller,
    input: iam::GetRoleRequest,
) -> Result<iam::GetRoleResponse, Fault> {
    let role = find(&cx.store.snapshot(), input.role_name.as_deref())?;
    Ok(iam::GetRoleResponse { role: Some(show(cx, &role)) })
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: iam::ListRolesRequest,
) -> Result<iam::ListRolesResponse, Fault> {
    let prefix = input.path_prefix.unwrap_or_else(|| "/".to_owned());
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<Role>("").filter(|(_, role)| role.path.starts_with(&prefix));
    // A list leaves out what only GetRole tells. Source: API reference, ListRoles.
    let all = all.map(|(key, role)| {
        let tags = None;
        (key.to_owned(), iam::Role { tags, role_last_used: None, ..show(cx, &role) })
    });
    let cursor = Cursor::new(&["ListRoles", &prefix]);
    let (roles, marker) = page(&cursor, all, input.marker.as_deref(), input.max_items)?;
    let is_truncated = Some(marker.is_some());
    Ok(iam::ListRolesResponse { is_truncated, marker, roles: Some(roles) })
}

pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: iam::DeleteRoleRequest,
) -> Result<NoOutput, Fault> {
    let name = input.role_name.unwrap_or_default();
    cx.transact(|txn| {
        let role = txn.get::<Role>(&role_key(&name)).ok_or_else(|| no_role(&name))?;
        let conflict = |text: &str| Err(ErrorCode::DeleteConflictException.fault(text));
        if !role.attached.is_empty() {
            return conflict("Cannot delete entity, must detach all policies first.");
        }
        if !role.inline.is_empty() {
            return conflict("Cannot delete entity, must delete policies first.");
        }
        txn.delete::<Role>(&role_key(&name));
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}

/// There are no instance profiles here: a role has none.
pub async fn list_instance_profiles(
    cx: &Context,
    _caller: &Caller,
    input: iam::ListInstanceProfilesForRoleRequest,
) -> Result<iam::ListInstanceProfilesForRoleResponse, Fault> {
    find(&cx.store.snapshot(), input.role_name.as_deref())?;
    Ok(iam::ListInstanceProfilesForRoleResponse {
        instance_profiles: Some(Vec::new()),
        is_truncated: Some(false),
        marker: None,
    })
}

pub async fn update_trust(
    cx: &Context,
    _caller: &Caller,
    input: iam::UpdateAssumeRolePolicyRequest,
) -> Result<NoOutput, Fault> {
    let document = input.policy_document.unwrap_or_default();
    documents::check(&document)?;
    change(cx, input.role_name, |_, role| {
        role.assume_role_policy.clone_from(&document);
        Ok(())
    })
    .await
}

pub async fn tag(
    cx: &Context,
    _caller: &Caller,
    input: iam::TagRoleRequest,
) -> Result<NoOutput, Fault> {
    let more = TAGS.read(input.tags)?;
    change(cx, input.role_name, |_, role| TAGS.add(&mut role.tags, &more)).await
}

pub async fn untag(
    cx: &Context,
    _caller: &Caller,
    input: iam::UntagRoleRequest,
) -> Result<NoOutput, Fault> {
    let keys = input.tag_keys.unwrap_or_default();
    change(cx, input.role_name, |_, role| {
        tagging::remove(&mut role.tags, &keys);
        Ok(())
    })
    .await
}

pub async fn list_tags(
    cx: &Context,
    _caller: &Caller,
    input: iam::ListRoleTagsRequest,
) -> Result<iam::ListRoleTagsResponse, Fault> {
    let role = find(&cx.store.snapshot(), input.role_name.as_deref())?;
    let all = role.tags.iter().map(|(key, value)| {
        let (shown, value) = (Some(key.clone()), Some(value.clone()));
        (key.clone(), iam::Tag { key: shown, value })
    });
    let cursor = Cursor::new(&["ListRoleTags", &role.name]);
    let (tags, marker) = page(&cursor, all, input.marker.as_deref(), input.max_items)?;
    let is_truncated = Some(marker.is_some());
    Ok(iam::ListRoleTagsResponse { is_truncated, marker, tags: Some(tags) })
}
