//! A registry for tests: a real HTTP server on loopback that serves what it was given, counts what
//! it is asked, and misbehaves on request.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use runtime::image::Digest;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[derive(Clone, PartialEq)]
pub enum Auth {
    Open,
    /// Name and password.
    Basic(String, String),
    /// The token server is this server, and wants this name and password (none: anonymous).
    Bearer(Option<(String, String)>),
}

/// What goes wrong with a path, each time it is asked for, as often as there are troubles left for
/// it.
#[derive(Clone)]
pub enum Trouble {
    Status(u16, &'static str),
    /// 429, with this in `Retry-After`.
    Busy(&'static str),
    /// The connection breaks after so many bytes of the body.
    BreakAfter(usize),
    /// As `BreakAfter`, and `Range` is ignored.
    BreakAfterIgnoringRange(usize),
    /// The body stops after so many bytes, and the connection stays.
    SilentAfter(usize),
    /// Other bytes than asked for.
    Lie(Vec<u8>),
    /// The promised length is right, the bytes end before.
    Location(String),
    /// No answer at all.
    Deaf,
    /// One byte at a time with a pause between, up to so many, then the rest at once.
    Crumbs(usize),
}

#[derive(Default)]
struct State {
    manifests: BTreeMap<String, (String, Bytes)>,
    blobs: BTreeMap<Digest, Bytes>,
    troubles: BTreeMap<String, Vec<Trouble>>,
    ignore_range: bool,
    hide_digests: bool,
    /// Paths that begin so are for everybody.
    open: Option<String>,
    asked: Vec<String>,
    authorizations: Vec<(String, Option<String>)>,
    tokens: u32,
}

#[derive(Clone)]
pub struct Registry {
    address: SocketAddr,
    auth: Auth,
    state: Arc<Mutex<State>>,
    /// Body bytes sent so far, for those who wait for a moment inside a pull.
    sent: watch::Sender<usize>,
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

impl Registry {
    pub async fn start() -> Self {
        Self::start_with(Auth::Open).await
    }

    pub async fn start_with(auth: Auth) -> Self {
        Self::listen("127.0.0.1:0", auth, None).await
    }

    pub async fn start_tls(address: &str, tls: TlsAcceptor) -> Self {
        Self::listen(address, Auth::Open, Some(tls)).await
    }

    async fn listen(address: &str, auth: Auth, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let registry = Self {
            address: listener.local_addr().unwrap(),
            auth,
            state: Arc::default(),
            sent: watch::channel(0).0,
        };
        let server = registry.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (server, tls) = (server.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => server.serve(stream).await,
                        // A client that trusts nobody goes away here.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                server.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        registry
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| self.answer(request));
        let connection = hyper::server::conn::http1::Builder::new();
        // A connection that breaks is the purpose of many a test.
        let _ = connection.serve_connection(TokioIo::new(stream), service).await;
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn sent(&self) -> watch::Receiver<usize> {
        self.sent.subscribe()
    }

    pub fn trouble(&self, path: &str, troubles: Vec<Trouble>) {
        self.state.lock().unwrap().troubles.insert(path.to_owned(), troubles);
    }

    pub fn ignore_range(&self) {
        self.state.lock().unwrap().ignore_range = true;
    }

    pub fn open_to_all(&self, prefix: &str) {
        self.state.lock().unwrap().open = Some(prefix.to_owned());
    }

    /// No `Docker-Content-Digest`, as old registries are.
    pub fn hide_digests(&self) {
        self.state.lock().unwrap().hide_digests = true;
    }

    pub fn put_blob(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.state.lock().unwrap().blobs.insert(digest, bytes);
        digest
    }

    /// Under its digest, and under a tag if one is given.
    pub fn put_manifest(&self, repository: &str, tag: &str, kind: &str, body: &str) -> Digest {
        let digest = Digest::of(body.as_bytes());
        let value = (kind.to_owned(), Bytes::from(body.to_owned()));
        let mut state = self.state.lock().unwrap();
        for version in [tag.to_owned(), digest.to_string()] {
            let path = format!("/v2/{repository}/manifests/{version}");
            state.manifests.insert(path, value.clone());
        }
        digest
    }

    /// What was asked, `METHOD path` each, since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    pub fn authorizations(&self) -> Vec<(String, Option<String>)> {
        self.state.lock().unwrap().authorizations.clone()
    }

    pub fn tokens(&self) -> u32 {
        self.state.lock().unwrap().tokens
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, io::Error> {
        let path = request.uri().path().to_owned();
        let sent = request.headers().get("authorization");
        let sent = sent.map(|value| value.to_str().unwrap().to_owned());
        let trouble = {
            let mut state = self.state.lock().unwrap();
            state.asked.push(format!("{} {path}", request.method()));
            state.authorizations.push((path.clone(), sent.clone()));
            let left = state.troubles.get_mut(&path).filter(|left| !left.is_empty());
            left.map(|left| left.remove(0))
        };
        if path == "/token" {
            return Ok(self.token(request.uri().query().unwrap_or_default(), sent.as_deref()));
        }
        if !self.is_allowed(&path, sent.as_deref()) {
            return Ok(self.challenge());
        }
        match trouble {
            Some(Trouble::Status(status, body)) => {
                return Ok(plain(StatusCode::from_u16(status).unwrap(), body));
            }
            Some(Trouble::Busy(until)) => {
                let mut answer = plain(StatusCode::TOO_MANY_REQUESTS, "");
                answer.headers_mut().insert("retry-after", until.parse().unwrap());
                return Ok(answer);
            }
            Some(Trouble::Location(location)) => {
                let mut answer = plain(StatusCode::TEMPORARY_REDIRECT, "");
                answer.headers_mut().insert("location", location.parse().unwrap());
                return Ok(answer);
            }
            Some(Trouble::Deaf) => std::future::pending::<()>().await,
            _ => {}
        }
        Ok(self.content(request.method(), request.headers(), &path, trouble.as_ref()))
    }

    fn content(
        &self,
        method: &Method,
        headers: &HeaderMap,
        path: &str,
        trouble: Option<&Trouble>,
    ) -> Answer {
        let (kind, mut body, hide_digests, ignore_range) = {
            let state = self.state.lock().unwrap();
            let digest = path.rsplit('/').next().and_then(|last| last.parse::<Digest>().ok());
            let blob = || state.blobs.get(&digest?).map(|bytes| (String::new(), bytes.clone()));
            let found = state.manifests.get(path).cloned().or_else(blob);
            let Some((kind, body)) = found else {
                let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#;
                return plain(StatusCode::NOT_FOUND, unknown);
            };
            (kind, body, state.hide_digests, state.ignore_range)
        };
        let mut answer = Response::builder();
        if !kind.is_empty() {
            answer = answer.header("content-type", &kind);
            if !hide_digests {
                answer = answer.header("docker-content-digest", Digest::of(&body).to_string());
            }
        }
        if let Some(Trouble::Lie(bytes)) = trouble {
            body = bytes.clone().into();
        }
        let ignore = ignore_range || matches!(trouble, Some(Trouble::BreakAfterIgnoringRange(_)));
        let range = headers.get("range").filter(|_| !ignore).map(|v| v.to_str().unwrap());
        if let Some(range) = range {
            let start: usize =
                range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
            let of = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
            answer = answer.status(206).header("content-range", of);
            body = body.slice(start..);
        }
        answer = answer.header("content-length", body.len());
        if method == Method::HEAD {
            return answer.body(Full::new(Bytes::new()).map_err(never).boxed()).unwrap();
        }
        answer.body(self.body(&body, trouble)).unwrap()
    }

    fn body(&self, body: &Bytes, trouble: Option<&Trouble>) -> BoxBody<Bytes, io::Error> {
        enum Step {
            Bytes(Bytes),
            Break,
            Silence,
            Pause,
        }
        let mut steps: Vec<Step> = Vec::new();
        let whole = |bytes: &Bytes, steps: &mut Vec<Step>| {
            let mut bytes = bytes.clone();
            while !bytes.is_empty() {
                steps.push(Step::Bytes(bytes.split_to(bytes.len().min(32 * 1024))));
            }
        };
        match trouble {
            Some(Trouble::BreakAfter(at) | Trouble::BreakAfterIgnoringRange(at)) => {
                whole(&body.slice(..body.len().min(*at)), &mut steps);
                // Else the server may drop with the connection what it has not yet sent.
                steps.push(Step::Pause);
                steps.push(Step::Break);
            }
            Some(Trouble::SilentAfter(at)) => {
                whole(&body.slice(..body.len().min(*at)), &mut steps);
                steps.push(Step::Silence);
            }
            Some(Trouble::Crumbs(many)) => {
                let many = body.len().min(*many);
                for at in 0..many {
                    steps.push(Step::Bytes(body.slice(at..=at)));
                    steps.push(Step::Pause);
                }
                whole(&body.slice(many..), &mut steps);
            }
            _ => whole(body, &mut steps),
        }
        let sent = self.sent.clone();
        let frames = stream::unfold(steps.into_iter(), move |mut steps| {
            let sent = sent.clone();
            async move {
                loop {
                    match steps.next()? {
                        Step::Bytes(bytes) => {
                            sent.send_modify(|sum| *sum += bytes.len());
                            return Some((Ok(Frame::data(bytes)), steps));
                        }
                        Step::Break => return Some((Err(io::Error::other("break")), steps)),
                        Step::Silence => std::future::pending::<()>().await,
                        // Part of what the server does, not a wait for something to happen.
                        Step::Pause => tokio::time::sleep(Duration::from_micros(200)).await,
                    }
                }
            }
        });
        BodyExt::boxed(StreamBody::new(Box::pin(frames).synced()))
    }

    fn is_allowed(&self, path: &str, sent: Option<&str>) -> bool {
        let open = self.state.lock().unwrap().open.clone();
        if open.is_some_and(|prefix| path.starts_with(&prefix)) {
            return true;
        }
        match &self.auth {
            Auth::Open => true,
            Auth::Basic(name, password) => sent == Some(&*basic(name, password)),
            Auth::Bearer(_) => sent == Some("Bearer the-token"),
        }
    }

    fn challenge(&self) -> Answer {
        let text = match &self.auth {
            Auth::Basic(..) => r#"Basic realm="test""#.to_owned(),
            _ => format!(
                r#"Bearer realm="http://{}/token",service="test",scope="repository:x:pull""#,
                self.address
            ),
        };
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        let mut answer = plain(StatusCode::UNAUTHORIZED, body);
        answer.headers_mut().insert("www-authenticate", text.parse().unwrap());
        answer
    }

    fn token(&self, query: &str, sent: Option<&str>) -> Answer {
        let Auth::Bearer(wanted) = &self.auth else { return plain(StatusCode::NOT_FOUND, "") };
        let wanted = wanted.as_ref().map(|(name, password)| basic(name, password));
        let right = query == "service=test&scope=repository:app:pull" && sent == wanted.as_deref();
        if !right {
            return self.challenge();
        }
        self.state.lock().unwrap().tokens += 1;
        plain(StatusCode::OK, r#"{"token":"the-token","expires_in":300}"#)
    }
}

/// A body must be `Sync`; a stream that only one task polls may be said to be.
trait Synced: Sized {
    fn synced(self) -> sync::Synced<Self>;
}

impl<S> Synced for S {
    fn synced(self) -> sync::Synced<S> {
        sync::Synced(Mutex::new(self))
    }
}

mod sync {
    use futures_util::Stream;
    use std::pin::Pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll};

    pub struct Synced<S>(pub Mutex<S>);

    impl<S: Stream + Unpin> Stream for Synced<S> {
        type Item = S::Item;

        fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
            Pin::new(self.get_mut().0.get_mut().unwrap()).poll_next(cx)
        }
    }
}

fn never(error: std::convert::Infallible) -> io::Error {
    match error {}
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = format!("{name}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn plain(status: StatusCode, body: &'static str) -> Answer {
    let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(never).boxed();
    Response::builder().status(status).body(body).unwrap()
}

/// A layer as it is pushed: the blob, and what it unpacks to.
#[derive(Clone)]
pub struct Layer {
    pub blob: Vec<u8>,
    pub diff_id: Digest,
}

impl Layer {
    pub fn plain(tar: Vec<u8>) -> Self {
        Self { diff_id: Digest::of(&tar), blob: tar }
    }

    pub fn gzip(tar: &[u8]) -> Self {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(tar).unwrap();
        Self { blob: encoder.finish().unwrap(), diff_id: Digest::of(tar) }
    }

    pub fn zstd(tar: &[u8]) -> Self {
        Self { blob: zstd::encode_all(tar, 1).unwrap(), diff_id: Digest::of(tar) }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.blob)
    }
}

/// What a manifest of these layers says, for `linux/<architecture>`.
pub fn image(registry: &Registry, architecture: &str, layers: &[Layer]) -> String {
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Cmd": ["/app"], "Env": ["A=1"], "WorkingDir": "/srv"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string();
    let config_digest = registry.put_blob(config.clone());
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| {
            let digest = registry.put_blob(layer.blob.clone());
            json!({"mediaType": LAYER, "digest": digest, "size": layer.blob.len()})
        })
        .collect();
    let config = json!({"mediaType": CONFIG, "digest": config_digest, "size": config.len()});
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
        .to_string()
}

/// Pushes `app:v1`.
pub fn push(registry: &Registry, layers: &[Layer]) -> Digest {
    registry.put_manifest("app", "v1", MANIFEST, &image(registry, "amd64", layers))
}
