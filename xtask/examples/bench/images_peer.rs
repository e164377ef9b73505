//! docker-registry as a contender, Debian's package. Two of its processes serve one folder: one for
//! what is pushed and asked from here, and one inside dockerd's network, where dockerd pulls from;
//! that one's CPU time counts as dockerd's, as our registry's counts as ours.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::Setting;
use crate::docker::Docker;
use crate::machine;
use crate::meter::Meter;
use crate::process::Server;

/// Inside of a network namespace of its own, nobody else has a port.
const INSIDE: &str = "127.0.0.1:5000";

pub struct DockerRegistry {
    pub version: String,
    pub address: String,
    folder: PathBuf,
    // The server ends before its group is looked through.
    _server: Server,
    pub meter: Meter,
}

impl DockerRegistry {
    pub fn start(setting: &Setting) -> Result<DockerRegistry> {
        let version = machine::version("docker-registry", "--version");
        let version = version.context("docker-registry can't be run")?;
        let folder = setting.folder("docker-registry")?;
        let address: SocketAddr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let meter = Meter::make("registry")?;
        let mut command = meter.command("docker-registry");
        command.arg("serve").arg(configuration(&folder, &address.to_string())?);
        let mut server = Server::start("docker-registry", command, setting.work.path())?;
        server.wait_for(|| TcpStream::connect(address).ok())?;
        let address = address.to_string();
        Ok(DockerRegistry { version, address, folder, _server: server, meter })
    }

    /// The same folder, served to a dockerd; gives the address for its images.
    pub fn beside(&self, docker: &Docker, setting: &Setting) -> Result<(Server, &'static str)> {
        let mut command = docker.meter.command("nsenter");
        command.arg(format!("--net={}", docker.network().display()));
        command.args(["docker-registry", "serve"]).arg(configuration(&self.folder, INSIDE)?);
        let mut server = Server::start("docker-registry-inside", command, setting.work.path())?;
        let probe = || {
            let mut probe = Command::new("nsenter");
            probe.arg(format!("--net={}", docker.network().display()));
            probe.args(["sh", "-c", "grep -q ':1388 .* 0A ' /proc/net/tcp /proc/net/tcp6"]);
            probe.stderr(Stdio::null()).status().ok().filter(std::process::ExitStatus::success)
        };
        server.wait_for(probe)?;
        Ok((server, INSIDE))
    }
}

fn configuration(folder: &Path, address: &str) -> Result<PathBuf> {
    let path = folder.join(format!("{}.yml", address.replace(':', "-")));
    let blobs = folder.join("blobs");
    let text = format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  \
         filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
        blobs.display()
    );
    fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    Ok(path)
}

/// Debian's packages of the peers, where they are missing. Their services are not to be started:
/// each is run from here, with folders of its own.
pub fn install() -> Result<()> {
    let wanted = [("docker-registry", "docker-registry"), ("dockerd", "docker.io")];
    let missing = wanted.iter().filter(|it| machine::version(it.0, "--version").is_none());
    let packages: Vec<&str> = missing.map(|it| it.1).collect();
    if packages.is_empty() {
        return Ok(());
    }
    println!("installing Debian packages: {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).status()
    };
    let install = [&["install", "--yes", "--no-install-recommends"], &packages[..]].concat();
    if !apt(&install)?.success() {
        apt(&["update"])?;
        if !apt(&install)?.success() {
            bail!("apt-get can't install {}", packages.join(" "));
        }
    }
    Ok(())
}
