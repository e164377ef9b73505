//! `bench launch`: how long it takes from the call until a container runs. Neargate's time is that
//! of a user: from a signed RunTask until DescribeTasks, asked back to back, says RUNNING.
//! dockerd's is create + start, crun's that of `crun run --detach`. All run the same image with the
//! same limits, and remove it again before the next, outside of the time and inside of the CPU
//! time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::Setting;
use crate::crun::{Crun, Job};
use crate::docker::Docker;
use crate::image::Image;
use crate::neargate::{Neargate, ms};
use crate::stats::{Round, Samples, Series, Table, short};
use crate::tasks::{self, Launch, Tasks};

/// Launches of each contender in one round.
const SAMPLES_PER_ROUND: usize = 25;
/// At once: as many calls as this, each for as many tasks as that.
const BURST_CALLS: usize = 5;
const BURST_TASKS_PER_CALL: u32 = 10;
const BURST_TASKS: usize = BURST_CALLS * BURST_TASKS_PER_CALL as usize;
/// dockerd starts one container a call; more workers than this make it no faster.
const DOCKER_WORKERS: usize = 8;
/// Room for the burst on a small machine.
pub const ROOM: [&str; 4] = ["--memory-overcommit", "16", "--cpu-overcommit", "64"];

pub struct Contenders {
    neargate: Neargate,
    tasks: Tasks,
    by_digest: String,
    by_tag: String,
    docker: Option<Docker>,
    crun: Option<Crun>,
}

pub async fn run(setting: &Setting) -> Result<()> {
    let mut contenders = prepare(setting).await?;
    let outcome = Box::pin(measure(&mut contenders, setting.rounds)).await;
    contenders.neargate.end()?;
    outcome
}

async fn prepare(setting: &Setting) -> Result<Contenders> {
    let image = Image::make()?;
    let docker = match Docker::start(setting).await {
        Ok(docker) => docker.import(&image).await.map(|_| docker),
        Err(failure) => Err(failure),
    };
    let docker = or_say("dockerd", docker);
    let crun = or_say("crun", Crun::start(setting, &image));
    let neargate = Neargate::up(setting, "neargate", &ROOM).await?;
    let mut tasks = Tasks::of(&neargate).await?;
    let [by_digest, by_tag] = image.push(&mut tasks.client, "bench").await?;
    tasks::create_cluster(&mut tasks.client).await?;
    let by_digest = tasks.register("by-digest", &by_digest).await?;
    let by_tag = tasks.register("by-tag", &by_tag).await?;
    for peer in [docker.as_ref().map(|it| &it.version), crun.as_ref().map(|it| &it.version)] {
        println!("peer: {}", peer.map_or("MISSING", |version| version.as_str()));
    }
    // Everybody once, so that the image is unpacked and nobody's first time is counted.
    for definition in [&by_digest, &by_tag] {
        let launch = tasks.launch(definition, Duration::ZERO).await?;
        tasks.stop(&[launch.arn]).await?;
    }
    Ok(Contenders { neargate, tasks, by_digest, by_tag, docker, crun })
}

/// A peer that can't run here is missed loudly, and the others are measured.
pub fn or_say<T>(name: &str, peer: Result<T>) -> Option<T> {
    peer.map_err(|failure| println!("NOT MEASURED: {name} does not run here: {failure:#}")).ok()
}

async fn measure(contenders: &mut Contenders, rounds: usize) -> Result<()> {
    let names = ["Neargate, image by digest", "Neargate, image by tag"];
    let mut ours = names.map(Series::new);
    let mut docker = Series::new("dockerd, create + start, bridge");
    let mut starts = Series::new("crun run --detach (no address, no log)");
    let mut runs = Series::new("crun run true, to its end (the same)");
    let mut launches = Vec::new();
    for _ in 0..rounds {
        for (series, by_tag) in ours.iter_mut().zip([false, true]) {
            let (round, made) = contenders.neargate_round(by_tag).await?;
            series.rounds.push(round);
            if !by_tag {
                launches.extend(made);
            }
        }
        if let Some(crun) = &mut contenders.crun {
            starts.rounds.push(crun_round(crun, Job::Start)?);
            runs.rounds.push(crun_round(crun, Job::Run)?);
        }
        if let Some(peer) = &contenders.docker {
            docker.rounds.push(docker_round(peer).await?);
        }
    }
    println!("\nOne by one, {rounds} rounds, each contender in turn, milliseconds:");
    let [by_digest, by_tag] = &ours;
    print_launches(&[by_digest, by_tag, &docker, &starts, &runs]);
    print_facts(&launches);
    bursts(contenders, rounds).await
}

fn print_launches(series: &[&Series]) {
    let mut table = Table::new(&[
        "contender",
        "n",
        "p50",
        "p99",
        "median of rounds",
        "CPU/launch",
        "time / ours (range)",
        "CPU / ours (range)",
    ]);
    for it in series.iter().filter(|it| !it.rounds.is_empty()) {
        let all = it.all();
        table.row(&[
            &it.name,
            &all.len().to_string(),
            &short(all.median()),
            &short(all.quantile(0.99)),
            &short(it.median_of(|round| round.times_ms.median())),
            &short(it.median_of(|round| round.cpu_ms)),
            &it.times_slower_than(series[0]),
            &it.cpu_ratio_to(series[0]),
        ]);
    }
    table.print();
}

/// What else is known of our own launches.
fn print_facts(launches: &[Launch]) {
    let median = |value: &dyn Fn(&Launch) -> f64| {
        short(launches.iter().map(value).filter(|ms| !ms.is_nan()).collect::<Samples>().median())
    };
    println!(
        "Neargate by digest, medians: RunTask answered {} ms; startedAt - createdAt {} ms. On \
         average {} polls a launch, whose CPU time is counted: --profile tells it apart.\n",
        median(&|it| it.answered_ms),
        median(&|it| between_ms(&it.task, "createdAt", "startedAt")),
        short(launches.iter().map(|it| it.polls as f64).sum::<f64>() / launches.len() as f64),
    );
}

/// Milliseconds from one of a task's timestamps to another; NaN when it lacks one.
pub fn between_ms(task: &Value, from: &str, to: &str) -> f64 {
    let at = |name: &str| task[name].as_f64().unwrap_or(f64::NAN);
    (at(to) - at(from)) * 1e3
}

impl Contenders {
    async fn neargate_round(&mut self, by_tag: bool) -> Result<(Round, Vec<Launch>)> {
        let definition = if by_tag { &self.by_tag } else { &self.by_digest };
        let cpu_ms = self.neargate.meter.cpu_ms();
        let mut launches = Vec::new();
        for _ in 0..SAMPLES_PER_ROUND {
            let launch = self.tasks.launch(definition, Duration::ZERO).await?;
            self.tasks.stop(std::slice::from_ref(&launch.arn)).await?;
            launches.push(launch);
        }
        let round = Round {
            times_ms: launches.iter().map(|launch| launch.running_ms).collect(),
            cpu_ms: (self.neargate.meter.cpu_ms() - cpu_ms) / SAMPLES_PER_ROUND as f64,
            per_second: f64::NAN,
        };
        Ok((round, launches))
    }
}

async fn docker_round(docker: &Docker) -> Result<Round> {
    let mut client = docker.client().await?;
    let cpu_ms = docker.meter.cpu_ms();
    let mut times_ms = Samples::default();
    for _ in 0..SAMPLES_PER_ROUND {
        let began = Instant::now();
        let id = client.run().await?;
        times_ms.push(ms(began.elapsed()));
        client.remove(&id).await?;
    }
    let cpu_ms = (docker.meter.cpu_ms() - cpu_ms) / SAMPLES_PER_ROUND as f64;
    Ok(Round { times_ms, cpu_ms, per_second: f64::NAN })
}

fn crun_round(crun: &mut Crun, job: Job) -> Result<Round> {
    let cpu_ms = crun.meter.cpu_ms();
    let times_ms = (0..SAMPLES_PER_ROUND).map(|_| crun.once(job)).collect::<Result<Samples>>()?;
    let cpu_ms = (crun.meter.cpu_ms() - cpu_ms) / SAMPLES_PER_ROUND as f64;
    Ok(Round { times_ms, cpu_ms, per_second: f64::NAN })
}

async fn bursts(contenders: &Contenders, rounds: usize) -> Result<()> {
    let mut ours = Series::new("Neargate, 5 x RunTask count=10");
    let mut docker = Series::new("dockerd, create + start, 8 workers");
    for _ in 0..rounds {
        ours.rounds.push(burst(&contenders.neargate, &contenders.by_digest).await?);
        if let Some(peer) = &contenders.docker {
            docker.rounds.push(docker_burst(peer).await?);
        }
    }
    println!("{BURST_TASKS} at once, {rounds} rounds, each task's time since the first call, ms:");
    print_launches(&[&ours, &docker]);
    for it in [&ours, &docker].iter().filter(|it| !it.rounds.is_empty()) {
        println!(
            "{}: {} starts/s until the last ran; {} times ours (range)",
            it.name,
            short(it.median_of(|round| round.per_second)),
            it.rate_ratio_to(&ours),
        );
    }
    println!();
    Ok(())
}

async fn burst(neargate: &Neargate, definition: &str) -> Result<Round> {
    let mut clients = Vec::new();
    for _ in 0..BURST_CALLS {
        clients.push(Tasks::of(neargate).await?);
    }
    let cpu_ms = neargate.meter.cpu_ms();
    let began = Instant::now();
    let calls: Vec<_> = clients
        .into_iter()
        .map(|mut tasks| {
            let definition = definition.to_owned();
            tokio::spawn(async move {
                let many = tasks.launch_many(&definition, BURST_TASKS_PER_CALL, began).await;
                many.map(|(arns, times_ms)| (tasks, arns, times_ms))
            })
        })
        .collect();
    let mut times_ms = Samples::default();
    let mut ended = Vec::new();
    for call in calls {
        let (tasks, arns, times) = call.await.context("a burst was cut off")??;
        times.into_iter().for_each(|time| times_ms.push(time));
        ended.push((tasks, arns));
    }
    for (mut tasks, arns) in ended {
        tasks.stop(&arns).await?;
    }
    let cpu_ms = (neargate.meter.cpu_ms() - cpu_ms) / BURST_TASKS as f64;
    Ok(Round { per_second: rate(&times_ms), times_ms, cpu_ms })
}

fn rate(times_ms: &Samples) -> f64 {
    times_ms.len() as f64 / (times_ms.quantile(1.0) / 1e3)
}

async fn docker_burst(docker: &Docker) -> Result<Round> {
    let cpu_ms = docker.meter.cpu_ms();
    let mut clients = Vec::new();
    for _ in 0..DOCKER_WORKERS {
        clients.push(docker.client().await?);
    }
    let began = Instant::now();
    let workers = clients.into_iter().enumerate().map(|(worker, mut client)| {
        tokio::spawn(async move {
            let mut made: BTreeMap<String, f64> = BTreeMap::new();
            for _ in (worker..BURST_TASKS).step_by(DOCKER_WORKERS) {
                let id = client.run().await?;
                made.insert(id, ms(began.elapsed()));
            }
            anyhow::Ok((client, made))
        })
    });
    let workers: Vec<_> = workers.collect();
    let mut times_ms = Samples::default();
    let mut ended = Vec::new();
    for worker in workers {
        let (client, made) = worker.await.context("a burst was cut off")??;
        made.values().for_each(|time| times_ms.push(*time));
        ended.push((client, made));
    }
    for (mut client, made) in ended {
        for id in made.keys() {
            client.remove(id).await?;
        }
    }
    let cpu_ms = (docker.meter.cpu_ms() - cpu_ms) / BURST_TASKS as f64;
    Ok(Round { per_second: rate(&times_ms), times_ms, cpu_ms })
}
