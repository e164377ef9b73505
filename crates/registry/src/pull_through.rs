//! Pull-through caches: repositories whose names begin as a rule says are another registry's. What
//! is asked for and not here is fetched there, kept, and served as if it had been pushed; tags are
//! compared with the other side's once a day. Source: ECR user guide, pull-through-cache.
//!
//! A manifest is kept as soon as it is known, before the layers it names: they come in behind it,
//! each once, whoever asks for it first. Who asks for one that is just arriving is sent what is
//! there already, and the rest as it comes. So a client never waits for a whole layer, and a
//! restart loses nothing but layers half fetched.

use crate::answer::{Body, BoxError, Refusal};
use crate::blobs::object_name;
use crate::limits::{
    ARRIVING_AT_ONCE_MAX, ARRIVING_PIECE_BYTES, TAG_FRESH_SECONDS, TAGS_COMPARED_MAX,
    TURNS_KEPT_MAX,
};
use crate::manifests::{find, needs};
use crate::path::Reference;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use model::document::Tags;
use model::image::{ImageTag, Manifest, PullThroughCacheRule, Repository};
use model::manifest::{Document, MANIFEST_BYTES_MAX, Needed};
use model::{Digest, RepositoryName, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::io::{ErrorKind, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::blob::{ObjectStore, Staging, links, put_content, read_all};
use store::kinds::{blob_link_key, image_tag_key, manifest_key, repository_prefix};
use store::{Snapshot, Store};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};

/// The prefix of the rule for all names that no other rule's prefix begins.
const ROOT: &str = "ROOT";
/// AWS's name of the registry that keeps names of one part under `library`.
const DOCKER_HUB: &str = "docker-hub";

/// What an upstream answers, some time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, UpstreamFailure>> + Send + 'a>>;

/// The way to other registries, which this crate doesn't know.
pub trait Upstream: Send + Sync + 'static {
    /// What a tag or a digest of a repository there names.
    fn manifest<'a>(
        &'a self,
        rule: &'a PullThroughCacheRule,
        repository: &'a str,
        reference: &'a str,
    ) -> Answer<'a, UpstreamManifest>;

    /// A blob of this size.
    fn blob<'a>(
        &'a self,
        rule: &'a PullThroughCacheRule,
        repository: &'a str,
        digest: &'a Digest,
        bytes: u64,
    ) -> Answer<'a, Box<dyn UpstreamBlob>>;
}

/// A blob on its way.
pub trait UpstreamBlob: Send {
    /// The next bytes; none at the end.
    fn next(&mut self) -> Answer<'_, Option<Bytes>>;
}

#[derive(Clone, Debug)]
pub struct UpstreamManifest {
    pub media_type: String,
    /// Of the digest that was asked for, if one was.
    pub content: Bytes,
}

/// Why an upstream gave nothing; the texts are for the client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamFailure {
    #[error("the upstream registry has no such image")]
    NotFound,
    #[error("the upstream registry refuses: {0}")]
    Denied(String),
    #[error("the upstream registry is too busy: {0}")]
    Busy(String),
    #[error("the upstream registry can't be used: {0}")]
    Unavailable(String),
}

impl From<UpstreamFailure> for Refusal {
    fn from(failure: UpstreamFailure) -> Self {
        let (status, code) = match failure {
            UpstreamFailure::NotFound => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            UpstreamFailure::Denied(_) => (StatusCode::FORBIDDEN, "DENIED"),
            UpstreamFailure::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            UpstreamFailure::Unavailable(_) => (StatusCode::BAD_GATEWAY, "UNAVAILABLE"),
        };
        Self::new(status, code, failure.to_string())
    }
}

/// What brings in what is not here.
pub(crate) struct PullThrough {
    pub store: Store,
    pub objects: Arc<dyn ObjectStore>,
    pub staging: Staging,
    pub clock: crate::Clock,
    pub upstream: Arc<dyn Upstream>,
    state: Mutex<State>,
    /// Blobs that are fetched at the same time.
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    arriving: BTreeMap<(RepositoryName, Digest), Arriving>,
    /// When a tag was last compared with the upstream's.
    compared: BTreeMap<String, Timestamp>,
    /// One at a time asks the upstream for one manifest; the others find what it brought.
    turns: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
}

/// A blob that is being fetched.
#[derive(Clone)]
pub(crate) struct Arriving {
    pub bytes: u64,
    /// Where it lies until it is whole; none until its turn has come.
    progress: watch::Receiver<Progress>,
}

#[derive(Clone)]
enum Progress {
    Waiting,
    Arrived { path: PathBuf, bytes: u64 },
    Whole,
    Failed(UpstreamFailure),
}

/// Where a name of ours leads.
struct Way {
    rule: Arc<PullThroughCacheRule>,
    repository: String,
}

impl PullThrough {
    pub fn new(parts: &crate::Parts, upstream: Arc<dyn Upstream>) -> Self {
        Self {
            store: parts.store.clone(),
            objects: Arc::clone(&parts.objects),
            staging: parts.staging.clone(),
            clock: Arc::clone(&parts.clock),
            upstream,
            state: Mutex::default(),
            room: Arc::new(Semaphore::new(ARRIVING_AT_ONCE_MAX)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The maps are whole between statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a manifest be here if a rule says where it is to be had. That it is nowhere is no
    /// failure of this: the registry then answers in its own words.
    pub async fn bring_manifest(
        self: &Arc<Self>,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<(), Refusal> {
        let snapshot = self.store.snapshot();
        let Some(way) = way(&snapshot, name) else { return Ok(()) };
        if self.is_fresh(&snapshot, name, reference) {
            return Ok(());
        }
        let text = match reference {
            Reference::Tag(tag) => tag.as_str(),
            Reference::Digest(digest) => digest.as_str(),
        };
        let key = format!("{name}:{text}");
        let _turn = self.turn(&key).await;
        let snapshot = self.store.snapshot();
        if self.is_fresh(&snapshot, name, reference) {
            return Ok(());
        }
        let known = find(&snapshot, name, reference).is_some();
        let asked = self.upstream.manifest(&way.rule, &way.repository, text).await;
        let found = match asked {
            Ok(found) => found,
            Err(UpstreamFailure::NotFound) => return Ok(()),
            Err(failure) if known => {
                // Better yesterday's image than none. The next who asks tries again.
                tracing::warn!(%name, text, %failure, "a cached tag could not be compared");
                return Ok(());
            }
            Err(failure) => return Err(failure.into()),
        };
        let document = self.keep(name, reference, found).await?;
        if let Reference::Tag(_) = reference {
            let mut state = self.state();
            if state.compared.len() >= TAGS_COMPARED_MAX {
                // They are compared once more, no harm done.
                state.compared.clear();
            }
            state.compared.insert(key, (self.clock)());
        }
        for needed in document.blobs {
            // In the background, so that the image is whole here whatever the client needs of it.
            self.bring(name, &way, &needed);
        }
        Ok(())
    }

    /// Whether the manifest is here and needs no comparison.
    fn is_fresh(&self, snapshot: &Snapshot, name: &RepositoryName, reference: &Reference) -> bool {
        if find(snapshot, name, reference).is_none() {
            return false;
        }
        let Reference::Tag(tag) = reference else { return true };
        let tagged = snapshot.get::<ImageTag>(&image_tag_key(name, tag));
        let tagged = tagged.map(|tag| tag.tagged_at);
        let compared = self.state().compared.get(&format!("{name}:{tag}")).copied();
        let last = tagged.max(compared);
        last.is_some_and(|at| at.plus_seconds(TAG_FRESH_SECONDS) > (self.clock)())
    }

    async fn turn(&self, key: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut state = self.state();
            if state.turns.len() >= TURNS_KEPT_MAX {
                state.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(state.turns.entry(key.to_owned()).or_default())
        };
        turn.lock_owned().await
    }

    /// Stores the manifest, its tag, and the repository if it is the first of it.
    async fn keep(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        found: UpstreamManifest,
    ) -> Result<Document, Refusal> {
        let unusable = |why: String| UpstreamFailure::Unavailable(why);
        let media_type = found.media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let document = Document::parse(&found.content, &media_type);
        let document = document.map_err(|why| unusable(why.to_string()))?;
        let (manifest_bytes, now) = (found.content.len() as u64, (self.clock)());
        let digest = Digest::from(store::blob::Digest::of(&found.content).to_string());
        if let Reference::Digest(wanted) = reference
            && *wanted != digest
        {
            return Err(unusable(format!("it sent {digest} for {wanted}")).into());
        }
        put_content(&*self.objects, found.content).await?;
        let manifest = Manifest {
            repository: name.clone(),
            digest: digest.clone(),
            media_type: document.media_type.clone(),
            artifact_type: document.artifact_type.clone(),
            subject: document.subject.clone(),
            references: needs(&document).map(|needed| needed.digest.clone()).collect(),
            manifest_bytes,
            image_bytes: document.image_bytes,
            pushed_at: now,
        };
        let stored = self.store.transact(|txn| {
            if txn.get::<Repository>(name.as_str()).is_none() {
                txn.put(Repository {
                    name: name.clone(),
                    created_at: now,
                    immutable_tags: false,
                    tag_exclusions: Vec::new(),
                    scan_on_push: false,
                    tags: Tags::default(),
                });
            }
            if txn.get::<Manifest>(&manifest_key(name, &digest)).is_none() {
                txn.put(manifest.clone());
            }
            if let Reference::Tag(tag) = reference {
                let known = txn.get::<ImageTag>(&image_tag_key(name, tag));
                if known.is_none_or(|known| known.digest != digest) {
                    let (repository, tag, digest) = (name.clone(), tag.clone(), digest.clone());
                    txn.put(ImageTag { repository, tag, digest, tagged_at: now });
                }
            }
            Ok::<(), Refusal>(())
        });
        stored.await?;
        Ok(document)
    }

    /// A blob that a manifest of the repository needs and that is not here: it is on its way now.
    pub async fn blob(
        self: &Arc<Self>,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Arriving>, Refusal> {
        let snapshot = self.store.snapshot();
        let Some(way) = way(&snapshot, name) else { return Ok(None) };
        let prefix = repository_prefix(name);
        let mut all = snapshot.scan::<Manifest>(&prefix);
        let needing = all.find(|(_, manifest)| manifest.references.contains(digest));
        let Some((_, manifest)) = needing else { return Ok(None) };
        let object = object_name(&manifest.digest);
        let content = read_all(&*self.objects, object, MANIFEST_BYTES_MAX).await?;
        let document = content.and_then(|content| {
            // It was read when it was stored.
            Document::parse(&content, &manifest.media_type).ok()
        });
        let needed = document.and_then(|document| {
            document.blobs.into_iter().find(|needed| needed.digest == *digest)
        });
        Ok(needed.map(|needed| self.bring(name, &way, &needed)))
    }

    /// Begins to fetch a blob, unless somebody has.
    fn bring(self: &Arc<Self>, name: &RepositoryName, way: &Way, needed: &Needed) -> Arriving {
        let key = (name.clone(), needed.digest.clone());
        let mut state = self.state();
        if let Some(arriving) = state.arriving.get(&key) {
            return arriving.clone();
        }
        let (told, progress) = watch::channel(Progress::Waiting);
        let arriving = Arriving { bytes: needed.bytes, progress };
        let linked = blob_link_key(name, &needed.digest);
        if self.store.snapshot().get::<model::image::BlobLink>(&linked).is_some() {
            told.send_replace(Progress::Whole);
            return arriving;
        }
        state.arriving.insert(key.clone(), arriving.clone());
        let (this, rule, repository) =
            (Arc::clone(self), Arc::clone(&way.rule), way.repository.clone());
        let bytes = needed.bytes;
        tokio::spawn(async move {
            let way = Way { rule, repository };
            let end = match this.fetch(&key, &way, bytes, &told).await {
                Ok(()) => Progress::Whole,
                Err(failure) => {
                    let (repository, digest) = &key;
                    tracing::warn!(%repository, %digest, %failure, "a blob could not be cached");
                    Progress::Failed(failure)
                }
            };
            // Forgotten first: who comes now finds the link, or begins anew.
            this.state().arriving.remove(&key);
            told.send_replace(end);
        });
        arriving
    }

    async fn fetch(
        &self,
        (name, digest): &(RepositoryName, Digest),
        way: &Way,
        bytes: u64,
        told: &watch::Sender<Progress>,
    ) -> Result<(), UpstreamFailure> {
        let failed = |failure: &dyn std::error::Error| {
            UpstreamFailure::Unavailable(format!("what it sends can't be kept: {failure}"))
        };
        let wanted = store::blob::Digest::parse(digest.as_str())
            .ok_or_else(|| UpstreamFailure::Unavailable(format!("{digest} is no digest")))?;
        let _seat = self.room.acquire().await.expect("it is never closed");
        let mut blob = self.upstream.blob(&way.rule, &way.repository, digest, bytes).await?;
        let id = upload_id().map_err(|failure| failed(&failure))?;
        let begun = self.staging.begin(id, name.clone()).await;
        let mut held = begun.map_err(|failure| failed(&failure))?;
        let path = held.data();
        loop {
            let piece = match blob.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(failure) => {
                    // Nothing of it is worth keeping; if this fails too, the sweep ends it.
                    let _ = self.staging.end(held).await;
                    return Err(failure);
                }
            };
            held = held.append(vec![piece]).await.map_err(|failure| failed(&failure))?;
            told.send_replace(Progress::Arrived { path: path.clone(), bytes: held.bytes() });
        }
        let stored = self.staging.finish(held, &*self.objects, wanted).await;
        let stored = stored.map_err(|failure| failed(&failure))?;
        let now = (self.clock)();
        let linked = self.store.transact(|txn| {
            links::link(txn, name, digest, stored.bytes, now);
            Ok::<(), store::CommitFailure>(())
        });
        linked.await.map(|_| ()).map_err(|failure| failed(&failure))
    }
}

/// What of a blob has arrived, and the rest as it comes.
struct Reading {
    progress: watch::Receiver<Progress>,
    range: Range<u64>,
    file: File,
}

impl Arriving {
    /// The file that it grows in; nothing if all of it is here already, to be read where whole
    /// blobs are. Waits until there is something, or nothing can come.
    pub async fn open(&mut self) -> Result<Option<File>, Refusal> {
        loop {
            let begun = self.progress.wait_for(|now| !matches!(now, Progress::Waiting)).await;
            let path = match begun.map(|now| Progress::clone(&now)) {
                Ok(Progress::Arrived { path, .. }) => path,
                Ok(Progress::Failed(failure)) => return Err(failure.into()),
                Ok(_) => return Ok(None),
                Err(_) => return Err(cut_off().into()),
            };
            match File::open(path).await {
                Ok(file) => return Ok(Some(file)),
                // It has become an object, and somebody is about to say so.
                Err(failure) if failure.kind() == ErrorKind::NotFound => {
                    if self.progress.changed().await.is_err() {
                        return Err(cut_off().into());
                    }
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// A range of what `open` gave.
    pub async fn body(self, mut file: File, range: Range<u64>) -> Result<Body, Refusal> {
        file.seek(SeekFrom::Start(range.start)).await?;
        let reading = Reading { progress: self.progress, range, file };
        let frames = stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(None) => None,
                Ok(Some(piece)) => Some((Ok(Frame::data(piece)), Some(reading))),
                Err(failure) => Some((Err(failure), None)),
            }
        });
        Ok(StreamBody::new(frames).boxed_unsync())
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let start = self.range.start;
        let there = |now: &Progress| match now {
            Progress::Waiting => false,
            Progress::Arrived { bytes, .. } => *bytes > start,
            Progress::Whole | Progress::Failed(_) => true,
        };
        let now = self.progress.wait_for(there).await.map_err(|_| cut_off())?.clone();
        let end = match now {
            Progress::Failed(failure) => return Err(failure.into()),
            Progress::Arrived { bytes, .. } => bytes.min(self.range.end),
            Progress::Whole | Progress::Waiting => self.range.end,
        };
        let wanted = (end - start).min(ARRIVING_PIECE_BYTES);
        let mut piece = vec![0; usize::try_from(wanted)?];
        // The file may have become the object since: it is the same file, and stays open.
        let read = self.file.read(&mut piece).await?;
        if read == 0 {
            return Err(cut_off().into());
        }
        piece.truncate(read);
        self.range.start += read as u64;
        Ok(Some(piece.into()))
    }
}

fn cut_off() -> UpstreamFailure {
    UpstreamFailure::Unavailable("the blob was cut off".to_owned())
}

/// The rule with the longest prefix, and what the name is on its side.
fn way(snapshot: &Snapshot, name: &RepositoryName) -> Option<Way> {
    let mut best: Option<(Arc<PullThroughCacheRule>, &str)> = None;
    let length = |rule: &PullThroughCacheRule| match rule.prefix.as_str() {
        ROOT => 0,
        prefix => prefix.len(),
    };
    for (_, rule) in snapshot.scan::<PullThroughCacheRule>("") {
        let rest = match rule.prefix.as_str() {
            ROOT => Some(name.as_str()),
            prefix => name.as_str().strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')),
        };
        let Some(rest) = rest.filter(|rest| !rest.is_empty()) else { continue };
        if best.as_ref().is_none_or(|(known, _)| length(known) < length(&rule)) {
            best = Some((rule, rest));
        }
    }
    let (rule, rest) = best?;
    let prefix = rule.upstream_prefix.as_deref().filter(|prefix| *prefix != ROOT);
    let repository = match prefix {
        Some(prefix) => format!("{prefix}/{rest}"),
        // Docker's own shorthand; ECR wants it written out.
        None if rule.upstream_registry == DOCKER_HUB && !rest.contains('/') => {
            format!("library/{rest}")
        }
        None => rest.to_owned(),
    };
    Some(Way { rule, repository })
}

fn upload_id() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| std::io::Error::other("the system gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
