//! SIGKILL at any moment of a pull: the next to open the store finds what is whole, and nothing
//! else.

use crate::registry::{Layer, Registry, push};
use crate::tars::{directory, file, tar};
use crate::trees::tree;
use crate::{open, pull};
use runtime::Failure;
use runtime::image::{ImageStore, Platform, RegistryMap};
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

const STORE: &str = "IMAGE_CRASH_STORE";
const REFERENCE: &str = "IMAGE_CRASH_REFERENCE";

/// Not a test of its own: the process that gets killed.
#[tokio::test]
async fn the_one_that_is_killed() {
    let (Ok(path), Ok(reference)) = (std::env::var(STORE), std::env::var(REFERENCE)) else {
        return;
    };
    let store = ImageStore::open(Path::new(&path), RegistryMap::default()).unwrap();
    store.pull(&reference, None, Platform::LinuxAmd64).await.unwrap();
}

fn start(store: &Path, registry: &Registry) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::the_one_that_is_killed", "--exact", "--nocapture"])
        .env(STORE, store)
        .env(REFERENCE, format!("{}/app:v1", registry.host()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn layers() -> Vec<Layer> {
    (0..4u32)
        .map(|layer| {
            let mut items = vec![directory("d")];
            for n in 0..60 {
                items.push(file(&format!("d/{layer}-{n}"), &format!("{n} ").repeat(2000)));
            }
            Layer::plain(tar(&items))
        })
        .collect()
}

#[tokio::test]
async fn a_kill_leaves_nothing_half() {
    let registry = Registry::start().await;
    push(&registry, &layers());
    let whole: usize = layers().iter().map(|layer| layer.blob.len()).sum();
    let elsewhere = tempfile::tempdir().unwrap();
    let good = pull(&open(elsewhere.path()), &registry).await.unwrap();
    // A layer's root has no entry, so its time is that of its making.
    let content = |path: &Path| {
        let mut found = tree(path);
        found.remove("");
        found
    };
    let expected: Vec<_> = good.layers.iter().map(|layer| content(layer)).collect();
    let mut survivors = 0;
    const ROUNDS: usize = 15;
    for round in 0..ROUNDS {
        let home = tempfile::tempdir().unwrap();
        let before = *registry.sent().borrow();
        // The moment is chosen by how far the registry got, from the first byte to the last and
        // beyond.
        let moment = before + whole * round / (ROUNDS - 2);
        let mut sent = registry.sent();
        let mut child = start(home.path(), &registry);
        tokio::select! {
            reached = sent.wait_for(|sent| *sent >= moment) => { reached.unwrap(); }
            exited = child.wait() => { exited.unwrap(); }
        }
        // SIGKILL, if it is still there, and then it is not.
        child.kill().await.unwrap();
        let store = open(home.path());
        assert_eq!(std::fs::read_dir(home.path().join("tmp")).unwrap().count(), 0);
        for entry in std::fs::read_dir(home.path().join("layers")).unwrap() {
            let found = content(&entry.unwrap().path().join("fs"));
            assert!(expected.contains(&found), "round {round}: half a layer");
            survivors += 1;
        }
        for entry in std::fs::read_dir(home.path().join("l")).unwrap() {
            assert!(entry.unwrap().path().exists(), "round {round}: a dangling link");
        }
        let image = pull(&store, &registry).await.unwrap();
        let found: Vec<_> = image.layers.iter().map(|layer| content(layer)).collect();
        assert_eq!(found, expected, "round {round}");
    }
    assert!((1..ROUNDS * 4).contains(&survivors), "kills came at various moments: {survivors}");
}

#[tokio::test]
async fn what_was_not_yet_synced_is_believed_only_under_the_boot_that_made_it() {
    let registry = Registry::start().await;
    let layers = layers();
    push(&registry, &layers[..2]);
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let image = pull(&store, &registry).await.unwrap();
    let folders: Vec<_> =
        image.layers.iter().map(|layer| layer.parent().unwrap().to_owned()).collect();
    // The marks come from a thread of their own; wait for both.
    while !folders.iter().all(|folder| folder.join("synced").exists()) {
        tokio::task::yield_now().await;
    }
    drop(store);
    for (n, folder) in folders.iter().enumerate() {
        let record = std::fs::read_to_string(folder.join("layer.json")).unwrap();
        let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
        record["boot_id"] = "another boot".into();
        std::fs::write(folder.join("layer.json"), record.to_string()).unwrap();
        if n == 0 {
            std::fs::remove_file(folder.join("synced")).unwrap();
        }
    }
    let reference = format!("{}/app:v1", registry.host());
    let store = open(home.path());
    assert!(!folders[0].exists(), "this one may have lost its data with the power");
    assert!(folders[1].exists());
    assert!(store.present(&reference, Platform::LinuxAmd64).is_none());
    registry.asked();
    pull(&store, &registry).await.unwrap();
    let asked = registry.asked();
    assert!(asked.iter().any(|path| path.ends_with(&layers[0].digest().to_string())), "{asked:?}");
    assert!(!asked.iter().any(|path| path.ends_with(&layers[1].digest().to_string())), "{asked:?}");
}

#[tokio::test]
async fn records_that_were_torn_are_not_believed() {
    let registry = Registry::start().await;
    push(&registry, &layers()[..1]);
    for victim in ["images", "tags", "layers"] {
        let home = tempfile::tempdir().unwrap();
        let store = open(home.path());
        let image = pull(&store, &registry).await.unwrap();
        drop(store);
        let folder = home.path().join(victim);
        let mut place = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        if place.is_dir() {
            place.push("layer.json");
        }
        std::fs::write(&place, "{\"version\":1").unwrap();
        let store = open(home.path());
        let reference = format!("{}/app:v1", registry.host());
        assert!(store.present(&reference, Platform::LinuxAmd64).is_none(), "{victim}");
        assert_eq!(pull(&store, &registry).await.unwrap().layers, image.layers, "{victim}");
        assert!(store.present(&reference, Platform::LinuxAmd64).is_some(), "{victim}");
    }
}

#[tokio::test]
async fn a_store_has_one_owner_and_one_layout() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let refused = |path: &Path| match ImageStore::open(path, RegistryMap::default()) {
        Err(Failure::Refused(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("was opened"),
    };
    assert!(refused(home.path()).ends_with("is in use by another process"));
    drop(store);
    drop(open(home.path()));
    std::fs::write(home.path().join("version"), "2\n").unwrap();
    assert!(refused(home.path()).ends_with("has layout 2; this program reads layout 1"));
}
