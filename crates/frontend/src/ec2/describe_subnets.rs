//! DescribeSubnets: the subnets, each with how many addresses are free in it right now.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, select, shown, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{self, AddressPool, RESERVED_AT_END, RESERVED_AT_START};
use store::Snapshot;
use wire::ec2::{
    BlockPublicAccessStates, DescribeSubnetsRequest, DescribeSubnetsResult,
    PrivateDnsNameOptionsOnLaunch, Subnet,
};

const COLUMNS: &[Column<Subnet>] = &[
    ("availability-zone", |it| text(&it.availability_zone)),
    ("availabilityZone", |it| text(&it.availability_zone)),
    ("availability-zone-id", |it| text(&it.availability_zone_id)),
    ("availabilityZoneId", |it| text(&it.availability_zone_id)),
    ("available-ip-address-count", |it| shown(&it.available_ip_address_count)),
    ("cidr", |it| text(&it.cidr_block)),
    ("cidr-block", |it| text(&it.cidr_block)),
    ("cidrBlock", |it| text(&it.cidr_block)),
    ("customer-owned-ipv4-pool", |it| text(&it.customer_owned_ipv4_pool)),
    ("default-for-az", |it| shown(&it.default_for_az)),
    ("defaultForAz", |it| shown(&it.default_for_az)),
    ("enable-dns64", |it| shown(&it.enable_dns64)),
    ("enable-lni-at-device-index", |it| shown(&it.enable_lni_at_device_index)),
    ("ipv6-cidr-block-association.association-id", |_| Vec::new()),
    ("ipv6-cidr-block-association.ipv6-cidr-block", |_| Vec::new()),
    ("ipv6-cidr-block-association.state", |_| Vec::new()),
    ("ipv6-native", |it| shown(&it.ipv6_native)),
    ("map-customer-owned-ip-on-launch", |it| shown(&it.map_customer_owned_ip_on_launch)),
    ("map-public-ip-on-launch", |it| shown(&it.map_public_ip_on_launch)),
    ("outpost-arn", |it| text(&it.outpost_arn)),
    ("owner-id", |it| text(&it.owner_id)),
    ("private-dns-name-options-on-launch.hostname-type", |it| {
        let options = it.private_dns_name_options_on_launch.as_ref();
        options.map(|it| shown(&it.hostname_type)).unwrap_or_default()
    }),
    ("private-dns-name-options-on-launch.enable-resource-name-dns-a-record", |it| {
        let options = it.private_dns_name_options_on_launch.as_ref();
        options.map(|it| shown(&it.enable_resource_name_dns_a_record)).unwrap_or_default()
    }),
    ("private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record", |it| {
        let options = it.private_dns_name_options_on_launch.as_ref();
        options.map(|it| shown(&it.enable_resource_name_dns_aaaa_record)).unwrap_or_default()
    }),
    ("state", |it| shown(&it.state)),
    ("subnet-arn", |it| text(&it.subnet_arn)),
    ("subnet-id", |it| text(&it.subnet_id)),
    ("vpc-id", |it| text(&it.vpc_id)),
];

pub async fn describe_subnets(
    cx: &Context,
    _caller: &Caller,
    input: DescribeSubnetsRequest,
) -> Result<DescribeSubnetsResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<network::Subnet>("");
    let all = all.map(|(_, subnet)| show(cx, &snapshot, &subnet)).collect();
    let ids = input.subnet_ids.as_deref();
    let found = by_ids(all, ids, &network::Subnet::NOUN, |it| &it.subnet_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (subnets, next_token) = page(found, ids, input.max_results, token, |it| &it.subnet_id)?;
    Ok(DescribeSubnetsResult { subnets: Some(subnets), next_token })
}

pub fn show(cx: &Context, snapshot: &Snapshot, subnet: &network::Subnet) -> Subnet {
    let pool = snapshot.get::<AddressPool>(subnet.id.as_str());
    let taken = pool.map_or(0, |pool| pool.taken.len() as u64);
    let free = subnet.cidr.size().saturating_sub(RESERVED_AT_START + RESERVED_AT_END + taken);
    let hostname_type = match subnet.launch_names.by_resource {
        true => "resource-name",
        false => "ip-name",
    };
    Subnet {
        assign_ipv6_address_on_creation: Some(false),
        availability_zone: Some(subnet.zone.to_string()),
        availability_zone_id: Some(derived::zone_id(&cx.locality, subnet.zone.as_str())),
        available_ip_address_count: Some(i32::try_from(free).unwrap_or(i32::MAX)),
        block_public_access_states: Some(BlockPublicAccessStates {
            internet_gateway_block_mode: Some("off".into()),
        }),
        cidr_block: Some(subnet.cidr.to_string()),
        default_for_az: Some(subnet.is_default),
        enable_dns64: Some(false),
        ipv6_cidr_block_association_set: Some(Vec::new()),
        ipv6_native: Some(false),
        map_customer_owned_ip_on_launch: Some(false),
        map_public_ip_on_launch: Some(subnet.map_public_ip_on_launch),
        owner_id: Some(cx.locality.account.to_string()),
        private_dns_name_options_on_launch: Some(PrivateDnsNameOptionsOnLaunch {
            enable_resource_name_dns_aaaa_record: Some(subnet.launch_names.aaaa_record),
            enable_resource_name_dns_a_record: Some(subnet.launch_names.a_record),
            hostname_type: Some(hostname_type.into()),
        }),
        state: Some("available".into()),
        subnet_arn: Some(cx.locality.arn("ec2", &format!("subnet/{}", subnet.id))),
        subnet_id: Some(subnet.id.to_string()),
        tags: derived::tags(&subnet.tags),
        vpc_id: Some(subnet.vpc.to_string()),
        ..Subnet::default()
    }
}
