//! From records to a VPC's table: what AWS says of routes, groups, ACLs and public addresses, each
//! as one small VPC and what becomes of it.

use model::network::{
    AclPorts, AclRange, Cidr, InterfaceKind, InternetGateway, ManagedPrefixList, NatGateway,
    NatGatewayAddress, NetworkAcl, NetworkAclAssociation, NetworkAclEntry, NetworkInterface,
    PrefixListEntry, PublicAddress, Route, RouteDestination, RouteTable, RouteTableAssociation,
    RouteTarget, SecurityGroup, SecurityGroupPeer, SecurityGroupRule, Subnet, Vpc,
};
use model::vpc_table::{
    Gateway, GroupRule, InterfaceChanges, Peer, Place, Ports, TableInterface, Traffic, VpcTable,
    WayOut,
};
use model::{InstanceId, InterfaceId, SecurityGroupId, SubnetId, Tags, Timestamp, VpcId};
use plan::network::{Instances, Records};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

const NOW: Timestamp = Timestamp(1_000);
const NAT: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 9);

fn range(text: &str) -> Cidr {
    Cidr::parse(text).expect("a range")
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

/// A public subnet 10.0.0.0/24 and a private one 10.0.1.0/24 behind a NAT gateway.
struct World {
    vpcs: Vec<Vpc>,
    subnets: Vec<Subnet>,
    tables: Vec<RouteTable>,
    internet: Vec<InternetGateway>,
    nat: Vec<NatGateway>,
    groups: Vec<SecurityGroup>,
    acls: Vec<NetworkAcl>,
    lists: Vec<ManagedPrefixList>,
}

fn vpc_id() -> VpcId {
    VpcId::from("vpc-1")
}

fn table(id: &str, main: bool, subnet: Option<&str>, target: RouteTarget) -> RouteTable {
    let association = |subnet: &str| RouteTableAssociation {
        id: "rtbassoc-1".into(),
        subnet: SubnetId::from(subnet),
    };
    RouteTable {
        id: id.into(),
        vpc: vpc_id(),
        main: main.then(|| "rtbassoc-0".into()),
        routes: vec![Route { destination: RouteDestination::Range(range("0.0.0.0/0")), target }],
        associations: subnet.map(association).into_iter().collect(),
        created_at: NOW,
        tags: Tags::new(),
    }
}

fn world() -> World {
    let subnet = |id: &str, cidr: &str| {
        Subnet::new(SubnetId::from(id), vpc_id(), range(cidr), "us-east-1a".into(), NOW)
    };
    let address = NatGatewayAddress {
        interface: InterfaceId::from("eni-nat"),
        private_ip: ip(4),
        allocation: None,
        association: None,
        public_ip: Some(NAT),
    };
    World {
        vpcs: vec![Vpc::new(vpc_id(), range("10.0.0.0/16"), NOW)],
        subnets: vec![subnet("subnet-public", "10.0.0.0/24"), subnet("subnet-db", "10.0.1.0/24")],
        tables: vec![
            table("rtb-main", true, None, RouteTarget::NatGateway("nat-1".into())),
            table(
                "rtb-public",
                false,
                Some("subnet-public"),
                RouteTarget::InternetGateway("igw-1".into()),
            ),
        ],
        internet: vec![InternetGateway {
            id: "igw-1".into(),
            vpc: Some(vpc_id()),
            created_at: NOW,
            tags: Tags::new(),
        }],
        nat: vec![NatGateway {
            id: "nat-1".into(),
            vpc: vpc_id(),
            subnet: SubnetId::from("subnet-public"),
            is_public: true,
            addresses: vec![address],
            created_at: NOW,
            deleted_at: None,
            tags: Tags::new(),
        }],
        groups: Vec::new(),
        acls: Vec::new(),
        lists: Vec::new(),
    }
}

impl World {
    fn with<T>(&self, work: impl FnOnce(&Records<'_>) -> T) -> T {
        fn refs<T>(all: &[T]) -> Vec<&T> {
            all.iter().collect()
        }
        work(&Records {
            vpcs: &refs(&self.vpcs),
            subnets: &refs(&self.subnets),
            route_tables: &refs(&self.tables),
            internet_gateways: &refs(&self.internet),
            nat_gateways: &refs(&self.nat),
            groups: &refs(&self.groups),
            acls: &refs(&self.acls),
            prefix_lists: &refs(&self.lists),
        })
    }

    fn table(&self) -> VpcTable {
        self.with(|records| plan::network::rules(records, &vpc_id())).expect("it is there")
    }

    fn ways(&self) -> Vec<Vec<Gateway>> {
        let by = |ways: Vec<WayOut>| ways.into_iter().map(|way| way.by).collect();
        self.table().subnets.into_iter().map(|subnet| by(subnet.routes)).collect()
    }
}

#[test]
fn a_subnet_has_the_ways_of_its_own_table_or_of_the_main_one() {
    let mut world = world();
    assert_eq!(world.ways(), [vec![Gateway::Internet], vec![Gateway::Nat(NAT)]]);
    let table = world.table();
    assert_eq!(table.subnets[1].gateway, Ipv4Addr::new(10, 0, 1, 1));
    assert!(!table.host_route, "only the default VPC is reached from the host");
    // Detached: it leads nowhere, and the NAT gateway behind it neither.
    world.internet[0].vpc = None;
    assert_eq!(world.ways(), [vec![Gateway::BlackHole], vec![Gateway::BlackHole]]);
    let mut world = self::world();
    world.nat[0].deleted_at = Some(NOW);
    assert_eq!(world.ways()[1], [Gateway::BlackHole]);
    world.tables.remove(0);
    assert_eq!(world.ways()[1], [], "no table, no way");
    assert_eq!(world.with(|records| plan::network::rules(records, &VpcId::from("vpc-2"))), None);
}

#[test]
fn a_prefix_list_stands_for_its_ranges() {
    let mut world = world();
    let entry = |cidr: &str| PrefixListEntry { cidr: cidr.to_owned(), description: None };
    world.lists.push(ManagedPrefixList {
        id: "pl-1".into(),
        name: "offices".to_owned(),
        is_aws: false,
        address_family: "IPv4".to_owned(),
        max_entries: 5,
        version: 1,
        entries: vec![entry("192.0.2.0/24"), entry("198.51.100.0/24")],
        created_at: NOW,
        tags: Tags::new(),
    });
    world.tables[1].routes.push(Route {
        destination: RouteDestination::PrefixList("pl-1".into()),
        target: RouteTarget::NatGateway("nat-1".into()),
    });
    world.groups.push(group(
        "sg-1",
        vec![sg_rule(
            false,
            "tcp",
            Some(22),
            Some(22),
            SecurityGroupPeer::PrefixList("pl-1".into()),
        )],
    ));
    let table = world.table();
    assert_eq!(table.subnets[0].routes.len(), 3);
    let ssh = Traffic::Tcp(Ports { first: 22, last: 22 });
    let of = |text: &str| GroupRule { traffic: ssh, peer: Peer::Range(range(text)) };
    let wanted = [of("192.0.2.0/24"), of("198.51.100.0/24")];
    assert_eq!(table.groups[&SecurityGroupId::from("sg-1")].ingress, wanted);
}

fn group(id: &str, rules: Vec<SecurityGroupRule>) -> SecurityGroup {
    SecurityGroup {
        id: SecurityGroupId::from(id),
        vpc: vpc_id(),
        name: id.to_owned(),
        description: String::new(),
        rules,
        created_at: NOW,
        tags: Tags::new(),
    }
}

fn sg_rule(
    egress: bool,
    protocol: &str,
    from_port: Option<i32>,
    to_port: Option<i32>,
    peer: SecurityGroupPeer,
) -> SecurityGroupRule {
    let protocol = protocol.to_owned();
    let (id, description, tags) = ("sgr-1".to_owned(), None, Tags::new());
    SecurityGroupRule { id, egress, protocol, from_port, to_port, peer, description, tags }
}

#[test]
fn rules_in_awss_words_say_which_packets_they_mean() {
    let everywhere = || SecurityGroupPeer::Range(range("0.0.0.0/0"));
    let cases = [
        (("-1", None, None), Some(Traffic::All)),
        (("-1", Some(80), Some(80)), Some(Traffic::All)),
        (("tcp", Some(80), Some(90)), Some(Traffic::Tcp(Ports { first: 80, last: 90 }))),
        (("6", None, None), Some(Traffic::Tcp(Ports::ALL))),
        (("udp", Some(-1), Some(-1)), Some(Traffic::Udp(Ports::ALL))),
        (("17", Some(0), Some(65535)), Some(Traffic::Udp(Ports::ALL))),
        (("icmp", Some(-1), Some(-1)), Some(Traffic::Icmp { kind: None, code: None })),
        (("icmp", Some(8), Some(-1)), Some(Traffic::Icmp { kind: Some(8), code: None })),
        (("1", Some(3), Some(4)), Some(Traffic::Icmp { kind: Some(3), code: Some(4) })),
        (("icmpv6", Some(-1), Some(-1)), None),
        (("50", None, None), Some(Traffic::Protocol(50))),
        (("tcp", Some(90), Some(80)), None),
        (("nonsense", None, None), None),
    ];
    for ((protocol, from, to), wanted) in cases {
        let mut world = world();
        world.groups = vec![group("sg-1", vec![sg_rule(true, protocol, from, to, everywhere())])];
        let table = world.table();
        let rules = &table.groups[&SecurityGroupId::from("sg-1")];
        let said = rules.egress.first().map(|rule| rule.traffic);
        assert_eq!(said, wanted, "{protocol} {from:?} {to:?}");
        assert!(rules.ingress.is_empty());
    }
    let mut world = world();
    let v6 = SecurityGroupPeer::RangeV6("::/0".to_owned());
    world.groups = vec![group("sg-1", vec![sg_rule(true, "-1", None, None, v6)])];
    assert!(world.table().groups[&SecurityGroupId::from("sg-1")].egress.is_empty());
}

#[test]
fn an_acl_is_read_by_its_numbers_and_an_open_one_is_none() {
    let entry = |number, egress, allow, protocol, ports| NetworkAclEntry {
        number,
        egress,
        protocol,
        allow,
        range: AclRange::V4(range("0.0.0.0/0")),
        ports,
        icmp: None,
    };
    let mut world = world();
    let open = vec![entry(100, false, true, None, None), entry(100, true, true, None, None)];
    let association =
        NetworkAclAssociation { id: "aclassoc-1".into(), subnet: SubnetId::from("subnet-public") };
    world.acls.push(NetworkAcl {
        id: "acl-1".into(),
        vpc: vpc_id(),
        is_default: true,
        entries: open,
        associations: vec![association],
        created_at: NOW,
        tags: Tags::new(),
    });
    assert_eq!(world.table().subnets[0].acl, None);
    let http = Some(AclPorts { first: 80, last: 80 });
    world.acls[0].entries.push(entry(50, false, false, Some(6), http));
    let acl = world.table().subnets[0].acl.clone().expect("it denies something");
    let said: Vec<_> = acl.ingress.iter().map(|rule| (rule.allow, rule.traffic)).collect();
    let denied = Traffic::Tcp(Ports { first: 80, last: 80 });
    assert_eq!(said, [(false, denied), (true, Traffic::All)]);
    assert_eq!(world.table().subnets[1].acl, None, "it has no ACL of ours");
}

fn interface(subnet: usize, last: u8, instance: Option<&str>) -> NetworkInterface {
    let world = world();
    let id = InterfaceId::from(format!("eni-{last}"));
    let mac = "02:00:00:00:00:01".to_owned();
    let mut one = NetworkInterface::new(id, &world.subnets[subnet], ip(last), mac, NOW);
    one.instance = instance.map(InstanceId::from);
    one.security_groups = vec![SecurityGroupId::from("sg-1")];
    one.public = Some(PublicAddress { ip: NAT, allocation: None, association: None });
    one
}

fn place(one: &NetworkInterface) -> Vec<(Ipv4Addr, TableInterface)> {
    place_when(one, Some("i-here"))
}

/// With load balancers served on an instance.
fn place_when(one: &NetworkInterface, balancing: Option<&str>) -> Vec<(Ipv4Addr, TableInterface)> {
    let here = InstanceId::from("i-here");
    let balancing = balancing.map(InstanceId::from);
    let underlays = BTreeMap::from([(InstanceId::from("i-there"), Ipv4Addr::new(192, 0, 2, 7))]);
    let public = world().with(plan::network::public_subnets);
    let balancing = balancing.as_ref();
    let instances = Instances { here: &here, underlays: &underlays, balancing };
    plan::network::interface(one, instances, &public)
}

#[test]
fn an_interface_is_where_its_task_is() {
    let of = |instance| place(&interface(0, 10, instance))[0].1.place;
    assert_eq!(of(Some("i-here")), Place::Task);
    assert_eq!(of(Some("i-there")), Place::Instance(Ipv4Addr::new(192, 0, 2, 7)));
    assert_eq!(of(Some("i-lost")), Place::Elsewhere);
    assert_eq!(of(None), Place::Elsewhere);
    let mut balancer = interface(0, 10, None);
    balancer.kind = InterfaceKind::LoadBalancer;
    let of = |balancing| place_when(&balancer, balancing)[0].1.place;
    assert_eq!(of(Some("i-here")), Place::Endpoint);
    assert_eq!(of(Some("i-there")), Place::Instance(Ipv4Addr::new(192, 0, 2, 7)));
    assert_eq!(of(None), Place::Elsewhere);
    let mut gateway = interface(0, 10, None);
    gateway.kind = InterfaceKind::NatGateway;
    assert_eq!(place(&gateway), []);
}

#[test]
fn a_public_address_means_something_only_where_an_internet_gateway_is() {
    let mut one = interface(0, 10, Some("i-here"));
    one.secondary_ips.push(ip(11));
    let said: Vec<_> = place(&one).into_iter().map(|(ip, one)| (ip, one.public)).collect();
    assert_eq!(said, [(ip(10), Some(NAT)), (ip(11), None)]);
    assert_eq!(place(&interface(1, 10, Some("i-here")))[0].1.public, None);
}

#[test]
fn network_numbers_are_nobody_elses_and_stay() {
    let vpcs: Vec<_> = (0..3000)
        .map(|n| {
            let id = VpcId::from(format!("vpc-{n:017x}"));
            Vpc::new(id, range("10.0.0.0/16"), Timestamp(n))
        })
        .collect();
    let all: Vec<_> = vpcs.iter().collect();
    let numbers = plan::network::network_numbers(&all);
    let distinct: BTreeSet<_> = numbers.values().collect();
    assert_eq!(distinct.len(), vpcs.len());
    assert!(distinct.iter().all(|n| (1..1 << 24).contains(*n)));
    // Who came later takes no number away.
    let fewer = plan::network::network_numbers(&all[..1000]);
    assert!(fewer.iter().all(|(vpc, number)| numbers[vpc] == *number));
}

#[test]
fn changes_lead_from_one_set_of_interfaces_to_the_other() {
    let one = |n: u8| place(&interface(0, n, Some("i-here"))).remove(0);
    let old: BTreeMap<_, _> = [one(10), one(11), one(12)].into();
    let mut new: BTreeMap<_, _> = [one(11), one(12), one(13)].into();
    new.get_mut(&ip(12)).expect("it is there").groups.clear();
    let changes = InterfaceChanges::between(&old, &new);
    assert_eq!((changes.remove.clone(), changes.upsert.len()), (vec![ip(10)], 2));
    let mut applied = old.clone();
    changes.apply(&mut applied);
    assert_eq!(applied, new);
    // There and back again is nothing.
    let back = changes.then(InterfaceChanges::between(&new, &old));
    back.apply(&mut applied);
    assert_eq!(applied, old);
}
