//! What an instance must know of a VPC, whole: who is in it and where, what may reach what, and
//! which ways lead out. It is derived from the records (`plan::network`), goes down with an agent's
//! session, and is carried out by the runtime. Everything is resolved by then but the members of
//! security groups, who are the interfaces that name them: so a new interface is one small change,
//! whatever rules mention its groups.

use crate::ids::{SecurityGroupId, VpcId};
use crate::network::Cidr;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VpcTable {
    pub id: VpcId,
    /// The VPC's address ranges, its first one first.
    pub cidrs: Vec<Cidr>,
    /// What tells this VPC's packets from others' between instances: 24 bits, not 0.
    pub network_number: u32,
    /// Whether the host gets a route to the VPC, so that its users can reach a task's address. They
    /// then pass by security groups, as whoever is root on a machine does in any case.
    pub host_route: bool,
    pub subnets: Vec<SubnetTable>,
    pub groups: BTreeMap<SecurityGroupId, GroupTable>,
    /// Everything that has an address in the VPC, by it.
    pub interfaces: BTreeMap<Ipv4Addr, TableInterface>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SubnetTable {
    pub cidr: Cidr,
    /// The subnet's router, by AWS's custom its first address.
    pub gateway: Ipv4Addr,
    /// Ways out of the VPC. The longest prefix wins; what none matches goes nowhere.
    pub routes: Vec<WayOut>,
    /// None: the network ACL lets everything pass.
    pub acl: Option<AclTable>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WayOut {
    pub to: Cidr,
    pub by: Gateway,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Gateway {
    /// An internet gateway: only who has a public address gets out, and bears it there.
    Internet,
    /// A NAT gateway: who goes out bears its public address.
    Nat(Ipv4Addr),
    /// The target is gone.
    BlackHole,
}

/// A security group: what none of its rules allows is denied.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupTable {
    pub ingress: Vec<GroupRule>,
    pub egress: Vec<GroupRule>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct GroupRule {
    pub traffic: Traffic,
    pub peer: Peer,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Peer {
    Range(Cidr),
    /// Every interface that has this group.
    Group(SecurityGroupId),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Traffic {
    All,
    /// To these ports.
    Tcp(Ports),
    Udp(Ports),
    /// None: any.
    Icmp {
        kind: Option<u8>,
        code: Option<u8>,
    },
    /// All of a protocol, by its number.
    Protocol(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Ports {
    pub first: u16,
    pub last: u16,
}

impl Ports {
    pub const ALL: Self = Self { first: 0, last: u16::MAX };
}

/// Stateless rules at a subnet's edge: the first that matches decides, and when none does the
/// packet is dropped.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AclTable {
    pub ingress: Vec<AclRule>,
    pub egress: Vec<AclRule>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AclRule {
    pub allow: bool,
    pub traffic: Traffic,
    pub range: Cidr,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableInterface {
    pub place: Place,
    pub groups: Vec<SecurityGroupId>,
    /// What stands for its address outside.
    pub public: Option<Ipv4Addr>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Place {
    /// A task of this instance.
    Task,
    /// This instance itself answers there, from sockets in the VPC's namespace.
    Endpoint,
    /// Another instance, by its address between instances.
    Instance(Ipv4Addr),
    /// Nobody answers there: another instance that can't be reached from here, or an interface that
    /// nothing is attached to. It counts as a member of its groups.
    Elsewhere,
}

/// Interfaces that came, changed or went.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct InterfaceChanges {
    pub upsert: BTreeMap<Ipv4Addr, TableInterface>,
    pub remove: Vec<Ipv4Addr>,
}

impl InterfaceChanges {
    pub fn is_empty(&self) -> bool {
        self.upsert.is_empty() && self.remove.is_empty()
    }

    /// What leads from one to the other.
    pub fn between(
        old: &BTreeMap<Ipv4Addr, TableInterface>,
        new: &BTreeMap<Ipv4Addr, TableInterface>,
    ) -> Self {
        let came = new.iter().filter(|(address, one)| old.get(address) != Some(one));
        let went = old.keys().filter(|address| !new.contains_key(address));
        Self {
            upsert: came.map(|(address, one)| (*address, one.clone())).collect(),
            remove: went.copied().collect(),
        }
    }

    /// Both, one after the other.
    pub fn then(mut self, later: Self) -> Self {
        for address in later.remove {
            self.upsert.remove(&address);
            self.remove.push(address);
        }
        // What is removed comes first, so that an address may come back.
        self.upsert.extend(later.upsert);
        self
    }

    pub fn apply(&self, to: &mut BTreeMap<Ipv4Addr, TableInterface>) {
        for address in &self.remove {
            to.remove(address);
        }
        to.extend(self.upsert.iter().map(|(address, one)| (*address, one.clone())));
    }
}

impl VpcTable {
    /// Whether both say the same but for their interfaces.
    pub fn same_rules(&self, other: &Self) -> bool {
        self.id == other.id
            && self.cidrs == other.cidrs
            && self.network_number == other.network_number
            && self.host_route == other.host_route
            && self.subnets == other.subnets
            && self.groups == other.groups
    }
}
