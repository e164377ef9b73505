//! An endpoint to call, and the calls.

use bytes::Bytes;
use frontend::{Context, FamilyQueues, Frontend, root_access_key};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use model::arn::Locality;
use model::network::{Cidr, SecurityGroup, Subnet, Vpc};
use model::{AccessKeyId, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use store::Store;
use store::blob::{FolderObjects, Staging};
use store::logs::{Durability, Logs};
use store::metrics::Metrics;
use store::secret::{Sealer, Secret};
use tempfile::TempDir;
use wire::sigv4::{PathStyle, SecretKey, Signer};

pub const KEY_ID: &str = "AKIAEXAMPLE000000000";
pub const SECRET: &str = "secret of the administrator";
pub const HOST: &str = "127.0.0.1:4566";
pub const SUBNET: &str = "subnet-00000000000000001";
pub const SUBNET_OTHER_ZONE: &str = "subnet-00000000000000002";
const SUBNET_OTHER_VPC: &str = "subnet-00000000000000003";
pub const GROUP: &str = "sg-00000000000000001";
const GROUP_OTHER_VPC: &str = "sg-00000000000000003";
const NOW_MS: i64 = 1_780_000_000_000;

pub struct Endpoint {
    pub frontend: Frontend,
    pub store: Store,
    pub now_ms: Arc<AtomicI64>,
    pub sealer: Arc<Sealer>,
    /// How many more random numbers there are before drawing one panics.
    pub randoms_left: Arc<AtomicU64>,
    _folder: TempDir,
}

/// How a request is to be signed and sent.
pub struct Call<'a> {
    pub key_id: &'a str,
    pub secret: &'a str,
    pub token: Option<&'a str>,
    pub region: &'a str,
    pub service: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub target: &'a str,
    pub content_type: &'a str,
    pub body: &'a str,
}

impl Default for Call<'_> {
    fn default() -> Self {
        Self {
            key_id: KEY_ID,
            secret: SECRET,
            token: None,
            region: "us-east-1",
            service: "ecs",
            method: "POST",
            path: "/",
            target: "",
            content_type: "application/x-amz-json-1.1",
            body: "{}",
        }
    }
}

impl Endpoint {
    pub async fn new() -> Self {
        Self::over(Store::in_memory(store::kinds::all())).await
    }

    /// An endpoint over a new store.
    pub async fn over(store: Store) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let now_ms = Arc::new(AtomicI64::new(NOW_MS));
        let clock = Arc::clone(&now_ms);
        let count = AtomicU64::new(1);
        let randoms_left = Arc::new(AtomicU64::new(u64::MAX));
        let left = Arc::clone(&randoms_left);
        let locality = Locality { region: "us-east-1".into(), account: "000000000000".into() };
        let sealer = Arc::new(Sealer::open(&at("key")).expect("a key"));
        let id = AccessKeyId::from(KEY_ID);
        let secret = Secret::new(SECRET);
        let key = root_access_key(&locality, &sealer, id, &secret, Timestamp(NOW_MS));
        let mut txn = store.begin();
        txn.put(key.expect("sealed"));
        network(&mut txn);
        txn.commit().await.expect("committed");
        let frontend = Frontend::new(Context {
            store: store.clone(),
            logs: Logs::open(&at("logs"), Durability::Written).expect("a folder"),
            metrics: Metrics::default(),
            blobs: Arc::new(FolderObjects::open(&at("blobs")).expect("a folder")),
            staging: Staging::open(&at("uploads")).expect("a folder"),
            locality: Arc::new(locality),
            sealer: Arc::clone(&sealer),
            clock: Arc::new(move || Timestamp(clock.load(Ordering::SeqCst))),
            // Spread over all bits, as ids are cut from different ends.
            random: Arc::new(move || {
                assert_ne!(left.fetch_sub(1, Ordering::SeqCst), 0, "a test's own panic");
                let n = u128::from(count.fetch_add(1, Ordering::SeqCst));
                n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            }),
            registry_password: Arc::new(|now| ("password".to_owned(), now.plus_seconds(43_200))),
            presigned_query: Arc::new(|path, _| format!("signed={}", path.len())),
            collect_images: Arc::new(|_| Box::pin(std::future::ready(None))),
            instance_images: Arc::new(|_| Box::pin(std::future::ready(None))),
            is_connected: Arc::new(|_| false),
            mint_join_token: Arc::new(|| None),
            family_queues: FamilyQueues::default(),
        });
        Self { frontend, store, now_ms, sealer, randoms_left, _folder: folder }
    }

    /// An endpoint with the default cluster in it.
    pub async fn with_cluster() -> Self {
        let endpoint = Self::new().await;
        endpoint.ok("CreateCluster", json!({})).await;
        endpoint
    }

    pub async fn send(&self, call: &Call<'_>) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).expect("plain text");
        headers.insert("host", value(HOST));
        headers.insert("content-type", value(call.content_type));
        if !call.target.is_empty() {
            headers.insert("x-amz-target", value(call.target));
        }
        let secret_key = SecretKey::new(call.secret);
        let signer = Signer {
            access_key_id: call.key_id,
            secret_key: &secret_key,
            session_token: call.token,
            region: call.region,
            service: call.service,
            path_style: PathStyle::Normalized,
        };
        let now = wire::Timestamp::from_unix_ms(self.now_ms.load(Ordering::SeqCst));
        let body = call.body.as_bytes();
        signer.sign(call.method, call.path, "", &mut headers, body, now);
        self.send_as_is(call.method, call.path, headers, call.body).await
    }

    pub async fn send_as_is(
        &self,
        method: &str,
        path: &str,
        headers: HeaderMap,
        body: &str,
    ) -> Response<Bytes> {
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let mut request = Request::builder().method(method).uri(path).body(body).expect("valid");
        *request.headers_mut() = headers;
        let (head, body) = self.frontend.handle(request).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Response::from_parts(head, body)
    }

    /// An ECS call: status and JSON.
    pub async fn ecs(&self, operation: &str, input: &Value) -> (u16, Value) {
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        let body = input.to_string();
        let call = Call { target: &target, body: &body, ..Call::default() };
        let reply = self.send(&call).await;
        assert!(reply.headers().contains_key("x-amzn-requestid"), "{operation}");
        let json = serde_json::from_slice(reply.body()).expect("JSON");
        (reply.status().as_u16(), json)
    }

    /// An ECS call that must be taken.
    pub async fn ok(&self, operation: &str, input: Value) -> Value {
        let (status, output) = self.ecs(operation, &input).await;
        assert_eq!(status, 200, "{operation} {input}: {output}");
        output
    }

    /// An ECS call that must be refused: code and message.
    pub async fn refused(&self, operation: &str, input: Value) -> (String, String) {
        let (status, output) = self.ecs(operation, &input).await;
        assert_eq!(status, 400, "{operation} {input}: {output}");
        let text = |member: &str| output[member].as_str().expect("a string").to_owned();
        (text("__type"), text("message"))
    }

    pub fn pass_seconds(&self, seconds: i64) {
        self.now_ms.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

fn network(txn: &mut store::Txn) {
    let cidr = |text: &str| Cidr::parse(text).expect("valid");
    let created_at = Timestamp(NOW_MS);
    for (n, range) in [(1, "172.31.0.0/16"), (2, "10.0.0.0/16")] {
        let id = format!("vpc-0000000000000000{n}");
        let vpc = Vpc::new(id.as_str().into(), cidr(range), created_at);
        txn.put(Vpc { is_default: n == 1, ..vpc });
        txn.put(SecurityGroup {
            id: if n == 1 { GROUP } else { GROUP_OTHER_VPC }.into(),
            vpc: id.as_str().into(),
            name: "default".to_owned(),
            description: "default VPC security group".to_owned(),
            rules: Vec::new(),
            created_at,
            tags: BTreeMap::new(),
        });
    }
    for (id, vpc, range, zone) in [
        (SUBNET, 1, "172.31.0.0/20", "us-east-1a"),
        (SUBNET_OTHER_ZONE, 1, "172.31.16.0/20", "us-east-1b"),
        (SUBNET_OTHER_VPC, 2, "10.0.0.0/20", "us-east-1a"),
    ] {
        let is_default = vpc == 1;
        let vpc = format!("vpc-0000000000000000{vpc}").into();
        let subnet = Subnet::new(id.into(), vpc, cidr(range), zone.into(), created_at);
        txn.put(Subnet { is_default, map_public_ip_on_launch: true, ..subnet });
    }
}

/// The smallest definition that Fargate takes.
pub fn definition(family: &str) -> Value {
    json!({
        "family": family,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [{"name": "app", "image": "nginx:latest"}],
    })
}

/// A RunTask call that is taken if the family is there.
pub fn run(family: &str) -> Value {
    json!({
        "taskDefinition": family,
        "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": [SUBNET]}},
    })
}

/// `base` with members replaced; null takes one away.
pub fn with(mut base: Value, change: Value) -> Value {
    let members = base.as_object_mut().expect("an object");
    // No change at all is written as null in the tables of refusals.
    let Value::Object(change) = change else { return base };
    for (name, value) in change {
        match value {
            Value::Null => members.remove(&name),
            value => members.insert(name, value),
        };
    }
    base
}
