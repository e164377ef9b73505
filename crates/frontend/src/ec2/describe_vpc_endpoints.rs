//! DescribeVpcEndpoints.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, select, shown, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{self, VpcEndpointKind};
use store::Snapshot;
use wire::Timestamp;
use wire::ec2::{
    DescribeVpcEndpointsRequest, DescribeVpcEndpointsResult, DnsEntry, DnsOptions,
    SecurityGroupIdentifier, VpcEndpoint,
};

const COLUMNS: &[Column<VpcEndpoint>] = &[
    ("ip-address-type", |it| shown(&it.ip_address_type)),
    ("service-name", |it| text(&it.service_name)),
    ("service-region", |it| text(&it.service_region)),
    ("vpc-endpoint-id", |it| text(&it.vpc_endpoint_id)),
    ("vpc-endpoint-state", |it| shown(&it.state)),
    ("vpc-endpoint-type", |it| shown(&it.vpc_endpoint_type)),
    ("vpc-id", |it| text(&it.vpc_id)),
];

pub async fn describe_vpc_endpoints(
    cx: &Context,
    _caller: &Caller,
    input: DescribeVpcEndpointsRequest,
) -> Result<DescribeVpcEndpointsResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<network::VpcEndpoint>("");
    let all = all.map(|(_, endpoint)| show(cx, &snapshot, &endpoint));
    let ids = input.vpc_endpoint_ids.as_deref();
    let noun = &network::VpcEndpoint::NOUN;
    let found = by_ids(all.collect(), ids, noun, |it| &it.vpc_endpoint_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (endpoints, next_token) =
        page(found, None, input.max_results, token, |it| &it.vpc_endpoint_id)?;
    Ok(DescribeVpcEndpointsResult { next_token, vpc_endpoints: Some(endpoints) })
}

pub fn show(cx: &Context, snapshot: &Snapshot, endpoint: &network::VpcEndpoint) -> VpcEndpoint {
    let groups = endpoint.security_groups.iter().map(|id| SecurityGroupIdentifier {
        group_id: Some(id.to_string()),
        group_name: snapshot
            .get::<network::SecurityGroup>(id.as_str())
            .map(|group| group.name.clone()),
    });
    let is_interface = endpoint.kind == VpcEndpointKind::Interface;
    let texts = |ids: &mut dyn Iterator<Item = String>| Some(ids.collect::<Vec<_>>());
    VpcEndpoint {
        creation_timestamp: Some(Timestamp::from_unix_ms(endpoint.created_at.0)),
        dns_entries: Some(names(cx, endpoint)),
        dns_options: is_interface.then(|| DnsOptions {
            dns_record_ip_type: Some("ipv4".into()),
            ..DnsOptions::default()
        }),
        groups: Some(groups.collect()),
        ip_address_type: Some("ipv4".into()),
        network_interface_ids: texts(&mut endpoint.interfaces.iter().map(ToString::to_string)),
        owner_id: Some(cx.locality.account.to_string()),
        policy_document: Some(endpoint.policy.clone()),
        private_dns_enabled: Some(endpoint.private_dns),
        requester_managed: Some(false),
        route_table_ids: texts(&mut endpoint.route_tables.iter().map(ToString::to_string)),
        service_name: Some(endpoint.service.clone()),
        service_region: Some(cx.locality.region.to_string()),
        state: Some("available".into()),
        subnet_ids: texts(&mut endpoint.subnets.iter().map(ToString::to_string)),
        tags: derived::tags(&endpoint.tags),
        vpc_endpoint_id: Some(endpoint.id.to_string()),
        vpc_endpoint_type: Some(if is_interface { "Interface" } else { "Gateway" }.into()),
        vpc_id: Some(endpoint.vpc.to_string()),
        ..VpcEndpoint::default()
    }
}

/// Gateway endpoints have no names of their own.
fn names(cx: &Context, endpoint: &network::VpcEndpoint) -> Vec<DnsEntry> {
    let region = &cx.locality.region;
    let short = endpoint.service.rsplit_once(&format!("{region}.")).map(|(_, short)| short);
    let (VpcEndpointKind::Interface, Some(short)) = (endpoint.kind, short) else {
        return Vec::new();
    };
    let name = format!("{}.{short}.{region}.vpce.amazonaws.com", endpoint.id);
    vec![DnsEntry { dns_name: Some(name), hosted_zone_id: None }]
}
