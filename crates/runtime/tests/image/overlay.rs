//! Layers as overlay sees them: unpacked apart, mounted together, they must show what their image
//! means.

use crate::registry::{Layer, Registry, push};
use crate::tars::{directory, file, symlink, tar};
use crate::{open, pull};
use rustix::mount::{MountFlags, MountPropagationFlags};
use std::path::{Path, PathBuf};

/// A mount namespace for this thread alone; what it mounts is gone when it ends.
#[allow(unsafe_code)]
pub fn private_mounts() {
    let flags = rustix::thread::UnshareFlags::NEWNS | rustix::thread::UnshareFlags::FS;
    // SAFETY: no file descriptor table is unshared, so no other thread's descriptors change
    // meaning.
    unsafe { rustix::thread::unshare_unsafe(flags) }.unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).unwrap();
}

/// Every path below, but for the root.
fn paths(root: &Path) -> Vec<String> {
    let tree = crate::trees::tree(root);
    tree.into_keys().filter(|path| !path.is_empty()).collect()
}

/// Mounts the layers on `at`, by their short names.
pub fn mount(links: &[PathBuf], at: &Path) {
    let lower: Vec<_> = links.iter().rev().map(|link| link.to_str().unwrap()).collect();
    let options = std::ffi::CString::new(format!("lowerdir={}", lower.join(":"))).unwrap();
    std::fs::create_dir_all(at).unwrap();
    rustix::mount::mount("overlay", at, "overlay", MountFlags::RDONLY, &*options).unwrap();
}

fn below() -> Vec<u8> {
    tar(&[
        directory("gone"),
        file("gone/a", "1"),
        file("kept/a", "1"),
        file("kept/deleted", "1"),
        file("opaque/old", "1"),
        file("opaque-after/old", "1"),
        file("replaced/old", "1"),
        file("replaced-first/old", "1"),
        file("implied/old", "1"),
        file("file-to-dir", "1"),
        file("dir-to-file/old", "1"),
        symlink("link", "kept"),
    ])
}

fn hiding() -> Vec<u8> {
    tar(&[
        file(".wh.gone", ""),
        directory("kept"),
        file("kept/.wh.deleted", ""),
        file("kept/b", "2"),
        file("opaque/.wh..wh..opq", ""),
        file("opaque/new", "2"),
        file("opaque-after/new", "2"),
        file("opaque-after/.wh..wh..opq", ""),
        directory("replaced"),
        file("replaced/new", "2"),
        file(".wh.replaced", ""),
        file(".wh.replaced-first", ""),
        directory("replaced-first"),
        file("replaced-first/new", "2"),
        file(".wh.implied", ""),
        file("implied/new", "2"),
        directory("file-to-dir"),
        file("file-to-dir/new", "2"),
        file("dir-to-file", "2"),
        file(".wh.link", ""),
        file(".wh.never-was", ""),
    ])
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_lies_below() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let image = runtime.block_on(async {
            let registry = Registry::start().await;
            push(&registry, &[Layer::gzip(&below()), Layer::gzip(&hiding())]);
            pull(&open(&path.join("store")), &registry).await.unwrap()
        });
        private_mounts();
        mount(&image.links, &path.join("merged"));
        paths(&path.join("merged"))
    });
    let merged = thread.join().unwrap();
    assert_eq!(
        merged,
        [
            "dir-to-file",
            "file-to-dir",
            "file-to-dir/new",
            "implied",
            "implied/new",
            "kept",
            "kept/a",
            "kept/b",
            "opaque",
            "opaque-after",
            "opaque-after/new",
            "opaque/new",
            "replaced",
            "replaced-first",
            "replaced-first/new",
            "replaced/new",
        ]
    );
    assert_eq!(std::fs::read_dir(home.path().join("merged")).unwrap().count(), 0);
}

#[test]
fn directories_that_a_layer_does_not_name_stay_what_they_were() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let lower = tar(&[
        directory("tmp").mode(0o1777),
        directory("home").owner(0, 50),
        directory("home/me").mode(0o700).owner(1000, 1000),
        directory("made-opaque").mode(0o700),
        directory("made-anew").mode(0o700),
        directory("removed").mode(0o700),
        directory("later-a-file").mode(0o700),
        directory("named-later").mode(0o700),
    ]);
    let middle = tar(&[
        file("tmp/cache/x", "2"),
        file("home/me/.config/x", "2"),
        file("made-opaque/.wh..wh..opq", ""),
        file("made-opaque/x", "2"),
        file(".wh.made-anew", ""),
        file("made-anew/x", "2"),
        file("removed/x", "2"),
        file("later-a-file/x", "2"),
        file("named-later/x", "2"),
        file("new/x", "2"),
    ]);
    let upper = tar(&[
        file(".wh.removed", ""),
        file("later-a-file", "3"),
        directory("named-later").mode(0o711),
        file("home/me/y", "3"),
    ]);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let images = runtime.block_on(async {
            let registry = Registry::start().await;
            push(&registry, &[Layer::gzip(&lower), Layer::gzip(&middle), Layer::gzip(&upper)]);
            let first = pull(&open(&path.join("store")), &registry).await.unwrap();
            // The next process finds it as it was.
            [first, pull(&open(&path.join("store")), &registry).await.unwrap()]
        });
        private_mounts();
        images.map(|image| {
            assert_eq!(image.layers.len(), 4);
            mount(&image.links, &path.join("merged"));
            let mut found = crate::trees::tree(&path.join("merged"));
            rustix::mount::unmount(path.join("merged"), rustix::mount::UnmountFlags::DETACH)
                .unwrap();
            found.retain(|_, text| text.starts_with("dir"));
            let short = |text: String| text.split(" @").next().unwrap().to_owned();
            found.into_iter().skip(1).map(|(path, text)| (path, short(text))).collect::<Vec<_>>()
        })
    });
    let expected = [
        ("home", "dir 755 0:50"),
        ("home/me", "dir 700 1000:1000"),
        ("home/me/.config", "dir 755 0:0"),
        ("made-anew", "dir 755 0:0"),
        ("made-opaque", "dir 755 0:0"),
        ("named-later", "dir 711 0:0"),
        ("new", "dir 755 0:0"),
        ("tmp", "dir 1777 0:0"),
        ("tmp/cache", "dir 755 0:0"),
    ];
    for merged in thread.join().unwrap() {
        let merged: Vec<_> = merged.iter().map(|(path, text)| (&**path, &**text)).collect();
        assert_eq!(merged, expected);
    }
}

#[test]
fn as_many_layers_as_an_image_may_have_fit_one_page_of_options() {
    let home = tempfile::tempdir_in("/tmp").unwrap();
    let path = home.path().to_owned();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let image = runtime.block_on(async {
            let registry = Registry::start().await;
            let layers: Vec<_> = (0..127)
                .map(|n| {
                    Layer::plain(tar(&[file("last", &n.to_string()), file(&format!("f{n}"), "")]))
                })
                .collect();
            push(&registry, &layers);
            pull(&open(&path.join("store")), &registry).await.unwrap()
        });
        private_mounts();
        // Relative to the store, as a mounter with many layers does it; the thread has its own
        // folder.
        std::env::set_current_dir(path.join("store")).unwrap();
        let links: Vec<_> = image
            .links
            .iter()
            .map(|link| link.strip_prefix(path.join("store")).unwrap().to_owned())
            .collect();
        mount(&links, &path.join("merged"));
        assert_eq!(paths(&path.join("merged")).len(), 128);
        std::fs::read_to_string(path.join("merged/last")).unwrap()
    });
    assert_eq!(thread.join().unwrap(), "126");
}
