//! Task definitions: what is echoed, what is refused and in which words, how revisions live.

use crate::endpoint::{Endpoint, definition, with};
use serde_json::{Value, json};

/// A definition with its one container changed.
fn container(change: Value) -> Value {
    let base = json!({"name": "app", "image": "nginx:latest"});
    with(definition("web"), json!({"containerDefinitions": [with(base, change)]}))
}

#[tokio::test]
async fn a_definition_is_echoed_with_its_defaults() {
    let endpoint = Endpoint::new().await;
    let input = with(
        definition("web"),
        json!({
            "cpu": ".25 vCPU",
            "memory": "0.5GB",
            "volumes": [{"name": "scratch"}],
            "tags": [{"key": "k", "value": "v"}],
            "containerDefinitions": [{
                "name": "app",
                "image": "nginx:latest",
                "portMappings": [{"containerPort": 80}],
                "healthCheck": {"command": ["CMD-SHELL", "true"]},
                "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/scratch"}],
            }],
        }),
    );
    let out = endpoint.ok("RegisterTaskDefinition", input).await;
    let made = &out["taskDefinition"];
    assert_eq!(out["tags"], json!([{"key": "k", "value": "v"}]));
    assert_eq!(
        made["taskDefinitionArn"],
        "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1"
    );
    assert_eq!((&made["cpu"], &made["memory"]), (&json!("256"), &json!("512")));
    assert_eq!(made["revision"], 1);
    assert_eq!(made["status"], "ACTIVE");
    assert_eq!(made["compatibilities"], json!(["EC2", "FARGATE"]));
    assert_eq!(made["requiresCompatibilities"], json!(["FARGATE"]));
    assert_eq!(made["placementConstraints"], json!([]));
    assert_eq!(made["volumes"], json!([{"name": "scratch", "host": {}}]));
    assert_eq!(made["registeredBy"], "arn:aws:iam::000000000000:root");
    assert!(made["registeredAt"].is_number());
    let attributes = made["requiresAttributes"].as_array().expect("a list");
    assert!(attributes.contains(&json!({"name": "ecs.capability.task-eni"})));
    let container = &made["containerDefinitions"][0];
    assert_eq!(container["cpu"], 0);
    assert_eq!(container["essential"], true);
    for empty in ["environment", "volumesFrom", "systemControls"] {
        assert_eq!(container[empty], json!([]), "{empty}");
    }
    let port = json!([{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]);
    assert_eq!(container["portMappings"], port);
    let check = &container["healthCheck"];
    assert_eq!(
        (&check["interval"], &check["timeout"], &check["retries"]),
        (&json!(30), &json!(5), &json!(3))
    );
    assert_eq!(container.get("secrets"), None);

    for name in ["web", "web:1", "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1"] {
        let input = json!({"taskDefinition": name});
        let described = endpoint.ok("DescribeTaskDefinition", input).await;
        assert_eq!(&described["taskDefinition"], made, "{name}");
        assert_eq!(described.get("tags"), None);
    }
    let input = json!({"taskDefinition": "web", "include": ["TAGS"]});
    let described = endpoint.ok("DescribeTaskDefinition", input).await;
    assert_eq!(described["tags"], out["tags"]);
}

#[tokio::test]
async fn revisions_rise_for_ever() {
    let endpoint = Endpoint::new().await;
    for _ in 0..3 {
        endpoint.ok("RegisterTaskDefinition", definition("web")).await;
    }
    let newest = |out: &Value| out["taskDefinition"]["revision"].clone();
    let family = || json!({"taskDefinition": "web"});
    assert_eq!(newest(&endpoint.ok("DescribeTaskDefinition", family()).await), 3);
    let third = json!({"taskDefinition": "web:3"});
    let out = endpoint.ok("DeregisterTaskDefinition", third.clone()).await;
    assert_eq!(out["taskDefinition"]["status"], "INACTIVE");
    assert!(out["taskDefinition"]["deregisteredAt"].is_number());
    assert_eq!(newest(&endpoint.ok("DescribeTaskDefinition", family()).await), 2);
    assert_eq!(newest(&endpoint.ok("DescribeTaskDefinition", third).await), 3);

    let input = json!({"taskDefinitions": ["web:3", "web:2", "web:9"]});
    let out = endpoint.ok("DeleteTaskDefinitions", input).await;
    assert_eq!(out["taskDefinitions"][0]["status"], "DELETE_IN_PROGRESS");
    assert_eq!(out["failures"].as_array().expect("a list").len(), 2);
    let out = endpoint.ok("RegisterTaskDefinition", definition("web")).await;
    assert_eq!(newest(&out), 4);
}

#[tokio::test]
async fn lists_filter_sort_and_page() {
    let endpoint = Endpoint::new().await;
    for family in ["web", "web-2", "api"] {
        for _ in 0..3 {
            endpoint.ok("RegisterTaskDefinition", definition(family)).await;
        }
    }
    endpoint.ok("DeregisterTaskDefinition", json!({"taskDefinition": "web:2"})).await;
    endpoint.ok("DeregisterTaskDefinition", json!({"taskDefinition": "api:1"})).await;
    endpoint.ok("DeregisterTaskDefinition", json!({"taskDefinition": "api:2"})).await;
    endpoint.ok("DeregisterTaskDefinition", json!({"taskDefinition": "api:3"})).await;
    let short = |out: &Value| -> Vec<String> {
        let arns = out["taskDefinitionArns"].as_array().expect("a list").iter();
        let name =
            |arn: &Value| arn.as_str().expect("an ARN").rsplit('/').next().map(str::to_owned);
        arns.filter_map(name).collect()
    };
    let list = |input: Value| endpoint.ok("ListTaskDefinitions", input);
    let out = list(json!({"familyPrefix": "web"})).await;
    assert_eq!(short(&out), ["web:1", "web:3"]);
    let out = list(json!({"familyPrefix": "web", "status": "INACTIVE"})).await;
    assert_eq!(short(&out), ["web:2"]);
    assert_eq!(short(&list(json!({"familyPrefix": "we"})).await), Vec::<String>::new());
    let all = ["web-2:1", "web-2:2", "web-2:3", "web:1", "web:3"];
    assert_eq!(short(&list(json!({})).await), all);

    let (mut paged, mut token) = (Vec::new(), Value::Null);
    loop {
        let input = with(json!({"maxResults": 1, "sort": "DESC"}), json!({"nextToken": token}));
        let page = list(input).await;
        paged.extend(short(&page));
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    paged.reverse();
    assert_eq!(paged, all);

    let families = |input: Value| endpoint.ok("ListTaskDefinitionFamilies", input);
    let out = families(json!({})).await;
    assert_eq!(out["families"], json!(["api", "web", "web-2"]));
    let out = families(json!({"status": "ACTIVE", "familyPrefix": "we"})).await;
    assert_eq!(out["families"], json!(["web", "web-2"]));
    assert_eq!(families(json!({"status": "INACTIVE"})).await["families"], json!(["api"]));
}

#[tokio::test]
async fn unknown_definitions_and_bad_names_are_refused() {
    let endpoint = Endpoint::new().await;
    for (operation, name, code, text) in [
        ("DescribeTaskDefinition", "x", "ClientException", "Unable to describe task definition."),
        ("DescribeTaskDefinition", "x:1", "ClientException", "Unable to describe task definition."),
        ("DeregisterTaskDefinition", "x", "ClientException", "Revision is missing."),
        (
            "DeregisterTaskDefinition",
            "x:foo",
            "InvalidParameterException",
            "Invalid revision number. Number: foo",
        ),
        (
            "DeregisterTaskDefinition",
            "x:1",
            "ClientException",
            "Unable to describe task definition.",
        ),
    ] {
        let refused = endpoint.refused(operation, json!({"taskDefinition": name})).await;
        assert_eq!(refused, (code.to_owned(), text.to_owned()), "{operation} {name}");
    }
    for family in ["", "a b", "a/b", &"x".repeat(256)] {
        let (code, _) = endpoint.refused("RegisterTaskDefinition", definition(family)).await;
        assert_eq!(code, "ClientException");
    }
}

#[tokio::test]
async fn fargate_refuses_in_awss_words() {
    let endpoint = Endpoint::new().await;
    let base = || definition("web");
    let linux = |change: Value| container(json!({"linuxParameters": change}));
    let log = |options: Value| {
        let log = json!({"logDriver": "awslogs", "options": options});
        container(json!({"logConfiguration": log}))
    };
    let both = json!({"awslogs-group": "g", "awslogs-region": "r"});
    let all = json!({"awslogs-group": "g", "awslogs-region": "r", "awslogs-stream-prefix": "p"});
    for (input, text) in [
        (
            with(base(), json!({"memory": "4096"})),
            "No Fargate configuration exists for given values.",
        ),
        (with(base(), json!({"cpu": "100"})), "No Fargate configuration exists for given values."),
        (with(base(), json!({"cpu": "lots"})), "Invalid 'cpu' setting for task."),
        (
            with(base(), json!({"cpu": null})),
            "Fargate requires that 'cpu' be defined at the task level.",
        ),
        (
            with(
                base(),
                json!({"memory": null, "containerDefinitions": [{"name": "a", "image": "b", "memory": 512}]}),
            ),
            "Fargate requires that 'memory' be defined at the task level.",
        ),
        (
            with(base(), json!({"networkMode": "bridge"})),
            "Fargate only supports network mode ‘awsvpc’.",
        ),
        (
            with(base(), json!({"networkMode": null})),
            "Fargate only supports network mode ‘awsvpc’.",
        ),
        (
            with(base(), json!({"ipcMode": "task"})),
            "Fargate compatible task definitions do not support ipcMode",
        ),
        (
            with(base(), json!({"pidMode": "host"})),
            "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is 'task'.",
        ),
        (
            with(base(), json!({"ephemeralStorage": {"sizeInGiB": 20}})),
            "EphemeralStorage size should be at least 21",
        ),
        (
            with(base(), json!({"ephemeralStorage": {"sizeInGiB": 201}})),
            "EphemeralStorage size should be at most 200",
        ),
        (
            with(base(), json!({"volumes": [{"name": "v", "host": {"sourcePath": "/x"}}]})),
            "host.sourcePath should not be set for volumes in Fargate.",
        ),
        (
            container(json!({"privileged": true})),
            "Fargate requires that the 'privileged' setting be 'false'",
        ),
        (
            container(json!({"dockerSecurityOptions": ["x"]})),
            "Fargate compatible task definitions do not support dockerSecurityOptions",
        ),
        (
            container(json!({"stopTimeout": 121})),
            "Tasks using the Fargate launch type must have a container stop timeout of less than 120 seconds.",
        ),
        (
            linux(json!({"maxSwap": 1})),
            "Fargate compatible task definitions do not support maxSwap",
        ),
        (
            linux(json!({"sharedMemorySize": 1})),
            "Fargate compatible task definitions do not support sharedMemorySize",
        ),
        (
            container(json!({"logConfiguration": {"logDriver": "json-file"}})),
            "json-file is not a valid log driver. Must be one of [awslogs, splunk, awsfirelens]",
        ),
        (log(json!({"awslogs-group": "g"})), "Log driver awslogs requires options: awslogs-region"),
        (
            log(both),
            "Fargate requires log configuration options to include awslogs-stream-prefix to support log driver awslogs.",
        ),
        (
            log(all),
            "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
        ),
    ] {
        let refused = endpoint.refused("RegisterTaskDefinition", input).await;
        assert_eq!(refused, ("ClientException".to_owned(), text.to_owned()));
    }
    let input = linux(json!({"capabilities": {"add": ["SYS_ADMIN"]}}));
    assert_eq!(endpoint.refused("RegisterTaskDefinition", input).await.0, "ClientException");
    let input = linux(json!({"capabilities": {"add": ["SYS_PTRACE"], "drop": ["ALL"]}}));
    endpoint.ok("RegisterTaskDefinition", input).await;
}

#[tokio::test]
async fn every_definition_is_checked() {
    let endpoint = Endpoint::new().await;
    let base = || definition("web");
    let containers = |list: Value| with(base(), json!({"containerDefinitions": list}));
    let named = |n: usize| json!({"name": format!("c{n}"), "image": "i"});
    let many: Vec<Value> = (0..11).map(named).collect();
    let depends = |condition: &str, essential: bool| {
        let on = json!([{"containerName": "b", "condition": condition}]);
        containers(json!([
            {"name": "a", "image": "i", "dependsOn": on},
            {"name": "b", "image": "i", "essential": essential},
        ]))
    };
    for (input, text) in [
        (containers(json!([])), "Container list cannot be empty."),
        (containers(Value::Array(many)), "Too many containers."),
        (containers(json!([{"image": "i"}])), "Container.name should not be null or empty."),
        (containers(json!([{"name": "a"}])), "Container.image should not be null or empty."),
        (
            containers(json!([{"name": "a b", "image": "i"}])),
            "Container.name contains invalid characters.",
        ),
        (
            containers(json!([{"name": "a", "image": "i j"}])),
            "Container.image contains invalid characters.",
        ),
        (
            containers(json!([{"name": "a", "image": "i"}, {"name": "a", "image": "i"}])),
            "Container names must be unique within a task definition",
        ),
        (
            containers(json!([{"name": "a", "image": "i", "essential": false}])),
            "Task definition doesn't have any essential container.",
        ),
        (
            container(json!({"memory": 513})),
            "The 'memory' setting for container 'app' is greater than for the task.",
        ),
        (
            container(json!({"memory": 100, "memoryReservation": 200})),
            "Invalid setting for container 'app'. 'memory' must be greater than or equal to 'memoryReservation'.",
        ),
        (
            container(json!({"cpu": 257})),
            "The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'.",
        ),
        (
            container(json!({"portMappings": [{"containerPort": 80, "hostPort": 81}]})),
            "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
        ),
        (
            container(json!({"links": ["b"]})),
            "Links are not supported on container when networkMode=awsvpc",
        ),
        (
            container(json!({"disableNetworking": true})),
            "Disable Networking is not supported on container when networkMode=awsvpc",
        ),
        (
            container(json!({"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]})),
            "Unknown volume 'v'",
        ),
        (
            container(json!({"volumesFrom": [{"sourceContainer": "b"}]})),
            "Invalid 'volumesFrom' setting. Unknown container: 'b'",
        ),
        (
            container(json!({"ulimits": [{"name": "nofile", "softLimit": 2, "hardLimit": 1}]})),
            "Soft limit exceeds hard limit for ulimit nofile",
        ),
        (
            container(json!({"restartPolicy": {"enabled": true, "restartAttemptPeriod": 59}})),
            "the 'restartAttemptPeriod' setting for container 'app' must be between 60 and 1800",
        ),
        (
            container(json!({"stopTimeout": 1})),
            "Granular stop timeout on container 'app' must be at least 2 seconds.",
        ),
        (
            container(json!({"dependsOn": [{"containerName": "b", "condition": "START"}]})),
            "Cannot depend on container + 'b' because it does not exist",
        ),
        (
            depends("SUCCESS", true),
            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
        ),
        (
            depends("HEALTHY", false),
            "A dependency container with HEALTHY condition must have health check configured",
        ),
        (
            with(
                base(),
                json!({"inferenceAccelerators": [{"deviceName": "d", "deviceType": "t"}]}),
            ),
            "Unsupported field 'inferenceAccelerators'",
        ),
    ] {
        let refused = endpoint.refused("RegisterTaskDefinition", input).await;
        assert_eq!(refused, ("ClientException".to_owned(), text.to_owned()));
    }
    endpoint.ok("RegisterTaskDefinition", depends("SUCCESS", false)).await;
    let circle = containers(json!([
        {"name": "a", "image": "i", "dependsOn": [{"containerName": "b", "condition": "START"}]},
        {"name": "b", "image": "i", "dependsOn": [{"containerName": "a", "condition": "START"}]},
    ]));
    assert_eq!(endpoint.refused("RegisterTaskDefinition", circle).await.0, "ClientException");
    for volume in ["efsVolumeConfiguration", "s3filesVolumeConfiguration"] {
        let volume = match volume {
            "efsVolumeConfiguration" => json!({"name": "v", volume: {"fileSystemId": "fs-1"}}),
            _ => json!({"name": "v", volume: {"fileSystemArn": "arn:aws:s3files:::x"}}),
        };
        let input = with(base(), json!({"volumes": [volume]}));
        let (code, text) = endpoint.refused("RegisterTaskDefinition", input).await;
        assert_eq!(code, "ClientException");
        assert!(text.contains("VolumeConfiguration"), "{text}");
    }
    let long = "x".repeat(70_000);
    let input = container(json!({"environment": [{"name": "A", "value": long}]}));
    let (_, text) = endpoint.refused("RegisterTaskDefinition", input).await;
    assert!(text.contains("Max allowed length is '65536' bytes"), "{text}");
}

#[tokio::test]
async fn a_definition_for_ec2_is_kept_and_says_so() {
    let endpoint = Endpoint::new().await;
    let input = json!({
        "family": "old",
        "containerDefinitions": [{
            "name": "app",
            "image": "nginx",
            "memory": 128,
            "privileged": true,
            "links": ["other"],
            "portMappings": [{"containerPort": 80}],
        }],
    });
    let out = endpoint.ok("RegisterTaskDefinition", input).await;
    let made = &out["taskDefinition"];
    assert_eq!(made["compatibilities"], json!(["EXTERNAL", "EC2"]));
    assert_eq!(made["containerDefinitions"][0]["portMappings"][0]["hostPort"], 0);
    assert_eq!(made.get("cpu"), None);
}
