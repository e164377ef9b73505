//! Walls while things change: rules under open connections, members that come and go, ways out and
//! in by public address, other firewalls, the router's own services, and who claims to be whom.
//! Each test has a machine of its own, played by a network namespace.

use crate::bench::{Bench, task};
use crate::inside::{Namespace, carries, connect, inside, ping, send_as};
use crate::instances::{Instance, with_world};
use runtime::{
    AclRule, AclTable, Cidr, Gateway, GroupRule, GroupTable, InterfaceChanges, Peer, Place, Ports,
    Runtime, SecurityGroupId, SubnetTable, TableInterface, Traffic, VpcId, VpcTable, WayOut,
};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::{Duration, Instant};

const HTTP: Traffic = Traffic::Tcp(Ports { first: 80, last: 80 });
const WORLD: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 2), 80);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);

fn range(text: &str) -> Cidr {
    Cidr::parse(text).expect("a range")
}

fn everywhere() -> Cidr {
    range("0.0.0.0/0")
}

fn from(traffic: Traffic, range: Cidr) -> GroupRule {
    GroupRule { traffic, peer: Peer::Range(range) }
}

fn group(name: &str) -> SecurityGroupId {
    SecurityGroupId::from(name)
}

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 61, 0, last)
}

fn http(address: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(address, 80)
}

fn task_of(groups: &[&str], public: Option<Ipv4Addr>) -> TableInterface {
    let groups = groups.iter().map(|name| group(name)).collect();
    TableInterface { place: Place::Task, groups, public }
}

/// A VPC 10.61.0.0/16 with one subnet; `client` may send everything, `server` is asked by HTTP from
/// `client`, `mute` may nothing.
fn vpc(id: &str, routes: Vec<WayOut>) -> VpcTable {
    let subnet = range("10.61.0.0/24");
    let open = from(Traffic::All, everywhere());
    let by_client = GroupRule { traffic: HTTP, peer: Peer::Group(group("client")) };
    let groups = BTreeMap::from([
        (group("client"), GroupTable { ingress: Vec::new(), egress: vec![open] }),
        (group("server"), GroupTable { ingress: vec![by_client], egress: Vec::new() }),
        (group("mute"), GroupTable::default()),
    ]);
    VpcTable {
        id: VpcId::from(id),
        cidrs: vec![range("10.61.0.0/16")],
        network_number: 5,
        host_route: false,
        subnets: vec![SubnetTable { cidr: subnet, gateway: at(1), routes, acl: None }],
        groups,
        interfaces: BTreeMap::new(),
    }
}

fn deny(traffic: Traffic) -> AclRule {
    AclRule { allow: false, traffic, range: everywhere() }
}

fn allow(traffic: Traffic) -> AclRule {
    AclRule { allow: true, ..deny(traffic) }
}

fn is_closed(namespace: &Namespace, to: SocketAddrV4) -> bool {
    connect(Some(namespace), to).is_err()
}

#[test]
fn a_connection_outlives_its_rule_and_a_new_one_is_refused() {
    let (machine, _world) = with_world();
    let mut vpc = vpc("vpc-w", Vec::new());
    vpc.interfaces.insert(at(10), task_of(&["client"], None));
    vpc.interfaces.insert(at(11), task_of(&["server"], None));
    machine.ensure(&vpc);
    let client = machine.run(&vpc, 1, at(10));
    let server = machine.run(&vpc, 2, at(11));
    machine.servers.answer(&server, &[80], &[], "server");
    let (mut open, greeting) = connect(Some(&client), http(at(11))).expect("it is allowed");
    assert_eq!(greeting, "server 10.61.0.10");
    // Another rule comes, and the connection's own stays: nothing is noticed.
    let server_rules = vpc.groups.get_mut(&group("server")).expect("it is there");
    server_rules.ingress.push(from(Traffic::Udp(Ports::ALL), range("10.61.0.0/24")));
    machine.ensure(&vpc);
    assert!(carries(&mut open));
    // Its own rule goes. AWS: tracked connections are not interrupted.
    vpc.groups.get_mut(&group("server")).expect("it is there").ingress.clear();
    machine.ensure(&vpc);
    assert!(carries(&mut open), "a tracked connection goes on");
    assert!(is_closed(&client, http(at(11))), "a new one does not begin");
    drop(open);
    machine.finish();
}

#[test]
fn a_member_that_comes_is_let_in_and_one_that_goes_is_forgotten() {
    let (machine, _world) = with_world();
    let mut vpc = vpc("vpc-w", Vec::new());
    vpc.interfaces.insert(at(10), task_of(&["mute"], None));
    vpc.interfaces.insert(at(11), task_of(&["server"], None));
    machine.ensure(&vpc);
    let client = machine.run(&vpc, 1, at(10));
    let server = machine.run(&vpc, 2, at(11));
    machine.servers.answer(&server, &[80], &[], "server");
    assert!(is_closed(&client, http(at(11))));
    let become_of = |groups: &[&str]| InterfaceChanges {
        upsert: BTreeMap::from([(at(10), task_of(groups, None))]),
        remove: Vec::new(),
    };
    machine.change(&vpc.id, become_of(&["client"]));
    let (mut open, _) = connect(Some(&client), http(at(11))).expect("a member is let in");
    machine.change(&vpc.id, become_of(&["client", "mute"]));
    assert!(carries(&mut open));
    machine.change(&vpc.id, become_of(&["mute"]));
    assert!(is_closed(&client, http(at(11))), "it is no member any more");
    // The interface goes: who gets its address next inherits none of its connections.
    let gone = InterfaceChanges { upsert: BTreeMap::new(), remove: vec![at(10)] };
    machine.change(&vpc.id, gone);
    machine.change(&vpc.id, become_of(&["mute"]));
    assert!(!carries(&mut open), "the connection was forgotten");
    drop(open);
    machine.finish();
}

#[test]
fn a_network_acl_cuts_what_is_open() {
    let (machine, _world) = with_world();
    let mut vpc = vpc("vpc-w", Vec::new());
    let (cidr, gateway) = (range("10.61.1.0/24"), Ipv4Addr::new(10, 61, 1, 1));
    vpc.subnets.push(SubnetTable { cidr, gateway, routes: Vec::new(), acl: None });
    let there = Ipv4Addr::new(10, 61, 1, 11);
    vpc.interfaces.insert(at(10), task_of(&["client"], None));
    vpc.interfaces.insert(there, task_of(&["server"], None));
    machine.ensure(&vpc);
    let client = machine.run(&vpc, 1, at(10));
    let server = machine.run(&vpc, 2, there);
    machine.servers.answer(&server, &[80], &[], "server");
    let (mut open, _) = connect(Some(&client), http(there)).expect("it is allowed");
    // Requests come in, and answers may not go out.
    let acl = AclTable { ingress: vec![allow(HTTP)], egress: vec![deny(Traffic::All)] };
    vpc.subnets[1].acl = Some(acl);
    machine.ensure(&vpc);
    assert!(!carries(&mut open));
    let answers = Traffic::Tcp(Ports { first: 1024, last: 65535 });
    let acl = AclTable {
        ingress: vec![deny(Traffic::Udp(Ports::ALL)), allow(HTTP)],
        egress: vec![allow(answers), deny(Traffic::All)],
    };
    vpc.subnets[1].acl = Some(acl);
    machine.ensure(&vpc);
    let (_, greeting) = connect(Some(&client), http(there)).expect("both directions are allowed");
    assert_eq!(greeting, "server 10.61.0.10");
    drop(open);
    machine.finish();
}

fn public(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, 3, last)
}

#[test]
fn ways_lead_where_routes_say_and_public_addresses_lead_in() {
    let (machine, _world) = with_world();
    let out = |by| vec![WayOut { to: everywhere(), by }];
    let mut open = vpc("vpc-w", out(Gateway::Internet));
    let (cidr, gateway) = (range("10.61.1.0/24"), Ipv4Addr::new(10, 61, 1, 1));
    let routes = out(Gateway::Nat(public(99)));
    open.subnets.push(SubnetTable { cidr, gateway, routes, acl: None });
    let private = Ipv4Addr::new(10, 61, 1, 13);
    let server = open.groups.get_mut(&group("server")).expect("it is there");
    server.ingress.push(from(HTTP, range("198.19.0.0/16")));
    // As the machine itself is seen.
    server.ingress.push(from(HTTP, range("169.254.192.0/18")));
    open.interfaces.insert(at(10), task_of(&["client"], None));
    open.interfaces.insert(at(11), task_of(&["client"], Some(public(11))));
    open.interfaces.insert(at(12), task_of(&["server"], Some(public(12))));
    open.interfaces.insert(private, task_of(&["client"], None));
    machine.ensure(&open);
    let mut closed = vpc("vpc-x", out(Gateway::BlackHole));
    closed.network_number = 6;
    closed.interfaces.insert(at(10), task_of(&["client"], None));
    machine.ensure(&closed);
    let without = machine.run(&open, 1, at(10));
    let with = machine.run(&open, 2, at(11));
    let server = machine.run(&open, 3, at(12));
    let behind_nat = machine.run(&open, 4, private);
    let nowhere = machine.run(&closed, 5, at(10));
    machine.servers.answer(&server, &[80, 81], &[], "server");
    assert!(is_closed(&without, WORLD), "no public address, no way through an internet gateway");
    assert!(is_closed(&nowhere, WORLD), "the route's target is gone");
    for namespace in [&with, &behind_nat] {
        let (_, greeting) = connect(Some(namespace), WORLD).expect("there is a way out");
        assert_eq!(greeting, "world 198.51.100.1", "outside, all bear the machine's address");
    }
    // In by public address, from the machine and from other tasks, where the group allows it.
    let (_, greeting) = connect(Some(&machine.namespace), http(public(12))).expect("a way in");
    assert!(greeting.starts_with("server 169.254."), "{greeting}");
    assert!(is_closed(&machine.namespace, SocketAddrV4::new(public(12), 81)));
    assert!(is_closed(&machine.namespace, http(public(11))), "its group lets nothing in");
    for (namespace, seen) in [(&with, public(11)), (&behind_nat, public(99))] {
        let (_, greeting) = connect(Some(namespace), http(public(12))).expect("it is allowed");
        assert_eq!(greeting, format!("server {seen}"), "the public address is the source");
    }
    assert!(is_closed(&machine.namespace, http(at(12))), "no route to a VPC that has none");
    // The address moves on to another task.
    let changes = InterfaceChanges {
        upsert: BTreeMap::from([
            (at(12), task_of(&["server"], None)),
            (at(11), task_of(&["client"], Some(public(12)))),
        ]),
        remove: Vec::new(),
    };
    machine.change(&open.id, changes);
    assert!(is_closed(&machine.namespace, http(public(12))), "its new owner lets nothing in");
    assert!(connect(Some(&with), WORLD).is_ok());
    machine.finish();
}

#[test]
fn the_router_answers_just_for_its_services_and_knows_who_asks() {
    let (mut machine, _world) = with_world();
    let mut vpc = vpc("vpc-w", Vec::new());
    vpc.interfaces.insert(at(10), task_of(&["mute"], None));
    vpc.interfaces.insert(at(11), task_of(&["mute"], None));
    machine.ensure(&vpc);
    let namespace = machine.run(&vpc, 1, at(10));
    let neighbour = machine.run(&vpc, 2, at(11));
    let endpoint = SocketAddrV4::new(METADATA, 80);
    let resolver = SocketAddrV4::new(at(2), 53);
    let id = vpc.id.clone();
    let servers = machine.servers.clone();
    let open = |machine: &Instance| {
        machine.on(async |machine| {
            let listener = machine.runtime().vpc_listener(&id, endpoint).expect("a listener");
            servers.serve(listener, "metadata");
            let socket = machine.runtime().vpc_datagram(&id, resolver).expect("a socket");
            socket.set_nonblocking(false).expect("set");
            socket
        })
    };
    let resolver_socket = open(&machine);
    let (_, greeting) = connect(Some(&namespace), endpoint).expect("whatever its groups say");
    assert_eq!(greeting, "metadata 10.61.0.10");
    let (_, greeting) = connect(Some(&neighbour), endpoint).expect("whatever its groups say");
    assert_eq!(greeting, "metadata 10.61.0.11");
    for closed in [SocketAddrV4::new(METADATA, 81), http(at(1)), http(at(2))] {
        assert!(is_closed(&namespace, closed), "{closed}");
    }
    assert!(!ping(&namespace, at(1), 7), "the router is not there but for its services");
    // Claims to be a neighbour, the router, the machine, somebody outside; then says the truth.
    let lies = [at(11), at(1), METADATA, Ipv4Addr::new(169, 254, 192, 1), *WORLD.ip(), at(77)];
    for claimed in lies {
        send_as(&namespace, SocketAddrV4::new(claimed, 9), resolver, b"lie");
    }
    send_as(&namespace, SocketAddrV4::new(at(10), 9), resolver, b"truth");
    let mut buffer = [0; 16];
    let (got, peer) = resolver_socket.recv_from(&mut buffer).expect("the truth arrives");
    assert_eq!((&buffer[..got], peer.ip()), (&b"truth"[..], at(10).into()));
    drop(resolver_socket);
    // Another agent: what its predecessor opened stays open, with no word from a control plane.
    machine.restart_agent();
    let id = vpc.id.clone();
    machine.on(async |machine| {
        let at = SocketAddrV4::new(METADATA, 8080);
        drop(machine.runtime().vpc_listener(&id, at).expect("a listener"));
    });
    assert!(connect(Some(&neighbour), endpoint).is_ok(), "its socket lives in this test");
    machine.ensure(&vpc);
    machine.finish();
}

#[test]
fn other_firewalls_that_drop_do_not_stop_tasks() {
    let (machine, _world) = with_world();
    let mut vpc = vpc("vpc-w", vec![WayOut { to: everywhere(), by: Gateway::Nat(public(9)) }]);
    vpc.interfaces.insert(at(10), task_of(&["client"], None));
    vpc.interfaces.insert(at(11), task_of(&["server"], None));
    machine.ensure(&vpc);
    let client = machine.run(&vpc, 1, at(10));
    let server = machine.run(&vpc, 2, at(11));
    machine.servers.answer(&server, &[80], &[], "server");
    assert!(connect(Some(&client), WORLD).is_ok());
    // What dockerd leaves in place, and does again whenever it starts.
    let iptables = |line: &str| {
        inside(Some(&machine.namespace), || {
            let done = Command::new("iptables-nft").args(line.split(' ')).status();
            assert!(done.expect("this test needs iptables").success(), "{line}");
        });
    };
    for _ in 0..2 {
        iptables("-F");
        iptables("-P FORWARD DROP");
        iptables("-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
        let give_up = Instant::now() + Duration::from_secs(20);
        while connect(Some(&client), WORLD).is_err() {
            assert!(Instant::now() < give_up, "tasks have no way out");
        }
        assert!(connect(Some(&client), http(at(11))).is_ok(), "a VPC is no business of others");
    }
    // Nothing but what is ours passes there now.
    let listed = inside(Some(&machine.namespace), || {
        Command::new("iptables-nft").args(["-S", "FORWARD"]).output().expect("listed")
    });
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(listed.lines().filter(|line| line.contains(" ng")).count(), 2, "{listed}");
    let namespace = std::sync::Arc::clone(&machine.namespace);
    machine.finish();
    let left = inside(Some(&namespace), || {
        Command::new("iptables-nft").args(["-S", "FORWARD"]).output().expect("listed")
    });
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    assert!(!left.contains(" ng") && left.contains("docker0"), "{left}");
}

/// Hundreds of interfaces, each with a new life at the same few addresses: what one leaves behind
/// the next would find.
#[test]
fn an_address_has_one_life_at_a_time() {
    let (machine, _world) = with_world();
    let vpc = vpc("vpc-w", Vec::new());
    machine.ensure(&vpc);
    let lives = 40;
    let addresses: Vec<_> = (10..15).map(at).collect();
    for life in 0..lives {
        let members = addresses.iter().map(|address| (*address, task_of(&["client"], None)));
        let upsert = members.collect();
        machine.change(&vpc.id, InterfaceChanges { upsert, remove: Vec::new() });
        for (n, address) in (0..).zip(&addresses) {
            let namespace = machine.run(&vpc, life * 100 + n + 1, *address);
            assert!(ping(&namespace, Ipv4Addr::LOCALHOST, 1));
        }
        machine.on(async |machine| {
            for n in 0..addresses.len() as u32 {
                let removed = machine.runtime().remove(&task(life * 100 + n + 1)).await;
                removed.expect("removed");
            }
        });
        let remove = addresses.clone();
        machine.change(&vpc.id, InterfaceChanges { upsert: BTreeMap::new(), remove });
    }
    machine.finish();
}
