//! Nothing that a client can send makes us fail: every served ECS operation gets every member of a
//! long list with every value of a strange list, and answers 200 or 400.

use crate::endpoint::{Endpoint, definition, run, with};
use serde_json::{Value, json};

/// Members of ECS requests, most of them wrong for most operations.
const MEMBERS: &[&str] = &[
    "attributes",
    "capacityProviderStrategy",
    "capacityProviders",
    "clientToken",
    "cluster",
    "clusterName",
    "clusters",
    "configuration",
    "containerDefinitions",
    "count",
    "cpu",
    "defaultCapacityProviderStrategy",
    "desiredStatus",
    "enableECSManagedTags",
    "ephemeralStorage",
    "executionRoleArn",
    "family",
    "familyPrefix",
    "group",
    "include",
    "launchType",
    "maxResults",
    "memory",
    "name",
    "networkConfiguration",
    "networkMode",
    "nextToken",
    "overrides",
    "placementConstraints",
    "platformVersion",
    "principalArn",
    "propagateTags",
    "reason",
    "requiresCompatibilities",
    "resourceArn",
    "runtimePlatform",
    "serviceConnectDefaults",
    "settings",
    "sort",
    "startedBy",
    "status",
    "tagKeys",
    "tags",
    "task",
    "taskDefinition",
    "taskDefinitions",
    "taskRoleArn",
    "tasks",
    "value",
    "volumes",
];

fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(i32::MAX),
        json!(1e300),
        json!(""),
        json!("\u{0}\u{202e}ü/:%"),
        json!("x".repeat(2000)),
        json!("arn:aws:ecs:us-east-1:000000000000:"),
        json!("arn:aws:ecs:us-east-1:000000000000:task/"),
        json!([]),
        json!([null]),
        json!([""]),
        json!([{}]),
        json!({}),
        json!({"": {}}),
    ]
}

#[tokio::test]
async fn strange_values_are_refused_and_nothing_else_happens() {
    let endpoint = Endpoint::with_cluster().await;
    endpoint.ok("RegisterTaskDefinition", definition("web")).await;
    let task = endpoint.ok("RunTask", run("web")).await["tasks"][0]["taskArn"].clone();
    let bases = [
        ("CreateCluster", json!({"clusterName": "strange"})),
        ("DeleteAccountSetting", json!({"name": "containerInsights"})),
        ("DeleteCluster", json!({"cluster": "strange"})),
        ("DeleteTaskDefinitions", json!({"taskDefinitions": ["web:9"]})),
        ("DeregisterTaskDefinition", json!({"taskDefinition": "web:9"})),
        ("DescribeCapacityProviders", json!({})),
        ("DescribeClusters", json!({})),
        ("DescribeTaskDefinition", json!({"taskDefinition": "web"})),
        ("DescribeTasks", json!({"tasks": [task]})),
        ("ListAccountSettings", json!({})),
        ("ListClusters", json!({})),
        ("ListTagsForResource", json!({"resourceArn": task})),
        ("ListTaskDefinitionFamilies", json!({})),
        ("ListTaskDefinitions", json!({})),
        ("ListTasks", json!({})),
        ("PutAccountSetting", json!({"name": "awsvpcTrunking", "value": "enabled"})),
        ("PutAccountSettingDefault", json!({"name": "awsvpcTrunking", "value": "enabled"})),
        (
            "PutClusterCapacityProviders",
            json!({
                "cluster": "strange",
                "capacityProviders": [],
                "defaultCapacityProviderStrategy": [],
            }),
        ),
        ("RegisterTaskDefinition", definition("strange")),
        ("RunTask", run("web")),
        ("StopTask", json!({"task": "0123456789abcdef0123456789abcdef"})),
        ("TagResource", json!({"resourceArn": task, "tags": []})),
        ("UntagResource", json!({"resourceArn": task, "tagKeys": []})),
        ("UpdateCluster", json!({"cluster": "strange"})),
        ("UpdateClusterSettings", json!({"cluster": "strange", "settings": []})),
    ];
    for (operation, base) in &bases {
        for member in MEMBERS {
            for value in values() {
                let mut input = base.clone();
                input[*member] = value;
                let (status, output) = endpoint.ecs(operation, &input).await;
                assert!(matches!(status, 200 | 400), "{operation} {input}: {status} {output}");
            }
        }
    }
    endpoint.ok("RunTask", with(run("web"), json!({"count": 10}))).await;
}
