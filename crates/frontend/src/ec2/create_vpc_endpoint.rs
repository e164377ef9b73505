//! CreateVpcEndpoint: gateway and interface endpoints for the services there are.

use super::change::{Once, groups_in, invalid, missing_parameter, refuse, within};
use super::describe::dry_run;
use super::describe_vpc_endpoints::show;
use super::endpoints::{POLICY_DEFAULT, add_subnet, add_table, check_policy, no_service, services};
use super::nouns::find;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::ENDPOINTS_PER_VPC_MAX;
use model::network::{Vpc, VpcEndpoint, VpcEndpointKind};
use model::{Tags, VpcEndpointId};
use store::Txn;
use wire::ec2::{CreateVpcEndpointRequest, CreateVpcEndpointResult, VpcEndpointType};

pub async fn create_vpc_endpoint(
    cx: &Context,
    _caller: &Caller,
    input: CreateVpcEndpointRequest,
) -> Result<CreateVpcEndpointResult, Fault> {
    dry_run(input.dry_run)?;
    refuse(&[
        ("dnsOptions", input.dns_options.is_some()),
        ("ipAddressType", input.ip_address_type.as_ref().is_some_and(|it| it.as_str() != "ipv4")),
        ("resourceConfigurationArn", input.resource_configuration_arn.is_some()),
        ("serviceNetworkArn", input.service_network_arn.is_some()),
        (
            "serviceRegion",
            input.service_region.as_deref().is_some_and(|it| it != cx.locality.region.as_str()),
        ),
        ("subnetConfiguration", input.subnet_configurations.is_some()),
    ])?;
    let token = input.client_token.clone();
    let once = Once::of("CreateVpcEndpoint", token.as_deref(), &input)?;
    let kind = kind(cx, &input)?;
    if let Some(policy) = &input.policy_document {
        check_policy(policy)?;
    }
    let tags = tagged::given(input.tag_specifications.clone(), "vpc-endpoint")?;
    let now = cx.now();
    let endpoint = cx.transact(|txn| {
        if let Some(once) = &once
            && let Some(id) = once.made(txn, now)?
        {
            return find::<VpcEndpoint>(txn, Some(&id)).map(|it| (*it).clone());
        }
        let endpoint = put(cx, txn, &input, kind, tags.clone())?;
        if let Some(once) = &once {
            once.remember(txn, endpoint.id.as_str(), now);
        }
        Ok(endpoint)
    });
    let shown = show(cx, &cx.store.snapshot(), &endpoint.await?);
    Ok(CreateVpcEndpointResult { client_token: token, vpc_endpoint: Some(shown) })
}

/// The kind asked for, gateway if nothing is said; the service must have endpoints of it.
fn kind(cx: &Context, input: &CreateVpcEndpointRequest) -> Result<VpcEndpointKind, Fault> {
    let service = input.service_name.as_deref().ok_or_else(|| missing_parameter("serviceName"))?;
    let kind = match &input.vpc_endpoint_type {
        None | Some(VpcEndpointType::Gateway) => VpcEndpointKind::Gateway,
        Some(VpcEndpointType::Interface) => VpcEndpointKind::Interface,
        Some(other) => {
            let text = format!("Endpoints of type {other} are not supported by Neargate");
            return Err(Fault::client("UnsupportedOperation", text));
        }
    };
    let known = services(cx);
    let mut of_name = known.iter().filter(|(name, _)| name == service).peekable();
    if of_name.peek().is_none() {
        return Err(no_service(service));
    }
    if !of_name.any(|(_, known)| *known == kind) {
        let text = format!("Endpoint type ({kind:?}) does not match available service types");
        return Err(Fault::client("InvalidParameter", text));
    }
    Ok(kind)
}

fn put(
    cx: &Context,
    txn: &mut Txn,
    input: &CreateVpcEndpointRequest,
    kind: VpcEndpointKind,
    tags: Tags,
) -> Result<VpcEndpoint, Fault> {
    let vpc = find::<Vpc>(txn, input.vpc_id.as_deref())?;
    let vpc = within(txn, &vpc.id)?;
    let known = txn.snapshot().scan::<VpcEndpoint>("");
    if known.filter(|(_, it)| it.vpc == vpc.id).count() >= ENDPOINTS_PER_VPC_MAX {
        let text = "The maximum number of VPC endpoints has been reached.";
        return Err(Fault::client("VpcEndpointLimitExceeded", text));
    }
    let is_interface = kind == VpcEndpointKind::Interface;
    let (tables, subnets) = (input.route_table_ids.as_deref(), input.subnet_ids.as_deref());
    let groups = input.security_group_ids.as_deref();
    let given = |list: Option<&[String]>| list.is_some_and(|list| !list.is_empty());
    if is_interface && given(tables) || !is_interface && (given(subnets) || given(groups)) {
        return Err(invalid("Parameters of another type of endpoint were specified"));
    }
    let policy = input.policy_document.as_deref().unwrap_or(POLICY_DEFAULT);
    let mut endpoint = VpcEndpoint {
        id: VpcEndpointId::mint(cx.random()),
        vpc: vpc.id.clone(),
        service: input.service_name.clone().unwrap_or_default(),
        kind,
        route_tables: Vec::new(),
        subnets: Vec::new(),
        security_groups: Vec::new(),
        interfaces: Vec::new(),
        // Private names are the default of interface endpoints. Source: API reference.
        private_dns: is_interface && input.private_dns_enabled.unwrap_or(true),
        policy: policy.to_owned(),
        created_at: cx.now(),
        tags,
    };
    if is_interface {
        endpoint.security_groups = groups_in(txn, &vpc.id, groups)?;
    }
    for id in tables.unwrap_or_default() {
        add_table(txn, &mut endpoint, id)?;
    }
    for id in subnets.unwrap_or_default() {
        add_subnet(cx, txn, &mut endpoint, id)?;
    }
    txn.put(endpoint.clone());
    Ok(endpoint)
}
