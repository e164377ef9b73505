//! The network a new account begins with: the default VPC, the pool that public addresses are from,
//! AWS's own prefix lists and DHCP options. Made once: who deletes the default VPC does not find it
//! again after a restart (CreateDefaultVpc makes another).

use super::make_vpc::{Source, put_default_acl, put_default_vpc, put_gateway, put_main_table};
use model::arn::Locality;
use model::network::{
    AMAZON_DNS, AddressPool, DOMAIN_NAME, DOMAIN_NAME_SERVERS, DhcpOptions, ManagedPrefixList,
    PublicPool, RouteTable, Subnet, Vpc, private_domain,
};
use model::{DhcpOptionsId, PrefixListId, SubnetId, Tags, Timestamp};
use std::convert::Infallible;
use store::kinds::PUBLIC_POOL_KEY;
use store::{Snapshot, Store, TransactFailure, Txn};

/// Services with a gateway endpoint, whose ranges are a prefix list. None of them has addresses
/// here, so the lists are empty: a rule that names one allows nothing, as it should.
pub const GATEWAY_SERVICES: [&str; 2] = ["dynamodb", "s3"];

/// Public addresses of several states on one machine should not be the same, as it has one route to
/// each: every state begins somewhere else in the range.
fn public_pool(random: u128) -> PublicPool {
    let mut pool = PublicPool::new(PublicPool::RANGE_DEFAULT);
    pool.next = u32::try_from(random % u128::from(pool.range.size())).unwrap_or(0);
    pool
}

/// Called at every start.
pub async fn ensure_default_network(
    store: &Store,
    locality: &Locality,
    now: Timestamp,
    random: &(dyn Fn() -> u128 + Send + Sync),
) -> Result<(), TransactFailure<Infallible>> {
    let source = Source { now, random };
    let made = store.transact(|txn| {
        if txn.get::<PublicPool>(PUBLIC_POOL_KEY).is_some() {
            return Ok(());
        }
        txn.put(public_pool((source.random)()));
        put_aws_lists(txn, &source, locality);
        let options = put_default_options(txn, &source, locality);
        let snapshot = txn.snapshot().clone();
        let vpcs: Vec<_> = snapshot.scan::<Vpc>("").map(|(_, vpc)| vpc).collect();
        if !vpcs.iter().any(|vpc| vpc.is_default) {
            let id = put_default_vpc(txn, &source, locality);
            let vpc = txn.peek::<Vpc>(id.as_str()).expect("it was put just now");
            txn.put(Vpc { dhcp_options: Some(options), ..(*vpc).clone() });
        }
        for vpc in vpcs {
            complete(txn, &source, &vpc);
        }
        Ok(())
    });
    made.await.map(|_| ())
}

/// Gives a VPC of an older version what it was only shown with: its gateway, table and ACL, and
/// pools for its subnets.
fn complete(txn: &mut Txn, source: &Source<'_>, vpc: &Vpc) {
    let snapshot = txn.snapshot().clone();
    if snapshot.scan::<RouteTable>("").any(|(_, table)| table.vpc == vpc.id) {
        return;
    }
    let gateway = put_gateway(txn, source, &vpc.id);
    put_main_table(txn, source, &vpc.id, Some(&gateway));
    let subnets: Vec<SubnetId> = snapshot
        .scan::<Subnet>("")
        .filter(|(_, subnet)| subnet.vpc == vpc.id)
        .map(|(_, subnet)| subnet.id.clone())
        .collect();
    put_default_acl(txn, source, &vpc.id, &subnets);
    for subnet in subnets {
        if txn.get::<AddressPool>(subnet.as_str()).is_none() {
            txn.put(AddressPool::new(subnet));
        }
    }
}

/// The account's first DHCP options: what a new VPC has. None once they are deleted.
pub fn default_options(snapshot: &Snapshot) -> Option<DhcpOptionsId> {
    let all = snapshot.scan::<DhcpOptions>("").map(|(_, options)| options);
    let is_ours = |(key, values): &(String, Vec<String>)| {
        key == DOMAIN_NAME_SERVERS && *values == [AMAZON_DNS]
    };
    let ours = all.filter(|options| options.configurations.iter().any(is_ours));
    ours.min_by_key(|options| options.created_at).map(|options| options.id.clone())
}

/// The options `default` stands for. Source: VPC user guide, "Default DHCP option set".
fn put_default_options(txn: &mut Txn, source: &Source<'_>, locality: &Locality) -> DhcpOptionsId {
    let id = DhcpOptionsId::mint(source.random());
    let domain = private_domain(locality.region.as_str());
    txn.put(DhcpOptions {
        id: id.clone(),
        configurations: vec![
            (DOMAIN_NAME.to_owned(), vec![domain]),
            (DOMAIN_NAME_SERVERS.to_owned(), vec![AMAZON_DNS.to_owned()]),
        ],
        created_at: source.now,
        tags: Tags::new(),
    });
    id
}

fn put_aws_lists(txn: &mut Txn, source: &Source<'_>, locality: &Locality) {
    for service in GATEWAY_SERVICES {
        txn.put(ManagedPrefixList {
            id: PrefixListId::mint(source.random()),
            name: format!("com.amazonaws.{}.{service}", locality.region),
            is_aws: true,
            address_family: "IPv4".to_owned(),
            max_entries: 1,
            version: 1,
            entries: Vec::new(),
            created_at: source.now,
            tags: Tags::new(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use model::network::{Cidr, InternetGateway, NetworkAcl, SecurityGroup, SecurityGroupPeer};

    async fn start(fixture: &Fixture) {
        let cx = &fixture.cx;
        let made = ensure_default_network(&cx.store, &cx.locality, cx.now(), &*cx.random);
        made.await.expect("made");
    }

    #[tokio::test]
    async fn the_default_network_is_made_once() {
        let fixture = Fixture::new();
        start(&fixture).await;
        start(&fixture).await;
        let snapshot = fixture.cx.store.snapshot();
        assert_eq!(snapshot.count::<Vpc>(""), 1);
        let vpc = snapshot.scan::<Vpc>("").next().expect("one").1;
        let subnets: Vec<_> = snapshot.scan::<Subnet>("").map(|(_, subnet)| subnet).collect();
        let zones: Vec<_> = subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
        assert_eq!(zones, ["us-east-1a", "us-east-1b", "us-east-1c"]);
        assert!(subnets.iter().all(|it| it.vpc == vpc.id && vpc.cidr.covers(&it.cidr)));
        let (_, group) = snapshot.scan::<SecurityGroup>("").next().expect("one");
        assert_eq!(group.rules[0].peer, SecurityGroupPeer::Group(group.id.clone()));
        let (_, acl) = snapshot.scan::<NetworkAcl>("").next().expect("one");
        assert_eq!((acl.associations.len(), acl.entries.len()), (3, 2));
        assert_eq!(snapshot.count::<InternetGateway>(""), 1);
    }

    #[tokio::test]
    async fn a_deleted_default_vpc_stays_deleted() {
        let fixture = Fixture::new();
        start(&fixture).await;
        let (_, vpc) = fixture.cx.store.snapshot().scan::<Vpc>("").next().expect("one");
        let mut txn = fixture.cx.store.begin();
        txn.delete::<Vpc>(vpc.id.as_str());
        txn.commit().await.expect("committed");
        start(&fixture).await;
        assert_eq!(fixture.cx.store.snapshot().count::<Vpc>(""), 0);
    }

    #[tokio::test]
    async fn a_vpc_of_an_older_version_gets_what_it_lacks() {
        let fixture = Fixture::new();
        let cidr = Cidr::parse("172.31.0.0/16").expect("valid");
        let (id, now) = (model::VpcId::mint(1), fixture.cx.now());
        let mut txn = fixture.cx.store.begin();
        txn.put(Vpc { is_default: true, ..Vpc::new(id.clone(), cidr, now) });
        txn.put(Subnet::new("subnet-1".into(), id.clone(), cidr, "us-east-1a".into(), now));
        txn.commit().await.expect("committed");
        start(&fixture).await;
        let snapshot = fixture.cx.store.snapshot();
        assert_eq!(snapshot.count::<Vpc>(""), 1);
        let (_, table) = snapshot.scan::<RouteTable>("").next().expect("one");
        assert!(table.vpc == id && table.main.is_some() && table.routes.len() == 1);
        let (_, acl) = snapshot.scan::<NetworkAcl>("").next().expect("one");
        assert_eq!(acl.associations[0].subnet.as_str(), "subnet-1");
        assert!(snapshot.get::<AddressPool>("subnet-1").is_some());
    }
}
