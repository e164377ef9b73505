//! What follows from a VPC and the region without a record of its own: the ids of the things every
//! VPC has exactly one of (until they can be made and changed), and the names of zones.

use model::VpcId;
use model::arn::Locality;
use ring::digest::{SHA256, digest};
use std::net::Ipv4Addr;
use wire::ec2::Tag;

/// The id of the one thing of this kind that a VPC has: always the same for the same VPC.
pub fn id(prefix: &str, vpc: &VpcId) -> String {
    let hash = digest(&SHA256, format!("{prefix}{vpc}").as_bytes());
    let digits: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}0{digits}")
}

/// `us-east-1a` gives `use1-az1`. Source: ECS and EC2 user guides, "Availability Zone IDs".
pub fn zone_id(locality: &Locality, zone: &str) -> String {
    locality.zone_id(zone)
}

/// As in `ec2-198-19-0-2.compute-1.amazonaws.com`. Source: VPC user guide, "DNS hostnames".
pub fn public_name(locality: &Locality, ip: Ipv4Addr) -> String {
    let ip = ip.to_string().replace('.', "-");
    match locality.region.as_str() {
        "us-east-1" => format!("ec2-{ip}.compute-1.amazonaws.com"),
        region => format!("ec2-{ip}.{region}.compute.amazonaws.com"),
    }
}

/// Tags as EC2 shows them.
pub fn tags(tags: &model::Tags) -> Option<Vec<Tag>> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    Some(tags.iter().map(tag).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_vpc_differ_by_kind_and_vpc_and_stay() {
        let (a, b) = (VpcId::mint(1), VpcId::mint(2));
        assert_eq!(id("rtb-", &a), id("rtb-", &a));
        assert_ne!(id("rtb-", &a), id("rtb-", &b));
        assert_ne!(id("rtb-", &a)[4..], id("igw-", &a)[4..]);
        assert_eq!(id("rtb-", &a).len(), "rtb-0123456789abcdef0".len());
    }
}
