//! What a directory holds, as text that can be compared: every entry with everything that an image
//! may say about it.

use runtime::image::Digest;
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

pub type Tree = BTreeMap<String, String>;

/// Every entry below `root`, without following anything.
pub fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut inodes = BTreeMap::new();
    walk(root, root, &mut inodes, &mut found);
    found
}

fn walk(root: &Path, at: &Path, inodes: &mut BTreeMap<u64, String>, found: &mut Tree) {
    let name = at.strip_prefix(root).unwrap().to_string_lossy().into_owned();
    let metadata = std::fs::symlink_metadata(at).unwrap();
    let kind = metadata.file_type();
    let mut text = format!(
        "{:o} {}:{} @{}.{}",
        metadata.mode() & 0o7777,
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    let first = inodes.entry(metadata.ino()).or_insert_with(|| name.clone()).clone();
    if kind.is_dir() {
        text = format!("dir {text}");
    } else if first != name {
        text = format!("same as {first}");
    } else if kind.is_file() {
        let bytes = std::fs::read(at).unwrap();
        let content = match std::str::from_utf8(&bytes) {
            Ok(short) if short.len() < 40 => format!("{short:?}"),
            _ => format!("{} bytes {}", bytes.len(), Digest::of(&bytes)),
        };
        text = format!("file {text} {content}");
    } else if kind.is_symlink() {
        text = format!("link {text} -> {}", std::fs::read_link(at).unwrap().display());
    } else if kind.is_char_device() && metadata.rdev() == 0 {
        text = "whiteout".to_owned();
    } else if kind.is_fifo() {
        text = format!("fifo {text}");
    } else {
        text = format!("device {text} {}", metadata.rdev());
    }
    for attribute in attributes(at) {
        text.push_str(&format!(" +{attribute}"));
    }
    found.insert(name, text);
    if kind.is_dir() {
        let mut children: Vec<_> =
            std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).collect();
        children.sort();
        for child in children {
            walk(root, &child, inodes, found);
        }
    }
}

fn attributes(at: &Path) -> Vec<String> {
    let mut names = vec![0; 4096];
    let Ok(length) = rustix::fs::llistxattr(at, &mut names) else { return Vec::new() };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name = std::str::from_utf8(name).unwrap();
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(at, name, &mut value).unwrap();
            format!("{name}={:02x?}", &value[..length])
        })
        .collect()
}

/// Asserts entry by entry, so that a difference is readable.
pub fn same(left: &Tree, right: &Tree) {
    for (name, text) in left {
        assert_eq!(Some(text), right.get(name), "entry {name:?}");
    }
    for name in right.keys() {
        assert!(left.contains_key(name), "entry {name:?} is only there");
    }
}
