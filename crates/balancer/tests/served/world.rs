//! A balancer on loopback: doors of plain sockets, targets that say what they were told, and
//! clients that see every byte.

use balancer::{Balancer, Doors, Settings};
use model::balancing::{
    Action, Algorithm, BalancerEntry, BalancerSettings, BalancerTable, Certificates, DesyncMode,
    FixedResponse, Forward, ForwardedFor, GroupEntry, GroupSettings, HealthCheck, ListenerEntry,
    ListenerSettings, Protocol, ProtocolVersion, RuleEntry, TargetEntry,
};
use model::{LoadBalancerId, TargetGroupId, VpcId};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Every VPC is loopback.
pub struct Loopback;

impl Doors for Loopback {
    fn listen(&self, _vpc: &VpcId, at: SocketAddrV4) -> io::Result<std::net::TcpListener> {
        let socket = std::net::TcpListener::bind(at)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn connect(
        &self,
        _vpc: &VpcId,
        _from: Ipv4Addr,
        to: SocketAddrV4,
    ) -> io::Result<std::net::TcpStream> {
        // Loopback connects or refuses at once.
        let stream = std::net::TcpStream::connect(to)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

pub fn balancer() -> Balancer {
    balancer_with(None)
}

pub fn balancer_with(access_log: Option<std::path::PathBuf>) -> Balancer {
    let arn_prefix = "arn:aws:elasticloadbalancing:us-east-1:000000000000".to_owned();
    let settings = Settings { access_log, arn_prefix, seed: [7; 32], workers: 2 };
    Balancer::new(Arc::new(Loopback), settings)
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    socket.local_addr().expect("it is bound").port()
}

pub const VPC: &str = "vpc-1";

pub fn settings() -> BalancerSettings {
    BalancerSettings {
        idle_timeout_seconds: 60,
        drop_invalid_headers: false,
        desync: DesyncMode::Defensive,
        forwarded_for: ForwardedFor::Append,
        forwarded_client_port: false,
        preserve_host: true,
        http2: true,
        client_keep_alive_seconds: 3600,
        tls_headers: false,
        access_log: false,
        connection_log: false,
    }
}

/// No health checks: targets are healthy at once.
pub fn group(targets: &[SocketAddrV4]) -> GroupEntry {
    let entry = |at: &SocketAddrV4| TargetEntry {
        id: at.ip().to_string(),
        address: *at.ip(),
        port: at.port(),
        draining: false,
    };
    GroupEntry {
        name: "group".to_owned(),
        protocol: Protocol::Http,
        version: ProtocolVersion::Http1,
        vpc: VpcId::from(VPC),
        health_check: HealthCheck {
            enabled: false,
            protocol: Protocol::Http,
            port: None,
            path: "/".to_owned(),
            interval_seconds: 30,
            timeout_seconds: 5,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: "200".to_owned(),
        },
        settings: GroupSettings {
            algorithm: Algorithm::RoundRobin,
            slow_start_seconds: 0,
            deregistration_delay_seconds: 300,
            stickiness: None,
            healthy_min: 1,
            healthy_min_percent: 0,
            cut_unhealthy: true,
            cut_deregistered: false,
        },
        targets: targets.iter().map(entry).collect(),
    }
}

pub fn forward(groups: &[(&str, u32)]) -> Action {
    let groups = groups.iter().map(|(id, weight)| (TargetGroupId::from(*id), *weight)).collect();
    Action::Forward(Forward { groups, sticky_seconds: None, unsticky_seconds: None })
}

pub fn fixed(status: u16, body: &str) -> Action {
    Action::Fixed(FixedResponse { status, content_type: None, body: body.to_owned() })
}

pub fn otherwise(action: Action) -> RuleEntry {
    RuleEntry { priority: 0, conditions: Vec::new(), action }
}

/// One load balancer with one listener on loopback.
pub fn table(
    port: u16,
    rules: Vec<RuleEntry>,
    groups: impl IntoIterator<Item = (&'static str, GroupEntry)>,
) -> BalancerTable {
    let listener = ListenerEntry {
        protocol: Protocol::Http,
        ssl_policy: None,
        certificates: vec![],
        rules,
        settings: ListenerSettings::default(),
    };
    let entry = BalancerEntry {
        name: "lb".to_owned(),
        internal: false,
        vpc: VpcId::from(VPC),
        dns_name: "lb-1.us-east-1.elb.amazonaws.com".to_owned(),
        addresses: vec![Ipv4Addr::LOCALHOST],
        settings: settings(),
        listeners: BTreeMap::from([(port, listener)]),
    };
    BalancerTable {
        balancers: BTreeMap::from([(LoadBalancerId::from("0123456789abcdef"), entry)]),
        groups: groups.into_iter().map(|(id, group)| (TargetGroupId::from(id), group)).collect(),
    }
}

pub fn entry(table: &mut BalancerTable) -> &mut BalancerEntry {
    table.balancers.values_mut().next().expect("it has one")
}

pub fn learn(balancer: &Balancer, table: BalancerTable) {
    let failures = balancer.learn(Arc::new(table), Arc::new(Certificates::new()));
    assert!(failures.is_empty(), "{failures:?}");
}

/// A target that answers each request by `answer`, which gets the whole head and body as text.
pub struct Target {
    pub at: SocketAddrV4,
    pub connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn target<F>(answer: F) -> Target
where
    F: Fn(&str) -> String + Send + Sync + 'static,
{
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let SocketAddr::V4(at) = socket.local_addr().expect("it is bound") else { unreachable!() };
    let connections = Arc::new(AtomicUsize::new(0));
    let (counted, answer) = (connections.clone(), Arc::new(answer));
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let Ok((stream, _)) = socket.accept().await else { continue };
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            open.spawn(async move {
                let mut client = Client { stream, unread: Vec::new() };
                while let Some(request) = client.message().await {
                    let text = answer(&request);
                    if client.stream.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                    if text.contains("Connection: close") {
                        return;
                    }
                }
            });
        }
    });
    Target { at, connections, task }
}

/// A target that tells its name.
pub async fn named(name: &'static str) -> Target {
    target(move |_| ok(name)).await
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A connection on which whole messages are read.
pub struct Client {
    pub stream: TcpStream,
    pub unread: Vec<u8>,
}

impl Client {
    pub async fn new(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        Self { stream: stream.expect("the balancer listens"), unread: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.expect("it is written");
    }

    pub async fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        self.message().await.expect("there is an answer")
    }

    /// The next message, head and body (chunks taken apart); None at the end of the stream.
    pub async fn message(&mut self) -> Option<String> {
        let head = self.until(b"\r\n\r\n").await?;
        let lower = head.to_ascii_lowercase();
        let header = |name: &str| {
            let line = lower.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned)
        };
        let mut message = head;
        if header("transfer-encoding").as_deref() == Some("chunked") {
            loop {
                let size = self.until(b"\r\n").await?;
                let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
                message += &self.exactly(size).await?;
                self.exactly(2).await?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = header("content-length") {
            message += &self.exactly(length.parse().expect("a length")).await?;
        } else if lower.starts_with("http/1.1 200") {
            self.stream.read_to_end(&mut self.unread).await.ok()?;
            message += &String::from_utf8_lossy(&std::mem::take(&mut self.unread));
        }
        Some(message)
    }

    pub async fn until(&mut self, mark: &[u8]) -> Option<String> {
        loop {
            let found = self.unread.windows(mark.len()).position(|window| window == mark);
            if let Some(at) = found {
                return self.take(at + mark.len());
            }
            self.more().await?;
        }
    }

    pub async fn exactly(&mut self, count: usize) -> Option<String> {
        while self.unread.len() < count {
            self.more().await?;
        }
        self.take(count)
    }

    fn take(&mut self, count: usize) -> Option<String> {
        let rest = self.unread.split_off(count);
        let taken = std::mem::replace(&mut self.unread, rest);
        Some(String::from_utf8_lossy(&taken).into_owned())
    }

    async fn more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.unread).await {
            Ok(count) if count > 0 => Some(()),
            _ => None,
        }
    }

    /// Whether the other side has closed, and said nothing more.
    pub async fn is_closed(&mut self) -> bool {
        self.more().await.is_none()
    }
}

pub fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("")
}

pub fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Fails a test that hangs, with a word.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes soon")
}

/// Looks again and again until it is so; fails with `what` if it takes too long.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "not yet: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A target that answers when it is let go, for runtimes with several threads.
pub async fn held(name: &'static str) -> (Target, std::sync::mpsc::Sender<()>) {
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let target = target(move |_| {
        tokio::task::block_in_place(|| {
            // Whoever held it is gone: the test is over.
            let _ = held.lock().expect("no panic while it is held").recv();
        });
        ok(name)
    });
    (target.await, let_go)
}
