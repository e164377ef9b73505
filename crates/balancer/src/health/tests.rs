//! Checks against real sockets: targets that answer, refuse, dawdle and come back.

use super::*;
use crate::doors::Doors;
use model::TargetGroupId;
use model::balancing::Protocol;
use std::io;
use std::net::TcpListener;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// Plain sockets of the machine.
struct Plain;

impl Doors for Plain {
    fn listen(&self, _: &VpcId, at: SocketAddrV4) -> io::Result<TcpListener> {
        TcpListener::bind(at)
    }

    fn connect(&self, _: &VpcId, _: Ipv4Addr, to: SocketAddrV4) -> io::Result<std::net::TcpStream> {
        let stream = std::net::TcpStream::connect(to)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

/// Doors that can't be opened: no descriptors are left.
struct Shut;

impl Doors for Shut {
    fn listen(&self, _: &VpcId, _: SocketAddrV4) -> io::Result<TcpListener> {
        Err(io::Error::other("no descriptors"))
    }

    fn connect(&self, _: &VpcId, _: Ipv4Addr, _: SocketAddrV4) -> io::Result<std::net::TcpStream> {
        Err(io::Error::other("no descriptors"))
    }
}

fn vpc() -> VpcId {
    VpcId::from("vpc-0123456789abcdef0")
}

fn checked(address: SocketAddrV4, matcher: &str) -> Checked {
    let group = TargetGroupId::from("0123456789abcdef");
    Checked {
        key: TargetKey { group, id: address.ip().to_string(), port: address.port() },
        vpc: vpc(),
        from: Ipv4Addr::LOCALHOST,
        address,
        version: ProtocolVersion::Http1,
        check: HealthCheck {
            enabled: true,
            protocol: Protocol::Http,
            port: None,
            path: "/health?deep=1".to_owned(),
            interval_seconds: 60,
            timeout_seconds: 5,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: matcher.to_owned(),
        },
    }
}

fn checks(doors: Arc<dyn Doors>) -> (Checks, mpsc::UnboundedReceiver<Opinion>) {
    let (heard, opinions) = mpsc::unbounded_channel();
    let publish: Publish = Arc::new(move |_, opinion| {
        // The receiver ends with its test.
        let _ = heard.send(opinion);
    });
    (Checks::new(doors, publish, tokio::runtime::Handle::current()), opinions)
}

async fn next(opinions: &mut mpsc::UnboundedReceiver<Opinion>) -> Opinion {
    let next = tokio::time::timeout(Duration::from_secs(20), opinions.recv());
    next.await.expect("an opinion in time").expect("checks run")
}

/// A target that gives each connection the next of these answers, the last one ever after; what
/// it was sent is told.
async fn target(answers: Vec<&'static str>) -> (SocketAddrV4, mpsc::UnboundedReceiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = address(&listener);
    let (told, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut turn = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answers[turn.min(answers.len() - 1)];
            turn += 1;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => break,
                }
            }
            let _ = told.send(String::from_utf8_lossy(&request).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, requests)
}

fn address(listener: &tokio::net::TcpListener) -> SocketAddrV4 {
    match listener.local_addr().expect("an address") {
        std::net::SocketAddr::V4(address) => address,
        std::net::SocketAddr::V6(_) => panic!("bound to IPv4"),
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_target_that_comes_is_asked_at_once_and_as_elb_asks() {
    let (address, mut requests) = target(vec![OK]).await;
    let (checks, mut opinions) = checks(Arc::new(Plain));
    checks.learn(vec![checked(address, "200-299")]);
    let first = next(&mut opinions).await;
    assert_eq!(first.reason.as_deref(), Some("Elb.InitialHealthChecking"));
    let second = next(&mut opinions).await;
    assert_eq!(second, Opinion { state: TargetState::Healthy, reason: None, description: None });
    let request = requests.recv().await.expect("it was asked").to_ascii_lowercase();
    assert!(request.starts_with("get /health?deep=1 http/1.1\r\n"), "{request}");
    for line in [
        format!("host: {address}\r\n"),
        "user-agent: elb-healthchecker/2.0\r\n".to_owned(),
        "connection: close\r\n".to_owned(),
    ] {
        assert!(request.contains(&line), "{request}");
    }
}

#[tokio::test]
async fn a_target_that_starts_slowly_serves_long_before_the_interval_is_over() {
    let (address, mut requests) = target(vec![BUSY, BUSY, BUSY, OK]).await;
    let (checks, mut opinions) = checks(Arc::new(Plain));
    checks.learn(vec![checked(address, "200")]);
    assert_eq!(next(&mut opinions).await.state, TargetState::Initial);
    assert_eq!(next(&mut opinions).await.state, TargetState::Healthy);
    for _ in 0..4 {
        requests.recv().await.expect("it was asked four times");
    }
}

#[tokio::test]
async fn a_dead_target_is_out_of_service_soon_after_it_refused_somebody() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = address(&listener);
    let (checks, mut opinions) = checks(Arc::new(Plain));
    let mut wanted = checked(address, "200");
    wanted.check.protocol = Protocol::Tcp;
    checks.learn(vec![wanted.clone()]);
    assert_eq!(next(&mut opinions).await.state, TargetState::Initial);
    assert_eq!(next(&mut opinions).await.state, TargetState::Healthy);
    drop(listener);
    checks.suspect(&wanted.key);
    let opinion = next(&mut opinions).await;
    assert_eq!(opinion.state, TargetState::Unhealthy);
    assert_eq!(opinion.description.as_deref(), Some("Health checks failed"));
}

#[tokio::test]
async fn a_suspicion_that_is_wrong_changes_nothing() {
    let (address, mut requests) = target(vec![OK]).await;
    let (checks, mut opinions) = checks(Arc::new(Plain));
    let wanted = checked(address, "200");
    checks.learn(vec![wanted.clone()]);
    assert_eq!(next(&mut opinions).await.state, TargetState::Initial);
    assert_eq!(next(&mut opinions).await.state, TargetState::Healthy);
    requests.recv().await.expect("the first check");
    checks.suspect(&wanted.key);
    requests.recv().await.expect("the prompted check");
    checks.learn(vec![wanted]);
    assert!(opinions.try_recv().is_err(), "nothing new is said");
}

#[tokio::test]
async fn wrong_codes_and_silence_are_told_apart() {
    let (busy, _requests) = target(vec![BUSY]).await;
    let (checks_of_busy, mut opinions) = checks(Arc::new(Plain));
    let mut wanted = checked(busy, "200");
    wanted.check.unhealthy_threshold = 1;
    checks_of_busy.learn(vec![wanted]);
    assert_eq!(next(&mut opinions).await.state, TargetState::Initial);
    let opinion = next(&mut opinions).await;
    assert_eq!(
        opinion.description.as_deref(),
        Some("Health checks failed with these codes: [503]")
    );
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (checks_of_silent, mut opinions) = checks(Arc::new(Plain));
    let mut wanted = checked(address(&silent), "200");
    wanted.check.unhealthy_threshold = 1;
    wanted.check.timeout_seconds = 1;
    checks_of_silent.learn(vec![wanted]);
    assert_eq!(next(&mut opinions).await.state, TargetState::Initial);
    assert_eq!(next(&mut opinions).await.reason.as_deref(), Some("Target.Timeout"));
}

#[tokio::test]
async fn our_own_failure_is_not_held_against_a_target_in_silence() {
    let (checks, mut opinions) = checks(Arc::new(Shut));
    let mut wanted = checked(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9), "200");
    wanted.check.unhealthy_threshold = 1;
    checks.learn(vec![wanted]);
    assert_eq!(next(&mut opinions).await.state, TargetState::Initial);
    assert_eq!(next(&mut opinions).await.reason.as_deref(), Some("Elb.InternalError"));
}

#[tokio::test]
async fn without_checks_a_target_is_healthy_and_with_them_again_it_is_asked() {
    let (checks, mut opinions) = checks(Arc::new(Plain));
    let (address, _requests) = target(vec![BUSY]).await;
    let mut wanted = checked(address, "200");
    wanted.check.enabled = false;
    checks.learn(vec![wanted.clone()]);
    assert_eq!(next(&mut opinions).await.state, TargetState::Healthy);
    wanted.check.enabled = true;
    checks.learn(vec![wanted]);
    assert_eq!(next(&mut opinions).await.state, TargetState::Initial);
}

#[tokio::test]
async fn a_grpc_target_is_judged_by_its_status() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = address(&listener);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(|request: http::Request<_>| async move {
                let _: &hyper::body::Incoming = request.body();
                assert_eq!(request.headers()["content-type"], "application/grpc");
                let answer = http::Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", "12")
                    .body(http_body_util::Empty::<bytes::Bytes>::new());
                Ok::<_, std::convert::Infallible>(answer.expect("an answer"))
            });
            let executor = hyper_util::rt::TokioExecutor::new();
            let io = hyper_util::rt::TokioIo::new(stream);
            let server = hyper::server::conn::http2::Builder::new(executor);
            let _ = server.serve_connection(io, service).await;
        }
    });
    let (checks, mut opinions) = checks(Arc::new(Plain));
    let mut wanted = checked(at, "12");
    wanted.version = ProtocolVersion::Grpc;
    wanted.check.path = "/AWS.ALB/healthcheck".to_owned();
    checks.learn(vec![wanted]);
    assert_eq!(next(&mut opinions).await.state, TargetState::Initial);
    assert_eq!(next(&mut opinions).await.state, TargetState::Healthy);
}
