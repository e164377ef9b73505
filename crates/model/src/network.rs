//! VPCs, subnets, security groups and network interfaces.

use crate::document::Tags;
use crate::ids::{InterfaceId, SecurityGroupId, SubnetId, TaskId, VpcId, ZoneName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
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

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Vpc {
    pub id: VpcId,
    pub cidr: Cidr,
    pub is_default: bool,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Subnet {
    pub id: SubnetId,
    pub vpc: VpcId,
    pub cidr: Cidr,
    pub zone: ZoneName,
    pub is_default: bool,
    pub map_public_ip_on_launch: bool,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// Addresses of a subnet reserved at its start: network, router, DNS, one for later; and one at its
/// end. Source: EC2 user guide, subnet sizing.
pub const RESERVED_AT_START: u64 = 4;
pub const RESERVED_AT_END: u64 = 1;

/// Which addresses of a subnet are taken, as offsets from its start. Writer: placement takes, the
/// release of an interface gives back. An address is handed out again only after its interface is
/// gone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AddressPool {
    pub subnet: SubnetId,
    #[serde(with = "ranges")]
    pub taken: BTreeSet<u32>,
    /// Where the search for a free one starts: addresses go round, so that a freed one rests for
    /// long.
    pub next: u32,
}

/// A set of numbers stored as its runs, first and last: addresses are taken one after the other, so
/// a pool of thousands is a few numbers.
mod ranges {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeSet;

    pub fn serialize<S: Serializer>(set: &BTreeSet<u32>, to: S) -> Result<S::Ok, S::Error> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &n in set {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(n) => *last = n,
                _ => runs.push((n, n)),
            }
        }
        runs.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<u32>, D::Error> {
        let runs = Vec::<(u32, u32)>::deserialize(from)?;
        if runs.iter().any(|(first, last)| first > last) {
            return Err(D::Error::custom("a run that ends before it begins"));
        }
        Ok(runs.into_iter().flat_map(|(first, last)| first..=last).collect())
    }
}

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
    /// `tcp`, `udp`, `icmp`, a protocol number, or `-1` for all.
    pub protocol: String,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    pub peer: SecurityGroupPeer,
    pub description: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum SecurityGroupPeer {
    Range(Cidr),
    RangeV6(String),
    Group(SecurityGroupId),
}

/// A network interface as EC2 shows it. Made with a task's placement, gone with its release.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NetworkInterface {
    pub id: InterfaceId,
    pub vpc: VpcId,
    pub subnet: SubnetId,
    pub zone: ZoneName,
    pub private_ip: Ipv4Addr,
    pub mac: String,
    pub private_dns_name: String,
    pub security_groups: Vec<SecurityGroupId>,
    pub task: Option<TaskId>,
    pub description: String,
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_stored_as_runs_and_read_back() {
        let taken = BTreeSet::from([4, 5, 6, 9, 11, 12]);
        let pool = AddressPool { subnet: SubnetId::from("subnet-1"), taken, next: 13 };
        let json = serde_json::to_string(&pool).expect("serializable");
        assert!(json.contains("[[4,6],[9,9],[11,12]]"), "{json}");
        assert_eq!(serde_json::from_str::<AddressPool>(&json).expect("valid"), pool);
        let empty = AddressPool { taken: BTreeSet::new(), ..pool };
        let json = serde_json::to_string(&empty).expect("serializable");
        assert_eq!(serde_json::from_str::<AddressPool>(&json).expect("valid"), empty);
        assert!(serde_json::from_str::<AddressPool>(&json.replace("[]", "[[2,1]]")).is_err());
    }

    #[test]
    fn a_cidr_is_its_ranges_first_address_and_prefix() {
        let cidr = Cidr::parse("172.31.16.0/20").expect("valid");
        assert_eq!(cidr.size(), 4096);
        assert_eq!(cidr.nth(5), Some(Ipv4Addr::new(172, 31, 16, 5)));
        assert_eq!(cidr.nth(4096), None);
        assert!(cidr.contains(Ipv4Addr::new(172, 31, 31, 255)));
        assert!(!cidr.contains(Ipv4Addr::new(172, 31, 32, 0)));
        assert_eq!(Cidr::parse("0.0.0.0/0").map(|c| c.size()), Some(1 << 32));
        for bad in ["", "1.2.3.4", "1.2.3.4/33", "172.31.16.1/20", "x/8"] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }
}
