//! Managed policies and their versions: the account's own, and AWS's, which can't be changed.

use super::{
    TAGS, aws_managed, check_name, documents, no_entity, page, read_path, show_tags, time,
};
use crate::context::{Caller, Context};
use crate::cursor::Cursor;
use crate::fault::Fault;
use model::iam::{ManagedPolicy, PolicyVersion, Role};
use store::{Snapshot, Txn};
use wire::NoOutput;
use wire::iam;
use wire::iam::ErrorCode;

/// Versions of one policy. Source: IAM user guide, quotas.
const VERSIONS_MAX: usize = 5;

fn no_policy(arn: &str) -> Fault {
    no_entity(format!("Policy {arn} does not exist or is not attachable."))
}

fn no_version(arn: &str, version: &str) -> Fault {
    no_entity(format!("Policy {arn} version {version} does not exist or is not attachable."))
}

fn find(cx: &Context, snapshot: &Snapshot, arn: &str) -> Result<ManagedPolicy, Fault> {
    let own = snapshot.get::<ManagedPolicy>(arn).map(|found| (*found.value).clone());
    own.or_else(|| aws_managed::find(cx, arn)).ok_or_else(|| no_policy(arn))
}

/// Guarded by the transaction.
pub fn find_in(cx: &Context, txn: &mut Txn, arn: &str) -> Result<ManagedPolicy, Fault> {
    let own = txn.get::<ManagedPolicy>(arn).map(|found| (*found).clone());
    own.or_else(|| aws_managed::find(cx, arn)).ok_or_else(|| no_policy(arn))
}

/// Changes one of the account's own.
async fn change<R>(
    cx: &Context,
    arn: Option<String>,
    change: impl Fn(&mut ManagedPolicy) -> Result<R, Fault>,
) -> Result<R, Fault> {
    let arn = arn.unwrap_or_default();
    cx.transact(|txn| {
        let Some(found) = txn.get::<ManagedPolicy>(&arn) else {
            return Err(match aws_managed::find(cx, &arn) {
                Some(_) => Fault::new("AccessDenied", 403, format!("{arn} is managed by AWS")),
                None => no_policy(&arn),
            });
        };
        let mut changed = (*found).clone();
        let result = change(&mut changed)?;
        changed.updated_at = cx.now();
        txn.put(changed);
        Ok(result)
    })
    .await
}

fn attachments(snapshot: &Snapshot, arn: &str) -> usize {
    snapshot.scan::<Role>("").filter(|(_, role)| role.attached.contains(arn)).count()
}

fn show(snapshot: &Snapshot, policy: &ManagedPolicy) -> iam::Policy {
    iam::Policy {
        arn: Some(policy.arn.clone()),
        attachment_count: i32::try_from(attachments(snapshot, &policy.arn)).ok(),
        create_date: time(policy.created_at),
        default_version_id: Some(format!("v{}", policy.default_version)),
        description: policy.description.clone(),
        is_attachable: Some(true),
        path: Some(policy.path.clone()),
        permissions_boundary_usage_count: Some(0),
        policy_id: Some(policy.id.clone()),
        policy_name: Some(policy.name.clone()),
        tags: show_tags(&policy.tags),
        update_date: time(policy.updated_at),
    }
}

fn show_version(
    policy: &ManagedPolicy,
    version: &PolicyVersion,
    with_document: bool,
) -> iam::PolicyVersion {
    iam::PolicyVersion {
        create_date: time(version.created_at),
        document: with_document.then(|| documents::encode(&version.document)),
        is_default_version: Some(version.number == policy.default_version),
        version_id: Some(format!("v{}", version.number)),
    }
}

fn number(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.parse().ok()
}

pub async fn create(
    cx: &Context,
    _caller: &Caller,
    input: iam::CreatePolicyRequest,
) -> Result<iam::CreatePolicyResponse, Fault> {
    let name = input.policy_name.unwrap_or_default();
    check_name("policyName", &name)?;
    let document = input.policy_document.unwrap_or_default();
    documents::check(&document)?;
    let (path, now) = (read_path(input.path)?, cx.now());
    let made = ManagedPolicy {
        arn: format!("arn:aws:iam::{}:policy{path}{name}", cx.locality.account),
        id: crate::auth::unique_id("ANPA", cx.random()),
        name,
        path,
        description: input.description,
        versions: vec![PolicyVersion { number: 1, document, created_at: now }],
        default_version: 1,
        newest_version: 1,
        created_at: now,
        updated_at: now,
        tags: TAGS.read(input.tags)?,
    };
    cx.transact(|txn| {
        if txn.get::<ManagedPolicy>(&made.arn).is_some() {
            let text = format!(
                "A policy called {} already exists. Duplicate names are not \
                                allowed.",
                made.name
            );
            return Err(ErrorCode::EntityAlreadyExistsException.fault(text));
        }
        txn.put(made.clone());
        Ok(())
    })
    .await?;
    Ok(iam::CreatePolicyResponse { policy: Some(show(&cx.store.snapshot(), &made)) })
}

pub async fn get(
    cx: &Context,
    _caller: &Caller,
    input: iam::GetPolicyRequest,
) -> Result<iam::GetPolicyResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let policy = find(cx, &snapshot, &input.policy_arn.unwrap_or_default())?;
    Ok(iam::GetPolicyResponse { policy: Some(show(&snapshot, &policy)) })
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: iam::ListPoliciesRequest,
) -> Result<iam::ListPoliciesResponse, Fault> {
    let snapshot = cx.store.snapshot();
    let prefix = input.path_prefix.unwrap_or_else(|| "/".to_owned());
    let scope = input.scope.as_ref().map_or("All", |scope| scope.as_str()).to_owned();
    let attached = input.only_attached.unwrap_or(false);
    let mut all: Vec<ManagedPolicy> = Vec::new();
    if scope != "AWS" {
        let own = snapshot.scan::<ManagedPolicy>("");
        all.extend(own.map(|(_, policy)| (*policy).clone()));
    }
    if scope != "Local" {
        all.extend(aws_managed::all(cx));
    }
    all.sort_by(|a, b| a.arn.cmp(&b.arn));
    let wanted = |policy: &ManagedPolicy| {
        let used = !attached || attachments(&snapshot, &policy.arn) > 0;
        used && policy.path.starts_with(&prefix)
    };
    let all = all.into_iter().filter(wanted).map(|policy| {
        // A list leaves out what only GetPolicy tells. Source: API reference, ListPolicies.
        let shown = iam::Policy { tags: None, description: None, ..show(&snapshot, &policy) };
        (policy.arn, shown)
    });
    let cursor = Cursor::new(&["ListPolicies", &prefix, &scope, &attached.to_string()]);
    let (policies, marker) = page(&cursor, all, input.marker.as_deref(), input.max_items)?;
    let is_truncated = Some(marker.is_some());
    Ok(iam::ListPoliciesResponse { is_truncated, marker, policies: Some(policies) })
}

pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: iam::DeletePolicyRequest,
) -> Result<NoOutput, Fault> {
    let arn = input.policy_arn.unwrap_or_default();
    cx.transact(|txn| {
        let found = txn.get::<ManagedPolicy>(&arn).ok_or_else(|| no_policy(&arn))?;
        let conflict = |text: &str| Err(ErrorCode::DeleteConflictException.fault(text));
        if attachments(txn.snapshot(), &arn) > 0 {
            return conflict("Cannot delete a policy attached to entities.");
        }
        if found.versions.len() > 1 {
            let text = "This policy has more than one version. Before you delete a policy, you \
                        must delete the policy's versions. The default version is deleted with \
                        the policy.";
            return conflict(text);
        }
        txn.delete::<ManagedPolicy>(&arn);
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}

pub async fn get_version(
    cx: &Context,
    _caller: &Caller,
    input: iam::GetPolicyVersionRequest,
) -> Result<iam::GetPolicyVersionResponse, Fault> {
    let arn = input.policy_arn.unwrap_or_default();
    let policy = find(cx, &cx.store.snapshot(), &arn)?;
    let wanted = input.version_id.unwrap_or_default();
    let version = policy.versions.iter().find(|it| Some(it.number) == number(&wanted));
    let version = version.ok_or_else(|| no_version(&arn, &wanted))?;
    let shown = show_version(&policy, version, true);
    Ok(iam::GetPolicyVersionResponse { policy_version: Some(shown) })
}

pub async fn list_versions(
    cx: &Context,
    _caller: &Caller,
    input: iam::ListPolicyVersionsRequest,
) -> Result<iam::ListPolicyVersionsResponse, Fault> {
    let policy = find(cx, &cx.store.snapshot(), &input.policy_arn.unwrap_or_default())?;
    // The newest first: keys of the page must rise, so they count down.
    let all = policy.versions.iter().rev().map(|version| {
        let key = format!("{:010}", u32::MAX - version.number);
        (key, show_version(&policy, version, false))
    });
    let cursor = Cursor::new(&["ListPolicyVersions", &policy.arn]);
    let (versions, marker) = page(&cursor, all, input.marker.as_deref(), input.max_items)?;
    let is_truncated = Some(marker.is_some());
    Ok(iam::ListPolicyVersionsResponse { is_truncated, marker, versions: Some(versions) })
}

pub async fn create_version(
    cx: &Context,
    _caller: &Caller,
    input: iam::CreatePolicyVersionRequest,
) -> Result<iam::CreatePolicyVersionResponse, Fault> {
    let document = input.policy_document.unwrap_or_default();
    documents::check(&document)?;
    let is_default = input.set_as_default.unwrap_or(false);
    let shown = change(cx, input.policy_arn, |policy| {
        if policy.versions.len() >= VERSIONS_MAX {
            let text = "A managed policy can have up to 5 versions. Before you create a new \
                        version, you must delete an existing version.";
            return Err(ErrorCode::LimitExceededException.fault(text));
        }
        policy.newest_version += 1;
        let (number, document) = (policy.newest_version, document.clone());
        let version = PolicyVersion { number, document, created_at: cx.now() };
        if is_default {
            policy.default_version = number;
        }
        policy.versions.push(version.clone());
        Ok(show_version(policy, &version, false))
    })
    .await?;
    Ok(iam::CreatePolicyVersionResponse { policy_version: Some(shown) })
}

pub async fn delete_version(
    cx: &Context,
    _caller: &Caller,
    input: iam::DeletePolicyVersionRequest,
) -> Result<NoOutput, Fault> {
    let wanted = input.version_id.unwrap_or_default();
    change(cx, input.policy_arn, |policy| {
        if number(&wanted) == Some(policy.default_version) {
            let text = "Cannot delete the default version of a policy.";
            return Err(ErrorCode::DeleteConflictException.fault(text));
        }
        let before = policy.versions.len();
        policy.versions.retain(|version| Some(version.number) != number(&wanted));
        match policy.versions.len() < before {
            true => Ok(()),
            false => Err(no_version(&policy.arn, &wanted)),
        }
    })
    .await?;
    Ok(NoOutput)
}

pub async fn set_default_version(
    cx: &Context,
    _caller: &Caller,
    input: iam::SetDefaultPolicyVersionRequest,
) -> Result<NoOutput, Fault> {
    let wanted = input.version_id.unwrap_or_default();
    change(cx, input.policy_arn, |policy| {
        let found = policy.versions.iter().find(|it| Some(it.number) == number(&wanted));
        policy.default_version =
            found.map(|it| it.number).ok_or_else(|| no_version(&policy.arn, &wanted))?;
        Ok(())
    })
    .await?;
    Ok(NoOutput)
}
