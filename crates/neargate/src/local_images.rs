//! The images of this machine's agent: the runtime's image store, with our own registry known to it
//! by all its names, and the cleanup of what no task uses.

use crate::local_agent::Place;
use agent::{Image, Images, Wanted};
use anyhow::{Context, Result};
use clap::Args;
use frontend::{ImagesCall, InstanceImages};
use model::TaskId;
use model::session::RegistryAccess;
use runtime::image::{
    BasicAuth, Cleanup, Credentials, CredentialsProvider, Endpoint, ImageStore, LearnedHosts,
    Platform, RegistryMap,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use tokio::task::JoinHandle;

/// Options of `neargate up`. ECS's agent has the same, as ECS_IMAGE_CLEANUP_INTERVAL,
/// ECS_IMAGE_MINIMUM_CLEANUP_AGE, ECS_NUM_IMAGES_DELETE_PER_CYCLE and ECS_DISABLE_IMAGE_CLEANUP.
#[derive(Args, Debug, Clone)]
pub struct Retention {
    /// How often images that no task uses are looked for, in minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub image_cleanup_interval_minutes: u32,
    /// How long an image stays after its last use, in minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub image_minimum_age_minutes: u32,
    /// How many images one cleanup removes at most because of their age
    #[arg(long, value_name = "COUNT", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub images_per_cleanup: u32,
    /// Percent of the disk in use above which a cleanup removes unused images whatever their age
    #[arg(long, value_name = "PERCENT", default_value_t = 85,
          value_parser = clap::value_parser!(u8).range(1..=100))]
    pub image_disk_percent_max: u8,
    /// Remove no image unless it is asked for
    #[arg(long)]
    pub no_image_cleanup: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            image_cleanup_interval_minutes: 30,
            image_minimum_age_minutes: 60,
            images_per_cleanup: 5,
            image_disk_percent_max: 85,
            no_image_cleanup: false,
        }
    }
}

impl Retention {
    fn rule(&self) -> Cleanup {
        Cleanup {
            minimum_age: minutes(self.image_minimum_age_minutes),
            images_max: usize::try_from(self.images_per_cleanup).unwrap_or(usize::MAX),
            disk_percent_max: self.image_disk_percent_max,
        }
    }
}

fn minutes(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 60)
}

/// Where the images are found once there is an agent.
pub type Seat = Arc<OnceLock<LocalImages>>;

/// The operator's calls, answered by the agent's images.
pub fn answers(seat: Seat) -> InstanceImages {
    Arc::new(move |call| {
        let seat = Arc::clone(&seat);
        Box::pin(async move {
            let images = seat.get()?;
            match call {
                ImagesCall::List => Some(images.listed()),
                ImagesCall::Prune => images.pruned().await,
            }
        })
    })
}

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct LocalImages {
    pub store: ImageStore,
    access: Arc<OwnAccess>,
    /// Where our registry is for this machine, when it learns its names from sessions.
    elsewhere: Option<(String, LearnedHosts)>,
}

/// The user and password of the newest session.
#[derive(Default)]
struct OwnAccess(Mutex<Option<BasicAuth>>);

impl CredentialsProvider for OwnAccess {
    fn credentials(&self) -> Credentials<'_> {
        let auth = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move { auth.ok_or_else(|| "no session with the registry yet".to_owned()) })
    }
}

impl LocalImages {
    pub async fn open(place: &Place<'_>, mut registries: RegistryMap) -> Result<Self> {
        let access = Arc::new(OwnAccess::default());
        let port = place.address.port();
        let own = [
            place.registry_host.clone(),
            place.address.to_string(),
            format!("127.0.0.1:{port}"),
            format!("localhost:{port}"),
        ];
        let credentials: Arc<dyn CredentialsProvider> = access.clone();
        let base_url = match place.address.ip().is_unspecified() {
            true => format!("http://127.0.0.1:{port}"),
            false => format!("http://{}", place.address),
        };
        let endpoint = Endpoint { base_url, credentials: Some(credentials) };
        registries.ecr_hosts.extend(own.into_iter().map(|host| (host, endpoint.clone())));
        let folder = place.dir.images();
        let opened = tokio::task::spawn_blocking(move || ImageStore::open(&folder, registries));
        let store = opened.await.context("opening the images was cut off")?;
        let store = store.context("cannot open this machine's images")?;
        Ok(Self { store, access, elsewhere: None })
    }

    /// Of an agent on a machine of its own, which reaches our registry at `base_url`.
    pub async fn elsewhere(
        folder: PathBuf,
        mut registries: RegistryMap,
        base_url: String,
    ) -> Result<Self> {
        let learned = LearnedHosts::default();
        registries.learned = learned.clone();
        let opened = tokio::task::spawn_blocking(move || ImageStore::open(&folder, registries));
        let store = opened.await.context("opening the images was cut off")?;
        let store = store.context("cannot open this machine's images")?;
        let access = Arc::new(OwnAccess::default());
        Ok(Self { store, access, elsewhere: Some((base_url, learned)) })
    }

    fn listed(&self) -> Value {
        let images = self.store.list().into_iter().map(|image| {
            let used = image.used_at.duration_since(UNIX_EPOCH).unwrap_or_default();
            json!({
                "digest": image.manifest.to_string(),
                "platform": image.platform.to_string(),
                "references": image.references,
                "compressedBytes": image.compressed_bytes,
                "unpackedBytes": image.unpacked_bytes,
                "usedAtMs": u64::try_from(used.as_millis()).unwrap_or(u64::MAX),
                "tasks": image.owners,
                "inUse": image.held,
            })
        });
        json!({ "images": images.collect::<Vec<_>>() })
    }

    async fn pruned(&self) -> Option<Value> {
        let collected = self.store.collect(Cleanup::everything()).await;
        let collected = collected.inspect_err(|failure| {
            tracing::error!(%failure, "unused images could not be removed");
        });
        let collected = collected.ok()?;
        let images: Vec<String> = collected.images.iter().map(ToString::to_string).collect();
        Some(json!({
            "images": images,
            "layersRemoved": collected.layers,
            "bytesFreed": collected.bytes,
        }))
    }

    /// Removes what is not used, again and again.
    pub fn keep_clean(&self, retention: &Retention) -> Option<JoinHandle<()>> {
        if retention.no_image_cleanup {
            return None;
        }
        let (store, rule) = (self.store.clone(), retention.rule());
        let every = minutes(retention.image_cleanup_interval_minutes);
        Some(tokio::spawn(async move {
            let mut rounds = tokio::time::interval(every);
            rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            // The first tick comes at once, and a start has better things to do.
            rounds.tick().await;
            loop {
                rounds.tick().await;
                match store.collect(rule).await {
                    Ok(collected) if collected.layers == 0 && collected.images.is_empty() => {}
                    Ok(collected) => {
                        let (images, bytes) = (collected.images.len(), collected.bytes);
                        tracing::info!(images, bytes, "unused images were removed");
                    }
                    Err(failure) => tracing::warn!(%failure, "a cleanup of images failed"),
                }
            }
        }))
    }
}

impl Images for LocalImages {
    fn use_registry(&self, access: &RegistryAccess) {
        let auth = BasicAuth::new(access.username.clone(), access.password.clone());
        *self.access.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(auth);
        if let Some((base_url, learned)) = &self.elsewhere {
            let credentials: Arc<dyn CredentialsProvider> = self.access.clone();
            let endpoint = Endpoint { base_url: base_url.clone(), credentials: Some(credentials) };
            learned.learn(access.names.clone(), endpoint);
        }
    }

    async fn pull(&self, wanted: Wanted) -> Result<Image, String> {
        let platform = match wanted.architecture.as_str() {
            "ARM64" => Platform::LinuxArm64,
            _ => Platform::LinuxAmd64,
        };
        let auth = wanted.credentials.map(|given| BasicAuth::new(given.username, given.password));
        let pulled = self.store.pull(&wanted.reference, auth, platform).await;
        let image = pulled.map_err(|failure| failure.ecs_reason())?;
        let leased = self.store.lease(wanted.task.as_str(), &image);
        leased.map_err(|failure| failure.ecs_reason())?;
        let digest = image.index_digest.unwrap_or(image.digest);
        Ok(Image {
            digest: model::Digest::from(digest.to_string()),
            config: image.config,
            layers: image.links,
            hold: Arc::new(image.hold),
        })
    }

    fn release(&self, task: &TaskId) {
        if let Err(failure) = self.store.release(task.as_str()) {
            // The next start tries again.
            tracing::warn!(%task, %failure, "a task's images stay held");
        }
    }

    fn keep_only(&self, tasks: &[TaskId]) {
        let tasks: BTreeSet<&str> = tasks.iter().map(TaskId::as_str).collect();
        if let Err(failure) = self.store.keep_leases(&tasks) {
            tracing::warn!(%failure, "images of tasks that are gone stay held");
        }
    }
}
