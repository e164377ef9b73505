//! Lists: repositories, tags, and the manifests that refer to another.

use crate::answer::{Body, Refusal, bare, full, set};
use crate::limits::REFERRERS_MAX;
use crate::{Call, Inner};
use form_urlencoded::byte_serialize;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LINK};
use http::{Response, StatusCode};
use model::image::{ImageTag, Manifest, Repository};
use model::manifest::{DOCKER_LIST, OCI_INDEX, annotations};
use model::{Digest, RepositoryName};
use serde_json::{Value, json};
use std::sync::Arc;
use store::kinds::repository_prefix;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

impl Inner {
    pub(crate) fn catalog(&self, call: &Call) -> Result<Response<Body>, Refusal> {
        let snapshot = self.store.snapshot();
        let page = call.query.page()?;
        let (names, more) = page.take(snapshot.scan::<Repository>("").map(|(name, _)| name));
        let mut response = answer(&json!({ "repositories": names }), "application/json");
        if let Some(last) = names.last().filter(|_| more) {
            link_next(&mut response, "/v2/_catalog", page.entries, last);
        }
        Ok(response)
    }

    pub(crate) fn tags(
        &self,
        call: &Call,
        name: &RepositoryName,
    ) -> Result<Response<Body>, Refusal> {
        self.repository(name)?;
        let snapshot = self.store.snapshot();
        let prefix = repository_prefix(name);
        let page = call.query.page()?;
        let all = snapshot.scan::<ImageTag>(&prefix).map(|(key, _)| &key[prefix.len()..]);
        let (tags, more) = page.take(all);
        let mut response =
            answer(&json!({ "name": name.as_str(), "tags": tags }), "application/json");
        if let Some(last) = tags.last().filter(|_| more) {
            link_next(&mut response, &format!("/v2/{name}/tags/list"), page.entries, last);
        }
        Ok(response)
    }

    /// An index of the manifests whose subject is this digest, which itself need not be there.
    pub(crate) async fn referrers(
        &self,
        call: &Call,
        name: RepositoryName,
        digest: Digest,
    ) -> Result<Response<Body>, Refusal> {
        self.repository(&name)?;
        let wanted = call.query.get("artifactType");
        let found = self.referring(&name, &digest, wanted);
        let mut descriptors = Vec::with_capacity(found.len());
        for manifest in found {
            let content = self.manifest_content(&manifest).await?;
            let mut descriptor = json!({
                "mediaType": manifest.media_type,
                "digest": manifest.digest.as_str(),
                "size": manifest.manifest_bytes,
            });
            if let Some(artifact_type) = artifact_type(&manifest) {
                descriptor["artifactType"] = json!(artifact_type);
            }
            let annotations = annotations(&content);
            if !annotations.is_empty() {
                descriptor["annotations"] = json!(annotations);
            }
            descriptors.push(descriptor);
        }
        let index = json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors,
        });
        let mut response = answer(&index, OCI_INDEX);
        if wanted.is_some() {
            set(&mut response, FILTERS_APPLIED, "artifactType");
        }
        Ok(response)
    }

    fn referring(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        wanted: Option<&str>,
    ) -> Vec<Arc<Manifest>> {
        let snapshot = self.store.snapshot();
        let prefix = repository_prefix(name);
        let all = snapshot.scan::<Manifest>(&prefix).map(|(_, manifest)| manifest);
        all.filter(|manifest| manifest.subject.as_ref() == Some(digest))
            .filter(|manifest| wanted.is_none_or(|it| artifact_type(manifest) == Some(it)))
            .take(REFERRERS_MAX)
            .collect()
    }
}

/// An index has an artifact type only when it says so itself.
fn artifact_type(manifest: &Manifest) -> Option<&str> {
    manifest.artifact_type.as_deref().filter(|_| manifest.media_type != DOCKER_LIST)
}

fn answer(content: &Value, content_type: &str) -> Response<Body> {
    let content = content.to_string();
    let mut response = bare(StatusCode::OK);
    set(&mut response, CONTENT_TYPE, content_type);
    set(&mut response, CONTENT_LENGTH, &content.len().to_string());
    *response.body_mut() = full(content);
    response
}

fn link_next(response: &mut Response<Body>, path: &str, entries: usize, last: &str) {
    let last: String = byte_serialize(last.as_bytes()).collect();
    set(response, LINK, &format!("<{path}?n={entries}&last={last}>; rel=\"next\""));
}
