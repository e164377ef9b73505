//! Images of every kind of source, made without a server.

use super::*;
use crate::image::parts::{Content, MANIFEST};
use serde_json::{Value, json};
use std::io::Write;

fn endpoint() -> Endpoint {
    Endpoint {
        url: "http://127.0.0.1:4566".to_owned(),
        region: "eu-west-1".to_owned(),
        account_id: "123456789012".to_owned(),
        pid: 1,
    }
}

fn source(path: &Path) -> Source {
    let wishes = Wishes::default();
    Source { path: path.to_owned(), platform: None, force: false, wishes }
}

fn refused(path: &Path) -> String {
    let made = source(path).make(&Counter::default());
    format!("{:#}", made.expect_err("refused"))
}

fn json_of(part: &parts::Part) -> Value {
    let Content::Memory(bytes) = &part.content else { panic!("small parts are in memory") };
    serde_json::from_slice(bytes).expect("JSON")
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *data).expect("appended");
    }
    archive.into_inner().expect("whole")
}

/// As `docker save` writes it, of one layer.
fn saved(config: &Value, tags: &[&str], layer: &[u8]) -> Vec<u8> {
    let config = config.to_string();
    let one = json!({"Config": "c.json", "RepoTags": tags, "Layers": ["l/layer.tar"]});
    let manifest = json!([one]).to_string();
    archive(&[
        ("c.json", config.as_bytes()),
        ("l/layer.tar", layer),
        ("manifest.json", manifest.as_bytes()),
    ])
}

#[test]
fn names_are_split_into_repository_and_tag() {
    for (name, repository, tag) in [
        ("app", "app", "latest"),
        ("team/app:v1", "team/app", "v1"),
        ("127.0.0.1:4566/app:2", "app", "2"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/a/b", "a/b", "latest"),
    ] {
        let split = name_and_tag(name, &endpoint()).expect(name);
        assert_eq!(split, (repository.to_owned(), tag.to_owned()), "{name}");
    }
    for name in ["", "App", "app:", "app:-x", "a//b", "app@sha256:00", "other:5000/app:1", ":1"] {
        assert!(name_and_tag(name, &endpoint()).is_err(), "{name}");
    }
}

#[test]
fn a_folder_becomes_an_image_of_one_layer() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("hello"), "hello").expect("written");
    let mut source = source(home.path());
    source.wishes.cmd = words(&[r#"["/hello", "-x"]"#.to_owned()]).expect("a list");
    source.platform = Some(Platform::LinuxArm64);
    let image = source.make(&Counter::default()).expect("made");
    let config = json_of(&image.config);
    assert_eq!(config["config"]["Cmd"], json!(["/hello", "-x"]));
    assert_eq!(config["architecture"], "arm64");
    assert_eq!(config["rootfs"]["diff_ids"], json!([image.layers[0].digest]));
    let manifest = json_of(&image.manifest);
    assert_eq!(manifest["mediaType"], MANIFEST);
    assert_eq!(manifest["layers"][0]["size"], image.layers[0].bytes);
    assert!(image.notes.is_empty(), "{:?}", image.notes);
}

#[test]
fn what_docker_saved_keeps_its_configuration_and_layers() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("image.tar");
    let layer = archive(&[("hello", b"hello")]);
    let config = json!({
        "architecture": "arm64", "os": "linux", "config": {"Cmd": ["/hello"]},
        "rootfs": {"type": "layers", "diff_ids": [parts::digest(&layer)]},
    });
    let whole = saved(&config, &["hello:1"], &layer);
    std::fs::write(&path, &whole).expect("written");
    let image = source(&path).make(&Counter::default()).expect("made");
    assert_eq!(json_of(&image.config), config);
    assert_eq!(image.layers[0].digest, parts::digest(&layer));
    // Compressed as a whole, too.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&whole).expect("compressed");
    std::fs::write(&path, gzip.finish().expect("whole")).expect("written");
    let again = source(&path).make(&Counter::default()).expect("made");
    assert_eq!(again.manifest.digest, image.manifest.digest);
    // Another platform was asked for, and another layer is there than was said.
    std::fs::write(&path, &whole).expect("written");
    let other = Source { platform: Some(Platform::LinuxAmd64), ..source(&path) };
    let failure = other.make(&Counter::default()).expect_err("refused");
    assert!(format!("{failure:#}").contains("for linux/arm64, not linux/amd64"), "{failure:#}");
    std::fs::write(&path, saved(&config, &[], b"another")).expect("written");
    assert!(refused(&path).contains("is damaged"));
}

#[test]
fn an_oci_layout_keeps_its_digest() {
    let home = tempfile::tempdir().expect("a folder");
    let blobs = home.path().join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("made");
    let put = |bytes: &[u8], kind: &str| {
        let digest = parts::digest(bytes);
        std::fs::write(blobs.join(&digest[7..]), bytes).expect("written");
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    };
    let layer = archive(&[("hello", b"hello")]);
    let image_for = |architecture: &str| {
        let config = json!({
            "architecture": architecture, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [parts::digest(&layer)]},
        });
        let config = put(config.to_string().as_bytes(), parts::CONFIG);
        let layers = [put(&layer, parts::LAYER)];
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let mut descriptor = put(manifest.to_string().as_bytes(), MANIFEST);
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    };
    let both = [image_for("amd64"), image_for("arm64")];
    std::fs::write(home.path().join("oci-layout"), "{}").expect("written");
    let index = |manifests: &[Value]| {
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        std::fs::write(home.path().join("index.json"), index).expect("written");
    };
    index(&both);
    let arm = Source { platform: Some(Platform::LinuxArm64), ..source(home.path()) };
    let image = arm.make(&Counter::default()).expect("made");
    assert_eq!(json!(image.manifest.digest), both[1]["digest"]);
    index(&[both[0].clone(), both[0].clone()]);
    assert!(refused(home.path()).contains("2 images") || Platform::host() != Platform::LinuxAmd64);
    index(&[]);
    assert!(refused(home.path()).contains("no image for"));
    // A blob that is another one.
    index(&both[..1]);
    let name = parts::digest(&layer);
    std::fs::write(blobs.join(&name[7..]), vec![0; layer.len()]).expect("written");
    assert!(refused(home.path()).contains("not what its digest says"));
}

#[test]
fn bad_sources_are_told_apart() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("source");
    assert!(refused(&path).contains("cannot read"));
    let mut several = archive(&[("hello", b"hello")]);
    let cases: [(&[u8], &str); 7] = [
        (b"", "is empty"),
        (&[0; 10240], "is empty"),
        (&[b'x'; 2000], "neither a program nor an archive"),
        (b"#!/bin/sh\necho", "script"),
        (b"\xfd7zXZ\0\0\0", "xz -d"),
        (b"PK\x03\x04....", "unzip"),
        (b"\x7fELF", "no ELF program"),
    ];
    for (bytes, said) in cases {
        std::fs::write(&path, bytes).expect("written");
        let refused = refused(&path);
        assert!(refused.contains(said), "{said}: {refused}");
    }
    several.truncate(514);
    std::fs::write(&path, &several).expect("written");
    assert!(refused(&path).contains("cut off"), "{}", refused(&path));
    let both = json!([
        {"Config": "a", "RepoTags": ["a:1"], "Layers": []},
        {"Config": "b", "RepoTags": null, "Layers": []},
    ]);
    std::fs::write(&path, archive(&[("manifest.json", both.to_string().as_bytes())]))
        .expect("written");
    assert!(refused(&path).contains("2 images (a:1)"), "{}", refused(&path));
}

#[test]
fn a_program_is_its_own_entrypoint_and_one_that_needs_a_loader_is_refused() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("hello");
    // A header that names an interpreter, as the linker would write it.
    let mut program = vec![0; 64 + 56];
    program[..6].copy_from_slice(b"\x7fELF\x02\x01");
    (program[16], program[18], program[24], program[32]) = (2, 62, 1, 64);
    (program[54], program[56], program[64], program[72]) = (56, 1, 3, 120);
    program.extend_from_slice(b"/lib64/ld.so\0");
    std::fs::write(&path, &program).expect("written");
    let said = refused(&path);
    assert!(said.contains("needs /lib64/ld.so") && said.contains("--force"), "{said}");
    let forced = Source { force: true, ..source(&path) };
    let image = forced.make(&Counter::default()).expect("forced");
    assert_eq!(json_of(&image.config)["config"]["Entrypoint"], json!(["/hello"]));
    program[64] = 1;
    std::fs::write(&path, &program).expect("written");
    let image = source(&path).make(&Counter::default()).expect("static");
    assert_eq!(json_of(&image.config)["architecture"], "amd64");
    let other = Source { platform: Some(Platform::LinuxArm64), ..source(&path) };
    assert!(other.make(&Counter::default()).is_err());
}
