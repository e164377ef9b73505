//! Manifests, by tag and by digest. Storing one checks that all it needs is there, and sets tag and
//! manifest in one transaction.

use crate::answer::{Body, Refusal, bare, full, set};
use crate::blobs::{CONTENT_DIGEST, object_name};
use crate::limits::BODY_PAUSE_SECONDS_MAX;
use crate::path::Reference;
use crate::{Call, Inner};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, LOCATION};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt;
use model::image::{ImagePull, ImageTag, Manifest, Repository};
use model::manifest::{Document, MANIFEST_BYTES_MAX, Malformed, Needed};
use model::{Digest, RepositoryName, Timestamp};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use store::blob::{links, put_content, read_all};
use store::kinds::{image_tag_key, manifest_key, repository_prefix};
use store::{Snapshot, TransactFailure, Txn};

/// Tags that one transaction removes.
const PORTION_TAGS: usize = 100;
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

impl Inner {
    pub(crate) async fn get_manifest(
        &self,
        call: &Call,
        name: RepositoryName,
        reference: Reference,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(pull_through) = &self.pull_through {
            pull_through.bring_manifest(&name, &reference).await?;
        }
        self.repository(&name)?;
        let snapshot = self.store.snapshot();
        let manifest = find(&snapshot, &name, &reference).ok_or_else(Refusal::manifest_unknown)?;
        let mut response = bare(StatusCode::OK);
        set(&mut response, CONTENT_TYPE, &manifest.media_type);
        set(&mut response, CONTENT_LENGTH, &manifest.manifest_bytes.to_string());
        set(&mut response, CONTENT_DIGEST, manifest.digest.as_str());
        set(&mut response, ETAG, &format!("\"{}\"", manifest.digest));
        if call.method == Method::GET {
            *response.body_mut() = full(self.manifest_content(&manifest).await?);
            self.note_pull(&manifest);
        }
        Ok(response)
    }

    /// Remembers that an image was pulled; nobody waits for that.
    fn note_pull(&self, manifest: &Manifest) {
        let (store, now) = (self.store.clone(), self.now());
        let (name, pulled) = (manifest.repository.clone(), [manifest.digest.clone()]);
        tokio::spawn(async move {
            if let Err(failure) = store::pulls::note(&store, &name, &pulled, now).await {
                let failure: &dyn std::error::Error = &failure;
                tracing::warn!(repository = %name, failure, "a pull was not noted");
            }
        });
    }

    /// The bytes as they were pushed; nothing is read out of them on the way to a client.
    pub(crate) async fn manifest_content(&self, manifest: &Manifest) -> Result<Bytes, Refusal> {
        if let Some(content) = self.manifests.get(&manifest.digest) {
            return Ok(content);
        }
        let object = object_name(&manifest.digest);
        let content = read_all(&*self.objects, object, MANIFEST_BYTES_MAX).await?;
        let content = content.ok_or_else(|| {
            let (digest, repository) = (&manifest.digest, &manifest.repository);
            tracing::error!(%digest, %repository, "a manifest's content is missing");
            Refusal::manifest_unknown()
        })?;
        self.manifests.put(&manifest.digest, content.clone());
        Ok(content)
    }

    pub(crate) async fn put_manifest(
        &self,
        call: &Call,
        body: Body,
        name: RepositoryName,
        reference: Reference,
    ) -> Result<Response<Body>, Refusal> {
        self.repository(&name)?;
        let content_type = content_type(&call.headers);
        let content = collect(body).await?;
        let document = Document::parse(&content, &content_type).map_err(malformed)?;
        let manifest_bytes = content.len() as u64;
        let digest = store::blob::Digest::of(&content).to_string();
        if let Reference::Digest(wanted) = &reference
            && wanted.as_str() != digest
        {
            let message = "provided digest did not match uploaded content";
            return Err(Refusal::bad_request("DIGEST_INVALID", message));
        }
        put_content(&*self.objects, content).await?;
        let manifest = Manifest {
            repository: name.clone(),
            digest: Digest::from(digest),
            media_type: document.media_type.clone(),
            artifact_type: document.artifact_type.clone(),
            subject: document.subject.clone(),
            references: needs(&document).map(|needed| needed.digest.clone()).collect(),
            manifest_bytes,
            image_bytes: document.image_bytes,
            pushed_at: self.now(),
        };
        let blobs = blobs(&document);
        let early = links::renew_early(&self.store, &name, &blobs, manifest.pushed_at);
        early.await.map_err(unrenewed)?;
        let stored =
            self.store.transact(|txn| self.store_in(txn, &manifest, &document, &reference));
        stored.await?;
        let mut response = bare(StatusCode::CREATED);
        set(&mut response, LOCATION, &format!("/v2/{name}/manifests/{}", manifest.digest));
        set(&mut response, CONTENT_DIGEST, manifest.digest.as_str());
        set(&mut response, CONTENT_LENGTH, "0");
        if let Some(subject) = &manifest.subject {
            set(&mut response, SUBJECT, subject.as_str());
        }
        Ok(response)
    }

    pub(crate) fn store_in(
        &self,
        txn: &mut Txn,
        manifest: &Manifest,
        document: &Document,
        reference: &Reference,
    ) -> Result<(), Refusal> {
        let name = &manifest.repository;
        if txn.get::<Repository>(name.as_str()).is_none() {
            return Err(self.repository_unknown(name));
        }
        let links = links::renew(txn, name, &blobs(document), manifest.pushed_at);
        for (needed, link) in document.blobs.iter().zip(links.map_err(missing)?) {
            check_bytes(needed, link.bytes)?;
        }
        check_manifests(txn, name, document)?;
        if let Reference::Tag(tag) = reference {
            set_tag(txn, name, tag, &manifest.digest, manifest.pushed_at)?;
        }
        // The same manifest again keeps the time of its first push. It is written all the same:
        // who deletes it meanwhile has not seen the tag it gets here.
        let known = txn.get::<Manifest>(&manifest_key(name, &manifest.digest));
        txn.put(known.map_or_else(|| manifest.clone(), |known| Manifest::clone(&known)));
        Ok(())
    }

    /// A tag goes alone; a digest takes its tags along.
    pub(crate) async fn delete_manifest(
        &self,
        name: RepositoryName,
        reference: Reference,
    ) -> Result<Response<Body>, Refusal> {
        self.repository(&name)?;
        loop {
            let deleted = self.store.transact(|txn| match &reference {
                Reference::Tag(tag) => {
                    let key = image_tag_key(&name, tag);
                    txn.get::<ImageTag>(&key).ok_or_else(Refusal::manifest_unknown)?;
                    txn.delete::<ImageTag>(&key);
                    Ok(true)
                }
                Reference::Digest(digest) => delete_by_digest(txn, &name, digest),
            });
            let (whole, _) = deleted.await?;
            if whole {
                break;
            }
        }
        let mut response = bare(StatusCode::ACCEPTED);
        set(&mut response, CONTENT_LENGTH, "0");
        Ok(response)
    }
}

/// Refuses an index whose manifests are not there.
fn check_manifests(
    txn: &mut Txn,
    name: &RepositoryName,
    document: &Document,
) -> Result<(), Refusal> {
    for needed in &document.manifests {
        let manifest = txn.get::<Manifest>(&manifest_key(name, &needed.digest));
        let manifest = manifest.ok_or_else(|| content_unknown(&needed.digest))?;
        check_bytes(needed, manifest.manifest_bytes)?;
        // Written anew: who deletes it meanwhile has not seen the index that names it.
        txn.put(Manifest::clone(&manifest));
    }
    Ok(())
}

/// Removes tags of the manifest, as many as a transaction takes, and with the last of them the
/// manifest. Says whether that was all.
fn delete_by_digest(
    txn: &mut Txn,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<bool, Refusal> {
    let key = manifest_key(name, digest);
    txn.get::<Manifest>(&key).ok_or_else(Refusal::manifest_unknown)?;
    let snapshot = txn.snapshot().clone();
    let prefix = repository_prefix(name);
    let mut all = snapshot.scan::<Manifest>(&prefix);
    if let Some((_, index)) = all.find(|(_, other)| other.references.contains(digest)) {
        let message = format!("the image is referenced by the manifest list {}", index.digest);
        return Err(Refusal::new(StatusCode::CONFLICT, "DENIED", message));
    }
    let tags = snapshot.scan::<ImageTag>(&prefix).filter(|(_, tag)| tag.digest == *digest);
    let tags: Vec<&str> = tags.map(|(key, _)| key).take(PORTION_TAGS + 1).collect();
    for key in tags.iter().take(PORTION_TAGS) {
        // Guarded: a tag that moves to another image meanwhile must stay.
        txn.get::<ImageTag>(key);
        txn.delete::<ImageTag>(key);
    }
    let whole = tags.len() <= PORTION_TAGS;
    if whole {
        txn.delete::<Manifest>(&key);
        if txn.peek::<ImagePull>(&key).is_some() {
            txn.delete::<ImagePull>(&key);
        }
    }
    Ok(whole)
}

/// The manifest that a tag or a digest stands for.
pub fn find(
    snapshot: &Snapshot,
    name: &RepositoryName,
    reference: &Reference,
) -> Option<Arc<Manifest>> {
    let digest = match reference {
        Reference::Digest(digest) => digest.clone(),
        Reference::Tag(tag) => {
            let tag = snapshot.get::<ImageTag>(&image_tag_key(name, tag))?;
            tag.digest.clone()
        }
    };
    Some(snapshot.get::<Manifest>(&manifest_key(name, &digest))?.value)
}

fn set_tag(
    txn: &mut Txn,
    name: &RepositoryName,
    tag: &str,
    digest: &Digest,
    now: Timestamp,
) -> Result<(), Refusal> {
    let existing = txn.get::<ImageTag>(&image_tag_key(name, tag));
    if existing.as_ref().is_some_and(|existing| existing.digest == *digest) {
        return Ok(());
    }
    let repository = txn.get::<Repository>(name.as_str());
    if existing.is_some() && repository.is_some_and(|repository| repository.keeps_tag(tag)) {
        return Err(Refusal::bad_request(
            "TAG_INVALID",
            format!(
                "The image tag '{tag}' already exists in the '{name}' repository and cannot be \
                 overwritten because the repository is immutable."
            ),
        ));
    }
    let (repository, tag, digest) = (name.clone(), tag.to_owned(), digest.clone());
    txn.put(ImageTag { repository, tag, digest, tagged_at: now });
    Ok(())
}

fn blobs(document: &Document) -> Vec<&Digest> {
    document.blobs.iter().map(|needed| &needed.digest).collect()
}

pub fn needs(document: &Document) -> impl Iterator<Item = &Needed> {
    document.blobs.iter().chain(&document.manifests)
}

fn malformed(Malformed(message): Malformed) -> Refusal {
    Refusal::bad_request("MANIFEST_INVALID", message)
}

fn missing(links::Missing(digests): links::Missing) -> Refusal {
    content_unknown(&digests[0])
}

fn unrenewed(failure: TransactFailure<links::Missing>) -> Refusal {
    match failure {
        TransactFailure::Aborted(digests) => missing(digests),
        TransactFailure::Commit(failure) => failure.into(),
        TransactFailure::Contended { attempts, key } => {
            TransactFailure::<Refusal>::Contended { attempts, key }.into()
        }
    }
}

fn content_unknown(digest: &Digest) -> Refusal {
    let message = format!("the manifest needs {digest}, which is not in the repository");
    Refusal::not_found("MANIFEST_BLOB_UNKNOWN", message)
        .with_detail(json!({ "digest": digest.as_str() }))
}

fn check_bytes(needed: &Needed, bytes: u64) -> Result<(), Refusal> {
    if needed.bytes == bytes {
        return Ok(());
    }
    let Needed { digest, bytes: said } = needed;
    let message = format!("the manifest says that {digest} has {said} bytes, it has {bytes}");
    Err(Refusal::bad_request("MANIFEST_INVALID", message))
}

/// Without parameters; empty when there is none.
fn content_type(headers: &HeaderMap) -> String {
    let header = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    header.split(';').next().unwrap_or("").trim().to_owned()
}

async fn collect(mut body: Body) -> Result<Bytes, Refusal> {
    let pause = Duration::from_secs(BODY_PAUSE_SECONDS_MAX);
    let mut content = Vec::new();
    loop {
        let piece = match tokio::time::timeout(pause, body.frame()).await {
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Ok(None) => return Ok(content.into()),
            Ok(Some(Err(failure))) => {
                tracing::debug!(%failure, "a manifest was cut off");
                return Err(Refusal::bad_request("MANIFEST_INVALID", "the body was cut off"));
            }
            Err(_) => {
                let status = StatusCode::REQUEST_TIMEOUT;
                return Err(Refusal::new(status, "MANIFEST_INVALID", "the body came too slowly"));
            }
        };
        if content.len() as u64 + piece.len() as u64 > MANIFEST_BYTES_MAX {
            let message = format!("a manifest has at most {MANIFEST_BYTES_MAX} bytes");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Refusal::new(status, "MANIFEST_INVALID", message));
        }
        content.extend_from_slice(&piece);
    }
}
