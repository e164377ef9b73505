//! Tasks: what RunTask makes and refuses, how tasks are listed, described and stopped.

use crate::endpoint::{Endpoint, GROUP, SUBNET, SUBNET_OTHER_ZONE, definition, run, with};
use model::facts::{ContainersFact, InterfaceFact, Placement};
use model::task::{Task, TaskInterface};
use serde_json::{Value, json};

/// An endpoint where `run("web")` is taken.
async fn ready() -> Endpoint {
    let endpoint = Endpoint::with_cluster().await;
    endpoint.ok("RegisterTaskDefinition", definition("web")).await;
    endpoint
}

fn network(subnets: &Value, groups: &Value) -> Value {
    let vpc = json!({"subnets": subnets, "securityGroups": groups});
    json!({"networkConfiguration": {"awsvpcConfiguration": vpc}})
}

async fn change(endpoint: &Endpoint, task: &Value, change: impl FnOnce(&mut Task)) {
    let arn = task["taskArn"].as_str().expect("an ARN");
    let key = arn.split_once("task/").expect("a task's").1;
    let mut txn = endpoint.store.begin();
    let mut task = (*txn.get::<Task>(key).expect("there")).clone();
    change(&mut task);
    txn.put(task);
    txn.commit().await.expect("committed");
}

#[tokio::test]
async fn a_task_is_provisioning_at_once() {
    let endpoint = ready().await;
    let out =
        endpoint.ok("RunTask", with(run("web"), json!({"count": 2, "startedBy": "me"}))).await;
    assert_eq!(out["failures"], json!([]));
    let tasks = out["tasks"].as_array().expect("a list");
    assert_eq!(tasks.len(), 2);
    assert_ne!(tasks[0]["taskArn"], tasks[1]["taskArn"]);
    let task = &tasks[0];
    for (member, value) in [
        ("lastStatus", json!("PROVISIONING")),
        ("desiredStatus", json!("RUNNING")),
        ("launchType", json!("FARGATE")),
        ("cpu", json!("256")),
        ("memory", json!("512")),
        ("group", json!("family:web")),
        ("startedBy", json!("me")),
        ("platformVersion", json!("1.4.0")),
        ("platformFamily", json!("Linux")),
        ("version", json!(1)),
        ("enableExecuteCommand", json!(false)),
        ("healthStatus", json!("UNKNOWN")),
        ("ephemeralStorage", json!({"sizeInGiB": 20})),
        ("clusterArn", json!("arn:aws:ecs:us-east-1:000000000000:cluster/default")),
        ("taskDefinitionArn", json!("arn:aws:ecs:us-east-1:000000000000:task-definition/web:1")),
        ("attributes", json!([{"name": "ecs.cpu-architecture", "value": "x86_64"}])),
        (
            "overrides",
            json!({"containerOverrides": [{"name": "app"}], "inferenceAcceleratorOverrides": []}),
        ),
    ] {
        assert_eq!(task[member], value, "{member}");
    }
    let attachment = &task["attachments"][0];
    assert_eq!(attachment["type"], "ElasticNetworkInterface");
    assert_eq!(attachment["status"], "PRECREATED");
    assert_eq!(attachment["details"], json!([{"name": "subnetId", "value": SUBNET}]));
    let container = &task["containers"][0];
    let id = task["taskArn"].as_str().expect("an ARN").rsplit('/').next().expect("an id");
    assert!(container["runtimeId"].as_str().is_some_and(|r| r.starts_with(&format!("{id}-"))));
    assert!(container["containerArn"].as_str().is_some_and(|arn| arn.contains(id)));
    assert_eq!(container["lastStatus"], "PENDING");
    assert_eq!(container["image"], "nginx:latest");
    assert_eq!(container["networkInterfaces"], json!([]));

    let input = json!({"tasks": [tasks[1]["taskArn"], id]});
    let described = endpoint.ok("DescribeTasks", input).await;
    assert_eq!(described["tasks"][0], tasks[1]);
    assert_eq!(described["tasks"][1], *task);
}

#[tokio::test]
async fn a_placed_task_shows_its_interface_and_a_stopped_one_its_end() {
    let endpoint = ready().await;
    let ran = endpoint.ok("RunTask", run("web")).await;
    let task = &ran["tasks"][0];
    let described = async || {
        let input = json!({"tasks": [task["taskArn"]]});
        endpoint.ok("DescribeTasks", input).await["tasks"][0].clone()
    };
    change(&endpoint, task, |task| {
        let instance = "0123456789abcdef0123456789abcdef".into();
        task.facts.placed = Some(Placement { instance, zone: "us-east-1a".into() });
        task.interface = Some(TaskInterface {
            attachment: "a".into(),
            interface: "eni-00000000000000001".into(),
            vpc: "vpc-00000000000000001".into(),
            subnet: SUBNET.into(),
            private_ip: [172, 31, 0, 4].into(),
            public_ip: None,
            mac: "02:00:00:00:00:01".to_owned(),
            private_dns_name: "ip-172-31-0-4.ec2.internal".to_owned(),
            resolving: None,
        });
    })
    .await;
    let placed = described().await;
    assert_eq!(placed["lastStatus"], "PENDING");
    assert_eq!(placed["availabilityZone"], "us-east-1a");
    assert_eq!(placed["attachments"][0]["status"], "ATTACHING");
    assert_eq!(placed["attachments"][0]["id"], task["attachments"][0]["id"]);
    let details = placed["attachments"][0]["details"].as_array().expect("a list");
    assert!(details.contains(&json!({"name": "privateIPv4Address", "value": "172.31.0.4"})));
    let interface = &placed["containers"][0]["networkInterfaces"][0];
    assert_eq!(interface["privateIpv4Address"], "172.31.0.4");
    assert_eq!(interface["attachmentId"], placed["attachments"][0]["id"]);

    change(&endpoint, task, |task| {
        task.facts.interface = InterfaceFact::Attached;
        task.facts.containers = ContainersFact::Running;
    })
    .await;
    let running = described().await;
    assert_eq!(running["lastStatus"], "RUNNING");
    assert_eq!(running["attachments"][0]["status"], "ATTACHED");

    let input = json!({"task": task["taskArn"], "reason": "enough"});
    let stopping = endpoint.ok("StopTask", input).await;
    assert_eq!(stopping["task"]["desiredStatus"], "STOPPED");
    assert_eq!(stopping["task"]["lastStatus"], "STOPPING");
    assert_eq!(stopping["task"]["stopCode"], "UserInitiated");
    assert_eq!(stopping["task"]["stoppedReason"], "enough");
    assert!(stopping["task"]["stoppingAt"].is_number());
    assert_eq!(stopping["task"]["version"], 2);
    // The first reason stays.
    let again = endpoint.ok("StopTask", json!({"task": task["taskArn"], "reason": "more"})).await;
    assert_eq!(again["task"]["stoppedReason"], "enough");

    change(&endpoint, task, |task| {
        task.facts.containers = ContainersFact::Stopped;
        task.facts.interface = InterfaceFact::Released;
        task.containers[0].exit_code = Some(143);
        task.settle(model::Timestamp(7));
    })
    .await;
    let stopped = described().await;
    assert_eq!(stopped["lastStatus"], "STOPPED");
    assert_eq!(stopped["attachments"][0]["status"], "DELETED");
    assert_eq!(stopped["containers"][0]["exitCode"], 143);
    assert_eq!(stopped["containers"][0]["lastStatus"], "STOPPED");
}

#[tokio::test]
async fn a_task_that_never_had_a_place_stops_at_once() {
    let endpoint = ready().await;
    let ran = endpoint.ok("RunTask", run("web")).await;
    let out = endpoint.ok("StopTask", json!({"task": ran["tasks"][0]["taskArn"]})).await;
    assert_eq!(out["task"]["lastStatus"], "STOPPED");
    assert_eq!(out["task"]["stoppedReason"], "Task stopped by user");
    assert_eq!(out["task"]["attachments"][0]["status"], "DELETED");
}

/// A row of refusals/run_task.json: what is changed of a call that is taken, and why it is refused
/// then.
#[derive(serde::Deserialize)]
struct Refusal {
    change: Value,
    code: String,
    text: String,
}

#[tokio::test]
async fn run_task_refuses_in_awss_words() {
    let rows: Vec<Refusal> =
        serde_json::from_str(include_str!("refusals/run_task.json")).expect("rows");
    let endpoint = ready().await;
    endpoint.ok("RegisterTaskDefinition", definition("gone")).await;
    endpoint.ok("DeregisterTaskDefinition", json!({"taskDefinition": "gone:1"})).await;
    for row in rows {
        let refused = endpoint.refused("RunTask", with(run("web"), row.change)).await;
        assert_eq!(refused, (row.code, row.text));
    }
    let list = endpoint.ok("ListTasks", json!({})).await;
    assert_eq!(list["taskArns"], json!([]), "a refused call makes nothing");
}

#[tokio::test]
async fn the_network_is_looked_up() {
    let endpoint = ready().await;
    let both = network(&json!([SUBNET, SUBNET_OTHER_ZONE]), &json!([GROUP]));
    let ran = endpoint.ok("RunTask", with(run("web"), both)).await;
    assert_eq!(ran["tasks"][0]["attachments"][0]["details"], json!([]));
    let ran = endpoint.ok("RunTask", run("web")).await;
    let arn = ran["tasks"][0]["taskArn"].as_str().expect("an ARN");
    let key = arn.split_once("task/").expect("a task's").1;
    let task = endpoint.store.snapshot().get::<Task>(key).expect("there");
    assert_eq!(task.network.security_groups, [GROUP.into()], "the VPC's default group");
}

#[tokio::test]
async fn definitions_that_would_run_wrongly_are_not_run() {
    let endpoint = ready().await;
    let container = json!({"name": "app", "image": "nginx"});
    let changed = |change: Value| {
        let containers = json!([with(container.clone(), change)]);
        with(definition("later"), json!({"containerDefinitions": containers}))
    };
    for (input, field) in [
        (changed(json!({"environmentFiles": [{"value": "a", "type": "s3"}]})), "environmentFiles"),
        (changed(json!({"logConfiguration": {"logDriver": "splunk"}})), "logDriver splunk"),
        (
            changed(json!({"systemControls": [{"namespace": "net.x", "value": "1"}]})),
            "systemControls",
        ),
        (with(definition("later"), json!({"pidMode": "task"})), "pidMode"),
    ] {
        endpoint.ok("RegisterTaskDefinition", input).await;
        let (code, text) = endpoint.refused("RunTask", run("later")).await;
        assert_eq!(code, "ClientException");
        assert!(text.contains(field), "{text}");
    }
    let small = json!([{"name": "a", "image": "b", "memory": 9}]);
    let ec2 = json!({"family": "ec2", "containerDefinitions": small});
    endpoint.ok("RegisterTaskDefinition", ec2).await;
    let (_, text) = endpoint.refused("RunTask", run("ec2")).await;
    assert!(text.starts_with("Task definition does not support launch_type FARGATE."), "{text}");
}

#[tokio::test]
async fn overrides_are_applied_and_echoed() {
    let endpoint = ready().await;
    let overrides = json!({
        "cpu": "1 vCPU",
        "memory": "2 GB",
        "taskRoleArn": "arn:aws:iam::000000000000:role/x",
        "ephemeralStorage": {"sizeInGiB": 30},
        "containerOverrides": [{
            "name": "app",
            "command": ["sh"],
            "environment": [{"name": "A", "value": "b"}],
            "memory": 1024,
        }],
    });
    let out = endpoint.ok("RunTask", with(run("web"), json!({"overrides": overrides}))).await;
    let task = &out["tasks"][0];
    assert_eq!((&task["cpu"], &task["memory"]), (&json!("1024"), &json!("2048")));
    assert_eq!(task["ephemeralStorage"], json!({"sizeInGiB": 30}));
    assert_eq!(task["containers"][0]["memory"], "1024");
    assert_eq!(task["overrides"], with(overrides, json!({"inferenceAcceleratorOverrides": []})));
}

#[tokio::test]
async fn a_client_token_makes_a_call_once() {
    let endpoint = ready().await;
    let input = with(run("web"), json!({"clientToken": "token-1", "count": 2}));
    let first = endpoint.ok("RunTask", input.clone()).await;
    let second = endpoint.ok("RunTask", input.clone()).await;
    assert_eq!(first, second);
    let (status, out) = endpoint.ecs("RunTask", &with(input.clone(), json!({"count": 1}))).await;
    assert_eq!((status, &out["__type"]), (400, &json!("ConflictException")));
    let arns: Vec<_> = first["tasks"].as_array().expect("a list").iter().collect();
    let arns: Vec<_> = arns.iter().map(|task| task["taskArn"].clone()).collect();
    assert_eq!(out["resourceIds"], Value::Array(arns));
    // Tokens belong to a cluster.
    endpoint.ok("CreateCluster", json!({"clusterName": "other"})).await;
    let other = endpoint.ok("RunTask", with(input.clone(), json!({"cluster": "other"}))).await;
    assert_ne!(first, other);
    // And are forgotten after a day.
    endpoint.pass_seconds(24 * 3600 + 1);
    let third = endpoint.ok("RunTask", with(input, json!({"count": 1}))).await;
    assert_ne!(first["tasks"][0]["taskArn"], third["tasks"][0]["taskArn"]);
}

#[tokio::test]
async fn capacity_providers_place_tasks_by_weight() {
    let endpoint = ready().await;
    let item = |name: &str, weight: u32, base: u32| {
        let mut item = json!({"capacityProvider": name, "weight": weight});
        item["base"] = json!(base);
        item
    };
    let strategy = json!([item("FARGATE", 1, 1), item("FARGATE_SPOT", 1, 0)]);
    let call = with(run("web"), json!({"launchType": null, "capacityProviderStrategy": strategy}));
    let (code, _) = endpoint.refused("RunTask", call.clone()).await;
    assert_eq!(code, "InvalidParameterException", "nothing is attached yet");
    let put = json!({
        "cluster": "default",
        "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
        "defaultCapacityProviderStrategy": [item("FARGATE_SPOT", 1, 0)],
    });
    endpoint.ok("PutClusterCapacityProviders", put).await;
    let out = endpoint.ok("RunTask", with(call, json!({"count": 3}))).await;
    let names = |out: &Value| -> Vec<String> {
        let tasks = out["tasks"].as_array().expect("a list").iter();
        tasks.map(|t| t["capacityProviderName"].as_str().unwrap_or("").to_owned()).collect()
    };
    assert_eq!(names(&out), ["FARGATE", "FARGATE", "FARGATE_SPOT"]);
    let out = endpoint.ok("RunTask", with(run("web"), json!({"launchType": null}))).await;
    assert_eq!(names(&out), ["FARGATE_SPOT"]);
    assert_eq!(out["tasks"][0]["launchType"], "FARGATE");
    let out = endpoint.ok("RunTask", run("web")).await;
    assert_eq!(out["tasks"][0].get("capacityProviderName"), None);
}

#[tokio::test]
async fn tasks_are_listed_by_what_is_desired_of_them() {
    let endpoint = ready().await;
    endpoint.ok("RegisterTaskDefinition", definition("api")).await;
    for (family, by) in [("web", "a"), ("web", "b"), ("api", "a")] {
        endpoint.ok("RunTask", with(run(family), json!({"startedBy": by}))).await;
    }
    let count = async |input: Value| {
        let out = endpoint.ok("ListTasks", input).await;
        out["taskArns"].as_array().expect("a list").len()
    };
    assert_eq!(count(json!({})).await, 3);
    assert_eq!(count(json!({"family": "web"})).await, 2);
    assert_eq!(count(json!({"startedBy": "a"})).await, 2);
    assert_eq!(count(json!({"startedBy": "a", "family": "api"})).await, 1);
    assert_eq!(count(json!({"launchType": "FARGATE"})).await, 3);
    assert_eq!(count(json!({"launchType": "EC2"})).await, 0);
    assert_eq!(count(json!({"desiredStatus": "PENDING"})).await, 0);
    let out = endpoint.ok("ListTasks", json!({"maxResults": 1})).await;
    let arn = out["taskArns"][0].clone();
    endpoint.ok("StopTask", json!({"task": arn})).await;
    assert_eq!(count(json!({})).await, 2);
    assert_eq!(count(json!({"desiredStatus": "STOPPED"})).await, 1);
    let (mut all, mut token) = (0, Value::Null);
    loop {
        let input = with(json!({"maxResults": 1}), json!({"nextToken": token}));
        let page = endpoint.ok("ListTasks", input).await;
        all += page["taskArns"].as_array().expect("a list").len();
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(all, 2);
    for (input, code) in [
        (json!({"cluster": "nowhere"}), "ClusterNotFoundException"),
        (json!({"serviceName": "none"}), "ServiceNotFoundException"),
        (json!({"desiredStatus": "DREAMING"}), "InvalidParameterException"),
        (json!({"maxResults": 101}), "InvalidParameterException"),
    ] {
        assert_eq!(endpoint.refused("ListTasks", input).await.0, code);
    }
}

#[tokio::test]
async fn unknown_tasks_are_failures_or_faults() {
    let endpoint = ready().await;
    let id = "0123456789abcdef0123456789abcdef";
    let out = endpoint.ok("DescribeTasks", json!({"tasks": [id]})).await;
    let arn = format!("arn:aws:ecs:us-east-1:000000000000:task/default/{id}");
    assert_eq!(out["failures"], json!([{"arn": arn, "reason": "MISSING"}]));
    let refused = endpoint.refused("StopTask", json!({"task": id})).await;
    assert_eq!(refused.1, "The referenced task was not found.");
    let other = "arn:aws:ecs:us-east-1:000000000000:task/other/0123456789abcdef0123456789abcdef";
    for (operation, input, text) in [
        ("DescribeTasks", json!({"tasks": []}), "Tasks cannot be empty."),
        ("DescribeTasks", json!({"tasks": ["x"]}), "taskId length should be one of [32,36]"),
        (
            "DescribeTasks",
            json!({"tasks": [other]}),
            "Invalid identifier: Identifier is for cluster other. Your cluster is default",
        ),
        ("StopTask", json!({"task": "None"}), "taskId length should be one of [32,36]"),
    ] {
        let refused = endpoint.refused(operation, input).await;
        assert_eq!(refused, ("InvalidParameterException".to_owned(), text.to_owned()));
    }
    let many: Vec<&str> = vec![id; 101];
    let (code, _) = endpoint.refused("DescribeTasks", json!({"tasks": many})).await;
    assert_eq!(code, "InvalidParameterException");
}
