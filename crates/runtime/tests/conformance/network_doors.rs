//! Load balancers' side of networks: sockets in VPCs from other processes, at addresses that this
//! instance itself answers for, behind the same walls as tasks.

use crate::bench::Bench;
use crate::inside::{Namespace, connect, inside};
use crate::instances::{Instance, pair, with_world};
use runtime::{
    AclRule, AclTable, Cidr, Gateway, GroupRule, GroupTable, InterfaceChanges, Peer, Place, Ports,
    Runtime, SecurityGroupId, SubnetTable, TableInterface, Traffic, VpcDoors, VpcId, VpcTable,
    WayOut,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HTTP: Traffic = Traffic::Tcp(Ports { first: 80, last: 80 });
/// How long a connection may take that is let through, on a busy machine.
const ARRIVES_WITHIN: Duration = Duration::from_millis(1500);

fn range(text: &str) -> Cidr {
    Cidr::parse(text).expect("a range")
}

fn group(name: &str) -> SecurityGroupId {
    SecurityGroupId::from(name)
}

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 62, 0, last)
}

/// In a subnet of its own.
fn beyond(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 62, 1, last)
}

fn public(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, 4, last)
}

fn http(address: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(address, 80)
}

fn one(place: Place, groups: &[&str], public: Option<Ipv4Addr>) -> TableInterface {
    TableInterface { place, groups: groups.iter().map(|name| group(name)).collect(), public }
}

fn from_group(name: &str) -> GroupRule {
    GroupRule { traffic: HTTP, peer: Peer::Group(group(name)) }
}

fn from_range(text: &str) -> GroupRule {
    GroupRule { traffic: HTTP, peer: Peer::Range(range(text)) }
}

/// Two subnets with a way out, and groups: `client` may send everything; `balancer` is asked by
/// HTTP from `client` and from outside, and asks `server`; `server` is asked by `balancer` only.
fn vpc(id: &str, network_number: u32) -> VpcTable {
    let everywhere = range("0.0.0.0/0");
    let open = GroupRule { traffic: Traffic::All, peer: Peer::Range(everywhere) };
    let outside = [from_range("198.19.0.0/16"), from_range("169.254.192.0/18")];
    let ingress = outside.into_iter().chain([from_group("client")]).collect();
    let groups = BTreeMap::from([
        (group("client"), GroupTable { ingress: Vec::new(), egress: vec![open.clone()] }),
        (group("balancer"), GroupTable { ingress, egress: vec![from_group("server")] }),
        (group("server"), GroupTable { ingress: vec![from_group("balancer")], egress: Vec::new() }),
        (group("mute"), GroupTable::default()),
        (group("open"), GroupTable { ingress: vec![open.clone()], egress: vec![open] }),
    ]);
    let subnets = [("10.62.0.0/24", at(1)), ("10.62.1.0/24", beyond(1))];
    let subnets = subnets.map(|(cidr, gateway)| SubnetTable {
        cidr: range(cidr),
        gateway,
        routes: vec![WayOut { to: everywhere, by: Gateway::Internet }],
        acl: None,
    });
    VpcTable {
        id: VpcId::from(id),
        cidrs: vec![range("10.62.0.0/16")],
        network_number,
        // The machine may talk to this VPC's tasks, and still not to its balancers.
        host_route: true,
        subnets: subnets.to_vec(),
        groups,
        interfaces: BTreeMap::new(),
    }
}

fn doors(machine: &Instance) -> VpcDoors {
    let machine = machine.machine();
    VpcDoors::new(&machine.runtime_folder(), &machine.guard.tag)
}

/// Answers a word at an address of this instance's.
fn listen(machine: &Instance, vpc: &VpcTable, to: SocketAddrV4, word: &str) {
    let listener = doors(machine).listen(&vpc.id, to).expect("it is this instance's address");
    machine.servers.serve(listener, word);
}

fn is_closed(namespace: &Namespace, to: SocketAddrV4) -> bool {
    connect(Some(namespace), to).is_err()
}

fn greeting(namespace: &Namespace, to: SocketAddrV4) -> String {
    connect(Some(namespace), to).unwrap_or_else(|e| panic!("{to}: {e}")).1
}

/// What a balancer is greeted with; None: it does not get through.
fn asks(doors: &VpcDoors, vpc: &VpcId, from: Ipv4Addr, to: SocketAddrV4) -> Option<String> {
    let stream = doors.connect(vpc, from, to).ok()?;
    let give_up = Instant::now() + ARRIVES_WITHIN;
    while stream.peer_addr().is_err() {
        if Instant::now() > give_up || stream.take_error().ok()?.is_some() {
            return None;
        }
        std::thread::yield_now();
    }
    read(stream)
}

fn read(mut stream: TcpStream) -> Option<String> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(ARRIVES_WITHIN)).ok()?;
    let mut buffer = [0; 64];
    let got = stream.read(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..got]).trim().to_owned())
}

fn change(machine: &Instance, vpc: &VpcTable, address: Ipv4Addr, to: TableInterface) {
    let upsert = BTreeMap::from([(address, to)]);
    machine.change(&vpc.id, InterfaceChanges { upsert, remove: Vec::new() });
}

#[test]
fn a_balancer_is_reached_where_its_groups_say() {
    let (machine, world) = with_world();
    let mut vpc = vpc("vpc-d", 7);
    vpc.interfaces.insert(at(10), one(Place::Task, &["client"], Some(public(10))));
    vpc.interfaces.insert(at(11), one(Place::Task, &["mute"], None));
    vpc.interfaces.insert(at(20), one(Place::Endpoint, &["balancer"], Some(public(20))));
    vpc.interfaces.insert(beyond(20), one(Place::Endpoint, &["balancer"], None));
    machine.ensure(&vpc);
    let mut far = self::vpc("vpc-e", 8);
    far.interfaces.insert(at(10), one(Place::Task, &["open"], Some(public(30))));
    machine.ensure(&far);
    let client = machine.run(&vpc, 1, at(10));
    let mute = machine.run(&vpc, 2, at(11));
    let stranger = machine.run(&far, 3, at(10));
    for address in [at(20), beyond(20)] {
        listen(&machine, &vpc, http(address), "balancer");
        listen(&machine, &vpc, SocketAddrV4::new(address, 81), "closed");
        assert_eq!(greeting(&client, http(address)), "balancer 10.62.0.10");
        assert!(is_closed(&client, SocketAddrV4::new(address, 81)), "its group says no");
        assert!(is_closed(&mute, http(address)), "the sender's group says no");
        assert!(is_closed(&machine.namespace, http(address)), "internal is internal");
        assert!(is_closed(&stranger, http(address)), "another VPC is another VPC");
    }
    let host = greeting(&machine.namespace, http(public(20)));
    assert!(host.starts_with("balancer 169.254."), "{host}");
    assert!(is_closed(&machine.namespace, SocketAddrV4::new(public(20), 81)));
    // By public address: from another VPC, and from its own over the router's own head.
    assert_eq!(greeting(&stranger, http(public(20))), "balancer 198.19.4.30");
    assert_eq!(greeting(&client, http(public(20))), "balancer 198.19.4.10");
    // Groups change under it, and it gets others.
    change(&machine, &vpc, at(20), one(Place::Endpoint, &["mute"], Some(public(20))));
    assert!(is_closed(&client, http(at(20))) && is_closed(&machine.namespace, http(public(20))));
    // A network load balancer may have none: everything passes.
    change(&machine, &vpc, at(20), one(Place::Endpoint, &[], Some(public(20))));
    let closed = SocketAddrV4::new(public(20), 81);
    assert!(greeting(&machine.namespace, closed).starts_with("closed 169.254."));
    // It goes, and nobody answers there.
    let gone = InterfaceChanges { upsert: BTreeMap::new(), remove: vec![at(20)] };
    machine.change(&vpc.id, gone);
    assert!(is_closed(&client, http(at(20))) && is_closed(&machine.namespace, http(public(20))));
    let failure = doors(&machine).listen(&vpc.id, http(at(20))).expect_err("it is gone");
    assert_eq!(failure.kind(), ErrorKind::AddrNotAvailable, "{failure}");
    drop(world);
    machine.finish();
}

#[test]
fn a_balancer_asks_whom_groups_and_routes_let_it() {
    let (machine, world) = with_world();
    let mut vpc = vpc("vpc-d", 7);
    vpc.interfaces.insert(at(12), one(Place::Task, &["server"], None));
    vpc.interfaces.insert(at(13), one(Place::Task, &["mute"], None));
    vpc.interfaces.insert(at(20), one(Place::Endpoint, &["balancer"], None));
    vpc.interfaces.insert(at(21), one(Place::Endpoint, &["mute"], None));
    vpc.interfaces.insert(at(22), one(Place::Endpoint, &["open"], None));
    vpc.interfaces.insert(beyond(20), one(Place::Endpoint, &["balancer"], None));
    machine.ensure(&vpc);
    let server = machine.run(&vpc, 1, at(12));
    let mute = machine.run(&vpc, 2, at(13));
    machine.servers.answer(&server, &[80, 81], &[], "server");
    machine.servers.answer(&mute, &[80], &[], "mute");
    let doors = doors(&machine);
    let asks = |from, to| asks(&doors, &vpc.id, from, to);
    assert_eq!(asks(at(20), http(at(12))).as_deref(), Some("server 10.62.0.20"));
    assert_eq!(asks(beyond(20), http(at(12))).as_deref(), Some("server 10.62.1.20"));
    assert_eq!(asks(at(20), SocketAddrV4::new(at(12), 81)), None, "the target's group says no");
    assert_eq!(asks(at(22), http(at(13))), None, "the target's group says no");
    assert_eq!(asks(at(21), http(at(12))), None, "its own group says no");
    assert_eq!(asks(at(20), http(at(99))), None, "nobody is there");
    // Balancers of one VPC are no friends of each other's, though they share a namespace.
    listen(&machine, &vpc, http(at(20)), "balancer");
    listen(&machine, &vpc, http(at(22)), "open");
    assert_eq!(asks(at(22), http(at(20))), None, "it is not of the group that may");
    assert_eq!(asks(beyond(20), http(at(22))), None, "it may ask nobody but servers");
    // Without a public address there is no way out, and the machine's networks are none of its.
    assert_eq!(asks(at(22), SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 2), 80)), None);
    // At the edges of subnets ACLs decide, as they do for tasks.
    let allow = AclRule { allow: true, traffic: Traffic::All, range: range("0.0.0.0/0") };
    let only_near = AclRule { range: range("10.62.0.0/24"), ..allow.clone() };
    let mut with_acl = vpc.clone();
    let acl = AclTable { ingress: vec![allow], egress: vec![only_near] };
    with_acl.subnets[0].acl = Some(acl);
    machine.ensure(&with_acl);
    assert_eq!(asks(at(20), http(at(12))).as_deref(), Some("server 10.62.0.20"));
    assert_eq!(asks(beyond(20), http(at(12))), None, "answers don't leave the subnet");
    drop(world);
    machine.finish();
}

#[test]
fn balancers_of_two_vpcs_with_the_same_range_are_two() {
    let (machine, world) = with_world();
    let mut vpcs = [vpc("vpc-d", 7), vpc("vpc-e", 8)];
    let mut clients = Vec::new();
    for (n, vpc) in (1..).zip(&mut vpcs) {
        let client = one(Place::Task, &["client"], None);
        vpc.host_route = false;
        vpc.interfaces.insert(at(10), client);
        vpc.interfaces.insert(at(12), one(Place::Task, &["server"], None));
        let balancer = one(Place::Endpoint, &["balancer"], Some(public(20 + n)));
        vpc.interfaces.insert(at(20), balancer);
        machine.ensure(vpc);
        listen(&machine, vpc, http(at(20)), vpc.id.as_str());
        clients.push(machine.run(vpc, u32::from(n), at(10)));
        let server = machine.run(vpc, u32::from(n) + 10, at(12));
        machine.servers.answer(&server, &[80], &[], vpc.id.as_str());
    }
    for ((n, vpc), client) in (1..).zip(&vpcs).zip(&clients) {
        assert_eq!(greeting(client, http(at(20))), format!("{} 10.62.0.10", vpc.id));
        let host = greeting(&machine.namespace, http(public(20 + n)));
        assert!(host.starts_with(vpc.id.as_str()), "{host}");
        let asked = asks(&doors(&machine), &vpc.id, at(20), http(at(12)));
        assert_eq!(asked, Some(format!("{} 10.62.0.20", vpc.id)));
    }
    drop(world);
    machine.finish();
}

/// A process that listens, killed in the end.
struct Other(Child);

impl Other {
    fn start(machine: &Instance, vpc: &VpcTable, to: SocketAddrV4, word: &str) -> Self {
        let root = machine.machine().runtime_folder();
        let mut command = Command::new(env!("CARGO_BIN_EXE_runtime-doors"));
        command.arg(root).args([&machine.machine().guard.tag, vpc.id.as_str()]);
        command.args([&to.to_string(), word]).stdout(Stdio::piped());
        let mut child = inside(Some(&machine.namespace), || command.spawn().expect("started"));
        let mut line = String::new();
        let said = BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line);
        assert!(said.is_ok() && line == "listening\n", "{line:?}");
        Self(child)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        ended.expect("it was running");
    }
}

#[test]
fn another_process_serves_on_while_agents_change_and_hands_over_to_the_next() {
    let (mut machine, world) = with_world();
    let mut vpc = vpc("vpc-d", 7);
    vpc.interfaces.insert(at(20), one(Place::Endpoint, &["balancer"], Some(public(20))));
    machine.ensure(&vpc);
    let first = Other::start(&machine, &vpc, http(at(20)), "first");
    let reach = |machine: &Instance| greeting(&machine.namespace, http(public(20)));
    assert!(reach(&machine).starts_with("first "));
    machine.restart_agent();
    assert!(reach(&machine).starts_with("first "), "with no word from a control plane");
    machine.ensure(&vpc);
    assert!(reach(&machine).starts_with("first "));
    // The next begins before the first ends, and no connection fails meanwhile.
    let next = Other::start(&machine, &vpc, http(at(20)), "next");
    for _ in 0..20 {
        let word = reach(&machine);
        assert!(word.starts_with("first ") || word.starts_with("next "), "{word}");
    }
    drop(first);
    for _ in 0..20 {
        assert!(reach(&machine).starts_with("next "));
    }
    drop(next);
    drop(world);
    machine.finish();
}

#[test]
fn a_vpc_that_is_made_anew_is_found_and_one_that_is_gone_is_said_to_be() {
    let (machine, world) = with_world();
    let mut vpc = vpc("vpc-d", 7);
    vpc.interfaces.insert(at(20), one(Place::Endpoint, &["balancer"], Some(public(20))));
    let doors = doors(&machine);
    let kind = |doors: &VpcDoors| doors.listen(&vpc.id, http(at(20))).expect_err("gone").kind();
    assert_eq!((kind(&doors), doors.generation(&vpc.id)), (ErrorKind::NotFound, None));
    machine.ensure(&vpc);
    // It is held while the VPC goes: its namespace lives on with nobody in it.
    let old = doors.listen(&vpc.id, http(at(20))).expect("it is there");
    let before = doors.generation(&vpc.id).expect("it is there");
    machine.on(async |machine| machine.runtime().remove_vpc(&vpc.id).await.expect("removed"));
    assert_eq!((kind(&doors), doors.generation(&vpc.id)), (ErrorKind::NotFound, None));
    machine.ensure(&vpc);
    assert_ne!(doors.generation(&vpc.id), Some(before));
    listen(&machine, &vpc, http(at(20)), "anew");
    assert!(greeting(&machine.namespace, http(public(20))).starts_with("anew "));
    drop((old, world));
    machine.finish();
}

#[test]
fn tasks_of_other_instances_reach_a_balancer_and_are_reached() {
    let [here, there] = pair();
    let mut vpc = vpc("vpc-d", 7);
    let far = |instance: &Instance| Place::Instance(instance.underlay);
    let table = |place: [Place; 3]| {
        let mut table = vpc.clone();
        table.interfaces.insert(at(10), one(place[0], &["client"], None));
        table.interfaces.insert(at(12), one(place[1], &["server"], None));
        table.interfaces.insert(at(20), one(place[2], &["balancer"], None));
        table
    };
    let near = table([far(&there), far(&there), Place::Endpoint]);
    let away = table([Place::Task, Place::Task, far(&here)]);
    here.ensure(&near);
    there.ensure(&away);
    vpc.interfaces.clone_from(&away.interfaces);
    let client = there.run(&vpc, 1, at(10));
    let server = there.run(&vpc, 2, at(12));
    there.servers.answer(&server, &[80, 81], &[], "server");
    // No task of the VPC is on the instance that balances.
    listen(&here, &near, http(at(20)), "balancer");
    listen(&here, &near, SocketAddrV4::new(at(20), 81), "closed");
    assert_eq!(greeting(&client, http(at(20))), "balancer 10.62.0.10");
    assert!(is_closed(&client, SocketAddrV4::new(at(20), 81)));
    let doors = doors(&here);
    let asked = asks(&doors, &vpc.id, at(20), http(at(12)));
    assert_eq!(asked.as_deref(), Some("server 10.62.0.20"));
    assert_eq!(asks(&doors, &vpc.id, at(20), SocketAddrV4::new(at(12), 81)), None);
    here.finish();
    there.finish();
}
