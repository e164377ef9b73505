//! Clusters: made, changed by parts, described with what is included, deleted only when empty.

use crate::endpoint::{Endpoint, definition, run};
use model::facts::ContainersFact;
use model::task::Task;
use serde_json::{Value, json};

#[tokio::test]
async fn a_cluster_is_made_described_and_deleted() {
    let endpoint = Endpoint::new().await;
    let made = endpoint
        .ok(
            "CreateCluster",
            json!({
                "clusterName": "web",
                "settings": [{"name": "containerInsights", "value": "enabled"}],
                "tags": [{"key": "team", "value": "a"}],
                "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
                "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1}],
                "configuration": {"executeCommandConfiguration": {"logging": "DEFAULT"}},
            }),
        )
        .await;
    let cluster = &made["cluster"];
    assert_eq!(cluster["clusterArn"], "arn:aws:ecs:us-east-1:000000000000:cluster/web");
    assert_eq!(cluster["status"], "ACTIVE");
    let again = endpoint.ok("CreateCluster", json!({"clusterName": "web"})).await;
    assert_eq!(made, again);

    let plain = endpoint.ok("DescribeClusters", json!({"clusters": ["web"]})).await;
    let plain = &plain["clusters"][0];
    assert_eq!(plain["capacityProviders"], json!(["FARGATE", "FARGATE_SPOT"]));
    assert_eq!(plain["tags"], json!([]));
    assert_eq!(plain["settings"], json!([]));
    assert_eq!(plain["configuration"], Value::Null);
    let include = ["TAGS", "SETTINGS", "CONFIGURATIONS", "STATISTICS", "ATTACHMENTS"];
    let input = json!({"clusters": ["web"], "include": include});
    let full = endpoint.ok("DescribeClusters", input).await;
    let full = &full["clusters"][0];
    assert_eq!(full["tags"], json!([{"key": "team", "value": "a"}]));
    assert_eq!(full["settings"], json!([{"name": "containerInsights", "value": "enabled"}]));
    assert_eq!(full["configuration"]["executeCommandConfiguration"]["logging"], "DEFAULT");
    assert!(full["statistics"].as_array().is_some_and(|list| list.len() >= 6));

    let gone = endpoint.ok("DeleteCluster", json!({"cluster": "web"})).await;
    assert_eq!(gone["cluster"]["status"], "INACTIVE");
    let after = endpoint.ok("DescribeClusters", json!({"clusters": ["web"]})).await;
    assert_eq!(after["clusters"][0]["status"], "INACTIVE");
    let list = endpoint.ok("ListClusters", json!({})).await;
    assert_eq!(list["clusterArns"], json!([]));
    let (code, text) = endpoint.refused("DeleteCluster", json!({"cluster": "web"})).await;
    assert_eq!((code.as_str(), text.as_str()), ("ClusterNotFoundException", "Cluster not found."));
    let anew = endpoint.ok("CreateCluster", json!({"clusterName": "web"})).await;
    assert_eq!(anew["cluster"]["capacityProviders"], json!([]));
}

#[tokio::test]
async fn clusters_are_described_in_the_order_asked_for_and_missing_ones_are_failures() {
    let endpoint = Endpoint::new().await;
    for name in ["a", "b", "c"] {
        endpoint.ok("CreateCluster", json!({"clusterName": name})).await;
    }
    let arn = "arn:aws:ecs:us-east-1:000000000000:cluster/a";
    let input = json!({"clusters": ["c", "missing", arn]});
    let out = endpoint.ok("DescribeClusters", input).await;
    let names: Vec<_> = out["clusters"].as_array().expect("a list").iter().collect();
    assert_eq!((&names[0]["clusterName"], &names[1]["clusterName"]), (&json!("c"), &json!("a")));
    assert_eq!(
        out["failures"],
        json!([{
            "arn": "arn:aws:ecs:us-east-1:000000000000:cluster/missing",
            "reason": "MISSING",
        }])
    );
    let (_, text) = endpoint.refused("DescribeClusters", json!({"include": ["ALL"]})).await;
    assert!(text.starts_with("include should be one of ["), "{text}");
    let none = endpoint.ok("DescribeClusters", json!({})).await;
    assert_eq!(none["failures"][0]["reason"], "MISSING");
}

#[tokio::test]
async fn lists_come_in_pages_of_any_size() {
    let endpoint = Endpoint::new().await;
    for n in 0..7 {
        endpoint.ok("CreateCluster", json!({"clusterName": format!("c{n}")})).await;
    }
    for size in [1, 2, 7, 100] {
        let (mut all, mut token) = (Vec::new(), Value::Null);
        loop {
            let mut input = json!({"maxResults": size});
            if !token.is_null() {
                input["nextToken"] = token;
            }
            let page = endpoint.ok("ListClusters", input).await;
            let arns = page["clusterArns"].as_array().expect("a list").clone();
            assert!(arns.len() <= size);
            all.extend(arns);
            token = page["nextToken"].clone();
            if token.is_null() {
                break;
            }
        }
        assert_eq!(all.len(), 7, "{size}");
    }
    let page = endpoint.ok("ListClusters", json!({"maxResults": 1})).await;
    let input = json!({"nextToken": page["nextToken"], "maxResults": 1});
    let (code, _) = endpoint.refused("ListTaskDefinitionFamilies", input).await;
    assert_eq!(code, "InvalidParameterException");
    let (code, _) = endpoint.refused("ListClusters", json!({"nextToken": "x"})).await;
    assert_eq!(code, "InvalidParameterException");
}

#[tokio::test]
async fn a_cluster_with_tasks_stays() {
    let endpoint = Endpoint::with_cluster().await;
    endpoint.ok("RegisterTaskDefinition", definition("web")).await;
    let ran = endpoint.ok("RunTask", run("web")).await;
    let (code, _) = endpoint.refused("DeleteCluster", json!({"cluster": "default"})).await;
    assert_eq!(code, "ClusterContainsTasksException");
    let out = endpoint.ok("DescribeClusters", json!({})).await;
    assert_eq!(out["clusters"][0]["pendingTasksCount"], 1);

    let arn = ran["tasks"][0]["taskArn"].as_str().expect("an ARN");
    let key = arn.split_once("task/").expect("a task").1.to_owned();
    let mut txn = endpoint.store.begin();
    let mut task = (*txn.get::<Task>(&key).expect("there")).clone();
    task.facts.containers = ContainersFact::Stopped;
    txn.put(task);
    txn.commit().await.expect("committed");
    endpoint.ok("DeleteCluster", json!({"cluster": "default"})).await;
}

#[tokio::test]
async fn a_cluster_changes_by_parts() {
    let endpoint = Endpoint::with_cluster().await;
    let input = json!({
        "cluster": "default",
        "settings": [{"name": "containerInsights", "value": "enhanced"}],
        "serviceConnectDefaults": {"namespace": "ns"},
    });
    let out = endpoint.ok("UpdateCluster", input).await;
    assert_eq!(out["cluster"]["serviceConnectDefaults"], json!({"namespace": "ns"}));
    let settings = json!([{"name": "containerInsights", "value": "disabled"}]);
    let input = json!({"cluster": "default", "settings": settings});
    let out = endpoint.ok("UpdateClusterSettings", input).await;
    assert_eq!(out["cluster"]["settings"], settings);
    assert_eq!(out["cluster"]["serviceConnectDefaults"], json!({"namespace": "ns"}));
    let bad = json!([{"name": "containerInsights", "value": "loud"}]);
    let input = json!({"cluster": "default", "settings": bad});
    let (code, _) = endpoint.refused("UpdateClusterSettings", input).await;
    assert_eq!(code, "InvalidParameterException");
    let input = json!({"cluster": "nowhere", "settings": settings});
    let (code, _) = endpoint.refused("UpdateClusterSettings", input).await;
    assert_eq!(code, "ClusterNotFoundException");
}

#[tokio::test]
async fn capacity_providers_are_attached_and_described() {
    let endpoint = Endpoint::with_cluster().await;
    let put = |providers: Value, strategy: Value| {
        json!({
            "cluster": "default",
            "capacityProviders": providers,
            "defaultCapacityProviderStrategy": strategy,
        })
    };
    let spot = json!([{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 2}]);
    let input = put(json!(["FARGATE_SPOT"]), spot.clone());
    let out = endpoint.ok("PutClusterCapacityProviders", input).await;
    assert_eq!(out["cluster"]["defaultCapacityProviderStrategy"], spot);
    for bad in [
        put(json!(["FARGATE"]), spot.clone()),
        put(json!(["MINE"]), json!([])),
        put(json!(["FARGATE", "FARGATE"]), json!([])),
    ] {
        let (code, _) = endpoint.refused("PutClusterCapacityProviders", bad).await;
        assert_eq!(code, "InvalidParameterException");
    }
    let out = endpoint.ok("PutClusterCapacityProviders", put(json!([]), json!([]))).await;
    assert_eq!(out["cluster"]["capacityProviders"], json!([]));

    let out = endpoint.ok("DescribeCapacityProviders", json!({})).await;
    let names: Vec<_> = out["capacityProviders"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|provider| provider["name"].clone())
        .collect();
    assert_eq!(names, ["FARGATE", "FARGATE_SPOT"]);
    let input = json!({"capacityProviders": ["FARGATE_SPOT", "MINE"]});
    let out = endpoint.ok("DescribeCapacityProviders", input).await;
    assert_eq!(out["capacityProviders"][0]["status"], "ACTIVE");
    assert_eq!(out["failures"][0]["reason"], "MISSING");
}
