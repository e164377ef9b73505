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

/// A row of refusals/definitions.json: what is changed of a definition that is taken, and why it is
/// refused then.
#[derive(serde::Deserialize)]
struct Refusal {
    #[serde(default)]
    definition: Value,
    /// Members of its one container.
    #[serde(default)]
    container: Value,
    /// All its containers.
    containers: Option<Value>,
    text: String,
}

#[tokio::test]
async fn bad_definitions_are_refused_in_awss_words() {
    let rows: Vec<Refusal> =
        serde_json::from_str(include_str!("refusals/definitions.json")).expect("rows");
    let endpoint = Endpoint::new().await;
    for row in rows {
        let mut input = container(row.container);
        if let Some(containers) = row.containers {
            input["containerDefinitions"] = containers;
        }
        let input = with(input, row.definition);
        let refused = endpoint.refused("RegisterTaskDefinition", input).await;
        assert_eq!(refused, ("ClientException".to_owned(), row.text));
    }
}

#[tokio::test]
async fn what_is_just_within_the_rules_is_taken() {
    let endpoint = Endpoint::new().await;
    let capabilities = json!({"add": ["SYS_PTRACE"], "drop": ["ALL"]});
    for change in [
        json!({"linuxParameters": {"capabilities": capabilities, "initProcessEnabled": true}}),
        json!({"stopTimeout": 120, "startTimeout": 2}),
        json!({"memory": 512, "memoryReservation": 512, "cpu": 256}),
        json!({"portMappings": [{"containerPortRange": "80-90"}, {"containerPort": 65535}]}),
        json!({"healthCheck": {"command": ["NONE"]}}),
    ] {
        endpoint.ok("RegisterTaskDefinition", container(change)).await;
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
