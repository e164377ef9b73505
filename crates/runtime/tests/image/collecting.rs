//! Images that nobody uses are removed, and nothing else: not under a task's feet, not between a
//! pull and its hold, and not half, whoever is killed when.

use crate::registry::{Layer, MANIFEST, Registry, image};
use crate::tars::{directory, file, tar};
use crate::{impatient, open};
use runtime::image::{Cleanup, Image, ImageStore, Platform, RegistryMap};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::Command;

/// A layer whose one file says which it is.
fn layer(name: &str) -> Layer {
    let text = format!("{name} ").repeat(3000);
    Layer::gzip(&tar(&[directory("d"), file(&format!("d/{name}"), &text)]))
}

/// Pushes `app:<version>` of these layers.
fn push(registry: &Registry, version: &str, layers: &[&str]) {
    let layers: Vec<Layer> = layers.iter().map(|name| layer(name)).collect();
    let body = image(registry, "amd64", &layers);
    registry.put_manifest("app", version, MANIFEST, &body);
}

fn reference(registry: &Registry, version: &str) -> String {
    format!("{}/app:{version}", registry.host())
}

async fn pull(store: &ImageStore, registry: &Registry, version: &str) -> Image {
    let reference = reference(registry, version);
    store.pull(&reference, None, Platform::LinuxAmd64).await.unwrap()
}

/// Every layer is there whole, through the names that containers are started with.
fn check(image: &Image, layers: &[&str]) {
    assert_eq!(image.links.len(), layers.len());
    for (link, name) in image.links.iter().zip(layers) {
        let text = std::fs::read_to_string(link.join("d").join(name));
        let text = text.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(text, format!("{name} ").repeat(3000));
    }
}

fn count(store: &Path, folder: &str) -> usize {
    std::fs::read_dir(store.join(folder)).unwrap().count()
}

fn one_at_a_time() -> Cleanup {
    Cleanup { images_max: 1, ..Cleanup::everything() }
}

#[tokio::test]
async fn the_longest_unused_goes_first_and_what_is_shared_stays() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, "v1", &["base", "one"]);
    push(&registry, "v2", &["base", "two"]);
    let store = open(home.path());
    let first = pull(&store, &registry, "v1").await;
    let second = pull(&store, &registry, "v2").await;
    drop(first);
    drop(second);
    let young = Cleanup { minimum_age: Duration::from_secs(60), ..Cleanup::everything() };
    assert!(store.collect(young).await.unwrap().images.is_empty());
    let collected = store.collect(one_at_a_time()).await.unwrap();
    assert_eq!((collected.images.len(), collected.layers), (1, 1));
    assert!(collected.bytes > 6000);
    let listed = store.list();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].references, [reference(&registry, "v2")]);
    assert!(!listed[0].held);
    assert_eq!(count(home.path(), "layers"), 2);
    assert_eq!(count(home.path(), "l"), 2);
    // It can be had again, and only what was removed is fetched.
    registry.asked();
    check(&pull(&store, &registry, "v1").await, &["base", "one"]);
    let blobs = registry.asked().iter().filter(|asked| asked.contains("/blobs/")).count();
    assert_eq!(blobs, 2, "the config and one layer");
    store.collect(Cleanup::everything()).await.unwrap();
    for folder in ["layers", "l", "images", "tags", "mends", "leases", "tmp"] {
        assert_eq!(count(home.path(), folder), 0, "{folder}");
    }
}

#[tokio::test]
async fn what_a_task_has_stays_whatever_becomes_of_us() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, "v1", &["base", "one"]);
    let store = open(home.path());
    let image = pull(&store, &registry, "v1").await;
    // Held in this process.
    assert!(store.collect(Cleanup::everything()).await.unwrap().images.is_empty());
    store.lease("task-1", &image).unwrap();
    store.lease("task-1", &image).unwrap();
    store.lease("task-2", &image).unwrap();
    drop(image);
    assert_eq!(store.list()[0].owners, ["task-1", "task-2"]);
    assert!(store.collect(Cleanup::everything()).await.unwrap().images.is_empty());
    // By the next process, too, and even if the image's record was lost.
    drop(store);
    let store = open(home.path());
    let all = Cleanup::everything;
    assert!(store.collect(all()).await.unwrap().images.is_empty());
    drop(store);
    let record = std::fs::read_dir(home.path().join("images")).unwrap().next().unwrap().unwrap();
    std::fs::write(record.path(), "torn").unwrap();
    let store = open(home.path());
    assert_eq!(store.collect(all()).await.unwrap().layers, 0);
    assert_eq!(count(home.path(), "layers"), 2);
    check(&pull(&store, &registry, "v1").await, &["base", "one"]);
    // Until the tasks are gone: one by its end, the other because nobody knows it any more.
    store.release("task-1").unwrap();
    assert_eq!(store.collect(all()).await.unwrap().layers, 0);
    store.keep_leases(&BTreeSet::from(["task-3"])).unwrap();
    assert_eq!(store.collect(all()).await.unwrap().layers, 2);
    assert_eq!(count(home.path(), "leases"), 0);
    // A task can't have outlived its boot.
    let image = pull(&store, &registry, "v1").await;
    store.lease("task-4", &image).unwrap();
    drop((store, image));
    let lease = std::fs::read_dir(home.path().join("leases")).unwrap().next().unwrap().unwrap();
    let text = std::fs::read_link(lease.path()).unwrap().display().to_string();
    std::fs::remove_file(lease.path()).unwrap();
    std::os::unix::fs::symlink(text.replacen('-', "0", 1), lease.path()).unwrap();
    let store = open(home.path());
    assert_eq!(store.collect(all()).await.unwrap().layers, 2);
    let image = pull(&store, &registry, "v1").await;
    assert!(store.lease("../evil", &image).is_err());
}

#[tokio::test]
async fn when_an_image_was_used_last_survives_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, "v1", &["one"]);
    push(&registry, "v2", &["two"]);
    let store = open(home.path());
    pull(&store, &registry, "v1").await;
    pull(&store, &registry, "v2").await;
    drop(store);
    // The older is the one with the older record, and only its content says which that is.
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    let store = open(home.path());
    let second = store.present(&reference(&registry, "v2"), Platform::LinuxAmd64).unwrap();
    let record = home.path().join("images").join(format!("{}.json", second.digest.hex()));
    drop((store, second));
    std::fs::File::options().write(true).open(record).unwrap().set_modified(hour_ago).unwrap();
    let store = open(home.path());
    let old = Cleanup { minimum_age: Duration::from_secs(1800), ..Cleanup::everything() };
    assert_eq!(store.collect(old).await.unwrap().images.len(), 1);
    assert_eq!(store.list()[0].references, [reference(&registry, "v1")]);
}

/// Several tasks that come and go beside a cleanup that never rests.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_goes_under_a_tasks_feet() {
    const IMAGES: [(&str, &[&str]); 4] = [
        ("v0", &["base", "a"]),
        ("v1", &["base", "b"]),
        ("v2", &["base", "a", "c"]),
        ("v3", &["c", "d"]),
    ];
    const TASKS_EACH: u64 = 60;
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    for (version, layers) in IMAGES {
        push(&registry, version, layers);
    }
    let store = open(home.path());
    let (ended, removed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let cleanup = tokio::spawn({
        let (store, ended, removed) = (store.clone(), Arc::clone(&ended), Arc::clone(&removed));
        async move {
            while !ended.load(Ordering::Relaxed) {
                let collected = store.collect(Cleanup::everything()).await.unwrap();
                removed.fetch_add(collected.images.len() as u64, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    let workers = (0..4u64).map(|worker| {
        let (store, registry) = (store.clone(), registry.clone());
        tokio::spawn(async move {
            for n in 0..TASKS_EACH {
                let (version, layers) = IMAGES[((worker * 7 + n * 5 + n / 3) % 4) as usize];
                let image = pull(&store, &registry, version).await;
                let task = format!("task-{worker}-{n}");
                store.lease(&task, &image).unwrap();
                // The links only: from here on the lease alone must hold them.
                let links = Image { hold: image.hold.clone(), ..image.clone() };
                drop(image);
                let bare = links.links.clone();
                drop(links);
                for _ in 0..3 {
                    for (link, name) in bare.iter().zip(layers) {
                        let read = std::fs::metadata(link.join("d").join(name));
                        assert!(read.is_ok(), "{task}: {version}: {name}: {read:?}");
                    }
                    tokio::task::yield_now().await;
                }
                store.release(&task).unwrap();
            }
        })
    });
    for worker in futures_util::future::join_all(workers).await {
        worker.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    cleanup.await.unwrap();
    assert!(removed.load(Ordering::Relaxed) > 0, "the cleanup had something to do");
    store.collect(Cleanup::everything()).await.unwrap();
    for folder in ["layers", "l", "images", "tags", "mends", "leases", "tmp"] {
        assert_eq!(count(home.path(), folder), 0, "{folder}");
    }
}

const STORE: &str = "IMAGE_COLLECT_STORE";
const HOST: &str = "IMAGE_COLLECT_REGISTRY";

/// Not a test of its own: the process that gets killed while it pulls and removes.
#[tokio::test]
async fn the_one_that_is_killed() {
    let (Ok(path), Ok(host)) = (std::env::var(STORE), std::env::var(HOST)) else { return };
    let store = ImageStore::open(Path::new(&path), RegistryMap::default()).unwrap();
    loop {
        for version in ["v1", "v2"] {
            let reference = format!("{host}/app:{version}");
            let image = store.pull(&reference, None, Platform::LinuxAmd64).await.unwrap();
            store.lease(version, &image).unwrap();
            store.release(version).unwrap();
            drop(image);
            store.collect(one_at_a_time()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_cleanup_leaves_whole_images() {
    let registry = Registry::start().await;
    push(&registry, "v1", &["base", "one"]);
    push(&registry, "v2", &["base", "two"]);
    let home = tempfile::tempdir().unwrap();
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["collecting::the_one_that_is_killed", "--exact", "--nocapture"])
            .env(STORE, home.path())
            .env(HOST, registry.host())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let before = *registry.sent().borrow();
        let mut sent = registry.sent();
        let moment = before + 2_000 + 777 * usize::try_from(round).unwrap();
        tokio::select! {
            reached = sent.wait_for(|sent| *sent > moment) => { reached.unwrap(); }
            exited = child.wait() => panic!("round {round}: {exited:?}"),
        }
        child.kill().await.unwrap();
        let store = open(home.path());
        assert_eq!(count(home.path(), "tmp"), 0);
        for (version, layers) in [("v1", ["base", "one"]), ("v2", ["base", "two"])] {
            let known = store.present(&reference(&registry, version), Platform::LinuxAmd64);
            if let Some(image) = known {
                check(&image, &layers);
            }
            check(&pull(&store, &registry, version).await, &layers);
        }
        store.keep_leases(&BTreeSet::new()).unwrap();
        store.collect(Cleanup::everything()).await.unwrap();
        for folder in ["layers", "l", "images", "tags", "mends", "leases", "tmp"] {
            assert_eq!(count(home.path(), folder), 0, "round {round}: {folder}");
        }
    }
}

/// On a small disk of its own.
fn on_a_small_disk<F: Future<Output = ()>>(
    test: impl FnOnce(std::path::PathBuf) -> F + Send + 'static,
) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let thread = std::thread::spawn(move || {
        // A mount namespace of this thread's own, so that the disk disappears with it.
        crate::overlay::private_mounts();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("none", &path, "tmpfs", flags, c"size=3m").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(test(path));
    });
    thread.join().unwrap();
}

/// A layer of a MiB.
fn large(name: &str) -> Layer {
    Layer::gzip(&tar(&[file(name, &"x".repeat(1 << 20))]))
}

#[test]
fn a_disk_under_pressure_is_relieved_whatever_the_age() {
    on_a_small_disk(|path| async move {
        let registry = Registry::start().await;
        for version in ["v1", "v2"] {
            let body = image(&registry, "amd64", &[large(version)]);
            registry.put_manifest("app", version, MANIFEST, &body);
        }
        let store = ImageStore::open_with(&path, RegistryMap::default(), impatient()).unwrap();
        drop(pull(&store, &registry, "v1").await);
        drop(pull(&store, &registry, "v2").await);
        let rule =
            Cleanup { minimum_age: Duration::from_secs(3600), images_max: 0, disk_percent_max: 90 };
        assert!(store.collect(rule).await.unwrap().images.is_empty(), "there is room");
        let rule = Cleanup { disk_percent_max: 55, ..rule };
        assert_eq!(store.collect(rule).await.unwrap().images.len(), 1);
        assert_eq!(store.list()[0].references, [reference(&registry, "v2")]);
    });
}

#[test]
fn a_pull_onto_a_full_disk_makes_room_for_itself() {
    on_a_small_disk(|path| async move {
        let registry = Registry::start().await;
        for version in ["v1", "v2", "v3"] {
            let body = image(&registry, "amd64", &[large(version)]);
            registry.put_manifest("app", version, MANIFEST, &body);
        }
        let store = ImageStore::open_with(&path, RegistryMap::default(), impatient()).unwrap();
        let held = pull(&store, &registry, "v1").await;
        drop(pull(&store, &registry, "v2").await);
        let third = pull(&store, &registry, "v3").await;
        assert_eq!(store.list().len(), 2);
        // With both in use there is no room to be made.
        let failure =
            store.pull(&reference(&registry, "v2"), None, Platform::LinuxAmd64).await.unwrap_err();
        assert!(failure.ecs_reason().ends_with("no space left on device"), "{failure}");
        drop((held, third));
    });
}
