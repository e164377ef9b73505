//! Finding tasks through the public API, for the commands that look at them.

use crate::client::{Client, ECS, list};
use anyhow::{Result, bail};
use serde_json::{Value, json};

/// Ids in one DescribeTasks call.
const DESCRIBE_MAX: usize = 100;

/// All clusters, by ARN.
pub async fn clusters(client: &Client) -> Result<Vec<String>> {
    all_pages(client, "ListClusters", json!({}), "clusterArns").await
}

/// Tasks of a cluster; stopped ones only when asked for.
pub async fn of_cluster(client: &Client, cluster: &str, stopped: bool) -> Result<Vec<Value>> {
    let mut arns = Vec::new();
    let statuses: &[&str] = if stopped { &["RUNNING", "STOPPED"] } else { &["RUNNING"] };
    for status in statuses {
        let input = json!({"cluster": cluster, "desiredStatus": status});
        arns.extend(all_pages(client, "ListTasks", input, "taskArns").await?);
    }
    let mut tasks = Vec::new();
    for group in arns.chunks(DESCRIBE_MAX) {
        let input = json!({"cluster": cluster, "tasks": group});
        let answer = client.call(ECS, "DescribeTasks", &input).await?;
        tasks.extend_from_slice(list(&answer, "tasks"));
    }
    Ok(tasks)
}

/// The one task that an id, the beginning of one or an ARN means.
pub async fn find(client: &Client, meant: &str) -> Result<Value> {
    let id = meant.rsplit('/').next().unwrap_or(meant);
    let mut found = Vec::new();
    for cluster in clusters(client).await? {
        let tasks = of_cluster(client, &cluster, true).await?;
        found.extend(tasks.into_iter().filter(|task| self::id(task).starts_with(id)));
    }
    match found.len() {
        0 => bail!("there is no task {meant}: `neargate ps --all` lists those of the last hour"),
        1 => Ok(found.remove(0)),
        several => bail!("{several} tasks begin with {meant}: give more of the id"),
    }
}

pub fn id(task: &Value) -> &str {
    let arn = task.get("taskArn").and_then(Value::as_str).unwrap_or_default();
    arn.rsplit('/').next().unwrap_or_default()
}

async fn all_pages(
    client: &Client,
    operation: &str,
    mut input: Value,
    name: &str,
) -> Result<Vec<String>> {
    let mut all = Vec::new();
    loop {
        let answer = client.call(ECS, operation, &input).await?;
        let page = list(&answer, name).iter().filter_map(Value::as_str);
        all.extend(page.map(str::to_owned));
        match answer.get("nextToken").and_then(Value::as_str) {
            Some(token) => input["nextToken"] = json!(token),
            None => return Ok(all),
        }
    }
}
