//! BatchGetImage: manifests as they were pushed, whatever media types the caller would rather have.

use super::images::find as find_image;
use super::repositories::{find, named};
use crate::context::{Caller, Context};
use crate::fault::{self, Fault};
use model::manifest::MANIFEST_BYTES_MAX;
use store::blob::{Digest, read_all};
use wire::ecr::{BatchGetImageRequest, BatchGetImageResponse, Image, ImageIdentifier};

pub async fn batch_get_image(
    cx: &Context,
    _caller: &Caller,
    input: BatchGetImageRequest,
) -> Result<BatchGetImageResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let snapshot = cx.store.snapshot();
    find(cx, &snapshot, &name)?;
    let (mut images, mut failures) = (Vec::new(), Vec::new());
    for id in input.image_ids.unwrap_or_default() {
        let manifest = match find_image(&snapshot, &name, &id) {
            Ok(manifest) => manifest,
            Err(missing) => {
                failures.push(missing.failure(id));
                continue;
            }
        };
        images.push(Image {
            image_id: Some(ImageIdentifier {
                image_digest: Some(manifest.digest.to_string()),
                image_tag: id.image_tag,
            }),
            image_manifest: Some(content(cx, manifest.digest.as_str()).await?),
            image_manifest_media_type: Some(manifest.media_type.clone()),
            registry_id: Some(cx.locality.account.to_string()),
            repository_name: Some(name.to_string()),
        });
    }
    Ok(BatchGetImageResponse { failures: Some(failures), images: Some(images) })
}

/// The text of a manifest that is known to have been stored.
async fn content(cx: &Context, digest: &str) -> Result<String, Fault> {
    let lost = || {
        tracing::error!(digest, "a manifest's content is missing or damaged");
        fault::internal(wire::Protocol::AwsJson11)
    };
    let object = Digest::parse(digest).ok_or_else(lost)?.object_name();
    let content = read_all(&*cx.blobs, object, MANIFEST_BYTES_MAX).await.map_err(|failure| {
        tracing::error!(digest, %failure, "a manifest could not be read");
        fault::internal(wire::Protocol::AwsJson11)
    })?;
    String::from_utf8(content.ok_or_else(lost)?.to_vec()).map_err(|_| lost())
}
