//! Entries of network ACLs as calls give them. Used by CreateNetworkAclEntry and
//! ReplaceNetworkAclEntry, which ask for the same things.

use super::change::{canonical_v6, invalid, missing_parameter, range_given};
use crate::fault::Fault;
use model::network::{AclPorts, AclRange, NetworkAclEntry};
use wire::ec2::{
    CreateNetworkAclEntryRequest, IcmpTypeCode, PortRange, ReplaceNetworkAclEntryRequest,
    RuleAction,
};

/// The highest number of an entry; 32767 is the one that denies the rest.
pub const NUMBER_MAX: u16 = 32766;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

pub struct Asked {
    pub number: Option<i32>,
    pub egress: Option<bool>,
    pub protocol: Option<String>,
    pub action: Option<RuleAction>,
    pub range: Option<String>,
    pub range_v6: Option<String>,
    pub ports: Option<PortRange>,
    pub icmp: Option<IcmpTypeCode>,
}

impl From<CreateNetworkAclEntryRequest> for Asked {
    fn from(input: CreateNetworkAclEntryRequest) -> Self {
        Self {
            number: input.rule_number,
            egress: input.egress,
            protocol: input.protocol,
            action: input.rule_action,
            range: input.cidr_block,
            range_v6: input.ipv6_cidr_block,
            ports: input.port_range,
            icmp: input.icmp_type_code,
        }
    }
}

impl From<ReplaceNetworkAclEntryRequest> for Asked {
    fn from(input: ReplaceNetworkAclEntryRequest) -> Self {
        Self {
            number: input.rule_number,
            egress: input.egress,
            protocol: input.protocol,
            action: input.rule_action,
            range: input.cidr_block,
            range_v6: input.ipv6_cidr_block,
            ports: input.port_range,
            icmp: input.icmp_type_code,
        }
    }
}

impl Asked {
    pub fn read(self) -> Result<NetworkAclEntry, Fault> {
        let number = number(self.number)?;
        let protocol = protocol(&self.protocol.ok_or_else(|| missing_parameter("protocol"))?)?;
        let range = match (self.range, self.range_v6) {
            (Some(range), None) => AclRange::V4(range_given(&range, "cidrBlock")?),
            (None, Some(range)) => AclRange::V6(canonical_v6(&range).ok_or_else(|| {
                invalid(format!("The value {range} for parameter ipv6CidrBlock is invalid."))
            })?),
            (None, None) => return Err(missing_parameter("cidrBlock")),
            (Some(_), Some(_)) => {
                let text = "The parameters cidrBlock and ipv6CidrBlock cannot be used together";
                return Err(Fault::client("InvalidParameterCombination", text));
            }
        };
        let ports = match protocol {
            Some(TCP | UDP) => Some(ports(self.ports)?),
            _ => None,
        };
        let icmp = match protocol {
            Some(ICMP | ICMP_V6) => {
                let given = self.icmp.ok_or_else(|| missing_parameter("icmpTypeCode"))?;
                let both = (given.r#type.unwrap_or(-1), given.code.unwrap_or(-1));
                if !(-1..=255).contains(&both.0) || !(-1..=255).contains(&both.1) {
                    return Err(invalid("Invalid ICMP type or code"));
                }
                Some(both)
            }
            _ => None,
        };
        Ok(NetworkAclEntry {
            number,
            egress: self.egress.unwrap_or(false),
            protocol,
            allow: match self.action {
                Some(RuleAction::Allow) => true,
                Some(RuleAction::Deny) => false,
                _ => return Err(missing_parameter("ruleAction")),
            },
            range,
            ports,
            icmp,
        })
    }
}

pub fn number(given: Option<i32>) -> Result<u16, Fault> {
    let given = given.ok_or_else(|| missing_parameter("ruleNumber"))?;
    u16::try_from(given).ok().filter(|number| (1..=NUMBER_MAX).contains(number)).ok_or_else(|| {
        invalid(format!(
            "The rule number '{given}' is not valid: it must be between 1 and {NUMBER_MAX}"
        ))
    })
}

/// None for all. By number, or by one of the names that EC2 takes too.
fn protocol(text: &str) -> Result<Option<u8>, Fault> {
    match text.to_ascii_lowercase().as_str() {
        "-1" | "all" => Ok(None),
        "tcp" => Ok(Some(TCP)),
        "udp" => Ok(Some(UDP)),
        "icmp" => Ok(Some(ICMP)),
        "icmpv6" => Ok(Some(ICMP_V6)),
        number => number.parse().map(Some).map_err(|_| {
            invalid(format!("Invalid value '{text}' for protocol. Unknown protocol."))
        }),
    }
}

fn ports(given: Option<PortRange>) -> Result<AclPorts, Fault> {
    let given = given.ok_or_else(|| missing_parameter("portRange"))?;
    let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
    match (port(given.from), port(given.to)) {
        (Some(first), Some(last)) if first <= last => Ok(AclPorts { first, last }),
        _ => Err(invalid("Invalid port range")),
    }
}
