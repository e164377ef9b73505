//! A balancer on plain sockets of this machine, in front of groups of given targets; and what a
//! client needs that writes bytes no library would write.

use balancer::{Balancer, Doors, Settings};
use model::balancing::{
    Action, Algorithm, BalancerEntry, BalancerSettings, BalancerTable, CertificateWithKey,
    DesyncMode, Forward, ForwardedFor, GroupEntry, GroupSettings, HealthCheck, ListenerEntry,
    ListenerSettings, Protocol, ProtocolVersion, RuleEntry, TargetEntry, TargetState,
};
use model::credentials::Hidden;
use model::{LoadBalancerId, TargetGroupId, VpcId};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far beyond what anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Plain sockets. Every listener gets a free port; which, is remembered.
#[derive(Default)]
struct Plain(Mutex<BTreeMap<SocketAddrV4, SocketAddr>>);

impl Doors for Plain {
    fn listen(&self, _: &VpcId, at: SocketAddrV4) -> io::Result<TcpListener> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        self.0.lock().expect("no panic").insert(at, listener.local_addr()?);
        Ok(listener)
    }

    fn connect(&self, _: &VpcId, _: Ipv4Addr, to: SocketAddrV4) -> io::Result<std::net::TcpStream> {
        let stream = std::net::TcpStream::connect(to)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

pub struct Wanted {
    pub desync: DesyncMode,
    pub protocol: Protocol,
    pub idle_timeout_seconds: u32,
    pub targets: Vec<SocketAddrV4>,
}

impl Wanted {
    pub fn plain(targets: Vec<SocketAddrV4>) -> Wanted {
        let desync = DesyncMode::Defensive;
        Wanted { desync, protocol: Protocol::Http, idle_timeout_seconds: 60, targets }
    }
}

pub struct Rig {
    pub balancer: Balancer,
    /// Where the listener of each target stands.
    pub listeners: Vec<SocketAddr>,
}

const ARN: &str = "arn:aws:acm:us-east-1:123456789012:certificate/0";
/// Of the table; the doors give another.
const FIRST_PORT: u16 = 8000;

impl Rig {
    /// A listener in front of each target, and all targets healthy.
    pub async fn start(wanted: Wanted) -> Rig {
        let doors = Arc::new(Plain::default());
        let settings = Settings {
            access_log: None,
            arn_prefix: "arn:aws:elasticloadbalancing:us-east-1:123456789012".to_owned(),
            seed: [7; 32],
            workers: 2,
        };
        let balancer = Balancer::new(doors.clone(), settings);
        let mut found = balancer.found();
        let targets = wanted.targets.len();
        let failures = balancer.learn(Arc::new(table(&wanted)), Arc::new(certificates()));
        assert!(failures.is_empty(), "{failures:?}");
        let healthy = found.wait_for(|all| {
            let healthy = all.values().filter(|it| it.state == TargetState::Healthy);
            healthy.count() == targets
        });
        tokio::time::timeout(PATIENCE, healthy).await.expect("healthy in time").expect("it runs");
        let opened = doors.0.lock().expect("no panic");
        let at = |number| SocketAddrV4::new(Ipv4Addr::LOCALHOST, FIRST_PORT + number as u16);
        let listeners = (0..targets).map(|number| opened[&at(number)]).collect();
        drop(opened);
        Rig { balancer, listeners }
    }

    pub async fn end(self) {
        self.balancer.end(Duration::from_secs(1)).await;
    }
}

fn table(wanted: &Wanted) -> BalancerTable {
    let vpc = VpcId::from("vpc-0123456789abcdef0");
    let mut table = BalancerTable::default();
    let mut listeners = BTreeMap::new();
    for (number, target) in wanted.targets.iter().enumerate() {
        let id = TargetGroupId::mint(number as u128 + 1);
        let forward =
            Forward { groups: vec![(id.clone(), 1)], sticky_seconds: None, unsticky_seconds: None };
        let rule =
            RuleEntry { priority: 0, conditions: Vec::new(), action: Action::Forward(forward) };
        let secure = wanted.protocol == Protocol::Https;
        let listener = ListenerEntry {
            protocol: wanted.protocol,
            ssl_policy: None,
            certificates: secure.then(|| ARN.to_owned()).into_iter().collect(),
            rules: vec![rule],
            settings: ListenerSettings::default(),
        };
        listeners.insert(FIRST_PORT + number as u16, listener);
        table.groups.insert(id, group(vpc.clone(), *target));
    }
    let entry = BalancerEntry {
        name: "hostile".to_owned(),
        internal: false,
        vpc,
        dns_name: "hostile-1.us-east-1.elb.amazonaws.com".to_owned(),
        addresses: vec![Ipv4Addr::LOCALHOST],
        settings: BalancerSettings {
            idle_timeout_seconds: wanted.idle_timeout_seconds,
            drop_invalid_headers: false,
            desync: wanted.desync,
            forwarded_for: ForwardedFor::Append,
            forwarded_client_port: false,
            preserve_host: false,
            http2: true,
            client_keep_alive_seconds: 3600,
            tls_headers: false,
            access_log: false,
            connection_log: false,
        },
        listeners,
    };
    table.balancers.insert(LoadBalancerId::mint(1), entry);
    table
}

fn group(vpc: VpcId, target: SocketAddrV4) -> GroupEntry {
    GroupEntry {
        name: "hostile".to_owned(),
        protocol: Protocol::Http,
        version: ProtocolVersion::Http1,
        vpc,
        health_check: HealthCheck {
            enabled: true,
            protocol: Protocol::Tcp,
            port: None,
            path: "/".to_owned(),
            interval_seconds: 300,
            timeout_seconds: 60,
            healthy_threshold: 2,
            unhealthy_threshold: 10,
            matcher: "200".to_owned(),
        },
        settings: GroupSettings {
            algorithm: Algorithm::RoundRobin,
            slow_start_seconds: 0,
            deregistration_delay_seconds: 0,
            stickiness: None,
            healthy_min: 1,
            healthy_min_percent: 0,
            cut_unhealthy: true,
            cut_deregistered: false,
        },
        targets: vec![TargetEntry {
            id: target.ip().to_string(),
            address: *target.ip(),
            port: target.port(),
            draining: false,
        }],
    }
}

fn certificates() -> BTreeMap<String, CertificateWithKey> {
    let made = rcgen::generate_simple_self_signed(["hostile.example".to_owned()]);
    let made = made.expect("a certificate");
    let certificate = CertificateWithKey {
        chain_pem: made.cert.pem(),
        key_pem: Hidden::new(made.signing_key.serialize_pem()),
    };
    BTreeMap::from([(ARN.to_owned(), certificate)])
}

/// Writes the bytes and reads whatever comes until the other side closes, at most for `limit`.
pub async fn exchange(to: SocketAddr, bytes: &[u8], limit: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.expect("it listens");
    // It may be closed before all is written; what was answered until then is what counts.
    let _ = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            heard.extend_from_slice(&buffer[..count]);
        }
    };
    let _ = tokio::time::timeout(limit, reading).await;
    heard
}

/// The statuses of all answers in what was heard, as far as their heads are.
pub fn statuses(heard: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(heard);
    let heads = text.match_indices("HTTP/1.");
    heads.filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok()).collect()
}

/// One good request on a connection of its own: the body of its answer.
pub async fn good(to: SocketAddr, path: &str) -> Result<String, String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: good\r\nConnection: close\r\n\r\n");
    let heard = exchange(to, request.as_bytes(), PATIENCE).await;
    let text = String::from_utf8_lossy(&heard).into_owned();
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    match (statuses(&heard).as_slice(), body) {
        ([200], Some(body)) => Ok(body),
        _ => Err(text),
    }
}
