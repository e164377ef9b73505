//! What every VPC has from its first moment: a main route table, a default network ACL and a
//! default security group. And what a default VPC has besides. Source: VPC user guide, "Default
//! VPC components", "Default network ACL", "Default security groups".

use model::arn::Locality;
use model::network::{
    AclRange, AddressPool, Cidr, InternetGateway, NetworkAcl, NetworkAclAssociation,
    NetworkAclEntry, Route, RouteDestination, RouteTable, RouteTarget, SecurityGroup,
    SecurityGroupPeer, SecurityGroupRule, Subnet, Vpc, ZONE_LETTERS,
};
use model::{
    InternetGatewayId, NetworkAclAssociationId, NetworkAclId, RouteTableAssociationId,
    RouteTableId, SecurityGroupId, SubnetId, Tags, Timestamp, VpcId,
};
use store::Txn;

pub const EVERYWHERE: Cidr = Cidr { address: std::net::Ipv4Addr::UNSPECIFIED, prefix: 0 };
const DEFAULT_VPC_CIDR: &str = "172.31.0.0/16";
/// Default subnets are this large, one after the other.
const DEFAULT_SUBNET_PREFIX: u8 = 20;

/// Where ids and times come from; a transaction that is tried again draws new ids.
pub struct Source<'a> {
    pub now: Timestamp,
    pub random: &'a (dyn Fn() -> u128 + Send + Sync),
}

impl Source<'_> {
    pub fn random(&self) -> u128 {
        (self.random)()
    }
}

/// Puts the VPC and what comes with it.
pub fn put_vpc(txn: &mut Txn, source: &Source<'_>, vpc: Vpc) {
    put_main_table(txn, source, &vpc.id, None);
    put_default_acl(txn, source, &vpc.id, &[]);
    put_default_group(txn, source, &vpc.id);
    txn.put(vpc);
}

pub fn put_main_table(
    txn: &mut Txn,
    source: &Source<'_>,
    vpc: &VpcId,
    outside: Option<&InternetGatewayId>,
) {
    let outside = outside.map(|gateway| Route {
        destination: RouteDestination::Range(EVERYWHERE),
        target: RouteTarget::InternetGateway(gateway.clone()),
    });
    txn.put(RouteTable {
        id: RouteTableId::mint(source.random()),
        vpc: vpc.clone(),
        main: Some(RouteTableAssociationId::mint(source.random())),
        routes: outside.into_iter().collect(),
        associations: Vec::new(),
        created_at: source.now,
        tags: Tags::new(),
    });
}

pub fn put_default_acl(txn: &mut Txn, source: &Source<'_>, vpc: &VpcId, subnets: &[SubnetId]) {
    let entry = |egress| NetworkAclEntry {
        number: 100,
        egress,
        protocol: None,
        allow: true,
        range: AclRange::V4(EVERYWHERE),
        ports: None,
        icmp: None,
    };
    txn.put(NetworkAcl {
        id: NetworkAclId::mint(source.random()),
        vpc: vpc.clone(),
        is_default: true,
        entries: vec![entry(true), entry(false)],
        associations: subnets.iter().map(|subnet| acl_association(source, subnet)).collect(),
        created_at: source.now,
        tags: Tags::new(),
    });
}

pub fn acl_association(source: &Source<'_>, subnet: &SubnetId) -> NetworkAclAssociation {
    NetworkAclAssociation {
        id: NetworkAclAssociationId::mint(source.random()),
        subnet: subnet.clone(),
    }
}

fn put_default_group(txn: &mut Txn, source: &Source<'_>, vpc: &VpcId) {
    let id = SecurityGroupId::mint(source.random());
    let inside = rule(source, false, SecurityGroupPeer::Group(id.clone()));
    txn.put(SecurityGroup {
        vpc: vpc.clone(),
        name: SecurityGroup::DEFAULT_NAME.to_owned(),
        description: "default VPC security group".to_owned(),
        rules: vec![inside, allow_out(source)],
        created_at: source.now,
        tags: Tags::new(),
        id,
    });
}

/// The rule a new group begins with: everything out.
pub fn allow_out(source: &Source<'_>) -> SecurityGroupRule {
    rule(source, true, SecurityGroupPeer::Range(EVERYWHERE))
}

fn rule(source: &Source<'_>, egress: bool, peer: SecurityGroupPeer) -> SecurityGroupRule {
    SecurityGroupRule {
        id: rule_id(source.random()),
        egress,
        protocol: "-1".to_owned(),
        from_port: None,
        to_port: None,
        peer,
        description: None,
        tags: Tags::new(),
    }
}

pub fn rule_id(random: u128) -> String {
    // The same digits as a group's id, under the prefix of rules.
    SecurityGroupId::mint(random).as_str().replacen("sg-", "sgr-", 1)
}

/// Puts a default VPC: an internet gateway, a way to it, and a subnet in every zone.
pub fn put_default_vpc(txn: &mut Txn, source: &Source<'_>, locality: &Locality) -> VpcId {
    let id = VpcId::mint(source.random());
    let cidr = range(DEFAULT_VPC_CIDR);
    let vpc = Vpc { is_default: true, dns_hostnames: true, ..Vpc::new(id, cidr, source.now) };
    let gateway = put_gateway(txn, source, &vpc.id);
    let subnets: Vec<Subnet> = ZONE_LETTERS
        .iter()
        .enumerate()
        .map(|(n, letter)| {
            let zone = format!("{}{letter}", locality.region);
            default_subnet(source, &vpc.id, nth_subnet(&cidr, n as u64), &zone)
        })
        .collect();
    let ids: Vec<SubnetId> = subnets.iter().map(|subnet| subnet.id.clone()).collect();
    put_main_table(txn, source, &vpc.id, Some(&gateway));
    put_default_acl(txn, source, &vpc.id, &ids);
    put_default_group(txn, source, &vpc.id);
    for subnet in subnets {
        txn.put(AddressPool::new(subnet.id.clone()));
        txn.put(subnet);
    }
    let id = vpc.id.clone();
    txn.put(vpc);
    id
}

pub fn put_gateway(txn: &mut Txn, source: &Source<'_>, vpc: &VpcId) -> InternetGatewayId {
    let gateway = InternetGateway {
        id: InternetGatewayId::mint(source.random()),
        vpc: Some(vpc.clone()),
        created_at: source.now,
        tags: Tags::new(),
    };
    let id = gateway.id.clone();
    txn.put(gateway);
    id
}

/// The n-th range of the size of a default subnet.
pub fn nth_subnet(vpc: &Cidr, n: u64) -> Cidr {
    let size = 1u64 << (32 - DEFAULT_SUBNET_PREFIX);
    let address = vpc.nth(n * size).expect("a default VPC has room for sixteen default subnets");
    Cidr { address, prefix: DEFAULT_SUBNET_PREFIX }
}

pub fn default_subnet(source: &Source<'_>, vpc: &VpcId, cidr: Cidr, zone: &str) -> Subnet {
    let id = SubnetId::mint(source.random());
    let subnet = Subnet::new(id, vpc.clone(), cidr, zone.into(), source.now);
    Subnet { is_default: true, map_public_ip_on_launch: true, ..subnet }
}

pub fn range(text: &str) -> Cidr {
    Cidr::parse(text).expect("the ranges written here are well formed")
}
