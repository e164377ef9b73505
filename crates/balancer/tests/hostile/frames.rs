//! HTTP/2 as no client would speak it: the frames that RFC 9113 forbids, floods of those that it
//! allows, header blocks that unpack to something huge, and messages that would be two on their way
//! to a target that speaks HTTP/1.1.

use crate::backends::Backend;
use crate::hpack::*;
use crate::rig::{PATIENCE, Rig, Wanted};
use model::balancing::{DesyncMode, Protocol};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long to wait for something that need not come.
const QUIET: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn connect(to: SocketAddr) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(to).await.expect("it listens");
    let name = ServerName::try_from("hostile.example").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = stream.expect("it speaks TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    stream
}

/// What came back.
#[derive(Default, Debug)]
struct Heard {
    /// Streams whose answers began, with the first byte of the header block: its status.
    answered: Vec<(u32, u8)>,
    reset: Vec<u32>,
    goaway: Option<u32>,
    closed: bool,
}

const STATUS_200: u8 = 0x88;

impl Heard {
    /// The connection was ended for what was sent on it.
    fn was_refused(&self) -> bool {
        self.goaway.is_some_and(|code| code != 0) || self.closed
    }

    /// The stream, or all, was ended, or answered with a status other than 200.
    fn stream_was_refused(&self, stream: u32) -> bool {
        let answered = |(of, status): &(u32, u8)| *of == stream && *status != STATUS_200;
        self.was_refused() || self.reset.contains(&stream) || self.answered.iter().any(answered)
    }

    fn was_served(&self, stream: u32) -> bool {
        self.answered.contains(&(stream, STATUS_200))
    }
}

/// Sends the bytes after a preface, and listens until `enough` or the end.
async fn speak(to: SocketAddr, bytes: &[u8], enough: impl Fn(&Heard) -> bool) -> Heard {
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[]), bytes].concat();
    speak_raw(to, &opening, enough).await
}

async fn speak_raw(to: SocketAddr, bytes: &[u8], enough: impl Fn(&Heard) -> bool) -> Heard {
    let (mut reader, mut writer) = tokio::io::split(connect(to).await);
    let mut heard = Heard::default();
    let writing = async {
        // It may be closed before all is written.
        let _ = writer.write_all(bytes).await;
        let _ = writer.flush().await;
        std::future::pending::<()>().await;
    };
    let reading = async {
        while !heard.was_refused() && !enough(&heard) {
            let mut head = [0; 9];
            if reader.read_exact(&mut head).await.is_err() {
                heard.closed = true;
                break;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut payload = vec![0; length];
            if reader.read_exact(&mut payload).await.is_err() {
                heard.closed = true;
                break;
            }
            match head[3] {
                HEADERS => heard.answered.push((stream, status(&payload))),
                RST_STREAM => heard.reset.push(stream),
                GOAWAY => {
                    let code = payload[4..8].try_into().expect("four bytes");
                    heard.goaway = Some(u32::from_be_bytes(code));
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        () = writing => {}
        ended = tokio::time::timeout(QUIET, reading) => { ended.ok(); }
    }
    heard
}

/// The first header of a block; the balancer may begin with a change of the table's size.
fn status(block: &[u8]) -> u8 {
    block.iter().copied().find(|byte| *byte & 0xe0 != 0x20).unwrap_or(0)
}

async fn still_serves(to: SocketAddr, after: &str) {
    let question = get(1, "/good");
    let heard = speak(to, &question, |heard| !heard.answered.is_empty());
    let heard = tokio::time::timeout(PATIENCE, heard).await.expect("an answer in time");
    assert!(heard.was_served(1), "after {after}: {heard:?}");
}

struct World {
    rig: Rig,
    backends: Vec<Backend>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> World {
        World::start_with(60).await
    }

    async fn start_with(idle_timeout_seconds: u32) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let backends = Backend::start_all(folder.path());
        let mut wanted = Wanted::plain(backends.iter().map(|it| it.address).collect());
        wanted.protocol = Protocol::Https;
        wanted.desync = DesyncMode::Defensive;
        wanted.idle_timeout_seconds = idle_timeout_seconds;
        World { rig: Rig::start(wanted).await, backends, _folder: folder }
    }

    fn at(&self) -> SocketAddr {
        self.rig.listeners[0]
    }
}

/// What RFC 9113 calls an error of the connection.
fn forbidden() -> Vec<(&'static str, Vec<u8>)> {
    let whole = END_HEADERS | END_STREAM;
    let ok = request("/outer");
    let settings = |id, value| frame(SETTINGS, 0, 0, &setting(id, value));
    let open = frame(HEADERS, END_HEADERS, 1, &request("/outer"));
    let after = |first: &[u8], then: &[u8]| [first, then].concat();
    vec![
        ("DATA without a stream", frame(DATA, 0, 0, b"x")),
        ("DATA of an idle stream", frame(DATA, 0, 1, b"x")),
        ("HEADERS without a stream", frame(HEADERS, whole, 0, &ok)),
        ("HEADERS of a stream of the server's", frame(HEADERS, whole, 2, &ok)),
        ("a stream older than the last", after(&get(5, "/outer"), &get(3, "/outer"))),
        ("a frame longer than allowed", frame(DATA, 0, 1, &vec![0; 16_385])),
        ("HEADERS longer than allowed", frame(HEADERS, whole, 1, &vec![0; 16_385])),
        ("padding longer than its frame", after(&open, &frame(DATA, PADDED, 1, &[9, 1, 2]))),
        ("SETTINGS of a stream", frame(SETTINGS, 0, 1, &[])),
        ("SETTINGS of an odd length", frame(SETTINGS, 0, 0, &[0; 5])),
        ("SETTINGS acknowledged with more", frame(SETTINGS, ACK, 0, &setting(3, 1))),
        ("push neither on nor off", settings(2, 2)),
        ("a window too large", settings(4, 0x8000_0000)),
        ("frames too small", settings(5, 16_383)),
        ("frames too large", settings(5, 16_777_216)),
        ("PING of a stream", frame(PING, 0, 1, &[0; 8])),
        ("PING of an odd length", frame(PING, 0, 0, &[0; 6])),
        ("GOAWAY of a stream", frame(GOAWAY, 0, 1, &[0; 8])),
        ("a window not widened", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a window widened too far", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())),
        ("a window of an odd length", frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        ("a window of an idle stream", frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())),
        ("RST_STREAM without a stream", frame(RST_STREAM, 0, 0, &[0; 4])),
        ("RST_STREAM of an idle stream", frame(RST_STREAM, 0, 1, &[0; 4])),
        ("RST_STREAM of an odd length", after(&open, &frame(RST_STREAM, 0, 1, &[0; 3]))),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &ok)),
        (
            "something amid a header block",
            after(&frame(HEADERS, END_STREAM, 1, &ok[..4]), &frame(PING, 0, 0, &[0; 8])),
        ),
        (
            "a header block that changes streams",
            after(
                &frame(HEADERS, END_STREAM, 1, &ok[..4]),
                &frame(CONTINUATION, END_HEADERS, 3, &ok[4..]),
            ),
        ),
        ("PUSH_PROMISE from a client", after(&open, &frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 8]))),
        ("an index of nothing", frame(HEADERS, whole, 1, &[0x80])),
        ("an index beyond the table", frame(HEADERS, whole, 1, &[0xff, 0x80, 0x01])),
        (
            "a table too large",
            frame(HEADERS, whole, 1, &[&[0x3f, 0xe1, 0xff, 0x03], &ok[..]].concat()),
        ),
        ("a header cut off", frame(HEADERS, whole, 1, &ok[..ok.len() - 1])),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forbidden_frames_end_their_connection_and_no_other() {
    let world = World::start().await;
    let at = world.at();
    let checks = forbidden().into_iter().map(|(name, bytes)| async move {
        let heard = speak(at, &bytes, |_| false).await;
        assert!(heard.was_refused(), "{name}: {heard:?}");
    });
    futures_util::future::join_all(checks).await;
    for preface in [&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"]
    {
        let heard = speak_raw(at, preface, |_| false).await;
        assert!(heard.was_refused(), "a wrong preface: {heard:?}");
    }
    still_serves(at, "forbidden frames").await;
    world.rig.end().await;
}

const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n";

/// Requests that are malformed, or would be two in HTTP/1.1.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let base =
        [(":method", "POST"), (":scheme", "https"), (":authority", "h"), (":path", "/outer")];
    let with = |name: &str, value: &str| [block(&base), block(&[(name, value)])].concat();
    let but = |name: &str, value: &str| {
        let changed = base.map(|(key, old)| if key == name { (key, value) } else { (key, old) });
        block(&changed)
    };
    let without = |name: &str| {
        let left: Vec<_> = base.into_iter().filter(|(key, _)| *key != name).collect();
        block(&left)
    };
    let injected = format!("x\r\n\r\n{HIDDEN}");
    let line = format!("/outer HTTP/1.1\r\nHost: h\r\n\r\n{HIDDEN}");
    let method = format!("GET /smuggled HTTP/1.1\r\nX: {}", "POST");
    vec![
        ("a coding", with("transfer-encoding", "chunked")),
        ("a connection header", with("connection", "content-length")),
        ("an upgrade", with("upgrade", "h2c")),
        ("kept alive", with("keep-alive", "timeout=5")),
        ("te of another kind", with("te", "chunked")),
        ("an upper case name", with("X-Upper", "1")),
        ("a name with a space", with("x y", "1")),
        ("a name with a colon", with("x:y", "1")),
        ("a name with a line end", with("x: y\r\ntransfer-encoding", "chunked")),
        ("no name", with("", "1")),
        ("a value with a line end", with("x", &injected)),
        ("a value with a line feed", with("x", "a\ntransfer-encoding: chunked")),
        ("a value with a null", with("x", "a\0b")),
        ("a pseudo-header at the end", [block(&[("x", "y")]), block(&base)].concat()),
        ("a pseudo-header of an answer", with(":status", "200")),
        ("an unknown pseudo-header", with(":unknown", "x")),
        ("two paths", with(":path", "/smuggled")),
        ("two methods", with(":method", "GET")),
        ("no method", without(":method")),
        ("no path", without(":path")),
        ("an empty path", but(":path", "")),
        ("a path with a space", but(":path", "/outer /smuggled")),
        ("a path with a line end", but(":path", &line)),
        ("a method with a space", but(":method", &method)),
        ("a method with a line end", but(":method", "GET\r\n")),
        ("an authority with a line end", but(":authority", "h\r\nTransfer-Encoding: chunked")),
        ("two lengths", [with("content-length", "1"), block(&[("content-length", "2")])].concat()),
        ("a length that is none", with("content-length", "+1")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_refused_and_no_backend_sees_what_they_hid() {
    let world = World::start().await;
    for at in &world.rig.listeners {
        let checks = malformed().into_iter().map(|(name, block)| async move {
            let bytes = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
            let heard = speak(*at, &bytes, |heard| heard.stream_was_refused(1)).await;
            assert!(heard.stream_was_refused(1), "{name}: {heard:?}");
        });
        futures_util::future::join_all(checks).await;
        lengths_that_lie(*at).await;
        still_serves(*at, "malformed requests").await;
    }
    world.rig.end().await;
    for backend in &world.backends {
        let seen = backend.seen();
        assert!(seen.contains("/good"), "{} writes down what it sees: {seen}", backend.name);
        assert!(!seen.contains("smuggled"), "{} saw {seen}", backend.name);
    }
}

/// Bodies of another length than was announced: the rest must not become a request.
async fn lengths_that_lie(at: SocketAddr) {
    let hidden = HIDDEN.len().to_string();
    for length in ["0", "5", "100000", hidden.as_str()] {
        let head = block(&[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "h"),
            (":path", "/outer"),
            ("content-length", length),
        ]);
        let head = frame(HEADERS, END_HEADERS, 1, &head);
        let bytes = [head, frame(DATA, END_STREAM, 1, HIDDEN.as_bytes())].concat();
        let known = |heard: &Heard| heard.stream_was_refused(1) || heard.was_served(1);
        let heard = speak(at, &bytes, known).await;
        assert_eq!(heard.was_served(1), length == hidden, "a length of {length}: {heard:?}");
    }
}

/// More of what is allowed than anybody needs.
fn floods() -> Vec<(&'static str, Vec<u8>)> {
    let repeated = |count: u32, each: &dyn Fn(u32) -> Vec<u8>| -> Vec<u8> {
        (0..count).flat_map(each).collect()
    };
    let open = frame(HEADERS, END_HEADERS, 1, &request("/outer"));
    let start = frame(HEADERS, END_STREAM, 1, &request("/outer"));
    let filler = literal(b"x-filler", &[b'x'; 16_000]);
    let large = remembered(b"x-bomb", &[b'x'; 4_000]);
    let bomb = [request("/outer"), large, vec![NEWEST; 12_000]].concat();
    vec![
        (
            "streams that are reset at once",
            repeated(20_000, &|n| {
                [get(2 * n + 1, "/outer"), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()
            }),
        ),
        (
            "a header block without end",
            [start, repeated(2_000, &|_| frame(CONTINUATION, 0, 1, &filler))].concat(),
        ),
        (
            "empty pieces of a header block",
            [
                frame(HEADERS, END_STREAM, 1, &request("/outer")),
                repeated(200_000, &|_| frame(CONTINUATION, 0, 1, &[])),
            ]
            .concat(),
        ),
        ("headers that unpack to 48 MB", frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)),
        ("settings", repeated(50_000, &|n| frame(SETTINGS, 0, 0, &setting(3, n)))),
        ("pings", repeated(100_000, &|_| frame(PING, 0, 0, &[0; 8]))),
        (
            "empty pieces of a body",
            [open.clone(), repeated(200_000, &|_| frame(DATA, 0, 1, &[]))].concat(),
        ),
        (
            "windows",
            [open, repeated(100_000, &|_| frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()))]
                .concat(),
        ),
        (
            "streams beyond the limit",
            repeated(5_000, &|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &request("/outer"))),
        ),
    ]
}

/// Those after which the connection must be gone, as going on has no end.
const MUST_END: [&str; 3] = [
    "streams that are reset at once",
    "a header block without end",
    "empty pieces of a header block",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_harm_nobody_else() {
    let world = World::start().await;
    let at = world.at();
    let before = memory_mib();
    for (name, bytes) in floods() {
        let flood = tokio::spawn(async move { speak(at, &bytes, |_| false).await });
        still_serves(at, name).await;
        let heard = flood.await.expect("no panic");
        assert!(!MUST_END.contains(&name) || heard.was_refused(), "{name}: {heard:?}");
        let bomb = name.starts_with("headers that unpack");
        assert!(!bomb || heard.stream_was_refused(1), "{name}: {heard:?}");
    }
    let grown = memory_mib().saturating_sub(before);
    assert!(grown < 256, "{grown} MiB more after the floods");
    let seen = world.backends[0].seen();
    let outer = seen.lines().filter(|line| line.contains("/outer")).count();
    assert!(outer < 5_000, "{outer} requests of a flood reached the backend");
    world.rig.end().await;
}

/// Streams on which nothing happens any more end with the idle timeout, though their connection is
/// kept busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_stall_are_let_go() {
    let world = World::start_with(1).await;
    let at = world.at();
    let head = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "h"),
        (":path", "/outer"),
        ("content-length", "100"),
    ];
    let body = [frame(HEADERS, END_HEADERS, 1, &block(&head)), frame(DATA, 0, 1, b"x")].concat();
    let closed = setting(4, 0);
    let window = [frame(SETTINGS, 0, 0, &closed), get(1, "/outer")].concat();
    for (name, bytes) in [("in its body", body), ("with its window", window)] {
        let speaking = speak(at, &bytes, |heard| heard.stream_was_refused(1));
        let heard = tokio::time::timeout(PATIENCE, speaking).await.expect("it speaks or is quiet");
        assert!(heard.stream_was_refused(1), "{name}: {heard:?}");
    }
    world.rig.end().await;
}

/// Of this process, client and balancer together.
fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024
}
