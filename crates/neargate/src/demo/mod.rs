//! `neargate demo`: a user's whole day in six steps, through the public API alone: push an image,
//! register it, make a cluster, a load balancer and a service, open the URL. Then a task is stopped
//! and a new version rolled out while requests come in, and none of them may fail.

mod image;
mod service;
mod site;
mod steps;
mod traffic;

use crate::cli::{self, Folder, LogFormat};
use crate::client::Client;
use crate::server::{self, Server};
use anyhow::{Context, Result, ensure};
use site::Site;
use steps::Steps;
use tokio::signal::unix::{Signal, SignalKind, signal};
use traffic::{Counts, Traffic, Visitor};

/// How many answers are shown: enough that both tasks are among them.
const VISITS_SHOWN: usize = 4;
/// Answers before, between and after the changes.
const ANSWERS_BETWEEN: u64 = 100;

pub async fn run(demo: &cli::Demo) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let steps = Steps::new();
    let started = steps.during("start Neargate on this machine", server::start(&up(demo))).await?;
    let client = Client::new(&started.endpoint, &started.credentials);
    let walked = tokio::select! {
        walked = walk(&client, &steps) => walked,
        () = told(&mut terminate, &mut interrupt) => Err(anyhow::anyhow!("interrupted")),
    };
    if let (Ok(site), true) = (&walked, demo.keep) {
        kept(demo, &started, site);
        told(&mut terminate, &mut interrupt).await;
        println!();
    }
    let removed = steps.during("take everything away again", remove(&client)).await;
    let ended = steps.during("end Neargate", started.end()).await;
    walked?;
    removed?;
    ended?;
    if !demo.keep {
        what_next(&demo.folder);
    }
    Ok(())
}

fn up(demo: &cli::Demo) -> cli::Up {
    cli::Up {
        folder: demo.folder.clone(),
        listen: demo.listen,
        region: "us-east-1".to_owned(),
        account_id: "000000000000".to_owned(),
        stop_tasks: true,
        cpu_overcommit: 8,
        memory_overcommit: 1,
        fleet: cli::Fleet::default(),
        no_agent: false,
        no_hosts_file: false,
        object_store: None,
        metric_minute_seconds: store::metrics::MINUTE_SECONDS,
        outbound: crate::outbound::Outbound::default(),
        retention: crate::local_images::Retention::default(),
        log_format: LogFormat::Text,
    }
}

async fn told(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// The six steps, and what a service is for.
async fn walk(client: &Client, steps: &Steps) -> Result<Site> {
    // Of a demo that was killed.
    remove(client).await.context("removing what an earlier demo left")?;
    let repository =
        steps.during("create a repository", service::create_repository(client)).await?;
    let image = format!("{repository}:latest");
    let push = async {
        let made = image::make().await?;
        image::push(client, &made, service::REPOSITORY, "latest").await
    };
    steps.during(&format!("1. push {image}, made of Neargate's own binary"), push).await?;
    let version_1 = service::register(client, &image, "1");
    let version_1 = steps.during("2. register a task definition", version_1).await?;
    steps.during("3. create a cluster", service::create_cluster(client)).await?;
    let site = steps.during("4. create a load balancer", Site::make(client)).await?;
    let made = service::create(client, &version_1, &site);
    steps.during("5. create a service that keeps two tasks running", made).await?;
    steps.during(&format!("6. open {}", site.url), open(&site, steps)).await?;

    let traffic = Traffic::start(&site.url);
    let change = async {
        traffic.more(ANSWERS_BETWEEN).await;
        let replaced = service::replace_one(client, &site);
        let (old, new) = steps.during("stop a task while requests come in", replaced).await?;
        steps.say(&format!("task {old} stopped, and task {new} took its place"));
        traffic.more(ANSWERS_BETWEEN).await;
        let version_2 = service::register(client, &image, "2").await?;
        let rolled_out = service::roll_out(client, &version_2, &site);
        steps.during("roll out version 2 while requests come in", rolled_out).await?;
        traffic.more(ANSWERS_BETWEEN).await;
        Ok(())
    };
    let changed: Result<()> = change.await;
    let counts = traffic.end().await?;
    changed?;
    show(steps, &counts)?;
    Ok(site)
}

async fn open(site: &Site, steps: &Steps) -> Result<()> {
    let mut answers = Vec::new();
    for _ in 0..VISITS_SHOWN {
        // A connection each, as a shell's curl makes.
        answers.push(Visitor::new(&site.url).visit().await?);
    }
    if steps.rewrites() {
        println!();
    }
    steps.say(&format!("$ curl {}", site.url));
    for answer in answers {
        steps.say(answer.trim_end());
    }
    Ok(())
}

fn show(steps: &Steps, counts: &Counts) -> Result<()> {
    let each: Vec<String> =
        counts.answered.iter().map(|(what, count)| format!("{count} × {what:?}")).collect();
    let failed = counts.failed.len();
    steps.say(&format!(
        "{} requests meanwhile, {failed} failed: {}",
        counts.total(),
        each.join(", ")
    ));
    let first = counts.failed.first().map_or("", String::as_str);
    ensure!(failed == 0, "{failed} requests failed, the first with: {first}");
    let versions = counts.answered.len();
    ensure!(versions == 2, "{versions} versions answered, not two: {}", each.join(", "));
    Ok(())
}

/// Takes away all that a demo makes but its image, its cluster and its log.
async fn remove(client: &Client) -> Result<()> {
    service::remove(client).await?;
    site::remove(client).await
}

fn binary() -> String {
    std::env::current_exe()
        .map_or_else(|_| "neargate".to_owned(), |path| path.display().to_string())
}

fn kept(demo: &cli::Demo, server: &Server, site: &Site) {
    let (binary, dir) = (binary(), demo.folder.data_dir.display());
    println!(
        "\nIt stays up at {}, and {} opens in curl and in a browser on this machine.\nIn another \
         shell:\n\n  eval \"$({binary} env --data-dir {dir})\"\n  aws ecs update-service --cluster \
         {} --service web --desired-count 5\n  {binary} ps --data-dir {dir}\n\nCtrl-C ends it and \
         takes everything away again.",
        server.endpoint.url,
        site.url,
        service::CLUSTER,
    );
}

fn what_next(folder: &Folder) {
    let (binary, dir) = (binary(), folder.data_dir.display());
    println!(
        "\nThat was all of it: an image, a registry, a signed API, containers with addresses and \
         limits of their\nown, a load balancer with a name, and a service that heals and rolls \
         forward.\nNext:\n\n  {binary} demo --keep --data-dir {dir}     # the same, and it stays \
         up\n  {binary} up --data-dir {dir}              # yours to fill\n\nand in another \
         shell\n\n  eval \"$({binary} env --data-dir {dir})\"\n  aws ecs list-clusters\n  {binary} \
         ps --all --data-dir {dir}"
    );
}
