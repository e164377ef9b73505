//! Tasks through Neargate's public API: definitions, launches that are watched until RUNNING, and
//! their end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::client::{Client, ECS, text};
use crate::image::WAITS;
use crate::neargate::{Neargate, ms};

pub const CLUSTER: &str = "bench";
/// How long a task may take to run or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a task that is stopping: nobody measures that time.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// A client that runs tasks in one subnet.
pub struct Tasks {
    pub client: Client,
    subnet: String,
}

/// One launch, with times in milliseconds since the call.
#[derive(Debug, Default)]
pub struct Launch {
    pub arn: String,
    pub answered_ms: f64,
    pub running_ms: f64,
    /// When each status was first seen.
    pub seen_ms: BTreeMap<String, f64>,
    pub polls: u64,
    /// The first answer that said RUNNING.
    pub task: Value,
}

pub async fn create_cluster(client: &mut Client) -> Result<()> {
    client.call(ECS, "CreateCluster", &json!({"clusterName": CLUSTER})).await.map(|_| ())
}

impl Tasks {
    pub async fn of(neargate: &Neargate) -> Result<Tasks> {
        let mut client = neargate.client().await?;
        let subnet = client.first_subnet().await?;
        Ok(Tasks { client, subnet })
    }

    /// Registers a definition of 256/512 with one container; gives its ARN.
    pub async fn register(&mut self, family: &str, image: &str) -> Result<String> {
        let input = definition(family, image);
        let answer = self.client.call(ECS, "RegisterTaskDefinition", &input).await?;
        Ok(text(&answer, "/taskDefinition/taskDefinitionArn")?.to_owned())
    }

    /// The ARNs of `count` new tasks.
    pub async fn run(&mut self, definition: &str, count: u32) -> Result<Vec<String>> {
        let input = run_task(definition, &self.subnet, count);
        let answer = self.client.call(ECS, "RunTask", &input).await?;
        if answer["failures"].as_array().is_some_and(|failures| !failures.is_empty()) {
            bail!("tasks were not taken: {}", answer["failures"]);
        }
        let tasks = answer["tasks"].as_array().context("RunTask answers with tasks")?;
        tasks.iter().map(|task| Ok(text(task, "/taskArn")?.to_owned())).collect()
    }

    pub async fn describe(&mut self, arns: &[String]) -> Result<Vec<Value>> {
        let input = json!({"cluster": CLUSTER, "tasks": arns});
        let mut answer = self.client.call(ECS, "DescribeTasks", &input).await?;
        let Some(Value::Array(tasks)) = answer.get_mut("tasks").map(Value::take) else {
            bail!("DescribeTasks answers with tasks: {answer}");
        };
        Ok(tasks)
    }

    /// Launches one task and asks for it, back to back, until it is RUNNING.
    pub async fn launch(&mut self, definition: &str, pause: Duration) -> Result<Launch> {
        let began = Instant::now();
        let arns = self.run(definition, 1).await?;
        let mut launch = Launch { answered_ms: ms(began.elapsed()), ..Launch::default() };
        while began.elapsed() < PATIENCE {
            let task = self.describe(&arns).await?.pop().context("the task is known")?;
            let now_ms = ms(began.elapsed());
            launch.polls += 1;
            let status = text(&task, "/lastStatus")?.to_owned();
            launch.seen_ms.entry(status.clone()).or_insert(now_ms);
            match status.as_str() {
                "RUNNING" => {
                    launch.running_ms = now_ms;
                    launch.arn = text(&task, "/taskArn")?.to_owned();
                    launch.task = task;
                    return Ok(launch);
                }
                "STOPPED" => bail!("the task stopped instead of running: {task}"),
                _ if !pause.is_zero() => tokio::time::sleep(pause).await,
                _ => {}
            }
        }
        bail!("not RUNNING after {PATIENCE:?}: {:?}", self.describe(&arns).await?)
    }

    /// Launches `count` tasks with one call; the milliseconds from `began` until each ran.
    pub async fn launch_many(
        &mut self,
        definition: &str,
        count: u32,
        began: Instant,
    ) -> Result<(Vec<String>, Vec<f64>)> {
        let arns = self.run(definition, count).await?;
        let mut left = arns.clone();
        let mut times_ms = Vec::new();
        while !left.is_empty() {
            if began.elapsed() > PATIENCE {
                bail!("{} tasks are not RUNNING after {PATIENCE:?}", left.len());
            }
            let tasks = self.describe(&left).await?;
            let now_ms = ms(began.elapsed());
            left.clear();
            for task in tasks {
                match text(&task, "/lastStatus")? {
                    "RUNNING" => times_ms.push(now_ms),
                    "STOPPED" => bail!("a task stopped instead of running: {task}"),
                    _ => left.push(text(&task, "/taskArn")?.to_owned()),
                }
            }
        }
        Ok((arns, times_ms))
    }

    /// Stops tasks and waits until they have, so that the next launch finds a quiet machine. Gives
    /// how often it had to look.
    pub async fn stop(&mut self, arns: &[String]) -> Result<u64> {
        for arn in arns {
            let input = json!({"cluster": CLUSTER, "task": arn, "reason": "measured"});
            self.client.call(ECS, "StopTask", &input).await?;
        }
        let began = Instant::now();
        let mut polls = 0;
        loop {
            let tasks = self.describe(arns).await?;
            polls += 1;
            if tasks.iter().all(|task| task["lastStatus"] == "STOPPED") {
                return Ok(polls);
            }
            if began.elapsed() > PATIENCE {
                bail!("not STOPPED after {PATIENCE:?}: {tasks:?}");
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }
}

pub fn definition(family: &str, image: &str) -> Value {
    json!({
        "family": family,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [{
            "name": "main",
            "image": image,
            "command": WAITS,
            // Not needed, but moto_server 5.2.1 can't run a task without it.
            "memory": 512,
            "stopTimeout": 2,
        }],
    })
}

pub fn run_task(definition: &str, subnet: &str, count: u32) -> Value {
    json!({
        "cluster": CLUSTER,
        "taskDefinition": definition,
        "count": count,
        "launchType": "FARGATE",
        // Without a list of groups, moto_server 5.2.1 fails.
        "networkConfiguration": {
            "awsvpcConfiguration": {"subnets": [subnet], "securityGroups": []},
        },
    })
}
