//! `neargate logs`: a task's lines from CloudWatch Logs as we serve it, through the public API.

use crate::cli;
use crate::client::{ApiError, Client, ECS, LOGS, list, text};
use crate::tasks;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

/// How often a followed stream is asked for more, in milliseconds.
const POLL_MS: u64 = 200;

/// Where a container's lines are, and how far they have been printed.
pub struct Source {
    container: String,
    group: String,
    stream: String,
    token: Option<String>,
}

pub async fn run(logs: &cli::Logs) -> Result<()> {
    let client = Client::of(&logs.folder.data_dir)?;
    let task = tasks::find(&client, &logs.task).await?;
    let mut sources = sources(&client, &task).await?;
    if let Some(container) = &logs.container {
        sources.retain(|source| source.container == *container);
    }
    if sources.is_empty() {
        bail!("no container of the task writes to awslogs: see logConfiguration in its definition");
    }
    follow(&client, &task, &mut sources, logs.follow, &mut std::io::stdout()).await
}

/// What the task's definition says about logs.
pub async fn sources(client: &Client, task: &Value) -> Result<Vec<Source>> {
    let input = json!({"taskDefinition": text(task, "/taskDefinitionArn")?});
    let answer = client.call(ECS, "DescribeTaskDefinition", &input).await?;
    let definition = answer.get("taskDefinition").context("no task definition")?;
    let mut sources = Vec::new();
    for container in list(definition, "containerDefinitions") {
        let option =
            |name: &str| container.pointer("/logConfiguration/options")?.get(name)?.as_str();
        let (Some(group), Some(prefix)) =
            (option("awslogs-group"), option("awslogs-stream-prefix"))
        else {
            continue;
        };
        let name = text(container, "/name")?;
        sources.push(Source {
            container: name.to_owned(),
            group: group.to_owned(),
            stream: format!("{prefix}/{name}/{}", tasks::id(task)),
            token: None,
        });
    }
    Ok(sources)
}

/// Prints what there is; with `until_stopped`, goes on until the task has stopped and its last line
/// is out.
pub async fn follow(
    client: &Client,
    task: &Value,
    sources: &mut [Source],
    until_stopped: bool,
    out: &mut impl Write,
) -> Result<()> {
    let several = sources.len() > 1;
    loop {
        // Asked before the lines are: what was written before the end is then seen.
        let ended = !until_stopped || has_stopped(client, task).await?;
        for source in sources.iter_mut() {
            while let Some(lines) = source.next(client).await? {
                for line in lines {
                    match several {
                        true => writeln!(out, "{} | {line}", source.container)?,
                        false => writeln!(out, "{line}")?,
                    }
                }
                out.flush()?;
            }
        }
        if ended {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
    }
}

async fn has_stopped(client: &Client, task: &Value) -> Result<bool> {
    let input = json!({"cluster": text(task, "/clusterArn")?, "tasks": [text(task, "/taskArn")?]});
    let answer = client.call(ECS, "DescribeTasks", &input).await?;
    let status = answer.pointer("/tasks/0/lastStatus").and_then(Value::as_str);
    Ok(status.is_none_or(|status| status == "STOPPED"))
}

impl Source {
    /// The next page of lines; None when there are no more for now.
    async fn next(&mut self, client: &Client) -> Result<Option<Vec<String>>> {
        let mut input = json!({
            "logGroupName": self.group, "logStreamName": self.stream, "startFromHead": true,
        });
        if let Some(token) = &self.token {
            input["nextToken"] = json!(token);
        }
        let answer = match client.call(LOGS, "GetLogEvents", &input).await {
            Ok(answer) => answer,
            Err(failure) => {
                let code = failure.downcast_ref::<ApiError>().map(|error| error.code.as_str());
                // The stream is made when the container starts.
                if code.is_some_and(|code| code.ends_with("ResourceNotFoundException")) {
                    return Ok(None);
                }
                return Err(failure);
            }
        };
        let events = list(&answer, "events").iter();
        let lines: Vec<String> =
            events.filter_map(|event| event.get("message")?.as_str().map(str::to_owned)).collect();
        self.token = answer.get("nextForwardToken").and_then(Value::as_str).map(str::to_owned);
        Ok(if lines.is_empty() { None } else { Some(lines) })
    }
}
