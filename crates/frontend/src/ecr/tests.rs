//! The operations through their functions, over records as a push leaves them.

use super::{
    batch_delete_image::batch_delete_image, batch_get_image::batch_get_image,
    create_repository::create_repository, delete_repository::delete_repository,
    describe_images::describe_images, describe_registry::describe_registry,
    describe_repositories::describe_repositories, get_authorization_token::get_authorization_token,
    list_images::list_images, list_tags_for_resource::list_tags_for_resource, put_image::put_image,
    put_image_scanning_configuration::put_image_scanning_configuration,
    put_image_tag_mutability::put_image_tag_mutability, tag_resource::tag_resource,
    untag_resource::untag_resource,
};
use crate::fault::Fault;
use crate::fixture::{Fixture, NOW};
use model::image::BlobLink;
use model::{Digest, RepositoryName};
use serde_json::json;
use wire::ecr::*;

const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

async fn create(fixture: &Fixture, name: &str) -> Result<Repository, Fault> {
    let input = CreateRepositoryRequest { repository_name: some(name), ..Default::default() };
    let made = create_repository(&fixture.cx, &fixture.caller, input).await?;
    Ok(made.repository.expect("shown"))
}

/// A manifest of one config and one layer, both linked in the repository.
async fn pushed(fixture: &Fixture, name: &str, layer: &str) -> String {
    let mut txn = fixture.cx.store.begin();
    let mut descriptor = |content: &str| {
        let digest = store::blob::Digest::of(content.as_bytes()).to_string();
        txn.put(BlobLink {
            repository: RepositoryName::from(name),
            digest: Digest::from(digest.as_str()),
            bytes: content.len() as u64,
            linked_at: NOW,
        });
        json!({ "mediaType": "application/x", "digest": digest, "size": content.len() })
    };
    let (config, layer) = (descriptor("{}"), descriptor(layer));
    txn.commit().await.expect("committed");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MEDIA_TYPE, "config": config, "layers": [layer],
    });
    manifest.to_string()
}

async fn put(
    fixture: &Fixture,
    name: &str,
    tag: Option<&str>,
    manifest: &str,
) -> Result<String, Fault> {
    let input = PutImageRequest {
        repository_name: some(name),
        image_tag: tag.map(str::to_owned),
        image_manifest: some(manifest),
        ..Default::default()
    };
    let image = put_image(&fixture.cx, &fixture.caller, input).await?.image.expect("shown");
    Ok(image.image_id.and_then(|id| id.image_digest).expect("a digest"))
}

fn by_tag(tag: &str) -> ImageIdentifier {
    ImageIdentifier { image_tag: some(tag), image_digest: None }
}

fn by_digest(digest: &str) -> ImageIdentifier {
    ImageIdentifier { image_digest: some(digest), image_tag: None }
}

async fn delete(
    fixture: &Fixture,
    name: &str,
    ids: &[ImageIdentifier],
) -> BatchDeleteImageResponse {
    let input = BatchDeleteImageRequest {
        repository_name: some(name),
        image_ids: Some(ids.to_vec()),
        ..Default::default()
    };
    batch_delete_image(&fixture.cx, &fixture.caller, input).await.expect("answered")
}

async fn list(fixture: &Fixture, name: &str) -> Vec<ImageIdentifier> {
    let input = ListImagesRequest { repository_name: some(name), ..Default::default() };
    let found = list_images(&fixture.cx, &fixture.caller, input).await.expect("found");
    found.image_ids.expect("a list")
}

#[tokio::test]
async fn a_repository_is_made_shown_and_deleted() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let made = create(&fixture, "team/web").await.expect("made");
    assert_eq!(made.repository_uri.as_deref(), Some("127.0.0.1:4566/team/web"));
    let arn = "arn:aws:ecr:us-east-1:000000000000:repository/team/web";
    assert_eq!(made.repository_arn.as_deref(), Some(arn));
    let fault = create(&fixture, "team/web").await.expect_err("there");
    assert_eq!(fault.code, "RepositoryAlreadyExistsException");
    let text = "The repository with name 'team/web' already exists in the registry with id \
                '000000000000'";
    assert_eq!(fault.message, text);
    for bad in ["UPPER", "a//b", "-a", "a__b"] {
        let fault = create(&fixture, bad).await.expect_err("a bad name");
        assert_eq!(fault.code, "InvalidParameterException", "{bad}");
    }
    let input = PutImageScanningConfigurationRequest {
        repository_name: some("team/web"),
        image_scanning_configuration: Some(ImageScanningConfiguration { scan_on_push: Some(true) }),
        ..Default::default()
    };
    put_image_scanning_configuration(cx, caller, input).await.expect("set");
    create(&fixture, "other").await.expect("made");
    let input = DescribeRepositoriesRequest { max_results: Some(1), ..Default::default() };
    let page = describe_repositories(cx, caller, input.clone()).await.expect("found");
    let name = |page: &DescribeRepositoriesResponse| {
        page.repositories.as_ref().expect("a list")[0].repository_name.clone()
    };
    assert_eq!(name(&page), some("other"));
    let input = DescribeRepositoriesRequest { next_token: page.next_token, ..input };
    let page = describe_repositories(cx, caller, input).await.expect("found");
    assert_eq!((name(&page), &page.next_token), (some("team/web"), &None));
    let shown = &page.repositories.expect("a list")[0];
    let scanning = shown.image_scanning_configuration.as_ref().expect("shown");
    assert_eq!(scanning.scan_on_push, Some(true));
    let input = DescribeRepositoriesRequest {
        repository_names: Some(vec!["nope".to_owned()]),
        ..Default::default()
    };
    let fault = describe_repositories(cx, caller, input).await.expect_err("missing");
    let text =
        "The repository with name 'nope' does not exist in the registry with id '000000000000'";
    assert_eq!(fault.message, text);

    let manifest = pushed(&fixture, "team/web", "layer").await;
    put(&fixture, "team/web", Some("v1"), &manifest).await.expect("put");
    let input = DeleteRepositoryRequest { repository_name: some("team/web"), ..Default::default() };
    let fault = delete_repository(cx, caller, input.clone()).await.expect_err("not empty");
    assert_eq!(fault.code, "RepositoryNotEmptyException");
    let forced = DeleteRepositoryRequest { force: Some(true), ..input.clone() };
    delete_repository(cx, caller, forced).await.expect("deleted");
    let fault = delete_repository(cx, caller, input).await.expect_err("gone");
    assert_eq!(fault.code, "RepositoryNotFoundException");
    create(&fixture, "team/web").await.expect("made anew");
    assert_eq!(list(&fixture, "team/web").await, []);
    let fault = put(&fixture, "team/web", None, &manifest).await.expect_err("no layers");
    assert_eq!(fault.code, "LayersNotFoundException");
}

#[tokio::test]
async fn the_token_is_for_the_host_of_the_repositories() {
    let mut fixture = Fixture::new();
    let token = async |fixture: &Fixture| {
        let input = GetAuthorizationTokenRequest::default();
        let answer = get_authorization_token(&fixture.cx, &fixture.caller, input).await;
        answer.expect("answered").authorization_data.expect("a list").remove(0)
    };
    let data = token(&fixture).await;
    assert_eq!(data.authorization_token.as_deref(), Some("QVdTOnBhc3N3b3Jk"));
    assert_eq!(data.proxy_endpoint.as_deref(), Some("http://127.0.0.1:4566"));
    assert!(data.expires_at.expect("an end").unix_ms > NOW.0);
    fixture.caller.host = "api.ecr.us-east-1.amazonaws.com".into();
    let data = token(&fixture).await;
    let aws = "000000000000.dkr.ecr.us-east-1.amazonaws.com";
    assert_eq!(data.proxy_endpoint, Some(format!("https://{aws}")));
    let made = create(&fixture, "web").await.expect("made");
    assert_eq!(made.repository_uri, Some(format!("{aws}/web")));
    let found = describe_registry(&fixture.cx, &fixture.caller, DescribeRegistryRequest {}).await;
    assert_eq!(found.expect("answered").registry_id.as_deref(), Some("000000000000"));
}

#[tokio::test]
async fn images_are_put_described_and_got() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    create(&fixture, "web").await.expect("made");
    let manifest = pushed(&fixture, "web", "layer").await;
    let digest = put(&fixture, "web", Some("v1"), &manifest).await.expect("put");
    let fault = put(&fixture, "web", Some("v1"), &manifest).await.expect_err("again");
    assert_eq!(fault.code, "ImageAlreadyExistsException");
    let text = format!(
        "Image with digest '{digest}' and tag 'v1' already exists in the repository with name \
         'web' in registry with id '000000000000'"
    );
    assert_eq!(fault.message, text);
    put(&fixture, "web", Some("latest"), &manifest).await.expect("another tag");
    let bare = pushed(&fixture, "web", "bare layer").await;
    let untagged = put(&fixture, "web", None, &bare).await.expect("put");

    let input = DescribeImagesRequest { repository_name: some("web"), ..Default::default() };
    let found = describe_images(cx, caller, input.clone()).await.expect("found");
    let details = found.image_details.expect("a list");
    assert_eq!(details.len(), 2);
    let tagged = details.iter().find(|it| it.image_tags.is_some()).expect("one");
    assert_eq!(tagged.image_digest.as_deref(), Some(digest.as_str()));
    assert_eq!(tagged.image_tags, Some(vec!["latest".to_owned(), "v1".to_owned()]));
    assert_eq!(tagged.image_size_in_bytes, Some(7));
    assert_eq!(tagged.image_manifest_media_type.as_deref(), Some(MEDIA_TYPE));
    let filter = DescribeImagesFilter { tag_status: Some("UNTAGGED".into()), image_status: None };
    let only = DescribeImagesRequest { filter: Some(filter), ..input.clone() };
    let found = describe_images(cx, caller, only).await.expect("found").image_details;
    assert_eq!(found.expect("a list")[0].image_digest.as_deref(), Some(untagged.as_str()));
    let ids = Some(vec![by_tag("nope")]);
    let fault =
        describe_images(cx, caller, DescribeImagesRequest { image_ids: ids, ..input }).await;
    let text = "The image with imageId {imageDigest:'null', imageTag:'nope'} does not exist within \
                the repository with name 'web' in the registry with id '000000000000'";
    assert_eq!(fault.expect_err("missing").message, text);

    let input = BatchGetImageRequest {
        repository_name: some("web"),
        image_ids: Some(vec![
            by_tag("v1"),
            by_tag("nope"),
            ImageIdentifier::default(),
            ImageIdentifier { image_tag: some("v1"), image_digest: some(&untagged) },
        ]),
        ..Default::default()
    };
    let found = batch_get_image(cx, caller, input).await.expect("answered");
    let images = found.images.expect("a list");
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].image_manifest.as_deref(), Some(manifest.as_str()));
    let failures = found.failures.expect("a list");
    let codes: Vec<_> = failures.iter().filter_map(|it| it.failure_code.clone()).collect();
    let wanted = ["ImageNotFound", "MissingDigestAndTag", "ImageTagDoesNotMatchDigest"];
    assert_eq!(codes, wanted.map(ImageFailureCode::from));
    assert_eq!(failures[0].failure_reason.as_deref(), Some("Requested image not found"));
}

#[tokio::test]
async fn a_tag_goes_alone_unless_it_is_the_last() {
    let fixture = Fixture::new();
    create(&fixture, "web").await.expect("made");
    let manifest = pushed(&fixture, "web", "layer").await;
    let digest = put(&fixture, "web", Some("v1"), &manifest).await.expect("put");
    put(&fixture, "web", Some("v2"), &manifest).await.expect("put");
    let gone = delete(&fixture, "web", &[by_tag("v1")]).await;
    let tagged = |tag: &str| ImageIdentifier { image_digest: some(&digest), image_tag: some(tag) };
    assert_eq!(gone.image_ids, Some(vec![tagged("v1")]));
    assert_eq!(list(&fixture, "web").await, [tagged("v2")]);
    let gone = delete(&fixture, "web", &[by_tag("v2"), by_tag("v2")]).await;
    assert_eq!(gone.image_ids, Some(vec![tagged("v2")]));
    assert_eq!(gone.failures.expect("a list").len(), 1);
    assert_eq!(list(&fixture, "web").await, []);
    // More tags than one transaction takes.
    for n in 0..230 {
        put(&fixture, "web", Some(&format!("t{n}")), &manifest).await.expect("put");
    }
    let gone = delete(&fixture, "web", &[by_digest(&digest)]).await;
    assert_eq!(gone.image_ids.expect("a list").len(), 230);
    assert_eq!(list(&fixture, "web").await, []);
}

#[tokio::test]
async fn an_index_protects_its_images_whatever_the_order() {
    let fixture = Fixture::new();
    create(&fixture, "web").await.expect("made");
    let manifest = pushed(&fixture, "web", "layer").await;
    let child = put(&fixture, "web", None, &manifest).await.expect("put");
    let index = |digest: &str| {
        json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{ "mediaType": MEDIA_TYPE, "digest": digest, "size": manifest.len() }],
        })
        .to_string()
    };
    let absent = store::blob::Digest::of(b"absent").to_string();
    let fault = put(&fixture, "web", None, &index(&absent)).await.expect_err("no such image");
    assert_eq!(fault.code, "ReferencedImagesNotFoundException");
    let parent = put(&fixture, "web", Some("all"), &index(&child)).await.expect("put");
    let kept = delete(&fixture, "web", &[by_digest(&child)]).await;
    let failure = kept.failures.expect("a list").remove(0);
    assert_eq!(failure.failure_code, Some(ImageFailureCode::ImageReferencedByManifestList));
    assert!(failure.failure_reason.expect("a reason").contains(&parent));
    let gone = delete(&fixture, "web", &[by_digest(&child), by_digest(&parent)]).await;
    assert_eq!(gone.failures, Some(vec![]));
    assert_eq!(gone.image_ids.expect("a list").len(), 2);
}

#[tokio::test]
async fn immutable_tags_and_lying_digests_are_refused() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    create(&fixture, "web").await.expect("made");
    let one = pushed(&fixture, "web", "one").await;
    let two = pushed(&fixture, "web", "two").await;
    put(&fixture, "web", Some("v1"), &one).await.expect("put");
    let input = PutImageTagMutabilityRequest {
        repository_name: some("web"),
        image_tag_mutability: Some("IMMUTABLE".into()),
        ..Default::default()
    };
    put_image_tag_mutability(cx, caller, input).await.expect("set");
    let fault = put(&fixture, "web", Some("v1"), &two).await.expect_err("immutable");
    assert_eq!(fault.code, "ImageTagAlreadyExistsException");
    let input = PutImageRequest {
        repository_name: some("web"),
        image_digest: Some(store::blob::Digest::of(b"else").to_string()),
        image_manifest: Some(two),
        ..Default::default()
    };
    let fault = put_image(cx, caller, input).await.expect_err("a lie");
    assert_eq!(fault.code, "ImageDigestDoesNotMatchException");
    let input = PutImageTagMutabilityRequest {
        repository_name: some("web"),
        image_tag_mutability: Some("MUTABLE_WITH_EXCLUSION".into()),
        ..Default::default()
    };
    let fault = put_image_tag_mutability(cx, caller, input).await.expect_err("not served");
    assert_eq!(fault.code, "InvalidParameterException");
}

#[tokio::test]
async fn repositories_carry_tags() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let tag = |key: &str, value: &str| Tag { key: some(key), value: some(value) };
    let input = CreateRepositoryRequest {
        repository_name: some("web"),
        tags: Some(vec![tag("env", "test")]),
        ..Default::default()
    };
    let made = create_repository(cx, caller, input).await.expect("made");
    let arn = made.repository.and_then(|it| it.repository_arn);
    let tags = Some(vec![tag("team", "a"), tag("env", "prod")]);
    let input = TagResourceRequest { resource_arn: arn.clone(), tags };
    tag_resource(cx, caller, input).await.expect("tagged");
    let input =
        UntagResourceRequest { resource_arn: arn.clone(), tag_keys: Some(vec!["team".to_owned()]) };
    untag_resource(cx, caller, input).await.expect("untagged");
    let input = ListTagsForResourceRequest { resource_arn: arn.clone() };
    let listed = list_tags_for_resource(cx, caller, input).await.expect("found");
    assert_eq!(listed.tags, Some(vec![tag("env", "prod")]));
    let tags = Some(vec![tag("aws:x", "1")]);
    let input = TagResourceRequest { resource_arn: arn, tags };
    let fault = tag_resource(cx, caller, input).await.expect_err("reserved");
    assert_eq!(fault.code, "InvalidTagParameterException");
    let input = ListTagsForResourceRequest { resource_arn: some("nonsense") };
    let fault = list_tags_for_resource(cx, caller, input).await.expect_err("no ARN");
    assert_eq!(fault.code, "InvalidParameterException");
}
