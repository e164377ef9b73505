//! `neargate up` as a contender: on a free port, on a data folder of its own, with the tasks it
//! runs stopped at its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use wire::sigv4::SecretKey;

use crate::Setting;
use crate::client::{Account, Client};
use crate::meter::Meter;
use crate::process::Server;

pub struct Neargate {
    pub account: Account,
    /// From the start of the process until the endpoint answered.
    pub start_ms: f64,
    // Fields are dropped in this order: the server ends before its group is looked through.
    server: Server,
    pub meter: Meter,
    /// The runtime's zygote, and the group it keeps supervisors and containers under.
    zygote: Option<(u32, String)>,
    data: PathBuf,
}

impl Neargate {
    /// `name` is that of its folder under the benchmark's.
    pub async fn up(setting: &Setting, name: &str, options: &[&str]) -> Result<Neargate> {
        let data = setting.folder(name)?;
        let mut meter = Meter::make(name)?;
        let binary = setting.neargate.to_str().context("the binary's path is not UTF-8")?;
        let mut command = meter.command(binary);
        command.args(["up", "--listen", "127.0.0.1:0", "--stop-tasks", "--data-dir"]);
        command.arg(&data).args(options);
        let began = Instant::now();
        let mut server = Server::start(name, command, setting.work.path())?;
        let endpoint = server.wait_for(|| read_json(&data.join("endpoint.json")))?;
        let account = account(&endpoint, &data)?;
        Client::connect(&account).await?.first_subnet().await?;
        let start_ms = ms(began.elapsed());
        let zygote = zygote(server.id());
        if let Some((_, group)) = &zygote {
            meter.count_also(group);
        }
        Ok(Neargate { account, start_ms, server, meter, zygote, data })
    }

    pub async fn client(&self) -> Result<Client> {
        Client::connect(&self.account).await
    }

    /// The process that is control plane and agent.
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    pub fn zygote_id(&self) -> Option<u32> {
        self.zygote.as_ref().map(|(id, _)| *id)
    }

    /// Ends it, and says what it left in the kernel: nothing, it is to be hoped.
    pub fn end(mut self) -> Result<()> {
        let status = self.server.end()?;
        if !status.success() {
            println!("neargate ended with {status}: {}", self.server.last_words());
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let data = self.data.to_string_lossy().into_owned();
        for line in mounts.lines().filter(|line| line.contains(&data)) {
            println!("LEFT BEHIND: mount {line}");
        }
        if let Some((_, group)) = &self.zygote {
            for hierarchy in fs::read_dir("/sys/fs/cgroup")?.flatten() {
                let group = hierarchy.path().join(group.trim_start_matches('/'));
                if group.is_dir() {
                    println!("LEFT BEHIND: cgroup {}", group.display());
                }
            }
        }
        Ok(())
    }
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn account(endpoint: &Value, data: &Path) -> Result<Account> {
    let field = |name: &str| crate::client::text(endpoint, &format!("/{name}"));
    let text = fs::read_to_string(data.join("credentials")).context("no credentials")?;
    let key = |name: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        let found = pairs.find(|(key, _)| key.trim() == name);
        found.map(|(_, value)| value.trim().to_owned()).with_context(|| format!("no {name}"))
    };
    Ok(Account {
        address: field("url")?.trim_start_matches("http://").to_owned(),
        region: field("region")?.to_owned(),
        access_key_id: key("aws_access_key_id")?,
        secret_key: SecretKey::new(key("aws_secret_access_key")?),
    })
}

/// The child of the server's that has moved itself to the runtime's group, and the path of what is
/// above that. None without an agent.
fn zygote(server: u32) -> Option<(u32, String)> {
    children_of(server).into_iter().find_map(|id| {
        let text = fs::read_to_string(format!("/proc/{id}/cgroup")).ok()?;
        let mut paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let path = paths.find_map(|path| path.strip_suffix("/supervisor"))?;
        Some((id, path.to_owned()))
    })
}

/// Looked for by parent: a thread that is not the first may have made the child.
fn children_of(parent: u32) -> Vec<u32> {
    let is_child = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(is_child).collect()
}
