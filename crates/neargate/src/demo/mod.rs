//! `neargate demo`: one walk through all of Neargate, from an image to an exit code, through the
//! public API alone. Each step says what it does as a user would do it, and how long it took.

mod image;

use crate::cli::{self, Folder, LogFormat};
use crate::client::{ApiError, Client, ECR, ECS, LOGS, list, text};
use crate::server::Server;
use crate::{logs, server, tasks};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const CLUSTER: &str = "demo";
const REPOSITORY: &str = "neargate-sample";
const FAMILY: &str = "neargate-sample";
const LOG_GROUP: &str = "/neargate/demo";
/// How long the task may take from RunTask to STOPPED, in seconds.
const TASK_TIMEOUT_SECONDS: u64 = 60;
/// How often its status is asked for, in milliseconds.
const POLL_MS: u64 = 20;

pub async fn run(demo: &cli::Demo) -> Result<()> {
    let up = cli::Up {
        folder: demo.folder.clone(),
        listen: demo.listen,
        region: "us-east-1".to_owned(),
        account_id: "000000000000".to_owned(),
        stop_tasks: true,
        cpu_overcommit: 8,
        memory_overcommit: 1,
        fleet: cli::Fleet::default(),
        no_agent: false,
        no_hosts_file: false,
        object_store: None,
        metric_minute_seconds: store::metrics::MINUTE_SECONDS,
        outbound: crate::outbound::Outbound::default(),
        retention: crate::local_images::Retention::default(),
        log_format: LogFormat::Text,
    };
    let steps = Steps::new();
    let started = steps.during("start Neargate on this machine", server::start(&up)).await?;
    let walked = walk(&started, &steps).await;
    let ended = steps.during("end Neargate", end(started)).await;
    walked?;
    ended?;
    what_next(&demo.folder);
    Ok(())
}

async fn end(server: Server) -> Result<()> {
    let stopped = server.stop_tasks().await;
    server.end().await?;
    stopped
}

async fn walk(server: &Server, steps: &Steps) -> Result<()> {
    let client = Client::new(&server.endpoint, &server.credentials);
    let sample = steps.during("make an image of Neargate's own binary", image::make()).await?;
    let repository = steps.during("create a repository", create_repository(&client)).await?;
    let reference = format!("{repository}:latest");
    let push = image::push(&client, &sample, REPOSITORY, "latest");
    steps.during(&format!("push {reference}"), push).await?;
    steps.during("create a cluster", create_cluster(&client)).await?;
    let definition =
        steps.during("register a task definition", register(&client, &reference)).await?;
    let began = Instant::now();
    let task = steps.during("run a task", run_task(&client, &definition)).await?;
    steps.say(&format!("  task {}", tasks::id(&task)));
    steps.say("  its log:");
    let mut sources = logs::sources(&client, &task).await?;
    let mut out = Indented(std::io::stdout());
    let follow = logs::follow(&client, &task, &mut sources, true, &mut out);
    tokio::time::timeout(Duration::from_secs(TASK_TIMEOUT_SECONDS), follow)
        .await
        .with_context(|| format!("the task has not stopped in {TASK_TIMEOUT_SECONDS} s"))??;
    let stopped = wait_stopped(&client, &task).await?;
    show_end(steps, &stopped, began.elapsed())
}

async fn create_repository(client: &Client) -> Result<String> {
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

async fn create_cluster(client: &Client) -> Result<()> {
    client.call(ECS, "CreateCluster", &json!({"clusterName": CLUSTER})).await?;
    match client.call(LOGS, "CreateLogGroup", &json!({"logGroupName": LOG_GROUP})).await {
        Err(failure) if is(&failure, "ResourceAlreadyExistsException") => Ok(()),
        other => other.map(|_| ()),
    }
}

fn is(failure: &anyhow::Error, code: &str) -> bool {
    failure.downcast_ref::<ApiError>().is_some_and(|error| error.code.ends_with(code))
}

async fn register(client: &Client, image: &str) -> Result<String> {
    let input = json!({
        "family": FAMILY,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "executionRoleArn":
            format!("arn:aws:iam::{}:role/demo", client.endpoint().account_id),
        "containerDefinitions": [{
            "name": "sample",
            "image": image,
            "command": ["sample"],
            "environment": [{"name": "GREETING", "value": "Hello from a task of Neargate"}],
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

async fn run_task(client: &Client, definition: &str) -> Result<Value> {
    let input = json!({
        "cluster": CLUSTER,
        "taskDefinition": definition,
        "launchType": "FARGATE",
        "networkConfiguration": {
            "awsvpcConfiguration": {"subnets": [first_subnet(client).await?]},
        },
    });
    let answer = client.call(ECS, "RunTask", &input).await?;
    if let Some(failure) = list(&answer, "failures").first() {
        bail!("the task was not taken: {failure}");
    }
    list(&answer, "tasks").first().cloned().context("RunTask answered without a task")
}

async fn first_subnet(client: &Client) -> Result<String> {
    let answer = client.query("ec2", "Action=DescribeSubnets&Version=2016-11-15").await?;
    let (_, rest) = answer.split_once("<subnetId>").context("there is no subnet")?;
    let (id, _) = rest.split_once('<').context("DescribeSubnets answered half a subnet")?;
    Ok(id.to_owned())
}

async fn wait_stopped(client: &Client, task: &Value) -> Result<Value> {
    let input = json!({"cluster": CLUSTER, "tasks": [text(task, "/taskArn")?]});
    let deadline = Instant::now() + Duration::from_secs(TASK_TIMEOUT_SECONDS);
    while Instant::now() < deadline {
        let answer = client.call(ECS, "DescribeTasks", &input).await?;
        let task = list(&answer, "tasks").first().context("the task is gone")?;
        if text(task, "/lastStatus")? == "STOPPED" {
            return Ok(task.clone());
        }
        tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
    }
    bail!("the task has not stopped in {TASK_TIMEOUT_SECONDS} s")
}

fn show_end(steps: &Steps, task: &Value, took: Duration) -> Result<()> {
    let code = task.pointer("/containers/0/exitCode").and_then(Value::as_i64);
    let reason = task.get("stoppedReason").and_then(Value::as_str).unwrap_or("no reason given");
    let Some(code) = code else { bail!("the container did not run: {reason}") };
    let ms = took.as_millis();
    steps.say(&format!("  it stopped with exit code {code} after {ms} ms: {reason}"));
    if code != 0 {
        bail!("the sample should have ended with exit code 0");
    }
    Ok(())
}

fn what_next(folder: &Folder) {
    let dir = folder.data_dir.display();
    let binary = std::env::current_exe()
        .map_or_else(|_| "neargate".to_owned(), |path| path.display().to_string());
    println!(
        "\nThat was all of it: an image, a registry, a signed API, a container with an address and \
         limits of its own.\nNext:\n\n  {binary} up --data-dir {dir}\n\nand in another shell\n\n  \
         eval \"$({binary} env --data-dir {dir})\"\n  aws ecs list-clusters\n  {binary} ps --all \
         --data-dir {dir}"
    );
}

/// Steps told as they happen: a line that is completed when the step is.
struct Steps {
    rewrites: bool,
}

impl Steps {
    fn new() -> Self {
        Self { rewrites: std::io::stdout().is_terminal() }
    }

    async fn during<T>(&self, what: &str, doing: impl Future<Output = Result<T>>) -> Result<T> {
        if self.rewrites {
            print!("… {what}");
            std::io::stdout().flush()?;
        }
        let began = Instant::now();
        let done = doing.await;
        let ms = began.elapsed().as_millis();
        let start = if self.rewrites { "\r" } else { "" };
        match &done {
            Ok(_) => println!("{start}✓ {what} ({ms} ms)"),
            Err(_) => println!("{start}✗ {what} ({ms} ms)"),
        }
        done
    }

    fn say(&self, line: &str) {
        println!("{line}");
    }
}

/// Log lines stand apart from our own.
struct Indented<W>(W);

impl<W: Write> Write for Indented<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if line != b"\n" {
                self.0.write_all(b"    ")?;
            }
            self.0.write_all(line)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
