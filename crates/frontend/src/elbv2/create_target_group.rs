//! CreateTargetGroup. Groups of addresses and of instances; functions and load balancers as targets
//! are not here.

use super::create_load_balancer::check_name;
use super::health_checks::{self, Given, Of};
use super::{change, not_here, said, shown, tags, validation};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::balancing::{Protocol, ProtocolVersion, TargetGroup, TargetKind};
use model::network::Vpc;
use model::{TargetGroupId, VpcId};
use std::collections::BTreeMap;
use wire::elbv2::{
    CreateTargetGroupInput, CreateTargetGroupOutput, ErrorCode, ProtocolEnum,
    TargetGroupIpAddressTypeEnum, TargetTypeEnum,
};

/// Target groups of a region. Source: user guide, quotas.
const TARGET_GROUPS_MAX: usize = 3000;

pub async fn create(
    cx: &Context,
    _caller: &Caller,
    input: CreateTargetGroupInput,
) -> Result<CreateTargetGroupOutput, Fault> {
    let asked = read(cx, input)?;
    let made = change(cx, |txn| {
        let snapshot = txn.snapshot().clone();
        let mut all = snapshot.scan::<TargetGroup>("").map(|(_, it)| it);
        if let Some(known) = all.find(|known| known.name == asked.name) {
            return same(&known, &asked);
        }
        if snapshot.scan::<TargetGroup>("").count() >= TARGET_GROUPS_MAX {
            let text = "The maximum number of target groups has been reached";
            return Err(ErrorCode::TooManyTargetGroupsException.fault(text));
        }
        if txn.get::<Vpc>(asked.vpc.as_str()).is_none() {
            return Err(validation(format!("The VPC ID '{}' is not found", asked.vpc)));
        }
        txn.put(asked.clone());
        Ok(asked.clone())
    })
    .await?;
    let snapshot = cx.store.snapshot();
    let used = super::used(&snapshot);
    let shown = shown::target_group(cx, &snapshot, &made, used.get(&made.id));
    Ok(CreateTargetGroupOutput { target_groups: Some(vec![shown]) })
}

/// A group of that name, if it is what is asked for; another one is in the way.
fn same(known: &TargetGroup, asked: &TargetGroup) -> Result<TargetGroup, Fault> {
    let like = TargetGroup {
        id: known.id.clone(),
        attributes: known.attributes.clone(),
        created_at: known.created_at,
        ..asked.clone()
    };
    if like == *known {
        return Ok(like);
    }
    let text = format!(
        "A target group with the same name '{}' exists, but with different settings",
        asked.name
    );
    Err(ErrorCode::DuplicateTargetGroupNameException.fault(text))
}

fn read(cx: &Context, input: CreateTargetGroupInput) -> Result<TargetGroup, Fault> {
    let name = input.name.unwrap_or_default();
    check_name("Target group name", &name)?;
    let kind = match input.target_type {
        None | Some(TargetTypeEnum::Instance) => TargetKind::Instance,
        Some(TargetTypeEnum::Ip) => TargetKind::Ip,
        Some(other) => return Err(not_here(&format!("target groups of type {}", other.as_str()))),
    };
    if input.ip_address_type == Some(TargetGroupIpAddressTypeEnum::Ipv6) {
        return Err(not_here("target groups of IPv6 addresses"));
    }
    if input.target_control_port.is_some() {
        return Err(not_here("TargetControlPort"));
    }
    let protocol = match &input.protocol {
        None => return Err(validation("A protocol must be specified")),
        Some(given) => read_protocol(given)?,
    };
    let version = {
        // Terraform's provider writes what it was not told as an empty text.
        let given = input.protocol_version.as_deref().filter(|text| !text.is_empty());
        read_version(protocol, given)?
    };
    let Some(port) = input.port.and_then(|port| u16::try_from(port).ok()) else {
        return Err(validation("A port must be specified"));
    };
    let Some(vpc) = input.vpc_id else {
        return Err(validation("A VPC ID must be specified"));
    };
    let check = Given {
        enabled: input.health_check_enabled,
        protocol: input.health_check_protocol,
        port: said(input.health_check_port),
        path: input.health_check_path,
        interval_seconds: input.health_check_interval_seconds,
        timeout_seconds: input.health_check_timeout_seconds,
        healthy_threshold: input.healthy_threshold_count,
        unhealthy_threshold: input.unhealthy_threshold_count,
        matcher: input.matcher,
    };
    Ok(TargetGroup {
        id: TargetGroupId::mint(cx.random()),
        name,
        kind,
        protocol,
        version,
        port,
        vpc: VpcId::from(vpc),
        health_check: health_checks::read(Of { protocol, version }, check, None)?,
        attributes: BTreeMap::new(),
        created_at: cx.now(),
        tags: tags::RULES.read(input.tags)?,
    })
}

/// What balancers here speak.
pub fn read_protocol(given: &ProtocolEnum) -> Result<Protocol, Fault> {
    match given {
        ProtocolEnum::Http => Ok(Protocol::Http),
        ProtocolEnum::Https => Ok(Protocol::Https),
        ProtocolEnum::Tcp => Ok(Protocol::Tcp),
        other => Err(not_here(&format!("the protocol {}", other.as_str()))),
    }
}

fn read_version(protocol: Protocol, given: Option<&str>) -> Result<ProtocolVersion, Fault> {
    let Some(given) = given else { return Ok(ProtocolVersion::Http1) };
    if protocol == Protocol::Tcp {
        let text = "Protocol version cannot be specified for target groups with protocol 'TCP'";
        return Err(validation(text));
    }
    match given {
        "HTTP1" => Ok(ProtocolVersion::Http1),
        "HTTP2" => Ok(ProtocolVersion::Http2),
        "GRPC" => Ok(ProtocolVersion::Grpc),
        other => Err(validation(format!(
            "Protocol version '{other}' must be one of 'HTTP1, HTTP2, GRPC'"
        ))),
    }
}
