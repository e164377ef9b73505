//! What hangs on a role: managed policies by their ARNs, and inline ones by name.

use super::{check_name, documents, no_entity, page, policies, roles};
use crate::context::{Caller, Context};
use crate::cursor::Cursor;
use crate::fault::Fault;
use model::iam::Role;
use wire::NoOutput;
use wire::iam;
use wire::iam::ErrorCode;

/// Managed policies on one role. Source: IAM user guide, quotas (the default).
const ATTACHED_MAX: usize = 10;

pub async fn attach(
    cx: &Context,
    _caller: &Caller,
    input: iam::AttachRolePolicyRequest,
) -> Result<NoOutput, Fault> {
    let arn = input.policy_arn.unwrap_or_default();
    roles::change(cx, input.role_name, |txn, role| {
        // Read in the transaction: a policy that is deleted meanwhile is not attached.
        policies::find_in(cx, txn, &arn)?;
        role.attached.insert(arn.clone());
        if role.attached.len() > ATTACHED_MAX {
            let text = format!("Cannot exceed quota for PoliciesPerRole: {ATTACHED_MAX}");
            return Err(ErrorCode::LimitExceededException.fault(text));
        }
        Ok(())
    })
    .await
}

pub async fn detach(
    cx: &Context,
    _caller: &Caller,
    input: iam::DetachRolePolicyRequest,
) -> Result<NoOutput, Fault> {
    let arn = input.policy_arn.unwrap_or_default();
    roles::change(cx, input.role_name, |_, role| match role.attached.remove(&arn) {
        true => Ok(()),
        false => Err(no_entity(format!("Policy {arn} was not found."))),
    })
    .await
}

pub async fn list_attached(
    cx: &Context,
    _caller: &Caller,
    input: iam::ListAttachedRolePoliciesRequest,
) -> Result<iam::ListAttachedRolePoliciesResponse, Fault> {
    let role = roles::find(&cx.store.snapshot(), input.role_name.as_deref())?;
    let prefix = input.path_prefix.unwrap_or_else(|| "/".to_owned());
    // `arn:aws:iam::ACCOUNT:policy/PATH/NAME`
    let path = |arn: &str| arn.split_once(":policy").map_or("", |(_, path)| path).to_owned();
    let all = role.attached.iter().filter(|arn| path(arn).starts_with(&prefix)).map(|arn| {
        let name = arn.rsplit('/').next().unwrap_or(arn);
        let shown = iam::AttachedPolicy {
            policy_arn: Some(arn.clone()),
            policy_name: Some(name.to_owned()),
        };
        (arn.clone(), shown)
    });
    let cursor = Cursor::new(&["ListAttachedRolePolicies", &role.name, &prefix]);
    let (attached, marker) = page(&cursor, all, input.marker.as_deref(), input.max_items)?;
    Ok(iam::ListAttachedRolePoliciesResponse {
        attached_policies: Some(attached),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

fn no_inline(name: &str) -> Fault {
    no_entity(format!("The role policy with name {name} cannot be found."))
}

pub async fn put_inline(
    cx: &Context,
    _caller: &Caller,
    input: iam::PutRolePolicyRequest,
) -> Result<NoOutput, Fault> {
    let name = input.policy_name.unwrap_or_default();
    let document = input.policy_document.unwrap_or_default();
    check_name("policyName", &name)?;
    documents::check(&document)?;
    roles::change(cx, input.role_name, |_, role| {
        role.inline.insert(name.clone(), document.clone());
        let all: String = role.inline.values().map(String::as_str).collect();
        // All inline policies of a role share one bound, which is that of a document.
        match documents::fits(&all) {
            true => Ok(()),
            false => Err(ErrorCode::LimitExceededException.fault(format!(
                "Maximum policy size of {} bytes exceeded for role {}",
                documents::DOCUMENT_CHARS_MAX,
                role.name
            ))),
        }
    })
    .await
}

pub async fn get_inline(
    cx: &Context,
    _caller: &Caller,
    input: iam::GetRolePolicyRequest,
) -> Result<iam::GetRolePolicyResponse, Fault> {
    let role = roles::find(&cx.store.snapshot(), input.role_name.as_deref())?;
    let name = input.policy_name.unwrap_or_default();
    let document = role.inline.get(&name).ok_or_else(|| no_inline(&name))?;
    Ok(iam::GetRolePolicyResponse {
        policy_document: Some(documents::encode(document)),
        policy_name: Some(name),
        role_name: Some(role.name.clone()),
    })
}

pub async fn delete_inline(
    cx: &Context,
    _caller: &Caller,
    input: iam::DeleteRolePolicyRequest,
) -> Result<NoOutput, Fault> {
    let name = input.policy_name.unwrap_or_default();
    roles::change(cx, input.role_name, |_, role: &mut Role| match role.inline.remove(&name) {
        Some(_) => Ok(()),
        None => Err(no_inline(&name)),
    })
    .await
}

pub async fn list_inline(
    cx: &Context,
    _caller: &Caller,
    input: iam::ListRolePoliciesRequest,
) -> Result<iam::ListRolePoliciesResponse, Fault> {
    let role = roles::find(&cx.store.snapshot(), input.role_name.as_deref())?;
    let all = role.inline.keys().map(|name| (name.clone(), name.clone()));
    let cursor = Cursor::new(&["ListRolePolicies", &role.name]);
    let (names, marker) = page(&cursor, all, input.marker.as_deref(), input.max_items)?;
    let is_truncated = Some(marker.is_some());
    Ok(iam::ListRolePoliciesResponse { is_truncated, marker, policy_names: Some(names) })
}
