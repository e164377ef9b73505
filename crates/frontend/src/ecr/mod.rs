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
mod list_images;
mod list_tags_for_resource;
mod put_image;
mod put_image_scanning_configuration;
mod put_image_tag_mutability;
mod repositories;
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
];
