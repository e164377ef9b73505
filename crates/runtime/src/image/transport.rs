//! HTTP to registries: a pooled HTTP/1.1 client over TCP, proxies and rustls. It knows connecting,
//! deadlines and how to say what went wrong as Go's client would say it (users search for those
//! texts); it knows nothing of registries.

use super::failure::PullFailure;
use super::limits;
use super::proxy::{Proxies, Proxy};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, ServerName};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Deadlines and pauses, apart from the bounds so that tests need not wait for them.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub connect: Duration,
    pub headers: Duration,
    pub idle: Duration,
    pub backoff_first: Duration,
    pub pull: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: limits::CONNECT_TIMEOUT,
            headers: limits::HEADERS_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            backoff_first: limits::BACKOFF_FIRST,
            pull: limits::PULL_TIMEOUT,
        }
    }
}

impl Patience {
    /// The pause after this many attempts.
    pub(crate) fn backoff(&self, attempts: u32) -> Duration {
        let doubled = self.backoff_first.saturating_mul(1 << attempts.saturating_sub(1).min(16));
        doubled.min(limits::BACKOFF_MAX)
    }

    /// The pause before another attempt; nothing if the registry asks for more than can be waited.
    pub(crate) fn pause(&self, failure: &PullFailure, attempts: u32) -> Option<Duration> {
        let backoff = self.backoff(attempts);
        match failure {
            PullFailure::RateLimited { retry_after: Some(asked), .. } => {
                (*asked <= limits::RETRY_AFTER_MAX).then_some(backoff.max(*asked))
            }
            _ => Some(backoff),
        }
    }
}

/// A request that got no answer, or an answer that broke off, in Go's words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub String);

#[derive(Clone)]
pub(crate) struct Transport {
    client: Client<Dialer, Empty<Bytes>>,
    proxies: Arc<Proxies>,
    patience: Patience,
}

impl Transport {
    pub fn new(
        extra_roots: Vec<CertificateDer<'static>>,
        proxies: Proxies,
        patience: Patience,
    ) -> Self {
        let proxies = Arc::new(proxies);
        let dialer = Dialer {
            tls: Arc::new(Tls { extra_roots, connector: Mutex::new(None) }),
            proxies: Arc::clone(&proxies),
            timeout: patience.connect,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(limits::POOL_IDLE_PER_HOST)
            .http1_read_buf_exact_size(limits::READ_BYTES)
            .build(dialer);
        Self { client, proxies, patience }
    }

    /// Until the headers are here; the body comes at its own pace.
    pub async fn send(
        &self,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, Broken> {
        // A tunnel was authorized when it was dug; a plain request carries the proxy's header.
        let plain = request.uri().scheme_str() != Some("https");
        let proxy = self.proxies.of(request.uri()).filter(|_| plain);
        if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.clone()) {
            request.headers_mut().insert(http::header::PROXY_AUTHORIZATION, authorization);
        }
        match tokio::time::timeout(self.patience.headers, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Broken(innermost(&error))),
            Err(_) => Err(Broken(
                "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
                    .to_owned(),
            )),
        }
    }

    /// The next bytes of a body; `None` at its end.
    pub async fn next_chunk<B>(&self, body: &mut B) -> Result<Option<Bytes>, Broken>
    where
        B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
    {
        loop {
            match tokio::time::timeout(self.patience.idle, body.frame()).await {
                Err(_) => return Err(Broken("i/o timeout while reading the body".to_owned())),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(Broken(innermost(&error))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// A whole body; `Ok(None)` if it is larger than the bound.
    pub async fn whole_body(
        &self,
        mut body: Incoming,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, Broken> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.next_chunk(&mut body).await? {
            if whole.len() as u64 + chunk.len() as u64 > bytes_max {
                return Ok(None);
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(Some(whole))
    }
}

/// The cause at the bottom, which is the one that says something.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return match error.kind() {
            io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
            io::ErrorKind::BrokenPipe => "write: broken pipe".to_owned(),
            io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
            _ => error.to_string(),
        };
    }
    match cause.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_incomplete_message() => "unexpected EOF".to_owned(),
        _ => cause.to_string(),
    }
}

/// Opens connections: plain ones for `http`, checked ones for `https`.
#[derive(Clone)]
struct Dialer {
    tls: Arc<Tls>,
    proxies: Arc<Proxies>,
    timeout: Duration,
}

struct Tls {
    extra_roots: Vec<CertificateDer<'static>>,
    /// Made when the first `https` is met: reading the system's certificates takes milliseconds
    /// that a machine with only our own registry never needs to spend.
    connector: Mutex<Option<TlsConnector>>,
}

impl tower_service::Service<Uri> for Dialer {
    type Response = TokioIo<Wire>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(&uri).await.map(TokioIo::new) })
    }
}

impl Dialer {
    async fn dial(&self, uri: &Uri) -> Result<Wire, Broken> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let proxy = self.proxies.of(uri);
        let mut stream = match proxy {
            None => self.reach(host, port).await?,
            Some(proxy) => self
                .reach(&proxy.host, proxy.port)
                .await
                .map_err(|Broken(problem)| Broken(format!("proxyconnect tcp: {problem}")))?,
        };
        match proxy {
            None if !secure => return Ok(Wire::Plain(stream)),
            Some(_) if !secure => return Ok(Wire::Forwarded(stream)),
            None => {}
            Some(proxy) => {
                let target = uri.authority().map_or("", http::uri::Authority::as_str);
                let target = match uri.port_u16() {
                    Some(_) => target.to_owned(),
                    None => format!("{target}:{port}"),
                };
                let dug = tokio::time::timeout(self.timeout, tunnel(&mut stream, proxy, &target));
                dug.await.map_err(|_| Broken("proxyconnect tcp: i/o timeout".to_owned()))??;
            }
        }
        self.secure(host, stream).await
    }

    /// Whichever of the host's addresses answers first, in the resolver's order.
    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, Broken> {
        let addresses: Vec<SocketAddr> =
            tokio::time::timeout(self.timeout, tokio::net::lookup_host((host, port)))
                .await
                .map_err(|_| Broken(format!("dial tcp: lookup {host}: i/o timeout")))?
                .map_err(|error| Broken(format!("dial tcp: lookup {host}: {}", lookup(&error))))?
                .collect();
        let mut last = Broken(format!("dial tcp: lookup {host}: no such host"));
        for address in addresses {
            match self.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(broken) => last = broken,
            }
        }
        Err(last)
    }

    async fn connect(&self, address: SocketAddr) -> Result<TcpStream, Broken> {
        let connected = tokio::time::timeout(self.timeout, TcpStream::connect(address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(Broken(format!("dial tcp {address}: connect: {}", errno(&error))));
            }
            Err(_) => return Err(Broken(format!("dial tcp {address}: i/o timeout"))),
        };
        // A request is one small write that waits for its answer; Nagle would only hold it back.
        stream
            .set_nodelay(true)
            .map_err(|error| Broken(format!("dial tcp {address}: {}", errno(&error))))?;
        Ok(stream)
    }

    async fn secure(&self, host: &str, stream: TcpStream) -> Result<Wire, Broken> {
        let tls = Arc::clone(&self.tls);
        let connector = tokio::task::spawn_blocking(move || tls.connector())
            .await
            .map_err(|error| Broken(format!("tls: {error}")))??;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Broken(format!("tls: {host} is not a server name")))?;
        match tokio::time::timeout(self.timeout, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Wire::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(Broken(handshake(&error))),
            Err(_) => Err(Broken("net/http: TLS handshake timeout".to_owned())),
        }
    }
}

/// Asks a proxy for a way through to `target`, a host with its port.
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, target: &str) -> Result<(), Broken> {
    let broken = |error: io::Error| Broken(format!("proxyconnect tcp: {}", errno(&error)));
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(broken)?;
    // Byte by byte: what comes after the head is the other side's, and belongs to TLS.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= limits::PROXY_HEAD_BYTES_MAX {
            return Err(Broken("proxyconnect tcp: the proxy's answer has no end".to_owned()));
        }
        head.push(stream.read_u8().await.map_err(broken)?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let status = line.split_once(' ').map_or("", |(_, status)| status);
    match status.split(' ').next() {
        Some(code) if code.len() == 3 && code.starts_with('2') => Ok(()),
        // As Go says it: only the words of the proxy's status.
        _ => Err(Broken(status.chars().filter(|c| !c.is_control()).take(100).collect())),
    }
}

/// Why a handshake failed, as Go would say it where it has words of its own.
fn handshake(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        Some(error) => format!("tls: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => format!("tls: {error}"),
    }
}

fn lookup(error: &io::Error) -> String {
    let text = error.to_string();
    let unknown = ["Name or service not known", "No address associated", "nodename nor servname"];
    if unknown.iter().any(|known| text.contains(known)) { "no such host".to_owned() } else { text }
}

fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    // Rust adds the number; Go and the kernel's own texts are lower case without it.
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

impl Tls {
    fn connector(&self) -> Result<TlsConnector, Broken> {
        let mut made = self.connector.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = &*made {
            return Ok(connector.clone());
        }
        let mut roots = rustls::RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for problem in &system.errors {
            tracing::warn!(%problem, "a certificate of this system could not be read");
        }
        let (added, _) = roots.add_parsable_certificates(system.certs);
        let (extra, _) = roots.add_parsable_certificates(self.extra_roots.iter().cloned());
        if added + extra == 0 {
            return Err(Broken(
                "tls: this system has no root certificates (package ca-certificates)".to_owned(),
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Broken(format!("tls: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        *made = Some(connector.clone());
        Ok(connector)
    }
}

/// A connection of either kind.
pub(crate) enum Wire {
    Plain(TcpStream),
    /// To a proxy, which must be told the whole URL.
    Forwarded(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new().proxy(matches!(self, Self::Forwarded(_)))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) | Self::Forwarded(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) | Self::Forwarded(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) | Self::Forwarded(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) | Self::Forwarded(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
