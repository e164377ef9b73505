//! The registry's process is killed in the middle of pushes, 200 times, while its garbage is
//! collected. What it acknowledged is there afterwards, what is there is whole, and an upload goes
//! on where it says it stands.
//!
//! The process is this test's own binary, told by its environment to be the one that is killed.

mod harness;

use bytes::Bytes;
use harness::{digest, image, noise_of};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::Store;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const FOLDER: &str = "REGISTRY_KILL_FOLDER";
const KILLS: u64 = 200;
const PUSHERS: u64 = 3;
/// The blob that is sent a little in each life, and its pieces.
const LONG_BYTES: usize = 3_000_000;
const PIECE_BYTES: usize = 40_000;

/// Serves until it is killed; by itself only starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_that_is_killed() {
    let given = std::env::var_os(FOLDER);
    // None of its own when it is to be killed: it would stay.
    let own = given.is_none().then(|| tempfile::tempdir().expect("a temporary folder"));
    let folder = own.as_ref().map(TempDir::path);
    let folder = folder.unwrap_or_else(|| Path::new(given.as_ref().expect("or its own")));
    let store = Store::open(&folder.join("state"), store::kinds::all()).expect("opened");
    for name in ["one", "two"] {
        harness::make_repository(&store, name, false).await;
    }
    let registry = harness::registry(folder, &store);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let serving = tokio::spawn(harness::accept(listener, registry.clone()));
    let line = format!("\nlistening {address}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("somebody reads");
    while given.is_some() && !serving.is_finished() {
        registry.collect(Duration::from_secs(3600)).await.expect("collected");
        tokio::task::yield_now().await;
    }
    serving.abort();
}

/// Kills its process when dropped, so that a failing test leaves none behind.
struct Victim(Child);

impl Victim {
    fn start(folder: &Path) -> (Self, SocketAddr) {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "the_registry_that_is_killed", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut victim = Self(child.expect("started"));
        let said = victim.0.stdout.take().expect("piped");
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("listening ")?.parse().ok());
        (victim, address.expect("it listens"))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A way to one life of the registry. What it answers is None once that has been killed.
#[derive(Clone)]
struct Client {
    address: SocketAddr,
    password: String,
    /// Answers of this life so far.
    answers: Arc<watch::Sender<u64>>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self { address, password: harness::password(), answers: Arc::default() }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        use base64::Engine;
        let pair =
            base64::engine::general_purpose::STANDARD.encode(format!("AWS:{}", self.password));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Basic {pair}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let stream = TokioIo::new(TcpStream::connect(self.address).await.ok()?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.ok()?;
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        self.answers.send_modify(|answers| *answers += 1);
        Some(Answer { status: head.status, headers: head.headers, body })
    }

    async fn get(&self, path: &str) -> Option<Answer> {
        self.call(Method::GET, path, &[], "").await
    }

    async fn push_blob(&self, repository: &str, content: &[u8], chunked: bool) -> Option<String> {
        let blob = digest(content);
        let path = format!("/v2/{repository}/blobs/uploads/");
        let done = if chunked {
            let begun = self.call(Method::POST, &path, &[], "").await?;
            let location = begun.headers["location"].to_str().expect("printable").to_owned();
            let (first, second) = content.split_at(content.len() / 2);
            self.call(Method::PATCH, &location, &[], first.to_vec()).await?;
            let path = format!("{location}?digest={blob}");
            self.call(Method::PUT, &path, &[], second.to_vec()).await?
        } else {
            self.call(Method::POST, &format!("{path}?digest={blob}"), &[], content.to_vec()).await?
        };
        assert_eq!(done.status, StatusCode::CREATED, "{:?}", done.body);
        Some(blob)
    }
}

type Acknowledged = Arc<Mutex<BTreeMap<String, String>>>;

/// Pushes images until the registry is gone. What it says is done goes into the list: the path by
/// tag, and the manifest.
async fn push_images(client: Client, seed: u64, acknowledged: Acknowledged) -> Option<()> {
    for n in 0.. {
        let repository = if n % 2 == 0 { "one" } else { "two" };
        // Every pusher has a layer of its own and one that all push.
        let (own, shared) = (noise_of(seed * 1000 + n, 30_000), noise_of(seed / 8, 60_000));
        let config = client.push_blob(repository, b"{}", false).await?;
        let layer = client.push_blob(repository, &own, n % 3 == 0).await?;
        let common = client.push_blob(repository, &shared, n % 3 == 1).await?;
        let mut manifest = image(&config, 2, &layer, own.len());
        let more = image(&config, 2, &common, shared.len());
        manifest["layers"].as_array_mut().expect("a list").push(more["layers"][0].clone());
        let path = format!("/v2/{repository}/manifests/v{seed}-{n}");
        let media_type = manifest["mediaType"].as_str().expect("text").to_owned();
        let headers = [("content-type", media_type.as_str())];
        let text = manifest.to_string();
        let put = client.call(Method::PUT, &path, &headers, text.clone()).await?;
        assert_eq!(put.status, StatusCode::CREATED, "{:?}", put.body);
        acknowledged.lock().expect("not poisoned").insert(path, text);
    }
    None
}

/// One blob, sent piece by piece over many lives.
#[derive(Default)]
struct LongUpload {
    location: Option<String>,
    acknowledged: usize,
    finished: u64,
}

impl LongUpload {
    async fn go_on(&mut self, client: &Client) -> Option<()> {
        let whole = noise_of(u64::MAX / 3, LONG_BYTES);
        loop {
            let Some(location) = self.location.clone() else {
                let path = "/v2/one/blobs/uploads/";
                let begun = client.call(Method::POST, path, &[], "").await?;
                let location = begun.headers["location"].to_str().expect("printable");
                (self.location, self.acknowledged) = (Some(location.to_owned()), 0);
                continue;
            };
            let standing = client.get(&location).await?;
            if standing.status == StatusCode::NOT_FOUND && self.acknowledged == LONG_BYTES {
                // It was finished, and the answer did not come through.
                self.location = None;
                continue;
            }
            assert_eq!(standing.status, StatusCode::NO_CONTENT, "{:?}", standing.body);
            let range = standing.headers["range"].to_str().expect("printable");
            let last: usize = range.strip_prefix("0-").expect("a range").parse().expect("a number");
            let next = if last == 0 { 0 } else { last + 1 };
            assert!(next >= self.acknowledged, "{next} after {} were kept", self.acknowledged);
            let end = LONG_BYTES.min(next + PIECE_BYTES);
            if next == LONG_BYTES {
                self.acknowledged = LONG_BYTES;
                let path = format!("{location}?digest={}", digest(&whole));
                let put = client.call(Method::PUT, &path, &[], "").await?;
                assert_eq!(put.status, StatusCode::CREATED, "{:?}", put.body);
                self.location = None;
                self.finished += 1;
                continue;
            }
            let header = format!("{next}-{}", end - 1);
            let headers = [("content-range", header.as_str())];
            let piece = whole[next..end].to_vec();
            let sent = client.call(Method::PATCH, &location, &headers, piece).await?;
            assert_eq!(sent.status, StatusCode::ACCEPTED, "{:?}", sent.body);
            self.acknowledged = end;
        }
    }
}

/// An image is as it was pushed, and all of it is there.
async fn check_image(client: &Client, path: &str, pushed: Option<&str>) {
    let manifest = client.get(path).await.expect("it lives");
    assert_eq!(manifest.status, StatusCode::OK, "{path}");
    assert!(pushed.is_none_or(|pushed| manifest.body == pushed), "{path}");
    let json: serde_json::Value = serde_json::from_slice(&manifest.body).expect("whole JSON");
    let layers = json["layers"].as_array().expect("a list").iter();
    for needed in layers.chain([&json["config"]]) {
        let repository = path.split("/manifests/").next().expect("a path");
        let wanted = needed["digest"].as_str().expect("text");
        let blob = client.get(&format!("{repository}/blobs/{wanted}")).await.expect("it lives");
        assert_eq!(digest(&blob.body), wanted, "{path}");
    }
}

/// Every tag there is stands for a whole image.
async fn check_all(client: &Client) -> usize {
    let mut images = 0;
    for repository in ["one", "two"] {
        let mut last = String::new();
        loop {
            let path = format!("/v2/{repository}/tags/list?n=1000&last={last}");
            let list = client.get(&path).await.expect("it lives");
            let json: serde_json::Value = serde_json::from_slice(&list.body).expect("JSON");
            let tags = json["tags"].as_array().expect("a list");
            for tag in tags {
                let tag = tag.as_str().expect("text");
                check_image(client, &format!("/v2/{repository}/manifests/{tag}"), None).await;
                images += 1;
                last = tag.to_owned();
            }
            if tags.is_empty() {
                break;
            }
        }
    }
    images
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_kills_tear_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let acknowledged = Acknowledged::default();
    let mut long = LongUpload::default();
    let mut checked = 0;
    for life in 0..KILLS {
        let (victim, address) = Victim::start(folder.path());
        let client = Client::new(address);
        // What the life before acknowledged.
        let all = acknowledged.lock().expect("not poisoned").clone();
        for (path, manifest) in
            all.iter().filter(|(path, _)| path.contains(&format!("v{}-", life * 8)))
        {
            check_image(&client, path, Some(manifest)).await;
            checked += 1;
        }
        client.answers.send_replace(0);
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|n| push_images(client.clone(), (life + 1) * 8 + n, Arc::clone(&acknowledged)))
            .map(tokio::spawn)
            .collect();
        // Killed at a moment of its own in each life: after so many answers, and a little later.
        let random = noise_of(life, 2);
        let (answers, turns) = (u64::from(random[0]) / 3, u32::from(random[1]) * 8);
        let mut answered = client.answers.subscribe();
        let killing = tokio::spawn(async move {
            let enough = answered.wait_for(|count| *count >= answers);
            drop(enough.await.expect("the client lives on"));
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            drop(victim);
        });
        long.go_on(&client).await;
        killing.await.expect("killed");
        for pusher in pushers {
            pusher.await.expect("no refusal and no panic");
        }
    }
    let (_victim, address) = Victim::start(folder.path());
    let client = Client::new(address);
    let all = acknowledged.lock().expect("not poisoned").clone();
    for (path, manifest) in &all {
        check_image(&client, path, Some(manifest)).await;
    }
    let images = check_all(&client).await;
    assert!(images >= all.len() && all.len() > 100, "{} pushed, {images} there", all.len());
    assert!(checked > 0 && (long.finished > 0 || long.acknowledged > LONG_BYTES / 2));
}
