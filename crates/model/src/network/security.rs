//! What may reach what: security groups, network ACLs and the prefix lists that rules name.

use super::Cidr;
use crate::document::Tags;
use crate::ids::{
    NetworkAclAssociationId, NetworkAclId, PrefixListId, SecurityGroupId, SubnetId, VpcId,
};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub id: SecurityGroupId,
    pub vpc: VpcId,
    pub name: String,
    pub description: String,
    pub rules: Vec<SecurityGroupRule>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    /// `sgr-` and 17 hexadecimal digits.
    pub id: String,
    pub egress: bool,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a protocol number, or `-1` for all.
    pub protocol: String,
    /// The first port, or ICMP's type; None or -1 for all.
    pub from_port: Option<i32>,
    /// The last port, or ICMP's code; None or -1 for all.
    pub to_port: Option<i32>,
    pub peer: SecurityGroupPeer,
    pub description: Option<String>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum SecurityGroupPeer {
    Range(Cidr),
    RangeV6(String),
    Group(SecurityGroupId),
    PrefixList(PrefixListId),
}

impl SecurityGroup {
    /// The group every VPC has: it is made and removed with it.
    pub const DEFAULT_NAME: &'static str = "default";

    pub fn is_default(&self) -> bool {
        self.name == Self::DEFAULT_NAME
    }
}

/// Stateless rules at the edge of a subnet. In each direction the entry with the lowest number that
/// matches decides; when none does, the packet is dropped: EC2 shows that as entry 32767, which is
/// not stored. A subnet has exactly one ACL.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NetworkAcl {
    pub id: NetworkAclId,
    pub vpc: VpcId,
    /// Made with the VPC; new subnets are associated with it.
    pub is_default: bool,
    /// Each number once a direction.
    pub entries: Vec<NetworkAclEntry>,
    pub associations: Vec<NetworkAclAssociation>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NetworkAclEntry {
    /// 1 to 32766.
    pub number: u16,
    pub egress: bool,
    /// The protocol's number, or None for all.
    pub protocol: Option<u8>,
    pub allow: bool,
    pub range: AclRange,
    /// For TCP and UDP.
    pub ports: Option<AclPorts>,
    /// For ICMP: type and code, -1 for all.
    pub icmp: Option<(i32, i32)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AclRange {
    V4(Cidr),
    V6(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AclPorts {
    pub first: u16,
    pub last: u16,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NetworkAclAssociation {
    pub id: NetworkAclAssociationId,
    pub subnet: SubnetId,
}

/// Ranges under one name, for routes and rules of security groups.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ManagedPrefixList {
    pub id: PrefixListId,
    pub name: String,
    /// Owned by AWS, as clients see it: made by us, can't be changed.
    pub is_aws: bool,
    /// `IPv4` or `IPv6`.
    pub address_family: String,
    /// A rule that names the list counts as this many.
    pub max_entries: u32,
    /// Rises with every change of the entries, from 1.
    pub version: u64,
    pub entries: Vec<PrefixListEntry>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PrefixListEntry {
    /// In the form of its family, with no bits set behind the prefix.
    pub cidr: String,
    pub description: Option<String>,
}
