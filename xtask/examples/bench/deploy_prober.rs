//! Who sees what a deployment does to users: a request every 2 ms, whatever became of those before
//! it (an open loop), each on a connection of its own, from within the network namespace where the
//! contender can be reached. Every one is kept with its times and with who answered it.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

pub const PROBE_EVERY: Duration = Duration::from_millis(2);
/// Without an answer for that long, a request has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// With SO_REUSEPORT, requests wait at the very socket that closes; this lets the kernel move them.
const MIGRATE: &str = "/proc/sys/net/ipv4/tcp_migrate_req";

/// Where a contender's users come in.
#[derive(Debug, Clone)]
pub struct Door {
    pub address: SocketAddr,
    pub host: String,
    /// The network namespace to be in; none for the machine's own.
    pub network: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub struct Probe {
    pub begun: Instant,
    pub ended: Instant,
    /// Who answered, or what went wrong.
    pub answer: Result<String, String>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    probes: Mutex<Vec<Probe>>,
}

/// Probes until it is ended or dropped.
pub struct Prober {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Prober {
    pub fn start(door: &Door) -> Prober {
        let (shared, door) = (Arc::<Shared>::default(), door.clone());
        let own = Arc::clone(&shared);
        // A thread, because a network namespace is a thread's.
        let thread = std::thread::spawn(move || probe_all(&door, &own));
        Prober { shared, thread: Some(thread) }
    }

    pub fn probes(&self) -> Vec<Probe> {
        self.shared.probes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everybody who has answered.
    pub fn seen(&self) -> BTreeSet<String> {
        self.probes().into_iter().filter_map(|probe| probe.answer.ok()).collect()
    }

    /// Waits for the requests under way, and gives all of them.
    pub fn end(mut self) -> Result<Vec<Probe>> {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow::anyhow!("the prober has panicked"))??;
        }
        Ok(self.probes())
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

fn probe_all(door: &Door, shared: &Arc<Shared>) -> Result<()> {
    if let Some(network) = &door.network {
        enter(network)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ticks = tokio::time::interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut open = JoinSet::new();
        while !shared.over.load(Ordering::Relaxed) {
            ticks.tick().await;
            open.spawn(probe(door.clone(), Arc::clone(shared)));
            while open.try_join_next().is_some() {}
        }
        while open.join_next().await.is_some() {}
    });
    Ok(())
}

fn enter(network: &Path) -> Result<()> {
    let file = File::open(network).with_context(|| format!("no {}", network.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .context("the peer's network can't be entered")?;
    // Older kernels than 5.14 don't know it; then its failed requests are told as they are.
    std::fs::write(MIGRATE, "1").ok();
    Ok(())
}

async fn probe(door: Door, shared: Arc<Shared>) {
    let begun = Instant::now();
    let answer = match tokio::time::timeout(ANSWER_WITHIN, ask(&door)).await {
        Ok(Ok(who)) => Ok(who),
        Ok(Err(failure)) => Err(format!("{failure:#}")),
        Err(_) => Err(format!("no answer within {ANSWER_WITHIN:?}")),
    };
    let probe = Probe { begun, ended: Instant::now(), answer };
    shared.probes.lock().unwrap_or_else(PoisonError::into_inner).push(probe);
}

async fn ask(door: &Door) -> Result<String> {
    let mut stream = TcpStream::connect(door.address).await.context("connect")?;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", door.host);
    stream.write_all(request.as_bytes()).await.context("send")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.context("receive")?;
    read(&String::from_utf8_lossy(&bytes))
}

/// The body of a good answer.
fn read(text: &str) -> Result<String> {
    let (head, body) = text.split_once("\r\n\r\n").context("the answer was cut off")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    anyhow::ensure!(status == "200" && !body.is_empty(), "status {status}");
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_good_answer_names_who_gave_it() {
        let good = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n1-a";
        assert_eq!(read(good).expect("it is good"), "1-a");
        assert!(read("HTTP/1.1 503 Service Unavailable\r\n\r\nno").is_err());
        assert!(read("HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(read("").is_err());
    }
}
