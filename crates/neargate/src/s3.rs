//! How a bucket is spoken to: over HTTP with or without TLS, each request signed with the one
//! signer there is, `wire::sigv4` (ADR 0011). What is said is the store's business.

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest::{SHA256, digest};
use rustls::pki_types::ServerName;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use store::blob::{BoxFuture, S3Body, S3Request, S3Response, S3Transport};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wire::sigv4::{PathStyle, SecretKey, Signer};

/// How long a connection may take to be made, in seconds.
const CONNECT_SECONDS_MAX: u64 = 10;
/// How long an answer's head may take, a part's bytes on their way to it included, in seconds.
const HEAD_SECONDS_MAX: u64 = 120;
/// How long an answer's body may pause, in seconds.
const PAUSE_SECONDS_MAX: u64 = 60;
/// How long a connection without a request is kept, in seconds.
const IDLE_SECONDS: u64 = 30;

/// What needs no encoding in a path or a query, as S3 signs them.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH_ENCODED: &AsciiSet = &ENCODED.remove(b'/');

/// A bucket and the keys to it. Not Debug: it holds a secret.
pub struct Bucket {
    pub name: String,
    pub endpoint: Uri,
    pub region: String,
    pub access_key_id: String,
    pub secret_key: SecretKey,
    pub session_token: Option<String>,
}

pub struct S3Client {
    http: Client<Dialer, Full<Bytes>>,
    bucket: Bucket,
}

impl S3Client {
    pub fn new(bucket: Bucket) -> Result<Self> {
        let secure = bucket.endpoint.scheme_str() == Some("https");
        let tls = secure.then(connector).transpose()?;
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(IDLE_SECONDS))
            .build(Dialer { tls });
        Ok(Self { http, bucket })
    }

    fn request(&self, request: S3Request) -> Result<Request<Full<Bytes>>> {
        let bucket = &self.bucket;
        let path = format!("/{}{}", bucket.name, request.path);
        let path = utf8_percent_encode(&path, PATH_ENCODED).to_string();
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let pairs = request.query.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        let authority = bucket.endpoint.authority().context("the endpoint has no host")?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
        for (name, value) in &request.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        }
        let hash = digest(&SHA256, &request.body);
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let name = HeaderName::from_static("x-amz-content-sha256");
        headers.insert(name, HeaderValue::from_str(&hash)?);
        let signer = Signer {
            access_key_id: &bucket.access_key_id,
            secret_key: &bucket.secret_key,
            session_token: bucket.session_token.as_deref(),
            region: &bucket.region,
            service: "s3",
            path_style: PathStyle::AsSent,
        };
        let now = wire::Timestamp { unix_ms: (crate::world::clock())().0 };
        signer.sign(request.method, &path, &query, &mut headers, &request.body, now);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
        let mark = if query.is_empty() { "" } else { "?" };
        let uri = Uri::builder()
            .scheme(bucket.endpoint.scheme_str().unwrap_or("https"))
            .authority(authority.as_str())
            .path_and_query(format!("{path}{mark}{query}"))
            .build()?;
        let built = Request::builder().method(request.method).uri(uri);
        let mut built = built.body(Full::new(request.body))?;
        *built.headers_mut() = headers;
        Ok(built)
    }
}

impl S3Transport for S3Client {
    fn send(&self, request: S3Request) -> BoxFuture<'_, io::Result<S3Response>> {
        Box::pin(async move {
            let request = self.request(request).map_err(io::Error::other)?;
            let limit = Duration::from_secs(HEAD_SECONDS_MAX);
            let response = tokio::time::timeout(limit, self.http.request(request)).await?;
            let (head, body) = response.map_err(io::Error::other)?.into_parts();
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers: BTreeMap<_, _> =
                head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            Ok(S3Response { status: head.status.as_u16(), headers, body: Box::new(Answer(body)) })
        })
    }
}

struct Answer(Incoming);

impl S3Body for Answer {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>> {
        Box::pin(async move {
            let limit = Duration::from_secs(PAUSE_SECONDS_MAX);
            loop {
                match tokio::time::timeout(limit, self.0.frame()).await? {
                    None => return Ok(None),
                    Some(frame) => {
                        if let Ok(piece) = frame.map_err(io::Error::other)?.into_data() {
                            return Ok(Some(piece));
                        }
                    }
                }
            }
        })
    }
}

/// Opens connections, encrypted if the endpoint is.
#[derive(Clone)]
struct Dialer {
    tls: Option<TlsConnector>,
}

fn connector() -> Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(system.certs);
    anyhow::ensure!(added > 0, "this system has no root certificates (package ca-certificates)");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("cannot set up TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl tower_service::Service<Uri> for Dialer {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let limit = Duration::from_secs(CONNECT_SECONDS_MAX);
            tokio::time::timeout(limit, dial(uri, tls)).await?
        })
    }
}

async fn dial(uri: Uri, tls: Option<TlsConnector>) -> io::Result<Wire> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    // A request is written at once; Nagle would only hold it back.
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Wire(Box::new(TokioIo::new(stream)))) };
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    Ok(Wire(Box::new(TokioIo::new(tls.connect(name, stream).await?))))
}

trait Stream: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Stream for T {}

/// A connection of either kind.
struct Wire(Box<dyn Stream>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, pieces)
    }
}
