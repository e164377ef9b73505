//! `bench deploy`: what users notice of a rolling deployment and of a task that is killed. A prober
//! asks every 2 ms on a new connection. C1: from UpdateService until the deployment is COMPLETED,
//! all of N tasks replaced. C2: from kill -9 of a task's process until its replacement answers;
//! first one of N, then the only one, whose users have nobody else to go to. Each beside Docker
//! swarm, in turn; a request that fails until everything is quiet again is counted.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, kill_process};

use crate::Setting;
use crate::deploy_ours::Ours;
use crate::deploy_prober::{Door, PROBE_EVERY, Probe, Prober};
use crate::deploy_swarm::Swarm;
use crate::deploy_task::{PROGRAM, WORKER};
use crate::image::Image;
use crate::launch::or_say;
use crate::meter::{Meter, pid};
use crate::neargate::ms;
use crate::stats::{Round, Samples, Series, Table, short};

/// How long a deployment may take, or a task's replacement.
pub const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Who keeps a service's tasks running.
pub trait Contender {
    const NAME: &'static str;

    fn door(&self) -> &Door;
    fn meter(&self) -> &Meter;
    /// Replaces all tasks; the milliseconds from the call until the contender says it is done.
    async fn roll(&mut self) -> Result<f64>;
    /// Wants another number of tasks.
    async fn scale(&mut self, count: usize) -> Result<()>;
}

/// One measurement of one contender over all rounds.
struct Found {
    series: Series,
    requests: usize,
    /// In which they began: a busy machine keeps the prober from its pace, which must be told.
    span: Duration,
    failed: usize,
    /// Of each round: from the beginning until the last request began that failed.
    last_failed_ms: Samples,
    /// What the first that failed said.
    said: Option<String>,
}

impl Found {
    fn new(name: &str) -> Found {
        let (series, last_failed_ms) = (Series::new(name), Samples::default());
        Found { series, requests: 0, span: Duration::ZERO, failed: 0, last_failed_ms, said: None }
    }

    fn add(&mut self, began: Instant, took_ms: f64, cpu_ms: f64, probes: &[Probe]) {
        let times_ms = [took_ms].into_iter().collect();
        self.series.rounds.push(Round { times_ms, cpu_ms, per_second: f64::NAN });
        self.requests += probes.len();
        let begun = || probes.iter().map(|probe| probe.begun);
        if let (Some(first), Some(last)) = (begun().min(), begun().max()) {
            self.span += last - first;
        }
        let failed = probes.iter().filter(|probe| probe.answer.is_err());
        self.failed += failed.clone().count();
        let last = failed.clone().map(|probe| probe.begun).max();
        self.last_failed_ms.push(last.map_or(0.0, |at| ms(at.saturating_duration_since(began))));
        if let Some(Err(said)) = failed.map(|probe| &probe.answer).next() {
            self.said.get_or_insert_with(|| said.clone());
        }
    }
}

/// The three measurements of one contender.
struct Measured {
    rolled: Found,
    one_killed: Found,
    only_killed: Found,
}

impl Measured {
    fn new<C: Contender>() -> Measured {
        let found = || Found::new(C::NAME);
        Measured { rolled: found(), one_killed: found(), only_killed: found() }
    }
}

pub async fn run(setting: &Setting) -> Result<()> {
    let image = Image::of_program(&std::env::current_exe()?, PROGRAM)?;
    let swarm = Box::pin(Swarm::start(setting, &image, setting.tasks)).await;
    let mut swarm = or_say("Docker swarm", swarm);
    println!("peer: {}", swarm.as_ref().map_or("MISSING", |it| it.version()));
    let mut ours = Box::pin(Ours::start(setting, &image, setting.tasks)).await?;
    let outcome = Box::pin(measure(&mut ours, &mut swarm, setting)).await;
    let ended = ours.end();
    outcome.and(ended)
}

async fn measure(ours: &mut Ours, swarm: &mut Option<Swarm>, setting: &Setting) -> Result<()> {
    let (mut our, mut their) = (Measured::new::<Ours>(), Measured::new::<Swarm>());
    let count = setting.tasks;
    for _ in 0..setting.rounds {
        roll(ours, count, &mut our.rolled).await?;
        if let Some(peer) = swarm {
            roll(peer, count, &mut their.rolled).await?;
        }
        kill_one(ours, count, &mut our.one_killed).await?;
        if let Some(peer) = swarm {
            kill_one(peer, count, &mut their.one_killed).await?;
        }
    }
    ours.scale(1).await?;
    if let Some(peer) = swarm {
        peer.scale(1).await?;
    }
    for _ in 0..setting.rounds {
        kill_one(ours, 1, &mut our.only_killed).await?;
        if let Some(peer) = swarm {
            kill_one(peer, 1, &mut their.only_killed).await?;
        }
    }
    println!("{} rounds, in turn; a request is due every {PROBE_EVERY:?}\n", setting.rounds);
    println!("C1: a rolling deployment of {count} tasks, until it is said to be done:");
    print(&[&our.rolled, &their.rolled]);
    println!("C2: one of {count} tasks killed, until its replacement has answered a request:");
    print(&[&our.one_killed, &their.one_killed]);
    println!("C2: the only task killed, until its replacement has answered a request:");
    print(&[&our.only_killed, &their.only_killed]);
    if our.rolled.failed > 0 {
        bail!("{} requests failed during our deployments", our.rolled.failed);
    }
    Ok(())
}

async fn roll<C: Contender>(it: &mut C, count: usize, found: &mut Found) -> Result<()> {
    let prober = at_full_strength(it, count).await?;
    let old = tasks_of(it.meter());
    let (began, cpu_ms) = (Instant::now(), it.meter().cpu_ms());
    let took_ms = it.roll().await.context(C::NAME)?;
    let new = tasks_of(it.meter()).iter().filter(|id| !old.contains(id)).count();
    if new < count {
        bail!("{}: said to be done with {new} of {count} tasks replaced", C::NAME);
    }
    // Old tasks may end after that, and no request may fail for it.
    settle(it, count).await?;
    let cpu_ms = it.meter().cpu_ms() - cpu_ms;
    found.add(began, took_ms, cpu_ms, &prober.end()?);
    Ok(())
}

async fn kill_one<C: Contender>(it: &mut C, count: usize, found: &mut Found) -> Result<()> {
    let prober = at_full_strength(it, count).await?;
    let known = prober.seen();
    let victim = tasks_of(it.meter()).pop().and_then(pid).context("no task runs")?;
    let (began, cpu_ms) = (Instant::now(), it.meter().cpu_ms());
    kill_process(victim, Signal::KILL).context("the task can't be killed")?;
    let by_another = |probe: &Probe| {
        let is_new = probe.answer.as_ref().is_ok_and(|name| !known.contains(name));
        is_new.then(|| ms(probe.ended.saturating_duration_since(began)))
    };
    let mut took_ms = None;
    until("the replacement answers", || {
        took_ms = prober.probes().iter().filter_map(by_another).min_by(f64::total_cmp);
        took_ms.is_some()
    })
    .await
    .context(C::NAME)?;
    settle(it, count).await?;
    let cpu_ms = it.meter().cpu_ms() - cpu_ms;
    found.add(began, took_ms.context("it was seen")?, cpu_ms, &prober.end()?);
    Ok(())
}

/// A prober that has been answered by every task there is.
async fn at_full_strength<C: Contender>(it: &C, count: usize) -> Result<Prober> {
    settle(it, count).await?;
    until("the door opens", || {
        let prober = Prober::start(it.door());
        std::thread::sleep(PROBE_EVERY * 10);
        prober.end().is_ok_and(|probes| probes.iter().all(|probe| probe.answer.is_ok()))
    })
    .await
    .context(C::NAME)?;
    let prober = Prober::start(it.door());
    until("every task answers", || prober.seen().len() >= count).await.context(C::NAME)?;
    Ok(prober)
}

/// Until as many tasks run as are wanted, and no old one beside them.
async fn settle<C: Contender>(it: &C, count: usize) -> Result<()> {
    let what = format!("{count} tasks run");
    until(&what, || tasks_of(it.meter()).len() == count).await.context(C::NAME)
}

/// The processes of the application, without who watches over them.
fn tasks_of(meter: &Meter) -> Vec<u32> {
    let is_task = |id: &u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(WORKER.as_bytes())
    };
    meter.processes().into_iter().filter(is_task).collect()
}

/// Asks until it is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > give_up {
            bail!("waited {PATIENCE:?} until {what}");
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    Ok(())
}

fn print(all: &[&Found]) {
    let mut table = Table::new(&[
        "contender",
        "median ms",
        "worst ms",
        "requests",
        "a second",
        "failed",
        "last failed after ms",
        "CPU ms",
        "time / ours (range)",
    ]);
    let all: Vec<_> = all.iter().filter(|it| !it.series.rounds.is_empty()).collect();
    for it in &all {
        let times_ms = it.series.all();
        table.row(&[
            &it.series.name,
            &short(times_ms.median()),
            &short(times_ms.quantile(1.0)),
            &it.requests.to_string(),
            &short(it.requests as f64 / it.span.as_secs_f64()),
            &it.failed.to_string(),
            &short(it.last_failed_ms.median()),
            &short(it.series.median_of(|round| round.cpu_ms)),
            &it.series.times_slower_than(&all[0].series),
        ]);
    }
    table.print();
    for it in &all {
        if let Some(said) = &it.said {
            println!("{}: the first that failed: {said}", it.series.name);
        }
    }
    println!();
}
