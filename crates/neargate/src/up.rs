//! `neargate up`: starts a server, says when it is ready and where, and ends it when told to.

use crate::cli::{LogFormat, Up};
use crate::server;
use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

pub async fn run(up: &Up) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let server = server::start(up).await?;
    announce(up, &server.endpoint.url);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("told to end");
    let stopped = match up.stop_tasks {
        true => tokio::select! {
            stopped = server.stop_tasks() => stopped,
            // Asked a second time: whoever asks does not want to wait.
            _ = interrupt.recv() => Ok(()),
        },
        false => Ok(()),
    };
    server.end().await?;
    stopped
}

fn announce(up: &Up, url: &str) {
    if up.log_format == LogFormat::Json {
        tracing::info!(url, "ready");
        return;
    }
    println!("Neargate is ready at {url}");
    println!(
        "In another shell: eval \"$(neargate env --data-dir {})\"",
        up.folder.data_dir.display()
    );
}
