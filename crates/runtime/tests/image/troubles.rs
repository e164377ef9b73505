//! Pulls that go badly: what can be healed is, and what can't is told as ECS tells it, with
//! nothing left.

use crate::registry::{Auth, CONFIG, LAYER, Layer, MANIFEST, Registry, Trouble, image, push};
use crate::tars::{directory, file, tar};
use crate::{impatient, open, pull};
use runtime::image::{Digest, ImageStore, Patience, Platform, PullFailure, RegistryMap};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

fn layer() -> Layer {
    // Data that doesn't compress to nothing, so that there is something to break in.
    let data: String = (0..60_000u32).map(|n| char::from(b'!' + (n * n % 89) as u8)).collect();
    Layer::plain(tar(&[directory("a"), file("a/data", &data)]))
}

fn blob_path(layer: &Layer) -> String {
    format!("/v2/app/blobs/{}", layer.digest())
}

/// Nothing half may stand anywhere.
fn nothing_left(store: &Path) {
    for folder in ["tmp", "layers", "images", "l", "tags"] {
        let left: Vec<_> = std::fs::read_dir(store.join(folder)).unwrap().collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

/// Pulls with this trouble on the layer, and gives back the failure.
async fn failing(troubles: Vec<Trouble>) -> PullFailure {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, &[layer()]);
    registry.trouble(&blob_path(&layer()), troubles);
    let store = open(home.path());
    let failure = pull(&store, &registry).await.unwrap_err();
    nothing_left(home.path());
    // And it was the trouble, nothing that stays.
    registry.trouble(&blob_path(&layer()), Vec::new());
    pull(&store, &registry).await.unwrap();
    failure
}

/// Pulls with troubles on a path, successfully, and tells how often it was asked for.
async fn healed(path: &str, troubles: Vec<Trouble>, prepare: impl FnOnce(&Registry)) -> usize {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, &[layer()]);
    registry.trouble(path, troubles);
    prepare(&registry);
    let store = open(home.path());
    pull(&store, &registry).await.unwrap_or_else(|failure| panic!("{path}: {failure}"));
    registry.asked().iter().filter(|asked| asked.ends_with(path)).count()
}

#[tokio::test]
async fn a_broken_connection_is_resumed_where_it_broke() {
    let blob = blob_path(&layer());
    let breaks = [0, 1, 511, 30_000, 5_000, 700].map(Trouble::BreakAfter).to_vec();
    assert_eq!(healed(&blob, breaks, |_| {}).await, 7);
    // By a server that knows no ranges: everything again, and the known part is skipped.
    let breaks = vec![Trouble::BreakAfterIgnoringRange(20_000), Trouble::BreakAfter(40_000)];
    assert_eq!(healed(&blob, breaks, Registry::ignore_range).await, 3);
    let silent = vec![Trouble::SilentAfter(1000), Trouble::Deaf];
    assert_eq!(healed(&blob, silent, |_| {}).await, 3);
    assert_eq!(healed(&blob, vec![Trouble::Crumbs(300)], |_| {}).await, 1);
    let ill = vec![Trouble::Status(503, ""), Trouble::Status(500, "")];
    assert_eq!(healed(&blob, ill.clone(), |_| {}).await, 3);
    let tag = "/v2/app/manifests/v1";
    assert_eq!(healed(tag, ill, |_| {}).await, 3);
    assert_eq!(healed(tag, vec![Trouble::Deaf, Trouble::Status(429, "")], |_| {}).await, 3);
}

#[tokio::test]
async fn a_connection_that_always_breaks_is_given_up() {
    let failure = failing(vec![Trouble::BreakAfter(0); 100]).await;
    let reason = failure.ecs_reason();
    assert!(matches!(failure, PullFailure::Unreachable { .. }), "{failure}");
    assert!(reason.starts_with("CannotPullContainerError: The task cannot pull 127.0.0.1:"));
    assert!(reason.contains("There is a connection issue between the task and the registry."));
    let failure = failing(vec![Trouble::Status(500, "oops"); 100]).await;
    let reason = failure.ecs_reason();
    assert!(reason.contains("httpReadSeeker: failed open: unexpected status code http://"));
    assert!(reason.ends_with("500 Internal Server Error"), "{reason}");
}

#[tokio::test]
async fn lies_are_found_out() {
    let honest = layer();
    let mut flipped = honest.blob.clone();
    flipped[9_000] ^= 1;
    let mut no_tar = honest.blob.clone();
    no_tar[3] ^= 1;
    for lie in [flipped, no_tar, vec![7; honest.blob.len()]] {
        let computed = Digest::of(&lie);
        let failure = failing(vec![Trouble::Lie(lie)]).await;
        let expected = format!(
            "CannotPullContainerError: ref pull has been retried 1 time(s): failed commit on ref \
             \"layer-{0}\": unexpected commit digest {computed}, expected {0}: failed precondition",
            honest.digest()
        );
        assert_eq!(failure.ecs_reason(), expected);
    }
    for length in [honest.blob.len() - 1, honest.blob.len() + 1] {
        let failure = failing(vec![Trouble::Lie(vec![7; length]); 2]).await;
        assert!(matches!(failure, PullFailure::SizeMismatch { .. }), "{failure}");
    }
}

#[tokio::test]
async fn a_layer_that_unpacks_to_something_else_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let other = Layer { diff_id: Digest::of(b"other"), ..layer() };
    push(&registry, &[other]);
    let failure = pull(&open(home.path()), &registry).await.unwrap_err();
    assert!(matches!(failure, PullFailure::DiffIdMismatch { .. }), "{failure}");
    nothing_left(home.path());
}

#[tokio::test]
async fn manifests_and_configs_are_checked_too() {
    for which in ["manifest", "config"] {
        let home = tempfile::tempdir().unwrap();
        let registry = Registry::start().await;
        let body = image(&registry, "amd64", &[layer()]);
        let digest = registry.put_manifest("app", "v1", MANIFEST, &body);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        let (path, lie) = match which {
            "manifest" => {
                (format!("/v2/app/manifests/{digest}"), body.replace("amd64", "amd65") + " ")
            }
            _ => {
                let config = json["config"]["digest"].as_str().unwrap();
                let size = json["config"]["size"].as_u64().unwrap();
                (format!("/v2/app/blobs/{config}"), " ".repeat(usize::try_from(size).unwrap()))
            }
        };
        registry.trouble(&path, vec![Trouble::Lie(lie.into_bytes()); 9]);
        let failure = pull(&open(home.path()), &registry).await.unwrap_err();
        assert!(matches!(failure, PullFailure::DigestMismatch { .. }), "{which}: {failure}");
        nothing_left(home.path());
    }
}

/// Pulls whatever manifest this is.
async fn manifest(kind: &str, body: &str) -> PullFailure {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    registry.put_manifest("app", "v1", kind, body);
    let failure = pull(&open(home.path()), &registry).await.unwrap_err();
    nothing_left(home.path());
    failure
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    let digest = Digest::of(b"");
    let layer = |kind: &str, size: u64| json!({"mediaType": kind, "digest": digest, "size": size});
    let body = |config: &str, size: u64, layers: Vec<serde_json::Value>| {
        json!({"schemaVersion": 2, "config": layer(config, size), "layers": layers}).to_string()
    };
    let chart = "application/vnd.cncf.helm.config.v1+json";
    let failure = manifest(MANIFEST, &body(chart, 1, vec![])).await;
    assert!(matches!(failure, PullFailure::UnsupportedMediaType { .. }), "{failure}");
    let failure = manifest("text/html", "<html>").await;
    assert!(matches!(failure, PullFailure::Malformed { .. }), "{failure}");
    let failure = manifest(MANIFEST, &body(CONFIG, 1 << 30, vec![])).await;
    assert!(matches!(failure, PullFailure::TooLarge { .. }), "{failure}");
    let failure = manifest(MANIFEST, &body(CONFIG, 1, vec![layer(LAYER, 1 << 50)])).await;
    assert!(matches!(failure, PullFailure::TooLarge { .. }), "{failure}");
    let failure = manifest(MANIFEST, &body(CONFIG, 1, vec![layer(LAYER, 1); 128])).await;
    assert!(matches!(failure, PullFailure::TooLarge { .. }), "{failure}");
    let failure = manifest(MANIFEST, &" ".repeat(5 << 20)).await;
    assert!(matches!(failure, PullFailure::TooLarge { .. }), "{failure}");
    let sha512 = body(CONFIG, 1, vec![]).replace("sha256:", "sha512:");
    let failure = manifest(MANIFEST, &sha512).await;
    assert!(failure.to_string().contains("unsupported digest"), "{failure}");
}

#[tokio::test]
async fn layers_and_their_digests_must_be_as_many() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let mut body: serde_json::Value =
        serde_json::from_str(&image(&registry, "amd64", &[layer()])).unwrap();
    body["layers"] = json!([]);
    registry.put_manifest("app", "v1", MANIFEST, &body.to_string());
    let failure = pull(&open(home.path()), &registry).await.unwrap_err();
    assert!(failure.to_string().contains("mismatched image rootfs and manifest layers"));
}

#[tokio::test]
async fn who_is_not_there_is_told_in_gos_words() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    // A port that was free a moment ago and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pull = |reference: String| {
        let store = store.clone();
        async move { store.pull(&reference, None, Platform::LinuxAmd64).await.unwrap_err() }
    };
    assert_eq!(
        pull(format!("{free}/app:v1")).await.ecs_reason(),
        format!(
            "CannotPullContainerError: The task cannot pull {free}/app:v1 from the registry \
             {free}. There is a connection issue between the task and the registry. Check your \
             task network configuration. : failed to copy: httpReadSeeker: failed open: failed to \
             do request: Head \"http://{free}/v2/app/manifests/v1\": dial tcp {free}: connect: \
             connection refused"
        )
    );
    assert_eq!(
        pull("Nope".to_owned()).await.ecs_reason(),
        "CannotPullContainerError: invalid reference format: repository name (library/Nope) must \
         be lowercase"
    );
    // Somebody else's port: speaks, but not HTTP.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 smtp ready\r\n").await.unwrap();
        }
    });
    let failure = pull(format!("{address}/app:v1")).await;
    assert!(matches!(failure, PullFailure::Unreachable { .. }), "{failure}");
    server.abort();
}

#[tokio::test]
async fn rate_limits_and_refusals_keep_their_words() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let words = r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#;
    let tag = "/v2/app/manifests/v1";
    let digest = push(&registry, &[layer()]);
    let by_digest = format!("{}/app@{digest}", registry.host());
    let path = format!("/v2/app/manifests/{digest}");
    registry.trouble(&path, vec![Trouble::Status(403, words)]);
    let store = open(home.path());
    let failure = store.pull(&by_digest, None, Platform::LinuxAmd64).await.unwrap_err();
    assert!(failure.ecs_reason().ends_with("may require 'docker login': denied: not yours"));
    registry.trouble(tag, vec![Trouble::Status(429, ""); 5]);
    let failure = pull(&store, &registry).await.unwrap_err();
    let words = format!(
        "CannotPullContainerError: ref pull has been retried 5 time(s): failed to copy: \
         httpReadSeeker: failed open: unexpected status code http://{}{tag}: 429 Too Many Requests \
         - Server message: toomanyrequests: Too Many Requests",
        registry.host()
    );
    assert_eq!(failure.ecs_reason(), words);
    assert!(failure.is_passing());
}

#[tokio::test]
async fn a_registry_that_asks_for_a_pause_gets_it_within_bounds() {
    let tag = "/v2/app/manifests/v1";
    let began = std::time::Instant::now();
    assert_eq!(healed(tag, vec![Trouble::Busy("1")], |_| {}).await, 2);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let began = std::time::Instant::now();
    assert_eq!(healed(&blob_path(&layer()), vec![Trouble::Busy("1")], |_| {}).await, 2);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    // An hour is more than a pull can wait, and so is the end of the century: no second attempt.
    for long in ["3600", "Thu, 31 Dec 2099 23:59:59 GMT"] {
        let home = tempfile::tempdir().unwrap();
        let registry = Registry::start().await;
        push(&registry, &[layer()]);
        registry.trouble(tag, vec![Trouble::Busy(long); 2]);
        let failure = pull(&open(home.path()), &registry).await.unwrap_err();
        assert!(matches!(failure, PullFailure::RateLimited { attempts: 1, .. }), "{failure:?}");
        assert_eq!(registry.asked(), [format!("HEAD {tag}")]);
    }
    // A date that has passed asks for nothing.
    let past = vec![Trouble::Busy("Thu, 01 Jan 1970 00:00:00 GMT")];
    assert_eq!(healed(tag, past, |_| {}).await, 2);
}

#[tokio::test]
async fn a_redirect_must_not_lead_away_from_the_configured() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, &[layer()]);
    for (location, words) in [
        ("http://192.0.2.1/blob", "it is plain http"),
        ("ftp://127.0.0.1/blob", "refused to be sent to ftp://"),
        ("", "a redirect to nowhere"),
    ] {
        let trouble = Trouble::Location(location.to_owned());
        registry.trouble(&blob_path(&layer()), vec![trouble]);
        let failure = pull(&open(home.path()), &registry).await.unwrap_err();
        assert!(failure.to_string().contains(words), "{location}: {failure}");
    }
    let bearer = Registry::start_with(Auth::Bearer(None)).await;
    bearer.trouble("/token", vec![]);
    push(&bearer, &[layer()]);
    pull(&open(home.path()), &bearer).await.unwrap();
}

#[tokio::test]
async fn a_pull_has_an_end_however_alive_it_looks() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, &[layer()]);
    registry.trouble(&blob_path(&layer()), vec![Trouble::Crumbs(60_000)]);
    let patience = Patience { pull: Duration::from_millis(300), ..impatient() };
    let store = ImageStore::open_with(home.path(), RegistryMap::default(), patience).unwrap();
    let failure = pull(&store, &registry).await.unwrap_err();
    assert!(matches!(failure, PullFailure::TimedOut { .. }), "{failure}");
}

#[test]
fn a_full_disk_is_told_as_such() {
    // A mount namespace of this thread's own, so that the small disk disappears with it.
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let thread = std::thread::spawn(move || {
        crate::overlay::private_mounts();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("none", &path, "tmpfs", flags, c"size=1m").unwrap();
        // The pull's own threads must be in the namespace, too, and threads are born in their
        // parent's.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let registry = Registry::start().await;
            let large = Layer::plain(tar(&[file("a", &"x".repeat(2_000_000))]));
            push(&registry, &[large]);
            let store = open(&path);
            let failure = pull(&store, &registry).await.unwrap_err();
            let words = format!(
                "CannotPullContainerError: ref pull has been retried 1 time(s): failed to register \
                 layer: write {}: no space left on device",
                path.display()
            );
            assert_eq!(failure.ecs_reason(), words);
            nothing_left(&path);
            push(&registry, &[layer()]);
            pull(&store, &registry).await.unwrap();
        });
    });
    thread.join().unwrap();
}
