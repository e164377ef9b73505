//! The one small image that everybody runs: a static busybox. As a folder for crun, as an archive
//! for dockerd, and pushed to Neargate's registry as `docker push` would.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Answer, Client, Connection, ECR, text};

const BUSYBOX: &str = "/bin/busybox";
const LINKS: [&str; 3] = ["sh", "sleep", "true"];
const FOLDERS: [&str; 6] = ["bin", "dev", "etc", "proc", "sys", "tmp"];
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// What the containers run: it lives until it is told to end, and then ends at once. (A plain
/// `sleep` would not, as process 1.)
pub const WAITS: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"];

pub struct Image {
    pub archive: Bytes,
}

impl Image {
    pub fn make() -> Result<Image> {
        let busybox = fs::read(BUSYBOX)
            .with_context(|| format!("{BUSYBOX}: install Debian's busybox-static"))?;
        let mut archive = tar::Builder::new(Vec::with_capacity(busybox.len() + 64 * 1024));
        let mut add = |kind, path: &str, mode, data: &[u8], link: Option<&str>| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(data.len() as u64);
            match link {
                Some(target) => archive.append_link(&mut header, path, target),
                None => archive.append_data(&mut header, path, data),
            }
        };
        for folder in FOLDERS {
            add(tar::EntryType::Directory, &format!("{folder}/"), 0o755, &[], None)?;
        }
        add(tar::EntryType::Regular, "bin/busybox", 0o755, &busybox, None)?;
        for link in LINKS {
            add(tar::EntryType::Symlink, &format!("bin/{link}"), 0o777, &[], Some("busybox"))?;
        }
        Ok(Image { archive: Bytes::from(archive.into_inner()?) })
    }

    /// One static program and nothing else, at `place`.
    pub fn of_program(program: &Path, place: &str) -> Result<Image> {
        let bytes = fs::read(program).with_context(|| format!("no {}", program.display()))?;
        let mut archive = tar::Builder::new(Vec::with_capacity(bytes.len() + 64 * 1024));
        for folder in FOLDERS {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            archive.append_data(&mut header, format!("{folder}/"), &[][..])?;
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, place.trim_start_matches('/'), &bytes[..])?;
        Ok(Image { archive: Bytes::from(archive.into_inner()?) })
    }

    /// As a folder, for who has no notion of images.
    pub fn unpack(&self, folder: &Path) -> Result<PathBuf> {
        let rootfs = folder.join("rootfs");
        tar::Archive::new(self.archive.as_ref()).unpack(&rootfs)?;
        Ok(rootfs)
    }

    /// Pushes it as `REPOSITORY:1`; gives the references by digest and by tag.
    pub async fn push(&self, client: &mut Client, repository: &str) -> Result<[String; 2]> {
        let input = json!({"repositoryName": repository});
        let made = client.call(ECR, "CreateRepository", &input).await?;
        let uri = text(&made, "/repository/repositoryUri")?;
        let answer = client.call(ECR, "GetAuthorizationToken", &json!({})).await?;
        let token = text(&answer, "/authorizationData/0/authorizationToken")?;
        let mut registry = Registry {
            connection: Connection::tcp(&client.account.address).await?,
            base: format!("/v2/{repository}"),
            authorization: HeaderValue::from_str(&format!("Basic {token}"))?,
        };
        let config = Bytes::from(serde_json::to_vec(&config(&self.archive))?);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": describe(CONFIG_TYPE, &config),
            "layers": [describe(LAYER_TYPE, &self.archive)],
        });
        let manifest = Bytes::from(serde_json::to_vec(&manifest)?);
        let by_digest = format!("{uri}@{}", digest(&manifest));
        registry.push_blob(&self.archive).await?;
        registry.push_blob(&config).await?;
        let path = format!("{}/manifests/1", registry.base);
        let answer = registry.send(Method::PUT, &path, MANIFEST_TYPE, manifest).await?;
        expect(&answer, StatusCode::CREATED)?;
        Ok([by_digest, format!("{uri}:1")])
    }
}

fn config(layer: &Bytes) -> Value {
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Cmd": WAITS, "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    })
}

fn describe(kind: &str, bytes: &Bytes) -> Value {
    json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()})
}

fn digest(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

struct Registry {
    connection: Connection,
    base: String,
    authorization: HeaderValue,
}

impl Registry {
    async fn push_blob(&mut self, blob: &Bytes) -> Result<()> {
        let path = format!("{}/blobs/uploads/", self.base);
        let begun = self.send(Method::POST, &path, "", Bytes::new()).await?;
        expect(&begun, StatusCode::ACCEPTED)?;
        let place = begun.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let place = place.context("the registry names no place to upload to")?;
        // The path of an absolute address.
        let path = match place.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
            None => place,
        };
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}digest={}", digest(blob));
        let kind = "application/octet-stream";
        let answer = self.send(Method::PUT, &path, kind, blob.clone()).await?;
        expect(&answer, StatusCode::CREATED)
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        self.connection.send(&method, path, headers, body).await
    }
}

fn expect(answer: &Answer, status: StatusCode) -> Result<()> {
    if answer.status != status {
        bail!("the registry answered {}: {}", answer.status, answer.text());
    }
    Ok(())
}
