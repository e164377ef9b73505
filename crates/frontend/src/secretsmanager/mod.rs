//! AWS Secrets Manager: secrets with versions and labels. Values are sealed at rest and are in no
//! log; what operations share in shape stands in one file.

mod change;
mod create_secret;
mod delete;
mod describe;
mod random_password;
mod resource_policy;
mod secrets;
mod tags;
#[cfg(test)]
mod tests;
mod values;

use crate::dispatch::{Route, route};

pub const ROUTES: &[Route] = &[
    route!(secretsmanager, BatchGetSecretValueRequest, values::batch_get_secret_value),
    route!(
        secretsmanager,
        CreateSecretRequest,
        create_secret::create_secret,
        ignores["forceOverwriteReplicaSecret", "kmsKeyId (sealed under our own root key)"]
    ),
    route!(secretsmanager, DeleteResourcePolicyRequest, resource_policy::delete_resource_policy),
    route!(secretsmanager, DeleteSecretRequest, delete::delete_secret),
    route!(secretsmanager, DescribeSecretRequest, describe::describe_secret),
    route!(secretsmanager, GetRandomPasswordRequest, random_password::get_random_password),
    route!(secretsmanager, GetResourcePolicyRequest, resource_policy::get_resource_policy),
    route!(secretsmanager, GetSecretValueRequest, values::get_secret_value),
    route!(secretsmanager, ListSecretVersionIdsRequest, values::list_secret_version_ids),
    route!(secretsmanager, ListSecretsRequest, describe::list_secrets),
    route!(
        secretsmanager,
        PutResourcePolicyRequest,
        resource_policy::put_resource_policy,
        ignores["resourcePolicy (no authorization yet)"]
    ),
    route!(
        secretsmanager,
        PutSecretValueRequest,
        change::put_secret_value,
        ignores["rotationToken"]
    ),
    route!(secretsmanager, RestoreSecretRequest, delete::restore_secret),
    route!(secretsmanager, TagResourceRequest, tags::tag_resource),
    route!(secretsmanager, UntagResourceRequest, tags::untag_resource),
    route!(
        secretsmanager,
        UpdateSecretRequest,
        change::update_secret,
        ignores["kmsKeyId (sealed under our own root key)"]
    ),
    route!(secretsmanager, UpdateSecretVersionStageRequest, change::update_secret_version_stage),
];
