//! TLS with certificates by name, HTTP/2 from clients, HTTP/2 and gRPC to targets, the access log.

use crate::world::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::balancing::{
    BalancerTable, CertificateWithKey, Certificates, Protocol, ProtocolVersion, Stickiness,
};
use model::credentials::Hidden;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::net::SocketAddrV4;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub fn certificate(names: &[&str]) -> CertificateWithKey {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("names are fine");
    CertificateWithKey {
        chain_pem: made.cert.pem(),
        key_pem: Hidden::new(made.signing_key.serialize_pem()),
    }
}

pub fn secure(mut table: BalancerTable, certificates: &[&str]) -> BalancerTable {
    for listener in entry(&mut table).listeners.values_mut() {
        listener.protocol = Protocol::Https;
        listener.certificates = certificates.iter().map(|arn| (*arn).to_owned()).collect();
    }
    table
}

/// Connects as a client that believes these certificates.
pub async fn tls(
    port: u16,
    name: &str,
    alpn: &str,
    all: &Certificates,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in all.values() {
        let der = CertificateDer::from_pem_slice(certificate.chain_pem.as_bytes());
        roots.add(der.expect("it is PEM")).expect("it is a certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let shown = stream.get_ref().1.peer_certificates().expect("one was shown");
    shown[0].as_ref().to_vec()
}

fn der(certificate: &CertificateWithKey) -> Vec<u8> {
    let der = CertificateDer::from_pem_slice(certificate.chain_pem.as_bytes());
    der.expect("it is PEM").as_ref().to_vec()
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let a = named("a").await;
    let port = free_port();
    let balancer = balancer();
    let mut all = Certificates::from([
        ("default".to_owned(), certificate(&["default.test"])),
        ("exact".to_owned(), certificate(&["a.wild.test"])),
        ("wild".to_owned(), certificate(&["*.wild.test"])),
    ]);
    let rules = || vec![otherwise(forward(&[("g", 1)]))];
    let plain = || table(port, rules(), [("g", group(&[a.at]))]);
    let learn = |all: &Certificates, arns: &[&str]| {
        let failures = balancer.learn(Arc::new(secure(plain(), arns)), Arc::new(all.clone()));
        failures.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(learn(&all, &["default", "exact", "wild"]), Vec::<String>::new());
    for (name, arn) in
        [("default.test", "default"), ("a.wild.test", "exact"), ("b.wild.test", "wild")]
    {
        let stream = soon(tls(port, name, "http/1.1", &all)).await.expect("a handshake");
        assert_eq!(shown(&stream), der(&all[arn]), "{name}");
    }
    // Another name gets the default, which is not for it.
    assert!(soon(tls(port, "other.test", "http/1.1", &all)).await.is_err());
    // A new certificate is for new connections; the old one goes on.
    let mut old = soon(tls(port, "default.test", "http/1.1", &all)).await.expect("a handshake");
    all.insert("new".to_owned(), certificate(&["default.test"]));
    assert_eq!(learn(&all, &["new", "wild"]), Vec::<String>::new());
    let new = soon(tls(port, "default.test", "http/1.1", &all)).await.expect("a handshake");
    assert_eq!(shown(&new), der(&all["new"]));
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    old.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("it is open");
    let mut answer = vec![0; 12];
    soon(old.read_exact(&mut answer)).await.expect("it is answered");
    assert_eq!(answer, b"HTTP/1.1 200");
    // What can't be used is named, and the rest is served.
    let broken =
        CertificateWithKey { chain_pem: "x".to_owned(), key_pem: Hidden::new("y".to_owned()) };
    all.insert("broken".to_owned(), broken);
    let failures = learn(&all, &["new", "broken"]);
    assert!(failures.len() == 1 && failures[0].starts_with("certificate broken: "), "{failures:?}");
}

pub async fn http2<B>(port: u16, all: &Certificates) -> SendRequest<B>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Unpin
        + Send
        + 'static,
{
    let stream = soon(tls(port, "default.test", "h2", all)).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

pub async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

#[tokio::test]
async fn requests_over_http_2_reach_targets_over_http_1() {
    let echo = target(ok).await;
    let port = free_port();
    let balancer = balancer();
    let all = Certificates::from([("default".to_owned(), certificate(&["default.test"]))]);
    let mut sticky = group(&[echo.at]);
    sticky.settings.stickiness = Some(Stickiness::Balancer { seconds: 60 });
    let rules = vec![otherwise(forward(&[("g", 1)]))];
    let table = secure(table(port, rules, [("g", sticky)]), &["default"]);
    assert!(balancer.learn(Arc::new(table), Arc::new(all.clone())).is_empty());
    let sender = http2::<Full<Bytes>>(port, &all).await;
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mut sender = sender.clone();
        asked.spawn(async move {
            let body = format!("body {number} ").repeat(3_000);
            let request = Request::post("https://default.test/a?b")
                .header("cookie", "x=1")
                .header("cookie", "y=2")
                .body(Full::new(Bytes::from(body.clone())))
                .expect("a request");
            let response = soon(sender.send_request(request)).await.expect("an answer");
            assert_eq!(response.status(), 200);
            assert!(response.headers().contains_key("set-cookie"));
            let text = soon(text(response)).await;
            assert!(
                text.starts_with("POST /a?b HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1\r\n"),
                "{text}"
            );
            assert!(text.contains("\r\ncookie: x=1; y=2\r\n"), "{text}");
            assert!(text.contains("X-Forwarded-Proto: https\r\n"));
            assert!(text.ends_with(&body));
        });
    }
    while let Some(done) = asked.join_next().await {
        done.expect("it is answered");
    }
}

/// A target over HTTP/2 that says what it was asked and ends with trailers.
async fn http2_target() -> SocketAddrV4 {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let std::net::SocketAddr::V4(at) = socket.local_addr().expect("bound") else { unreachable!() };
    tokio::spawn(async move {
        loop {
            let (stream, _) = socket.accept().await.expect("a connection");
            let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.expect("a whole body").to_bytes();
                let said = format!(
                    "{} te={:?} from={:?} {}",
                    parts.uri,
                    parts.headers.get("te"),
                    parts.headers.get("x-forwarded-for"),
                    String::from_utf8_lossy(&body)
                );
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().expect("a value"));
                let frames = [Frame::data(Bytes::from(said)), Frame::trailers(trailers)];
                let frames = frames.map(Ok::<_, std::convert::Infallible>);
                let body = StreamBody::new(futures_util::stream::iter(frames));
                Ok::<_, std::convert::Infallible>(Response::new(body))
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    at
}

#[tokio::test]
async fn grpc_passes_with_its_trailers_and_other_protocols_are_464() {
    let at = http2_target().await;
    let port = free_port();
    let balancer = balancer();
    let all = Certificates::from([("default".to_owned(), certificate(&["default.test"]))]);
    let mut grpc = group(&[at]);
    grpc.version = ProtocolVersion::Grpc;
    let rules = vec![otherwise(forward(&[("g", 1)]))];
    let table = secure(table(port, rules, [("g", grpc)]), &["default"]);
    assert!(balancer.learn(Arc::new(table), Arc::new(all.clone())).is_empty());
    let mut sender = http2::<Full<Bytes>>(port, &all).await;
    for _ in 0..3 {
        let request = Request::post("https://default.test/pkg.Service/Call")
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from("ping")))
            .expect("a request");
        let response = soon(sender.send_request(request)).await.expect("an answer");
        let collected = soon(response.into_body().collect()).await.expect("a whole body");
        let trailers = collected.trailers().cloned().expect("there are trailers");
        assert_eq!(trailers["grpc-status"], "0");
        let said = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
        assert!(
            said.contains("/pkg.Service/Call te=Some(\"trailers\") from=Some(\"127.0.0.1\") ping")
        );
    }
    let get = Request::get("https://default.test/").body(Full::default()).expect("a request");
    assert_eq!(soon(sender.send_request(get)).await.expect("an answer").status(), 464);
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut old = soon(tls(port, "default.test", "http/1.1", &all)).await.expect("a handshake");
    old.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await.expect("sent");
    let mut answer = vec![0; 12];
    soon(old.read_exact(&mut answer)).await.expect("it is answered");
    assert_eq!(answer, b"HTTP/1.1 464");
}

#[tokio::test]
async fn the_access_log_has_albs_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = named("a").await;
    let port = free_port();
    let balancer = balancer_with(Some(folder.path().to_owned()));
    let mut table = table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group(&[a.at]))]);
    entry(&mut table).settings.access_log = true;
    learn(&balancer, table);
    let mut client = Client::new(port).await;
    client.send("GET /x?y HTTP/1.1\r\nHost: h\r\nUser-Agent: say \"hi\"\r\n\r\n").await;
    soon(client.message()).await.expect("an answer");
    let path = folder.path().join("access.log");
    let mut line = String::new();
    until("the line is written", || {
        line = std::fs::read_to_string(&path).unwrap_or_default();
        line.ends_with('\n')
    })
    .await;
    let fields: Vec<&str> = line.split(' ').collect();
    assert_eq!(fields[0], "http");
    assert_eq!(fields[2], "app/lb/0123456789abcdef");
    assert_eq!((fields[4], fields[8], fields[9]), (a.at.to_string().as_str(), "200", "200"));
    assert!(
        line.contains(&format!("\"GET http://h:{port}/x?y HTTP/1.1\" \"say \\x22hi\\x22\" - - "))
    );
    assert!(line.contains("targetgroup/group/g \"Root=1-"), "{line}");
    assert!(line.contains("\"forward\" \"-\" \"-\""), "{line}");
}

#[tokio::test]
async fn the_log_of_connections_has_albs_lines_and_is_joined_to_that_of_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = named("a").await;
    let port = free_port();
    let balancer = balancer_with(Some(folder.path().to_owned()));
    let all = Certificates::from([("default".to_owned(), certificate(&["default.test"]))]);
    let plain = table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group(&[a.at]))]);
    let mut table = secure(plain, &["default"]);
    entry(&mut table).settings.access_log = true;
    entry(&mut table).settings.connection_log = true;
    assert!(balancer.learn(Arc::new(table), Arc::new(all.clone())).is_empty());
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = soon(tls(port, "default.test", "http/1.1", &all)).await.expect("a handshake");
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("it is open");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\na") {
            answer.push(soon(stream.read_u8()).await.expect("it is answered whole"));
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    // It does not believe the certificate it is shown.
    assert!(soon(tls(port, "other.test", "http/1.1", &all)).await.is_err());
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let (mut opened, mut asked) = (String::new(), String::new());
    until("the lines are written", || {
        (opened, asked) = (read("connection.log"), read("access.log"));
        opened.lines().count() == 2 && asked.lines().count() == 2
    })
    .await;
    let fields: Vec<Vec<&str>> = opened.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(fields[0][1..4], ["127.0.0.1", fields[0][2], &port.to_string()], "{opened}");
    assert_eq!((fields[0][4], fields[0][10]), ("TLSv1.3", "Success"), "{opened}");
    assert_eq!(fields[1][10], "Failed:UnmappedConnectionError", "{opened}");
    for line in asked.lines() {
        assert!(line.ends_with(fields[0][11]), "{asked}{opened}");
    }
}
