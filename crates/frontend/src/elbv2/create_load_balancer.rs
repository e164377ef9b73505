//! CreateLoadBalancer: its record, and an interface in each of its subnets. It serves from this
//! commit on; the answer says `provisioning`, as ELB's does, and the next call that it is active.

use super::subnets::{self, Place};
use super::{change, invalid_configuration, not_here, shown, tags, validation};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::balancing::{BalancerKind, LoadBalancer};
use model::{LoadBalancerId, Tags};
use std::collections::BTreeSet;
use store::{Snapshot, Txn};
use wire::elbv2::{
    CreateLoadBalancerInput, CreateLoadBalancerOutput, ErrorCode, IpAddressType,
    LoadBalancerSchemeEnum, LoadBalancerState, LoadBalancerStateEnum, LoadBalancerTypeEnum,
};

/// Load balancers of one kind. Source: user guide, quotas.
const LOAD_BALANCERS_MAX: usize = 50;
/// Characters of a name. Source: API reference, CreateLoadBalancer.
const NAME_CHARS_MAX: usize = 32;

struct Asked {
    name: String,
    kind: BalancerKind,
    internal: bool,
    places: Vec<Place>,
    groups: Vec<String>,
    tags: Tags,
}

pub async fn create(
    cx: &Context,
    _caller: &Caller,
    input: CreateLoadBalancerInput,
) -> Result<CreateLoadBalancerOutput, Fault> {
    let asked = read(input)?;
    let (made, is_new) = change(cx, |txn| {
        if let Some(known) = same_name(txn.snapshot(), &asked)? {
            return Ok((known, false));
        }
        Ok((put(cx, txn, &asked)?, true))
    })
    .await?;
    let mut shown = shown::load_balancer(cx, &cx.store.snapshot(), &made);
    if is_new {
        let code = Some(LoadBalancerStateEnum::Provisioning);
        shown.state = Some(LoadBalancerState { code, reason: None });
    }
    Ok(CreateLoadBalancerOutput { load_balancers: Some(vec![shown]) })
}

fn read(input: CreateLoadBalancerInput) -> Result<Asked, Fault> {
    let name = input.name.unwrap_or_default();
    check_name("Load balancer name", &name)?;
    if name.starts_with("internal-") {
        return Err(validation("Load balancer name cannot begin with 'internal-'"));
    }
    let kind = match input.r#type {
        None | Some(LoadBalancerTypeEnum::Application) => BalancerKind::Application,
        Some(LoadBalancerTypeEnum::Network) => BalancerKind::Network,
        Some(other) => return Err(not_here(&format!("load balancers of type {}", other.as_str()))),
    };
    check_ip_address_type(input.ip_address_type.as_ref())?;
    if input.ipam_pools.is_some_and(|pools| pools.ipv4_ipam_pool_id.is_some()) {
        return Err(not_here("IpamPools"));
    }
    if input.customer_owned_ipv4_pool.is_some() {
        return Err(not_here("CustomerOwnedIpv4Pool"));
    }
    if input.enable_prefix_for_ipv6_source_nat.is_some_and(|it| it.as_str() == "on") {
        return Err(not_here("EnablePrefixForIpv6SourceNat"));
    }
    Ok(Asked {
        name,
        kind,
        internal: input.scheme == Some(LoadBalancerSchemeEnum::Internal),
        places: subnets::read(kind, input.subnets, input.subnet_mappings)?,
        groups: input.security_groups.unwrap_or_default(),
        tags: tags::RULES.read(input.tags)?,
    })
}

/// Subnets here have no IPv6 ranges, and ELB refuses dualstack for such.
pub fn check_ip_address_type(given: Option<&IpAddressType>) -> Result<(), Fault> {
    match given {
        None | Some(IpAddressType::Ipv4) => Ok(()),
        Some(_) => Err(validation("You must specify subnets with an associated IPv6 CIDR block.")),
    }
}

/// Source: API reference, CreateLoadBalancer and CreateTargetGroup (Name).
pub fn check_name(what: &str, name: &str) -> Result<(), Fault> {
    if name.is_empty() {
        return Err(validation(format!("{what} cannot be blank")));
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(validation(format!(
            "{what} '{name}' cannot be longer than '{NAME_CHARS_MAX}' characters"
        )));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(validation(format!(
            "{what} '{name}' can only contain characters that are alphanumeric characters or \
             hyphens(-)"
        )));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err(validation(format!("{what} '{name}' cannot begin or end with '-'")));
    }
    Ok(())
}

/// A load balancer of this name, if it is what is asked for; another one is in the way.
fn same_name(snapshot: &Snapshot, asked: &Asked) -> Result<Option<LoadBalancer>, Fault> {
    let mut all = snapshot.scan::<LoadBalancer>("").map(|(_, it)| it);
    let Some(known) = all.find(|known| known.name == asked.name) else { return Ok(None) };
    let subnets: BTreeSet<&str> = asked.places.iter().map(|it| it.subnet.as_str()).collect();
    let has: BTreeSet<&str> = known.subnets.iter().map(model::SubnetId::as_str).collect();
    let groups: BTreeSet<&str> = asked.groups.iter().map(String::as_str).collect();
    let has_groups: BTreeSet<&str> =
        known.security_groups.iter().map(model::SecurityGroupId::as_str).collect();
    let same = known.kind == asked.kind
        && known.internal == asked.internal
        && subnets == has
        && (groups.is_empty() || groups == has_groups)
        && known.tags == asked.tags;
    if same {
        return Ok(Some((*known).clone()));
    }
    let text = format!(
        "A load balancer with the same name '{}' exists, but with different settings",
        asked.name
    );
    Err(ErrorCode::DuplicateLoadBalancerNameException.fault(text))
}

fn put(cx: &Context, txn: &mut Txn, asked: &Asked) -> Result<LoadBalancer, Fault> {
    let snapshot = txn.snapshot();
    let alike = snapshot.scan::<LoadBalancer>("").filter(|(_, it)| it.kind == asked.kind).count();
    if alike >= LOAD_BALANCERS_MAX {
        let text = "The maximum number of load balancers has been reached";
        return Err(ErrorCode::TooManyLoadBalancersException.fault(text));
    }
    let found = subnets::check(txn, asked.kind, asked.internal, &asked.places, &[])?;
    let Some(vpc) = found.first().map(|subnet| subnet.vpc.clone()) else {
        return Err(invalid_configuration("At least one subnet must be specified"));
    };
    let security_groups = subnets::security_groups(txn, asked.kind, &vpc, &asked.groups)?;
    let id = LoadBalancerId::mint(cx.random());
    let mut made = LoadBalancer {
        dns_name: dns_name(cx, asked, &id),
        id,
        name: asked.name.clone(),
        kind: asked.kind,
        internal: asked.internal,
        vpc,
        subnets: Vec::new(),
        security_groups,
        interfaces: Vec::new(),
        attributes: std::collections::BTreeMap::new(),
        created_at: cx.now(),
        tags: asked.tags.clone(),
    };
    for (subnet, place) in found.iter().zip(&asked.places) {
        subnets::add(cx, txn, &mut made, subnet, place)?;
    }
    txn.put(made.clone());
    Ok(made)
}

/// As ELB makes them, in lower case: names of DNS have no other.
fn dns_name(cx: &Context, asked: &Asked, id: &LoadBalancerId) -> String {
    let region = &cx.locality.region;
    let name = match asked.kind {
        BalancerKind::Application => {
            let number = 1_000_000_000 + cx.random() % 9_000_000_000;
            let prefix = if asked.internal { "internal-" } else { "" };
            format!("{prefix}{}-{number}.{region}.elb.amazonaws.com", asked.name)
        }
        BalancerKind::Network => format!("{}-{id}.elb.{region}.amazonaws.com", asked.name),
    };
    name.to_ascii_lowercase()
}
