//! The image store: what an agent asks for a container's root file system. A reference goes in, a
//! list of unpacked layers comes out; what is there already is found without fetching anything,
//! and what several tasks want at once is fetched once.

use super::blob::BlobStream;
use super::client::{Document, RegistryClient, Session};
use super::digest::Digest;
use super::disk::{Cleanup, Collected, Disk, ImageHold, ImageRecord, Pins, StoredImage};
use super::endpoint::{BasicAuth, RegistryMap};
use super::failure::PullFailure;
use super::flight::Flights;
use super::layer;
use super::limits;
use super::manifest::{self, ImageConfig, Manifest, ManifestOrIndex, Platform};
use super::progress::{Progress, Watcher, Watchers};
use super::reference::ImageRef;
use super::transport::Patience;
use crate::Failure;
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::Semaphore;

/// Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct ImageStore {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<Disk>,
    client: Arc<RegistryClient>,
    patience: Patience,
    resolving: Flights<Result<Option<Digest>, PullFailure>>,
    pulling: Flights<Result<Held, PullFailure>>,
    layers: Flights<Result<(), PullFailure>>,
    /// For the layers at work; a pull that waits here holds nothing that another needs.
    room: Arc<Semaphore>,
    watchers: Arc<Watchers>,
}

/// An image that can be run: every layer is on this disk.
#[derive(Clone, Debug)]
pub struct Image {
    /// Spelled out: `docker.io/library/nginx:latest`.
    pub reference: String,
    /// Of the manifest for this platform.
    pub digest: Digest,
    /// Of the index through which the manifest was found, if any: what a tag of a multi-platform
    /// image stands for.
    pub index_digest: Option<Digest>,
    pub config: ImageConfig,
    /// Lowest first, never empty, no directory twice: ready for overlay.
    pub layers: Vec<PathBuf>,
    /// The same layers by short names (`…/l/<26 characters>`), for mount options that must fit a
    /// page.
    pub links: Vec<PathBuf>,
    /// Compressed bytes of config and layers, as the registry holds them.
    pub size: u64,
    /// Nothing of the image is removed while a clone of this lives.
    pub hold: ImageHold,
}

impl ImageStore {
    /// Opens or makes the store, and sweeps away what a killed process left half-done. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// The folder can't be used, is of a newer layout, or is open already.
    pub fn open(path: &Path, registries: RegistryMap) -> Result<Self, Failure> {
        Self::open_with(path, registries, Patience::default())
    }

    /// As `open`, with other deadlines.
    pub fn open_with(
        path: &Path,
        registries: RegistryMap,
        patience: Patience,
    ) -> Result<Self, Failure> {
        let disk = Arc::new(Disk::open(path)?);
        disk.sync_waiting();
        let shared = Shared {
            disk,
            client: Arc::new(RegistryClient::new(registries, patience)),
            patience,
            resolving: Flights::default(),
            pulling: Flights::default(),
            layers: Flights::default(),
            room: Arc::new(Semaphore::new(limits::LAYERS_AT_ONCE_MAX)),
            watchers: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes the image present and gives it out, held. A tag is resolved by the registry every
    /// time, as ECS does at every start; a digest that is present asks nobody.
    pub async fn pull(
        &self,
        reference: &str,
        auth: Option<BasicAuth>,
        platform: Platform,
    ) -> Result<Image, PullFailure> {
        let reference: ImageRef = reference.parse()?;
        let limit = self.shared.patience.pull;
        let pull = self.shared.pull_with_room(reference, auth, platform);
        match tokio::time::timeout(limit, pull).await {
            Ok(pulled) => pulled,
            Err(_) => Err(PullFailure::TimedOut { seconds: limit.as_secs() }),
        }
    }

    /// As `pull`, and tells how far it is.
    pub async fn pull_watched(
        &self,
        reference: &str,
        auth: Option<BasicAuth>,
        platform: Platform,
        watcher: Watcher,
    ) -> Result<Image, PullFailure> {
        let _watching = self.shared.watchers.add(watcher);
        self.pull(reference, auth, platform).await
    }

    /// The image if it is here, by digest or by what its tag stood for last; no registry is asked.
    pub fn present(&self, reference: &str, platform: Platform) -> Option<Image> {
        let reference: ImageRef = reference.parse().ok()?;
        let record = match &reference.digest {
            Some(digest) => self.shared.disk.image(digest, platform),
            None => self.shared.disk.tagged(&reference.to_string(), platform),
        }?;
        let hold = self.shared.disk.hold(&record.manifest)?;
        Some(self.shared.hand_out(&reference, reference.digest, &record, hold))
    }

    /// Manifests that someone holds or has leased.
    pub fn held(&self) -> BTreeSet<Digest> {
        self.shared.disk.held()
    }

    /// What is here, in use or not.
    pub fn list(&self) -> Vec<StoredImage> {
        self.shared.disk.list()
    }

    /// The image stays until its owner is released, also when this process is gone (but not past
    /// the end of this boot). Asking twice is asking once.
    pub fn lease(&self, owner: &str, image: &Image) -> Result<(), PullFailure> {
        let names = image.links.iter().filter_map(|link| link.file_name()?.to_str());
        let names = names.map(str::to_owned).collect();
        let leased = self.shared.disk.lease(owner, image.digest, names);
        leased.map_err(|error| self.shared.disk.failure("leasing an image", &error))
    }

    /// What the owner had is his no longer.
    pub fn release(&self, owner: &str) -> Result<(), PullFailure> {
        let released = self.shared.disk.release(owner);
        released.map_err(|error| self.shared.disk.failure("ending a lease on an image", &error))
    }

    /// Releases all owners but these.
    pub fn keep_leases(&self, owners: &BTreeSet<&str>) -> Result<(), PullFailure> {
        let kept = self.shared.disk.keep_leases(owners);
        kept.map_err(|error| self.shared.disk.failure("ending leases on images", &error))
    }

    /// Removes images that nobody uses, as the rule has it. What a task has, or a pull is about to
    /// give out, stays.
    pub async fn collect(&self, rule: Cleanup) -> Result<Collected, PullFailure> {
        self.shared.collect(rule).await
    }
}

/// An image that is here, held: it stays so until it is given out.
type Held = (Arc<ImageRecord>, ImageHold);

impl Shared {
    /// A full disk is no failure while images lie on it that nobody uses.
    async fn pull_with_room(
        self: &Arc<Self>,
        reference: ImageRef,
        auth: Option<BasicAuth>,
        platform: Platform,
    ) -> Result<Image, PullFailure> {
        match self.pull(&reference, auth.clone(), platform).await {
            Err(full @ PullFailure::DiskFull { .. }) => {
                let collected = self.collect(Cleanup::everything()).await?;
                if collected.bytes == 0 {
                    return Err(full);
                }
                tracing::warn!(?collected, "a full disk: unused images were removed");
                self.pull(&reference, auth, platform).await
            }
            other => other,
        }
    }

    async fn collect(&self, rule: Cleanup) -> Result<Collected, PullFailure> {
        let disk = Arc::clone(&self.disk);
        layer::blocking(move || {
            let collected = disk.collect(&rule, SystemTime::now());
            collected.map_err(|error| disk.failure("removing unused images", &error))
        })
        .await
    }

    async fn pull(
        self: &Arc<Self>,
        reference: &ImageRef,
        auth: Option<BasicAuth>,
        platform: Platform,
    ) -> Result<Image, PullFailure> {
        if let Some(digest) = reference.digest
            && let Some((record, hold)) = self.present(&digest, platform)
        {
            return Ok(self.hand_out(reference, Some(digest), &record, hold));
        }
        let session = self.client.session(reference, auth).await?;
        let top = match reference.digest {
            Some(digest) => Some(digest),
            None => self.resolve(&session).await?,
        };
        let (record, hold) = match top.and_then(|digest| self.present(&digest, platform)) {
            Some(present) => present,
            None => self.fetch_shared(&session, top, platform).await?,
        };
        let name = reference.to_string();
        if reference.digest.is_none() && !self.disk.is_tagged(&name, platform, &record.manifest) {
            let (disk, manifest) = (Arc::clone(&self.disk), record.manifest);
            layer::blocking(move || disk.publish_tag(&name, platform, manifest)).await?;
        }
        Ok(self.hand_out(reference, top, &record, hold))
    }

    fn present(&self, digest: &Digest, platform: Platform) -> Option<Held> {
        let record = self.disk.image(digest, platform)?;
        let hold = self.disk.hold(&record.manifest)?;
        Some((record, hold))
    }

    async fn resolve(&self, session: &Session) -> Result<Option<Digest>, PullFailure> {
        let key = session.flight_key(&session.reference.version());
        let flight = self.resolving.join(&key, || {
            let session = session.clone();
            async move { session.resolve().await }
        });
        flight.await.unwrap_or(Err(PullFailure::Interrupted))
    }

    async fn fetch_shared(
        self: &Arc<Self>,
        session: &Session,
        top: Option<Digest>,
        platform: Platform,
    ) -> Result<Held, PullFailure> {
        let version = top.map_or_else(|| session.reference.version(), |digest| digest.to_string());
        let key = session.flight_key(&format!("{version} {platform}"));
        let flight = self.pulling.join(&key, || {
            let (shared, session) = (Arc::clone(self), session.clone());
            async move { shared.fetch(&session, top, platform).await }
        });
        flight.await.unwrap_or(Err(PullFailure::Interrupted))
    }

    async fn fetch(
        self: Arc<Self>,
        session: &Session,
        top: Option<Digest>,
        platform: Platform,
    ) -> Result<Held, PullFailure> {
        let (digest, manifest, indexes) = find_manifest(session, top, platform).await?;
        // Before it is looked for: what is found then stays, and so does what is published.
        let hold = self.disk.hold_in_advance(digest);
        let (mut record, _pins) = match self.disk.image(&digest, platform) {
            Some(known) => (ImageRecord::clone(&known), None),
            None => {
                let fetched = self.fetch_content(session, digest, manifest, platform).await?;
                (fetched.0, Some(fetched.1))
            }
        };
        record.indexes.extend(indexes);
        let disk = Arc::clone(&self.disk);
        let published = layer::blocking(move || disk.publish_image(record)).await?;
        Ok((published, hold))
    }

    async fn fetch_content(
        self: &Arc<Self>,
        session: &Session,
        digest: Digest,
        manifest: Manifest,
        platform: Platform,
    ) -> Result<(ImageRecord, Pins), PullFailure> {
        let reference = session.reference.to_string();
        let config = BlobStream::new(session, "config", &manifest.config).collect().await?;
        let config = ImageConfig::parse(&reference, &config)?;
        if !config.runs_on(platform) {
            let platform = platform.to_string();
            return Err(PullFailure::NoMatchingPlatform { reference, platform });
        }
        if config.diff_ids.len() != manifest.layers.len() {
            return Err(PullFailure::Malformed {
                what: reference,
                problem: "mismatched image rootfs and manifest layers".to_owned(),
            });
        }
        let pins = self.disk.pin(config.diff_ids.iter().copied());
        let layers = config.diff_ids.iter().copied().zip(manifest.layers.iter().cloned());
        // An image may hold one layer many times (the empty one, mostly); it is fetched once.
        let layers: BTreeMap<Digest, _> = layers.collect();
        self.watchers.tell(|| {
            let missing = layers.iter().filter(|(diff_id, _)| !self.disk.has_layer(diff_id));
            Progress::Layers(missing.map(|(_, blob)| (blob.digest, blob.size)).collect())
        });
        futures_util::stream::iter(layers)
            .map(|(diff_id, blob)| {
                let key = session.flight_key(&format!("{} {diff_id}", blob.digest));
                let (shared, session) = (Arc::clone(self), session.clone());
                async move {
                    let (disk, room) = (Arc::clone(&shared.disk), Arc::clone(&shared.room));
                    let watchers = Arc::clone(&shared.watchers);
                    let work = || async move {
                        let _seat = room.acquire().await.expect("it is never closed");
                        layer::bring_in(disk, session, blob, diff_id, &watchers).await
                    };
                    let flight = shared.layers.join(&key, work);
                    flight.await.unwrap_or(Err(PullFailure::Interrupted))
                }
            })
            .buffer_unordered(limits::LAYERS_SIDE_BY_SIDE)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        let compressed: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
        Ok((ImageRecord::new(digest, platform, config, compressed + manifest.config.size), pins))
    }

    fn hand_out(
        &self,
        reference: &ImageRef,
        top: Option<Digest>,
        record: &ImageRecord,
        hold: ImageHold,
    ) -> Image {
        // Overlay refuses one directory twice. Keeping the highest of equals changes nothing: it
        // shows all that the lower ones would.
        let mut seen = BTreeSet::new();
        let mut ids: Vec<&Digest> =
            record.config.diff_ids.iter().rev().filter(|id| seen.insert(**id)).collect();
        ids.reverse();
        let mut layers: Vec<_> = ids.iter().map(|id| self.disk.layer_path(id)).collect();
        let mut links: Vec<_> = ids.iter().map(|id| self.disk.short_link(id)).collect();
        if record.mended {
            layers.push(self.disk.mend_path(&record.manifest));
            links.push(self.disk.short_link(&record.manifest));
        }
        if ids.is_empty() {
            layers.push(self.disk.empty_layer());
            links.push(self.disk.empty_layer());
        }
        let through = top.filter(|digest| record.indexes.contains(digest));
        Image {
            reference: reference.to_string(),
            digest: record.manifest,
            index_digest: through
                .or_else(|| record.indexes.first().copied().filter(|_| top.is_none())),
            config: record.config.clone(),
            layers,
            links,
            size: record.size,
            hold,
        }
    }
}

/// From a tag or a digest to the manifest for this platform, with the indexes on the way.
async fn find_manifest(
    session: &Session,
    top: Option<Digest>,
    platform: Platform,
) -> Result<(Digest, Manifest, BTreeSet<Digest>), PullFailure> {
    let mut wanted = top;
    let mut indexes = BTreeSet::new();
    let reference = session.reference.to_string();
    for _ in 0..=limits::INDEX_DEPTH_MAX {
        let Document { digest, content_type, body } = session.manifest(wanted).await?;
        let what = format!("manifest {digest} of {reference}");
        match manifest::parse_manifest(&what, &content_type, &body)? {
            ManifestOrIndex::Manifest(manifest) => return Ok((digest, manifest, indexes)),
            ManifestOrIndex::Index(entries) => {
                let Some(entry) = manifest::pick(&entries, platform) else {
                    let platform = platform.to_string();
                    return Err(PullFailure::NoMatchingPlatform { reference, platform });
                };
                indexes.insert(digest);
                wanted = Some(entry.digest);
            }
        }
    }
    let bound = limits::INDEX_DEPTH_MAX as u64;
    Err(PullFailure::TooLarge { what: format!("the depth of indexes of {reference}"), bound })
}
