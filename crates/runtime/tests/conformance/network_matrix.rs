//! Who reaches whom: every pair of tasks, in every direction, by TCP, UDP and ICMP, of two VPCs
//! with the same range, on two instances that are connected by a network of their own. The rules
//! are drawn at random and changed under the same tasks; what must be open is worked out here, from
//! the words of the table and nothing else.

use crate::inside::{Namespace, ask, connect, ping};
use crate::instances::{Instance, pair};
use runtime::{
    Cidr, GroupRule, GroupTable, Peer, Place, Ports, SecurityGroupId, SubnetTable, TableInterface,
    Traffic, VpcId, VpcTable,
};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

const VPCS: [&str; 2] = ["vpc-a", "vpc-b"];
const GROUPS: [&str; 3] = ["sg-1", "sg-2", "sg-3"];
const TCP_PORTS: [u16; 2] = [80, 443];
const UDP_PORT: u16 = 5000;
const ROUNDS: u64 = 4;

/// A small generator: the same rules for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % end
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }
}

fn range(text: &str) -> Cidr {
    Cidr::parse(text).expect("a range")
}

fn group(name: &str) -> SecurityGroupId {
    SecurityGroupId::from(name)
}

fn rule(random: &mut Random) -> GroupRule {
    let ports = [Ports::ALL, Ports { first: 80, last: 80 }, Ports { first: 100, last: 6000 }];
    let traffic = match random.below(6) {
        0 => Traffic::All,
        1 | 2 => Traffic::Tcp(random.pick(&ports)),
        3 => Traffic::Udp(random.pick(&ports)),
        4 => Traffic::Icmp { kind: Some(8), code: None },
        _ => Traffic::Protocol(random.pick(&[1, 6, 17, 50])),
    };
    let ranges = ["0.0.0.0/0", "10.60.0.0/16", "10.60.1.0/24", "10.60.2.5/32", "192.0.2.0/24"];
    let peer = match random.below(2) {
        0 => Peer::Range(range(random.pick(&ranges))),
        _ => Peer::Group(group(random.pick(&GROUPS))),
    };
    GroupRule { traffic, peer }
}

fn rules(random: &mut Random) -> BTreeMap<SecurityGroupId, GroupTable> {
    let some = |random: &mut Random, most| {
        (0..random.below(most)).map(|_| rule(random)).collect::<Vec<_>>()
    };
    let table = |random: &mut Random| {
        let mut egress = some(random, 3);
        if random.below(2) == 0 {
            egress.push(GroupRule { traffic: Traffic::All, peer: Peer::Range(range("0.0.0.0/0")) });
        }
        GroupTable { ingress: some(random, 4), egress }
    };
    GROUPS.iter().map(|name| (group(name), table(random))).collect()
}

/// A task of the matrix.
struct Member {
    vpc: usize,
    instance: usize,
    address: Ipv4Addr,
    groups: Vec<SecurityGroupId>,
    namespace: Option<Arc<Namespace>>,
}

impl Member {
    fn name(&self) -> String {
        format!("{}/{}", VPCS[self.vpc], self.address)
    }
}

fn members(random: &mut Random) -> Vec<Member> {
    let mut members = Vec::new();
    for (vpc, (place, subnet)) in (0..2).flat_map(|vpc| (0..4).map(move |n| (vpc, (n % 2, n / 2))))
    {
        let address = Ipv4Addr::new(10, 60, 1 + subnet, 5 + place);
        let mut groups = vec![group(random.pick(&GROUPS))];
        let other = group(random.pick(&GROUPS));
        if random.below(2) == 0 && !groups.contains(&other) {
            groups.push(other);
        }
        let instance = usize::from(place);
        members.push(Member { vpc, instance, address, groups, namespace: None });
    }
    members
}

fn table(
    vpc: usize,
    groups: &BTreeMap<SecurityGroupId, GroupTable>,
    members: &[Member],
    here: usize,
    instances: &[Instance],
) -> VpcTable {
    let subnets = ["10.60.1.0/24", "10.60.2.0/24"].map(|text| {
        let cidr = range(text);
        let gateway = Ipv4Addr::from(u32::from(cidr.address) + 1);
        SubnetTable { cidr, gateway, routes: Vec::new(), acl: None }
    });
    let interfaces = members.iter().filter(|member| member.vpc == vpc).map(|member| {
        let place = match member.instance == here {
            true => Place::Task,
            false => Place::Instance(instances[member.instance].underlay),
        };
        (member.address, TableInterface { place, groups: member.groups.clone(), public: None })
    });
    VpcTable {
        id: VpcId::from(VPCS[vpc]),
        cidrs: vec![range("10.60.0.0/16")],
        network_number: 100 + vpc as u32,
        host_route: false,
        subnets: subnets.to_vec(),
        groups: groups.clone(),
        interfaces: interfaces.collect(),
    }
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    Tcp(u16),
    Udp(u16),
    Echo,
}

/// What AWS's words say.
fn covers(rule: &GroupRule, probe: Probe, peer: &Member) -> bool {
    let of = match &rule.peer {
        Peer::Range(range) => range.contains(peer.address),
        Peer::Group(group) => peer.groups.contains(group),
    };
    let within = |ports: Ports, port| (ports.first..=ports.last).contains(&port);
    let speaks = match (rule.traffic, probe) {
        (Traffic::All, _) => true,
        (Traffic::Tcp(ports), Probe::Tcp(port)) | (Traffic::Udp(ports), Probe::Udp(port)) => {
            within(ports, port)
        }
        (Traffic::Icmp { kind, .. }, Probe::Echo) => kind.is_none_or(|kind| kind == 8),
        (Traffic::Protocol(1), Probe::Echo) => true,
        (Traffic::Protocol(6), Probe::Tcp(_)) | (Traffic::Protocol(17), Probe::Udp(_)) => true,
        _ => false,
    };
    of && speaks
}

fn is_open(
    groups: &BTreeMap<SecurityGroupId, GroupTable>,
    from: &Member,
    to: &Member,
    probe: Probe,
) -> bool {
    let of = |member: &Member, egress: bool| {
        let tables = member.groups.iter().map(|group| &groups[group]);
        let rules = tables.flat_map(|t| if egress { &t.egress } else { &t.ingress });
        rules.cloned().collect::<Vec<_>>()
    };
    of(from, true).iter().any(|rule| covers(rule, probe, to))
        && of(to, false).iter().any(|rule| covers(rule, probe, from))
}

/// Whether the right one answered; a wrong one that answers is a hole in a wall.
fn reached(from: &Member, to: &Member, probe: Probe, id: u16) -> bool {
    let namespace = from.namespace.as_ref().expect("it runs");
    let word = match probe {
        Probe::Tcp(port) => {
            let greeted = connect(Some(namespace), SocketAddrV4::new(to.address, port));
            greeted.ok().map(|(_, greeting)| greeting)
        }
        Probe::Udp(port) => ask(namespace, SocketAddrV4::new(to.address, port)),
        Probe::Echo => return ping(namespace, to.address, id),
    };
    let Some(word) = word else { return false };
    assert!(
        word.starts_with(&to.name()),
        "{} asked {} and {word} answered",
        from.name(),
        to.name()
    );
    if let Some((_, seen)) = word.split_once(' ') {
        assert_eq!(seen, from.address.to_string(), "tasks see each other's own address");
    }
    true
}

/// Every pair, in both directions, by everything, all at once.
fn check(groups: &[BTreeMap<SecurityGroupId, GroupTable>], members: &[Member], round: u64) {
    let mut probes = vec![Probe::Udp(UDP_PORT), Probe::Echo];
    probes.extend(TCP_PORTS.map(Probe::Tcp));
    let mut open = 0;
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for (from, to) in members.iter().flat_map(|from| members.iter().map(move |to| (from, to))) {
            if from.vpc != to.vpc || from.address == to.address {
                continue;
            }
            for probe in probes.iter().copied() {
                // Of its own: what belongs to a ping that was let in goes on to be.
                let id = 1000 * (1 + round as u16) + running.len() as u16;
                let run = scope.spawn(move || reached(from, to, probe, id));
                running.push((from, to, probe, run));
            }
        }
        for (from, to, probe, run) in running {
            let reached = run.join().expect("probed");
            let expected = is_open(&groups[from.vpc], from, to, probe);
            open += usize::from(expected);
            let (one, other) = (from.name(), to.name());
            let rules = &groups[from.vpc];
            assert_eq!(
                reached, expected,
                "round {round}: {one} {:?} to {other} {:?} by {probe:?}; {rules:#?}",
                from.groups, to.groups
            );
        }
    });
    assert!(open > 0, "a matrix with nothing open shows nothing");
}

#[test]
fn every_pair_reaches_each_other_just_where_the_rules_say() {
    let mut random = Random(0x6e65_6172);
    let mut members = members(&mut random);
    let instances = pair();
    for round in 0..ROUNDS {
        let groups = [rules(&mut random), rules(&mut random)];
        for (here, instance) in instances.iter().enumerate() {
            for (vpc, groups) in groups.iter().enumerate() {
                instance.ensure(&table(vpc, groups, &members, here, &instances));
            }
        }
        if round == 0 {
            for n in 0..members.len() {
                let (vpc, here) = (members[n].vpc, members[n].instance);
                let table = table(vpc, &groups[vpc], &members, here, &instances);
                let ran = instances[here].run(&table, n as u32 + 1, members[n].address);
                let word = members[n].name();
                instances[here].servers.answer(&ran, &TCP_PORTS, &[UDP_PORT], &word);
                members[n].namespace = Some(ran);
            }
        }
        check(&groups, &members, round);
    }
    for instance in instances {
        instance.finish();
    }
}
