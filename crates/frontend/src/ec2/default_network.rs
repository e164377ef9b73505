//! The default VPC as AWS makes it for a new account: 172.31.0.0/16, one /20 subnet a zone, and a
//! default security group whose members reach each other and everything outside. Source: VPC user
//! guide, "Default VPC components".

use model::arn::Locality;
use model::network::{Cidr, SecurityGroup, SecurityGroupPeer, SecurityGroupRule, Subnet, Vpc};
use model::{SecurityGroupId, SubnetId, Tags, Timestamp, VpcId};
use std::convert::Infallible;
use store::{Store, TransactFailure};

const VPC_CIDR: &str = "172.31.0.0/16";
/// The letters of the zones, each with its default subnet's range.
const ZONES: [(&str, &str); 2] = [("a", "172.31.0.0/20"), ("b", "172.31.16.0/20")];

/// Makes the default network if there is no default VPC. Called at every start: it is made once.
pub async fn ensure_default_network(
    store: &Store,
    locality: &Locality,
    now: Timestamp,
    random: &(dyn Fn() -> u128 + Send + Sync),
) -> Result<(), TransactFailure<Infallible>> {
    let vpc = VpcId::mint(random());
    let group = SecurityGroupId::mint(random());
    let rule_ids = [rule_id(random()), rule_id(random())];
    let subnets: Vec<_> = ZONES.iter().map(|zone| (SubnetId::mint(random()), *zone)).collect();
    let made = store.transact(|txn| {
        if txn.snapshot().scan::<Vpc>("").any(|(_, vpc)| vpc.is_default) {
            return Ok(());
        }
        txn.put(Vpc {
            id: vpc.clone(),
            cidr: range(VPC_CIDR),
            is_default: true,
            created_at: now,
            tags: Tags::new(),
        });
        for (id, (letter, cidr)) in &subnets {
            txn.put(Subnet {
                id: id.clone(),
                vpc: vpc.clone(),
                cidr: range(cidr),
                zone: format!("{}{letter}", locality.region).into(),
                is_default: true,
                map_public_ip_on_launch: true,
                created_at: now,
                tags: Tags::new(),
            });
        }
        txn.put(SecurityGroup {
            id: group.clone(),
            vpc: vpc.clone(),
            name: "default".to_owned(),
            description: "default VPC security group".to_owned(),
            rules: default_rules(&group, &rule_ids),
            created_at: now,
            tags: Tags::new(),
        });
        Ok(())
    });
    made.await.map(|_| ())
}

fn range(text: &str) -> Cidr {
    Cidr::parse(text).expect("the ranges above are well formed")
}

fn rule_id(random: u128) -> String {
    // The same digits as a group's id, under the prefix of rules.
    SecurityGroupId::mint(random).as_str().replacen("sg-", "sgr-", 1)
}

fn default_rules(group: &SecurityGroupId, ids: &[String; 2]) -> Vec<SecurityGroupRule> {
    let rule = |id: &String, egress, peer| SecurityGroupRule {
        id: id.clone(),
        egress,
        protocol: "-1".to_owned(),
        from_port: None,
        to_port: None,
        peer,
        description: None,
    };
    vec![
        rule(&ids[0], false, SecurityGroupPeer::Group(group.clone())),
        rule(&ids[1], true, SecurityGroupPeer::Range(range("0.0.0.0/0"))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[tokio::test]
    async fn the_default_network_is_made_once() {
        let fixture = Fixture::new();
        let cx = &fixture.cx;
        for _ in 0..2 {
            let made = ensure_default_network(&cx.store, &cx.locality, cx.now(), &*cx.random);
            made.await.expect("made");
        }
        let snapshot = cx.store.snapshot();
        assert_eq!(snapshot.count::<Vpc>(""), 1);
        let vpc = snapshot.scan::<Vpc>("").next().expect("one").1;
        let subnets: Vec<_> = snapshot.scan::<Subnet>("").map(|(_, subnet)| subnet).collect();
        let zones: Vec<_> = subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
        assert_eq!(zones, ["us-east-1a", "us-east-1b"]);
        assert!(subnets.iter().all(|it| it.vpc == vpc.id && vpc.cidr.contains(it.cidr.address)));
        let (_, group) = snapshot.scan::<SecurityGroup>("").next().expect("one");
        assert_eq!(group.rules[0].peer, SecurityGroupPeer::Group(group.id.clone()));
    }
}
