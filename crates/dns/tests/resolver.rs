//! The resolver on real sockets of the loopback, in front of a resolver that may be told to
//! misbehave: what it doesn't know is asked on, and what fails is a failure, never an absence.

use dns::{Place, Resolvers, Sockets};
use model::VpcId;
use model::discovery::{Answer, NameTable, RecordSet, RoutingPolicy, Zone};
use model::network::Cidr;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const FLAG_TRUNCATED: u8 = 0x02;

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        [id, 0x0100, 1, 0, 0, 0].iter().flat_map(|n| n.to_be_bytes()).collect();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

/// The question back, with a code and that many addresses.
fn answer(question: &[u8], code: u8, addresses: u16, truncated: bool) -> Vec<u8> {
    let mut bytes = question.to_vec();
    bytes[2] = 0x81 | if truncated { FLAG_TRUNCATED } else { 0 };
    bytes[3] = 0x80 | code;
    bytes[6..8].copy_from_slice(&addresses.to_be_bytes());
    for n in 0..addresses {
        bytes.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4]);
        bytes.extend_from_slice(&Ipv4Addr::from(0x0101_0100 + u32::from(n)).octets());
    }
    bytes
}

#[derive(Clone, Copy)]
enum Habit {
    /// Answers over UDP with one address, over TCP with hundreds.
    Good,
    Silent,
    /// Answers another question first, with another id, then the right one.
    Confused,
    /// Over UDP says only that it is too long.
    Long,
}

/// A resolver on the loopback; ends with the test's runtime.
async fn upstream(habit: Habit) -> SocketAddr {
    let (socket, listener) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("bound");
        // The same port for both may be taken for one of them.
        if let Ok(socket) = UdpSocket::bind(at).await {
            break (socket, listener);
        }
    };
    let at = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.expect("received");
            let question = &buffer[..length];
            let good = answer(question, 0, 1, false);
            match habit {
                Habit::Silent => {}
                Habit::Good => drop(socket.send_to(&good, peer).await),
                Habit::Long => drop(socket.send_to(&answer(question, 0, 0, true), peer).await),
                Habit::Confused => {
                    let mut other = good.clone();
                    other[0] ^= 1;
                    drop(socket.send_to(&other, peer).await);
                    let stranger = query(u16::from_be_bytes([question[0], question[1]]), "no");
                    drop(socket.send_to(&answer(&stranger, 3, 0, false), peer).await);
                    drop(socket.send_to(&good, peer).await);
                }
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            if let Habit::Silent = habit {
                continue;
            }
            let mut length = [0; 2];
            stream.read_exact(&mut length).await.expect("a length");
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).await.expect("a question");
            let told = answer(&question, 0, 300, false);
            let framed = [&(told.len() as u16).to_be_bytes()[..], &told].concat();
            stream.write_all(&framed).await.expect("written");
        }
    });
    at
}

struct Vpc {
    resolvers: Resolvers,
    at: SocketAddr,
}

fn table() -> NameTable {
    let records = vec![Answer::A(Ipv4Addr::new(10, 0, 0, 7))];
    let set = RecordSet { routing: RoutingPolicy::Multivalue, ttl_seconds: 5, records };
    let names = BTreeMap::from([("web.local".to_owned(), vec![set])]);
    let zone = Zone { negative_ttl_seconds: 5, names };
    NameTable { zones: BTreeMap::from([("local".to_owned(), zone)]), silent: false }
}

fn vpc(upstream: Vec<SocketAddr>, table: Option<NameTable>) -> Vpc {
    let (listener, datagrams) = loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        if let Ok(datagrams) = std::net::UdpSocket::bind(at) {
            break (listener, datagrams);
        }
    };
    listener.set_nonblocking(true).expect("set");
    datagrams.set_nonblocking(true).expect("set");
    let at = listener.local_addr().expect("bound");
    let resolvers = Resolvers::new(upstream, Arc::new(|| 0x0123_4567_89ab_cdef_0011_2233));
    let id = VpcId::from("vpc-1");
    if let Some(table) = table {
        resolvers.learn(true, BTreeMap::from([(id.clone(), Arc::new(table))]));
    }
    let sockets = Sockets { datagrams: vec![datagrams], listeners: vec![listener] };
    let range = Cidr::parse("10.0.0.0/16").expect("a range");
    let place = Place { range, domain: "ec2.internal".to_owned() };
    resolvers.serve(&id, place, sockets).expect("served");
    Vpc { resolvers, at }
}

impl Vpc {
    fn learn(&self, table: NameTable) {
        self.resolvers.learn(false, BTreeMap::from([(VpcId::from("vpc-1"), Arc::new(table))]));
    }

    async fn udp(&self, name: &str) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.send_to(&query(77, name), self.at).await.expect("sent");
        let mut buffer = vec![0; 4096];
        let received = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut buffer));
        let length = received.await.expect("in time").expect("received");
        buffer.truncate(length);
        assert_eq!(buffer[..2], 77u16.to_be_bytes());
        buffer
    }

    async fn tcp(&self, name: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.at).await.expect("connected");
        let question = query(78, name);
        let framed = [&(question.len() as u16).to_be_bytes()[..], &question].concat();
        stream.write_all(&framed).await.expect("written");
        let mut length = [0; 2];
        stream.read_exact(&mut length).await.expect("a length");
        let mut told = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut told).await.expect("an answer");
        told
    }
}

/// What lies in a socket of the loopback and was not received yet, as the kernel tells it.
fn waiting_bytes(at: SocketAddr) -> u64 {
    let port = format!("0100007F:{:04X}", at.port());
    let all = std::fs::read_to_string("/proc/net/udp").expect("read");
    let line = all.lines().find(|line| line.split_whitespace().nth(1) == Some(&port));
    let queues = line.and_then(|line| line.split_whitespace().nth(4)).expect("it is bound");
    let (_, received) = queues.split_once(':').expect("both");
    u64::from_str_radix(received, 16).expect("a number")
}

fn code(answer: &[u8]) -> u8 {
    answer[3] & 0xf
}

fn answers(answer: &[u8]) -> u16 {
    u16::from_be_bytes([answer[6], answer[7]])
}

#[tokio::test]
async fn its_own_names_are_answered_and_others_asked_on() {
    let vpc = vpc(vec![upstream(Habit::Good).await], Some(table()));
    let own = vpc.udp("web.local").await;
    assert_eq!((code(&own), answers(&own)), (0, 1));
    assert_eq!(own[own.len() - 4..], [10, 0, 0, 7]);
    assert_eq!(code(&vpc.udp("no.local").await), 3);
    let other = vpc.udp("example.com").await;
    assert_eq!(other[other.len() - 4..], [1, 1, 1, 0]);
    let whole = vpc.tcp("example.com").await;
    assert_eq!((code(&whole), answers(&whole)), (0, 300));
    assert_eq!(answers(&vpc.tcp("web.local").await), 1);
}

#[tokio::test]
async fn what_fails_is_a_failure_and_no_absence() {
    let silent = vpc(vec![upstream(Habit::Silent).await], Some(table()));
    let began = Instant::now();
    assert_eq!(code(&silent.udp("example.com").await), 2);
    assert!(began.elapsed() < Duration::from_secs(10), "bounded");
    assert_eq!(code(&silent.tcp("example.com").await), 2);
    assert_eq!(code(&silent.udp("web.local").await), 0, "its own names go on");
    let nobody = vpc(Vec::new(), Some(table()));
    assert_eq!(code(&nobody.udp("example.com").await), 2);
    let untold = vpc(vec![upstream(Habit::Good).await], None);
    assert_eq!(code(&untold.udp("web.local").await), 2);
    assert_eq!(code(&untold.udp("ip-10-0-0-9.ec2.internal").await), 0);
}

#[tokio::test]
async fn the_next_resolver_is_asked_when_one_is_silent() {
    let resolvers = vec![upstream(Habit::Silent).await, upstream(Habit::Good).await];
    assert_eq!(answers(&vpc(resolvers, Some(table())).udp("example.com").await), 1);
}

#[tokio::test]
async fn answers_to_other_questions_count_for_nothing() {
    let vpc = vpc(vec![upstream(Habit::Confused).await], Some(table()));
    let told = vpc.udp("example.com").await;
    assert_eq!((code(&told), answers(&told)), (0, 1));
}

#[tokio::test]
async fn what_is_too_long_for_a_datagram_is_had_by_a_connection() {
    let vpc = vpc(vec![upstream(Habit::Long).await], Some(table()));
    assert_eq!(vpc.udp("example.com").await[2] & FLAG_TRUNCATED, FLAG_TRUNCATED);
    assert_eq!(answers(&vpc.tcp("example.com").await), 300);
}

#[tokio::test]
async fn a_new_table_counts_at_once_and_a_vpc_that_is_gone_knows_nothing() {
    let vpc = vpc(vec![upstream(Habit::Good).await], Some(table()));
    assert_eq!(code(&vpc.udp("web.local").await), 0);
    vpc.learn(NameTable::default());
    assert_eq!(answers(&vpc.udp("web.local").await), 1, "asked on: the zone is gone");
    vpc.resolvers.learn(true, BTreeMap::new());
    assert_eq!(code(&vpc.udp("web.local").await), 2);
}

#[tokio::test]
async fn a_resolver_that_is_switched_off_says_nothing_until_it_is_switched_on() {
    let vpc = vpc(vec![upstream(Habit::Good).await], Some(table()));
    assert_eq!(code(&vpc.udp("web.local").await), 0);
    let mut open = TcpStream::connect(vpc.at).await.expect("connected");
    vpc.learn(NameTable { silent: true, ..table() });
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    // An own name, a stranger's, the name of an address, and what is no question at all.
    let noise = vec![0; 12];
    let asked = ["web.local", "example.com", "ip-10-0-0-9.ec2.internal"].map(|it| query(79, it));
    for bytes in asked.iter().chain([&noise]) {
        socket.send_to(bytes, vpc.at).await.expect("sent");
    }
    let question = query(80, "web.local");
    let framed = [&(question.len() as u16).to_be_bytes()[..], &question].concat();
    open.write_all(&framed).await.expect("written");
    let mut left = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), open.read_to_end(&mut left));
    // Hung up on, perhaps with the question unread.
    drop(ended.await.expect("in time"));
    assert_eq!(left, Vec::<u8>::new());
    // All of them were read while nothing was to be said.
    while waiting_bytes(vpc.at) > 0 {
        tokio::task::yield_now().await;
    }
    vpc.learn(table());
    // What comes first tells that nothing came before.
    socket.send_to(&query(81, "web.local"), vpc.at).await.expect("sent");
    let mut buffer = vec![0; 4096];
    let received = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut buffer));
    received.await.expect("in time").expect("received");
    assert_eq!(buffer[..2], 81u16.to_be_bytes());
}
