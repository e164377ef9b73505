//! Objects in a folder: whole or absent, named by content or by a checked name, read by range.

use std::path::Path;

use bytes::Bytes;
use store::blob::{
    BlobFailure, Digest, FolderObjects, ObjectName, ObjectStore, put_content, read_all,
};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn content_is_found_under_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let objects = FolderObjects::open(dir.path()).unwrap();
    let content = Bytes::from(vec![7; 1_000_000]);
    let stored = put_content(&objects, content.clone()).await.unwrap();
    assert_eq!((stored.digest, stored.bytes), (Digest::of(&content), 1_000_000));
    let text = stored.digest.to_string();
    assert_eq!(Digest::parse(&text), Some(stored.digest));
    let object = stored.digest.object_name();
    let info = objects.head(object.clone()).await.unwrap().unwrap();
    assert_eq!(info.bytes, 1_000_000);
    assert_eq!(read_all(&objects, object.clone(), 1_000_000).await.unwrap(), Some(content.clone()));
    let failure = read_all(&objects, object.clone(), 999_999).await.unwrap_err();
    assert!(matches!(failure, BlobFailure::TooLarge { .. }));
    // Stored twice is stored once.
    put_content(&objects, content).await.unwrap();
    assert_eq!(files(dir.path()), 1);
    assert!(objects.delete(object.clone()).await.unwrap());
    assert!(!objects.delete(object.clone()).await.unwrap());
    assert!(objects.head(object.clone()).await.unwrap().is_none());
    assert!(objects.get(object, None).await.unwrap().is_none());
}

#[tokio::test]
async fn ranges_are_served_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let objects = FolderObjects::open(dir.path()).unwrap();
    let content: Vec<u8> = (0..700_000u32).map(|n| n as u8).collect();
    let mut upload = objects.begin().await.unwrap();
    for piece in content.chunks(123_457) {
        upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(upload.bytes(), 700_000);
    upload.finish(Some(name("some/object.bin")), None).await.unwrap();
    for range in [0..700_000u64, 0..0, 5..6, 300_000..700_000, 699_999..700_000, 700_000..700_000] {
        let found = objects.get(name("some/object.bin"), Some(range.clone())).await.unwrap();
        let mut reader = found.unwrap();
        assert_eq!(reader.object_bytes(), 700_000);
        assert_eq!(reader.remaining_bytes(), range.end - range.start);
        let mut read = Vec::new();
        while let Some(piece) = reader.next().await.unwrap() {
            read.extend_from_slice(&piece);
        }
        assert_eq!(read, content[range.start as usize..range.end as usize]);
    }
    for (start, end) in [(0, 700_001), (700_001, 700_001), (5, 4)] {
        let failure = objects.get(name("some/object.bin"), Some(start..end)).await.err().unwrap();
        assert!(matches!(failure, BlobFailure::Range { bytes: 700_000, .. }), "{failure}");
    }
}

#[tokio::test]
async fn what_is_not_finished_never_appears() {
    let dir = tempfile::tempdir().unwrap();
    let objects = FolderObjects::open(dir.path()).unwrap();
    let mut dropped = objects.begin().await.unwrap();
    dropped.write(Bytes::from_static(b"half")).await.unwrap();
    drop(dropped);
    let mut wrong = objects.begin().await.unwrap();
    wrong.write(Bytes::from_static(b"content")).await.unwrap();
    let wanted = Digest::of(b"other content");
    let failure = wrong.finish(None, Some(wanted)).await.unwrap_err();
    let found = Digest::of(b"content");
    assert!(matches!(failure, BlobFailure::DigestMismatch { wanted: w, found: f }
        if w == wanted && f == found));
    assert_eq!(files(dir.path()), 0);
    // What a killed process leaves half-written is gone at the next start.
    let mut killed = objects.begin().await.unwrap();
    killed.write(Bytes::from_static(b"half")).await.unwrap();
    std::mem::forget(killed);
    assert_eq!(files(dir.path()), 1);
    FolderObjects::open(dir.path()).unwrap();
    assert_eq!(files(dir.path()), 0);
}

#[tokio::test]
async fn a_deleted_object_stays_readable_to_who_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let objects = FolderObjects::open(dir.path()).unwrap();
    let stored = put_content(&objects, Bytes::from_static(b"content")).await.unwrap();
    let object = stored.digest.object_name();
    let mut reader = objects.get(object.clone(), None).await.unwrap().unwrap();
    assert!(objects.delete(object).await.unwrap());
    assert_eq!(reader.next().await.unwrap().unwrap(), "content");
    assert!(reader.next().await.unwrap().is_none());
}

#[test]
fn names_can_not_lead_out_of_the_folder() {
    for bad in [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/..",
        "a/../b",
        ".hidden",
        "a/.b",
        "a b",
        "a\\b",
        "a\0b",
        "ä",
        ".uploads/0",
        "%2e%2e",
    ] {
        assert!(ObjectName::new(bad).is_err(), "{bad:?}");
    }
    assert!(ObjectName::new(&"x".repeat(256)).is_err());
    assert!(ObjectName::new(&"x/".repeat(300)).is_err());
    for good in ["a", "sha256/ab/cd", "a..b", "a-_.0/Z"] {
        assert_eq!(name(good).as_str(), good);
    }
    for bad in ["sha256:", "sha256:AB", "md5:00", &format!("sha256:{}", "A".repeat(64))] {
        assert!(Digest::parse(bad).is_none(), "{bad}");
    }
}

#[tokio::test]
async fn lists_are_sorted_prefixed_and_paged() {
    let dir = tempfile::tempdir().unwrap();
    let objects = FolderObjects::open(dir.path()).unwrap();
    let mut names = vec!["a", "a.b", "a-b/c", "b/1", "b/2/x", "b/2-y", "b0/1", "c"];
    for text in &names {
        let mut upload = objects.begin().await.unwrap();
        upload.write(Bytes::from_static(b"1234")).await.unwrap();
        upload.finish(Some(name(text)), None).await.unwrap();
    }
    names.sort_unstable();
    for prefix in ["", "a", "b", "b/", "b/2", "b/2/", "c", "d", "a-"] {
        let expected: Vec<&str> =
            names.iter().copied().filter(|name| name.starts_with(prefix)).collect();
        for limit in 1..=9 {
            let (mut after, mut found) = (None, Vec::new());
            loop {
                let page = objects.list(prefix.to_owned(), after, limit).await.unwrap();
                assert!(page.len() <= limit);
                assert!(page.iter().all(|(_, info)| info.bytes == 4));
                after = page.last().map(|(name, _)| name.clone());
                found.extend(page.into_iter().map(|(name, _)| name.as_str().to_owned()));
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{prefix:?} by {limit}");
        }
    }
}
