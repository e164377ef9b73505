//! The archive that a kernel begins with: cpio's "newc" format, as plain as it is, so that the
//! program for it need not be installed. Source: the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.

use std::fs;
use std::path::Path;

use anyhow::Result;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
/// Made whether or not there is something in them.
const FOLDERS: [&str; 5] = ["bin", "modules", "dev", "disk", "proc"];

/// Writes an archive of these files, all of which can be run.
pub fn write(path: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let mut archive = Vec::new();
    for folder in FOLDERS {
        add(&mut archive, folder, FOLDER, &[]);
    }
    for (name, bytes) in files {
        add(&mut archive, name, PROGRAM, bytes);
    }
    add(&mut archive, "TRAILER!!!", 0, &[]);
    Ok(fs::write(path, archive)?)
}

fn add(archive: &mut Vec<u8>, name: &str, mode: u32, bytes: &[u8]) {
    let length = |bytes: usize| u32::try_from(bytes).expect("files of a few MiB");
    let number = length(archive.len()) / 4 + 1;
    // Inode, mode, owner, group, links, time, size, four of devices, the name's length, no sum.
    let fields =
        [number, mode, 0, 0, 1, 0, length(bytes.len()), 0, 0, 0, 0, length(name.len()) + 1, 0];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08x}").bytes());
    }
    archive.extend(name.bytes());
    archive.push(0);
    pad(archive);
    archive.extend(bytes);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_begin_at_multiples_of_four() {
        let mut archive = Vec::new();
        add(&mut archive, "init", PROGRAM, b"#!/bin/sh\n");
        assert_eq!(archive.len() % 4, 0);
        let text = String::from_utf8_lossy(&archive);
        assert!(text.starts_with("070701"), "{text}");
        assert!(text.contains("init\0"), "{text}");
        assert!(text[6..14].bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
