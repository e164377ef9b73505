//! Pull-through caches with an upstream of the test's own, which may be slow, empty or gone: what
//! is fetched, how often, and what a client sees meanwhile.

mod harness;

use bytes::Bytes;
use harness::{NOW, Server, digest};
use http::StatusCode;
use model::image::{ImageTag, PullThroughCacheRule, Repository};
use model::{Digest, Timestamp};
use registry::{Upstream, UpstreamAnswer, UpstreamBlob, UpstreamFailure, UpstreamManifest};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Another registry, in memory.
#[derive(Default)]
struct Elsewhere {
    /// By `repository:reference`.
    manifests: Mutex<BTreeMap<String, Bytes>>,
    blobs: Mutex<BTreeMap<String, Bytes>>,
    failure: Mutex<Option<UpstreamFailure>>,
    asked: Mutex<Vec<String>>,
    /// Pieces that blobs may send; none: as many as they like.
    pieces: Option<Arc<Semaphore>>,
}

struct Sending {
    rest: Bytes,
    pieces: Option<Arc<Semaphore>>,
}

impl UpstreamBlob for Sending {
    fn next(&mut self) -> UpstreamAnswer<'_, Option<Bytes>> {
        Box::pin(async move {
            if self.rest.is_empty() {
                return Ok(None);
            }
            if let Some(pieces) = &self.pieces {
                pieces.acquire().await.expect("open").forget();
            }
            Ok(Some(self.rest.split_to(self.rest.len().min(1000))))
        })
    }
}

impl Elsewhere {
    /// An image of one layer; gives its manifest's digest.
    fn image(&self, repository: &str, tag: &str, layer: &[u8]) -> String {
        let config = format!("{{\"of\": \"{tag}\"}}").into_bytes();
        let described = |kind: &str, content: &[u8]| {
            let (digest, size) = (digest(content), content.len());
            json!({"mediaType": kind, "digest": digest, "size": size})
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described("application/vnd.oci.image.config.v1+json", &config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar", layer)],
        });
        let manifest = Bytes::from(manifest.to_string());
        let mut blobs = self.blobs.lock().expect("whole");
        for content in [config, layer.to_vec()] {
            blobs.insert(digest(&content), content.into());
        }
        let found = digest(&manifest);
        let mut manifests = self.manifests.lock().expect("whole");
        for reference in [tag, found.as_str()] {
            manifests.insert(format!("{repository}:{reference}"), manifest.clone());
        }
        found
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("whole"))
    }

    fn fails(&self, failure: Option<UpstreamFailure>) {
        *self.failure.lock().expect("whole") = failure;
    }

    fn note(&self, what: String) -> Result<(), UpstreamFailure> {
        self.asked.lock().expect("whole").push(what);
        self.failure.lock().expect("whole").clone().map_or(Ok(()), Err)
    }
}

impl Upstream for Elsewhere {
    fn manifest<'a>(
        &'a self,
        rule: &'a PullThroughCacheRule,
        repository: &'a str,
        reference: &'a str,
    ) -> UpstreamAnswer<'a, UpstreamManifest> {
        Box::pin(async move {
            self.note(format!("{}/{repository}:{reference}", rule.upstream_url))?;
            let manifests = self.manifests.lock().expect("whole");
            let content = manifests.get(&format!("{repository}:{reference}")).cloned();
            let content = content.ok_or(UpstreamFailure::NotFound)?;
            Ok(UpstreamManifest { media_type: MANIFEST.to_owned(), content })
        })
    }

    fn blob<'a>(
        &'a self,
        _: &'a PullThroughCacheRule,
        repository: &'a str,
        digest: &'a Digest,
        _: u64,
    ) -> UpstreamAnswer<'a, Box<dyn UpstreamBlob>> {
        Box::pin(async move {
            self.note(format!("{repository}@{digest}"))?;
            let rest = self.blobs.lock().expect("whole").get(digest.as_str()).cloned();
            let rest = rest.ok_or(UpstreamFailure::NotFound)?;
            Ok(Box::new(Sending { rest, pieces: self.pieces.clone() }) as Box<dyn UpstreamBlob>)
        })
    }
}

async fn serve(upstream: &Arc<Elsewhere>, clock: &Arc<AtomicI64>) -> Server {
    let clock = Arc::clone(clock);
    let server = Server::start_with(Arc::clone(upstream) as Arc<dyn Upstream>, move || {
        Timestamp(clock.load(Ordering::SeqCst))
    });
    let server = server.await;
    for (prefix, upstream_prefix) in [("cache", None), ("cache/team", Some("theirs".to_owned()))] {
        let rule = PullThroughCacheRule {
            prefix: prefix.to_owned(),
            upstream_url: "registry.test".to_owned(),
            upstream_registry: String::new(),
            upstream_prefix,
            credential_arn: None,
            custom_role_arn: None,
            created_at: NOW,
            updated_at: NOW,
        };
        let put = server.store.transact(|txn| {
            txn.put(rule.clone());
            Ok::<(), store::CommitFailure>(())
        });
        put.await.expect("stored");
    }
    server
}

fn at_now() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(NOW.0))
}

#[tokio::test]
async fn what_is_asked_for_is_fetched_once_and_kept() {
    let upstream = Arc::new(Elsewhere::default());
    let manifest = upstream.image("lib/app", "v1", b"a layer");
    let server = serve(&upstream, &at_now()).await;
    let got = server.get("/v2/cache/lib/app/manifests/v1").await;
    assert_eq!((got.status, got.header("docker-content-digest")), (StatusCode::OK, &*manifest));
    let layer = digest(b"a layer");
    let blob = server.get(&format!("/v2/cache/lib/app/blobs/{layer}")).await;
    assert_eq!((blob.status, &*blob.body), (StatusCode::OK, &b"a layer"[..]));
    let repository = server.store.snapshot().get::<Repository>("cache/lib/app");
    assert!(repository.is_some(), "it was made");
    let mut asked = upstream.asked();
    while asked.len() < 3 {
        // The config comes in behind.
        tokio::task::yield_now().await;
        asked.extend(upstream.asked());
    }
    asked.sort();
    assert_eq!(asked[2], "registry.test/lib/app:v1");
    // From here on without it, also the config, which nobody asked for.
    upstream.fails(Some(UpstreamFailure::Unavailable("gone".to_owned())));
    let json: serde_json::Value = serde_json::from_slice(&got.body).expect("JSON");
    let config = json["config"]["digest"].as_str().expect("text");
    for path in [format!("blobs/{config}"), format!("blobs/{layer}"), "manifests/v1".to_owned()] {
        let again = server.get(&format!("/v2/cache/lib/app/{path}")).await;
        assert_eq!(again.status, StatusCode::OK, "{path}");
    }
    // The longest prefix decides, and may mean another place there.
    upstream.fails(None);
    upstream.image("theirs/app", "v2", b"x");
    let got = server.get("/v2/cache/team/app/manifests/v2").await;
    assert_eq!(got.status, StatusCode::OK);
    // What no manifest names is not fetched for anyone, and no rule is no way.
    upstream.asked();
    let other = digest(b"x");
    let got = server.get(&format!("/v2/cache/lib/app/blobs/{other}")).await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/v2/else/app/manifests/v1").await.error().0, "NAME_UNKNOWN");
    assert!(upstream.asked().is_empty());
}

#[tokio::test]
async fn a_blob_is_sent_on_while_it_arrives() {
    let pieces = Arc::new(Semaphore::new(0));
    let upstream =
        Arc::new(Elsewhere { pieces: Some(Arc::clone(&pieces)), ..Elsewhere::default() });
    let layer: Vec<u8> = (0..50_000u32).map(|n| (n % 251) as u8).collect();
    upstream.image("app", "v1", &layer);
    let server = serve(&upstream, &at_now()).await;
    assert_eq!(server.get("/v2/cache/app/manifests/v1").await.status, StatusCode::OK);
    let path = format!("/v2/cache/app/blobs/{}", digest(&layer));
    let asking = (0..3).map(|_| server.get(&path));
    let all = futures_util::future::join_all(asking);
    // A piece at a time, so that everybody reads behind the end.
    let feeding = async {
        for _ in 0..200 {
            pieces.add_permits(1);
            tokio::task::yield_now().await;
        }
    };
    let (answers, ()) = tokio::join!(all, feeding);
    for answer in answers {
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.body == layer, "{} bytes", answer.body.len());
    }
    let of_layer = digest(&layer);
    let fetched = upstream.asked().into_iter().filter(|asked| asked.ends_with(&of_layer)).count();
    assert_eq!(fetched, 1);
}

#[tokio::test]
async fn a_tag_is_compared_once_a_day_and_served_when_it_cannot_be() {
    let upstream = Arc::new(Elsewhere::default());
    let first = upstream.image("app", "v1", b"first");
    let clock = at_now();
    let server = serve(&upstream, &clock).await;
    let tagged = async || {
        let got = server.get("/v2/cache/app/manifests/v1").await;
        assert_eq!(got.status, StatusCode::OK, "{:?}", got.body);
        got.header("docker-content-digest").to_owned()
    };
    assert_eq!(tagged().await, first);
    let second = upstream.image("app", "v1", b"second");
    assert_eq!(tagged().await, first, "not yet");
    clock.fetch_add(25 * 3_600_000, Ordering::SeqCst);
    upstream.fails(Some(UpstreamFailure::Busy("later".to_owned())));
    assert_eq!(tagged().await, first, "better an old one than none");
    upstream.fails(None);
    assert_eq!(tagged().await, second);
    let tag = store::kinds::image_tag_key(&"cache/app".into(), "v1");
    let tag = server.store.snapshot().get::<ImageTag>(&tag).expect("there");
    assert_eq!(tag.digest.as_str(), second);
    // The old one is still to be had by its digest.
    let old = server.get(&format!("/v2/cache/app/manifests/{first}")).await;
    assert_eq!(old.status, StatusCode::OK);
}

#[tokio::test]
async fn what_the_upstream_refuses_is_told() {
    let upstream = Arc::new(Elsewhere::default());
    upstream.image("app", "v1", b"x");
    let server = serve(&upstream, &at_now()).await;
    for (failure, status, code) in [
        (UpstreamFailure::Denied("no".to_owned()), StatusCode::FORBIDDEN, "DENIED"),
        (UpstreamFailure::Busy("no".to_owned()), StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        (UpstreamFailure::Unavailable("no".to_owned()), StatusCode::BAD_GATEWAY, "UNAVAILABLE"),
    ] {
        upstream.fails(Some(failure));
        let got = server.get("/v2/cache/app/manifests/v1").await;
        assert_eq!((got.status, got.error().0), (status, code.to_owned()));
    }
    upstream.fails(None);
    let got = server.get("/v2/cache/nope/manifests/v1").await;
    assert_eq!((got.status, got.error().0), (StatusCode::NOT_FOUND, "NAME_UNKNOWN".to_owned()));
    // A blob that is not what it should be is not kept.
    let layer = digest(b"x");
    upstream.blobs.lock().expect("whole").insert(layer.clone(), Bytes::from_static(b"y"));
    assert_eq!(server.get("/v2/cache/app/manifests/v1").await.status, StatusCode::OK);
    let link = store::kinds::blob_link_key(&"cache/app".into(), &Digest::from(layer.as_str()));
    while upstream.asked.lock().expect("whole").iter().all(|asked| !asked.ends_with(&layer)) {
        tokio::task::yield_now().await;
    }
    assert!(server.store.snapshot().get::<model::image::BlobLink>(&link).is_none());
}
