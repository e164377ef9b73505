//! Pulls that go well: what arrives, what is asked of the registry for it, and what is not asked
//! again.

use crate::registry::{Auth, INDEX, Layer, MANIFEST, Registry, Trouble, image, push};
use crate::tars::{directory, file, symlink, tar};
use crate::trees::{same, tree};
use crate::{impatient, open, pull};
use runtime::image::{
    BasicAuth, Digest, Endpoint, ImageStore, Platform, Progress, PullFailure, RegistryMap, Watcher,
};
use serde_json::json;
use std::sync::Arc;

fn layers() -> [Layer; 3] {
    let first = tar(&[directory("etc"), file("etc/hosts", "one"), file("bin/sh", "#!")]);
    let second = tar(&[directory("etc"), file("etc/hosts", "two"), symlink("sh", "/bin/sh")]);
    let third = tar(&[directory("srv"), file("srv/app", "three")]);
    [Layer::gzip(&first), Layer::zstd(&second), Layer::plain(third)]
}

fn read(image: &runtime::image::Image, layer: usize, path: &str) -> String {
    std::fs::read_to_string(image.layers[layer].join(path)).unwrap()
}

#[tokio::test]
async fn an_image_arrives_whole_and_is_not_fetched_again() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let digest = push(&registry, &layers());
    let store = open(home.path());
    let first = pull(&store, &registry).await.unwrap();
    assert_eq!((first.digest, first.index_digest), (digest, None));
    assert_eq!(first.reference, format!("{}/app:v1", registry.host()));
    assert_eq!(
        (&*first.config.cmd, &*first.config.working_dir),
        (&["/app".to_owned()][..], "/srv")
    );
    assert_eq!(read(&first, 0, "etc/hosts"), "one");
    assert_eq!(read(&first, 1, "etc/hosts"), "two");
    assert_eq!(read(&first, 2, "srv/app"), "three");
    let sizes: usize = layers().iter().map(|layer| layer.blob.len()).sum();
    assert!(first.size > sizes as u64);
    for (path, link) in first.layers.iter().zip(&first.links) {
        assert_eq!(link.canonicalize().unwrap(), *path);
        assert_eq!(link.file_name().unwrap().len(), 26);
    }
    assert_eq!(registry.asked().len(), 1 + 1 + 1 + 3);
    // Again: only the tag is resolved, with one request.
    let again = pull(&store, &registry).await.unwrap();
    assert_eq!(again.layers, first.layers);
    assert_eq!(registry.asked(), ["HEAD /v2/app/manifests/v1"]);
    // By digest, nobody is asked.
    let by_digest = format!("{}/app@{digest}", registry.host());
    assert_eq!(
        store.pull(&by_digest, None, Platform::LinuxAmd64).await.unwrap().layers,
        first.layers
    );
    assert!(registry.asked().is_empty());
    // Nor by another process, later.
    drop(store);
    let store = open(home.path());
    let tag = format!("{}/app:v1", registry.host());
    assert_eq!(store.present(&tag, Platform::LinuxAmd64).unwrap().layers, first.layers);
    assert!(store.present(&tag, Platform::LinuxArm64).is_none());
    assert_eq!(pull(&store, &registry).await.unwrap().config, first.config);
    assert_eq!(registry.asked(), ["HEAD /v2/app/manifests/v1"]);
}

#[tokio::test]
async fn a_tag_that_moved_is_followed_and_known_layers_stay() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let [first, second, third] = layers();
    push(&registry, &[first.clone(), second]);
    let store = open(home.path());
    let old = pull(&store, &registry).await.unwrap();
    let moved = push(&registry, &[first.clone(), third]);
    registry.asked();
    let new = pull(&store, &registry).await.unwrap();
    assert_eq!(new.digest, moved);
    assert_ne!(new.digest, old.digest);
    assert_eq!(new.layers[0], old.layers[0]);
    let asked = registry.asked();
    assert!(!asked.iter().any(|path| path.ends_with(&first.digest().to_string())), "{asked:?}");
    let tag = format!("{}/app:v1", registry.host());
    assert_eq!(store.present(&tag, Platform::LinuxAmd64).unwrap().digest, moved);
}

#[tokio::test]
async fn the_right_platform_of_an_index_is_taken() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let mut entries = vec![json!({
        "mediaType": MANIFEST, "digest": Digest::of(b"attestation"), "size": 7,
        "platform": {"os": "unknown", "architecture": "unknown"},
    })];
    for (architecture, layer) in ["arm64", "amd64"].iter().zip(layers()) {
        let body = image(&registry, architecture, &[layer]);
        let digest = registry.put_manifest("app", architecture, MANIFEST, &body);
        entries.push(json!({
            "mediaType": MANIFEST, "digest": digest, "size": body.len(),
            "platform": {"os": "linux", "architecture": architecture},
        }));
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
    let index = registry.put_manifest("app", "v1", INDEX, &index);
    let store = open(home.path());
    let reference = format!("{}/app:v1", registry.host());
    for (platform, architecture) in
        [(Platform::LinuxAmd64, "amd64"), (Platform::LinuxArm64, "arm64")]
    {
        let image = store.pull(&reference, None, platform).await.unwrap();
        assert_eq!(image.config.architecture, architecture);
        assert_eq!(image.index_digest, Some(index));
        registry.asked();
        let again = store.pull(&reference, None, platform).await.unwrap();
        assert_eq!((again.digest, again.index_digest), (image.digest, image.index_digest));
        assert_eq!(registry.asked(), ["HEAD /v2/app/manifests/v1"]);
        assert_eq!(store.present(&reference, platform).unwrap().digest, image.digest);
    }
    let only_arm = format!("{}/app:arm64", registry.host());
    let failure = store.pull(&only_arm, None, Platform::LinuxAmd64).await.unwrap_err();
    assert_eq!(
        failure.ecs_reason(),
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): image Manifest \
         does not contain descriptor matching platform 'linux/amd64'"
    );
}

#[tokio::test]
async fn many_pulls_at_once_are_one() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, &layers());
    let [shared, ..] = layers();
    // Another image with one layer in common, at the same time.
    let other = Layer::gzip(&tar(&[file("other", "x")]));
    registry.put_manifest("app", "v2", MANIFEST, &image(&registry, "amd64", &[shared, other]));
    // Slow enough that everybody comes while the first is still at it.
    for layer in layers() {
        let path = format!("/v2/app/blobs/{}", layer.digest());
        registry.trouble(&path, vec![Trouble::Crumbs(100)]);
    }
    let store = open(home.path());
    let pulls = (0..40).map(|n| {
        let (store, version) = (store.clone(), 1 + n % 2);
        let reference = format!("{}/app:v{version}", registry.host());
        tokio::spawn(async move { store.pull(&reference, None, Platform::LinuxAmd64).await })
    });
    for pulled in futures_util::future::join_all(pulls).await {
        pulled.unwrap().unwrap();
    }
    let mut asked = registry.asked();
    asked.sort();
    let all = asked.len();
    asked.dedup();
    assert_eq!(asked.len(), all, "nothing was asked twice: {asked:?}");
    // Two tags, two manifests, two configs, four layers.
    assert_eq!(all, 10, "{asked:?}");
}

#[tokio::test]
async fn a_pull_that_nobody_waits_for_stops_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let [layer, ..] = layers();
    let body = image(&registry, "amd64", std::slice::from_ref(&layer));
    registry.put_manifest("app", "v1", MANIFEST, &body);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let config = json["config"]["size"].as_u64().unwrap();
    let before_layer = body.len() + usize::try_from(config).unwrap();
    let path = format!("/v2/app/blobs/{}", layer.digest());
    registry.trouble(&path, vec![Trouble::SilentAfter(100)]);
    let patient = runtime::image::Patience::default();
    let store = ImageStore::open_with(home.path(), RegistryMap::default(), patient).unwrap();
    let mut sent = registry.sent();
    {
        let pull = pull(&store, &registry);
        tokio::select! {
            pulled = pull => panic!("{pulled:?}"),
            arrived = sent.wait_for(|sent| *sent > before_layer) => { arrived.unwrap(); }
        }
    }
    let tmp = home.path().join("tmp");
    while std::fs::read_dir(&tmp).unwrap().count() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(std::fs::read_dir(home.path().join("layers")).unwrap().count(), 0);
    pull(&store, &registry).await.unwrap();
}

#[tokio::test]
async fn basic_credentials_are_shown_to_who_asks() {
    let home = tempfile::tempdir().unwrap();
    let auth = Auth::Basic("me".to_owned(), "secret".to_owned());
    let registry = Registry::start_with(auth).await;
    push(&registry, &layers());
    let store = open(home.path());
    let reference = format!("{}/app:v1", registry.host());
    let platform = Platform::LinuxAmd64;
    for wrong in [None, Some(BasicAuth::new("me", "wrong"))] {
        let failure = store.pull(&reference, wrong, platform).await.unwrap_err();
        assert!(matches!(failure, PullFailure::AccessDenied { .. }), "{failure}");
        let name = format!("{}/app", registry.host());
        assert_eq!(
            failure.ecs_reason(),
            format!(
                "CannotPullContainerError: The task can’t pull the image. Check whether the image \
                 exists. Error response from daemon: pull access denied for {name}, repository \
                 does not exist or may require 'docker login': unauthorized: authentication \
                 required"
            )
        );
    }
    let right = BasicAuth::new("me", "secret");
    store.pull(&reference, Some(right.clone()), platform).await.unwrap();
    registry.asked();
    // That an image is here is no reason to show it to someone the registry would refuse.
    assert!(store.pull(&reference, None, platform).await.is_err());
    store.pull(&reference, Some(right), platform).await.unwrap();
}

#[tokio::test]
async fn tokens_are_earned_once() {
    for account in [None, Some(("me".to_owned(), "secret".to_owned()))] {
        let home = tempfile::tempdir().unwrap();
        let registry = Registry::start_with(Auth::Bearer(account.clone())).await;
        push(&registry, &layers());
        let store = open(home.path());
        let reference = format!("{}/app:v1", registry.host());
        let auth = account.map(|(name, password)| BasicAuth::new(name, password));
        let platform = Platform::LinuxAmd64;
        for _ in 0..3 {
            store.pull(&reference, auth.clone(), platform).await.unwrap();
        }
        assert_eq!(registry.tokens(), 1);
        let bare = registry.authorizations().into_iter().filter(|(_, sent)| sent.is_none());
        let bare: Vec<_> = bare.filter(|(path, _)| path != "/token").collect();
        assert_eq!(bare.len(), 1, "only the first request came without: {bare:?}");
        let stranger = Some(BasicAuth::new("you", "guess"));
        let failure = store.pull(&reference, stranger, platform).await.unwrap_err();
        assert!(matches!(failure, PullFailure::AccessDenied { .. }), "{failure}");
    }
}

#[tokio::test]
async fn what_one_repository_asks_for_the_next_need_not() {
    let home = tempfile::tempdir().unwrap();
    let account = ("me".to_owned(), "secret".to_owned());
    let registry = Registry::start_with(Auth::Bearer(Some(account))).await;
    registry.open_to_all("/v2/public/");
    push(&registry, &layers());
    let body = image(&registry, "amd64", &layers());
    registry.put_manifest("public", "v1", MANIFEST, &body);
    let store = open(home.path());
    let reference = |name: &str| format!("{}/{name}:v1", registry.host());
    let auth = Some(BasicAuth::new("me", "secret"));
    store.pull(&reference("app"), auth, Platform::LinuxAmd64).await.unwrap();
    // The token server gives nothing to strangers, and none is needed.
    store.pull(&reference("public"), None, Platform::LinuxAmd64).await.unwrap();
}

#[tokio::test]
async fn who_waits_is_told_how_far_it_is() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, &layers());
    let told: Arc<std::sync::Mutex<Vec<Progress>>> = Arc::default();
    let watcher: Watcher = {
        let told = Arc::clone(&told);
        Arc::new(move |progress| told.lock().unwrap().push(progress.clone()))
    };
    let store = open(home.path());
    let reference = format!("{}/app:v1", registry.host());
    let platform = Platform::LinuxAmd64;
    store.pull_watched(&reference, None, platform, Arc::clone(&watcher)).await.unwrap();
    let told = std::mem::take(&mut *told.lock().unwrap());
    let Progress::Layers(wanted) = &told[0] else { panic!("{:?}", told[0]) };
    assert_eq!(wanted.len(), 3);
    for (layer, size) in wanted {
        let last = told.iter().rev().find_map(|progress| match progress {
            Progress::Fetched { layer: of, bytes, bytes_total } if of == layer => {
                Some((*bytes, *bytes_total))
            }
            _ => None,
        });
        assert_eq!(last, Some((*size, *size)));
        assert!(told.contains(&Progress::Unpacked { layer: *layer }));
    }
    // Nothing is fetched the second time.
    store.pull_watched(&reference, None, platform, watcher).await.unwrap();
}

#[tokio::test]
async fn our_own_registry_is_reached_by_its_ecr_name() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start_with(Auth::Basic("AWS".into(), "token".into())).await;
    push(&registry, &layers());
    let name = "000000000000.dkr.ecr.us-east-1.amazonaws.com";
    let endpoint = Endpoint {
        base_url: format!("http://{}", registry.host()),
        credentials: Some(Arc::new(BasicAuth::new("AWS", "token"))),
    };
    let map =
        RegistryMap { ecr_hosts: [(name.to_owned(), endpoint)].into(), ..RegistryMap::default() };
    let store = ImageStore::open_with(home.path(), map, impatient()).unwrap();
    let image = store.pull(&format!("{name}/app:v1"), None, Platform::LinuxAmd64).await.unwrap();
    assert_eq!(image.reference, format!("{name}/app:v1"));
    let missing = store.pull(&format!("{name}/nope:v1"), None, Platform::LinuxAmd64).await;
    assert_eq!(
        missing.unwrap_err().ecs_reason(),
        format!(
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to \
             resolve ref {name}/nope:v1: {name}/nope:v1: not found"
        )
    );
}

#[tokio::test]
async fn redirects_are_followed_without_the_credentials() {
    let home = tempfile::tempdir().unwrap();
    let storage = Registry::start().await;
    let registry = Registry::start_with(Auth::Basic("me".into(), "secret".into())).await;
    let [layer, ..] = layers();
    push(&registry, std::slice::from_ref(&layer));
    storage.put_blob(layer.blob.clone());
    let path = format!("/v2/app/blobs/{}", layer.digest());
    let there = format!("http://{}/v2/app/blobs/{}", storage.host(), layer.digest());
    registry.trouble(&path, vec![Trouble::Location(there)]);
    let store = open(home.path());
    let auth = Some(BasicAuth::new("me", "secret"));
    let reference = format!("{}/app:v1", registry.host());
    store.pull(&reference, auth.clone(), Platform::LinuxAmd64).await.unwrap();
    assert_eq!(storage.authorizations(), [(path.clone(), None)]);
    // A redirect to itself, for ever.
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    registry.trouble(&path, vec![Trouble::Location(path.clone()); 100]);
    let failure = store.pull(&reference, auth, Platform::LinuxAmd64).await.unwrap_err();
    assert!(failure.to_string().ends_with("stopped after 5 redirects"), "{failure}");
}

#[tokio::test]
async fn registries_that_hide_digests_are_served_by_their_manifests() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    registry.hide_digests();
    let digest = push(&registry, &layers());
    let store = open(home.path());
    for _ in 0..2 {
        assert_eq!(pull(&store, &registry).await.unwrap().digest, digest);
    }
    let asked = registry.asked();
    let blobs = asked.iter().filter(|path| path.contains("/blobs/")).count();
    assert_eq!(blobs, 4, "{asked:?}");
}

#[tokio::test]
async fn images_without_layers_and_with_one_layer_twice_can_be_mounted() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let store = open(home.path());
    push(&registry, &[]);
    let image = pull(&store, &registry).await.unwrap();
    assert_eq!(image.layers.len(), 1);
    assert_eq!(tree(&image.layers[0]).len(), 1);
    let [a, b, _] = layers();
    push(&registry, &[a.clone(), b, a.clone()]);
    let image = pull(&store, &registry).await.unwrap();
    assert_eq!(image.layers.len(), 2, "the same directory twice is refused by overlay");
    assert_eq!(read(&image, 1, "etc/hosts"), "one", "the highest stays");
}

#[tokio::test]
async fn a_held_image_is_known_as_held() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let digest = push(&registry, &layers());
    let store = open(home.path());
    let image = pull(&store, &registry).await.unwrap();
    let hold = image.hold.clone();
    drop(image);
    assert!(store.held().contains(&digest));
    drop(hold);
    assert!(store.held().is_empty());
}

#[tokio::test]
async fn every_compression_and_any_media_type_gives_the_same_tree() {
    let registry = Registry::start().await;
    let bytes = tar(&[directory("a"), file("a/b", &"x".repeat(100_000)), symlink("c", "a/b")]);
    let mut trees = Vec::new();
    // The manifest says gzip for all three.
    for layer in [Layer::plain(bytes.clone()), Layer::gzip(&bytes), Layer::zstd(&bytes)] {
        let home = tempfile::tempdir().unwrap();
        push(&registry, &[layer]);
        let image = pull(&open(home.path()), &registry).await.unwrap();
        let mut found = tree(&image.layers[0]);
        // The root has no entry, so its time is that of its making.
        found.remove("");
        trees.push(found);
    }
    same(&trees[0], &trees[1]);
    same(&trees[0], &trees[2]);
}
