//! A registry on a real socket and a client made by hand, shared by the tests of this folder.
//! Everything lies in a temporary folder that goes with the test.

#![allow(dead_code, reason = "each test file uses its part")]

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::arn::Locality;
use model::image::Repository;
use model::{RepositoryName, Timestamp};
use registry::token::Signer;
use registry::{Parts, Registry, Upstream};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use store::blob::{FolderObjects, Staging};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub const NOW: Timestamp = Timestamp(1_750_000_000_000);

pub struct Server {
    pub address: SocketAddr,
    pub store: Store,
    pub folder: Arc<TempDir>,
    pub password: String,
    accepting: JoinHandle<()>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no header {name}"));
        value.to_str().expect("printable")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The first error's code and message.
    pub fn error(&self) -> (String, String) {
        let json = self.json();
        let field = |name: &str| json["errors"][0][name].as_str().expect("text").to_owned();
        (field("code"), field("message"))
    }
}

impl Server {
    pub async fn start() -> Self {
        let store = Store::in_memory(store::kinds::all());
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::serve(Arc::new(folder), store).await
    }

    pub async fn serve(folder: Arc<TempDir>, store: Store) -> Self {
        let password = password();
        let registry = registry(folder.path(), &store);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let accepting = tokio::spawn(accept(listener, registry));
        Self { address, store, folder, password, accepting }
    }

    /// One that follows pull-through cache rules, at a time of the test's own.
    pub async fn start_with(
        upstream: Arc<dyn Upstream>,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let store = Store::in_memory(store::kinds::all());
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let parts = Parts { clock: Arc::new(clock), ..parts(folder.path(), &store) };
        let registry = Registry::with_upstream(parts, upstream);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let accepting = tokio::spawn(accept(listener, registry));
        // Good for the next day, too.
        let (password, _) = signer().mint(NOW.plus_seconds(20 * 3600));
        Self { address, store, folder, password, accepting }
    }

    /// What `kill -9` and a new start would do to the registry: all that is in memory is gone.
    pub async fn restart(self) -> Self {
        self.accepting.abort();
        Self::serve(Arc::clone(&self.folder), self.store.clone()).await
    }

    pub async fn repository(&self, name: &str, immutable_tags: bool) {
        make_repository(&self.store, name, immutable_tags).await;
    }

    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        use base64::Engine;
        let pair = format!("AWS:{}", self.password);
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Basic {pair}"))
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = TcpStream::connect(self.address).await.expect("connected");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let response = sender.send_request(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub async fn call(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request(method, path).body(Full::new(body.into()));
        self.send(request.expect("a request")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "").await
    }

    /// Pushes a blob in one request and returns its digest.
    pub async fn push_blob(&self, repository: &str, content: &[u8]) -> String {
        let digest = digest(content);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.call(Method::POST, &path, content.to_vec()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.body);
        digest
    }

    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &serde_json::Value,
    ) -> Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let media_type = manifest["mediaType"].as_str().expect("a media type");
        let request = self.request(Method::PUT, &path).header("content-type", media_type);
        self.send(request.body(Full::from(manifest.to_string())).expect("a request")).await
    }

    /// Pushes an image of one config and one layer and returns its manifest.
    pub async fn push_image(&self, repository: &str, tag: &str, layer: &[u8]) -> serde_json::Value {
        let config = self.push_blob(repository, b"{}").await;
        let blob = self.push_blob(repository, layer).await;
        let manifest = image(&config, 2, &blob, layer.len());
        let answer = self.put_manifest(repository, tag, &manifest).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.body);
        manifest
    }
}

pub async fn make_repository(store: &Store, name: &str, immutable_tags: bool) {
    let mut txn = store.begin();
    txn.put(Repository {
        name: RepositoryName::from(name),
        created_at: NOW,
        immutable_tags,
        tag_exclusions: Vec::new(),
        scan_on_push: false,
        tags: Default::default(),
    });
    txn.commit().await.expect("committed");
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn signer() -> Signer {
    Signer::new(b"a secret of these tests")
}

pub fn password() -> String {
    signer().mint(NOW).0
}

pub fn registry(folder: &Path, store: &Store) -> Registry {
    Registry::new(parts(folder, store))
}

fn parts(folder: &Path, store: &Store) -> Parts {
    let objects = FolderObjects::open(&folder.join("objects")).expect("an object folder");
    Parts {
        store: store.clone(),
        objects: Arc::new(objects),
        staging: Staging::open(&folder.join("uploads")).expect("a folder of uploads"),
        locality: Locality { region: "us-east-1".into(), account: "000000000000".into() },
        clock: Arc::new(|| NOW),
        signer: signer(),
        agent_user: "agent".to_owned(),
        agent_password: "of the agents".to_owned(),
    }
}

pub async fn accept(listener: TcpListener, registry: Registry) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let registry = registry.clone();
        connections.spawn(async move {
            let answer = hyper::service::service_fn(move |request| {
                let registry = registry.clone();
                async move { Ok::<_, std::convert::Infallible>(registry.handle(request).await) }
            });
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A test that cuts its connection makes this an error: its business.
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

pub fn digest(content: &[u8]) -> String {
    store::blob::Digest::of(content).to_string()
}

pub fn image(
    config: &str,
    config_bytes: usize,
    layer: &str,
    layer_bytes: usize,
) -> serde_json::Value {
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config, "size": config_bytes,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer, "size": layer_bytes,
        }],
    })
}

/// Bytes that compress badly and differ everywhere.
pub fn noise(bytes: usize) -> Vec<u8> {
    noise_of(1, bytes)
}

/// Other bytes for every other seed.
pub fn noise_of(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}
