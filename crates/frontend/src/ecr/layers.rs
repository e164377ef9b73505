//! ECR's own way of pushing layers: InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload; of
//! asking for them: BatchCheckLayerAvailability; and of fetching them: GetDownloadUrlForLayer. What
//! is being sent waits in the same place as what docker pushes, so it survives a restart. A part
//! may have any size up to ECR's largest; ECR's smallest is not asked for.

use super::repositories::{find, host, invalid, named, not_found};
use crate::context::{Caller, Context};
use crate::fault::{self, Fault};
use bytes::Bytes;
use model::image::{BlobLink, Manifest, Repository};
use model::manifest::parse_digest;
use model::{Digest, RepositoryName};
use store::blob::{Held, StagingFailure, links};
use store::kinds::{blob_link_key, repository_prefix};
use wire::ecr::{
    BatchCheckLayerAvailabilityRequest, BatchCheckLayerAvailabilityResponse,
    CompleteLayerUploadRequest, CompleteLayerUploadResponse, ErrorCode,
    GetDownloadUrlForLayerRequest, GetDownloadUrlForLayerResponse, InitiateLayerUploadRequest,
    InitiateLayerUploadResponse, Layer, LayerFailure, UploadLayerPartRequest,
    UploadLayerPartResponse,
};

/// The size of parts that we ask for, in bytes. Source: API reference, InitiateLayerUpload
/// (examples).
const PART_BYTES: i64 = 10 * 1024 * 1024;
/// The largest part, in bytes. Source: API reference, UploadLayerPart.
pub const PART_BYTES_MAX: usize = 20 * 1024 * 1024;

pub async fn initiate_layer_upload(
    cx: &Context,
    _caller: &Caller,
    input: InitiateLayerUploadRequest,
) -> Result<InitiateLayerUploadResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    find(cx, &cx.store.snapshot(), &name)?;
    let held = cx.staging.begin(upload_id(cx.random()), name.clone()).await;
    let held = held.map_err(|failure| staging(cx, &name, "", &failure))?;
    Ok(InitiateLayerUploadResponse {
        part_size: Some(PART_BYTES),
        upload_id: Some(held.id().to_owned()),
    })
}

/// The form of a UUID, as ECR's.
fn upload_id(random: u128) -> String {
    let h = format!("{random:032x}");
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

pub async fn upload_layer_part(
    cx: &Context,
    _caller: &Caller,
    input: UploadLayerPartRequest,
) -> Result<UploadLayerPartResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    find(cx, &cx.store.snapshot(), &name)?;
    let id = input.upload_id.unwrap_or_default();
    let failed = |failure| staging(cx, &name, &id, &failure);
    let held = cx.staging.hold(&id, &name).await.map_err(failed)?;
    let part = input.layer_part_blob.unwrap_or_default().0;
    let first = input.part_first_byte.and_then(|byte| u64::try_from(byte).ok());
    let last = input.part_last_byte.and_then(|byte| u64::try_from(byte).ok());
    let bytes = first.zip(last).and_then(|(first, last)| last.checked_sub(first)?.checked_add(1));
    let fits = bytes == Some(part.len() as u64) && part.len() <= PART_BYTES_MAX;
    if first != Some(held.bytes()) || !fits {
        return Err(bad_part(cx, &held));
    }
    let held = held.append(vec![Bytes::from(part)]).await.map_err(failed)?;
    Ok(UploadLayerPartResponse {
        last_byte_received: i64::try_from(held.bytes()).ok().map(|bytes| bytes - 1),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
        upload_id: Some(id),
    })
}

/// Says how far the upload has come, so that who repeats a part can go on.
fn bad_part(cx: &Context, held: &Held) -> Fault {
    let fault = ErrorCode::InvalidLayerPartException.fault(
        "The layer part size is not valid, or the first byte specified is not consecutive to the \
         last byte of a previous layer part upload.",
    );
    let fault = fault
        .with("registryId", cx.locality.account.as_str())
        .with("repositoryName", held.repository().as_str())
        .with("uploadId", held.id());
    match held.bytes().checked_sub(1) {
        Some(last) => fault.with("lastValidByteReceived", last),
        None => fault,
    }
}

pub async fn complete_layer_upload(
    cx: &Context,
    _caller: &Caller,
    input: CompleteLayerUploadRequest,
) -> Result<CompleteLayerUploadResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let snapshot = cx.store.snapshot();
    find(cx, &snapshot, &name)?;
    let id = input.upload_id.unwrap_or_default();
    let digests = input.layer_digests.unwrap_or_default();
    let digest = match digests.as_slice() {
        [one] => parse_digest(one),
        _ => None,
    };
    let must = "must be one digest that satisfies the regex 'sha256:[a-f0-9]{64}'";
    let digest = digest.ok_or_else(|| invalid("layerDigests", must))?;
    let failed = |failure| staging(cx, &name, &id, &failure);
    let held = cx.staging.hold(&id, &name).await.map_err(failed)?;
    if held.bytes() == 0 {
        return Err(ErrorCode::EmptyUploadException
            .fault("The specified layer upload does not contain any layer parts."));
    }
    if snapshot.get::<BlobLink>(&blob_link_key(&name, &digest)).is_some() {
        cx.staging.end(held).await.map_err(failed)?;
        return Err(ErrorCode::LayerAlreadyExistsException.fault(format!(
            "The image layer with digest '{digest}' already exists in the repository with name \
             '{name}' in the registry with id '{}'",
            cx.locality.account
        )));
    }
    let wanted = store::blob::Digest::parse(digest.as_str()).expect("it was just read as one");
    let stored = cx.staging.finish(held, &*cx.blobs, wanted).await.map_err(failed)?;
    cx.transact(|txn| {
        txn.get::<Repository>(name.as_str()).ok_or_else(|| not_found(cx, name.as_str()))?;
        links::link(txn, &name, &digest, stored.bytes, cx.now());
        Ok(())
    })
    .await?;
    Ok(CompleteLayerUploadResponse {
        layer_digest: Some(digest.to_string()),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
        upload_id: Some(id),
    })
}

fn staging(cx: &Context, name: &RepositoryName, id: &str, failure: &StagingFailure) -> Fault {
    let account = &cx.locality.account;
    match failure {
        StagingFailure::Unknown => ErrorCode::UploadNotFoundException.fault(format!(
            "Upload with id '{id}' in the repository with name '{name}' in the registry with id \
             '{account}' could not be found"
        )),
        StagingFailure::DigestMismatch { wanted, found } => {
            ErrorCode::InvalidLayerException.fault(format!(
                "The layer digest calculation performed upon receipt of the image layer, \
                 '{found}', does not match the digest specified, '{wanted}'"
            ))
        }
        StagingFailure::TooMany | StagingFailure::TooLarge { .. } => {
            ErrorCode::LimitExceededException.fault(failure.to_string())
        }
        StagingFailure::Busy => ErrorCode::ServerException.fault(failure.to_string()),
        StagingFailure::Blob(_) | StagingFailure::Io { .. } => {
            let failure: &dyn std::error::Error = failure;
            tracing::error!(upload = id, failure, "a layer could not be stored");
            fault::internal(wire::Protocol::AwsJson11)
        }
    }
}

pub async fn batch_check_layer_availability(
    cx: &Context,
    _caller: &Caller,
    input: BatchCheckLayerAvailabilityRequest,
) -> Result<BatchCheckLayerAvailabilityResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let snapshot = cx.store.snapshot();
    find(cx, &snapshot, &name)?;
    let (mut layers, mut failures) = (Vec::new(), Vec::new());
    for given in input.layer_digests.unwrap_or_default() {
        let Some(digest) = parse_digest(&given) else {
            failures.push(LayerFailure {
                failure_code: Some("InvalidLayerDigest".into()),
                failure_reason: Some("Invalid layer digest".to_owned()),
                layer_digest: Some(given),
            });
            continue;
        };
        let link = snapshot.get::<BlobLink>(&blob_link_key(&name, &digest));
        let availability = if link.is_some() { "AVAILABLE" } else { "UNAVAILABLE" };
        layers.push(Layer {
            layer_availability: Some(availability.into()),
            layer_digest: Some(given),
            layer_size: link.and_then(|link| i64::try_from(link.bytes).ok()),
            media_type: None,
        });
    }
    Ok(BatchCheckLayerAvailabilityResponse { failures: Some(failures), layers: Some(layers) })
}

pub async fn get_download_url_for_layer(
    cx: &Context,
    caller: &Caller,
    input: GetDownloadUrlForLayerRequest,
) -> Result<GetDownloadUrlForLayerResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let snapshot = cx.store.snapshot();
    find(cx, &snapshot, &name)?;
    let given = input.layer_digest.unwrap_or_default();
    let must = "must satisfy the regex 'sha256:[a-f0-9]{64}'";
    let digest: Digest = parse_digest(&given).ok_or_else(|| invalid("layerDigest", must))?;
    if snapshot.get::<BlobLink>(&blob_link_key(&name, &digest)).is_none() {
        return Err(ErrorCode::LayersNotFoundException.fault(format!(
            "Layers with digests '[{digest}]' do not exist in the repository with name '{name}' in \
             the registry with id '{}'",
            cx.locality.account
        )));
    }
    let prefix = repository_prefix(&name);
    let mut images = snapshot.scan::<Manifest>(&prefix).map(|(_, manifest)| manifest);
    if !images.any(|manifest| manifest.references.contains(&digest)) {
        return Err(ErrorCode::LayerInaccessibleException.fault(
            "The specified layer is not available because it is not associated with an image. \
             Unassociated image layers may be cleaned up at any time.",
        ));
    }
    let host = host(cx, caller);
    let scheme = if host == cx.locality.registry_host() { "https" } else { "http" };
    let path = format!("/v2/{name}/blobs/{digest}");
    let query = (cx.presigned_query)(&path, cx.now());
    Ok(GetDownloadUrlForLayerResponse {
        download_url: Some(format!("{scheme}://{host}{path}?{query}")),
        layer_digest: Some(given),
    })
}
