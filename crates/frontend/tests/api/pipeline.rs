//! What holds for every call: signatures, request ids, protocols, bounds.

use crate::endpoint::{Call, Endpoint, HOST, KEY_ID};
use http::{HeaderMap, HeaderValue};
use model::facts::Placement;
use model::instance::{Allocation, Instance, InstanceState};
use model::task::Task;
use serde_json::Value;

const LIST: &str = "AmazonEC2ContainerServiceV20141113.ListClusters";
const FORM: &str = "application/x-www-form-urlencoded";
const IDENTITY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

fn code(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).expect("JSON");
    json["__type"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn health_needs_no_signature() {
    let endpoint = Endpoint::new().await;
    let reply = endpoint.send_as_is("GET", "/healthz", HeaderMap::new(), "").await;
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn an_unknown_key_and_a_wrong_secret_are_refused_alike() {
    let endpoint = Endpoint::new().await;
    let base = Call { target: LIST, ..Call::default() };
    assert_eq!(endpoint.send(&base).await.status(), 200);
    let wrong = endpoint.send(&Call { secret: "guessed", ..base }).await;
    let base = Call { target: LIST, ..Call::default() };
    let unknown = endpoint.send(&Call { key_id: "AKIANOBODY0000000000", ..base }).await;
    assert_eq!(wrong.status(), unknown.status());
    assert!(wrong.status().is_client_error());
    assert_eq!(wrong.body(), unknown.body());
    assert_eq!(code(wrong.body()), "InvalidSignatureException");
}

#[tokio::test]
async fn what_is_not_signed_for_us_is_refused() {
    let endpoint = Endpoint::new().await;
    let call = || Call { target: LIST, ..Call::default() };
    for refused in [
        Call { region: "eu-west-1", ..call() },
        Call { service: "sts", ..call() },
        Call { token: Some("a session token"), ..call() },
        Call { key_id: "", ..call() },
    ] {
        let reply = endpoint.send(&refused).await;
        assert!(reply.status().is_client_error(), "{:?}", reply.body());
        assert!(reply.headers().contains_key("x-amzn-requestid"));
    }
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static(HOST));
    headers.insert("x-amz-target", HeaderValue::from_static(LIST));
    let reply = endpoint.send_as_is("POST", "/", headers, "{}").await;
    assert_eq!(code(reply.body()), "MissingAuthenticationTokenException");
}

#[tokio::test]
async fn a_key_that_is_off_signs_nothing() {
    let endpoint = Endpoint::new().await;
    let call = Call { target: LIST, ..Call::default() };
    assert_eq!(endpoint.send(&call).await.status(), 200);
    let mut txn = endpoint.store.begin();
    let key = txn.get::<model::account::AccessKey>(KEY_ID).expect("made by the endpoint");
    txn.put(model::account::AccessKey { active: false, ..(*key).clone() });
    txn.commit().await.expect("committed");
    assert_eq!(code(endpoint.send(&call).await.body()), "InvalidSignatureException");
}

#[tokio::test]
async fn a_key_made_anew_forgets_its_old_secret() {
    let endpoint = Endpoint::new().await;
    let call = || Call { target: LIST, ..Call::default() };
    assert_eq!(endpoint.send(&call()).await.status(), 200);
    let locality = model::arn::Locality { region: "r".into(), account: "000000000000".into() };
    let secret = store::secret::Secret::new("another secret");
    let now = model::Timestamp(0);
    let id = KEY_ID.into();
    let key = frontend::root_access_key(&locality, &endpoint.sealer, id, &secret, now);
    let mut txn = endpoint.store.begin();
    txn.put(key.expect("sealed"));
    txn.commit().await.expect("committed");
    assert_eq!(code(endpoint.send(&call()).await.body()), "InvalidSignatureException");
    let anew = Call { secret: "another secret", ..call() };
    assert_eq!(endpoint.send(&anew).await.status(), 200);
}

#[tokio::test]
async fn sts_says_who_calls_also_to_clients_of_its_global_endpoint() {
    let endpoint = Endpoint::new().await;
    let call = Call { service: "sts", content_type: FORM, body: IDENTITY, ..Call::default() };
    let reply = endpoint.send(&call).await;
    let text = String::from_utf8_lossy(reply.body());
    assert_eq!(reply.status(), 200, "{text}");
    assert!(text.contains("<Arn>arn:aws:iam::000000000000:root</Arn>"), "{text}");
    assert!(text.contains("<Account>000000000000</Account>"), "{text}");
    let wrong = endpoint.send(&Call { secret: "guessed", ..call }).await;
    let text = String::from_utf8_lossy(wrong.body());
    assert!(text.contains("<Code>SignatureDoesNotMatch</Code>"), "{text}");
}

#[tokio::test]
async fn what_we_do_not_serve_is_refused_by_name() {
    let endpoint = Endpoint::new().await;
    let target = "AmazonEC2ContainerServiceV20141113.CreateExpressGatewayService";
    let reply = endpoint.send(&Call { target, ..Call::default() }).await;
    assert_eq!(code(reply.body()), "UnsupportedFeatureException");
    let text = String::from_utf8_lossy(reply.body());
    assert!(text.contains("CreateExpressGatewayService"), "{text}");

    let target = "AmazonEC2ContainerServiceV20141113.MakeTea";
    let reply = endpoint.send(&Call { target, ..Call::default() }).await;
    assert_eq!(code(reply.body()), "UnknownOperationException");

    let body = "Action=AssumeRoot&Version=2011-06-15";
    let call = Call { service: "sts", content_type: FORM, body, ..Call::default() };
    let reply = endpoint.send(&call).await;
    let text = String::from_utf8_lossy(reply.body());
    assert!(text.contains("<Code>InvalidAction</Code>"), "{text}");
    assert!(text.contains("AssumeRoot"), "{text}");
}

#[tokio::test]
async fn bad_bodies_are_refused_in_the_protocols_own_form() {
    let endpoint = Endpoint::new().await;
    for body in ["{", "[]", "{\"maxResults\": \"many\"}", "\"\""] {
        let reply = endpoint.send(&Call { target: LIST, body, ..Call::default() }).await;
        assert_eq!(reply.status(), 400, "{body}");
        assert_eq!(code(reply.body()), "SerializationException", "{body}");
    }
    let body = " ".repeat(5 * 1024 * 1024);
    let reply = endpoint.send(&Call { target: LIST, body: &body, ..Call::default() }).await;
    assert_eq!(reply.status(), 413);
}

#[tokio::test]
async fn unknown_fields_are_passed_over() {
    let endpoint = Endpoint::new().await;
    let body = "{\"maxResults\": 5, \"newerThanWe\": {\"a\": [1]}}";
    let reply = endpoint.send(&Call { target: LIST, body, ..Call::default() }).await;
    assert_eq!(reply.status(), 200);
}

const MACHINE: &str = "0123456789abcdef0123456789abcdef";

fn machine(state: InstanceState) -> Instance {
    Instance {
        id: MACHINE.into(),
        name: "box".to_owned(),
        zone: "us-east-1a".into(),
        cpu_architecture: "X86_64".to_owned(),
        state,
        drains: false,
        cpu_units: 4096,
        memory_mib: 8192,
        registered_at: model::Timestamp(1),
        boot_id: "boot".to_owned(),
        agent_version: "0.1.0".to_owned(),
        session_epoch: 1,
        seen_at: model::Timestamp(2),
        serves_balancers: false,
        underlay: None,
    }
}

#[tokio::test]
async fn the_operator_sees_instances_and_only_with_its_own_signature() {
    let endpoint = Endpoint::new().await;
    let mut txn = endpoint.store.begin();
    txn.put(machine(InstanceState::Active));
    txn.put(Allocation {
        instance: "0123456789abcdef0123456789abcdef".into(),
        cpu_units: 256,
        memory_mib: 512,
        tasks: 1,
    });
    txn.commit().await.expect("committed");
    let call = || Call {
        service: "neargate",
        method: "GET",
        path: "/neargate/v1/instances",
        body: "",
        ..Call::default()
    };
    let reply = endpoint.send(&call()).await;
    assert_eq!(reply.status(), 200);
    let json: Value = serde_json::from_slice(reply.body()).expect("JSON");
    assert_eq!(json["instances"][0]["cpuUnitsAllocated"], 256);
    assert_eq!(json["instances"][0]["state"], "ACTIVE");
    assert_eq!(endpoint.send(&Call { service: "ecs", ..call() }).await.status(), 403);
    assert_eq!(endpoint.send(&Call { path: "/neargate/v1/tea", ..call() }).await.status(), 404);
    assert!(endpoint.send(&Call { secret: "guessed", ..call() }).await.status().is_client_error());
}

#[tokio::test]
async fn what_is_left_on_a_drained_instance_is_told_and_a_lost_one_is_remembered_to_drain() {
    use crate::endpoint::{definition, run};
    let endpoint = Endpoint::with_cluster().await;
    endpoint.ok("RegisterTaskDefinition", definition("web")).await;
    endpoint.ok("RunTask", run("web")).await;
    let snapshot = endpoint.store.snapshot();
    let (_, task) = snapshot.scan::<Task>("").next().expect("it was run");
    let mut alone = (*task).clone();
    let placed = Placement { instance: MACHINE.into(), zone: "us-east-1a".into() };
    alone.facts.placed = Some(placed);
    let moves = Task {
        id: model::TaskId::mint(7),
        group: "service:web".to_owned(),
        protected_until: Some(model::Timestamp(i64::MAX)),
        ..alone.clone()
    };
    let mut txn = endpoint.store.begin();
    txn.put(machine(InstanceState::Active));
    txn.put(alone.clone());
    txn.put(moves);
    txn.commit().await.expect("committed");
    let operate = async |method: &str, path: &str| {
        let path = format!("/neargate/v1/instances{path}");
        let call = Call { service: "neargate", method, path: &path, body: "", ..Call::default() };
        let reply = endpoint.send(&call).await;
        assert_eq!(reply.status(), 200, "{path}");
        serde_json::from_slice::<Value>(reply.body()).expect("JSON")["instances"][0].clone()
    };
    assert!(operate("GET", "").await["left"].is_null());
    operate("POST", &format!("/{MACHINE}/drain")).await;
    let shown = operate("GET", "").await;
    assert_eq!(shown["state"], "DRAINING");
    assert_eq!((&shown["left"]["toMove"], &shown["left"]["toEnd"]), (&1.into(), &1.into()));
    let tasks = shown["left"]["tasks"].as_array().expect("a list");
    let of = |id: &str| tasks.iter().find(|it| it["id"] == id).expect("it is left").clone();
    assert_eq!(of(alone.id.as_str())["protectedUntilMs"], Value::Null);
    assert_eq!(of(model::TaskId::mint(7).as_str())["protectedUntilMs"], i64::MAX);

    let mut txn = endpoint.store.begin();
    txn.put(machine(InstanceState::Lost));
    txn.commit().await.expect("committed");
    let known = || endpoint.store.snapshot().get::<Instance>(MACHINE).expect("it is there").value;
    operate("POST", &format!("/{MACHINE}/drain")).await;
    assert_eq!((known().state, known().drains()), (InstanceState::Lost, true));
    operate("POST", &format!("/{MACHINE}/activate")).await;
    assert_eq!((known().state, known().drains()), (InstanceState::Lost, false));
}

#[tokio::test]
async fn a_panic_is_one_calls_own_trouble() {
    use crate::endpoint::{definition, run};
    use std::sync::atomic::Ordering;
    let endpoint = Endpoint::with_cluster().await;
    endpoint.ok("RegisterTaskDefinition", definition("web")).await;
    // One for the request's id; the task's id is one too many.
    endpoint.randoms_left.store(1, Ordering::SeqCst);
    let (status, body) = endpoint.ecs("RunTask", &run("web")).await;
    endpoint.randoms_left.store(u64::MAX, Ordering::SeqCst);
    assert_eq!((status, &body["__type"]), (500, &Value::from("ServerException")));
    endpoint.ok("RunTask", run("web")).await;
}
