//! The command line: what may be said, and what is meant when it isn't.

use crate::join::token::Token;
use crate::local_images::Retention;
use crate::object_store::S3Url;
use crate::outbound::Outbound;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where state is kept when nothing else is said.
const DATA_DIR_DEFAULT: &str = "/var/lib/neargate";

#[derive(Parser, Debug)]
#[command(name = "neargate", version, about = "Fargate, on your own machines", long_about = None)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run Neargate on this machine: control plane, registry and an agent, on one endpoint
    Up(Up),
    /// Start Neargate and walk through it: from a push to a URL, and a rollout under traffic
    Demo(Demo),
    /// Print the environment variables that point AWS tools at Neargate (use with eval)
    Env(Folder),
    /// List tasks
    Ps(Ps),
    /// Print a task's log lines
    Logs(Logs),
    /// Print what has happened to tasks and services, as events in EventBridge's form
    Events(Events),
    /// List the machines of the fleet and what of them is taken
    Instances(Instances),
    /// Make this machine an instance of a control plane elsewhere
    Agent(Agent),
    /// Print a command with which another machine joins
    Token(JoinToken),
    /// Make images and bring them into the registry
    #[command(subcommand)]
    Image(crate::image::Command),
    /// List the images that this machine keeps for its tasks, or remove those no task uses
    Images(Images),
    /// Look after the registry
    #[command(subcommand)]
    Registry(Registry),
    /// The process that balances load; `up` starts it
    #[command(hide = true)]
    Balancer(crate::balancing::Arguments),
    /// The demo's web application
    #[command(hide = true)]
    Web,
}

#[derive(Args, Debug, Clone)]
pub struct Folder {
    /// Where state, images and logs are kept
    #[arg(long, value_name = "DIR", default_value = DATA_DIR_DEFAULT)]
    pub data_dir: PathBuf,
}

#[derive(Args, Debug, Clone)]
pub struct Up {
    #[command(flatten)]
    pub folder: Folder,
    /// Where the API and the registry listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    pub listen: SocketAddr,
    /// The AWS region that calls must be signed for
    #[arg(long, default_value = "us-east-1", value_parser = region)]
    pub region: String,
    /// The account that everything belongs to: twelve digits
    #[arg(long, default_value = "000000000000", value_parser = account_id)]
    pub account_id: String,
    /// Stop all running tasks when told to end; without it they keep running
    #[arg(long)]
    pub stop_tasks: bool,
    /// How many times this machine's CPUs may be promised to tasks
    #[arg(long, value_name = "FACTOR", default_value_t = 8, value_parser = overcommit())]
    pub cpu_overcommit: u32,
    /// How many times this machine's memory may be promised to tasks
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = overcommit())]
    pub memory_overcommit: u32,
    #[command(flatten)]
    pub fleet: Fleet,
    /// Run the control plane and the registry only, without an agent for this machine
    #[arg(long)]
    pub no_agent: bool,
    /// Keep images in a bucket, s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION, with
    /// the keys of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, instead of in the data folder
    #[arg(long, value_name = "URL")]
    pub object_store: Option<S3Url>,
    /// How long a minute of metrics is taken to last: shorter ones let tests see scaling
    #[arg(
        long,
        value_name = "SECONDS",
        hide = true,
        default_value_t = store::metrics::MINUTE_SECONDS,
        value_parser = clap::value_parser!(u32).range(1..=60)
    )]
    pub metric_minute_seconds: u32,
    /// Don't keep the names of internet-facing load balancers in /etc/hosts; on this machine they
    /// then open by their addresses only
    #[arg(long)]
    pub no_hosts_file: bool,
    #[command(flatten)]
    pub outbound: Outbound,
    #[command(flatten)]
    pub retention: Retention,
    /// How to write what happens to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Options of `neargate up` for several machines.
#[derive(Args, Debug, Clone, Default)]
pub struct Fleet {
    /// Where agents of other machines are listened for, with TLS; without it there are none
    #[arg(long, value_name = "ADDRESS")]
    pub listen_agents: Option<SocketAddr>,
    /// This machine's address for other instances, when it is not that of --listen-agents
    #[arg(long, value_name = "ADDRESS")]
    pub instance_address: Option<Ipv4Addr>,
    /// The availability zone that this machine is in, as in us-east-1b; the region's first if none
    /// is named
    #[arg(long)]
    pub zone: Option<String>,
}

impl Fleet {
    /// How other instances reach this machine.
    pub fn underlay(&self) -> Option<Ipv4Addr> {
        let listening = self.listen_agents.map(|at| at.ip());
        self.instance_address.or(match listening {
            Some(IpAddr::V4(at)) if !at.is_unspecified() && !at.is_loopback() => Some(at),
            _ => None,
        })
    }
}

#[derive(Args, Debug, Clone)]
pub struct Agent {
    #[command(flatten)]
    pub folder: Folder,
    /// The control plane to join, as its `neargate token` says; not needed again once joined
    #[arg(long, value_name = "HOST:PORT")]
    pub join: Option<String>,
    /// What lets this machine in, once
    #[arg(long)]
    pub token: Option<Token>,
    /// This machine's address for other instances, when it is not the one it calls the control
    /// plane from
    #[arg(long, value_name = "ADDRESS")]
    pub instance_address: Option<Ipv4Addr>,
    /// The availability zone that this machine is in, as in us-east-1b; the region's first if none
    /// is named
    #[arg(long)]
    pub zone: Option<String>,
    /// How many times this machine's CPUs may be promised to tasks
    #[arg(long, value_name = "FACTOR", default_value_t = 8, value_parser = overcommit())]
    pub cpu_overcommit: u32,
    /// How many times this machine's memory may be promised to tasks
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = overcommit())]
    pub memory_overcommit: u32,
    #[command(flatten)]
    pub outbound: Outbound,
    #[command(flatten)]
    pub retention: Retention,
    /// How to write what happens to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Args, Debug, Clone)]
pub struct JoinToken {
    #[command(flatten)]
    pub folder: Folder,
    /// How long the token may be used
    #[arg(long, value_name = "MINUTES", default_value_t = 24 * 60,
          value_parser = clap::value_parser!(u32).range(1..=365 * 24 * 60))]
    pub valid_minutes: u32,
    /// How many machines may join with it
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub uses: u32,
}

#[derive(Args, Debug, Clone)]
pub struct Instances {
    #[command(flatten)]
    pub folder: Folder,
    #[command(subcommand)]
    pub action: Option<InstancesAction>,
}

#[derive(Subcommand, Debug, Clone)]
pub enum InstancesAction {
    /// Move services' tasks off an instance and let it take no more; its other tasks go on
    Drain { id: String },
    /// Let a draining instance take tasks again
    Activate { id: String },
    /// Give back what an instance held that never returns; if it does, it has to join anew
    Forget { id: String },
}

#[derive(Args, Debug, Clone)]
pub struct Demo {
    #[command(flatten)]
    pub folder: Folder,
    /// Where the API and the registry listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Leave everything up at the end, until Ctrl-C
    #[arg(long)]
    pub keep: bool,
}

#[derive(Args, Debug, Clone)]
pub struct Ps {
    #[command(flatten)]
    pub folder: Folder,
    /// Only tasks of this cluster
    #[arg(long)]
    pub cluster: Option<String>,
    /// Also tasks that have stopped within the last hour
    #[arg(long, short)]
    pub all: bool,
}

#[derive(Args, Debug, Clone)]
pub struct Events {
    #[command(flatten)]
    pub folder: Folder,
    /// Only events after this place in the stream
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    pub after: u64,
    /// Go on printing events as they happen
    #[arg(long, short)]
    pub follow: bool,
}

#[derive(Args, Debug, Clone)]
pub struct Logs {
    #[command(flatten)]
    pub folder: Folder,
    /// A task's id, the beginning of one, or its ARN
    pub task: String,
    /// Go on printing lines as they come, until the task has stopped
    #[arg(long, short)]
    pub follow: bool,
    /// Only lines of this container
    #[arg(long)]
    pub container: Option<String>,
}

#[derive(Args, Debug, Clone)]
pub struct Images {
    #[command(flatten)]
    pub folder: Folder,
    #[command(subcommand)]
    pub action: Option<ImagesAction>,
}

#[derive(Subcommand, Debug, Clone, Copy)]
pub enum ImagesAction {
    /// Remove every image that no task uses
    Prune,
}

#[derive(Subcommand, Debug, Clone)]
pub enum Registry {
    /// Free what no image needs any more: blobs, and uploads that nobody goes on with
    Gc(Gc),
}

#[derive(Args, Debug, Clone)]
pub struct Gc {
    #[command(flatten)]
    pub folder: Folder,
    /// How long content that nothing needs is spared; longer than the longest push
    #[arg(long, value_name = "SECONDS", default_value_t = 24 * 3600)]
    pub grace_seconds: u64,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

fn region(text: &str) -> Result<String, String> {
    let valid = !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if valid { Ok(text.to_owned()) } else { Err("a region looks like us-east-1".to_owned()) }
}

fn account_id(text: &str) -> Result<String, String> {
    let valid = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if valid { Ok(text.to_owned()) } else { Err("an account id is twelve digits".to_owned()) }
}

fn overcommit() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn nonsense_is_refused_with_what_would_be_right() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["neargate"], args].concat());
        assert!(parse(&["up"]).is_ok());
        for bad in [
            &["up", "--account-id", "12"][..],
            &["up", "--region", "US East"],
            &["up", "--cpu-overcommit", "0"],
            &["up", "--listen", "here"],
            &["logs"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
