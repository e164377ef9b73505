//! Calls that get in each other's way: what must be one is one, whoever is first.

use crate::endpoint::{Endpoint, definition, run, with};
use serde_json::{Value, json};
use std::sync::Arc;

const CALLERS: usize = 24;

/// The same call many times at once, on several threads.
async fn at_once(
    endpoint: &Arc<Endpoint>,
    operation: &'static str,
    input: &Value,
) -> Vec<(u16, Value)> {
    let calls: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (endpoint, input) = (Arc::clone(endpoint), input.clone());
            tokio::spawn(async move { endpoint.ecs(operation, &input).await })
        })
        .collect();
    let mut answers = Vec::with_capacity(CALLERS);
    for call in calls {
        answers.push(call.await.expect("no panic"));
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_token_used_by_many_at_once_makes_one_task() {
    let endpoint = Arc::new(Endpoint::with_cluster().await);
    endpoint.ok("RegisterTaskDefinition", definition("web")).await;
    let input = with(run("web"), json!({"clientToken": "same"}));
    let answers = at_once(&endpoint, "RunTask", &input).await;
    let first = &answers[0].1["tasks"][0]["taskArn"];
    assert!(first.is_string());
    assert!(answers.iter().all(|(_, answer)| answer["tasks"][0]["taskArn"] == *first));
    let list = endpoint.ok("ListTasks", json!({})).await;
    assert_eq!(list["taskArns"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revisions_are_handed_out_once_each() {
    let endpoint = Arc::new(Endpoint::with_cluster().await);
    let answers = at_once(&endpoint, "RegisterTaskDefinition", &definition("web")).await;
    let mut revisions: Vec<_> =
        answers.iter().map(|(_, answer)| answer["taskDefinition"]["revision"].as_u64()).collect();
    revisions.sort_unstable();
    let expected: Vec<_> = (1..=CALLERS as u64).map(Some).collect();
    assert_eq!(revisions, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_is_never_deleted_under_a_task() {
    for _ in 0..8 {
        let endpoint = Arc::new(Endpoint::with_cluster().await);
        endpoint.ok("RegisterTaskDefinition", definition("web")).await;
        let other = Arc::clone(&endpoint);
        let delete = tokio::spawn(async move {
            other.ecs("DeleteCluster", &json!({"cluster": "default"})).await
        });
        let runs = at_once(&endpoint, "RunTask", &run("web")).await;
        let (deleted, _) = delete.await.expect("no panic");
        let ran = runs.iter().any(|(status, _)| *status == 200);
        let out = endpoint.ok("DescribeClusters", json!({})).await;
        let inactive = out["clusters"][0]["status"] == "INACTIVE";
        assert_eq!(inactive, deleted == 200);
        assert!(!(inactive && ran), "a task runs in a deleted cluster");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_go_away_hold_up_nobody() {
    let endpoint = Arc::new(Endpoint::with_cluster().await);
    for round in 0..20 {
        let calls: Vec<_> = (0..CALLERS)
            .map(|_| {
                let endpoint = Arc::clone(&endpoint);
                tokio::spawn(async move {
                    endpoint.ecs("RegisterTaskDefinition", &definition("web")).await
                })
            })
            .collect();
        for (n, call) in calls.iter().enumerate() {
            if (n + round) % 3 == 0 {
                call.abort();
            }
        }
        for call in calls {
            match call.await {
                Ok((status, answer)) => assert_eq!(status, 200, "{answer}"),
                Err(failure) => assert!(failure.is_cancelled()),
            }
        }
    }
    endpoint.ok("RegisterTaskDefinition", definition("web")).await;
}

/// In the store of production, where a commit takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn registrations_of_one_family_share_commits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = store::Store::open(folder.path(), store::kinds::all()).expect("a new store");
    let endpoint = Arc::new(Endpoint::over(store).await);
    let before = endpoint.store.revision().0;
    let answers = at_once(&endpoint, "RegisterTaskDefinition", &definition("web")).await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    let commits = endpoint.store.revision().0 - before;
    assert!(commits < CALLERS as u64, "{commits} commits");
    let arns = endpoint.ok("ListTaskDefinitions", json!({})).await;
    assert_eq!(arns["taskDefinitionArns"].as_array().map(Vec::len), Some(CALLERS));
}
