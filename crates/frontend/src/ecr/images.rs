//! How images are named and found in a repository, and how they are taken out of it.

use super::repositories::not_found;
use crate::context::Context;
use crate::fault::{self, Fault};
use model::image::{ImagePull, ImageTag, Manifest, Repository};
use model::manifest::{MANIFEST_BYTES_MAX, parse_digest};
use model::{Digest, RepositoryName};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::blob::read_all;
use store::kinds::{image_tag_key, manifest_key, repository_prefix};
use store::{Snapshot, Txn};
use wire::ecr::{ImageFailure, ImageIdentifier};

/// Tags that one transaction removes along with their image; of more, the others go first.
const PORTION_TAGS: usize = 100;

/// The code of the failure to delete what an index names.
pub const REFERENCED: &str = "ImageReferencedByManifestList";

/// Why an image can't be had, in ECR's code and words.
#[derive(Clone, PartialEq, Debug)]
pub struct Missing {
    pub code: &'static str,
    pub reason: String,
}

impl Missing {
    fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    fn not_found() -> Self {
        Self::new("ImageNotFound", "Requested image not found")
    }

    pub fn failure(self, id: ImageIdentifier) -> ImageFailure {
        ImageFailure {
            failure_code: Some(self.code.into()),
            failure_reason: Some(self.reason),
            image_id: Some(id),
        }
    }
}

/// The image that an identifier means. A digest and a tag together must mean the same one.
pub fn find(
    snapshot: &Snapshot,
    name: &RepositoryName,
    id: &ImageIdentifier,
) -> Result<Arc<Manifest>, Missing> {
    let digest = match (&id.image_digest, &id.image_tag) {
        (None, None) => {
            let reason = "Invalid request parameters: both tag and digest cannot be null";
            return Err(Missing::new("MissingDigestAndTag", reason));
        }
        (Some(digest), None) => read_digest(digest)?,
        (None, Some(tag)) => tagged(snapshot, name, tag)?,
        (Some(digest), Some(tag)) => {
            let digest = read_digest(digest)?;
            if tagged(snapshot, name, tag)? != digest {
                let reason = "Tag does not match digest";
                return Err(Missing::new("ImageTagDoesNotMatchDigest", reason));
            }
            digest
        }
    };
    let found = snapshot.get::<Manifest>(&manifest_key(name, &digest));
    found.map(|found| found.value).ok_or_else(Missing::not_found)
}

fn read_digest(text: &str) -> Result<Digest, Missing> {
    parse_digest(text).ok_or_else(|| {
        let reason = "Invalid request parameters: image digest should satisfy the regex \
                      '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
        Missing::new("InvalidImageDigest", reason)
    })
}

fn tagged(snapshot: &Snapshot, name: &RepositoryName, tag: &str) -> Result<Digest, Missing> {
    let found = snapshot.get::<ImageTag>(&image_tag_key(name, tag));
    found.map(|tag| tag.digest.clone()).ok_or_else(Missing::not_found)
}

/// The tags of each image of a repository that has any.
pub fn tags_by_digest(snapshot: &Snapshot, name: &RepositoryName) -> BTreeMap<Digest, Vec<String>> {
    let mut tags = BTreeMap::<Digest, Vec<String>>::new();
    for (_, tag) in snapshot.scan::<ImageTag>(&repository_prefix(name)) {
        tags.entry(tag.digest.clone()).or_default().push(tag.tag.clone());
    }
    tags
}

/// What deleting one identifier did: the images and tags that went, or why none did.
pub type Deleted = Result<Vec<ImageIdentifier>, Missing>;

/// Takes out what the identifier means: of a tag only the tag, unless it is the image's last.
pub async fn delete(
    cx: &Context,
    name: &RepositoryName,
    id: &ImageIdentifier,
) -> Result<Deleted, Fault> {
    let mut gone = Vec::new();
    loop {
        let step = cx.store.transact(|txn| delete_portion(cx, txn, name, id));
        let (step, _) = step.await.map_err(fault::transact)?;
        match step {
            Err(missing) if gone.is_empty() => return Ok(Err(missing)),
            // Somebody else deleted the rest meanwhile.
            Err(_) => return Ok(Ok(gone)),
            Ok((ids, whole)) => {
                gone.extend(ids);
                if whole {
                    return Ok(Ok(gone));
                }
            }
        }
    }
}

type Portion = Result<(Vec<ImageIdentifier>, bool), Missing>;

/// One transaction's worth, and whether that was all.
fn delete_portion(
    cx: &Context,
    txn: &mut Txn,
    name: &RepositoryName,
    id: &ImageIdentifier,
) -> Result<Portion, Fault> {
    txn.get::<Repository>(name.as_str()).ok_or_else(|| not_found(cx, name.as_str()))?;
    let snapshot = txn.snapshot().clone();
    let manifest = match find(&snapshot, name, id) {
        Ok(manifest) => manifest,
        Err(missing) => return Ok(Err(missing)),
    };
    let digest = &manifest.digest;
    let mut tags = tags_by_digest(&snapshot, name).remove(digest).unwrap_or_default();
    let only_a_tag = id.image_digest.is_none() && tags.len() > 1;
    if only_a_tag {
        tags.retain(|tag| Some(tag) == id.image_tag.as_ref());
    }
    let whole = only_a_tag || tags.len() <= PORTION_TAGS;
    if whole && !only_a_tag {
        if let Some(index) = index_of(&snapshot, name, digest) {
            let reason = format!("Requested image referenced by manifest list: [{index}]");
            return Ok(Err(Missing::new(REFERENCED, reason)));
        }
        let key = manifest_key(name, digest);
        // Guarded: a tag that this image gets meanwhile would point at nothing.
        txn.get::<Manifest>(&key);
        txn.delete::<Manifest>(&key);
        if txn.peek::<ImagePull>(&key).is_some() {
            txn.delete::<ImagePull>(&key);
        }
    }
    tags.truncate(PORTION_TAGS);
    for tag in &tags {
        let key = image_tag_key(name, tag);
        // Guarded: a tag that moves to another image meanwhile must stay.
        txn.get::<ImageTag>(&key);
        txn.delete::<ImageTag>(&key);
    }
    Ok(Ok((identifiers(digest, tags), whole)))
}

fn index_of(snapshot: &Snapshot, name: &RepositoryName, digest: &Digest) -> Option<Digest> {
    let prefix = repository_prefix(name);
    let mut all = snapshot.scan::<Manifest>(&prefix).map(|(_, manifest)| manifest);
    let index = all.find(|other| other.references.contains(digest));
    index.map(|index| index.digest.clone())
}

/// One identifier for each tag; an untagged image has one without.
pub fn identifiers(digest: &Digest, tags: Vec<String>) -> Vec<ImageIdentifier> {
    let identifier =
        |image_tag| ImageIdentifier { image_digest: Some(digest.to_string()), image_tag };
    match tags.is_empty() {
        true => vec![identifier(None)],
        false => tags.into_iter().map(|tag| identifier(Some(tag))).collect(),
    }
}

/// The text of a manifest that is known to have been stored.
pub async fn content(cx: &Context, digest: &str) -> Result<String, Fault> {
    let lost = || {
        tracing::error!(digest, "a manifest's content is missing or damaged");
        fault::internal(wire::Protocol::AwsJson11)
    };
    let object = store::blob::Digest::parse(digest).ok_or_else(lost)?.object_name();
    let content = read_all(&*cx.blobs, object, MANIFEST_BYTES_MAX).await.map_err(|failure| {
        tracing::error!(digest, %failure, "a manifest could not be read");
        fault::internal(wire::Protocol::AwsJson11)
    })?;
    String::from_utf8(content.ok_or_else(lost)?.to_vec()).map_err(|_| lost())
}
