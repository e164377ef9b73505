//! What is nobody's, and who is nobody: addresses of the pool that stand for nothing are not looked
//! for in the world, and packets of tunnels are taken from instances that have tasks of the VPC.

use crate::inside::{Namespace, apart, connect, inside, ip};
use crate::instances::{Instance, cable, pair, with_world};
use runtime::{
    Cidr, Gateway, GroupRule, GroupTable, InterfaceChanges, Peer, Place, SecurityGroupId,
    SubnetTable, TableInterface, Traffic, VpcId, VpcTable, WayOut,
};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

const TUNNELS: u16 = 14_789;
const UDP_PORT: u16 = 5000;
/// How long what was let through may take to arrive; nobody waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 63, 0, last)
}

fn pool(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, 5, last)
}

fn http(address: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(address, 80)
}

/// Everything is open in it, and out.
fn vpc(id: &str, number: u32) -> VpcTable {
    let everywhere = Cidr::parse("0.0.0.0/0").expect("a range");
    let cidr = Cidr::parse("10.63.0.0/24").expect("a range");
    let all = vec![GroupRule { traffic: Traffic::All, peer: Peer::Range(everywhere) }];
    let group = GroupTable { ingress: all.clone(), egress: all };
    let routes = vec![WayOut { to: everywhere, by: Gateway::Internet }];
    VpcTable {
        id: VpcId::from(id),
        cidrs: vec![cidr],
        network_number: number,
        host_route: false,
        subnets: vec![SubnetTable { cidr, gateway: at(1), routes, acl: None }],
        groups: BTreeMap::from([(SecurityGroupId::from("sg-open"), group)]),
        interfaces: BTreeMap::new(),
    }
}

fn interface(place: Place, public: Option<Ipv4Addr>) -> TableInterface {
    TableInterface { place, groups: vec![SecurityGroupId::from("sg-open")], public }
}

fn change(upsert: Option<(Ipv4Addr, TableInterface)>, remove: &[Ipv4Addr]) -> InterfaceChanges {
    InterfaceChanges { upsert: upsert.into_iter().collect(), remove: remove.to_vec() }
}

fn greeting(namespace: &Namespace, to: Ipv4Addr) -> Result<String, ErrorKind> {
    let connected = connect(Some(namespace), http(to)).map_err(|e| e.kind());
    connected.map(|(_, greeting)| greeting.split(' ').next().unwrap_or_default().to_owned())
}

#[test]
fn an_address_of_the_pool_that_stands_for_nothing_is_not_looked_for_in_the_world() {
    let (mut machine, world) = with_world();
    // The world answers for the whole pool, and is where the machine's default route leads.
    inside(Some(&world), || ip(&["addr", "add", "198.19.0.0/17", "dev", "lo"]));
    let own = Arc::clone(&machine.namespace);
    inside(Some(&own), || ip(&["route", "add", "default", "via", "198.51.100.2"]));
    assert_eq!(greeting(&own, pool(77)).as_deref(), Ok("world"), "without us");
    let mut one = vpc("vpc-s", 7);
    one.interfaces.insert(at(10), interface(Place::Task, Some(pool(10))));
    machine.ensure(&one);
    let client = machine.run(&one, 1, at(10));
    let server = machine.run(&one, 2, at(11));
    machine.servers.answer(&server, &[80], &[], "server");
    let refused = Err(ErrorKind::HostUnreachable);
    assert_eq!(greeting(&own, pool(77)), refused, "never given");
    assert_eq!(greeting(&client, pool(77)), refused, "never given");
    assert_eq!(greeting(&client, Ipv4Addr::new(198, 51, 100, 2)).as_deref(), Ok("world"));
    // Given, and released.
    let given = change(Some((at(11), interface(Place::Task, Some(pool(77))))), &[]);
    machine.change(&one.id, given);
    assert_eq!(greeting(&own, pool(77)).as_deref(), Ok("server"));
    assert_eq!(greeting(&client, pool(77)).as_deref(), Ok("server"));
    machine.change(&one.id, change(Some((at(11), interface(Place::Task, None))), &[]));
    assert_eq!(greeting(&own, pool(77)), refused, "released");
    // It stays while there is no agent, and with the next one.
    machine.restart_agent();
    assert_eq!(greeting(&own, pool(77)), refused);
    machine.ensure(&one);
    assert_eq!(greeting(&own, pool(77)), refused);
    // Each of two runtimes on a machine has its own word on the pool.
    let other = Instance::start(Arc::clone(&own), machine.underlay);
    other.ensure(&vpc("vpc-t", 8));
    machine.finish();
    assert_eq!(greeting(&own, pool(77)), refused, "the other one is there");
    // Who has a way to the pool is not stood in the way of.
    inside(Some(&own), || ip(&["route", "add", "198.19.0.0/17", "via", "198.51.100.2"]));
    let answered = connect(Some(&own), http(pool(77)));
    assert!(answered.is_err(), "the world's server has ended");
    assert_ne!(answered.map(drop).map_err(|e| e.kind()), Err(ErrorKind::HostUnreachable));
    inside(Some(&own), || ip(&["route", "del", "198.19.0.0/17", "via", "198.51.100.2"]));
    other.finish();
    assert_ne!(greeting(&own, pool(77)), refused, "nothing of ours is left");
}

/// A datagram from task to task, as VXLAN carries it to an instance.
fn carried(number: u32, mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr, word: &str) -> Vec<u8> {
    let udp_bytes = 8 + word.len() as u16;
    let mut head = vec![0x45, 0];
    head.extend((20 + udp_bytes).to_be_bytes());
    head.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    head.extend(from.octets());
    head.extend(to.octets());
    let words = head.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
    let sum = words.sum::<u32>();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    head[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut udp: Vec<u8> =
        [9, UDP_PORT, udp_bytes, 0].iter().flat_map(|n| n.to_be_bytes()).collect();
    udp.extend(word.as_bytes());
    let [_, network @ ..] = number.to_be_bytes();
    let vxlan = [&[8, 0, 0, 0][..], &network, &[0]].concat();
    let ethernet = [&mac[..], &[2, 0, 0, 0, 0, 99], &[8, 0]].concat();
    [vxlan, ethernet, head, udp].concat()
}

fn mac(instance: &Instance) -> [u8; 6] {
    let [a, b, c, d] = instance.underlay.octets();
    [0x02, 0x4e, a, b, c, d]
}

fn send(namespace: &Namespace, to: Ipv4Addr, packet: &[u8]) {
    inside(Some(namespace), || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.send_to(packet, (to, TUNNELS)).expect("sent");
    });
}

fn listen(namespace: &Namespace) -> UdpSocket {
    let socket = inside(Some(namespace), || UdpSocket::bind(("0.0.0.0", UDP_PORT)));
    let socket = socket.expect("a port of its own");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket
}

fn heard(socket: &UdpSocket) -> String {
    let mut buffer = [0; 64];
    let got = socket.recv(&mut buffer).expect("something arrives");
    String::from_utf8_lossy(&buffer[..got]).into_owned()
}

/// The number of an overlay of somebody else's on the same port.
const OTHER: u32 = 4000;
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 9);

/// Whoever is connected to an instance and is none.
struct Stranger {
    namespace: Arc<Namespace>,
    instance: Ipv4Addr,
    /// The other overlay's end at the instance.
    overlay: UdpSocket,
}

impl Stranger {
    fn beside(here: &Instance) -> Self {
        let namespace = apart();
        let gateway = Ipv4Addr::new(10, 98, 0, 1);
        cable((&here.namespace, "eth1", gateway), (&namespace, "eth0", STRANGER));
        inside(Some(&namespace), || ip(&["route", "add", "10.99.0.0/24", "via", "10.98.0.1"]));
        inside(Some(&here.namespace), || {
            let made = format!(
                "link add other address 02:00:00:00:00:07 type vxlan id {OTHER} dstport {TUNNELS} \
                 local {}",
                here.underlay
            );
            ip(&made.split(' ').collect::<Vec<_>>());
            ip(&["addr", "add", "10.97.0.1/24", "dev", "other"]);
            ip(&["link", "set", "other", "up"]);
        });
        Self { namespace, instance: here.underlay, overlay: listen(&here.namespace) }
    }

    /// What it said before is judged when this returns. Another overlay is no business of ours.
    fn is_heard_in_the_other_overlay(&self) {
        let [from, to] = [9, 1].map(|last| Ipv4Addr::new(10, 97, 0, last));
        send(&self.namespace, self.instance, &carried(OTHER, OTHER_MAC, from, to, "other"));
        assert_eq!(heard(&self.overlay), "other");
    }
}

#[test]
fn packets_of_a_tunnel_are_taken_from_instances_that_have_tasks_of_the_vpc() {
    let [here, there] = pair();
    let stranger = Stranger::beside(&here);
    let says = |number, from: &Namespace, claimed: u8, word: &str| {
        send(from, here.underlay, &carried(number, mac(&here), at(claimed), at(10), word));
    };
    let with_a_task_there = |id, number| {
        let mut made = vpc(id, number);
        made.interfaces.insert(at(10), interface(Place::Task, None));
        made.interfaces.insert(at(20), interface(Place::Instance(there.underlay), None));
        made
    };
    let [one, two] = [with_a_task_there("vpc-s", 7), with_a_task_there("vpc-t", 8)];
    let [first, second] = [(&one, 1), (&two, 2)].map(|(table, n)| {
        here.ensure(table);
        listen(&here.run(table, n, at(10)))
    });
    let is_unheard = |number, socket: &UdpSocket, word: &str| {
        says(number, &stranger.namespace, 20, "lie");
        stranger.is_heard_in_the_other_overlay();
        says(number, &there.namespace, 20, word);
        assert_eq!(heard(socket), word);
    };
    is_unheard(7, &first, "one");
    // It becomes an instance that has a task of the one VPC, and is none of the other's.
    let task = (at(30), interface(Place::Instance(STRANGER), None));
    here.change(&one.id, change(Some(task.clone()), &[]));
    says(7, &stranger.namespace, 30, "now an instance");
    assert_eq!(heard(&first), "now an instance");
    is_unheard(8, &second, "two");
    // Its task goes.
    here.change(&one.id, change(None, &[at(30)]));
    is_unheard(7, &first, "three");
    // Whole tables say the same.
    let mut whole = one.clone();
    whole.interfaces.extend([task]);
    here.ensure(&whole);
    says(7, &stranger.namespace, 30, "an instance again");
    assert_eq!(heard(&first), "an instance again");
    here.ensure(&one);
    is_unheard(7, &first, "four");
    drop((first, second, stranger));
    here.finish();
    there.finish();
}
