//! This machine's own agent, in the same process as the control plane and yet behind the same
//! session as any other: a pipe in memory takes the place of the network. What any agent is made
//! of, here or elsewhere (`agent_command`), is made here.

use crate::cli::Up;
use crate::data_dir::DataDir;
use crate::local_images::{LocalImages, Seat};
use crate::machine::Machine;
use crate::names::Names;
use crate::world::{Clock, Random};
use agent::{Agent, Population, Settings};
use anyhow::{Context, Result, bail};
use manager::{Manager, Origin};
use model::ZoneName;
use runtime::{Embedded, EmbeddedConfig, Severity, Underlay};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
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
    cleaning: Option<JoinHandle<()>>,
    runtime: Arc<Embedded>,
    population: Population,
}

/// What a local agent is made for.
pub struct Place<'a> {
    pub dir: &'a DataDir,
    pub clock: &'a Clock,
    pub random: &'a Random,
    /// The name of the state, 32 hexadecimal digits.
    pub cluster_id: &'a str,
    /// The host part of image names that mean our registry.
    pub registry_host: String,
    /// Where the operator's calls find the images.
    pub images: &'a Seat,
    pub address: SocketAddr,
}

/// What tells things of this Neargate's in the kernel from those of others on the machine.
pub fn tag(cluster_id: &str) -> &str {
    &cluster_id[..TAG_CHARACTERS]
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

/// What an agent is made of.
pub struct Site<'a> {
    pub dir: &'a DataDir,
    /// Tells it apart from other agents on the machine.
    pub tag: &'a str,
    pub clock: &'a Clock,
    pub random: &'a Random,
    pub images: LocalImages,
    pub cpu_overcommit: u32,
    pub memory_overcommit: u32,
    pub zone: Option<ZoneName>,
    pub underlay: Option<Ipv4Addr>,
    /// Where the API and the registry are; None: where the session says.
    pub endpoint: Option<String>,
}

/// An agent that is ready to run.
pub struct Made {
    pub agent: Agent<Embedded, LocalImages>,
    pub runtime: Arc<Embedded>,
}

/// Takes over what an earlier agent of the same folder left running.
pub async fn make(site: Site<'_>) -> Result<Made> {
    let machine = Machine::read()?;
    let (events, told) = mpsc::channel(EVENTS_MAX);
    let mut config = EmbeddedConfig::new(site.dir.runtime(), site.tag);
    config.underlay = site.underlay.map(Underlay::new);
    let runtime = Embedded::start(config, events).context("cannot start the runtime")?;
    let runtime = Arc::new(runtime);
    let settings = Settings {
        state_dir: site.dir.agent(),
        name: machine.name,
        cpu_architecture: machine.cpu_architecture.to_owned(),
        cpu_units: machine.cpu_units.saturating_mul(site.cpu_overcommit),
        memory_mib: machine.memory_mib.saturating_mul(site.memory_overcommit),
        boot_id: machine.boot_id,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        dns: machine.dns,
        zone: site.zone,
        underlay: site.underlay,
        endpoint: site.endpoint,
    };
    let (images, clock) = (Arc::new(site.images), Arc::clone(site.clock));
    let agent = Agent::start(settings, Arc::clone(&runtime), told, images, clock);
    let agent = agent.await.context("cannot start this machine's agent")?;
    let doors: Arc<Embedded> = Arc::clone(&runtime);
    let inside = agent.serve_inside(doors, Arc::new(Names::new(site.random))).await;
    inside.context("cannot serve metadata, credentials and names to tasks")?;
    Ok(Made { agent, runtime })
}

pub async fn start(up: &Up, place: Place<'_>, manager: Manager) -> Result<LocalAgent> {
    let images = LocalImages::open(&place, up.outbound.registries()?).await?;
    let cleaning = images.keep_clean(&up.retention);
    // Nobody else is seated: there is one agent in a process.
    let _ = place.images.set(images.clone());
    let site = Site {
        dir: place.dir,
        tag: tag(place.cluster_id),
        clock: place.clock,
        random: place.random,
        images,
        cpu_overcommit: up.cpu_overcommit,
        memory_overcommit: up.memory_overcommit,
        zone: up.fleet.zone.as_deref().map(ZoneName::from),
        underlay: up.fleet.underlay(),
        endpoint: None,
    };
    let Made { agent, runtime } = make(site).await?;
    let population = agent.population();
    let running = tokio::spawn(async move {
        let connect = || {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            let manager = manager.clone();
            tokio::spawn(async move { manager.serve_agent(Origin::OwnMachine, theirs).await });
            std::future::ready(Ok(ours))
        };
        let end = agent.run(connect).await;
        tracing::error!(why = %end, "this machine's agent has ended");
    });
    Ok(LocalAgent { running, cleaning, runtime, population })
}

impl LocalAgent {
    /// Lets go of the tasks; they keep running. When there are none, nothing of ours stays in the
    /// kernel.
    pub async fn end(self, idle: bool) {
        self.running.abort();
        if let Some(cleaning) = self.cleaning {
            cleaning.abort();
        }
        // Only a panic is worth a word; being cut off is what was asked for.
        if let Err(failure) = self.running.await
            && failure.is_panic()
        {
            tracing::error!(%failure, "this machine's agent ended badly");
        }
        // Tasks of other machines are no reason to leave anything here.
        if !idle && self.population.count() > 0 {
            return;
        }
        // Tasks that were cut off may hold it for a moment longer; they ask nothing of it any more.
        if let Err(failure) = self.runtime.purge().await {
            tracing::error!(%failure, "something of the runtime could not be removed");
        }
    }
}
