//! `neargate events`: what has happened to tasks, services and deployments, as events that
//! EventBridge would be sent, a line of JSON each.

use crate::cli::Events;
use crate::client::{Client, list};
use anyhow::Result;
use serde_json::Value;
use std::io::Write;
use std::time::Duration;

/// How often a followed stream is asked for more, in milliseconds.
const POLL_MS: u64 = 500;

pub async fn run(events: &Events) -> Result<()> {
    let client = Client::of(&events.folder.data_dir)?;
    let mut after = events.after;
    loop {
        let answer = client.operator(&format!("/neargate/v1/events?after={after}")).await?;
        let page = list(&answer, "events");
        let mut out = std::io::stdout().lock();
        for shown in page {
            let line = shown.get("event").unwrap_or(&Value::Null);
            writeln!(out, "{line}")?;
        }
        out.flush()?;
        drop(out);
        after = answer.get("last").and_then(Value::as_u64).unwrap_or(after);
        if !page.is_empty() {
            continue;
        }
        if !events.follow {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
    }
}
