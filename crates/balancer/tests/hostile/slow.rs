//! Clients that take their time: a thousand of them, in four kinds, while good ones go on. What is
//! measured is the good ones' luck.

use crate::rig::{PATIENCE, Rig, Wanted, exchange, good, statuses};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const SLOW: usize = 1_000;
/// A byte each, or one read.
const PACE: Duration = Duration::from_millis(500);
const GOOD_CLIENTS: usize = 16;
const GOOD_REQUESTS_EACH: usize = 400;
/// Far more than fits into the sockets on its way.
const LARGE_BYTES: usize = 16 * 1024 * 1024;

/// A target that answers everything, `/large` at length.
async fn target() -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let large = Bytes::from(vec![b'x'; LARGE_BYTES]);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let large = large.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let large = large.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    // A body that breaks off is its sender's affair.
                    let _ = request.into_body().collect().await;
                    let body = if path == "/large" { large } else { Bytes::from(path) };
                    Ok::<_, Infallible>(http::Response::new(Full::new(body)))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

#[derive(Clone, Copy)]
enum Kind {
    /// Says nothing at all.
    Silent,
    /// Sends its head byte by byte.
    Head,
    /// Sends its body byte by byte.
    Body,
    /// Reads its answer byte by byte.
    Reader,
}

const KINDS: [Kind; 4] = [Kind::Silent, Kind::Head, Kind::Body, Kind::Reader];

/// Goes on for as long as it is let, and tells once it has begun.
async fn dawdle(to: SocketAddr, kind: Kind, begun: Arc<AtomicUsize>) {
    let mut stream = TcpStream::connect(to).await.expect("it listens");
    let opening: &[u8] = match kind {
        Kind::Silent => b"",
        Kind::Head => b"GET /slow HTTP/1.1\r\nHost: slow\r\nX: ",
        Kind::Body => b"POST /slow HTTP/1.1\r\nHost: slow\r\nContent-Length: 100000\r\n\r\n",
        Kind::Reader => b"GET /large HTTP/1.1\r\nHost: slow\r\n\r\n",
    };
    stream.write_all(opening).await.expect("it takes what it is sent");
    begun.fetch_add(1, Ordering::Relaxed);
    loop {
        tokio::time::sleep(PACE).await;
        let went_on = match kind {
            Kind::Silent => true,
            Kind::Head | Kind::Body => stream.write_all(b"x").await.is_ok(),
            Kind::Reader => stream.read_u8().await.is_ok(),
        };
        if !went_on {
            // It was cut off, which is the balancer's right; it comes back.
            match TcpStream::connect(to).await {
                Ok(again) => stream = again,
                Err(_) => continue,
            }
            let _ = stream.write_all(opening).await;
        }
    }
}

/// Requests one after the other on one connection; how many failed, and how long each took.
async fn behave(to: SocketAddr, client: usize) -> (usize, Vec<Duration>) {
    let mut failed = 0;
    let mut times = Vec::new();
    let mut stream = None;
    for number in 0..GOOD_REQUESTS_EACH {
        let path = format!("/good-{client}-{number}");
        let began = Instant::now();
        match ask(to, &mut stream, &path).await {
            Some(body) if body == path => times.push(began.elapsed()),
            _ => {
                failed += 1;
                stream = None;
            }
        }
    }
    (failed, times)
}

async fn ask(to: SocketAddr, kept: &mut Option<TcpStream>, path: &str) -> Option<String> {
    let stream = match kept {
        Some(stream) => stream,
        None => kept.insert(TcpStream::connect(to).await.ok()?),
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: good\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut heard = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.split_once("content-length: ")?.1;
            let length: usize = length.split("\r\n").next()?.parse().ok()?;
            if body.len() >= length {
                return head.starts_with("HTTP/1.1 200").then(|| body.to_owned());
            }
        }
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut heard)).await;
        if read.ok()?.ok()? == 0 {
            return None;
        }
    }
}

fn worst_of_hundred(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

async fn good_traffic(to: SocketAddr) -> (usize, Vec<Duration>) {
    let mut clients = JoinSet::new();
    for client in 0..GOOD_CLIENTS {
        clients.spawn(behave(to, client));
    }
    let (mut failed, mut times) = (0, Vec::new());
    while let Some(done) = clients.join_next().await {
        let (more_failed, more_times) = done.expect("no panic");
        failed += more_failed;
        times.extend(more_times);
    }
    (failed, times)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_clients_harm_nobody() {
    let rig = Rig::start(Wanted::plain(vec![target().await])).await;
    let to = rig.listeners[0];
    let (failed, mut before) = good_traffic(to).await;
    assert_eq!(failed, 0, "alone, good traffic has no failure");
    let begun = Arc::new(AtomicUsize::new(0));
    let mut slow = JoinSet::new();
    for number in 0..SLOW {
        slow.spawn(dawdle(to, KINDS[number % KINDS.len()], begun.clone()));
    }
    let started = Instant::now();
    while begun.load(Ordering::Relaxed) < SLOW {
        assert!(started.elapsed() < PATIENCE, "only {} began", begun.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (failed, mut beside) = good_traffic(to).await;
    let all = GOOD_CLIENTS * GOOD_REQUESTS_EACH;
    println!(
        "{failed} of {all} failed; p99 {:?} beside slow clients, {:?} without",
        worst_of_hundred(&mut beside),
        worst_of_hundred(&mut before),
    );
    assert!(failed * 1000 <= all, "{failed} of {all} good requests failed");
    let ended = slow.try_join_next();
    assert!(ended.is_none(), "the slow ones were there all the time: {ended:?}");
    // And a newcomer gets in as well.
    assert_eq!(good(to, "/new").await.as_deref(), Ok("/new"));
    slow.shutdown().await;
    rig.end().await;
}

/// Clients that do nothing at all any more, each in the middle of something, hold nothing for
/// longer than the idle timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stalls_is_let_go() {
    let mut wanted = Wanted::plain(vec![target().await]);
    wanted.idle_timeout_seconds = 1;
    let rig = Rig::start(wanted).await;
    let to = rig.listeners[0];
    let stalled: [(&str, &[u8]); 5] = [
        ("with nothing", b""),
        ("in its head", b"GET /slow HTTP/1.1\r\nHost: slow\r\nX: "),
        ("in its body", b"POST /slow HTTP/1.1\r\nHost: slow\r\nContent-Length: 9\r\n\r\nx"),
        ("in a chunk", b"POST /s HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nx"),
        ("after an answer", b"GET /quick HTTP/1.1\r\nHost: slow\r\n\r\n"),
    ];
    let clients = stalled.map(|(name, bytes)| async move {
        let began = Instant::now();
        let heard = exchange(to, bytes, PATIENCE).await;
        assert!(began.elapsed() < PATIENCE, "{name}: it still holds its connection");
        let answered = statuses(&heard);
        let expected: &[u16] = if name == "after an answer" { &[200] } else { &[408] };
        let fits = answered.is_empty() || answered == expected;
        assert!(fits, "{name}: {answered:?}");
    });
    futures_util::future::join_all(clients).await;
    // One that does not read: what was sent before it was let go is all there is.
    let mut reader = TcpStream::connect(to).await.expect("it listens");
    reader.write_all(b"GET /large HTTP/1.1\r\nHost: slow\r\n\r\n").await.expect("it is taken");
    // Only once it is answered is it surely counted.
    let answered = tokio::time::timeout(PATIENCE, reader.readable()).await;
    answered.expect("it is answered in time").expect("it is open");
    let began = Instant::now();
    while rig.balancer.served().balancers.iter().any(|(_, counts)| counts.active_connections > 0) {
        assert!(began.elapsed() < PATIENCE, "who does not read holds its connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut heard = Vec::new();
    let rest = reader.read_to_end(&mut heard);
    let ended = tokio::time::timeout(PATIENCE, rest).await;
    assert!(ended.is_ok() && heard.len() < LARGE_BYTES, "it was sent {} bytes", heard.len());
    rig.end().await;
}
