//! The demo's image: one layer with Neargate's own static binary in it, made in memory and pushed
//! as docker would. No network and no other program is needed for it.

use crate::client::{Client, ECR, text};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

pub struct Image {
    layer: Bytes,
    config: Bytes,
    manifest: Bytes,
}

pub async fn make() -> Result<Image> {
    tokio::task::spawn_blocking(build).await.context("making the image was cut off")?
}

fn build() -> Result<Image> {
    let binary = std::fs::read("/proc/self/exe").context("cannot read our own binary")?;
    let mut archive = tar::Builder::new(Vec::with_capacity(binary.len() + 4096));
    let mut header = tar::Header::new_gnu();
    header.set_size(binary.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    archive.append_data(&mut header, "neargate", binary.as_slice())?;
    let layer = Bytes::from(archive.into_inner()?);
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/neargate"], "Cmd": ["sample"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = Bytes::from(serde_json::to_vec(&config)?);
    let describe = |kind: &str, bytes: &Bytes| {
        let (digest, size) = (digest(bytes), bytes.len());
        json!({"mediaType": kind, "digest": digest, "size": size})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": describe(CONFIG_TYPE, &config),
        "layers": [describe(LAYER_TYPE, &layer)],
    });
    Ok(Image { layer, config, manifest: Bytes::from(serde_json::to_vec(&manifest)?) })
}

fn digest(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Pushes with the token that `docker login` would use.
pub async fn push(client: &Client, image: &Image, repository: &str, tag: &str) -> Result<()> {
    let answer = client.call(ECR, "GetAuthorizationToken", &json!({})).await?;
    let token = text(&answer, "/authorizationData/0/authorizationToken")?;
    let registry = Registry {
        http: HttpClient::builder(TokioExecutor::new()).build_http(),
        base: format!("{}/v2/{repository}", client.endpoint().url),
        origin: client.endpoint().url.clone(),
        authorization: format!("Basic {token}"),
    };
    registry.push_blob(&image.layer).await?;
    registry.push_blob(&image.config).await?;
    let url = format!("{}/manifests/{tag}", registry.base);
    let answer = registry.send(Method::PUT, &url, MANIFEST_TYPE, image.manifest.clone()).await?;
    expect(answer, StatusCode::CREATED).await
}

struct Registry {
    http: HttpClient<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    base: String,
    origin: String,
    authorization: String,
}

impl Registry {
    async fn push_blob(&self, blob: &Bytes) -> Result<()> {
        let digest = digest(blob);
        let url = format!("{}/blobs/{digest}", self.base);
        let there = self.send(Method::HEAD, &url, "", Bytes::new()).await?;
        if there.status() == StatusCode::OK {
            return Ok(());
        }
        let url = format!("{}/blobs/uploads/", self.base);
        let begun = self.send(Method::POST, &url, "", Bytes::new()).await?;
        let location = begun.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.context("the registry names no place to upload to")?.to_owned();
        expect(begun, StatusCode::ACCEPTED).await?;
        let absolute = match location.starts_with('/') {
            true => format!("{}{location}", self.origin),
            false => location,
        };
        let joint = if absolute.contains('?') { '&' } else { '?' };
        let url = format!("{absolute}{joint}digest={digest}");
        let answer = self.send(Method::PUT, &url, "application/octet-stream", blob.clone()).await?;
        expect(answer, StatusCode::CREATED).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Response<hyper::body::Incoming>> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no address"))?;
        let mut request = Request::builder().method(method).uri(uri);
        request = request.header(AUTHORIZATION, &self.authorization);
        if !content_type.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        Ok(self.http.request(request.body(Full::new(body))?).await?)
    }
}

async fn expect(answer: Response<hyper::body::Incoming>, status: StatusCode) -> Result<()> {
    if answer.status() == status {
        return Ok(());
    }
    let got = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    bail!("the registry answered {got}: {}", String::from_utf8_lossy(&body))
}
