//! Pushes, mounts, deletes, collections and crashes, interleaved in every way a seed makes them:
//! after each step every image is whole, and when all is quiet no garbage is left. The code under
//! test is the registry's own; only the objects and the clock are fakes, so a seed is a schedule.

use crate::path::Reference;
use crate::{Call, Inner, Parts, Query, Registry, answer};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use model::arn::Locality;
use model::image::{BlobLink, Manifest, Repository};
use model::manifest::Document;
use model::{Digest, RepositoryName, Timestamp};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::blob::{
    BlobFailure, BoxFuture, Digest as Stored256, ObjectInfo, ObjectName, ObjectReader, ObjectStore,
    Staging, Stored, Upload, Whole,
};
use store::{CommitFailure, Revision, Store};
use tokio::task::{JoinHandle, LocalSet};

const REPOSITORIES: [&str; 3] = ["a", "b", "c"];
const GRACE: Duration = Duration::from_secs(1000);
/// What passes between two looks at the world; a push takes dozens of these at most.
const TICK_MS: i64 = 2_000;

/// splitmix64: small, and the same everywhere.
#[derive(Clone)]
struct Random(Arc<AtomicU64>);

impl Random {
    fn next(&self) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).expect("small")]
    }
}

/// Objects in memory. Every call lets others go first, as often as the seed says.
#[derive(Clone)]
struct Objects {
    all: Arc<Mutex<BTreeMap<ObjectName, (Bytes, SystemTime)>>>,
    random: Random,
    now: Arc<AtomicI64>,
}

impl Objects {
    fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.now.load(Ordering::SeqCst).unsigned_abs())
    }

    async fn pause(&self) {
        for _ in 0..self.random.below(4) {
            tokio::task::yield_now().await;
        }
    }

    fn has(&self, digest: &Digest) -> bool {
        let digest = Stored256::parse(digest.as_str()).expect("a digest");
        self.all.lock().expect("not poisoned").contains_key(&digest.object_name())
    }
}

struct Begun {
    objects: Objects,
    content: Vec<u8>,
}

impl Upload for Begun {
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<(), BlobFailure>> {
        Box::pin(async move {
            self.objects.pause().await;
            self.content.extend_from_slice(&piece);
            Ok(())
        })
    }

    fn bytes(&self) -> u64 {
        self.content.len() as u64
    }

    fn finish(
        self: Box<Self>,
        name: Option<ObjectName>,
        _wanted: Option<Stored256>,
    ) -> BoxFuture<'static, Result<Stored, BlobFailure>> {
        Box::pin(async move {
            self.objects.pause().await;
            let digest = Stored256::of(&self.content);
            let stored = Stored { digest, bytes: self.bytes() };
            let entry = (Bytes::from(self.content), self.objects.time());
            let name = name.unwrap_or_else(|| digest.object_name());
            self.objects.all.lock().expect("not poisoned").insert(name, entry);
            self.objects.pause().await;
            Ok(stored)
        })
    }
}

struct Reading(Option<Bytes>, u64);

impl ObjectReader for Reading {
    fn object_bytes(&self) -> u64 {
        self.1
    }

    fn remaining_bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |left| left.len() as u64)
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BlobFailure>> {
        Box::pin(std::future::ready(Ok(self.0.take())))
    }
}

impl ObjectStore for Objects {
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Upload>, BlobFailure>> {
        Box::pin(async move {
            self.pause().await;
            Ok(Box::new(Begun { objects: self.clone(), content: Vec::new() }) as Box<dyn Upload>)
        })
    }

    fn head(&self, name: ObjectName) -> BoxFuture<'_, Result<Option<ObjectInfo>, BlobFailure>> {
        let all = self.all.lock().expect("not poisoned");
        let found = all.get(&name).map(|(content, modified)| ObjectInfo {
            bytes: content.len() as u64,
            modified: *modified,
        });
        Box::pin(std::future::ready(Ok(found)))
    }

    fn get(
        &self,
        name: ObjectName,
        _range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Option<Box<dyn ObjectReader>>, BlobFailure>> {
        Box::pin(async move {
            self.pause().await;
            let all = self.all.lock().expect("not poisoned");
            let found = all.get(&name).map(|(content, _)| {
                let bytes = content.len() as u64;
                Box::new(Reading(Some(content.clone()), bytes)) as Box<dyn ObjectReader>
            });
            Ok(found)
        })
    }

    fn adopt(&self, _file: Whole) -> BoxFuture<'_, Result<Stored, BlobFailure>> {
        unreachable!("this simulation has no files")
    }

    fn sweep(
        &self,
        name: ObjectName,
        before: SystemTime,
    ) -> BoxFuture<'_, Result<Option<u64>, BlobFailure>> {
        Box::pin(async move {
            self.pause().await;
            let mut all = self.all.lock().expect("not poisoned");
            let old = all.get(&name).filter(|(_, modified)| *modified < before);
            let bytes = old.map(|(content, _)| content.len() as u64);
            if bytes.is_some() {
                all.remove(&name);
            }
            Ok(bytes)
        })
    }

    fn sweep_unfinished(&self, _before: SystemTime) -> BoxFuture<'_, Result<usize, BlobFailure>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    fn delete(&self, _name: ObjectName) -> BoxFuture<'_, Result<bool, BlobFailure>> {
        unreachable!("the registry sweeps, it does not delete")
    }

    fn list(
        &self,
        prefix: String,
        after: Option<ObjectName>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(ObjectName, ObjectInfo)>, BlobFailure>> {
        Box::pin(async move {
            self.pause().await;
            let all = self.all.lock().expect("not poisoned");
            let past = |name: &&ObjectName| after.as_ref().is_none_or(|after| *name > after);
            let names = all.keys().filter(|name| name.as_str().starts_with(&prefix)).filter(past);
            let info = |name: &ObjectName| ObjectInfo {
                bytes: all[name].0.len() as u64,
                modified: all[name].1,
            };
            // Small pages, so that much happens between two of them.
            let page = names.take(limit.min(3)).map(|name| (name.clone(), info(name)));
            Ok(page.collect())
        })
    }
}

struct World {
    store: Store,
    objects: Objects,
    now: Arc<AtomicI64>,
    random: Random,
    folder: tempfile::TempDir,
    registry: Registry,
}

impl World {
    async fn new(seed: u64) -> Self {
        let random = Random(Arc::new(AtomicU64::new(seed)));
        let now = Arc::new(AtomicI64::new(1_750_000_000_000));
        let all = Arc::default();
        let objects = Objects { all, random: random.clone(), now: Arc::clone(&now) };
        let store = Store::in_memory(store::kinds::all());
        let mut txn = store.begin();
        for name in REPOSITORIES {
            txn.put(Repository {
                name: RepositoryName::from(name),
                created_at: Timestamp(0),
                immutable_tags: false,
                tag_exclusions: Vec::new(),
                scan_on_push: false,
                tags: Default::default(),
            });
        }
        txn.commit().await.expect("committed");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let registry = start(&store, &objects, &now, folder.path());
        Self { store, objects, now, random, folder, registry }
    }

    fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.registry.inner)
    }

    /// All that lives in memory is gone, and so is what was under way.
    fn crash(&mut self, running: &mut Vec<JoinHandle<()>>) {
        running.drain(..).for_each(|work| work.abort());
        self.registry = start(&self.store, &self.objects, &self.now, self.folder.path());
    }

    /// Every manifest there is has its bytes, its blobs' links and their objects.
    fn check(&self, seed: u64) {
        let snapshot = self.store.snapshot();
        for (key, manifest) in snapshot.scan::<Manifest>("") {
            assert!(self.objects.has(&manifest.digest), "seed {seed}: {key} lost its bytes");
            for digest in &manifest.references {
                let link = store::kinds::blob_link_key(&manifest.repository, digest);
                let link = snapshot.get::<BlobLink>(&link);
                assert!(link.is_some(), "seed {seed}: {key} lost the link of {digest}");
            }
        }
        for (key, link) in snapshot.scan::<BlobLink>("") {
            assert!(self.objects.has(&link.digest), "seed {seed}: {key} lost its object");
        }
    }
}

fn start(
    store: &Store,
    objects: &Objects,
    now: &Arc<AtomicI64>,
    folder: &std::path::Path,
) -> Registry {
    let now = Arc::clone(now);
    Registry::new(Parts {
        store: store.clone(),
        objects: Arc::new(objects.clone()),
        staging: Staging::open(folder).expect("opened"),
        locality: Locality { region: "us-east-1".into(), account: "000000000000".into() },
        clock: Arc::new(move || Timestamp(now.load(Ordering::SeqCst))),
        signer: crate::token::Signer::new(b"secret"),
        agent_user: String::new(),
        agent_password: String::new(),
    })
}

fn call(method: Method) -> Call {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_static(model::manifest::OCI_MANIFEST);
    headers.insert(http::header::CONTENT_TYPE, value);
    Call { method, path: String::new(), query: Query::parse(""), headers }
}

/// As clients push: ask for each blob, send it if it isn't there (or mount it), then the manifest.
async fn push(inner: Arc<Inner>, random: Random, repository: RepositoryName, tag: String) {
    let mut descriptors = Vec::new();
    for _ in 0..=random.below(3) {
        let content = Bytes::from(format!("blob {}", random.below(8)));
        let digest = Digest::from(Stored256::of(&content).to_string());
        let bytes = content.len() as u64;
        let (name, asked) = (repository.clone(), digest.clone());
        let head = inner.get_blob(&call(Method::HEAD), name, asked).await;
        if head.is_err() {
            let from = RepositoryName::from(*random.pick(&REPOSITORIES));
            let mounted = inner.link(&repository, &digest, bytes, Some(&from)).await;
            if !mounted.expect("the repository is there") {
                store::blob::put_content(&*inner.objects, content).await.expect("stored");
                inner.link(&repository, &digest, bytes, None).await.expect("linked");
            }
        }
        descriptors.push(serde_json::json!({
            "mediaType": "application/x", "digest": digest.as_str(), "size": bytes,
        }));
    }
    let config = descriptors.pop().expect("at least one");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": model::manifest::OCI_MANIFEST,
        "config": config, "layers": descriptors,
    });
    let body = answer::full(manifest.to_string());
    let reference = Reference::Tag(tag);
    let put = inner.put_manifest(&call(Method::PUT), body, repository, reference).await;
    // A blob that went between HEAD and PUT is told; whoever pushes begins again.
    if let Err(refusal) = put {
        assert_eq!(refusal.status, StatusCode::NOT_FOUND, "{refusal:?}");
    }
}

async fn delete(inner: Arc<Inner>, repository: RepositoryName, nth: u64) {
    let snapshot = inner.store.snapshot();
    let prefix = store::kinds::repository_prefix(&repository);
    let all: Vec<_> = snapshot.scan::<Manifest>(&prefix).map(|(_, it)| it.digest.clone()).collect();
    if let Some(digest) = all.get(usize::try_from(nth).expect("small") % all.len().max(1)) {
        let reference = Reference::Digest(digest.clone());
        // Somebody else may have deleted it first.
        let _ = inner.delete_manifest(repository, reference).await;
    }
}

async fn one_life(seed: u64) {
    let mut world = World::new(seed).await;
    let mut running: Vec<JoinHandle<()>> = Vec::new();
    for _ in 0..400 {
        let (inner, random) = (world.inner(), world.random.clone());
        let repository = RepositoryName::from(*random.pick(&REPOSITORIES));
        let nth = random.below(6);
        let work = match random.below(100) {
            0..=34 => {
                let tag = format!("v{nth}");
                Some(tokio::task::spawn_local(push(inner, random, repository, tag)))
            }
            35..=49 => Some(tokio::task::spawn_local(delete(inner, repository, nth))),
            50..=64 => Some(tokio::task::spawn_local(async move {
                inner.collect(GRACE).await.expect("collected");
            })),
            65..=67 => {
                world.crash(&mut running);
                None
            }
            68..=71 => {
                // All is quiet for a while, so that things grow old.
                for work in running.drain(..) {
                    work.await.expect("no panic");
                }
                world.now.fetch_add(
                    i64::try_from(random.below(3_000_000)).expect("small"),
                    Ordering::SeqCst,
                );
                None
            }
            _ => None,
        };
        running.extend(work);
        for _ in 0..world.random.below(6) {
            tokio::task::yield_now().await;
        }
        world.now.fetch_add(TICK_MS, Ordering::SeqCst);
        world.check(seed);
    }
    for work in running.drain(..) {
        work.await.expect("no panic");
    }
    settle(&world, seed).await;
}

/// When nothing is pushed any more, three collections leave exactly what images need.
async fn settle(world: &World, seed: u64) {
    for _ in 0..3 {
        world.now.fetch_add(2_000_000, Ordering::SeqCst);
        world.inner().collect(GRACE).await.expect("collected");
        world.check(seed);
    }
    let snapshot = world.store.snapshot();
    let needed: std::collections::BTreeSet<Digest> = snapshot
        .scan::<Manifest>("")
        .flat_map(|(_, it)| {
            it.references.iter().cloned().chain([it.digest.clone()]).collect::<Vec<_>>()
        })
        .collect();
    let objects = world.objects.all.lock().expect("not poisoned").len();
    assert_eq!(objects, needed.len(), "seed {seed}: garbage is left");
    let links = snapshot.scan::<BlobLink>("").count();
    let pairs: std::collections::BTreeSet<String> = super::needed_links(&snapshot, "").collect();
    assert_eq!(links, pairs.len(), "seed {seed}: links are left that no image needs");
}

/// A repository with one blob that no image needs, condemned long ago, and what a manifest that
/// needs it would be.
async fn condemned() -> (World, Vec<(String, Revision)>, Document, Manifest) {
    let world = World::new(1).await;
    let (inner, name) = (world.inner(), RepositoryName::from("a"));
    let digest = Digest::from(Stored256::of(b"blob").to_string());
    assert!(inner.link(&name, &digest, 4, None).await.expect("linked"));
    let key = store::kinds::blob_link_key(&name, &digest);
    let revision = world.store.snapshot().get::<BlobLink>(&key).expect("there").revision;
    inner.collector.lock().insert(key.clone(), (revision, Timestamp(0)));
    let content = serde_json::json!({
        "schemaVersion": 2, "mediaType": model::manifest::OCI_MANIFEST, "layers": [],
        "config": { "mediaType": "application/x", "digest": digest.as_str(), "size": 4 },
    });
    let content = content.to_string();
    let document = Document::parse(content.as_bytes(), "").expect("a manifest");
    let manifest = Manifest {
        repository: name,
        digest: Digest::from(Stored256::of(content.as_bytes()).to_string()),
        media_type: document.media_type.clone(),
        artifact_type: None,
        subject: None,
        references: vec![digest],
        manifest_bytes: content.len() as u64,
        image_bytes: 4,
        pushed_at: inner.now(),
    };
    (world, vec![(key, revision)], document, manifest)
}

/// In memory a transaction has nothing between its beginning and its end, so the seeds never see
/// two at a time: here they are.
#[tokio::test]
async fn of_a_push_and_the_collection_of_its_blob_only_one_commits() {
    for push_first in [true, false] {
        let (world, links, document, manifest) = condemned().await;
        let inner = world.inner();
        let reference = Reference::Tag("v1".to_owned());
        let (mut unlinking, mut pushing) = (world.store.begin(), world.store.begin());
        assert_eq!(inner.unlink_in(&mut unlinking, &links), 1);
        let pushed = inner.store_in(&mut pushing, &manifest, &document, &reference);
        pushed.expect("the blob is there still");
        let (first, second) = if push_first { (pushing, unlinking) } else { (unlinking, pushing) };
        first.commit().await.expect("nothing is in its way");
        let failure = second.commit().await.expect_err("the other came first");
        assert!(matches!(failure, CommitFailure::Conflict { .. }), "{failure}");
        // What comes later sees it.
        let mut again = world.store.begin();
        match push_first {
            true => assert_eq!(inner.unlink_in(&mut again, &links), 0),
            false => {
                let pushed = inner.store_in(&mut again, &manifest, &document, &reference);
                assert_eq!(pushed.expect_err("gone").code, "MANIFEST_BLOB_UNKNOWN");
            }
        }
    }
}

#[tokio::test]
async fn of_a_mount_and_the_collection_of_its_source_only_one_commits() {
    let (world, links, _, manifest) = condemned().await;
    let inner = world.inner();
    let (from, to) = (RepositoryName::from("a"), RepositoryName::from("b"));
    let digest = &manifest.references[0];
    let (mut unlinking, mut mounting) = (world.store.begin(), world.store.begin());
    assert_eq!(inner.unlink_in(&mut unlinking, &links), 1);
    assert!(inner.link_in(&mut mounting, &to, digest, 4, Some(&from)).expect("there still"));
    unlinking.commit().await.expect("nothing is in its way");
    let failure = mounting.commit().await.expect_err("its source is gone");
    assert!(matches!(failure, CommitFailure::Conflict { .. }), "{failure}");
}

#[tokio::test]
async fn a_blob_that_is_asked_for_is_spared() {
    let (world, links, _, manifest) = condemned().await;
    let inner = world.inner();
    let digest = manifest.references[0].clone();
    let head = inner.get_blob(&call(Method::HEAD), RepositoryName::from("a"), digest).await;
    assert_eq!(head.expect("there").status(), StatusCode::OK);
    assert_eq!(inner.unlink_in(&mut world.store.begin(), &links), 0);
}

#[test]
fn nothing_an_image_needs_is_ever_swept_and_garbage_goes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    for seed in 0..30 {
        LocalSet::new().block_on(&runtime, one_life(seed));
    }
}
