//! DescribeVpcEndpointServices: what endpoints can be made for.

use super::describe::{dry_run, page};
use super::endpoints::{no_service, services};
use super::filter::{Column, each, select, shown, text};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{VpcEndpointKind, ZONE_LETTERS};
use wire::ec2::{
    DescribeVpcEndpointServicesRequest, DescribeVpcEndpointServicesResult, ServiceDetail,
    ServiceTypeDetail,
};

const COLUMNS: &[Column<ServiceDetail>] = &[
    ("owner", |it| text(&it.owner)),
    ("service-name", |it| text(&it.service_name)),
    ("service-region", |it| text(&it.service_region)),
    ("service-type", |it| {
        it.service_type.iter().flatten().flat_map(|it| shown(&it.service_type)).collect()
    }),
    ("supported-ip-address-types", |it| {
        each(&it.supported_ip_address_types, |it| Some(it.to_string()))
    }),
];

pub async fn describe_vpc_endpoint_services(
    cx: &Context,
    _caller: &Caller,
    input: DescribeVpcEndpointServicesRequest,
) -> Result<DescribeVpcEndpointServicesResult, Fault> {
    dry_run(input.dry_run)?;
    let known = services(cx);
    let regions = input.service_regions.unwrap_or_default();
    let here = regions.is_empty() || regions.iter().any(|it| it == cx.locality.region.as_str());
    let mut all: Vec<_> = known.iter().map(|(name, kind)| show(cx, name, *kind)).collect();
    all.retain(|_| here);
    if let Some(names) = input.service_names.filter(|names| !names.is_empty()) {
        let is_known = |name: &String| known.iter().any(|(known, _)| known == name);
        if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
            return Err(no_service(unknown));
        }
        all.retain(|it| it.service_name.as_ref().is_some_and(|name| names.contains(name)));
    }
    let found = select(all, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (details, next_token) = page(found, None, input.max_results, token, |it| &it.service_id)?;
    let mut names: Vec<String> = details.iter().filter_map(|it| it.service_name.clone()).collect();
    names.sort();
    Ok(DescribeVpcEndpointServicesResult {
        next_token,
        service_details: Some(details),
        service_names: Some(names),
    })
}

fn show(cx: &Context, name: &str, kind: VpcEndpointKind) -> ServiceDetail {
    let zones = ZONE_LETTERS.iter().map(|letter| format!("{}{letter}", cx.locality.region));
    let kind = match kind {
        VpcEndpointKind::Gateway => "Gateway",
        VpcEndpointKind::Interface => "Interface",
    };
    ServiceDetail {
        acceptance_required: Some(false),
        availability_zones: Some(zones.collect()),
        manages_vpc_endpoints: Some(false),
        owner: Some("amazon".to_owned()),
        // Its own name is its id: the same on every call, and unique.
        service_id: Some(format!("vpce-svc-{}", name.replace('.', "-"))),
        service_name: Some(name.to_owned()),
        service_region: Some(cx.locality.region.to_string()),
        service_type: Some(vec![ServiceTypeDetail { service_type: Some(kind.into()) }]),
        supported_ip_address_types: Some(vec!["ipv4".into()]),
        tags: Some(Vec::new()),
        vpc_endpoint_policy_supported: Some(true),
        ..ServiceDetail::default()
    }
}
