//! The balancer's process: `neargate balancer`, started by `up` in a session of its own. It holds
//! its slot's lock, listens on the slot's socket, learns what it is told there and tells whoever is
//! connected what it finds. What of a table can't be served yet (an address that its VPC doesn't
//! have yet) is tried again by itself, and so is what a VPC lost that was taken away and made
//! anew.

use crate::balancing::doors::Ways;
use crate::balancing::link::{self, Messages};
use crate::balancing::slot::Slot;
use crate::cli::Folder;
use crate::data_dir::DataDir;
use anyhow::{Context, Result, bail};
use balancer::{Balancer, Settings};
use model::VpcId;
use model::balancing::{BalancerTable, Certificates, Found, FromBalancer, TargetKey, ToBalancer};
use runtime::VpcDoors;
use std::collections::BTreeMap;
use std::io;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::secret::Sealer;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// What can't be served is tried again after so long, and then less often.
const AGAIN_MIN: Duration = Duration::from_millis(5);
const AGAIN_MAX: Duration = Duration::from_secs(1);
/// What still can't be served after so long is worth telling.
const TELL_AFTER: Duration = Duration::from_secs(3);
/// How often VPCs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often counts are told.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

#[derive(clap::Args, Debug, Clone)]
pub struct Arguments {
    #[command(flatten)]
    pub folder: Folder,
    /// What tells this Neargate's namespaces from others'
    #[arg(long)]
    pub tag: String,
    /// Which of the folder's slots is its own
    #[arg(long)]
    pub slot: String,
}

/// The whole program of the process.
pub fn run(arguments: &Arguments) -> Result<()> {
    // Started by hand it may lead a session already; then it has its own anyway.
    let _ = rustix::process::setsid();
    rustix::thread::set_name(c"neargate-balance").context("cannot take a name")?;
    end_on_panic();
    let dir = DataDir::existing(&arguments.folder.data_dir);
    let slot = Slot::of(&dir, &arguments.slot)?;
    let Some(_lock) = slot.take()? else { bail!("another balancer has this slot") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        let listener = UnixListener::from_std(slot.listen()?)?;
        let serving = Arc::new(Serving::new(arguments, &dir)?);
        tracing::info!(pid = std::process::id(), "the balancer is there");
        serve(listener, &serving).await;
        Ok(())
    })
}

/// Until it was told to end and has.
async fn serve(listener: UnixListener, serving: &Arc<Serving>) {
    let mut ended = serving.end.subscribe();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(converse(Arc::clone(serving), stream))),
                Err(failure) => {
                    tracing::error!(%failure, "cannot accept on our socket");
                    tokio::time::sleep(AGAIN_MAX).await;
                }
            }
        }
    };
    let mut accepting = std::pin::pin!(accepting);
    let limit = tokio::select! {
        () = &mut accepting => return,
        () = serving.keep_whole() => return,
        limit = ended.wait_for(Option::is_some) => limit.ok().and_then(|limit| *limit),
    };
    let limit = limit.unwrap_or_default();
    tracing::info!(?limit, "told to end");
    let mut until = tokio::time::Instant::now() + limit;
    let mut ending = std::pin::pin!(serving.balancer.end(limit));
    loop {
        tokio::select! {
            () = &mut ending => return,
            () = &mut accepting => return,
            // Told again, it may have less time.
            _ = ended.changed() => {
                let limit = ended.borrow_and_update().unwrap_or_default();
                until = until.min(tokio::time::Instant::now() + limit);
            }
            () = tokio::time::sleep_until(until) => return,
        }
    }
}

/// A thread that panicked may have held what all others need: a process that ends is started again,
/// one that stands still is not.
fn end_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tell(info);
        std::process::abort();
    }));
}

struct Current {
    table: Arc<BalancerTable>,
    certificates: Arc<Certificates>,
    failing_since: Option<Instant>,
    /// Which namespaces its listeners are in.
    generations: BTreeMap<VpcId, Option<u64>>,
}

struct Serving {
    balancer: Balancer,
    doors: VpcDoors,
    build: String,
    current: Mutex<Option<Current>>,
    /// What can't be served of the last table; None: there was none yet.
    learned: watch::Sender<Option<Vec<String>>>,
    end: watch::Sender<Option<Duration>>,
}

impl Serving {
    fn new(arguments: &Arguments, dir: &DataDir) -> Result<Self> {
        let doors = VpcDoors::new(&dir.runtime(), &arguments.tag);
        let locality = dir.read_locality()?;
        let sealer = Sealer::open(&dir.root_key()).context("cannot read the root key")?;
        let settings = Settings {
            access_log: Some(dir.balancer().join("access")),
            arn_prefix: locality
                .arn(model::balancing::SERVICE, "")
                .trim_end_matches(':')
                .to_owned(),
            seed: sealer.derive("balancer", b"cookies"),
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        };
        let balancer = Balancer::new(Arc::new(Ways(doors.clone())), settings);
        Ok(Self {
            balancer,
            doors,
            build: super::build()?,
            current: Mutex::new(None),
            learned: watch::Sender::new(None),
            end: watch::Sender::new(None),
        })
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, table: Arc<BalancerTable>, certificates: Arc<Certificates>) {
        let generations = self.generations(&table);
        let failures = self.balancer.learn(Arc::clone(&table), Arc::clone(&certificates));
        let failing_since = (!failures.is_empty()).then(Instant::now);
        let mut current = self.current();
        // The clock of a failure that stays goes on.
        let before = current.as_ref().and_then(|current| current.failing_since);
        let failing_since = failing_since.map(|now| before.unwrap_or(now));
        *current = Some(Current { table, certificates, failing_since, generations });
        drop(current);
        let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
        let tell = failing_since.is_none_or(|since| since.elapsed() > TELL_AFTER);
        self.learned.send_if_modified(|learned| {
            let news = tell && learned.as_ref() != Some(&failures);
            if news {
                *learned = Some(failures);
            }
            news
        });
    }

    fn generations(&self, table: &BalancerTable) -> BTreeMap<VpcId, Option<u64>> {
        let vpcs = table.balancers.values().map(|balancer| &balancer.vpc);
        vpcs.map(|vpc| (vpc.clone(), self.doors.generation(vpc))).collect()
    }

    /// Tries again what failed, and listens anew where a namespace was replaced. Never ends.
    async fn keep_whole(&self) {
        let mut pause = AGAIN_MIN;
        loop {
            let failing = self.current().as_ref().is_some_and(|it| it.failing_since.is_some());
            pause = if failing { (pause * 2).min(AGAIN_MAX) } else { AGAIN_MIN };
            let wait = if failing { pause } else { LOOK_EVERY };
            let mut learned = self.learned.subscribe();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = learned.changed() => {}
            }
            self.look_again();
        }
    }

    fn look_again(&self) {
        let current = self.current();
        let Some(known) = current.as_ref() else { return };
        let (table, certificates) = (Arc::clone(&known.table), Arc::clone(&known.certificates));
        let generations = self.generations(&table);
        let replaced = |vpc: &VpcId| {
            let before = known.generations.get(vpc).copied().flatten();
            before.is_some() && before != generations.get(vpc).copied().flatten()
        };
        let mut without = (*table).clone();
        without.balancers.retain(|_, balancer| !replaced(&balancer.vpc));
        let failing = known.failing_since.is_some();
        let moved = without.balancers.len() < table.balancers.len();
        drop(current);
        if moved {
            tracing::info!("a VPC was made anew; listening there again");
            drop(self.balancer.learn(Arc::new(without), Arc::clone(&certificates)));
        }
        if moved || failing {
            self.learn(table, certificates);
        }
    }
}

/// One connection: tables come in, findings go out, neither waits for the other.
async fn converse(serving: Arc<Serving>, stream: UnixStream) {
    let (reader, writer) = stream.into_split();
    // Only who tells what to serve is told what was: counts are told once.
    let (feeds, fed) = watch::channel(false);
    let mut hearing = std::pin::pin!(hear(&serving, reader, &feeds));
    let ended = tokio::select! {
        ended = &mut hearing => ended,
        // Who does not listen any more may have said something before.
        failed = tell(&serving, writer, fed) => hearing.await.and(failed),
    };
    match ended {
        Ok(()) => {}
        // It was killed, or has asked what it wanted to know.
        Err(failure) if matches!(failure.kind(), BrokenPipe | ConnectionReset) => {
            tracing::debug!(%failure, "a link with the control plane is gone");
        }
        Err(failure) => tracing::warn!(%failure, "a link with the control plane failed"),
    }
}

async fn hear(
    serving: &Serving,
    reader: OwnedReadHalf,
    feeds: &watch::Sender<bool>,
) -> io::Result<()> {
    let mut messages = Messages::new(reader);
    while let Some(message) = messages.next::<ToBalancer>().await? {
        match message {
            ToBalancer::Table { table, certificates } => {
                serving.learn(table, certificates);
                feeds.send_replace(true);
            }
            ToBalancer::End { limit_ms } => {
                serving.end.send_replace(Some(Duration::from_millis(limit_ms)));
            }
        }
    }
    Ok(())
}

async fn tell(
    serving: &Serving,
    mut writer: OwnedWriteHalf,
    fed: watch::Receiver<bool>,
) -> io::Result<()> {
    let hello = FromBalancer::Hello { version: serving.build.clone(), pid: std::process::id() };
    link::send(&mut writer, &hello).await?;
    let mut found = serving.balancer.found();
    let mut learned = serving.learned.subscribe();
    learned.mark_changed();
    found.mark_changed();
    let mut told: Option<Arc<BTreeMap<TargetKey, Found>>> = None;
    let mut counts = tokio::time::interval(COUNTS_EVERY);
    loop {
        let message = tokio::select! {
            changed = found.changed() => {
                changed.map_err(io::Error::other)?;
                let now = Arc::clone(&found.borrow_and_update());
                let message = news(told.as_deref(), &now);
                told = Some(now);
                message
            }
            changed = learned.changed() => {
                changed.map_err(io::Error::other)?;
                let failures = learned.borrow_and_update().clone();
                failures.map(|failures| FromBalancer::Learned { failures })
            }
            _ = counts.tick() => {
                let wanted = *fed.borrow();
                wanted.then(|| serving.balancer.served())
                    .filter(|served| !served.balancers.is_empty() || !served.groups.is_empty())
                    .map(FromBalancer::Served)
            }
        };
        if let Some(message) = message {
            link::send(&mut writer, &message).await?;
        }
    }
}

/// What is new: everything at first, and when something is not looked at any more.
fn news(
    told: Option<&BTreeMap<TargetKey, Found>>,
    now: &BTreeMap<TargetKey, Found>,
) -> Option<FromBalancer> {
    let all =
        |everything, found: Vec<(TargetKey, Found)>| FromBalancer::Found { everything, found };
    let pairs = now.iter().map(|(key, found)| (key.clone(), found.clone()));
    let Some(told) = told.filter(|told| told.keys().all(|key| now.contains_key(key))) else {
        return Some(all(true, pairs.collect()));
    };
    let fresh: Vec<_> = pairs.filter(|(key, found)| told.get(key) != Some(found)).collect();
    (!fresh.is_empty()).then(|| all(false, fresh))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::balancing::TargetState;

    fn found(id: &str, state: TargetState) -> (TargetKey, Found) {
        let key = TargetKey { group: "g".into(), id: id.to_owned(), port: 80 };
        (key, Found { state, reason: None, description: None, drained: false })
    }

    #[test]
    fn everything_is_told_first_then_what_changed_and_everything_when_one_is_gone() {
        let both =
            BTreeMap::from([found("a", TargetState::Initial), found("b", TargetState::Initial)]);
        let told = |message: Option<FromBalancer>| match message {
            Some(FromBalancer::Found { everything, found }) => Some((everything, found.len())),
            _ => None,
        };
        assert_eq!(told(news(None, &both)), Some((true, 2)));
        assert_eq!(told(news(Some(&both), &both)), None);
        let mut healthy = both.clone();
        healthy.extend([found("a", TargetState::Healthy)]);
        assert_eq!(told(news(Some(&both), &healthy)), Some((false, 1)));
        let one = BTreeMap::from([found("a", TargetState::Healthy)]);
        assert_eq!(told(news(Some(&healthy), &one)), Some((true, 1)));
    }
}
