//! dockerd as a contender: a daemon of its own in a network and a mount namespace of its own, with
//! its own folders, so that neither the machine's Docker nor its firewall is touched. It is driven
//! through its HTTP API over a connection that is kept, as Neargate is.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::Setting;
use crate::client::{Connection, text};
use crate::image::{Image, WAITS};
use crate::machine;
use crate::meter::Meter;
use crate::neargate::ms;
use crate::process::Server;

const IMAGE: &str = "neargate-bench";
/// As 256 CPU units and 512 MiB are.
pub const NANO_CPUS: u64 = 250_000_000;
pub const MEMORY_BYTES: u64 = 512 * 1024 * 1024;
const PIDS: u64 = 4096;

pub struct Docker {
    pub version: String,
    pub start_ms: f64,
    socket: PathBuf,
    // The server ends before its group is looked through.
    server: Server,
    pub meter: Meter,
}

impl Docker {
    pub async fn start(setting: &Setting) -> Result<Docker> {
        let version = machine::version("dockerd", "--version").context("dockerd can't be run")?;
        let meter = Meter::make("docker")?;
        let folder = setting.folder("docker")?;
        let socket = folder.join("d.sock");
        let mut command = meter.command("unshare");
        let script = "ip link set lo up && exec \"$@\"";
        command.args(["--net", "--mount", "sh", "-c", script, "sh", "dockerd"]);
        command.args(["--cgroup-parent", &meter.containers_group()]);
        command.arg("--host").arg(format!("unix://{}", socket.display()));
        for (option, name) in [("data-root", "data"), ("exec-root", "exec"), ("pidfile", "pid")] {
            command.arg(format!("--{option}")).arg(folder.join(name));
        }
        let began = Instant::now();
        let mut server = Server::start("dockerd", command, setting.work.path())?;
        server.wait_for(|| std::os::unix::net::UnixStream::connect(&socket).ok())?;
        let mut connection = Connection::unix(&socket).await?;
        connection.json(&Method::GET, "/_ping", &Value::Null).await?;
        let start_ms = ms(began.elapsed());
        Ok(Docker { version, start_ms, socket, server, meter })
    }

    /// Gives the image's id.
    pub async fn import(&self, image: &Image) -> Result<String> {
        let mut connection = Connection::unix(&self.socket).await?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
        let path = format!("/images/create?fromSrc=-&repo={IMAGE}&tag=1");
        let answer = connection.send(&Method::POST, &path, headers, image.archive.clone()).await?;
        answer.success().context("dockerd does not take the image")?;
        let path = format!("/images/{IMAGE}:1/json");
        let known = connection.json(&Method::GET, &path, &Value::Null).await?.json()?;
        Ok(text(&known, "/Id")?.to_owned())
    }

    pub async fn client(&self) -> Result<DockerClient> {
        Ok(DockerClient(self.connect().await?))
    }

    pub async fn connect(&self) -> Result<Connection> {
        Connection::unix(&self.socket).await
    }

    /// Its network namespace, to be entered while it runs.
    pub fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.server.id()))
    }
}

/// A connection to dockerd.
pub struct DockerClient(Connection);

impl DockerClient {
    /// Creates and starts a container on the default bridge; gives its id when it runs.
    pub async fn run(&mut self) -> Result<String> {
        let input = json!({
            "Image": format!("{IMAGE}:1"),
            "Cmd": WAITS,
            "Env": ["PATH=/bin"],
            "HostConfig": {
                "NanoCpus": NANO_CPUS,
                "Memory": MEMORY_BYTES,
                "PidsLimit": PIDS,
                "NetworkMode": "bridge",
            },
        });
        let created = self.0.json(&Method::POST, "/containers/create", &input).await?.json()?;
        let id = text(&created, "/Id")?.to_owned();
        let path = format!("/containers/{id}/start");
        self.0.json(&Method::POST, &path, &Value::Null).await?;
        Ok(id)
    }

    pub async fn remove(&mut self, id: &str) -> Result<()> {
        let path = format!("/containers/{id}?force=true");
        self.0.json(&Method::DELETE, &path, &Value::Null).await.map(|_| ())
    }
}
