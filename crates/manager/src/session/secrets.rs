//! What a task needs of secrets and parameters, looked up when it is handed to its instance: values
//! of environment variables and users of private registries. They are part of what is sent and of
//! nothing that is stored. What can't be had is said in ECS's words, and the task does not start.
//! Source: ECS developer guide, resource-initialization-error; texts as users have published them.

use crate::Context;
use crate::limits::SECRETS_PER_TASK_BYTES_MAX;
use model::credentials::Hidden;
use model::secret::parameter_name;
use model::session::RegistryCredentials;
use model::task_definition::TaskTemplate;
use plan::value_from::{MemberFault, ValueFrom, member, parse};
use serde::Deserialize;
use std::collections::BTreeMap;
use store::secret::Secret as Value;
use store::{Snapshot, vault};

/// By container name.
#[derive(Debug, Default)]
pub struct Resolved {
    pub registry_credentials: BTreeMap<String, RegistryCredentials>,
    pub environment: BTreeMap<String, BTreeMap<String, Hidden>>,
}

/// What the secret of `repositoryCredentials` holds. Source: ECS developer guide,
/// private-auth.
#[derive(Deserialize)]
struct User {
    username: String,
    password: String,
}

/// Everything the containers of a task name, or why it can't be had.
pub fn resolve(
    cx: &Context,
    snapshot: &Snapshot,
    template: &TaskTemplate,
) -> Result<Resolved, String> {
    let mut resolved = Resolved::default();
    let mut bytes = 0;
    for container in &template.containers {
        if let Some(parameter) = &container.credentials_parameter {
            let user = registry_user(cx, snapshot, parameter)
                .map_err(|why| failed(&format!("unable to get registry auth from asm: {why}")))?;
            resolved.registry_credentials.insert(container.name.clone(), user);
        }
        let mut environment = BTreeMap::new();
        for (name, value_from) in &container.secrets {
            let value = value(cx, snapshot, value_from).map_err(|why| failed(&why))?;
            bytes += value.expose().len();
            if bytes > SECRETS_PER_TASK_BYTES_MAX {
                return Err(failed(&format!(
                    "the secrets of a task can have at most {SECRETS_PER_TASK_BYTES_MAX} bytes"
                )));
            }
            environment.insert(name.clone(), value);
        }
        if !environment.is_empty() {
            resolved.environment.insert(container.name.clone(), environment);
        }
    }
    Ok(resolved)
}

fn failed(why: &str) -> String {
    format!(
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource \
         retrieval failed: {why}"
    )
}

fn value(cx: &Context, snapshot: &Snapshot, value_from: &str) -> Result<Hidden, String> {
    let value = match parse(value_from) {
        Some(ValueFrom::Parameter(name)) => parameter(cx, snapshot, &name).map_err(|why| {
            format!(
                "unable to retrieve secrets from ssm: service call has been retried 1 time(s): \
                 {why}"
            )
        })?,
        Some(ValueFrom::Secret { arn, json_key, stage, version }) => {
            let whole = secret(cx, snapshot, &arn, stage.as_deref(), version.as_deref());
            let part = whole.and_then(|whole| match json_key {
                None => Ok(whole),
                Some(key) => member(&whole, &key).map_err(|fault| match fault {
                    MemberFault::NoKey => format!("{fault} {key}"),
                    MemberFault::NoObject => fault.to_string(),
                }),
            });
            part.map_err(|why| {
                format!(
                    "unable to retrieve secret from asm: service call has been retried 1 time(s): \
                     {why}"
                )
            })?
        }
        None => return Err(format!("invalid valueFrom {value_from}")),
    };
    match value.contains('\0') {
        false => Ok(Hidden::new(value)),
        true => Err(format!("the value of {value_from} can't be an environment variable")),
    }
}

fn secret(
    cx: &Context,
    snapshot: &Snapshot,
    id: &str,
    stage: Option<&str>,
    version: Option<&str>,
) -> Result<String, String> {
    let fetch = |why: &str| format!("failed to fetch secret {id} from secrets manager: {why}");
    let missing = "ResourceNotFoundException: Secrets Manager can't find the specified secret";
    let found = vault::find_secret(snapshot, &cx.locality, id);
    let found = found.ok_or_else(|| fetch(&format!("{missing}.")))?;
    if found.deleted_at.is_some() {
        return Err(fetch(
            "InvalidRequestException: You can't perform this operation on the secret because it \
             was marked for deletion.",
        ));
    }
    let which = match (version, stage) {
        (Some(version), _) => format!("VersionId: {version}"),
        (None, stage) => {
            format!("staging label: {}", stage.unwrap_or(model::secret::CURRENT))
        }
    };
    let version = vault::find_secret_version(snapshot, &found, stage, version);
    let version = version.ok_or_else(|| fetch(&format!("{missing} value for {which}")))?;
    if version.is_binary {
        return Err(fetch("the secret has no SecretString"));
    }
    let opened = vault::open_secret(&cx.sealer, &found, &version).map_err(|failure| {
        tracing::error!(secret = found.name, %failure, "a secret can't be opened");
        fetch("DecryptionFailure: Secrets Manager can't decrypt the protected secret text")
    })?;
    text(&opened).ok_or_else(|| fetch("the secret is no text"))
}

fn parameter(cx: &Context, snapshot: &Snapshot, text_given: &str) -> Result<String, String> {
    let missing = || format!("invalid parameters: {text_given}");
    let named = parameter_name(&cx.locality, text_given).ok_or_else(missing)?;
    let (parameter, version) = vault::find_parameter(snapshot, &named).ok_or_else(missing)?;
    let version = version.ok_or_else(missing)?;
    let opened = vault::open_parameter(&cx.sealer, &parameter, &version).map_err(|failure| {
        tracing::error!(parameter = parameter.name, %failure, "a parameter can't be opened");
        format!("{text_given} can't be decrypted")
    })?;
    text(&opened).ok_or_else(missing)
}

fn text(value: &Value) -> Option<String> {
    value.expose_str().map(str::to_owned)
}

/// By ARN, or by name where it is in the same region. Source: ECS API reference,
/// RepositoryCredentials.
fn registry_user(
    cx: &Context,
    snapshot: &Snapshot,
    id: &str,
) -> Result<RegistryCredentials, String> {
    let retried = "service call has been retried 1 time(s)";
    let text = secret(cx, snapshot, id, None, None).map_err(|why| {
        format!("{retried}: asm fetching secret from the service for {id}: {why}")
    })?;
    // What is wrong with the text is not told: it may be the password.
    let user: User = serde_json::from_str(&text).map_err(|_| {
        format!(
            "{retried}: asm fetching authorization data from {id}: the secret must be a JSON \
             object with username and password"
        )
    })?;
    Ok(RegistryCredentials { username: user.username, password: user.password })
}
