//! `neargate agent`: makes this machine an instance of a control plane elsewhere. It is the agent
//! that `neargate up` has in itself, with TLS in place of the pipe.

use crate::cli::{self, LogFormat};
use crate::data_dir::DataDir;
use crate::join::carry;
use crate::join::membership::{Membership, Wish};
use crate::local_agent::{self, Made, Site};
use crate::local_images::LocalImages;
use crate::world::{self, Random};
use anyhow::{Context, Result, bail};
use model::ZoneName;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// What tells this agent's things in the kernel apart from others' on the machine.
const TAG_FILE: &str = "tag";
const TAG_CHARACTERS: usize = 8;

pub async fn run(agent: &cli::Agent) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    local_agent::preflight(&agent.folder.data_dir)?;
    let dir = DataDir::make(&agent.folder.data_dir)?;
    let folder = dir.agent();
    std::fs::create_dir_all(&folder).context("cannot make the agent's folder")?;
    let _held = hold(&folder)?;
    let (clock, random) = (world::clock(), world::random());
    let wish = Wish { address: agent.join.as_deref(), token: agent.token.as_ref() };
    let membership = Arc::new(Membership::ensure(&folder, wish, &clock).await?);
    let underlay = match agent.instance_address {
        Some(address) => Some(address),
        None => membership.local_address().await?,
    };
    if underlay.is_none() {
        tracing::warn!("other instances can't reach tasks here: give --instance-address");
    }
    let (listener, endpoint) = carry::listen().await.context("cannot listen on loopback")?;
    let endpoint = format!("http://{endpoint}");
    let registries = agent.outbound.registries()?;
    let images = LocalImages::elsewhere(dir.images(), registries, endpoint.clone()).await?;
    let cleaning = images.keep_clean(&agent.retention);
    let tag = tag(&folder, &random)?;
    let site = Site {
        dir: &dir,
        tag: &tag,
        clock: &clock,
        random: &random,
        images,
        cpu_overcommit: agent.cpu_overcommit,
        memory_overcommit: agent.memory_overcommit,
        zone: agent.zone.as_deref().map(ZoneName::from),
        underlay,
        endpoint: Some(endpoint),
    };
    let Made { agent: made, runtime } = local_agent::make(site).await?;
    let population = made.population();
    announce(agent, &membership);
    let carrying = tokio::spawn(carry::carry(listener, Arc::clone(&membership)));
    let fresh = Arc::clone(&membership);
    let renewing = tokio::spawn(async move { fresh.keep_fresh().await });
    let running = tokio::spawn(made.run(move || {
        let membership = Arc::clone(&membership);
        async move { membership.session().await }
    }));
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => Some(ended.context("the agent ended badly")?),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    running.abort();
    for task in [Some(carrying), Some(renewing), cleaning].into_iter().flatten() {
        task.abort();
    }
    if ended.is_none() {
        // It holds the runtime until it is gone; being cut off is what was asked for.
        let _ = running.await;
    }
    if population.count() == 0 {
        runtime.purge().await.context("something of the runtime could not be removed")?;
    }
    match ended {
        None => Ok(()),
        Some(why) => bail!("this machine's agent has ended: {why}"),
    }
}

fn announce(agent: &cli::Agent, membership: &Membership) {
    let (instance, address) = (membership.instance(), membership.address());
    if agent.log_format == LogFormat::Json {
        tracing::info!(%instance, address, "ready");
    } else {
        println!("This machine is instance {instance} of the control plane at {address}");
    }
}

/// One agent at a time has the folder, as long as this file is open.
fn hold(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let held = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    held.with_context(|| format!("another agent runs on {}", folder.display()))?;
    Ok(file)
}

fn tag(folder: &Path, random: &Random) -> Result<String> {
    let path = folder.join(TAG_FILE);
    if let Ok(kept) = std::fs::read_to_string(&path) {
        return Ok(kept);
    }
    let made = format!("{:032x}", random())[..TAG_CHARACTERS].to_owned();
    std::fs::write(&path, &made).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(made)
}
