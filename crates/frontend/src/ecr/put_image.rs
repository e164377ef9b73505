//! PutImage: a manifest whose layers have been pushed already. Docker's push does not come here but
//! to the registry; tools that copy or retag images do.

use super::repositories::{named, not_found};
use crate::context::{Caller, Context};
use crate::fault::{self, Fault};
use bytes::Bytes;
use model::image::{ImageTag, Manifest, Repository};
use model::manifest::{Document, Malformed, is_tag, parse_digest};
use model::{Digest, RepositoryName, Timestamp};
use store::blob::links;
use store::kinds::{image_tag_key, manifest_key};
use store::{TransactFailure, Txn};
use wire::ecr::{ErrorCode, Image, ImageIdentifier, PutImageRequest, PutImageResponse};

pub async fn put_image(
    cx: &Context,
    _caller: &Caller,
    input: PutImageRequest,
) -> Result<PutImageResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let content = input.image_manifest.unwrap_or_default();
    let media_type = input.image_manifest_media_type.unwrap_or_default();
    let document = Document::parse(content.as_bytes(), &media_type).map_err(malformed)?;
    let digest = Digest::from(store::blob::Digest::of(content.as_bytes()).to_string());
    check_names(input.image_tag.as_deref(), input.image_digest.as_deref(), &digest)?;
    let manifest = manifest(cx, &name, &digest, &document, content.len());
    let stored = store::blob::put_content(&*cx.blobs, Bytes::from(content.clone())).await;
    stored.map_err(|failure| {
        tracing::error!(%failure, "a manifest could not be stored");
        fault::internal(wire::Protocol::AwsJson11)
    })?;
    let blobs: Vec<&Digest> = document.blobs.iter().map(|needed| &needed.digest).collect();
    let early = links::renew_early(&cx.store, &name, &blobs, manifest.pushed_at).await;
    early.map_err(|failure| match failure {
        TransactFailure::Aborted(links::Missing(missing)) => lacking(cx, &name, "Layers", &missing),
        TransactFailure::Commit(failure) => fault::commit(&failure),
        TransactFailure::Contended { .. } => fault::internal(wire::Protocol::AwsJson11),
    })?;
    let tag = input.image_tag.as_deref();
    let put = cx.store.transact(|txn| {
        let repository = txn.get::<Repository>(name.as_str());
        let repository = repository.ok_or_else(|| not_found(cx, name.as_str()))?;
        check_needs(cx, txn, &name, &document, manifest.pushed_at)?;
        let known = txn.get::<Manifest>(&manifest_key(&name, &digest));
        let tagged = set_tag(cx, txn, &repository, &manifest, tag)?;
        if known.is_some() && !tagged {
            return Err(already_there(cx, &name, &digest, tag));
        }
        // Written also when it is there: who deletes it meanwhile has not seen its new tag.
        txn.put(known.map_or_else(|| manifest.clone(), |known| Manifest::clone(&known)));
        Ok(())
    });
    put.await.map_err(fault::transact)?;
    Ok(PutImageResponse {
        image: Some(Image {
            image_id: Some(ImageIdentifier {
                image_digest: Some(digest.to_string()),
                image_tag: input.image_tag,
            }),
            image_manifest: Some(content),
            image_manifest_media_type: Some(manifest.media_type),
            registry_id: Some(cx.locality.account.to_string()),
            repository_name: Some(name.to_string()),
        }),
    })
}

fn malformed(Malformed(text): Malformed) -> Fault {
    ErrorCode::InvalidParameterException.fault(format!(
        "Invalid parameter at 'ImageManifest' failed to satisfy constraint: '{text}'"
    ))
}

fn check_names(tag: Option<&str>, wanted: Option<&str>, digest: &Digest) -> Result<(), Fault> {
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(super::repositories::invalid("imageTag", "must be a valid image tag"));
    }
    match wanted.filter(|wanted| parse_digest(wanted).as_ref() != Some(digest)) {
        None => Ok(()),
        Some(wanted) => Err(ErrorCode::ImageDigestDoesNotMatchException.fault(format!(
            "The image manifest's digest is '{digest}', not '{wanted}' as the request says"
        ))),
    }
}

fn manifest(
    cx: &Context,
    name: &RepositoryName,
    digest: &Digest,
    document: &Document,
    bytes: usize,
) -> Manifest {
    let needs = document.blobs.iter().chain(&document.manifests);
    Manifest {
        repository: name.clone(),
        digest: digest.clone(),
        media_type: document.media_type.clone(),
        artifact_type: document.artifact_type.clone(),
        subject: document.subject.clone(),
        references: needs.map(|needed| needed.digest.clone()).collect(),
        manifest_bytes: bytes as u64,
        image_bytes: document.image_bytes,
        pushed_at: cx.now(),
    }
}

/// All layers and manifests must be in the repository already.
fn check_needs(
    cx: &Context,
    txn: &mut Txn,
    name: &RepositoryName,
    document: &Document,
    now: Timestamp,
) -> Result<(), Fault> {
    let blobs: Vec<&Digest> = document.blobs.iter().map(|needed| &needed.digest).collect();
    links::renew(txn, name, &blobs, now)
        .map_err(|links::Missing(missing)| lacking(cx, name, "Layers", &missing))?;
    let mut missing = Vec::new();
    for needed in &document.manifests {
        match txn.get::<Manifest>(&manifest_key(name, &needed.digest)) {
            // Written anew: who deletes it meanwhile has not seen the index that names it.
            Some(manifest) => txn.put(Manifest::clone(&manifest)),
            None => missing.push(needed.digest.clone()),
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(lacking(cx, name, "Images", &missing)),
    }
}

fn lacking(cx: &Context, name: &RepositoryName, kind: &str, digests: &[Digest]) -> Fault {
    let code = match kind {
        "Layers" => ErrorCode::LayersNotFoundException,
        _ => ErrorCode::ReferencedImagesNotFoundException,
    };
    let digests: Vec<&str> = digests.iter().map(Digest::as_str).collect();
    code.fault(format!(
        "{kind} with digests '[{}]' required for pushing image into repository with name \
         '{name}' in the registry with id '{}' do not exist",
        digests.join(", "),
        cx.locality.account
    ))
}

/// Whether the tag was new for this image. No tag is none.
fn set_tag(
    cx: &Context,
    txn: &mut Txn,
    repository: &Repository,
    manifest: &Manifest,
    tag: Option<&str>,
) -> Result<bool, Fault> {
    let Some(tag) = tag else { return Ok(false) };
    let existing = txn.get::<ImageTag>(&image_tag_key(&repository.name, tag));
    if existing.as_ref().is_some_and(|existing| existing.digest == manifest.digest) {
        return Ok(false);
    }
    if existing.is_some() && repository.keeps_tag(tag) {
        let name = &repository.name;
        return Err(ErrorCode::ImageTagAlreadyExistsException.fault(format!(
            "The image tag '{tag}' already exists in the '{name}' repository and cannot be \
             overwritten because the repository is immutable."
        )));
    }
    txn.put(ImageTag {
        repository: repository.name.clone(),
        tag: tag.to_owned(),
        digest: manifest.digest.clone(),
        tagged_at: cx.now(),
    });
    Ok(true)
}

fn already_there(cx: &Context, name: &RepositoryName, digest: &Digest, tag: Option<&str>) -> Fault {
    let tag = tag.map(|tag| format!(" and tag '{tag}'")).unwrap_or_default();
    ErrorCode::ImageAlreadyExistsException.fault(format!(
        "Image with digest '{digest}'{tag} already exists in the repository with name '{name}' in \
         registry with id '{}'",
        cx.locality.account
    ))
}
