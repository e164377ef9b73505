//! `bench launch --profile`: where the time of one launch goes, by what the task itself says of it
//! (its timestamps) and what a client sees (the first answer with each status), and how much CPU
//! time each of our processes uses for it. No tracer is involved, so nothing is slowed down by
//! being looked at; a poll's own cost is measured first and told apart.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Result;

use crate::Setting;
use crate::image::Image;
use crate::launch::{ROOM, between_ms};
use crate::neargate::Neargate;
use crate::stats::{Samples, Table, short};
use crate::tasks::{self, Launch, Tasks};

const LAUNCHES: usize = 200;
/// Polls by which the cost of one is known.
const POLLS: usize = 1000;
/// Between polls where CPU time is counted. A poll after a pause costs more than one right after
/// another: somebody has to be woken for it.
const PAUSE: Duration = Duration::from_micros(500);
/// Milliseconds of one clock tick, 100 a second on every Linux we know.
const TICK_MS: f64 = 10.0;

/// A step of a launch: its name, and the two timestamps it lies between.
const STEPS: [(&str, &str, &str); 6] = [
    ("createdAt -> pullStartedAt: placed, sent, accepted", "createdAt", "pullStartedAt"),
    ("pullStartedAt -> pullStoppedAt: image found", "pullStartedAt", "pullStoppedAt"),
    ("createdAt -> connectivityAt: has its address", "createdAt", "connectivityAt"),
    ("connectivityAt -> startedAt", "connectivityAt", "startedAt"),
    ("pullStoppedAt -> startedAt: sandbox, start, reported", "pullStoppedAt", "startedAt"),
    ("createdAt -> startedAt", "createdAt", "startedAt"),
];

pub async fn run(setting: &Setting) -> Result<()> {
    let image = Image::make()?;
    let neargate = Neargate::up(setting, "neargate", &ROOM).await?;
    let outcome = profile(&neargate, &image).await;
    neargate.end()?;
    outcome
}

async fn profile(neargate: &Neargate, image: &Image) -> Result<()> {
    let mut tasks = Tasks::of(neargate).await?;
    let [by_digest, _] = image.push(&mut tasks.client, "bench").await?;
    tasks::create_cluster(&mut tasks.client).await?;
    let definition = tasks.register("bench", &by_digest).await?;
    let first = tasks.launch(&definition, Duration::ZERO).await?;
    let poll_ms = poll_cost(neargate, &mut tasks, &first.arn).await?;
    tasks.stop(&[first.arn]).await?;

    let watched = launches(&mut tasks, &definition, Duration::ZERO).await?;
    println!("One launch, polled back to back, medians and p99 of {LAUNCHES}, milliseconds:");
    print_steps(&watched);

    let before = Cpu::of(neargate);
    let counted = launches(&mut tasks, &definition, PAUSE).await?;
    let after = Cpu::of(neargate);
    print_cpu(&before, &after, poll_ms, &counted);
    Ok(())
}

async fn launches(tasks: &mut Tasks, definition: &str, pause: Duration) -> Result<Vec<Launch>> {
    let mut made = Vec::new();
    for _ in 0..LAUNCHES {
        let mut launch = tasks.launch(definition, pause).await?;
        launch.polls += tasks.stop(std::slice::from_ref(&launch.arn)).await?;
        made.push(launch);
    }
    Ok(made)
}

/// CPU milliseconds of the server for one DescribeTasks.
async fn poll_cost(neargate: &Neargate, tasks: &mut Tasks, arn: &str) -> Result<f64> {
    let before = neargate.meter.cpu_ms();
    for _ in 0..POLLS {
        tasks.describe(&[arn.to_owned()]).await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok((neargate.meter.cpu_ms() - before) / POLLS as f64)
}

fn print_steps(launches: &[Launch]) {
    let mut table = Table::new(&["step", "n", "p50", "p99"]);
    let mut row = |name: &str, times: &Samples| {
        let (p50, p99) = (short(times.median()), short(times.quantile(0.99)));
        table.row(&[name, &times.len().to_string(), &p50, &p99]);
    };
    row("RunTask answered", &launches.iter().map(|it| it.answered_ms).collect());
    let mut seen: BTreeMap<&str, Samples> = BTreeMap::new();
    for (status, at_ms) in launches.iter().flat_map(|it| &it.seen_ms) {
        seen.entry(status).or_default().push(*at_ms);
    }
    let mut seen: Vec<_> = seen.into_iter().collect();
    seen.sort_by(|a, b| a.1.median().total_cmp(&b.1.median()));
    for (status, times) in seen {
        row(&format!("first seen {status}, since the call"), &times);
    }
    for (name, from, to) in STEPS {
        let times = launches.iter().map(|it| between_ms(&it.task, from, to));
        row(name, &times.filter(|time| !time.is_nan()).collect());
    }
    table.print();
}

/// CPU time so far: of all, and of the two processes that stay.
struct Cpu {
    all_ms: f64,
    server_ms: f64,
    zygote_ms: f64,
}

impl Cpu {
    fn of(neargate: &Neargate) -> Cpu {
        Cpu {
            all_ms: neargate.meter.cpu_ms(),
            server_ms: process_ms(neargate.id()),
            zygote_ms: neargate.zygote_id().map_or(f64::NAN, process_ms),
        }
    }
}

/// User and system time of one process, its threads that have ended too.
fn process_ms(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok());
    ticks.sum::<f64>() * TICK_MS
}

fn print_cpu(before: &Cpu, after: &Cpu, poll_ms: f64, launches: &[Launch]) {
    let each = |value: f64| value / launches.len() as f64;
    let all_ms = each(after.all_ms - before.all_ms);
    let server_ms = each(after.server_ms - before.server_ms);
    let zygote_ms = each(after.zygote_ms - before.zygote_ms);
    let polls = each(launches.iter().map(|it| it.polls as f64).sum());
    let polls_ms = polls * poll_ms;
    println!("CPU time of one task's life (run, RUNNING, stop, removed), milliseconds:");
    let mut table = Table::new(&["process", "CPU"]);
    let mut row = |name: &str, value: f64| table.row(&[name, &short(value)]);
    row("control plane and agent, without our polls", server_ms - polls_ms);
    row("zygote", zygote_ms);
    row("supervisor, container and what ended in them", all_ms - server_ms - zygote_ms);
    row("all of these", all_ms - polls_ms);
    row(&format!("one poll; {} were made for a task", short(polls)), poll_ms);
    table.print();
}
