//! A disk that is full: the push that finds it so is told, everything else goes on.

mod harness;

use harness::{Server, digest, noise};
use http::{Method, StatusCode};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use store::Store;

/// A small file system in memory, gone with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Self {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "neargate-small-disk"])
            .arg(folder)
            .status();
        assert!(done.is_ok_and(|status| status.success()), "mounting a tmpfs takes root");
        Self(folder.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "the tmpfs stays mounted");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
    let _disk = SmallDisk::mount(folder.path());
    let store = Store::in_memory(store::kinds::all());
    let server = Server::serve(Arc::clone(&folder), store).await;
    server.repository("x", false).await;
    let small = server.push_blob("x", b"small").await;
    let large = noise(6_000_000);
    let begun = server.call(Method::POST, "/v2/x/blobs/uploads/", "").await;
    let location = begun.header("location").to_owned();
    let answer = server.call(Method::PATCH, &location, large.clone()).await;
    assert_eq!(answer.status, StatusCode::INSUFFICIENT_STORAGE, "{:?}", answer.body);
    assert_eq!(answer.error().1, "the registry's disk is full");
    // Others read on, and the upload knows how far it came.
    assert_eq!(server.get(&format!("/v2/x/blobs/{small}")).await.body, "small");
    let standing = server.get(&location).await;
    let last = standing.header("range").strip_prefix("0-").and_then(|it| it.parse::<usize>().ok());
    assert!(last.is_some_and(|last| last < large.len()), "{:?}", standing.headers);
    let path = format!("{location}?digest={}", digest(&large));
    let answer = server.call(Method::PUT, &path, "").await;
    assert_eq!(answer.error().0, "DIGEST_INVALID", "half a blob is no blob");
    // That gave the room back.
    let fitting = noise(2_000_000);
    let blob = server.push_blob("x", &fitting).await;
    assert_eq!(server.get(&format!("/v2/x/blobs/{blob}")).await.body, fitting);
}
