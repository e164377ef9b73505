//! An image on its way to the registry: a configuration, layers and a manifest, each with its
//! digest. A layer's bytes stay in the file they were found in or written to; only what is small
//! is held in memory.

use super::progress::Counter;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use ring::digest::SHA256;
use runtime::image::Platform;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Bytes read, hashed and sent at a time.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// A stretch of a file.
#[derive(Clone, Debug)]
pub struct Span {
    pub file: Arc<File>,
    pub offset: u64,
    pub bytes: u64,
}

impl Span {
    pub fn whole(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), offset: 0, bytes })
    }

    pub fn reader(&self) -> SpanReader {
        SpanReader { span: self.clone() }
    }

    /// The first bytes, as many as there are.
    pub fn head<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut head = [0; N];
        let wanted = N.min(usize::try_from(self.bytes).unwrap_or(N));
        self.file.read_exact_at(&mut head[..wanted], self.offset)?;
        Ok(head)
    }

    /// All of it, if it is no larger than that.
    pub fn read(&self, bytes_max: u64) -> Result<Vec<u8>> {
        if self.bytes > bytes_max {
            bail!("it has {} bytes, more than {bytes_max}", self.bytes);
        }
        let mut bytes = Vec::new();
        self.reader().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub fn digest(&self, counter: &Counter) -> Result<String> {
        let mut hashing = Hashing::new(io::sink());
        let mut reader = self.reader();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hashing.write_all(&buffer[..read])?;
            counter.add(read as u64);
        }
        if hashing.bytes != self.bytes {
            bail!("it became shorter while it was read");
        }
        Ok(hashing.finish().0)
    }
}

/// Reads a span from its start to its end, whoever else reads the file.
pub struct SpanReader {
    span: Span,
}

impl Read for SpanReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.span.bytes).unwrap_or(usize::MAX));
        let read = self.span.file.read_at(&mut buffer[..wanted], self.span.offset)?;
        self.span.offset += read as u64;
        self.span.bytes -= read as u64;
        Ok(read)
    }
}

/// Passes on what is written and knows its digest.
pub struct Hashing<W> {
    inner: W,
    context: ring::digest::Context,
    pub bytes: u64,
}

impl<W: Write> Hashing<W> {
    pub fn new(inner: W) -> Self {
        Self { inner, context: ring::digest::Context::new(&SHA256), bytes: 0 }
    }

    pub fn finish(self) -> (String, W) {
        (text_of(&self.context.finish()), self.inner)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.context.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

pub fn digest(bytes: &[u8]) -> String {
    text_of(&ring::digest::digest(&SHA256, bytes))
}

fn text_of(digest: &ring::digest::Digest) -> String {
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[derive(Clone, Debug)]
pub enum Content {
    Memory(Bytes),
    File(Span),
}

/// A blob of the image.
#[derive(Clone, Debug)]
pub struct Part {
    pub media_type: String,
    pub digest: String,
    pub bytes: u64,
    pub content: Content,
}

impl Part {
    pub fn memory(media_type: &str, bytes: Vec<u8>) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: digest(&bytes),
            bytes: bytes.len() as u64,
            content: Content::Memory(bytes.into()),
        }
    }

    pub fn file(media_type: &str, digest: String, span: Span) -> Self {
        let (media_type, bytes) = (media_type.to_owned(), span.bytes);
        Self { media_type, digest, bytes, content: Content::File(span) }
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes})
    }
}

/// Ready to be pushed.
#[derive(Debug)]
pub struct Image {
    pub config: Part,
    pub layers: Vec<Part>,
    pub manifest: Part,
    /// What its maker should know.
    pub notes: Vec<String>,
}

impl Image {
    pub fn new(config: &Value, layers: Vec<Part>) -> Result<Self> {
        let config = Part::memory(CONFIG, serde_json::to_vec(config)?);
        Self::with_config(config, layers)
    }

    pub fn with_config(config: Part, layers: Vec<Part>) -> Result<Self> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": layers.iter().map(Part::descriptor).collect::<Vec<_>>(),
        });
        let manifest = Part::memory(MANIFEST, serde_json::to_vec(&manifest)?);
        Ok(Self { config, layers, manifest, notes: Vec::new() })
    }

    /// One layer of what was just packed.
    pub fn of_layer(layer: Part, wishes: &Wishes, platform: Platform) -> Result<Self> {
        let (os, architecture) = os_and_architecture(platform);
        let mut config = json!({
            "architecture": architecture,
            "os": os,
            "config": {"Env": [PATH], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        });
        wishes.apply(&mut config)?;
        let mut image = Self::new(&config, vec![layer])?;
        if !runs_something(&config) {
            image.notes.push(
                "the image names nothing to run: give --entrypoint or --cmd, or a command in the \
                 task definition"
                    .to_owned(),
            );
        }
        Ok(image)
    }

    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }
}

/// As Docker sets it where an image says nothing.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub fn runs_something(config: &Value) -> bool {
    ["Entrypoint", "Cmd"].iter().any(|name| {
        let words = config.get("config").and_then(|it| it.get(name)).and_then(Value::as_array);
        words.is_some_and(|words| !words.is_empty())
    })
}

pub fn os_and_architecture(platform: Platform) -> (&'static str, &'static str) {
    match platform {
        Platform::LinuxAmd64 => ("linux", "amd64"),
        Platform::LinuxArm64 => ("linux", "arm64"),
    }
}

/// What the command line says about the configuration; what it doesn't say stays.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub workdir: Option<String>,
    pub user: Option<String>,
}

impl Wishes {
    pub fn is_empty(&self) -> bool {
        let words = [&self.entrypoint, &self.cmd, &self.env];
        words.iter().all(|it| it.is_empty()) && self.workdir.is_none() && self.user.is_none()
    }

    pub fn apply(&self, config: &mut Value) -> Result<()> {
        let config = config.as_object_mut().context("the configuration is no JSON object")?;
        let entry = config.entry("config").or_insert_with(|| json!({}));
        if entry.is_null() {
            *entry = json!({});
        }
        let inner = entry.as_object_mut().context("its \"config\" is no JSON object")?;
        let mut set = |name: &str, value: Value| inner.insert(name.to_owned(), value);
        if !self.entrypoint.is_empty() {
            set("Entrypoint", json!(self.entrypoint));
            // As a Dockerfile's ENTRYPOINT does: the old command was for the old entrypoint.
            set("Cmd", Value::Null);
        }
        if !self.cmd.is_empty() {
            set("Cmd", json!(self.cmd));
        }
        if let Some(workdir) = &self.workdir {
            set("WorkingDir", json!(workdir));
        }
        if let Some(user) = &self.user {
            set("User", json!(user));
        }
        if !self.env.is_empty() {
            let old = inner.get("Env").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let env = merged(old, &self.env);
            inner.insert("Env".to_owned(), env);
        }
        Ok(())
    }
}

/// A variable that is set again keeps its place.
fn merged(old: &[Value], new: &[String]) -> Value {
    let mut all: Vec<String> = old.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    for pair in new {
        let name = pair.split('=').next().unwrap_or_default();
        let same = |it: &&mut String| it.split('=').next() == Some(name);
        match all.iter_mut().find(same) {
            Some(found) => found.clone_from(pair),
            None => all.push(pair.clone()),
        }
    }
    json!(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(all: &[&str]) -> Vec<String> {
        all.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn wishes_change_what_they_name_and_nothing_else() {
        let mut config = json!({"config": {
            "Entrypoint": ["/old"], "Cmd": ["x"], "Env": ["A=1", "B=2"], "User": "app",
        }});
        let wishes = Wishes { env: words(&["B=3", "C=4"]), ..Wishes::default() };
        wishes.apply(&mut config).expect("applied");
        assert_eq!(config["config"]["Env"], json!(["A=1", "B=3", "C=4"]));
        assert_eq!(config["config"]["Cmd"], json!(["x"]));
        let wishes = Wishes { entrypoint: words(&["/new"]), ..Wishes::default() };
        wishes.apply(&mut config).expect("applied");
        assert_eq!(config["config"]["Entrypoint"], json!(["/new"]));
        assert!(config["config"]["Cmd"].is_null());
        assert_eq!(config["config"]["User"], json!("app"));
        assert!(runs_something(&config));
        let mut bare = json!({"config": null});
        let wishes = Wishes { workdir: Some("/srv".to_owned()), ..Wishes::default() };
        wishes.apply(&mut bare).expect("applied");
        assert_eq!(bare, json!({"config": {"WorkingDir": "/srv"}}));
        assert!(!runs_something(&bare));
    }

    #[test]
    fn a_span_is_read_and_hashed_as_what_it_covers() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"__inside__").expect("written");
        let span = Span { file: Arc::new(file), offset: 2, bytes: 6 };
        assert_eq!(span.read(6).expect("read"), b"inside");
        assert!(span.read(5).is_err());
        assert_eq!(span.digest(&Counter::default()).expect("hashed"), digest(b"inside"));
        assert_eq!(span.head::<3>().expect("read"), *b"ins");
        assert_eq!(span.head::<8>().expect("read"), *b"inside\0\0");
        let beyond = Span { bytes: 20, ..span };
        assert!(beyond.digest(&Counter::default()).is_err());
    }
}
