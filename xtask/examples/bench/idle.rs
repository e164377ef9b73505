//! `bench idle`: what an installation costs that nobody uses: memory and CPU of all its processes,
//! how long it takes until it answers, and the size of the binary. Memory is the proportional set
//! size: a page that several processes share counts once.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Setting;
use crate::docker::Docker;
use crate::launch::or_say;
use crate::meter::Meter;
use crate::moto::{self, Moto};
use crate::neargate::Neargate;
use crate::stats::{Samples, Table, short};

/// What happens right after the start is not idleness.
const SETTLE: Duration = Duration::from_secs(5);
const COUNTED: Duration = Duration::from_secs(30);

struct Contender {
    name: &'static str,
    start_ms: Samples,
    pss_mib: Samples,
    rss_mib: Samples,
    cpu_percent: Samples,
    processes: usize,
}

impl Contender {
    fn new(name: &'static str) -> Contender {
        Contender {
            name,
            start_ms: Samples::default(),
            pss_mib: Samples::default(),
            rss_mib: Samples::default(),
            cpu_percent: Samples::default(),
            processes: 0,
        }
    }

    fn observe(&mut self, meter: &Meter, cpu_ms: f64) {
        let processes = meter.processes();
        self.processes = processes.len();
        let sum = |field: &str| processes.iter().map(|id| memory_mib(*id, field)).sum();
        self.pss_mib.push(sum("Pss:"));
        self.rss_mib.push(sum("Rss:"));
        self.cpu_percent.push(cpu_ms / (COUNTED.as_secs_f64() * 1e3) * 100.0);
    }
}

pub async fn run(setting: &Setting) -> Result<()> {
    let has_moto = or_say("moto_server", moto::install()).is_some();
    let mut ours = Contender::new("neargate up");
    let mut moto = Contender::new("moto_server");
    let mut docker = Contender::new("dockerd + containerd");
    for round in 0..setting.rounds {
        let name = format!("neargate-{round}");
        // All at the same time: who is idle is in nobody's way.
        let neargate = Neargate::up(setting, &name, &[]).await?;
        let first = match has_moto {
            true => Some(Moto::start(setting).await?),
            false => None,
        };
        let second = or_say("dockerd", Docker::start(setting).await);
        ours.start_ms.push(neargate.start_ms);
        let mut running: Vec<(&mut Contender, &Meter)> = vec![(&mut ours, &neargate.meter)];
        if let Some(server) = &first {
            moto.start_ms.push(server.start_ms);
            running.push((&mut moto, &server.meter));
        }
        if let Some(server) = &second {
            docker.start_ms.push(server.start_ms);
            running.push((&mut docker, &server.meter));
        }
        observe(&mut running).await;
        neargate.end()?;
    }
    print(&[&ours, &moto, &docker]);
    let bytes = fs::metadata(&setting.neargate)?.len();
    println!("the binary has {} MiB", short(mib(bytes as f64)));
    Ok(())
}

async fn observe(running: &mut [(&mut Contender, &Meter)]) {
    tokio::time::sleep(SETTLE).await;
    let before: Vec<f64> = running.iter().map(|(_, meter)| meter.cpu_ms()).collect();
    let began = Instant::now();
    tokio::time::sleep_until((began + COUNTED).into()).await;
    for ((contender, meter), before) in running.iter_mut().zip(before) {
        let cpu_ms = meter.cpu_ms() - before;
        contender.observe(meter, cpu_ms);
    }
}

fn memory_mib(id: u32, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    mib(kib.unwrap_or(0.0) * 1024.0)
}

fn mib(bytes: f64) -> f64 {
    bytes / 1024.0 / 1024.0
}

fn print(contenders: &[&Contender]) {
    println!("medians; CPU over {} s:", COUNTED.as_secs());
    let mut table = Table::new(&[
        "contender",
        "processes",
        "PSS MiB",
        "RSS MiB",
        "PSS / ours",
        "CPU % of a core",
        "start to first answer, ms",
    ]);
    let own_pss_mib = contenders[0].pss_mib.median();
    for it in contenders.iter().filter(|it| it.pss_mib.len() > 0) {
        table.row(&[
            it.name,
            &it.processes.to_string(),
            &short(it.pss_mib.median()),
            &short(it.rss_mib.median()),
            &short(it.pss_mib.median() / own_pss_mib),
            &short(it.cpu_percent.median()),
            &short(it.start_ms.median()),
        ]);
    }
    table.print();
}
