//! The image store: what an agent asks for a container's root file system. A reference goes in, a
//! list of unpacked layers comes out; what is there already is found without fetching anything,
//! and what several tasks want at once is fetched once.

use super::blob::BlobStream;
use super::client::{Document, RegistryClient, Session};
use super::digest::Digest;
use super::disk::{Disk, ImageRecord};
use super::endpoint::{BasicAuth, RegistryMap};
use super::failure::PullFailure;
use super::flight::Flights;
use super::layer;
use super::limits;
use super::manifest::{self, ImageConfig, Manifest, ManifestOrIndex, Platform};
use super::reference::ImageRef;
use super::transport::Patience;
use crate::Failure;
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
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
    pulling: Flights<Result<Arc<ImageRecord>, PullFailure>>,
    layers: Flights<Result<(), PullFailure>>,
    /// For the layers at work; a pull that waits here holds nothing that another needs.
    room: Arc<Semaphore>,
    holds: Mutex<BTreeMap<Digest, Weak<Digest>>>,
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

/// A lease on an image. Removal of unused images, when it comes, must ask `ImageStore::held`.
#[derive(Clone, Debug)]
pub struct ImageHold {
    _lease: Arc<Digest>,
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
            holds: Mutex::default(),
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
        match tokio::time::timeout(limit, self.shared.pull(reference, auth, platform)).await {
            Ok(pulled) => pulled,
            Err(_) => Err(PullFailure::TimedOut { seconds: limit.as_secs() }),
        }
    }

    /// The image if it is here, by digest or by what its tag stood for last; no registry is asked.
    pub fn present(&self, reference: &str, platform: Platform) -> Option<Image> {
        let reference: ImageRef = reference.parse().ok()?;
        let record = match &reference.digest {
            Some(digest) => self.shared.disk.image(digest, platform),
            None => self.shared.disk.tagged(&reference.to_string(), platform),
        }?;
        Some(self.shared.hand_out(&reference, reference.digest, &record))
    }

    /// Manifests that someone holds.
    pub fn held(&self) -> BTreeSet<Digest> {
        let mut holds = self.shared.holds.lock().unwrap_or_else(PoisonError::into_inner);
        holds.retain(|_, lease| lease.strong_count() > 0);
        holds.keys().copied().collect()
    }
}

impl Shared {
    async fn pull(
        self: &Arc<Self>,
        reference: ImageRef,
        auth: Option<BasicAuth>,
        platform: Platform,
    ) -> Result<Image, PullFailure> {
        if let Some(digest) = reference.digest
            && let Some(record) = self.disk.image(&digest, platform)
        {
            return Ok(self.hand_out(&reference, Some(digest), &record));
        }
        let session = self.client.session(&reference, auth).await?;
        let top = match reference.digest {
            Some(digest) => Some(digest),
            None => self.resolve(&session).await?,
        };
        let present = top.and_then(|digest| self.disk.image(&digest, platform));
        let record = match present {
            Some(record) => record,
            None => self.fetch_shared(&session, top, platform).await?,
        };
        let name = reference.to_string();
        if reference.digest.is_none() && !self.disk.is_tagged(&name, platform, &record.manifest) {
            let (disk, manifest) = (Arc::clone(&self.disk), record.manifest);
            layer::blocking(move || disk.publish_tag(&name, platform, manifest)).await?;
        }
        Ok(self.hand_out(&reference, top, &record))
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
    ) -> Result<Arc<ImageRecord>, PullFailure> {
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
    ) -> Result<Arc<ImageRecord>, PullFailure> {
        let (digest, manifest, indexes) = find_manifest(session, top, platform).await?;
        let mut record = match self.disk.image(&digest, platform) {
            Some(known) => ImageRecord::clone(&known),
            None => self.fetch_content(session, digest, manifest, platform).await?,
        };
        record.indexes.extend(indexes);
        let disk = Arc::clone(&self.disk);
        layer::blocking(move || disk.publish_image(record)).await
    }

    async fn fetch_content(
        self: &Arc<Self>,
        session: &Session,
        digest: Digest,
        manifest: Manifest,
        platform: Platform,
    ) -> Result<ImageRecord, PullFailure> {
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
        let layers = config.diff_ids.iter().copied().zip(manifest.layers.iter().cloned());
        // An image may hold one layer many times (the empty one, mostly); it is fetched once.
        let layers: BTreeMap<Digest, _> = layers.collect();
        futures_util::stream::iter(layers)
            .map(|(diff_id, blob)| {
                let key = session.flight_key(&format!("{} {diff_id}", blob.digest));
                let (shared, session) = (Arc::clone(self), session.clone());
                async move {
                    let (disk, room) = (Arc::clone(&shared.disk), Arc::clone(&shared.room));
                    let work = || async move {
                        let _seat = room.acquire().await.expect("it is never closed");
                        layer::bring_in(disk, session, blob, diff_id).await
                    };
                    let flight = shared.layers.join(&key, work);
                    flight.await.unwrap_or(Err(PullFailure::Interrupted))
                }
            })
            .buffer_unordered(limits::LAYERS_SIDE_BY_SIDE)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        let compressed: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
        Ok(ImageRecord::new(digest, platform, config, compressed + manifest.config.size))
    }

    fn hand_out(&self, reference: &ImageRef, top: Option<Digest>, record: &ImageRecord) -> Image {
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
            hold: self.hold(record.manifest),
        }
    }

    fn hold(&self, manifest: Digest) -> ImageHold {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = holds.get(&manifest).and_then(Weak::upgrade) {
            return ImageHold { _lease: lease };
        }
        holds.retain(|_, lease| lease.strong_count() > 0);
        let lease = Arc::new(manifest);
        holds.insert(manifest, Arc::downgrade(&lease));
        ImageHold { _lease: lease }
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
