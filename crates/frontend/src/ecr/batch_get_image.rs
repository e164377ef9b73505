//! BatchGetImage: manifests as they were pushed, whatever media types the caller would rather have.

use super::images::{content, find as find_image};
use super::repositories::{find, named};
use crate::context::{Caller, Context};
use crate::fault::Fault;
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
    let mut pulled = Vec::new();
    for id in input.image_ids.unwrap_or_default() {
        let manifest = match find_image(&snapshot, &name, &id) {
            Ok(manifest) => manifest,
            Err(missing) => {
                failures.push(missing.failure(id));
                continue;
            }
        };
        pulled.push(manifest.digest.clone());
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
    if let Err(failure) = store::pulls::note(&cx.store, &name, &pulled, cx.now()).await {
        // The images are here all the same.
        let failure: &dyn std::error::Error = &failure;
        tracing::warn!(repository = %name, failure, "pulls were not noted");
    }
    Ok(BatchGetImageResponse { failures: Some(failures), images: Some(images) })
}
