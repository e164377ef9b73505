//! The default network as clients see it, through the operations' functions.

use super::default_network::ensure_default_network;
use super::{
    create_network_interface::create_network_interface,
    create_security_group::create_security_group, create_subnet::create_subnet,
    create_vpc::create_vpc, delete_network_interface::delete_network_interface,
    delete_security_group::delete_security_group, delete_vpc::delete_vpc,
    describe_account_attributes::describe_account_attributes,
    describe_availability_zones::describe_availability_zones,
    describe_internet_gateways::describe_internet_gateways,
    describe_network_interfaces::describe_network_interfaces, describe_regions::describe_regions,
    describe_route_tables::describe_route_tables,
    describe_security_group_rules::describe_security_group_rules,
    describe_security_groups::describe_security_groups, describe_subnets::describe_subnets,
    describe_tags::describe_tags, describe_vpc_attribute::describe_vpc_attribute,
    describe_vpcs::describe_vpcs,
};
use crate::fixture::Fixture;
use model::network::{AddressPool, NetworkInterface};
use model::{InterfaceId, SecurityGroupId, SubnetId, TaskId};
use wire::ec2::*;

async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let cx = &fixture.cx;
    let made = ensure_default_network(&cx.store, &cx.locality, cx.now(), &*cx.random).await;
    made.expect("made");
    fixture
}

fn filter(name: &str, value: &str) -> Option<Vec<Filter>> {
    Some(vec![Filter { name: Some(name.to_owned()), values: Some(vec![value.to_owned()]) }])
}

async fn default_vpc(fixture: &Fixture) -> Vpc {
    let input = DescribeVpcsRequest { filters: filter("isDefault", "true"), ..Default::default() };
    let found = describe_vpcs(&fixture.cx, &fixture.caller, input).await.expect("found");
    found.vpcs.expect("a list").pop().expect("one")
}

async fn subnets(fixture: &Fixture) -> Vec<Subnet> {
    let input = DescribeSubnetsRequest::default();
    let found = describe_subnets(&fixture.cx, &fixture.caller, input).await.expect("found");
    found.subnets.expect("a list")
}

#[tokio::test]
async fn the_default_vpc_has_a_subnet_in_every_zone() {
    let fixture = fixture().await;
    let vpc = default_vpc(&fixture).await;
    assert_eq!(vpc.cidr_block.as_deref(), Some("172.31.0.0/16"));
    let subnets = subnets(&fixture).await;
    let mut zones: Vec<_> = subnets.iter().filter_map(|it| it.availability_zone.clone()).collect();
    zones.sort();
    assert_eq!(zones, ["us-east-1a", "us-east-1b", "us-east-1c"]);
    for subnet in &subnets {
        assert_eq!(subnet.vpc_id, vpc.vpc_id);
        assert_eq!(subnet.available_ip_address_count, Some(4091));
        assert_eq!(subnet.map_public_ip_on_launch, Some(true));
        assert_eq!(subnet.default_for_az, Some(true));
    }
    let input = DescribeSubnetsRequest {
        filters: filter("availability-zone-id", "use1-az2"),
        ..Default::default()
    };
    let found = describe_subnets(&fixture.cx, &fixture.caller, input).await.expect("found");
    assert_eq!(found.subnets.expect("a list").len(), 1);
    let zones = describe_availability_zones(&fixture.cx, &fixture.caller, Default::default());
    assert_eq!(zones.await.expect("found").availability_zones.expect("a list").len(), 3);
}

#[tokio::test]
async fn taken_addresses_are_not_available() {
    let fixture = fixture().await;
    let id = subnets(&fixture).await[0].subnet_id.clone().expect("an id");
    let mut txn = fixture.cx.store.begin();
    let taken = [4, 5, 6].into();
    txn.put(AddressPool { subnet: SubnetId::from(id.clone()), taken, next: 7 });
    txn.commit().await.expect("committed");
    let input = DescribeSubnetsRequest { subnet_ids: Some(vec![id]), ..Default::default() };
    let found = describe_subnets(&fixture.cx, &fixture.caller, input).await.expect("found");
    assert_eq!(found.subnets.expect("a list")[0].available_ip_address_count, Some(4088));
}

#[tokio::test]
async fn the_default_group_lets_its_members_in_and_everything_out() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let by_name = || DescribeSecurityGroupsRequest {
        group_names: Some(vec!["default".to_owned()]),
        ..Default::default()
    };
    let found = describe_security_groups(cx, caller, by_name()).await.expect("found");
    let group = found.security_groups.expect("a list").pop().expect("one");
    let ingress = &group.ip_permissions.as_ref().expect("a list")[0];
    assert_eq!(ingress.ip_protocol.as_deref(), Some("-1"));
    let peer = &ingress.user_id_group_pairs.as_ref().expect("a list")[0];
    assert_eq!(peer.group_id, group.group_id);
    let egress = &group.ip_permissions_egress.as_ref().expect("a list")[0];
    let range = &egress.ip_ranges.as_ref().expect("a list")[0];
    assert_eq!(range.cidr_ip.as_deref(), Some("0.0.0.0/0"));
    let input = DescribeSecurityGroupRulesRequest {
        filters: filter("group-id", group.group_id.as_deref().expect("an id")),
        ..Default::default()
    };
    let rules = describe_security_group_rules(cx, caller, input).await.expect("found");
    let rules = rules.security_group_rules.expect("a list");
    assert_eq!(rules.len(), 2);
    assert!(
        rules.iter().all(|it| it.security_group_rule_id.as_ref().unwrap().starts_with("sgr-0"))
    );
    let input = DescribeSecurityGroupsRequest {
        group_names: Some(vec!["web".to_owned()]),
        ..Default::default()
    };
    let fault = describe_security_groups(cx, caller, input).await.expect_err("unknown");
    assert_eq!(fault.code, "InvalidGroup.NotFound");
}

#[tokio::test]
async fn routes_lead_inside_and_outside() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let input = DescribeRouteTablesRequest {
        filters: filter("association.main", "true"),
        ..Default::default()
    };
    let tables = describe_route_tables(cx, caller, input).await.expect("found");
    let table = tables.route_tables.expect("a list").pop().expect("one");
    let gateways = describe_internet_gateways(cx, caller, Default::default()).await.expect("found");
    let gateway = gateways.internet_gateways.expect("a list").pop().expect("one");
    let routes: Vec<_> =
        table.routes.expect("a list").into_iter().map(|it| it.gateway_id).collect();
    assert_eq!(routes, [Some("local".to_owned()), gateway.internet_gateway_id]);
    assert_eq!(table.vpc_id, default_vpc(&fixture).await.vpc_id);
}

#[tokio::test]
async fn attributes_regions_and_dry_runs_are_answered() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let vpc_id = default_vpc(&fixture).await.vpc_id;
    let input = DescribeVpcAttributeRequest {
        attribute: Some("enableDnsHostnames".into()),
        vpc_id: vpc_id.clone(),
        dry_run: None,
    };
    let found = describe_vpc_attribute(cx, caller, input).await.expect("found");
    assert_eq!(found.enable_dns_hostnames.and_then(|it| it.value), Some(true));
    assert_eq!(found.enable_dns_support, None);
    let input = DescribeAccountAttributesRequest {
        attribute_names: Some(vec!["default-vpc".into()]),
        dry_run: None,
    };
    let found = describe_account_attributes(cx, caller, input).await.expect("found");
    let values = found.account_attributes.expect("a list").pop().expect("one").attribute_values;
    assert_eq!(values.expect("a list")[0].attribute_value, vpc_id);
    let found = describe_regions(cx, caller, Default::default()).await.expect("found");
    assert_eq!(found.regions.expect("a list")[0].region_name.as_deref(), Some("us-east-1"));
    let input = DescribeVpcsRequest { dry_run: Some(true), ..Default::default() };
    let fault = describe_vpcs(cx, caller, input).await.expect_err("a dry run");
    assert_eq!((fault.code.as_ref(), fault.status), ("DryRunOperation", 412));
}

#[tokio::test]
async fn unknown_ids_are_refused_by_kind() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let ids = |id: &str| Some(vec![id.to_owned()]);
    let input = DescribeVpcsRequest { vpc_ids: ids("vpc-1"), ..Default::default() };
    let fault = describe_vpcs(cx, caller, input).await.expect_err("unknown");
    let text = "The vpc ID 'vpc-1' does not exist";
    assert_eq!((fault.code.as_ref(), fault.message.as_str()), ("InvalidVpcID.NotFound", text));
    let input = DescribeSubnetsRequest { subnet_ids: ids("subnet-1"), ..Default::default() };
    let fault = describe_subnets(cx, caller, input).await.expect_err("unknown");
    let text = "The subnet ID 'subnet-1' does not exist";
    assert_eq!((fault.code.as_ref(), fault.message.as_str()), ("InvalidSubnetID.NotFound", text));
    let input = DescribeSecurityGroupsRequest { group_ids: ids("sg-1"), ..Default::default() };
    let fault = describe_security_groups(cx, caller, input).await.expect_err("unknown");
    let text = "The security group 'sg-1' does not exist";
    assert_eq!((fault.code.as_ref(), fault.message.as_str()), ("InvalidGroup.NotFound", text));
    let input = DescribeVpcAttributeRequest {
        attribute: Some("enableDnsSupport".into()),
        vpc_id: Some("vpc-1".to_owned()),
        dry_run: None,
    };
    let fault = describe_vpc_attribute(cx, caller, input).await.expect_err("unknown");
    assert_eq!(fault.code, "InvalidVpcID.NotFound");
}

#[tokio::test]
async fn a_tasks_interface_is_seen_while_it_is_there() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let subnet = subnets(&fixture).await.remove(0);
    let id = InterfaceId::mint(77);
    let mut txn = cx.store.begin();
    let (_, of) = cx.store.snapshot().scan::<model::network::Subnet>("").next().expect("one");
    let ip = "172.31.0.9".parse().expect("an address");
    let mac = "02:00:00:00:00:09".to_owned();
    txn.put(NetworkInterface {
        security_groups: vec![SecurityGroupId::from("sg-1")],
        task: Some(TaskId::mint(1)),
        description: "of a task".to_owned(),
        ..NetworkInterface::new(id.clone(), &of, ip, mac, cx.now())
    });
    txn.commit().await.expect("committed");
    for filters in [
        filter("group-id", "sg-1"),
        filter("subnet-id", &subnet.subnet_id.expect("an id")),
        filter("private-ip-address", "172.31.0.*"),
        filter("status", "in-use"),
    ] {
        let input = DescribeNetworkInterfacesRequest { filters, ..Default::default() };
        let found = describe_network_interfaces(cx, caller, input).await.expect("found");
        let found = found.network_interfaces.expect("a list").pop().expect("one");
        assert_eq!(found.network_interface_id.as_deref(), Some(id.as_str()));
        assert_eq!(found.private_ip_address.as_deref(), Some("172.31.0.9"));
    }
    let mut txn = cx.store.begin();
    txn.delete::<NetworkInterface>(id.as_str());
    txn.commit().await.expect("committed");
    let input = DescribeNetworkInterfacesRequest {
        network_interface_ids: Some(vec![id.to_string()]),
        ..Default::default()
    };
    let fault = describe_network_interfaces(cx, caller, input).await.expect_err("gone");
    assert_eq!(fault.code, "InvalidNetworkInterfaceID.NotFound");
}

#[tokio::test]
async fn tags_are_listed_by_resource() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let id = default_vpc(&fixture).await.vpc_id.expect("an id");
    let mut txn = cx.store.begin();
    let mut vpc = model::network::Vpc::clone(&txn.get(&id).expect("there"));
    vpc.tags.extend([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
    txn.put(vpc);
    txn.commit().await.expect("committed");
    let find = async |filters: Option<Vec<Filter>>| {
        let input = DescribeTagsRequest { filters, ..Default::default() };
        let found = describe_tags(cx, caller, input).await.expect("found").tags.expect("a list");
        found.into_iter().filter_map(|tag| tag.value).collect::<Vec<_>>()
    };
    assert_eq!(find(None).await, ["1", "2"]);
    assert_eq!(find(filter("key", "b")).await, ["2"]);
    assert_eq!(find(filter("resource-type", "vpc")).await, ["1", "2"]);
    assert!(find(filter("resource-type", "subnet")).await.is_empty());
    let found = describe_vpcs(
        cx,
        caller,
        DescribeVpcsRequest { filters: filter("tag:a", "1"), ..Default::default() },
    );
    assert_eq!(found.await.expect("found").vpcs.expect("a list").len(), 1);
}

async fn vpc(fixture: &Fixture, range: &str) -> String {
    let input = CreateVpcRequest { cidr_block: Some(range.to_owned()), ..Default::default() };
    let made = create_vpc(&fixture.cx, &fixture.caller, input).await.expect("made");
    made.vpc.expect("a VPC").vpc_id.expect("an id")
}

fn subnet_of(vpc: &str, range: &str) -> CreateSubnetRequest {
    CreateSubnetRequest {
        vpc_id: Some(vpc.to_owned()),
        cidr_block: Some(range.to_owned()),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_of_one_vpc_at_once_never_pass_each_other() {
    let fixture = fixture().await;
    let (mut made, mut deleted) = (0, 0);
    for _ in 0..100 {
        let vpc = vpc(&fixture, "10.9.0.0/16").await;
        let (cx, caller) = (fixture.cx.clone(), fixture.caller.clone());
        let input = subnet_of(&vpc, "10.9.1.0/24");
        let subnet = tokio::spawn(async move { create_subnet(&cx, &caller, input).await });
        let (cx, caller) = (fixture.cx.clone(), fixture.caller.clone());
        let input = DeleteVpcRequest { vpc_id: Some(vpc.clone()), dry_run: None };
        let gone = tokio::spawn(async move { delete_vpc(&cx, &caller, input).await });
        let (subnet, gone) = (subnet.await.expect("ended"), gone.await.expect("ended"));
        // Whoever is first wins, and the other says why it can't.
        match (subnet, gone) {
            (Ok(_), Err(fault)) => {
                assert_eq!(fault.code, "DependencyViolation");
                made += 1;
            }
            (Err(fault), Ok(_)) => {
                assert_eq!(fault.code, "InvalidVpcID.NotFound");
                deleted += 1;
            }
            (subnet, gone) => panic!("{subnet:?} {gone:?}"),
        }
    }
    let snapshot = fixture.cx.store.snapshot();
    let default_subnets = model::network::ZONE_LETTERS.len();
    assert_eq!(snapshot.count::<model::network::Subnet>(""), default_subnets + made);
    assert_eq!(snapshot.count::<model::network::Vpc>(""), 1 + made);
    assert_eq!(made + deleted, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_address_is_given_twice_and_all_come_back() {
    let fixture = fixture().await;
    let vpc = vpc(&fixture, "10.9.0.0/16").await;
    let input = subnet_of(&vpc, "10.9.1.0/28");
    let made = create_subnet(&fixture.cx, &fixture.caller, input).await.expect("made");
    let subnet = made.subnet.and_then(|it| it.subnet_id).expect("an id");
    for round in 0..20 {
        let calls: Vec<_> = (0..16)
            .map(|_| {
                let (cx, caller) = (fixture.cx.clone(), fixture.caller.clone());
                let subnet_id = Some(subnet.clone());
                let input = CreateNetworkInterfaceRequest { subnet_id, ..Default::default() };
                tokio::spawn(async move { create_network_interface(&cx, &caller, input).await })
            })
            .collect();
        let mut interfaces = Vec::new();
        let mut refused = 0;
        for call in calls {
            match call.await.expect("ended") {
                Ok(made) => interfaces.push(made.network_interface.expect("one")),
                Err(fault) => {
                    assert_eq!(fault.code, "InsufficientFreeAddressesInSubnet");
                    refused += 1;
                }
            }
        }
        // A /28 has eleven addresses to give.
        assert_eq!((interfaces.len(), refused), (11, 5), "round {round}");
        let ips: std::collections::BTreeSet<_> =
            interfaces.iter().filter_map(|it| it.private_ip_address.clone()).collect();
        assert_eq!(ips.len(), 11);
        for interface in interfaces {
            let network_interface_id = interface.network_interface_id;
            let input = DeleteNetworkInterfaceRequest { network_interface_id, dry_run: None };
            delete_network_interface(&fixture.cx, &fixture.caller, input).await.expect("gone");
        }
        let pool = fixture.cx.store.snapshot().get::<AddressPool>(&subnet).expect("there");
        assert!(pool.taken.is_empty());
    }
}

#[tokio::test]
async fn a_group_of_a_task_that_is_there_stays() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let input = CreateSecurityGroupRequest {
        group_name: Some("web".to_owned()),
        description: Some("a".to_owned()),
        ..Default::default()
    };
    let made = create_security_group(cx, caller, input).await.expect("made");
    let group = made.group_id.expect("an id");
    let (_, of) = cx.store.snapshot().scan::<model::network::Subnet>("").next().expect("one");
    let (id, ip) = (InterfaceId::mint(77), "172.31.0.9".parse().expect("an address"));
    let mut txn = cx.store.begin();
    txn.put(NetworkInterface {
        security_groups: vec![SecurityGroupId::from(group.as_str())],
        task: Some(TaskId::mint(1)),
        ..NetworkInterface::new(id.clone(), &of, ip, "02:00:00:00:00:09".to_owned(), cx.now())
    });
    txn.commit().await.expect("committed");
    let delete =
        || DeleteSecurityGroupRequest { group_id: Some(group.clone()), ..Default::default() };
    let fault = delete_security_group(cx, caller, delete()).await.expect_err("in use");
    assert_eq!(fault.code, "DependencyViolation");
    let mut txn = cx.store.begin();
    txn.delete::<NetworkInterface>(id.as_str());
    txn.commit().await.expect("committed");
    delete_security_group(cx, caller, delete()).await.expect("gone");
}
