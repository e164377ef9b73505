//! PutLifecyclePolicy, GetLifecyclePolicy, DeleteLifecyclePolicy: the text is read, and refused if
//! it can't be, before it is kept; `manager` carries it out.

use super::repositories::{find, invalid, named, not_found};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::RepositoryName;
use model::image::{LifecycleEvaluation, LifecyclePolicy, Repository};
use plan::lifecycle_policy::{Policy, parse};
use store::Snapshot;
use wire::ecr::{
    DeleteLifecyclePolicyRequest, DeleteLifecyclePolicyResponse, ErrorCode,
    GetLifecyclePolicyRequest, GetLifecyclePolicyResponse, PutLifecyclePolicyRequest,
    PutLifecyclePolicyResponse,
};

pub async fn put_lifecycle_policy(
    cx: &Context,
    _caller: &Caller,
    input: PutLifecyclePolicyRequest,
) -> Result<PutLifecyclePolicyResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let text = input.lifecycle_policy_text.unwrap_or_default();
    read(&text)?;
    let (repository, put_at) = (name.clone(), cx.now());
    let policy = LifecyclePolicy { repository, text: text.clone(), put_at };
    cx.transact(|txn| {
        txn.get::<Repository>(name.as_str()).ok_or_else(|| not_found(cx, name.as_str()))?;
        txn.put(policy.clone());
        Ok(())
    })
    .await?;
    Ok(PutLifecyclePolicyResponse {
        lifecycle_policy_text: Some(text),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
    })
}

pub async fn get_lifecycle_policy(
    cx: &Context,
    _caller: &Caller,
    input: GetLifecyclePolicyRequest,
) -> Result<GetLifecyclePolicyResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let snapshot = cx.store.snapshot();
    find(cx, &snapshot, &name)?;
    let policy = snapshot.get::<LifecyclePolicy>(name.as_str());
    let policy = policy.ok_or_else(|| no_policy(cx, &name))?;
    Ok(GetLifecyclePolicyResponse {
        last_evaluated_at: Some(evaluated_at(&snapshot, &name)),
        lifecycle_policy_text: Some(policy.text.clone()),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
    })
}

pub async fn delete_lifecycle_policy(
    cx: &Context,
    _caller: &Caller,
    input: DeleteLifecyclePolicyRequest,
) -> Result<DeleteLifecyclePolicyResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let (policy, last) = cx
        .transact(|txn| {
            txn.get::<Repository>(name.as_str()).ok_or_else(|| not_found(cx, name.as_str()))?;
            let policy = txn.get::<LifecyclePolicy>(name.as_str());
            let policy = policy.ok_or_else(|| no_policy(cx, &name))?;
            let last = evaluated_at(txn.snapshot(), &name);
            txn.delete::<LifecyclePolicy>(name.as_str());
            if txn.peek::<LifecycleEvaluation>(name.as_str()).is_some() {
                txn.delete::<LifecycleEvaluation>(name.as_str());
            }
            Ok((policy, last))
        })
        .await?;
    Ok(DeleteLifecyclePolicyResponse {
        last_evaluated_at: Some(last),
        lifecycle_policy_text: Some(policy.text.clone()),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
    })
}

/// Reads a policy, or refuses it as ECR does.
pub fn read(text: &str) -> Result<Policy, Fault> {
    parse(text).map_err(|fault| invalid("LifecyclePolicyText", &fault.to_string()))
}

pub fn no_policy(cx: &Context, name: &RepositoryName) -> Fault {
    ErrorCode::LifecyclePolicyNotFoundException.fault(format!(
        "Lifecycle policy does not exist for the repository with name '{name}' in the registry \
         with id '{}'",
        cx.locality.account
    ))
}

/// The beginning of time if never, as ECR has it.
fn evaluated_at(snapshot: &Snapshot, name: &RepositoryName) -> wire::Timestamp {
    let last = snapshot.get::<LifecycleEvaluation>(name.as_str());
    wire::Timestamp::from_unix_ms(last.map_or(0, |last| last.evaluated_at.0))
}
