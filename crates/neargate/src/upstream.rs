//! The registry's way to other registries, for its pull-through caches: the runtime's image client,
//! and the credentials that a rule's secret holds.

use model::Digest;
use model::arn::Locality;
use model::image::PullThroughCacheRule;
use registry::{Upstream, UpstreamAnswer, UpstreamBlob, UpstreamFailure, UpstreamManifest};
use runtime::image::{BasicAuth, ImageRef, PullFailure, RemoteBlob, RemoteRegistries};
use serde::Deserialize;
use std::sync::Arc;
use store::secret::Sealer;
use store::{Store, vault};

pub struct Upstreams {
    pub registries: RemoteRegistries,
    pub store: Store,
    pub sealer: Arc<Sealer>,
    pub locality: Locality,
}

/// What the secret of a rule holds. Source: ECR user guide, pull-through-cache-creating-secret.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    username: String,
    access_token: String,
}

impl Upstreams {
    fn auth(&self, rule: &PullThroughCacheRule) -> Result<Option<BasicAuth>, UpstreamFailure> {
        let Some(arn) = &rule.credential_arn else { return Ok(None) };
        let unusable = |why: &str| UpstreamFailure::Denied(format!("the secret {arn} {why}"));
        let snapshot = self.store.snapshot();
        let secret = vault::find_secret(&snapshot, &self.locality, arn)
            .filter(|secret| secret.deleted_at.is_none())
            .ok_or_else(|| unusable("is not there"))?;
        let version = vault::find_secret_version(&snapshot, &secret, None, None)
            .ok_or_else(|| unusable("has no value"))?;
        let opened = vault::open_secret(&self.sealer, &secret, &version).map_err(|failure| {
            tracing::error!(%failure, arn, "a secret can't be opened");
            unusable("can't be opened")
        })?;
        let user: User = serde_json::from_slice(opened.expose())
            .map_err(|_| unusable("is not JSON with username and accessToken"))?;
        Ok(Some(BasicAuth::new(user.username, user.access_token)))
    }

    fn reference(
        rule: &PullThroughCacheRule,
        repository: &str,
        version: &str,
    ) -> Result<ImageRef, UpstreamFailure> {
        let separator = if version.contains(':') { '@' } else { ':' };
        let text = format!("{}/{repository}{separator}{version}", rule.upstream_url);
        text.parse().map_err(|failure: PullFailure| told(&failure))
    }
}

fn told(failure: &PullFailure) -> UpstreamFailure {
    match failure {
        PullFailure::NotFound { .. } => UpstreamFailure::NotFound,
        PullFailure::AccessDenied { .. } | PullFailure::Credentials { .. } => {
            UpstreamFailure::Denied(failure.to_string())
        }
        PullFailure::RateLimited { .. } => UpstreamFailure::Busy(failure.to_string()),
        _ => UpstreamFailure::Unavailable(failure.to_string()),
    }
}

struct Blob(RemoteBlob);

impl UpstreamBlob for Blob {
    fn next(&mut self) -> UpstreamAnswer<'_, Option<bytes::Bytes>> {
        Box::pin(async move { self.0.next().await.map_err(|failure| told(&failure)) })
    }
}

impl Upstream for Upstreams {
    fn manifest<'a>(
        &'a self,
        rule: &'a PullThroughCacheRule,
        repository: &'a str,
        reference: &'a str,
    ) -> UpstreamAnswer<'a, UpstreamManifest> {
        Box::pin(async move {
            let reference = Self::reference(rule, repository, reference)?;
            let found = self.registries.manifest(&reference, self.auth(rule)?).await;
            let found = found.map_err(|failure| told(&failure))?;
            Ok(UpstreamManifest { media_type: found.media_type, content: found.body.into() })
        })
    }

    fn blob<'a>(
        &'a self,
        rule: &'a PullThroughCacheRule,
        repository: &'a str,
        digest: &'a Digest,
        bytes: u64,
    ) -> UpstreamAnswer<'a, Box<dyn UpstreamBlob>> {
        Box::pin(async move {
            let reference = Self::reference(rule, repository, digest.as_str())?;
            let wanted = reference.digest.ok_or(UpstreamFailure::NotFound)?;
            let blob = self.registries.blob(&reference, self.auth(rule)?, wanted, bytes).await;
            let blob = blob.map_err(|failure| told(&failure))?;
            Ok(Box::new(Blob(blob)) as Box<dyn UpstreamBlob>)
        })
    }
}
