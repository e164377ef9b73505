//! This machine's own agent, in the same process as the control plane and yet behind the same
//! session as any other: a pipe in memory takes the place of the network.

use crate::cli::Up;
use crate::data_dir::DataDir;
use crate::machine::Machine;
use crate::world::Clock;
use agent::{Agent, Image, Images, Settings};
use anyhow::{Context, Result, bail};
use manager::Manager;
use model::session::RegistryAccess;
use runtime::image::{
    BasicAuth, Credentials, CredentialsProvider, Endpoint, ImageStore, Platform, RegistryMap,
};
use runtime::{Embedded, EmbeddedConfig, Severity};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The hidden subcommand that makes this binary the runtime's zygote.
const ZYGOTE: &str = "zygote";
/// Bytes on the way between control plane and agent.
const PIPE_BYTES: usize = 256 * 1024;
/// Events of the runtime waiting for the agent.
const EVENTS_MAX: usize = 4096;
/// Characters of the state's name that tell several Neargates on one machine apart.
const TAG_CHARACTERS: usize = 8;

pub struct LocalAgent {
    running: JoinHandle<()>,
    runtime: Arc<Embedded>,
}

/// What a local agent is made for.
pub struct Place<'a> {
    pub dir: &'a DataDir,
    pub clock: &'a Clock,
    /// The name of the state, 32 hexadecimal digits.
    pub cluster_id: &'a str,
    /// The host part of image names that mean our registry.
    pub registry_host: String,
    pub address: SocketAddr,
}

/// Ends in the zygote's own program when this process was started to be one.
pub fn become_zygote_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == ZYGOTE) {
        runtime::zygote_main(args);
    }
}

/// Says everything that this machine lacks before anything is started. Fails if no task could run
/// here.
pub fn preflight(data_dir: &Path) -> Result<()> {
    let (fatal, warnings): (Vec<_>, Vec<_>) = runtime::preflight(data_dir)
        .into_iter()
        .partition(|finding| finding.severity == Severity::Fatal);
    for warning in warnings {
        tracing::warn!("{}", warning.text);
    }
    if fatal.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = fatal.into_iter().map(|finding| finding.text).collect();
    bail!("this machine can't run containers:\n  {}", lines.join("\n  "));
}

pub async fn start(up: &Up, place: Place<'_>, manager: Manager) -> Result<LocalAgent> {
    let machine = Machine::read()?;
    let folder = place.dir.agent();
    let (events, told) = mpsc::channel(EVENTS_MAX);
    let tag = &place.cluster_id[..TAG_CHARACTERS];
    let config = EmbeddedConfig::new(folder.join("runtime"), tag);
    let runtime = Embedded::start(config, events).context("cannot start the runtime")?;
    let runtime = Arc::new(runtime);
    let images = LocalImages::open(&place).await?;
    let settings = Settings {
        state_dir: folder,
        name: machine.name,
        cpu_architecture: machine.cpu_architecture.to_owned(),
        cpu_units: machine.cpu_units.saturating_mul(up.cpu_overcommit),
        memory_mib: machine.memory_mib.saturating_mul(up.memory_overcommit),
        boot_id: machine.boot_id,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        dns: machine.dns,
    };
    let clock = Arc::clone(place.clock);
    let agent = Agent::start(settings, Arc::clone(&runtime), told, Arc::new(images), clock);
    let agent = agent.await.context("cannot start this machine's agent")?;
    let running = tokio::spawn(async move {
        let connect = || {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            let manager = manager.clone();
            tokio::spawn(async move { manager.serve_agent(theirs).await });
            std::future::ready(Ok(ours))
        };
        let end = agent.run(connect).await;
        tracing::error!(why = %end, "this machine's agent has ended");
    });
    Ok(LocalAgent { running, runtime })
}

impl LocalAgent {
    /// Lets go of the tasks; they keep running. When there are none, nothing of ours stays in the
    /// kernel.
    pub async fn end(self, idle: bool) {
        self.running.abort();
        // Only a panic is worth a word; being cut off is what was asked for.
        if let Err(failure) = self.running.await
            && failure.is_panic()
        {
            tracing::error!(%failure, "this machine's agent ended badly");
        }
        if !idle {
            return;
        }
        match Arc::try_unwrap(self.runtime).map(Embedded::purge) {
            Ok(purged) => {
                if let Err(failure) = purged.await {
                    tracing::error!(%failure, "something of the runtime could not be removed");
                }
            }
            Err(_) => tracing::error!("the runtime is still in use and stays in the kernel"),
        }
    }
}

/// The image store with our own registry known to it by all its names.
struct LocalImages {
    store: ImageStore,
    access: Arc<OwnAccess>,
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
    async fn open(place: &Place<'_>) -> Result<Self> {
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
        let ecr_hosts: BTreeMap<String, Endpoint> =
            own.into_iter().map(|host| (host, endpoint.clone())).collect();
        let registries = RegistryMap { ecr_hosts, ..RegistryMap::default() };
        let folder = place.dir.images();
        let opened = tokio::task::spawn_blocking(move || ImageStore::open(&folder, registries));
        let store = opened.await.context("opening the images was cut off")?;
        let store = store.context("cannot open this machine's images")?;
        Ok(Self { store, access })
    }
}

impl Images for LocalImages {
    fn use_registry(&self, access: &RegistryAccess) {
        let auth = BasicAuth::new(access.username.clone(), access.password.clone());
        *self.access.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(auth);
    }

    async fn pull(&self, reference: &str, architecture: &str) -> Result<Image, String> {
        let platform = match architecture {
            "ARM64" => Platform::LinuxArm64,
            _ => Platform::LinuxAmd64,
        };
        let pulled = self.store.pull(reference, None, platform).await;
        let image = pulled.map_err(|failure| failure.ecs_reason())?;
        let digest = image.index_digest.unwrap_or(image.digest);
        Ok(Image {
            digest: model::Digest::from(digest.to_string()),
            config: image.config,
            layers: image.links,
            hold: Arc::new(image.hold),
        })
    }
}
