//! Amazon Elastic Container Registry's control plane: repositories, their settings, and the images
//! in them. Pushing and pulling is crate `registry`'s; both write the same records, each in
//! transactions that guard what they rely on.

mod batch_delete_image;
mod batch_get_image;
mod create_repository;
mod delete_repository;
mod describe_images;
mod describe_registry;
mod describe_repositories;
mod get_authorization_token;
mod images;
mod layers;
mod lifecycle_policy;
mod lifecycle_policy_preview;
mod list_image_referrers;
mod list_images;
mod list_tags_for_resource;
mod policies;
mod pull_through_cache;
mod put_image;
mod put_image_scanning_configuration;
mod put_image_tag_mutability;
mod repositories;
mod settings;
mod tag_resource;
mod tags;
#[cfg(test)]
mod tests;
mod untag_resource;

use crate::dispatch::{Route, route};

pub const ROUTES: &[Route] = &[
    route!(ecr, BatchDeleteImageRequest, batch_delete_image::batch_delete_image),
    route!(
        ecr,
        BatchGetImageRequest,
        batch_get_image::batch_get_image,
        ignores["acceptedMediaTypes"]
    ),
    route!(
        ecr,
        CreateRepositoryRequest,
        create_repository::create_repository,
        ignores["imageScanningConfiguration.scanOnPush"]
    ),
    route!(ecr, DeleteRepositoryRequest, delete_repository::delete_repository),
    route!(ecr, DescribeImagesRequest, describe_images::describe_images),
    route!(ecr, DescribeRegistryRequest, describe_registry::describe_registry),
    route!(ecr, DescribeRepositoriesRequest, describe_repositories::describe_repositories),
    route!(ecr, GetAuthorizationTokenRequest, get_authorization_token::get_authorization_token),
    route!(ecr, ListImagesRequest, list_images::list_images),
    route!(ecr, ListTagsForResourceRequest, list_tags_for_resource::list_tags_for_resource),
    route!(ecr, PutImageRequest, put_image::put_image),
    route!(
        ecr,
        PutImageScanningConfigurationRequest,
        put_image_scanning_configuration::put_image_scanning_configuration,
        ignores["imageScanningConfiguration.scanOnPush"]
    ),
    route!(ecr, PutImageTagMutabilityRequest, put_image_tag_mutability::put_image_tag_mutability),
    route!(ecr, TagResourceRequest, tag_resource::tag_resource),
    route!(ecr, UntagResourceRequest, untag_resource::untag_resource),
    route!(ecr, DeleteLifecyclePolicyRequest, lifecycle_policy::delete_lifecycle_policy),
    route!(ecr, GetLifecyclePolicyRequest, lifecycle_policy::get_lifecycle_policy),
    route!(ecr, PutLifecyclePolicyRequest, lifecycle_policy::put_lifecycle_policy),
    route!(
        ecr,
        StartLifecyclePolicyPreviewRequest,
        lifecycle_policy_preview::start_lifecycle_policy_preview
    ),
    route!(
        ecr,
        GetLifecyclePolicyPreviewRequest,
        lifecycle_policy_preview::get_lifecycle_policy_preview
    ),
    route!(
        ecr,
        SetRepositoryPolicyRequest,
        policies::set_repository_policy,
        ignores["force (no authorization yet)", "policyText (no authorization yet)"]
    ),
    route!(ecr, GetRepositoryPolicyRequest, policies::get_repository_policy),
    route!(ecr, DeleteRepositoryPolicyRequest, policies::delete_repository_policy),
    route!(
        ecr,
        PutRegistryPolicyRequest,
        policies::put_registry_policy,
        ignores["policyText (no authorization yet)"]
    ),
    route!(ecr, GetRegistryPolicyRequest, policies::get_registry_policy),
    route!(ecr, DeleteRegistryPolicyRequest, policies::delete_registry_policy),
    route!(
        ecr,
        PutReplicationConfigurationRequest,
        settings::put_replication_configuration,
        ignores["replicationConfiguration (there is no other registry)"]
    ),
    route!(
        ecr,
        GetRegistryScanningConfigurationRequest,
        settings::get_registry_scanning_configuration
    ),
    route!(
        ecr,
        PutRegistryScanningConfigurationRequest,
        settings::put_registry_scanning_configuration,
        ignores["rules (there is no scanner)", "scanType (there is no scanner)"]
    ),
    route!(
        ecr,
        CreatePullThroughCacheRuleRequest,
        pull_through_cache::create_pull_through_cache_rule,
        ignores["customRoleArn"]
    ),
    route!(
        ecr,
        DescribePullThroughCacheRulesRequest,
        pull_through_cache::describe_pull_through_cache_rules
    ),
    route!(
        ecr,
        UpdatePullThroughCacheRuleRequest,
        pull_through_cache::update_pull_through_cache_rule,
        ignores["customRoleArn"]
    ),
    route!(
        ecr,
        DeletePullThroughCacheRuleRequest,
        pull_through_cache::delete_pull_through_cache_rule
    ),
    route!(
        ecr,
        ValidatePullThroughCacheRuleRequest,
        pull_through_cache::validate_pull_through_cache_rule,
        ignores["ecrRepositoryPrefix (the upstream itself is not asked)"]
    ),
    route!(ecr, ListImageReferrersRequest, list_image_referrers::list_image_referrers),
    route!(ecr, InitiateLayerUploadRequest, layers::initiate_layer_upload),
    route!(ecr, UploadLayerPartRequest, layers::upload_layer_part),
    route!(ecr, CompleteLayerUploadRequest, layers::complete_layer_upload),
    route!(ecr, BatchCheckLayerAvailabilityRequest, layers::batch_check_layer_availability),
    route!(ecr, GetDownloadUrlForLayerRequest, layers::get_download_url_for_layer),
];
