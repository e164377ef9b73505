//! What GNU tar writes, in each of its formats, must come out as it went in.

use crate::registry::{Layer, Registry, push};
use crate::tars::{self, Item, directory, file, hard_link, item, symlink, tar};
use crate::trees::{same, tree};
use crate::{open, pull};
use rustix::fs::{FileType, Mode};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

/// One of everything, as far as the format can say it.
fn build(root: &Path, long_names: bool) {
    let long = "n".repeat(if long_names { 200 } else { 40 });
    std::fs::create_dir_all(root.join("dir").join(&long)).unwrap();
    std::fs::write(root.join("dir").join(&long).join(&long), "long").unwrap();
    std::fs::write(root.join("empty"), "").unwrap();
    std::fs::write(root.join("set-uid"), "#!").unwrap();
    std::os::unix::fs::chown(root.join("set-uid"), Some(7), Some(8)).unwrap();
    let set_uid = std::fs::Permissions::from_mode(0o6755);
    std::fs::set_permissions(root.join("set-uid"), set_uid).unwrap();
    std::fs::hard_link(root.join("set-uid"), root.join("set-uid-too")).unwrap();
    std::os::unix::fs::symlink("/etc/../nowhere", root.join("link")).unwrap();
    std::os::unix::fs::symlink("x".repeat(if long_names { 150 } else { 9 }), root.join("far"))
        .unwrap();
    std::os::unix::fs::lchown(root.join("link"), Some(1234), Some(5678)).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), FileType::Fifo, Mode::from(0o640), 0)
        .unwrap();
    let sticky = root.join("sticky");
    std::fs::create_dir(&sticky).unwrap();
    std::fs::set_permissions(&sticky, std::fs::Permissions::from_mode(0o3777)).unwrap();
    std::os::unix::fs::chown(&sticky, None, Some(99)).unwrap();
    // Inherits the group of its folder here, and must not do so when it is unpacked.
    std::fs::write(sticky.join("roots"), "x").unwrap();
    std::os::unix::fs::chown(sticky.join("roots"), Some(0), Some(0)).unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    for at in (0..60).map(|n| n * 100_000) {
        sparse.write_at(b"data", at).unwrap();
    }
    sparse.set_len(7_000_000).unwrap();
    let locked = root.join("locked");
    std::fs::write(&locked, "x").unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    let old = std::fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000));
    for name in ["empty", "dir", "sparse"] {
        std::fs::File::open(root.join(name)).unwrap().set_times(old).unwrap();
    }
}

/// Only PAX has room for fractions of a second.
fn rounded(tree: crate::trees::Tree) -> crate::trees::Tree {
    let cut = |text: String| {
        let Some((head, tail)) = text.split_once('@') else { return text };
        let (seconds, rest) = tail.split_once('.').unwrap();
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{head}@{seconds}{rest}")
    };
    tree.into_iter().map(|(path, text)| (path, cut(text))).collect()
}

#[tokio::test]
async fn gnu_tars_archives_come_out_as_they_went_in() {
    let registry = Registry::start().await;
    for (options, long_names) in [
        (&["--format=gnu"][..], true),
        (&["--format=oldgnu", "--sparse"], true),
        (&["--format=pax"], true),
        (&["--format=pax", "--sparse", "--sparse-version=0.0"], true),
        (&["--format=pax", "--sparse", "--sparse-version=0.1"], true),
        (&["--format=pax", "--sparse", "--sparse-version=1.0"], true),
        (&["--format=ustar"], false),
    ] {
        let home = tempfile::tempdir().unwrap();
        let source = home.path().join("source");
        std::fs::create_dir(&source).unwrap();
        build(&source, long_names);
        let made =
            Command::new("tar").args(options).arg("-cC").arg(&source).arg(".").output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        push(&registry, &[Layer::gzip(&made.stdout)]);
        let image = pull(&open(&home.path().join("store")), &registry).await.unwrap();
        let (expected, found) = (tree(&source), tree(&image.layers[0]));
        if options[0] == "--format=pax" {
            same(&expected, &found);
        } else {
            same(&rounded(expected), &rounded(found));
        }
    }
}

#[tokio::test]
async fn modes_are_the_images_whatever_the_umask() {
    // The umask is the process's; nextest gives every test a process, and cargo test's other
    // threads here set modes explicitly or don't compare them.
    let old = rustix::process::umask(Mode::from(0o077));
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    push(
        &registry,
        &[Layer::plain(tar(&[
            directory("./").mode(0o711).owner(5, 6),
            directory("open").mode(0o777),
            file("open/file", "x").mode(0o666),
            file("implied/file", "x").mode(0o4755).owner(1, 2),
            item(b'6', "fifo").mode(0o622),
            file("ping", "x")
                .mode(0o755)
                .owner(3, 4)
                .pax("SCHILY.xattr.security.capability", &capability),
        ]))],
    );
    let image = pull(&open(home.path()), &registry).await.unwrap();
    rustix::process::umask(old);
    let found = tree(&image.layers[0]);
    let begins = |path: &str, text: &str| {
        assert!(found[path].starts_with(text), "{path}: {}", found[path]);
    };
    begins("", "dir 711 5:6 @1700000000.0");
    begins("open", "dir 777 0:0 @1700000000.0");
    begins("open/file", "file 666 0:0");
    begins("implied", "dir 755 0:0");
    begins("implied/file", "file 4755 1:2");
    begins("fifo", "fifo 622 0:0");
    begins("ping", "file 755 3:4");
    assert!(found["ping"].contains("+security.capability=[01, 00, 00, 02, 00, 04"), "{found:?}");
}

#[tokio::test]
async fn later_entries_replace_earlier_ones() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(
        &registry,
        &[Layer::plain(tar(&[
            file("a", "first"),
            file("a", "second"),
            symlink("b", "a"),
            directory("b").mode(0o700).owner(5, 6),
            directory("b").mode(0o711),
            file("c/d/e", "x"),
            hard_link("c", "a"),
            directory("f"),
            item(b'6', "f"),
            item(b'0', "g/"),
            item(b'7', "contiguous"),
            item(0, "old-folder/"),
            tars::item(b'g', "global"),
            directory("real"),
            symlink("by", "real"),
            Item { mtime: 1, ..directory("real/folder") },
            Item { mtime: 2, ..directory("by/folder") },
        ]))],
    );
    let image = pull(&open(home.path()), &registry).await.unwrap();
    let found = tree(&image.layers[0]);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        ["", "a", "b", "by", "c", "contiguous", "f", "g", "old-folder", "real", "real/folder"]
    );
    assert!(found["a"].ends_with("\"second\""), "{found:?}");
    assert!(found["b"].starts_with("dir 711 0:0"), "{found:?}");
    assert_eq!(found["c"], "same as a");
    assert!(found["f"].starts_with("fifo"), "{found:?}");
    assert!(found["old-folder"].starts_with("dir"), "{found:?}");
    assert!(found["real/folder"].ends_with("@2.0"), "{found:?}");
}
