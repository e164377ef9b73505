//! Network interfaces: of tasks, of what we make for users (NAT gateways, load balancers,
//! endpoints), and of users themselves.

use crate::document::Tags;
use crate::ids::{
    AddressAssociationId, AllocationId, InstanceId, InterfaceId, RouteTableId, SecurityGroupId,
    SubnetId, TaskId, VpcEndpointId, VpcId, ZoneName,
};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A network interface as EC2 shows it. A task's is made with its placement and gone with its
/// release; others are made and removed by the call that asks for it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NetworkInterface {
    pub id: InterfaceId,
    pub vpc: VpcId,
    pub subnet: SubnetId,
    pub zone: ZoneName,
    pub private_ip: Ipv4Addr,
    /// More addresses of the subnet that it answers to.
    #[serde(default)]
    pub secondary_ips: Vec<Ipv4Addr>,
    pub mac: String,
    pub private_dns_name: String,
    pub security_groups: Vec<SecurityGroupId>,
    pub task: Option<TaskId>,
    /// Where its task is placed.
    #[serde(default)]
    pub instance: Option<InstanceId>,
    #[serde(default)]
    pub kind: InterfaceKind,
    /// The service it was made by, as in `amazon-elb`; None: made by the user, or ECS's for a task.
    #[serde(default)]
    pub requester: Option<String>,
    /// What it hangs on, for those that are not a task's. None: status `available`.
    #[serde(default)]
    pub attachment: Option<InterfaceAttachment>,
    #[serde(default)]
    pub public: Option<PublicAddress>,
    #[serde(default = "yes")]
    pub source_dest_check: bool,
    pub description: String,
    pub created_at: Timestamp,
    #[serde(default)]
    pub tags: Tags,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum InterfaceKind {
    /// A task's or a user's.
    #[default]
    Interface,
    NatGateway,
    LoadBalancer,
    NetworkLoadBalancer,
    Endpoint,
}

impl InterfaceKind {
    /// Source: botocore's NetworkInterfaceType. An application load balancer's is `interface`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interface | Self::LoadBalancer => "interface",
            Self::NatGateway => "nat_gateway",
            Self::NetworkLoadBalancer => "network_load_balancer",
            Self::Endpoint => "vpc_endpoint",
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct InterfaceAttachment {
    /// `eni-attach-` and 17 hexadecimal digits, or `ela-attach-` for those of load balancers.
    pub id: String,
    /// Who it belongs to, as EC2 names it: `amazon-aws`, `amazon-elb`.
    pub owner: String,
    pub at: Timestamp,
}

/// The public address that stands for an interface's private one outside.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PublicAddress {
    pub ip: Ipv4Addr,
    /// The elastic address it is; None: it came with the interface and goes with it.
    pub allocation: Option<AllocationId>,
    pub association: Option<AddressAssociationId>,
}

/// What the names of a VPC's addresses end in. Source: VPC user guide, "DNS hostnames".
pub fn private_domain(region: &str) -> String {
    match region {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    }
}

impl NetworkInterface {
    /// One that nobody uses yet. Its name follows from its address and its subnet's region.
    pub fn new(
        id: InterfaceId,
        subnet: &super::Subnet,
        private_ip: Ipv4Addr,
        mac: String,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            vpc: subnet.vpc.clone(),
            subnet: subnet.id.clone(),
            zone: subnet.zone.clone(),
            private_ip,
            secondary_ips: Vec::new(),
            mac,
            private_dns_name: Self::dns_name(&subnet.zone, private_ip),
            security_groups: Vec::new(),
            task: None,
            instance: None,
            kind: InterfaceKind::Interface,
            requester: None,
            attachment: None,
            public: None,
            source_dest_check: true,
            description: String::new(),
            created_at,
            tags: Tags::new(),
        }
    }

    /// The name of an address, as in `ip-10-0-0-5.ec2.internal`.
    pub fn dns_name(zone: &ZoneName, ip: Ipv4Addr) -> String {
        // A zone is named by its region and a letter.
        let region = zone.as_str().trim_end_matches(|c: char| c.is_ascii_lowercase());
        let ip = ip.to_string().replace('.', "-");
        format!("ip-{ip}.{}", private_domain(region))
    }

    /// A MAC address for an interface with this address: the address makes it unique within a VPC,
    /// 02 says that nobody was assigned it.
    pub fn mac(ip: Ipv4Addr, random: u128) -> String {
        let [a, b, c, d] = ip.octets();
        let salt = random.to_be_bytes()[0];
        format!("02:{salt:02x}:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    pub fn is_in_use(&self) -> bool {
        self.task.is_some() || self.attachment.is_some()
    }

    /// All its private addresses, the primary first.
    pub fn private_ips(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        std::iter::once(self.private_ip).chain(self.secondary_ips.iter().copied())
    }
}

/// A way to a service that does not lead outside: for gateway endpoints a route in the tables it
/// names, for interface endpoints an interface in the subnets it names.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VpcEndpoint {
    pub id: VpcEndpointId,
    pub vpc: VpcId,
    /// As in `com.amazonaws.us-east-1.s3`.
    pub service: String,
    pub kind: VpcEndpointKind,
    pub route_tables: Vec<RouteTableId>,
    pub subnets: Vec<SubnetId>,
    pub security_groups: Vec<SecurityGroupId>,
    pub interfaces: Vec<InterfaceId>,
    pub private_dns: bool,
    pub policy: String,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VpcEndpointKind {
    Gateway,
    Interface,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_address_ends_in_its_regions_domain() {
        for (zone, name) in [
            ("us-east-1b", "ip-10-0-16-11.ec2.internal"),
            ("eu-west-1c", "ip-10-0-16-11.eu-west-1.compute.internal"),
        ] {
            let told = NetworkInterface::dns_name(&zone.into(), Ipv4Addr::new(10, 0, 16, 11));
            assert_eq!(told, name);
        }
    }
}
