//! The demo's service: task definitions of two versions, two tasks of them, and the facts that the
//! demo waits for.

use super::site::Site;
use crate::client::{ApiError, Client, ECR, ECS, LOGS, list, text};
use crate::{tasks, web};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const CLUSTER: &str = "demo";
pub const REPOSITORY: &str = "neargate-web";
const FAMILY: &str = "neargate-web";
const SERVICE: &str = "web";
const CONTAINER: &str = "web";
const LOG_GROUP: &str = "/neargate/demo";
const TASKS: usize = 2;
/// How long any step of the service may take, in seconds.
const STEP_SECONDS: u64 = 90;
/// How often is asked how far it is, in milliseconds.
const POLL_MS: u64 = 50;

fn is(failure: &anyhow::Error, code: &str) -> bool {
    failure.downcast_ref::<ApiError>().is_some_and(|error| error.code.ends_with(code))
}

pub async fn create_repository(client: &Client) -> Result<String> {
    let input = json!({"repositoryName": REPOSITORY});
    let answer = match client.call(ECR, "CreateRepository", &input).await {
        Err(failure) if is(&failure, "RepositoryAlreadyExistsException") => {
            let input = json!({"repositoryNames": [REPOSITORY]});
            let answer = client.call(ECR, "DescribeRepositories", &input).await?;
            return Ok(text(&answer, "/repositories/0/repositoryUri")?.to_owned());
        }
        other => other?,
    };
    Ok(text(&answer, "/repository/repositoryUri")?.to_owned())
}

pub async fn create_cluster(client: &Client) -> Result<()> {
    client.call(ECS, "CreateCluster", &json!({"clusterName": CLUSTER})).await?;
    match client.call(LOGS, "CreateLogGroup", &json!({"logGroupName": LOG_GROUP})).await {
        Err(failure) if is(&failure, "ResourceAlreadyExistsException") => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Registers a version; its task definition's ARN.
pub async fn register(client: &Client, image: &str, version: &str) -> Result<String> {
    let input = json!({
        "family": FAMILY,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "executionRoleArn":
            format!("arn:aws:iam::{}:role/demo", client.endpoint().account_id),
        "containerDefinitions": [{
            "name": CONTAINER,
            "image": image,
            "environment": [{"name": web::VERSION, "value": version}],
            "portMappings": [{"containerPort": web::PORT}],
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": LOG_GROUP,
                    "awslogs-region": client.endpoint().region,
                    "awslogs-stream-prefix": "demo",
                },
            },
        }],
    });
    let answer = client.call(ECS, "RegisterTaskDefinition", &input).await?;
    Ok(text(&answer, "/taskDefinition/taskDefinitionArn")?.to_owned())
}

pub async fn create(client: &Client, definition: &str, site: &Site) -> Result<()> {
    let input = json!({
        "cluster": CLUSTER,
        "serviceName": SERVICE,
        "taskDefinition": definition,
        "desiredCount": TASKS,
        "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": {
            "subnets": site.subnets,
            "securityGroups": [site.security_group],
        }},
        "loadBalancers": [{
            "targetGroupArn": site.target_group,
            "containerName": CONTAINER,
            "containerPort": web::PORT,
        }],
        "deploymentConfiguration": {
            "deploymentCircuitBreaker": {"enable": true, "rollback": true},
        },
    });
    client.call(ECS, "CreateService", &input).await?;
    until_rolled_out(client, definition, site).await
}

/// Replaces the running tasks by ones of another version, and waits until none of the old is left.
pub async fn roll_out(client: &Client, definition: &str, site: &Site) -> Result<()> {
    let input = json!({"cluster": CLUSTER, "service": SERVICE, "taskDefinition": definition});
    client.call(ECS, "UpdateService", &input).await?;
    until_rolled_out(client, definition, site).await
}

async fn until_rolled_out(client: &Client, definition: &str, site: &Site) -> Result<()> {
    until("the rollout completes", async || {
        let told = service(client).await?;
        let [only] = list(&told, "deployments") else { return Ok(false) };
        let done = text(only, "/rolloutState")? == "COMPLETED"
            && text(only, "/taskDefinition")? == definition
            && running(client).await?.len() == TASKS;
        Ok(done && site.targets(client).await? == (TASKS, TASKS))
    })
    .await
}

async fn service(client: &Client) -> Result<Value> {
    let input = json!({"cluster": CLUSTER, "services": [SERVICE]});
    let answer = client.call(ECS, "DescribeServices", &input).await?;
    list(&answer, "services").first().cloned().context("the service is gone")
}

/// ARNs of the service's tasks that are to run.
async fn running(client: &Client) -> Result<Vec<String>> {
    let input = json!({"cluster": CLUSTER, "family": FAMILY});
    let answer = client.call(ECS, "ListTasks", &input).await?;
    let arns = list(&answer, "taskArns").iter().filter_map(Value::as_str);
    Ok(arns.map(str::to_owned).collect())
}

/// Stops one of the tasks, and waits until another has its place; their short ids.
pub async fn replace_one(client: &Client, site: &Site) -> Result<(String, String)> {
    let before = running(client).await?;
    let victim = before.first().context("no task runs")?;
    let input =
        json!({"cluster": CLUSTER, "task": victim, "reason": "the demo shows what happens"});
    client.call(ECS, "StopTask", &input).await?;
    let mut after = Vec::new();
    until("another task has its place", async || {
        after = running(client).await?;
        let replaced = after.len() == TASKS && !after.contains(victim);
        Ok(replaced && site.targets(client).await? == (TASKS, TASKS))
    })
    .await?;
    let new = after.iter().find(|arn| !before.contains(arn)).context("no new task runs")?;
    Ok((short(victim), short(new)))
}

/// Ends the service with all its tasks. One that isn't there is no failure.
pub async fn remove(client: &Client) -> Result<()> {
    let input = json!({"cluster": CLUSTER, "service": SERVICE, "force": true});
    match client.call(ECS, "DeleteService", &input).await {
        Err(failure) if is_gone(&failure) => return Ok(()),
        other => drop(other?),
    }
    until("its tasks have stopped", async || {
        let told = service(client).await?;
        Ok(text(&told, "/status")? == "INACTIVE" && stopped(client).await?)
    })
    .await
}

fn is_gone(failure: &anyhow::Error) -> bool {
    ["ServiceNotFoundException", "ServiceNotActiveException", "ClusterNotFoundException"]
        .iter()
        .any(|code| is(failure, code))
}

/// Whether every task that is known has its end behind it.
async fn stopped(client: &Client) -> Result<bool> {
    let tasks = tasks::of_cluster(client, CLUSTER, true).await?;
    Ok(tasks.iter().all(|task| task["lastStatus"] == "STOPPED"))
}

/// As much of a task's id as the application tells.
fn short(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or_default().chars().take(web::SHORT_ID).collect()
}

/// Asks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(STEP_SECONDS);
    while !is_so().await? {
        if Instant::now() > deadline {
            bail!("waited {STEP_SECONDS} s until {what}: `neargate ps --all` may tell why");
        }
        tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
    }
    Ok(())
}
