//! The network as facts: ranges, VPCs, subnets and their addresses here; routes, security, network
//! interfaces and public addresses in the files below. What follows from a fact is not stored: a
//! VPC's own ranges are routes of every one of its tables, the last rule of every network ACL
//! denies, and a route whose target is gone is a black hole.

mod dhcp;
mod interface;
mod pool;
mod public;
mod routing;
mod security;

pub use dhcp::{AMAZON_DNS, DOMAIN_NAME, DOMAIN_NAME_SERVERS, DhcpOptions, Resolving};
pub use interface::{
    InterfaceAttachment, InterfaceKind, NetworkInterface, PublicAddress, VpcEndpoint,
    VpcEndpointKind, private_domain,
};
pub use pool::{AddressPool, PublicPool, RESERVED_AT_END, RESERVED_AT_START};
pub use public::{Address, AddressAssociation, NatGateway, NatGatewayAddress};
pub use routing::{
    InternetGateway, Route, RouteDestination, RouteTable, RouteTableAssociation, RouteTarget,
};
pub use security::{
    AclPorts, AclRange, ManagedPrefixList, NetworkAcl, NetworkAclAssociation, NetworkAclEntry,
    PrefixListEntry, SecurityGroup, SecurityGroupPeer, SecurityGroupRule,
};

use crate::document::Tags;
use crate::ids::{CidrAssociationId, DhcpOptionsId, SubnetId, VpcId, ZoneName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 range in CIDR form. The address is the range's first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Cidr {
    pub address: Ipv4Addr,
    pub prefix: u8,
}

impl Cidr {
    /// None when the text is no CIDR or has bits set behind its prefix.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let cidr = Self { address: address.parse().ok()?, prefix: prefix.parse().ok()? };
        let valid = cidr.prefix <= 32 && u32::from(cidr.address) & !cidr.mask() == 0;
        valid.then_some(cidr)
    }

    pub fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.address)
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Whether all of the other range lies in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// How many addresses the range has.
    pub fn size(&self) -> u64 {
        1u64 << (32 - u32::from(self.prefix))
    }

    /// The n-th address of the range, from 0; None past its end.
    pub fn nth(&self, n: u64) -> Option<Ipv4Addr> {
        let offset = u32::try_from(n).ok().filter(|_| n < self.size())?;
        Some(Ipv4Addr::from(u32::from(self.address) + offset))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The letters of the region's zones. An instance serves also zones that have none of their own.
pub const ZONE_LETTERS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Vpc {
    pub id: VpcId,
    /// The range it was made with; it can't be taken away.
    pub cidr: Cidr,
    /// Ranges that were added later.
    #[serde(default)]
    pub secondary_cidrs: Vec<VpcCidrAssociation>,
    pub is_default: bool,
    /// The VPC's resolver answers.
    #[serde(default = "yes")]
    pub dns_support: bool,
    /// Public addresses have public names, where the resolver answers.
    #[serde(default = "yes")]
    pub dns_hostnames: bool,
    #[serde(default)]
    pub address_usage_metrics: bool,
    /// `default` or `dedicated`.
    #[serde(default = "default_tenancy")]
    pub instance_tenancy: String,
    /// None: what EC2 shows as `default`, which is to have none.
    #[serde(default)]
    pub dhcp_options: Option<DhcpOptionsId>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VpcCidrAssociation {
    pub id: CidrAssociationId,
    pub cidr: Cidr,
}

impl Vpc {
    /// With the attributes that CreateVpc gives: DNS, but no public names.
    pub fn new(id: VpcId, cidr: Cidr, created_at: Timestamp) -> Self {
        Self {
            id,
            cidr,
            secondary_cidrs: Vec::new(),
            is_default: false,
            dns_support: true,
            dns_hostnames: false,
            address_usage_metrics: false,
            instance_tenancy: default_tenancy(),
            dhcp_options: None,
            created_at,
            tags: Tags::new(),
        }
    }

    /// All its ranges, the first one first: its local routes.
    pub fn cidrs(&self) -> impl Iterator<Item = Cidr> + '_ {
        std::iter::once(self.cidr).chain(self.secondary_cidrs.iter().map(|it| it.cidr))
    }
}

fn yes() -> bool {
    true
}

fn default_tenancy() -> String {
    "default".to_owned()
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Subnet {
    pub id: SubnetId,
    pub vpc: VpcId,
    pub cidr: Cidr,
    pub zone: ZoneName,
    pub is_default: bool,
    pub map_public_ip_on_launch: bool,
    /// Names for instances, of which we launch none: kept and shown.
    #[serde(default)]
    pub launch_names: LaunchNames,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// A subnet's PrivateDnsNameOptionsOnLaunch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LaunchNames {
    /// `resource-name` instead of `ip-name`.
    pub by_resource: bool,
    pub a_record: bool,
    pub aaaa_record: bool,
}

impl Subnet {
    pub fn new(
        id: SubnetId,
        vpc: VpcId,
        cidr: Cidr,
        zone: ZoneName,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            vpc,
            cidr,
            zone,
            is_default: false,
            map_public_ip_on_launch: false,
            launch_names: LaunchNames::default(),
            created_at,
            tags: Tags::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cidr_is_its_ranges_first_address_and_prefix() {
        let cidr = Cidr::parse("172.31.16.0/20").expect("valid");
        assert_eq!(cidr.size(), 4096);
        assert_eq!(cidr.nth(5), Some(Ipv4Addr::new(172, 31, 16, 5)));
        assert_eq!(cidr.nth(4096), None);
        assert!(cidr.contains(Ipv4Addr::new(172, 31, 31, 255)));
        assert!(!cidr.contains(Ipv4Addr::new(172, 31, 32, 0)));
        assert_eq!(Cidr::parse("0.0.0.0/0").map(|c| c.size()), Some(1 << 32));
        let inner = Cidr::parse("172.31.20.0/24").expect("valid");
        let beside = Cidr::parse("172.31.32.0/20").expect("valid");
        assert!(cidr.covers(&inner) && !inner.covers(&cidr) && cidr.covers(&cidr));
        assert!(cidr.overlaps(&inner) && inner.overlaps(&cidr) && !cidr.overlaps(&beside));
        for bad in ["", "1.2.3.4", "1.2.3.4/33", "172.31.16.1/20", "x/8"] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_vpc_of_an_older_version_has_the_attributes_of_the_default_one() {
        let json = r#"{"id":"vpc-1","cidr":{"address":"172.31.0.0","prefix":16},
            "is_default":true,"created_at":1,"tags":{}}"#;
        let vpc = serde_json::from_str::<Vpc>(json).expect("readable");
        assert!(vpc.dns_support && vpc.dns_hostnames && vpc.secondary_cidrs.is_empty());
        assert_eq!(vpc.instance_tenancy, "default");
    }
}
