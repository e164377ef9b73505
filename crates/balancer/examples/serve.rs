//! A balancer on plain sockets, for measurements: `serve PORT TARGET_PORT [CHANGES_PER_SECOND]`
//! forwards 127.0.0.1:PORT to four targets, 127.0.0.1 to 127.0.0.4. With changes, one target after
//! the other drains, goes and comes back, each step a whole new table; how many tables were learned
//! in a second is told on standard output.

use balancer::{Balancer, Doors, Settings};
use model::balancing::{
    Action, Algorithm, BalancerEntry, BalancerSettings, BalancerTable, DesyncMode, Forward,
    ForwardedFor, GroupEntry, GroupSettings, HealthCheck, ListenerEntry, ListenerSettings,
    Protocol, ProtocolVersion, RuleEntry, TargetEntry, TargetState,
};
use model::{LoadBalancerId, TargetGroupId, VpcId};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TARGETS: u8 = 4;
/// A target drains, is gone, and is there again.
const STEPS: u64 = 3;
const TICK: Duration = Duration::from_millis(1);

struct Plain;

impl Doors for Plain {
    fn listen(&self, _: &VpcId, at: SocketAddrV4) -> io::Result<TcpListener> {
        let listener = TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    fn connect(&self, _: &VpcId, _: Ipv4Addr, to: SocketAddrV4) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(to)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

fn main() {
    let args: Vec<u64> = std::env::args()
        .skip(1)
        .map(|arg| arg.parse().expect("serve PORT TARGET_PORT [CHANGES_PER_SECOND]"))
        .collect();
    let port = |at: usize| u16::try_from(args[at]).expect("a port");
    let settings = Settings {
        access_log: None,
        arn_prefix: "arn:aws:elasticloadbalancing:us-east-1:123456789012".to_owned(),
        seed: [7; 32],
        workers: 2,
    };
    let balancer = Balancer::new(Arc::new(Plain), settings);
    let learn = |targets: Vec<TargetEntry>| {
        let failures = balancer.learn(Arc::new(table(port(0), targets)), Arc::default());
        assert!(failures.is_empty(), "{failures:?}");
    };
    let all: Vec<TargetEntry> = (1..=TARGETS).map(|number| target(number, port(1))).collect();
    learn(all.clone());
    let found = balancer.found();
    while found.borrow().values().filter(|it| it.state == TargetState::Healthy).count() < all.len()
    {
        std::thread::sleep(TICK);
    }
    println!("ready");
    match args.get(2) {
        None => loop {
            std::thread::park();
        },
        Some(rate) => change(&all, *rate, learn),
    }
}

/// For ever, so many changes a second.
fn change(all: &[TargetEntry], rate: u64, learn: impl Fn(Vec<TargetEntry>)) {
    let (mut done, mut told, mut began) = (0_u64, 0, Instant::now());
    let start = began;
    loop {
        let wanted = (start.elapsed().as_secs_f64() * rate as f64) as u64;
        while done < wanted {
            let turn = (done / STEPS) as usize % all.len();
            let mut targets = all.to_vec();
            match done % STEPS {
                0 => targets[turn].draining = true,
                1 => drop(targets.remove(turn)),
                _ => {}
            }
            learn(targets);
            done += 1;
            if began.elapsed() >= Duration::from_secs(1) {
                println!("{} changes/s", (done - told) as f64 / began.elapsed().as_secs_f64());
                (told, began) = (done, Instant::now());
            }
        }
        std::thread::sleep(TICK);
    }
}

fn target(number: u8, port: u16) -> TargetEntry {
    let address = Ipv4Addr::new(127, 0, 0, number);
    TargetEntry { id: address.to_string(), address, port, draining: false }
}

fn table(port: u16, targets: Vec<TargetEntry>) -> BalancerTable {
    let vpc = VpcId::from("vpc-0123456789abcdef0");
    let group = TargetGroupId::from("0123456789abcdef");
    let forward =
        Forward { groups: vec![(group.clone(), 1)], sticky_seconds: None, unsticky_seconds: None };
    let rule = RuleEntry { priority: 0, conditions: Vec::new(), action: Action::Forward(forward) };
    let listener = ListenerEntry {
        protocol: Protocol::Http,
        ssl_policy: None,
        certificates: Vec::new(),
        rules: vec![rule],
        settings: ListenerSettings::default(),
    };
    let entry = BalancerEntry {
        name: "bench".to_owned(),
        internal: false,
        vpc: vpc.clone(),
        dns_name: "bench-1.us-east-1.elb.amazonaws.com".to_owned(),
        addresses: vec![Ipv4Addr::LOCALHOST],
        settings: BalancerSettings {
            idle_timeout_seconds: 60,
            drop_invalid_headers: false,
            desync: DesyncMode::Defensive,
            forwarded_for: ForwardedFor::Append,
            forwarded_client_port: false,
            preserve_host: false,
            http2: true,
            client_keep_alive_seconds: 3600,
            tls_headers: false,
            access_log: false,
            connection_log: false,
        },
        listeners: BTreeMap::from([(port, listener)]),
    };
    let groups = BTreeMap::from([(group, group_entry(vpc, targets))]);
    BalancerTable { balancers: BTreeMap::from([(LoadBalancerId::mint(1), entry)]), groups }
}

fn group_entry(vpc: VpcId, targets: Vec<TargetEntry>) -> GroupEntry {
    GroupEntry {
        name: "bench".to_owned(),
        protocol: Protocol::Http,
        version: ProtocolVersion::Http1,
        vpc,
        health_check: HealthCheck {
            enabled: true,
            protocol: Protocol::Tcp,
            port: None,
            path: "/".to_owned(),
            interval_seconds: 30,
            timeout_seconds: 5,
            healthy_threshold: 5,
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
        targets,
    }
}
