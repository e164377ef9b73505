//! `bench api`: signed calls a second in a closed loop over several connections that are kept, on
//! Neargate's control plane (`up --no-agent`: tasks stay PROVISIONING) and on moto_server, which
//! gets the same bytes but for the key. Each starts afresh in every round, so that its lists stay
//! as short as the other's.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::Setting;
use crate::client::{Account, Client, ECS, text};
use crate::launch::or_say;
use crate::load::{self, Measured};
use crate::moto::{self, Moto};
use crate::neargate::Neargate;
use crate::stats::{Round, Series, Table, short};
use crate::tasks::{CLUSTER, create_cluster, definition, run_task};

const CONNECTIONS: usize = 16;
/// Never pulled: no task is placed.
const IMAGE: &str = "registry.example/bench:1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    DescribeTasks,
    RegisterTaskDefinition,
    RunTask,
}

/// In the order in which they are measured: what makes lists longer comes later.
const CALLS: [Call; 3] = [Call::DescribeTasks, Call::RegisterTaskDefinition, Call::RunTask];

impl Call {
    fn name(self) -> &'static str {
        match self {
            Call::DescribeTasks => "DescribeTasks",
            Call::RegisterTaskDefinition => "RegisterTaskDefinition",
            Call::RunTask => "RunTask",
        }
    }
}

pub async fn run(setting: &Setting) -> Result<()> {
    let has_moto = or_say("moto_server", moto::install()).is_some();
    println!("peer: {}; {CONNECTIONS} connections, closed loop\n", moto::version());
    let series = |who: &str| CALLS.map(|call| Series::new(&format!("{who} {}", call.name())));
    let mut ours = series("Neargate");
    let mut theirs = series("moto_server");
    let mut own_cpu_ms = CALLS.map(|_| crate::stats::Samples::default());
    for round in 0..setting.rounds {
        let neargate = Neargate::up(setting, &format!("neargate-{round}"), &["--no-agent"]).await?;
        let cpu = || neargate.meter.cpu_ms();
        let measured = Box::pin(contender(&neargate.account, cpu)).await?;
        for (measured, own) in measured.iter().zip(&mut own_cpu_ms) {
            own.push(measured.own_cpu_ms);
        }
        add(&mut ours, measured);
        neargate.end()?;
        if has_moto {
            let moto = Moto::start(setting).await?;
            let cpu = || moto.meter.cpu_ms();
            add(&mut theirs, Box::pin(contender(&moto.account, cpu)).await?);
        }
    }
    print(&ours, &theirs);
    for (call, own) in CALLS.iter().zip(&own_cpu_ms) {
        println!("generator's own CPU, {}: {} us a call", call.name(), short(own.median() * 1e3));
    }
    Ok(())
}

fn add(series: &mut [Series], measured: Vec<Measured>) {
    for (series, measured) in series.iter_mut().zip(measured) {
        let Measured { times_ms, per_second, cpu_ms, .. } = measured;
        series.rounds.push(Round { times_ms, cpu_ms, per_second });
    }
}

/// Measures all calls on one fresh server.
async fn contender(account: &Account, cpu_ms: impl Fn() -> f64) -> Result<Vec<Measured>> {
    let mut client = Client::connect(account).await?;
    create_cluster(&mut client).await?;
    let subnet = client.first_subnet().await?;
    client.call(ECS, "RegisterTaskDefinition", &definition("bench", IMAGE)).await?;
    let answer = client.call(ECS, "RunTask", &run_task("bench", &subnet, 1)).await?;
    let task = text(&answer, "/tasks/0/taskArn")?.to_owned();
    let mut all = Vec::new();
    for call in CALLS {
        let input = |connection: usize| match call {
            Call::DescribeTasks => json!({"cluster": CLUSTER, "tasks": [task]}),
            // Revisions of one family come one after another; families don't wait for each other.
            Call::RegisterTaskDefinition => definition(&format!("load-{connection}"), IMAGE),
            Call::RunTask => run_task("bench", &subnet, 1),
        };
        let request = |connection| {
            let body = serde_json::to_vec(&input(connection))?;
            let headers = account.sign(ECS, call.name(), &body)?;
            anyhow::Ok(load::request(&headers, &body))
        };
        let requests = (0..CONNECTIONS).map(request).collect::<Result<Vec<_>>>()?;
        let measured = load::run(&account.address, requests, &cpu_ms).await?;
        measured.first.iter().try_for_each(|body| check(call, body))?;
        all.push(measured);
    }
    Ok(all)
}

/// Whether an answer is what was asked for.
fn check(call: Call, body: &[u8]) -> Result<()> {
    let answer: Value = serde_json::from_slice(body)?;
    let right = match call {
        Call::DescribeTasks | Call::RunTask => answer["tasks"][0]["taskArn"].is_string(),
        Call::RegisterTaskDefinition => answer["taskDefinition"]["revision"].is_number(),
    };
    if !right {
        bail!("{} was answered with {answer}", call.name());
    }
    Ok(())
}

fn print(ours: &[Series], theirs: &[Series]) {
    let mut table = Table::new(&[
        "contender",
        "calls/s",
        "p50 ms",
        "p99 ms",
        "CPU us/call",
        "ours / theirs, calls/s (range)",
        "theirs / ours, CPU (range)",
    ]);
    for (ours, theirs) in ours.iter().zip(theirs) {
        for it in [ours, theirs].into_iter().filter(|it| !it.rounds.is_empty()) {
            let (all, peer) = (it.all(), it.name != ours.name);
            let (rate, cpu) = match peer {
                true => (ours.rate_ratio_to(theirs), theirs.cpu_ratio_to(ours)),
                false => (String::new(), String::new()),
            };
            table.row(&[
                &it.name,
                &short(it.median_of(|round| round.per_second)),
                &short(all.median()),
                &short(all.quantile(0.99)),
                &short(it.median_of(|round| round.cpu_ms) * 1e3),
                &rate,
                &cpu,
            ]);
        }
    }
    table.print();
}
