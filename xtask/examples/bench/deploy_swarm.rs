//! Docker swarm under `bench deploy`: one node, in the network namespace of its own dockerd, with
//! its tasks in that network ("host" to them) and one port shared between them. Not its ingress:
//! that needs IPVS, which not every kernel has. The kernel hands connections to the tasks, and no
//! load balancer of swarm's stands in the way. Updates are tuned: new tasks first, all at once,
//! watched as short as can be said.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::{Value, json};

use crate::Setting;
use crate::client::Connection;
use crate::deploy::{Contender, PATIENCE};
use crate::deploy_prober::Door;
use crate::deploy_task::{self, PORT};
use crate::docker::{Docker, MEMORY_BYTES, NANO_CPUS};
use crate::image::Image;
use crate::meter::Meter;
use crate::neargate::ms;

const SERVICE: &str = "web";
/// The API takes 0 as not said, and then watches for 5 s; the least that can be said is 1 ns.
const MONITOR_NS: u64 = 1;
const STOP_WITHIN_NS: u64 = 2_000_000_000;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

pub struct Swarm {
    connection: Connection,
    door: Door,
    docker: Docker,
}

impl Swarm {
    pub async fn start(setting: &Setting, image: &Image, count: usize) -> Result<Swarm> {
        let docker = Docker::start(setting).await?;
        // By its id, so that no registry is asked for it.
        let image = docker.import(image).await?;
        let mut connection = docker.connect().await?;
        let node = json!({"ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1"});
        connection.json(&Method::POST, "/swarm/init", &node).await?;
        let service = service(&image, count);
        connection.json(&Method::POST, "/services/create", &service).await?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let network = Some(docker.network());
        let door = Door { address, host: "localhost".to_owned(), network };
        Ok(Swarm { connection, door, docker })
    }

    pub fn version(&self) -> &str {
        &self.docker.version
    }

    async fn read(&mut self) -> Result<Value> {
        let path = format!("/services/{SERVICE}");
        self.connection.json(&Method::GET, &path, &Value::Null).await?.json()
    }

    async fn update(&mut self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut service = self.read().await?;
        let version = service["Version"]["Index"].as_u64().context("a version")?;
        change(&mut service["Spec"]);
        let path = format!("/services/{SERVICE}/update?version={version}");
        self.connection.json(&Method::POST, &path, &service["Spec"]).await.map(drop)
    }
}

fn service(image: &str, count: usize) -> Value {
    json!({
        "Name": SERVICE,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image,
                "Command": deploy_task::command(),
                "StopGracePeriod": STOP_WITHIN_NS,
            },
            "Resources": {"Limits": {"NanoCPUs": NANO_CPUS, "MemoryBytes": MEMORY_BYTES}},
            "RestartPolicy": {"Condition": "any", "Delay": 0},
            "Networks": [{"Target": "host"}],
        },
        "Mode": {"Replicated": {"Replicas": count}},
        "UpdateConfig": {
            "Parallelism": 0,
            "Delay": 0,
            "Monitor": MONITOR_NS,
            "Order": "start-first",
            "FailureAction": "pause",
        },
        "EndpointSpec": {"Mode": "dnsrr"},
    })
}

impl Contender for Swarm {
    const NAME: &'static str = "Docker swarm, tuned, host network";

    fn door(&self) -> &Door {
        &self.door
    }

    fn meter(&self) -> &Meter {
        &self.docker.meter
    }

    async fn roll(&mut self) -> Result<f64> {
        let before = self.read().await?["UpdateStatus"]["StartedAt"].take();
        let began = Instant::now();
        self.update(|spec| {
            let forced = spec["TaskTemplate"]["ForceUpdate"].as_u64().unwrap_or(0);
            spec["TaskTemplate"]["ForceUpdate"] = json!(forced + 1);
        })
        .await?;
        while began.elapsed() < PATIENCE {
            let status = self.read().await?["UpdateStatus"].take();
            match status["State"].as_str() {
                Some("completed") if status["StartedAt"] != before => {
                    return Ok(ms(began.elapsed()));
                }
                Some("paused") => bail!("the update is paused: {status}"),
                _ => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            }
        }
        bail!("not completed after {PATIENCE:?}: {}", self.read().await?)
    }

    async fn scale(&mut self, count: usize) -> Result<()> {
        self.update(|spec| spec["Mode"]["Replicated"]["Replicas"] = json!(count)).await
    }
}
