//! The binary: it reads the command line and the environment, opens sockets and files, and joins
//! the parts. Every other crate is given what it needs.

mod administrator;
mod agent_command;
mod balancing;
mod cli;
mod client;
mod data_dir;
mod demo;
mod env;
mod events;
mod hosts_file;
mod http;
mod image;
mod join;
mod local_agent;
mod local_images;
mod logs;
mod machine;
mod names;
mod object_store;
mod outbound;
mod registry_gc;
mod s3;
mod server;
mod show;
mod tasks;
mod up;
mod upstream;
mod web;
mod world;

use anyhow::{Context, Result};
use clap::Parser;
use cli::{Cli, Command, LogFormat};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // A process of the runtime's own: it must be alone in its process, so nothing may come before.
    local_agent::become_zygote_if_asked();
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("neargate: {}", chain(&failure));
            ExitCode::FAILURE
        }
    }
}

/// The failure and its causes on one line.
fn chain(failure: &anyhow::Error) -> String {
    failure.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn run(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Env(folder) => return env::run(folder),
        Command::Balancer(arguments) => {
            log_to_stderr(LogFormat::Text, "info");
            return balancing::run(arguments);
        }
        Command::Up(up) => log_to_stderr(up.log_format, "info"),
        Command::Agent(agent) => log_to_stderr(agent.log_format, "info"),
        Command::Demo(_) => log_to_stderr(LogFormat::Text, "warn"),
        _ => log_to_stderr(LogFormat::Text, "error"),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match &cli.command {
            Command::Up(up) => up::run(up).await,
            Command::Demo(demo) => demo::run(demo).await,
            Command::Ps(ps) => show::ps(ps).await,
            Command::Events(events) => events::run(events).await,
            Command::Logs(logs) => logs::run(logs).await,
            Command::Instances(instances) => show::instances(instances).await,
            Command::Agent(agent) => agent_command::run(agent).await,
            Command::Token(token) => join::offer(token).await,
            Command::Images(images) => show::images(images).await,
            Command::Image(image) => image::run(image).await,
            Command::Registry(cli::Registry::Gc(gc)) => registry_gc::run(gc).await,
            Command::Web => web::run().await,
            Command::Env(_) | Command::Balancer(_) => Ok(()),
        }
    })
}

/// NEARGATE_LOG says how much, as in `debug` or `manager=trace`.
fn log_to_stderr(format: LogFormat, default: &str) {
    let filter =
        EnvFilter::try_from_env("NEARGATE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}
