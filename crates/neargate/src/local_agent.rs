//! This machine's own agent, in the same process as the control plane and yet behind the same
//! session as any other: a pipe in memory takes the place of the network.

use crate::cli::Up;
use crate::data_dir::DataDir;
use crate::local_images::{LocalImages, Seat};
use crate::machine::Machine;
use crate::names::Names;
use crate::world::{Clock, Random};
use agent::{Agent, Settings};
use anyhow::{Context, Result, bail};
use manager::{Manager, Origin};
use runtime::{Embedded, EmbeddedConfig, Severity};
use std::net::SocketAddr;
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

pub async fn start(up: &Up, place: Place<'_>, manager: Manager) -> Result<LocalAgent> {
    let machine = Machine::read()?;
    let folder = place.dir.agent();
    let (events, told) = mpsc::channel(EVENTS_MAX);
    let config = EmbeddedConfig::new(place.dir.runtime(), tag(place.cluster_id));
    let runtime = Embedded::start(config, events).context("cannot start the runtime")?;
    let runtime = Arc::new(runtime);
    let images = LocalImages::open(&place, up.outbound.registries()?).await?;
    let cleaning = images.keep_clean(&up.retention);
    // Nobody else is seated: there is one agent in a process.
    let _ = place.images.set(images.clone());
    let settings = Settings {
        state_dir: folder,
        name: machine.name,
        cpu_architecture: machine.cpu_architecture.to_owned(),
        cpu_units: machine.cpu_units.saturating_mul(up.cpu_overcommit),
        memory_mib: machine.memory_mib.saturating_mul(up.memory_overcommit),
        boot_id: machine.boot_id,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        dns: machine.dns,
        zone: None,
        underlay: None,
        endpoint: None,
    };
    let clock = Arc::clone(place.clock);
    let agent = Agent::start(settings, Arc::clone(&runtime), told, Arc::new(images), clock);
    let agent = agent.await.context("cannot start this machine's agent")?;
    let doors: Arc<Embedded> = Arc::clone(&runtime);
    let inside = agent.serve_inside(doors, Arc::new(Names::new(place.random))).await;
    inside.context("cannot serve metadata, credentials and names to tasks")?;
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
    Ok(LocalAgent { running, cleaning, runtime })
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
        if !idle {
            return;
        }
        // Tasks that were cut off may hold it for a moment longer; they ask nothing of it any more.
        if let Err(failure) = self.runtime.purge().await {
            tracing::error!(%failure, "something of the runtime could not be removed");
        }
    }
}
