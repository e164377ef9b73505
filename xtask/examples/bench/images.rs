//! `bench images`: a push of a 300 MiB image of three layers, its pull into a place that has none
//! of it, unpacked, and manifests asked for. Neargate beside docker-registry, and for the pull
//! beside dockerd with that registry. Both registries get the same bytes from the same client:
//! three layers at once, each begun, sent and finished as docker does.
//!
//! Our pull is that of a task, by its own `pullStartedAt` and `pullStoppedAt`; dockerd's is one
//! call of its API. After either the image lies unpacked on the disk, ready for an overlay.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Setting;
use crate::client::{Answer, Connection, ECR, text};
use crate::docker::Docker;
use crate::images_made::{Blob, Image, MANIFEST, Material};
use crate::images_peer::{self, DockerRegistry};
use crate::launch::{between_ms, or_say};
use crate::load;
use crate::neargate::{Neargate, ms};
use crate::process::Server;
use crate::stats::{Round, Series, Table, short};
use crate::tasks::{self, Tasks};

const REPOSITORY: &str = "bench";
/// Connections that ask for a manifest, in a closed loop.
const CONNECTIONS: usize = 16;

struct Contenders {
    neargate: Neargate,
    tasks: Tasks,
    ours: Place,
    registry: Option<(DockerRegistry, Place)>,
    /// The registry inside of its network ends before it does.
    docker: Option<(Server, &'static str, Docker)>,
}

/// Where images are pushed to.
#[derive(Clone)]
struct Place {
    address: String,
    authorization: Option<HeaderValue>,
}

pub async fn run(setting: &Setting) -> Result<()> {
    println!("making 300 MiB of files, and compressing them");
    let material = Material::make()?;
    let mut contenders = prepare(setting).await?;
    let outcome = Box::pin(measure(&mut contenders, &material, setting.rounds)).await;
    let Contenders { neargate, registry, docker, .. } = contenders;
    drop((docker, registry));
    neargate.end()?;
    outcome
}

async fn prepare(setting: &Setting) -> Result<Contenders> {
    or_say("a peer's package", images_peer::install());
    let registry = or_say("docker-registry", DockerRegistry::start(setting));
    let mut docker = None;
    if let Some(registry) = &registry {
        docker = or_say("dockerd", beside(setting, registry).await);
    }
    let version = |version: Option<&String>| version.map_or("MISSING", |it| it.as_str()).to_owned();
    println!("peer: {}", version(registry.as_ref().map(|it| &it.version)));
    println!("peer: {}", version(docker.as_ref().map(|it| &it.2.version)));
    let registry = registry.map(|registry| {
        let place = Place { address: registry.address.clone(), authorization: None };
        (registry, place)
    });
    let neargate = Neargate::up(setting, "neargate", &[]).await?;
    let mut tasks = Tasks::of(&neargate).await?;
    tasks::create_cluster(&mut tasks.client).await?;
    let input = json!({"repositoryName": REPOSITORY});
    tasks.client.call(ECR, "CreateRepository", &input).await?;
    let answer = tasks.client.call(ECR, "GetAuthorizationToken", &json!({})).await?;
    let token = text(&answer, "/authorizationData/0/authorizationToken")?;
    let authorization = Some(HeaderValue::from_str(&format!("Basic {token}"))?);
    let ours = Place { address: neargate.account.address.clone(), authorization };
    Ok(Contenders { neargate, tasks, ours, registry, docker })
}

async fn beside(
    setting: &Setting,
    registry: &DockerRegistry,
) -> Result<(Server, &'static str, Docker)> {
    let docker = Docker::start(setting).await?;
    let (server, address) = registry.beside(&docker, setting)?;
    Ok((server, address, docker))
}

/// One line of the result for each contender.
struct Measured {
    pushes: [Series; 2],
    pulls: [Series; 2],
    manifests: [Series; 2],
}

async fn measure(them: &mut Contenders, material: &Material, rounds: usize) -> Result<()> {
    let named = |names: [&str; 2]| names.map(Series::new);
    let mut measured = Measured {
        pushes: named(["Neargate", "docker-registry"]),
        pulls: named(["Neargate, a task's pull", "dockerd from docker-registry"]),
        manifests: named(["Neargate", "docker-registry"]),
    };
    for round in 0..=rounds {
        let image = material.image(&format!("round {round} of {}", std::process::id()))?;
        if round == 0 {
            println!(
                "the image: {} files, {} MiB, compressed {} MiB\n",
                material.files,
                material.bytes >> 20,
                image.compressed_bytes() >> 20
            );
        }
        // The first, of everybody, is not counted.
        let mut uncounted = Measured {
            pushes: Default::default(),
            pulls: Default::default(),
            manifests: Default::default(),
        };
        let into = if round == 0 { &mut uncounted } else { &mut measured };
        Box::pin(one_round(them, &image, round, into)).await?;
    }
    print(&measured, rounds);
    Ok(())
}

async fn one_round(
    them: &mut Contenders,
    image: &Image,
    round: usize,
    into: &mut Measured,
) -> Result<()> {
    let tag = format!("r{round}");
    let cpu = || them.neargate.meter.cpu_ms();
    into.pushes[0].rounds.push(pushed(&them.ours, image, &tag, cpu).await?);
    if let Some((registry, place)) = &them.registry {
        let cpu = || registry.meter.cpu_ms();
        into.pushes[1].rounds.push(pushed(place, image, &tag, cpu).await?);
    }
    into.pulls[0].rounds.push(them.pull(&tag).await?);
    if let Some((_, address, docker)) = &them.docker {
        into.pulls[1].rounds.push(docker_pull(docker, address, &tag).await?);
    }
    let cpu = || them.neargate.meter.cpu_ms();
    into.manifests[0].rounds.push(manifests(&them.ours, &tag, cpu).await?);
    if let Some((registry, place)) = &them.registry {
        let cpu = || registry.meter.cpu_ms();
        into.manifests[1].rounds.push(manifests(place, &tag, cpu).await?);
    }
    Ok(())
}

fn once(began: Instant, cpu_ms: f64) -> Round {
    let times_ms = [ms(began.elapsed())].into_iter().collect();
    Round { times_ms, cpu_ms, per_second: f64::NAN }
}

async fn pushed(
    place: &Place,
    image: &Image,
    tag: &str,
    cpu_ms: impl Fn() -> f64,
) -> Result<Round> {
    let before = cpu_ms();
    let began = Instant::now();
    let layers = image.layers.iter().map(|layer| place.push(layer));
    futures(layers.collect()).await?;
    place.push(&image.config).await?;
    let mut connection = Connection::tcp(&place.address).await?;
    let path = format!("/v2/{REPOSITORY}/manifests/{tag}");
    let headers = place.headers(MANIFEST)?;
    let answer = connection.send(&Method::PUT, &path, headers, image.manifest.clone()).await?;
    expect(&answer, StatusCode::CREATED)?;
    Ok(once(began, cpu_ms() - before))
}

/// All at once, on this task: the bytes are there, and a socket is what is waited for.
async fn futures<F: Future<Output = Result<()>>>(all: Vec<F>) -> Result<()> {
    let mut all: Vec<_> = all.into_iter().map(|it| Some(Box::pin(it))).collect();
    std::future::poll_fn(|context| {
        for slot in &mut all {
            if let Some(work) = slot
                && let std::task::Poll::Ready(done) = work.as_mut().poll(context)
            {
                *slot = None;
                if done.is_err() {
                    return std::task::Poll::Ready(done);
                }
            }
        }
        match all.iter().all(Option::is_none) {
            true => std::task::Poll::Ready(Ok(())),
            false => std::task::Poll::Pending,
        }
    })
    .await
}

impl Place {
    fn headers(&self, content_type: &str) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type)?);
        }
        Ok(headers)
    }

    /// Asks for it, begins, sends and finishes: the requests that docker makes.
    async fn push(&self, blob: &Blob) -> Result<()> {
        let mut connection = Connection::tcp(&self.address).await?;
        let path = format!("/v2/{REPOSITORY}/blobs/{}", blob.digest);
        let there = connection.send(&Method::HEAD, &path, self.headers("")?, "").await?;
        if there.status != StatusCode::NOT_FOUND {
            bail!("a blob of this round is there already: {}", there.status);
        }
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/");
        let mut headers = self.headers("")?;
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let begun = connection.send(&Method::POST, &path, headers, "").await?;
        expect(&begun, StatusCode::ACCEPTED)?;
        let kind = "application/octet-stream";
        let (path, bytes) = (location(&begun)?, blob.bytes.clone());
        let sent = connection.send(&Method::PATCH, &path, self.headers(kind)?, bytes).await?;
        expect(&sent, StatusCode::ACCEPTED)?;
        let path = location(&sent)?;
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}digest={}", blob.digest);
        let mut headers = self.headers("")?;
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let done = connection.send(&Method::PUT, &path, headers, "").await?;
        expect(&done, StatusCode::CREATED)
    }
}

/// The path of where an upload goes on.
fn location(answer: &Answer) -> Result<String> {
    let place = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let place = place.context("the registry names no place to upload to")?;
    Ok(match place.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]).to_owned(),
        None => place.to_owned(),
    })
}

fn expect(answer: &Answer, status: StatusCode) -> Result<()> {
    if answer.status != status {
        bail!("the registry answered {}: {}", answer.status, answer.text());
    }
    Ok(())
}

impl Contenders {
    async fn pull(&mut self, tag: &str) -> Result<Round> {
        let image = format!("{}/{REPOSITORY}:{tag}", self.neargate.account.address);
        let definition = self.tasks.register(&format!("pull-{tag}"), &image).await?;
        let before = self.neargate.meter.cpu_ms();
        let pause = std::time::Duration::from_millis(5);
        let launch = self.tasks.launch(&definition, pause).await?;
        let cpu_ms = self.neargate.meter.cpu_ms() - before;
        self.tasks.stop(std::slice::from_ref(&launch.arn)).await?;
        let took_ms = between_ms(&launch.task, "pullStartedAt", "pullStoppedAt");
        if took_ms.is_nan() {
            bail!("the task does not tell when it pulled: {}", launch.task);
        }
        let times_ms = [took_ms].into_iter().collect();
        Ok(Round { times_ms, cpu_ms, per_second: f64::NAN })
    }
}

async fn docker_pull(docker: &Docker, address: &str, tag: &str) -> Result<Round> {
    let mut connection = docker.connect().await?;
    let before = docker.meter.cpu_ms();
    let began = Instant::now();
    let path = format!("/images/create?fromImage={address}/{REPOSITORY}&tag={tag}");
    let answer = connection.json(&Method::POST, &path, &Value::Null).await?;
    let round = once(began, docker.meter.cpu_ms() - before);
    // It answers 200 before it knows; what went wrong stands in the stream.
    if answer.text().contains("errorDetail") {
        bail!("dockerd did not pull: {}", answer.text());
    }
    let path = format!("/images/{address}/{REPOSITORY}:{tag}");
    connection.json(&Method::DELETE, &path, &Value::Null).await?;
    Ok(round)
}

/// Manifests by tag, in a closed loop.
async fn manifests(place: &Place, tag: &str, cpu_ms: impl Fn() -> f64) -> Result<Round> {
    let mut request = format!(
        "GET /v2/{REPOSITORY}/manifests/{tag} HTTP/1.1\r\nhost: {}\r\naccept: {MANIFEST}\r\n",
        place.address
    );
    if let Some(authorization) = &place.authorization {
        request.push_str(&format!("authorization: {}\r\n", authorization.to_str()?));
    }
    request.push_str("\r\n");
    let requests = vec![request.into_bytes(); CONNECTIONS];
    let measured = load::run(&place.address, requests, cpu_ms).await?;
    let manifest: Value = serde_json::from_slice(measured.first.first().context("an answer")?)?;
    if manifest["layers"].as_array().is_none_or(Vec::is_empty) {
        bail!("no manifest: {manifest}");
    }
    let load::Measured { times_ms, per_second, cpu_ms, .. } = measured;
    Ok(Round { times_ms, cpu_ms, per_second })
}

fn print(measured: &Measured, rounds: usize) {
    println!("Medians of {rounds} rounds, each contender in turn.\n");
    for (what, series) in [
        ("push of the image", &measured.pushes),
        ("pull and unpack, nothing of it there", &measured.pulls),
    ] {
        println!("{what}, milliseconds:");
        let head = ["contender", "wall", "CPU", "wall / ours (range)", "CPU / ours (range)"];
        let mut table = Table::new(&head);
        for it in series.iter().filter(|it| !it.rounds.is_empty()) {
            table.row(&[
                &it.name,
                &short(it.median_of(|round| round.times_ms.median())),
                &short(it.median_of(|round| round.cpu_ms)),
                &it.times_slower_than(&series[0]),
                &it.cpu_ratio_to(&series[0]),
            ]);
        }
        table.print();
    }
    println!("manifests by tag, {CONNECTIONS} connections, closed loop:");
    let head = ["contender", "a second", "p99 ms", "CPU us", "ours / theirs (range)"];
    let mut table = Table::new(&head);
    let [ours, _] = &measured.manifests;
    for it in measured.manifests.iter().filter(|it| !it.rounds.is_empty()) {
        table.row(&[
            &it.name,
            &short(it.median_of(|round| round.per_second)),
            &short(it.all().quantile(0.99)),
            &short(it.median_of(|round| round.cpu_ms) * 1e3),
            &ours.rate_ratio_to(it),
        ]);
    }
    table.print();
}
