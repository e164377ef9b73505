//! The image registry: the OCI distribution protocol with ECR's ways on top, under `/v2/`.
//!
//! Two kinds of things are kept. Content (layers, configs, the bytes of manifests) goes to the
//! object store under its digest, once, whoever pushed it. What a repository has of it (links,
//! manifests, tags) is state and changes in one transaction each, so a reader sees a push whole or
//! not at all. Content without a link is invisible; what nobody links to any more is garbage.

pub mod limits;
pub mod token;

mod access;
mod answer;
mod blobs;
mod cache;
mod collect;
mod listing;
mod manifests;
mod path;
mod pull_through;
mod query;
mod receive;

pub use answer::{Body, BoxError};
pub use collect::{CollectFailure, Collected};
pub use pull_through::{
    Answer as UpstreamAnswer, Upstream, UpstreamBlob, UpstreamFailure, UpstreamManifest,
};

use crate::access::Access;
use crate::answer::{Refusal, bare, set};
use crate::cache::Cache;
use crate::collect::Collector;
use crate::limits::{COLLECT_EVERY_SECONDS, COLLECT_GRACE_SECONDS, MANIFEST_CACHE_BYTES};
use crate::path::Route;
use crate::pull_through::PullThrough;
use crate::query::Query;
use crate::token::Signer;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use model::arn::Locality;
use model::image::Repository;
use model::{RepositoryName, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use store::blob::{ObjectStore, Staging};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a registry is made of.
pub struct Parts {
    pub store: Store,
    pub objects: Arc<dyn ObjectStore>,
    /// Uploads under way.
    pub staging: Staging,
    pub locality: Locality,
    pub clock: Clock,
    pub signer: Signer,
    /// The agents' own user and password.
    pub agent_user: String,
    pub agent_password: String,
}

/// The registry. Clones share it.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub store: Store,
    pub objects: Arc<dyn ObjectStore>,
    pub staging: Staging,
    pub locality: Locality,
    pub clock: Clock,
    pub collector: Collector,
    pub manifests: Cache,
    pub pull_through: Option<Arc<PullThrough>>,
    access: Access,
    random: SystemRandom,
}

/// A request as the handlers see it.
pub(crate) struct Call {
    pub method: Method,
    pub path: String,
    pub query: Query,
    pub headers: HeaderMap,
}

impl Registry {
    /// One that knows no other registries.
    pub fn new(parts: Parts) -> Self {
        Self::made(parts, None)
    }

    /// One that follows pull-through cache rules.
    pub fn with_upstream(parts: Parts, upstream: Arc<dyn Upstream>) -> Self {
        let pull_through = PullThrough::new(&parts, upstream);
        Self::made(parts, Some(Arc::new(pull_through)))
    }

    fn made(parts: Parts, pull_through: Option<Arc<PullThrough>>) -> Self {
        let access = Access::new(parts.signer, &parts.agent_user, &parts.agent_password);
        Self {
            inner: Arc::new(Inner {
                store: parts.store,
                objects: parts.objects,
                staging: parts.staging,
                locality: parts.locality,
                clock: parts.clock,
                collector: Collector::default(),
                manifests: Cache::new(MANIFEST_CACHE_BYTES),
                pull_through,
                access,
                random: SystemRandom::new(),
            }),
        }
    }

    /// Whether a request with this path is the registry's.
    pub fn serves(path: &str) -> bool {
        path == "/v2" || path.starts_with("/v2/")
    }

    /// Collects the garbage that has been so for this long: what no image needs, what no repository
    /// has, what nobody goes on uploading. Pushes and pulls go on.
    pub async fn collect(&self, grace: Duration) -> Result<Collected, CollectFailure> {
        self.inner.collect(grace).await
    }

    /// Collects garbage now and then, for ever.
    pub async fn keep_collecting(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(COLLECT_EVERY_SECONDS)).await;
            match self.collect(Duration::from_secs(COLLECT_GRACE_SECONDS)).await {
                Ok(collected) => tracing::info!(?collected, "the images' garbage is collected"),
                Err(failure) => {
                    let failure: &dyn std::error::Error = &failure;
                    tracing::error!(failure, "the images' garbage could not be collected");
                }
            }
        }
    }

    /// Answers a request for a path that the registry serves.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let now = (self.inner.clock)();
        let query = Query::parse(head.uri.query().unwrap_or(""));
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        let allowed = match reads && self.inner.access.presigned(head.uri.path(), &query, now) {
            true => Ok(()),
            false => self.inner.access.check(&head.headers, &head.uri, now),
        };
        let call = Call {
            path: head.uri.path().to_owned(),
            query,
            method: head.method,
            headers: head.headers,
        };
        let body = body.map_err(Into::into).boxed_unsync();
        let answer = match allowed {
            Ok(()) => self.run(call, body).await,
            Err(refusal) => Err(refusal),
        };
        let mut response = answer.unwrap_or_else(Refusal::into_response);
        set(
            &mut response,
            http::HeaderName::from_static("docker-distribution-api-version"),
            "registry/2.0",
        );
        response
    }

    /// What changes something is a task of its own: it runs to its end also when the client leaves
    /// and the server drops the request.
    async fn run(&self, call: Call, body: Body) -> Result<Response<Body>, Refusal> {
        let inner = Arc::clone(&self.inner);
        let reads_only = matches!(call.method, Method::GET | Method::HEAD);
        let work = async move { inner.dispatch(&call, body).await };
        if reads_only {
            return work.await;
        }
        match tokio::spawn(work).await {
            Ok(answer) => answer,
            Err(failure) => match failure.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process is ending.
                Err(failure) => Err(Refusal::failure(&failure)),
            },
        }
    }
}

type Work<'a> = Pin<Box<dyn Future<Output = Result<Response<Body>, Refusal>> + Send + 'a>>;

/// What takes no waiting.
fn done<'a>(answer: Result<Response<Body>, Refusal>) -> Work<'a> {
    Box::pin(std::future::ready(answer))
}

impl Inner {
    /// The work of one call, boxed once: the handlers differ in size, and callers keep many.
    fn dispatch<'a>(&'a self, call: &'a Call, body: Body) -> Work<'a> {
        let route = match Route::parse(&call.path) {
            Ok(route) => route,
            Err(refusal) => return done(Err(refusal)),
        };
        match (route, &call.method) {
            (Route::Ping, &Method::GET | &Method::HEAD) => done(Ok(bare(StatusCode::OK))),
            (Route::Catalog, &Method::GET) => done(self.catalog(call)),
            (Route::Tags(name), &Method::GET) => done(self.tags(call, &name)),
            (Route::Blob(name, digest), &Method::GET | &Method::HEAD) => {
                Box::pin(self.get_blob(call, name, digest))
            }
            (Route::Uploads(name), &Method::POST) => Box::pin(self.begin_upload(call, body, name)),
            (Route::Upload(name, id), method) => self.dispatch_upload(call, body, method, name, id),
            (Route::Manifest(name, reference), &Method::GET | &Method::HEAD) => {
                Box::pin(self.get_manifest(call, name, reference))
            }
            (Route::Manifest(name, reference), &Method::PUT) => {
                Box::pin(self.put_manifest(call, body, name, reference))
            }
            (Route::Manifest(name, reference), &Method::DELETE) => {
                Box::pin(self.delete_manifest(name, reference))
            }
            (Route::Referrers(name, digest), &Method::GET) => {
                Box::pin(self.referrers(call, name, digest))
            }
            // Layers are deleted with the images that need them, as on ECR, not one by one.
            _ => done(Err(Refusal::unsupported())),
        }
    }

    fn dispatch_upload<'a>(
        &'a self,
        call: &'a Call,
        body: Body,
        method: &Method,
        name: RepositoryName,
        id: String,
    ) -> Work<'a> {
        match *method {
            Method::GET => Box::pin(self.upload_status(name, id)),
            Method::PATCH => Box::pin(self.continue_upload(call, body, name, id)),
            Method::PUT => Box::pin(self.finish_upload(call, body, name, id)),
            Method::DELETE => Box::pin(self.cancel_upload(name, id)),
            _ => done(Err(Refusal::unsupported())),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Refuses when there is no such repository.
    pub(crate) fn repository(&self, name: &RepositoryName) -> Result<(), Refusal> {
        match self.store.snapshot().get::<Repository>(name.as_str()) {
            Some(_) => Ok(()),
            None => Err(self.repository_unknown(name)),
        }
    }

    pub(crate) fn repository_unknown(&self, name: &RepositoryName) -> Refusal {
        Refusal::repository_unknown(&self.locality, name)
    }

    /// A name for an upload that nobody can guess.
    pub(crate) fn upload_id(&self) -> Result<String, Refusal> {
        let mut bytes = [0; 16];
        let filled = self.random.fill(&mut bytes);
        filled.map_err(|_| std::io::Error::other("the system gives no random numbers"))?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
