//! RegisterTargets and DeregisterTargets: by hand, what services do for their tasks. A target that
//! is deregistered drains first, if anybody may be sent to it: the targets reconciler removes it.

use super::{change, nouns, usage, validation};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::balancing::{Target, TargetGroup, TargetHealth, TargetKind};
use model::network::{Cidr, Subnet, Vpc};
use std::net::Ipv4Addr;
use store::kinds::{target_key, target_prefix};
use store::{Snapshot, Txn};
use wire::elbv2;
use wire::elbv2::{ErrorCode, TargetDescription};

/// Targets of one group. Source: user guide, quotas.
const TARGETS_MAX: usize = 1000;
/// Targets of one transaction; the store's bound is 128 records, and one that goes takes its
/// health along.
const AT_ONCE_MAX: usize = 50;
/// Where addresses outside of the VPC may lie. Source: API reference, CreateTargetGroup
/// (TargetType).
const OUTSIDE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

pub async fn register(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::RegisterTargetsInput,
) -> Result<elbv2::RegisterTargetsOutput, Fault> {
    let arn = input.target_group_arn.unwrap_or_default();
    let given = input.targets.unwrap_or_default();
    // All are looked at before the first is registered: more than a few take several transactions.
    let snapshot = cx.store.snapshot();
    let group = nouns::target_group(cx, &snapshot, &arn)?;
    for one in &given {
        read(cx, &snapshot, &group, one)?;
    }
    if given.is_empty() {
        return Err(validation("At least one target must be specified"));
    }
    for some in given.chunks(AT_ONCE_MAX) {
        change(cx, |txn| register_some(cx, txn, &arn, some)).await?;
    }
    Ok(elbv2::RegisterTargetsOutput {})
}

fn register_some(
    cx: &Context,
    txn: &mut Txn,
    arn: &str,
    given: &[TargetDescription],
) -> Result<(), Fault> {
    let snapshot = txn.snapshot().clone();
    let group = nouns::target_group(cx, &snapshot, arn)?;
    let mut count = snapshot.scan::<Target>(&target_prefix(&group.id)).count();
    for one in given {
        let target = read(cx, &snapshot, &group, one)?;
        let key = target_key(&target.group, &target.id, target.port);
        match txn.get::<Target>(&key) {
            // Registered again, it is as it was; one that is leaving begins anew.
            Some(known) if known.draining_since.is_none() => continue,
            Some(_) => txn.delete::<TargetHealth>(&key),
            None => count += 1,
        }
        if count > TARGETS_MAX {
            let text = format!("Target group '{arn}' can have at most '{TARGETS_MAX}' targets");
            return Err(ErrorCode::TooManyTargetsException.fault(text));
        }
        txn.put(target);
    }
    Ok(())
}

/// The target a call means, checked.
fn read(
    cx: &Context,
    snapshot: &Snapshot,
    group: &TargetGroup,
    given: &TargetDescription,
) -> Result<Target, Fault> {
    let id = given.id.clone().unwrap_or_default();
    if given.quic_server_id.is_some() {
        return Err(super::not_here("QuicServerId"));
    }
    if group.kind == TargetKind::Instance {
        // There are no instances that users could name.
        if !id.starts_with("i-") {
            return Err(validation(format!("Instance ID '{id}' is not valid")));
        }
        let text = format!(
            "The following targets are not in a running state and cannot be registered: '{id}'"
        );
        return Err(ErrorCode::InvalidTargetException.fault(text));
    }
    let Ok(address) = id.parse::<Ipv4Addr>() else {
        return Err(validation(format!("The IP address '{id}' is not a valid IPv4 address")));
    };
    let vpc = snapshot.get::<Vpc>(group.vpc.as_str());
    let inside = vpc.is_some_and(|vpc| vpc.cidrs().any(|range| range.contains(address)));
    let asked = given.availability_zone.as_deref().filter(|zone| !zone.is_empty());
    let zone = match (inside, asked) {
        (true, _) => {
            let mut subnets = snapshot.scan::<Subnet>("").map(|(_, it)| it);
            let of = subnets.find(|it| it.vpc == group.vpc && it.cidr.contains(address));
            of.map(|subnet| subnet.zone.to_string())
        }
        (false, Some("all")) => {
            let allowed = |(base, prefix): &(Ipv4Addr, u8)| {
                Cidr { address: *base, prefix: *prefix }.contains(address)
            };
            if !OUTSIDE.iter().any(allowed) {
                let text = format!("The IP address '{id}' is not within an allowed range");
                return Err(validation(text));
            }
            Some("all".to_owned())
        }
        (false, _) => {
            let text = format!(
                "You must specify 'all' for the Availability Zone of the IP address '{id}', as it \
                 is outside the VPC '{}'",
                group.vpc
            );
            return Err(validation(text));
        }
    };
    Ok(Target {
        group: group.id.clone(),
        id,
        address,
        port: port(given).unwrap_or(group.port),
        zone,
        task: None,
        registered_at: cx.now(),
        draining_since: None,
    })
}

pub fn port(given: &TargetDescription) -> Option<u16> {
    given.port.and_then(|port| u16::try_from(port).ok())
}

/// Deregistering what is not registered succeeds; without a port, all of the id go. Source: API
/// reference, DeregisterTargets.
pub async fn deregister(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DeregisterTargetsInput,
) -> Result<elbv2::DeregisterTargetsOutput, Fault> {
    let arn = input.target_group_arn.unwrap_or_default();
    let given = input.targets.unwrap_or_default();
    let named = |target: &Target| {
        given.iter().any(|one| {
            one.id.as_ref() == Some(&target.id) && port(one).is_none_or(|port| port == target.port)
        })
    };
    let done = || {
        change(cx, |txn| {
            let snapshot = txn.snapshot().clone();
            let group = nouns::target_group(cx, &snapshot, &arn)?;
            let is_used = usage::used(&snapshot).contains_key(&group.id);
            let prefix = target_prefix(&group.id);
            let mut left = snapshot
                .scan::<Target>(&prefix)
                .filter(|(_, it)| named(it) && it.draining_since.is_none());
            for (key, target) in left.by_ref().take(AT_ONCE_MAX) {
                txn.get::<Target>(key);
                if is_used {
                    let draining_since = Some(cx.now());
                    txn.put(Target { draining_since, ..(*target).clone() });
                } else {
                    txn.delete::<Target>(key);
                    txn.delete::<TargetHealth>(key);
                }
            }
            Ok(left.next().is_none())
        })
    };
    nouns::target_group(cx, &cx.store.snapshot(), &arn)?;
    while !done().await? {}
    Ok(elbv2::DeregisterTargetsOutput {})
}
