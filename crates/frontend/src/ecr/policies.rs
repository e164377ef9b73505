//! Resource policies: those of repositories and the registry's own. They are read as far as to
//! refuse what is no policy, kept, and shown; nothing is decided by them yet.

use super::repositories::{find, invalid, named, not_found};
use super::settings::{self, POLICY};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::RepositoryName;
use model::image::{RegistryDocument, Repository, RepositoryPolicy};
use serde_json::{Map, Value};
use wire::ecr::{
    DeleteRegistryPolicyRequest, DeleteRegistryPolicyResponse, DeleteRepositoryPolicyRequest,
    DeleteRepositoryPolicyResponse, ErrorCode, GetRegistryPolicyRequest, GetRegistryPolicyResponse,
    GetRepositoryPolicyRequest, GetRepositoryPolicyResponse, PutRegistryPolicyRequest,
    PutRegistryPolicyResponse, SetRepositoryPolicyRequest, SetRepositoryPolicyResponse,
};

pub async fn set_repository_policy(
    cx: &Context,
    _caller: &Caller,
    input: SetRepositoryPolicyRequest,
) -> Result<SetRepositoryPolicyResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let text = input.policy_text.unwrap_or_default();
    check(&text, "Invalid repository policy provided")?;
    let policy = RepositoryPolicy { repository: name.clone(), text: text.clone() };
    cx.transact(|txn| {
        txn.get::<Repository>(name.as_str()).ok_or_else(|| not_found(cx, name.as_str()))?;
        txn.put(policy.clone());
        Ok(())
    })
    .await?;
    Ok(SetRepositoryPolicyResponse {
        policy_text: Some(text),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
    })
}

pub async fn get_repository_policy(
    cx: &Context,
    _caller: &Caller,
    input: GetRepositoryPolicyRequest,
) -> Result<GetRepositoryPolicyResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let snapshot = cx.store.snapshot();
    find(cx, &snapshot, &name)?;
    let policy = snapshot.get::<RepositoryPolicy>(name.as_str());
    let policy = policy.ok_or_else(|| no_repository_policy(cx, &name))?;
    Ok(GetRepositoryPolicyResponse {
        policy_text: Some(policy.text.clone()),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
    })
}

pub async fn delete_repository_policy(
    cx: &Context,
    _caller: &Caller,
    input: DeleteRepositoryPolicyRequest,
) -> Result<DeleteRepositoryPolicyResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let policy = cx
        .transact(|txn| {
            txn.get::<Repository>(name.as_str()).ok_or_else(|| not_found(cx, name.as_str()))?;
            let policy = txn.get::<RepositoryPolicy>(name.as_str());
            let policy = policy.ok_or_else(|| no_repository_policy(cx, &name))?;
            txn.delete::<RepositoryPolicy>(name.as_str());
            Ok(policy)
        })
        .await?;
    Ok(DeleteRepositoryPolicyResponse {
        policy_text: Some(policy.text.clone()),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
    })
}

pub async fn put_registry_policy(
    cx: &Context,
    _caller: &Caller,
    input: PutRegistryPolicyRequest,
) -> Result<PutRegistryPolicyResponse, Fault> {
    let text = input.policy_text.unwrap_or_default();
    check(&text, "Invalid registry policy provided")?;
    settings::keep(cx, POLICY, &text).await?;
    Ok(PutRegistryPolicyResponse {
        policy_text: Some(text),
        registry_id: Some(cx.locality.account.to_string()),
    })
}

pub async fn get_registry_policy(
    cx: &Context,
    _caller: &Caller,
    _input: GetRegistryPolicyRequest,
) -> Result<GetRegistryPolicyResponse, Fault> {
    let text = settings::kept::<String>(&cx.store.snapshot(), POLICY);
    Ok(GetRegistryPolicyResponse {
        policy_text: Some(text.ok_or_else(|| no_registry_policy(cx))?),
        registry_id: Some(cx.locality.account.to_string()),
    })
}

pub async fn delete_registry_policy(
    cx: &Context,
    _caller: &Caller,
    _input: DeleteRegistryPolicyRequest,
) -> Result<DeleteRegistryPolicyResponse, Fault> {
    let text = cx
        .transact(|txn| {
            let known = txn.get::<RegistryDocument>(POLICY);
            known.ok_or_else(|| no_registry_policy(cx))?;
            let text = settings::kept::<String>(txn.snapshot(), POLICY);
            txn.delete::<RegistryDocument>(POLICY);
            Ok(text)
        })
        .await?;
    Ok(DeleteRegistryPolicyResponse {
        policy_text: text,
        registry_id: Some(cx.locality.account.to_string()),
    })
}

fn no_repository_policy(cx: &Context, name: &RepositoryName) -> Fault {
    ErrorCode::RepositoryPolicyNotFoundException.fault(format!(
        "Repository policy does not exist for the repository with name '{name}' in the registry \
         with id '{}'",
        cx.locality.account
    ))
}

fn no_registry_policy(cx: &Context) -> Fault {
    ErrorCode::RegistryPolicyNotFoundException.fault(format!(
        "Registry policy does not exist in the registry with id '{}'",
        cx.locality.account
    ))
}

/// Refuses what is no resource policy: statements with an effect, somebody and something to do.
/// Source: IAM user guide, reference_policies_grammar.
fn check(text: &str, refusal: &str) -> Result<(), Fault> {
    match is_policy(text) {
        true => Ok(()),
        false => Err(invalid("PolicyText", refusal)),
    }
}

fn is_policy(text: &str) -> bool {
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else { return false };
    let known = ["Version", "Id", "Statement"];
    let version = policy.get("Version").and_then(Value::as_str).unwrap_or("2008-10-17");
    policy.keys().all(|key| known.contains(&key.as_str()))
        && ["2008-10-17", "2012-10-17"].contains(&version)
        && match policy.get("Statement") {
            Some(Value::Array(statements)) => {
                !statements.is_empty()
                    && statements.iter().all(|it| it.as_object().is_some_and(is_statement))
            }
            Some(Value::Object(statement)) => is_statement(statement),
            _ => false,
        }
}

fn is_statement(statement: &Map<String, Value>) -> bool {
    let one_of = |names: [&str; 2]| {
        let given: Vec<&Value> = names.iter().filter_map(|name| statement.get(*name)).collect();
        match given.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    };
    let effect = statement.get("Effect").and_then(Value::as_str);
    let somebody = one_of(["Principal", "NotPrincipal"]);
    let somebody = somebody.is_some_and(|it| it == "*" || it.is_object());
    let action = |action: &Value| {
        action.as_str().is_some_and(|it| it == "*" || it.to_lowercase().starts_with("ecr:"))
    };
    let something = match one_of(["Action", "NotAction"]) {
        Some(Value::Array(actions)) => !actions.is_empty() && actions.iter().all(action),
        Some(one) => action(one),
        None => false,
    };
    let condition = statement.get("Condition").is_none_or(Value::is_object);
    matches!(effect, Some("Allow" | "Deny")) && somebody && something && condition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_who_may_do_what() {
        let good = r#"{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow",
            "Principal":{"AWS":"arn:aws:iam::000000000000:root"},
            "Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}]}"#;
        assert!(is_policy(good));
        for (change, to) in [
            ("\"Version\"", "\"Versions\""),
            ("2012-10-17", "2024-01-01"),
            ("Allow", "allow"),
            ("\"Principal\"", "\"Principals\""),
            ("\"Action\"", "\"Actions\""),
            ("ecr:BatchGetImage", "s3:GetObject"),
            ("[{", "[[{"),
        ] {
            assert!(!is_policy(&good.replacen(change, to, 1)), "{change}");
        }
        for bad in ["", "[]", "{}", r#"{"Statement":[]}"#] {
            assert!(!is_policy(bad), "{bad}");
        }
    }
}
