//! The balancer is a process of its own, so that neither a crash nor an upgrade of `up` cuts a
//! request: `up` starts it when the first load balancer exists, tells it over a socket in the data
//! folder what to serve, and finds it again after its own restart. While nobody is connected it
//! goes on with what it was told last.
//!
//! A balancer of another build is relieved: the next one listens beside it, on the same addresses,
//! and when it serves everything the one before stops listening and ends its requests.

mod doors;
mod link;
mod process;
mod slot;

pub use process::{Arguments, run};

use crate::balancing::slot::Folder;
use crate::data_dir::DataDir;
use anyhow::{Context, Result};
use manager::Manager;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long requests may go on when nothing is to be balanced any more.
const END_LIMIT: Duration = Duration::from_secs(5);
/// How long requests may go on in a balancer that was relieved.
const RELIEVED_LIMIT: Duration = Duration::from_secs(300);
/// How long the one that relieves may take until it serves all of the table.
const RELIEVE_PATIENCE: Duration = Duration::from_secs(30);
/// The pause before a balancer is started again: short when it ran well, longer each time when not.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A balancer that ran for so long ran well.
const RAN_WELL: Duration = Duration::from_secs(10);

/// What tells builds apart; versions alone don't while one is worked on.
fn build() -> Result<String> {
    let exe = std::fs::metadata("/proc/self/exe").context("cannot look at our own binary")?;
    let modified = exe.modified().context("our own binary has no time")?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{} {:x}-{:x}", env!("CARGO_PKG_VERSION"), exe.len(), since.as_nanos()))
}

/// Keeps a balancer's process while there are load balancers.
pub struct Keeper {
    keeping: JoinHandle<()>,
    end: watch::Sender<bool>,
    folder: Arc<Folder>,
}

/// `tag` tells this Neargate's namespaces from others' on the machine.
pub fn keep(manager: Manager, dir: &DataDir, tag: &str) -> Result<Keeper> {
    let folder = Arc::new(Folder::make(dir, tag)?);
    let (end, ended) = watch::channel(false);
    let keeping = Keeping { manager, folder: Arc::clone(&folder), build: build()? };
    Ok(Keeper { keeping: tokio::spawn(keeping.run(ended)), end, folder })
}

impl Keeper {
    /// The balancer goes on, or, when nothing is left that it could serve, ends.
    pub async fn end(self, idle: bool) {
        self.end.send_replace(true);
        if let Err(failure) = self.keeping.await {
            tracing::error!(%failure, "the balancer's keeper ended badly");
        }
        if idle {
            self.folder.end_all(END_LIMIT).await;
        }
    }
}

struct Keeping {
    manager: Manager,
    folder: Arc<Folder>,
    build: String,
}

impl Keeping {
    async fn run(self, mut ended: watch::Receiver<bool>) {
        loop {
            // One that was left by an `up` that is no more has nothing to serve either.
            if !self.manager.has_load_balancers() {
                self.folder.end_all(END_LIMIT).await;
            }
            tokio::select! {
                there = self.manager.until_load_balancers(true) => if !there { return },
                _ = ended.changed() => return,
            }
            if !self.serve_while_wanted(&mut ended).await {
                return;
            }
        }
    }

    /// Until there is no load balancer any more. False: everything ends.
    async fn serve_while_wanted(&self, ended: &mut watch::Receiver<bool>) -> bool {
        let mut pause = PAUSE_MIN;
        loop {
            let begun = Instant::now();
            // Never cut off: what it starts must be known to whoever ends everything.
            match self.attach().await {
                Ok(stream) => tokio::select! {
                    why = self.manager.serve_balancer(stream) => {
                        tracing::warn!(%why, "the link with the balancer is lost");
                    }
                    open = self.manager.until_load_balancers(false) => return open,
                    _ = ended.changed() => return false,
                },
                Err(failure) => {
                    let failure = format!("{failure:#}");
                    tracing::error!(failure, "there is no balancer; trying on");
                }
            }
            pause = match begun.elapsed() > RAN_WELL {
                true => PAUSE_MIN,
                false => (pause * 2).min(PAUSE_MAX),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = ended.changed() => return false,
            }
        }
    }

    /// The link with a balancer of this build: one that is there, or a new one.
    async fn attach(&self) -> Result<tokio::net::UnixStream> {
        let mut own = None;
        let mut others = Vec::new();
        for slot in self.folder.taken()? {
            match slot.build_of().await {
                Ok(build) if build == self.build && own.is_none() => own = Some(slot),
                Ok(_) => others.push(slot),
                Err(failure) => {
                    let failure = format!("{failure:#}");
                    tracing::error!(failure, "a balancer does not answer and is ended");
                    slot.kill().await;
                }
            }
        }
        let slot = match own {
            Some(slot) => slot,
            None => self.folder.start().await?,
        };
        if !others.is_empty() {
            tokio::spawn(relieve(slot.clone(), others));
        }
        slot.connect().await
    }
}

/// Ends the balancers before once this one serves everything.
async fn relieve(next: slot::Slot, before: Vec<slot::Slot>) {
    match tokio::time::timeout(RELIEVE_PATIENCE, next.until_serving()).await {
        Ok(Ok(())) => tracing::info!("another balancer takes over"),
        Ok(Err(failure)) => {
            let failure = format!("{failure:#}");
            tracing::error!(failure, "the balancer that was to take over is gone");
            return;
        }
        Err(_) => tracing::warn!("the balancer that takes over does not serve everything"),
    }
    for slot in before {
        if let Err(failure) = slot.ask_to_end(RELIEVED_LIMIT).await {
            let failure = format!("{failure:#}");
            tracing::error!(failure, "the balancer before could not be asked to end");
        }
    }
}
