//! Tags of clusters, definitions and tasks.

use crate::endpoint::{Endpoint, definition, run, with};
use serde_json::{Value, json};

#[tokio::test]
async fn everything_that_can_be_tagged_is_tagged_alike() {
    let endpoint = Endpoint::new().await;
    let cluster = endpoint.ok("CreateCluster", json!({})).await;
    let registered = endpoint.ok("RegisterTaskDefinition", definition("web")).await;
    let ran = endpoint.ok("RunTask", run("web")).await;
    for arn in [
        &cluster["cluster"]["clusterArn"],
        &registered["taskDefinition"]["taskDefinitionArn"],
        &ran["tasks"][0]["taskArn"],
    ] {
        let two = json!([{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]);
        endpoint.ok("TagResource", json!({"resourceArn": arn, "tags": two})).await;
        let change = json!([{"key": "b", "value": "3"}]);
        endpoint.ok("TagResource", json!({"resourceArn": arn, "tags": change})).await;
        let gone = json!({"resourceArn": arn, "tagKeys": ["a", "never"]});
        endpoint.ok("UntagResource", gone).await;
        let out = endpoint.ok("ListTagsForResource", json!({"resourceArn": arn})).await;
        assert_eq!(out["tags"], json!([{"key": "b", "value": "3"}]), "{arn}");
        let bad = json!([{"key": "aws:x", "value": ""}]);
        let input = json!({"resourceArn": arn, "tags": bad});
        assert_eq!(endpoint.refused("TagResource", input).await.0, "InvalidParameterException");
    }
}

#[tokio::test]
async fn what_is_not_there_has_no_tags() {
    let endpoint = Endpoint::new().await;
    let arn = |rest: &str| format!("arn:aws:ecs:us-east-1:000000000000:{rest}");
    for (arn, code) in [
        (arn("cluster/x"), "ClusterNotFoundException"),
        (arn("task/x/0123456789abcdef0123456789abcdef"), "ResourceNotFoundException"),
        (arn("task-definition/x:1"), "ResourceNotFoundException"),
        (arn("teapot/x"), "InvalidParameterException"),
        ("x".to_owned(), "InvalidParameterException"),
    ] {
        let input = json!({"resourceArn": arn});
        assert_eq!(endpoint.refused("ListTagsForResource", input).await.0, code, "{arn}");
    }
}

fn tags_of(task: &Value) -> Value {
    task["tags"].clone()
}

#[tokio::test]
async fn tasks_take_tags_from_call_definition_and_cluster() {
    let endpoint = Endpoint::with_cluster().await;
    let tags = json!([{"key": "a", "value": "definition"}, {"key": "b", "value": "definition"}]);
    endpoint.ok("RegisterTaskDefinition", with(definition("web"), json!({"tags": tags}))).await;
    let plain = endpoint.ok("RunTask", run("web")).await;
    assert_eq!(tags_of(&plain["tasks"][0]), json!([]));
    let input = with(
        run("web"),
        json!({
            "tags": [{"key": "a", "value": "call"}],
            "propagateTags": "TASK_DEFINITION",
            "enableECSManagedTags": true,
        }),
    );
    let ran = endpoint.ok("RunTask", input).await;
    let task = &ran["tasks"][0];
    let all = json!([
        {"key": "a", "value": "call"},
        {"key": "aws:ecs:clusterName", "value": "default"},
        {"key": "b", "value": "definition"},
    ]);
    assert_eq!(tags_of(task), all);
    let described = endpoint.ok("DescribeTasks", json!({"tasks": [task["taskArn"]]})).await;
    assert_eq!(tags_of(&described["tasks"][0]), json!([]));
    let input = json!({"tasks": [task["taskArn"]], "include": ["TAGS"]});
    let described = endpoint.ok("DescribeTasks", input).await;
    assert_eq!(tags_of(&described["tasks"][0]), all);
    let input = with(run("web"), json!({"propagateTags": "SERVICE"}));
    assert_eq!(endpoint.refused("RunTask", input).await.0, "InvalidParameterException");
}
