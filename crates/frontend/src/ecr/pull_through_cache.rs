//! Pull-through cache rules: CreatePullThroughCacheRule, DescribePullThroughCacheRules,
//! UpdatePullThroughCacheRule, DeletePullThroughCacheRule, ValidatePullThroughCacheRule. A rule
//! maps a prefix of repository names to another registry; who pulls follows it. Any host may be an
//! upstream here, not only those that AWS knows: a machine of one's own has neighbours.

use super::describe_repositories::bad_token;
use super::repositories::invalid;
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::arn::Arn;
use model::image::PullThroughCacheRule;
use model::manifest::is_repository_name;
use serde_json::{Map, Value};
use store::{Snapshot, vault};
use wire::ecr;
use wire::ecr::{
    CreatePullThroughCacheRuleRequest, CreatePullThroughCacheRuleResponse,
    DeletePullThroughCacheRuleRequest, DeletePullThroughCacheRuleResponse,
    DescribePullThroughCacheRulesRequest, DescribePullThroughCacheRulesResponse, ErrorCode,
    UpdatePullThroughCacheRuleRequest, UpdatePullThroughCacheRuleResponse,
    ValidatePullThroughCacheRuleRequest, ValidatePullThroughCacheRuleResponse,
};

/// Rules of one registry. Source: ECR user guide, service-quotas.
const RULES_MAX: usize = 50;
/// Rules of one page when the caller names no number. Source: API reference.
const PAGE_RULES: usize = 100;
/// The prefix that stands for all names, and for the upstream's root.
const ROOT: &str = "ROOT";
/// How the names of secrets with an upstream's credentials begin. Source: ECR user guide,
/// pull-through-cache-creating-secret.
const SECRET_PREFIX: &str = "ecr-pullthroughcache/";

/// Hosts and AWS's names for them; those that begin with a dot are ends of host names.
/// Source: API reference, CreatePullThroughCacheRule (upstreamRegistryUrl).
const UPSTREAMS: &[(&str, &str)] = &[
    ("public.ecr.aws", "ecr-public"),
    ("quay.io", "quay"),
    ("registry.k8s.io", "k8s"),
    ("registry-1.docker.io", "docker-hub"),
    ("ghcr.io", "github-container-registry"),
    ("registry.gitlab.com", "gitlab-container-registry"),
    ("cgr.dev", "chainguard"),
    (".azurecr.io", "azure-container-registry"),
    (".azurecr.us", "azure-container-registry"),
    (".amazonaws.com", "ecr"),
];

pub async fn create_pull_through_cache_rule(
    cx: &Context,
    _caller: &Caller,
    input: CreatePullThroughCacheRuleRequest,
) -> Result<CreatePullThroughCacheRuleResponse, Fault> {
    ours(cx, input.registry_id.as_deref())?;
    let prefix = read_prefix("ecrRepositoryPrefix", input.ecr_repository_prefix.as_deref())?;
    let upstream_prefix = match input.upstream_repository_prefix.as_deref() {
        None => None,
        given => Some(read_prefix("upstreamRepositoryPrefix", given)?),
    };
    let upstream_url = read_host(input.upstream_registry_url.as_deref().unwrap_or_default())?;
    let known = upstream_name(&upstream_url);
    let upstream_registry = match (input.upstream_registry, known) {
        (Some(given), Some(known)) if given.as_str() != known => {
            return Err(ErrorCode::UnsupportedUpstreamRegistryException.fault(format!(
                "The upstream registry '{given}' does not match the upstream registry URL \
                 '{upstream_url}'"
            )));
        }
        (Some(given), _) => given.as_str().to_owned(),
        (None, known) => known.unwrap_or_default().to_owned(),
    };
    if let Some(arn) = &input.credential_arn {
        check_credentials(cx, &cx.store.snapshot(), arn)?;
    }
    let now = cx.now();
    let rule = PullThroughCacheRule {
        prefix,
        upstream_url,
        upstream_registry,
        upstream_prefix,
        credential_arn: input.credential_arn,
        custom_role_arn: input.custom_role_arn,
        created_at: now,
        updated_at: now,
    };
    cx.transact(|txn| {
        if txn.get::<PullThroughCacheRule>(&rule.prefix).is_some() {
            return Err(ErrorCode::PullThroughCacheRuleAlreadyExistsException.fault(format!(
                "The pull through cache rule with prefix '{}' already exists in the registry with \
                 id '{}'",
                rule.prefix, cx.locality.account
            )));
        }
        if txn.snapshot().count::<PullThroughCacheRule>("") >= RULES_MAX {
            let text = format!("A registry has at most {RULES_MAX} pull through cache rules.");
            return Err(ErrorCode::LimitExceededException.fault(text));
        }
        txn.put(rule.clone());
        Ok(())
    })
    .await?;
    let shown = show(cx, &rule);
    Ok(CreatePullThroughCacheRuleResponse {
        created_at: shown.created_at,
        credential_arn: shown.credential_arn,
        custom_role_arn: shown.custom_role_arn,
        ecr_repository_prefix: shown.ecr_repository_prefix,
        registry_id: shown.registry_id,
        upstream_registry: shown.upstream_registry,
        upstream_registry_url: shown.upstream_registry_url,
        upstream_repository_prefix: shown.upstream_repository_prefix,
    })
}

pub async fn describe_pull_through_cache_rules(
    cx: &Context,
    _caller: &Caller,
    input: DescribePullThroughCacheRulesRequest,
) -> Result<DescribePullThroughCacheRulesResponse, Fault> {
    ours(cx, input.registry_id.as_deref())?;
    let snapshot = cx.store.snapshot();
    if let Some(prefixes) = input.ecr_repository_prefixes.filter(|it| !it.is_empty()) {
        let mut rules = Vec::with_capacity(prefixes.len());
        for prefix in &prefixes {
            let prefix = read_prefix("ecrRepositoryPrefixes", Some(prefix))?;
            let rule = snapshot.get::<PullThroughCacheRule>(&prefix);
            rules.push(show(cx, &*rule.ok_or_else(|| missing(cx, &prefix))?));
        }
        let pull_through_cache_rules = Some(rules);
        return Ok(DescribePullThroughCacheRulesResponse {
            next_token: None,
            pull_through_cache_rules,
        });
    }
    let cursor = Cursor::new(&["DescribePullThroughCacheRules"]);
    let after = cursor.after(input.next_token.as_deref(), bad_token)?.unwrap_or_default();
    let limit = page_items(input.max_results, PAGE_RULES);
    let all = snapshot.scan_from::<PullThroughCacheRule>("", &after);
    let rest = all.filter(|(key, _)| *key > after.as_str()).map(|(_, rule)| rule);
    let (page, next_token) = cursor.take(rest, limit, |rule| &rule.prefix);
    Ok(DescribePullThroughCacheRulesResponse {
        next_token,
        pull_through_cache_rules: Some(page.iter().map(|rule| show(cx, rule)).collect()),
    })
}

pub async fn update_pull_through_cache_rule(
    cx: &Context,
    _caller: &Caller,
    input: UpdatePullThroughCacheRuleRequest,
) -> Result<UpdatePullThroughCacheRuleResponse, Fault> {
    ours(cx, input.registry_id.as_deref())?;
    let prefix = read_prefix("ecrRepositoryPrefix", input.ecr_repository_prefix.as_deref())?;
    if let Some(arn) = &input.credential_arn {
        check_credentials(cx, &cx.store.snapshot(), arn)?;
    }
    let rule = cx
        .transact(|txn| {
            let known = txn.get::<PullThroughCacheRule>(&prefix);
            let mut rule = (*known.ok_or_else(|| missing(cx, &prefix))?).clone();
            let kept = rule.credential_arn.take();
            rule.credential_arn = input.credential_arn.clone().or(kept);
            let kept = rule.custom_role_arn.take();
            rule.custom_role_arn = input.custom_role_arn.clone().or(kept);
            rule.updated_at = cx.now();
            txn.put(rule.clone());
            Ok(rule)
        })
        .await?;
    let shown = show(cx, &rule);
    Ok(UpdatePullThroughCacheRuleResponse {
        credential_arn: shown.credential_arn,
        custom_role_arn: shown.custom_role_arn,
        ecr_repository_prefix: shown.ecr_repository_prefix,
        registry_id: shown.registry_id,
        updated_at: shown.updated_at,
        upstream_repository_prefix: shown.upstream_repository_prefix,
    })
}

/// The rule goes; what was cached by it stays.
pub async fn delete_pull_through_cache_rule(
    cx: &Context,
    _caller: &Caller,
    input: DeletePullThroughCacheRuleRequest,
) -> Result<DeletePullThroughCacheRuleResponse, Fault> {
    ours(cx, input.registry_id.as_deref())?;
    let prefix = read_prefix("ecrRepositoryPrefix", input.ecr_repository_prefix.as_deref())?;
    let rule = cx
        .transact(|txn| {
            let known = txn.get::<PullThroughCacheRule>(&prefix);
            let known = known.ok_or_else(|| missing(cx, &prefix))?;
            txn.delete::<PullThroughCacheRule>(&prefix);
            Ok(known)
        })
        .await?;
    let shown = show(cx, &rule);
    Ok(DeletePullThroughCacheRuleResponse {
        created_at: shown.created_at,
        credential_arn: shown.credential_arn,
        custom_role_arn: shown.custom_role_arn,
        ecr_repository_prefix: shown.ecr_repository_prefix,
        registry_id: shown.registry_id,
        upstream_registry_url: shown.upstream_registry_url,
        upstream_repository_prefix: shown.upstream_repository_prefix,
    })
}

/// Looks at the credentials as they are kept; the upstream itself is not asked.
pub async fn validate_pull_through_cache_rule(
    cx: &Context,
    _caller: &Caller,
    input: ValidatePullThroughCacheRuleRequest,
) -> Result<ValidatePullThroughCacheRuleResponse, Fault> {
    ours(cx, input.registry_id.as_deref())?;
    let prefix = read_prefix("ecrRepositoryPrefix", input.ecr_repository_prefix.as_deref())?;
    let snapshot = cx.store.snapshot();
    let rule = snapshot.get::<PullThroughCacheRule>(&prefix);
    let rule = rule.ok_or_else(|| missing(cx, &prefix))?;
    let checked = match &rule.credential_arn {
        Some(arn) => check_credentials(cx, &snapshot, arn),
        None => Ok(()),
    };
    let shown = show(cx, &rule);
    Ok(ValidatePullThroughCacheRuleResponse {
        credential_arn: shown.credential_arn,
        custom_role_arn: shown.custom_role_arn,
        ecr_repository_prefix: shown.ecr_repository_prefix,
        is_valid: Some(checked.is_ok()),
        failure: checked.err().map(|fault| fault.message),
        registry_id: shown.registry_id,
        upstream_registry_url: shown.upstream_registry_url,
        upstream_repository_prefix: shown.upstream_repository_prefix,
    })
}

/// There is one registry, ours.
fn ours(cx: &Context, registry_id: Option<&str>) -> Result<(), Fault> {
    match registry_id.filter(|id| *id != cx.locality.account.as_str()) {
        None => Ok(()),
        Some(other) => {
            Err(invalid("registryId", &format!("the registry {other} is not served here")))
        }
    }
}

fn missing(cx: &Context, prefix: &str) -> Fault {
    ErrorCode::PullThroughCacheRuleNotFoundException.fault(format!(
        "The pull through cache rule with prefix '{prefix}' does not exist in the registry with id \
         '{}'",
        cx.locality.account
    ))
}

/// A `/` at the end is assumed, and so not kept.
fn read_prefix(member: &str, given: Option<&str>) -> Result<String, Fault> {
    let given = given.unwrap_or_default();
    let prefix = given.strip_suffix('/').unwrap_or(given);
    match prefix == ROOT || is_repository_name(prefix) {
        true => Ok(prefix.to_owned()),
        false => Err(invalid(
            member,
            "must satisfy regular expression '^([a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*\
             (\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*\\/?|ROOT)$'",
        )),
    }
}

/// A host, and a port where it needs one; what AWS's own tools write before it is taken off.
fn read_host(given: &str) -> Result<String, Fault> {
    let host = given.strip_prefix("https://").unwrap_or(given).trim_end_matches('/');
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "443"));
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good = name.len() <= 253 && name.split('.').all(label) && port.parse::<u16>().is_ok();
    match good {
        true => Ok(host.to_owned()),
        false => {
            let text = format!("The upstream registry URL '{given}' is not supported");
            Err(ErrorCode::UnsupportedUpstreamRegistryException.fault(text))
        }
    }
}

fn upstream_name(host: &str) -> Option<&'static str> {
    let is = |end: &str| host == end || (end.starts_with('.') && host.ends_with(end));
    UPSTREAMS.iter().find(|(end, _)| is(end)).map(|(_, name)| *name)
}

/// The secret must be there, under a name ECR may read, and hold a user's name and its token.
fn check_credentials(cx: &Context, snapshot: &Snapshot, arn: &str) -> Result<(), Fault> {
    let named = Arn::parse(arn).filter(|arn| arn.service == "secretsmanager");
    let named = named.and_then(|arn| arn.resource.strip_prefix("secret:"));
    if !named.is_some_and(|name| name.starts_with(SECRET_PREFIX)) {
        let must = format!("must be the ARN of a secret whose name begins with {SECRET_PREFIX}");
        return Err(invalid("credentialArn", &must));
    }
    let secret = vault::find_secret(snapshot, &cx.locality, arn);
    let secret = secret.filter(|secret| secret.deleted_at.is_none()).ok_or_else(|| {
        let text = format!("The secret with ARN '{arn}' does not exist");
        ErrorCode::SecretNotFoundException.fault(text)
    })?;
    let unreadable = || {
        let text = format!("The secret with ARN '{arn}' could not be read");
        ErrorCode::UnableToAccessSecretException.fault(text)
    };
    let version = vault::find_secret_version(snapshot, &secret, None, None);
    let version = version.ok_or_else(unreadable)?;
    let value = vault::open_secret(&cx.sealer, &secret, &version).map_err(|failure| {
        tracing::error!(secret = secret.name, %failure, "a secret can't be opened");
        let text = format!("The secret with ARN '{arn}' could not be decrypted");
        ErrorCode::UnableToDecryptSecretValueException.fault(text)
    })?;
    let object: Option<Map<String, Value>> = serde_json::from_slice(value.expose()).ok();
    let has =
        |name: &str| object.as_ref().and_then(|it| it.get(name)).is_some_and(Value::is_string);
    match has("username") && has("accessToken") {
        true => Ok(()),
        false => Err(ErrorCode::UnableToAccessSecretException.fault(format!(
            "The secret with ARN '{arn}' must be a JSON object with 'username' and 'accessToken'"
        ))),
    }
}

fn show(cx: &Context, rule: &PullThroughCacheRule) -> ecr::PullThroughCacheRule {
    let known = Some(rule.upstream_registry.as_str()).filter(|name| !name.is_empty());
    ecr::PullThroughCacheRule {
        created_at: Some(wire::Timestamp::from_unix_ms(rule.created_at.0)),
        credential_arn: rule.credential_arn.clone(),
        custom_role_arn: rule.custom_role_arn.clone(),
        ecr_repository_prefix: Some(rule.prefix.clone()),
        registry_id: Some(cx.locality.account.to_string()),
        updated_at: Some(wire::Timestamp::from_unix_ms(rule.updated_at.0)),
        upstream_registry: known.map(Into::into),
        upstream_registry_url: Some(rule.upstream_url.clone()),
        // As it was given: Terraform compares.
        upstream_repository_prefix: rule.upstream_prefix.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_and_known_by_its_end() {
        for (given, host) in [
            ("registry-1.docker.io", Some("registry-1.docker.io")),
            ("https://quay.io/", Some("quay.io")),
            ("127.0.0.1:5000", Some("127.0.0.1:5000")),
            ("a/b", None),
            ("http://x", None),
            ("x:port", None),
            ("", None),
            ("-x", None),
        ] {
            assert_eq!(read_host(given).ok().as_deref(), host, "{given}");
        }
        assert_eq!(upstream_name("mine.azurecr.io"), Some("azure-container-registry"));
        assert_eq!(upstream_name("azurecr.io.example"), None);
        assert_eq!(upstream_name("quay.io"), Some("quay"));
    }
}
