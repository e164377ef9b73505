//! PutResourcePolicy, GetResourcePolicy, DeleteResourcePolicy: kept and shown; nothing is decided
//! by it yet.

use super::secrets::{change, check_live, find_live};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use serde_json::Value;
use wire::secretsmanager::{
    DeleteResourcePolicyRequest, DeleteResourcePolicyResponse, ErrorCode, GetResourcePolicyRequest,
    GetResourcePolicyResponse, PutResourcePolicyRequest, PutResourcePolicyResponse,
};

pub async fn put_resource_policy(
    cx: &Context,
    _caller: &Caller,
    input: PutResourcePolicyRequest,
) -> Result<PutResourcePolicyResponse, Fault> {
    let text = input.resource_policy.unwrap_or_default();
    let policy: Option<Value> = serde_json::from_str(&text).ok();
    let statement = policy.as_ref().and_then(|policy| policy.get("Statement"));
    if !statement.is_some_and(|statement| statement.is_array() || statement.is_object()) {
        return Err(ErrorCode::MalformedPolicyDocumentException
            .fault("This resource policy contains a syntax error."));
    }
    if input.block_public_policy == Some(true) && statement.is_some_and(is_public) {
        return Err(ErrorCode::PublicPolicyException
            .fault("The resource policy grants broad access to the secret."));
    }
    let (secret, ()) = change(cx, input.secret_id.as_deref(), |_, secret| {
        check_live(secret)?;
        secret.policy = Some(text.clone());
        Ok(())
    })
    .await?;
    let arn = Some(secret.arn(&cx.locality));
    Ok(PutResourcePolicyResponse { arn, name: Some(secret.name) })
}

/// Whether a statement allows something to everybody, without a condition.
fn is_public(statements: &Value) -> bool {
    let one = |statement: &Value| {
        let principal = statement.get("Principal");
        let anybody = principal.is_some_and(|it| it == "*" || it.get("AWS").is_some_and(is_star));
        let allowed = statement.get("Effect").is_some_and(|effect| effect == "Allow");
        allowed && anybody && statement.get("Condition").is_none()
    };
    match statements {
        Value::Array(all) => all.iter().any(one),
        single => one(single),
    }
}

fn is_star(value: &Value) -> bool {
    match value {
        Value::Array(all) => all.iter().any(|one| one == "*"),
        one => one == "*",
    }
}

pub async fn get_resource_policy(
    cx: &Context,
    _caller: &Caller,
    input: GetResourcePolicyRequest,
) -> Result<GetResourcePolicyResponse, Fault> {
    let secret = find_live(cx, &cx.store.snapshot(), input.secret_id.as_deref())?;
    Ok(GetResourcePolicyResponse {
        arn: Some(secret.arn(&cx.locality)),
        name: Some(secret.name.clone()),
        resource_policy: secret.policy.clone(),
    })
}

pub async fn delete_resource_policy(
    cx: &Context,
    _caller: &Caller,
    input: DeleteResourcePolicyRequest,
) -> Result<DeleteResourcePolicyResponse, Fault> {
    let (secret, ()) = change(cx, input.secret_id.as_deref(), |_, secret| {
        check_live(secret)?;
        secret.policy = None;
        Ok(())
    })
    .await?;
    let arn = Some(secret.arn(&cx.locality));
    Ok(DeleteResourcePolicyResponse { arn, name: Some(secret.name) })
}
