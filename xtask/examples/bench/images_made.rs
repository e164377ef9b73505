//! The image that is pushed and pulled: three gzip layers of some 100 MiB each, text that shrinks
//! as programs and their data do, in files of the sizes they have. No two rounds may share a blob,
//! or the second would find the first's; making 300 MiB anew for each would take longer than what
//! is measured. So a layer is two gzip members: a small one of this round, and the large one that
//! is always the same. Every reader of gzip takes both for one stream.

use std::fs;
use std::io::Write;

use anyhow::{Context, Result};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use ring::digest::SHA256;
use serde_json::{Value, json};

const LAYERS: u64 = 3;
const LAYER_BYTES: u64 = 100 * 1024 * 1024;
const WORDS: usize = 4096;
const BUSYBOX: &str = "/bin/busybox";

pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// What all rounds share.
pub struct Material {
    layers: Vec<Shared>,
    pub files: u64,
    pub bytes: u64,
}

struct Shared {
    /// A tar's second part, and the same compressed.
    tar: Vec<u8>,
    member: Vec<u8>,
}

/// One round's image.
pub struct Image {
    pub layers: Vec<Blob>,
    pub config: Blob,
    pub manifest: Bytes,
}

pub struct Blob {
    pub bytes: Bytes,
    pub digest: String,
}

impl Image {
    pub fn compressed_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes.len() as u64).sum()
    }
}

impl Material {
    pub fn make() -> Result<Material> {
        let mut random = Random(1);
        let words = words(&mut random);
        let mut material = Material { layers: Vec::new(), files: 0, bytes: 0 };
        for layer in 0..LAYERS {
            let tar = material.tar(layer, &words, &mut random)?;
            material.bytes += tar.len() as u64;
            material.layers.push(Shared { member: gzip(&tar)?, tar });
        }
        Ok(material)
    }

    fn tar(&mut self, layer: u64, words: &[String], random: &mut Random) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        if layer == 0 {
            let busybox = fs::read(BUSYBOX)
                .with_context(|| format!("{BUSYBOX}: install Debian's busybox-static"))?;
            for name in ["bin/busybox", "bin/sh", "bin/sleep"] {
                append(&mut archive, name, 0o755, &busybox)?;
            }
        }
        while (archive.get_ref().len() as u64) < LAYER_BYTES {
            let text = text(words, random);
            let (folder, file) = (self.files / 40, self.files);
            append(&mut archive, &format!("data{layer}/{folder}/{file}"), 0o644, &text)?;
            self.files += 1;
        }
        Ok(archive.into_inner()?)
    }

    pub fn image(&self, round: &str) -> Result<Image> {
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for (index, shared) in self.layers.iter().enumerate() {
            // A header and a block, without the end that an archive has.
            let mut archive = tar::Builder::new(Vec::new());
            append(&mut archive, &format!("round{index}"), 0o644, round.as_bytes())?;
            let first = archive.get_ref().clone();
            let mut context = ring::digest::Context::new(&SHA256);
            context.update(&first);
            context.update(&shared.tar);
            diff_ids.push(named(&context.finish()));
            let whole = [gzip(&first)?, shared.member.clone()].concat();
            layers.push(blob(whole));
        }
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = blob(serde_json::to_vec(&config)?);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe(CONFIG, &config),
            "layers": layers.iter().map(|layer| describe(LAYER, layer)).collect::<Vec<_>>(),
        });
        Ok(Image { layers, config, manifest: serde_json::to_vec(&manifest)?.into() })
    }
}

fn describe(kind: &str, blob: &Blob) -> Value {
    json!({"mediaType": kind, "digest": blob.digest, "size": blob.bytes.len()})
}

fn blob(bytes: Vec<u8>) -> Blob {
    let digest = named(&ring::digest::digest(&SHA256, &bytes));
    Blob { bytes: bytes.into(), digest }
}

fn named(digest: &ring::digest::Digest) -> String {
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, data: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(data.len() as u64);
    Ok(archive.append_data(&mut header, name, data)?)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn words(random: &mut Random) -> Vec<String> {
    let letter = |random: &mut Random| char::from(b'a' + random.below(26) as u8);
    let word = |random: &mut Random| {
        let length = 2 + random.below(9);
        (0..length).map(|_| letter(random)).collect()
    };
    (0..WORDS).map(|_| word(random)).collect()
}

/// A file as long as files are: most are short, most bytes are in long ones.
fn text(words: &[String], random: &mut Random) -> Vec<u8> {
    let length = match random.below(100) {
        0..50 => 500 + random.below(8_000),
        50..85 => 8_000 + random.below(56_000),
        85..99 => 64_000 + random.below(300_000),
        _ => 1_000_000 + random.below(2_000_000),
    } as usize;
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        text.extend_from_slice(words[random.below(WORDS as u64) as usize].as_bytes());
        text.push(if random.below(12) == 0 { b'\n' } else { b' ' });
    }
    text
}

/// The same on every machine, so that every machine is measured with the same image.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % bound
    }
}
