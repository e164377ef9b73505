//! How ELB shows its nouns.

use super::{conditions, nouns, subnets, time};
use crate::context::Context;
use model::balancing::{
    Action, BalancerKind, Listener, LoadBalancer, Protocol, ProtocolVersion, Rule, TargetGroup,
    TargetKind,
};
use model::network::Subnet;
use model::{LoadBalancerId, TargetGroupId};
use std::collections::BTreeSet;
use store::Snapshot;
use wire::elbv2;

/// The hosted zones of load balancers' names, those of us-east-1 whatever our region is called:
/// alias records that would need them are nowhere here. Source: AWS general reference, endpoints.
const APPLICATION_ZONE: &str = "Z35SXDOTRQ7X7K";
const NETWORK_ZONE: &str = "Z26RNL4JYFTOTI";

pub fn load_balancer(cx: &Context, snapshot: &Snapshot, it: &LoadBalancer) -> elbv2::LoadBalancer {
    let is_network = it.kind == BalancerKind::Network;
    let zones = it.subnets.iter().enumerate().map(|(at, id)| {
        let address = subnets::elastic(snapshot, it, at).map(|public| elbv2::LoadBalancerAddress {
            ip_address: Some(public.ip.to_string()),
            allocation_id: public.allocation.map(|id| id.to_string()),
            ..Default::default()
        });
        elbv2::AvailabilityZone {
            zone_name: snapshot.get::<Subnet>(id.as_str()).map(|subnet| subnet.zone.to_string()),
            subnet_id: Some(id.to_string()),
            load_balancer_addresses: Some(address.into_iter().collect()),
            ..Default::default()
        }
    });
    let mut zones: Vec<_> = zones.collect();
    zones.sort_by(|a, b| a.zone_name.cmp(&b.zone_name));
    let has_groups = !it.security_groups.is_empty();
    elbv2::LoadBalancer {
        availability_zones: Some(zones),
        canonical_hosted_zone_id: Some(
            if is_network { NETWORK_ZONE } else { APPLICATION_ZONE }.to_owned(),
        ),
        created_time: time(it.created_at),
        dns_name: Some(it.dns_name.clone()),
        enforce_security_group_inbound_rules_on_private_link_traffic: (is_network && has_groups)
            .then(|| "on".to_owned()),
        ip_address_type: Some(elbv2::IpAddressType::Ipv4),
        load_balancer_arn: Some(it.arn(&cx.locality)),
        load_balancer_name: Some(it.name.clone()),
        scheme: Some(match it.internal {
            true => elbv2::LoadBalancerSchemeEnum::Internal,
            false => elbv2::LoadBalancerSchemeEnum::InternetFacing,
        }),
        security_groups: has_groups
            .then(|| it.security_groups.iter().map(ToString::to_string).collect()),
        state: Some(elbv2::LoadBalancerState {
            code: Some(elbv2::LoadBalancerStateEnum::Active),
            reason: None,
        }),
        r#type: Some(match it.kind {
            BalancerKind::Application => elbv2::LoadBalancerTypeEnum::Application,
            BalancerKind::Network => elbv2::LoadBalancerTypeEnum::Network,
        }),
        vpc_id: Some(it.vpc.to_string()),
        ..Default::default()
    }
}

pub fn protocol(it: Protocol) -> elbv2::ProtocolEnum {
    match it {
        Protocol::Http => elbv2::ProtocolEnum::Http,
        Protocol::Https => elbv2::ProtocolEnum::Https,
        Protocol::Tcp => elbv2::ProtocolEnum::Tcp,
    }
}

/// `users` are the load balancers whose actions lead to it.
pub fn target_group(
    cx: &Context,
    snapshot: &Snapshot,
    it: &TargetGroup,
    users: Option<&BTreeSet<LoadBalancerId>>,
) -> elbv2::TargetGroup {
    let count = |number: u32| i32::try_from(number).ok();
    let check = &it.health_check;
    let is_http = check.protocol != Protocol::Tcp;
    let matcher = match it.version {
        ProtocolVersion::Grpc => {
            elbv2::Matcher { grpc_code: Some(check.matcher.clone()), http_code: None }
        }
        _ => elbv2::Matcher { grpc_code: None, http_code: Some(check.matcher.clone()) },
    };
    let users = users.into_iter().flatten();
    let balancers = users.filter_map(|id| snapshot.get::<LoadBalancer>(id.as_str()));
    elbv2::TargetGroup {
        health_check_enabled: Some(check.enabled),
        health_check_interval_seconds: count(check.interval_seconds),
        health_check_path: is_http.then(|| check.path.clone()),
        health_check_port: Some(
            check.port.map_or_else(|| "traffic-port".to_owned(), |port| port.to_string()),
        ),
        health_check_protocol: Some(protocol(check.protocol)),
        health_check_timeout_seconds: count(check.timeout_seconds),
        healthy_threshold_count: count(check.healthy_threshold),
        ip_address_type: Some(elbv2::TargetGroupIpAddressTypeEnum::Ipv4),
        load_balancer_arns: Some(balancers.map(|it| it.arn(&cx.locality)).collect()),
        matcher: is_http.then_some(matcher),
        port: Some(i32::from(it.port)),
        protocol: Some(protocol(it.protocol)),
        protocol_version: (it.protocol != Protocol::Tcp).then(|| {
            match it.version {
                ProtocolVersion::Http1 => "HTTP1",
                ProtocolVersion::Http2 => "HTTP2",
                ProtocolVersion::Grpc => "GRPC",
            }
            .to_owned()
        }),
        target_group_arn: Some(it.arn(&cx.locality)),
        target_group_name: Some(it.name.clone()),
        target_type: Some(match it.kind {
            TargetKind::Ip => elbv2::TargetTypeEnum::Ip,
            TargetKind::Instance => elbv2::TargetTypeEnum::Instance,
        }),
        unhealthy_threshold_count: count(check.unhealthy_threshold),
        vpc_id: Some(it.vpc.to_string()),
        ..Default::default()
    }
}

pub fn listener(
    cx: &Context,
    snapshot: &Snapshot,
    balancer: &LoadBalancer,
    it: &Listener,
) -> elbv2::Listener {
    let first = it
        .certificates
        .first()
        .map(|arn| elbv2::Certificate { certificate_arn: Some(arn.clone()), is_default: None });
    let is_https = it.protocol == Protocol::Https;
    elbv2::Listener {
        certificates: first.map(|first| vec![first]),
        default_actions: Some(actions(cx, snapshot, &it.default_actions, it.action_order)),
        listener_arn: Some(it.arn(&cx.locality, balancer)),
        load_balancer_arn: Some(balancer.arn(&cx.locality)),
        mutual_authentication: is_https.then(|| elbv2::MutualAuthenticationAttributes {
            mode: Some("off".to_owned()),
            ..Default::default()
        }),
        port: Some(i32::from(it.port)),
        protocol: Some(protocol(it.protocol)),
        ssl_policy: it.ssl_policy.clone(),
        ..Default::default()
    }
}

pub fn rule(
    cx: &Context,
    snapshot: &Snapshot,
    balancer: &LoadBalancer,
    listener: &Listener,
    it: &Rule,
) -> elbv2::Rule {
    elbv2::Rule {
        actions: Some(actions(cx, snapshot, &it.actions, it.action_order)),
        conditions: Some(it.conditions.iter().map(conditions::show).collect()),
        is_default: Some(false),
        priority: Some(it.priority.to_string()),
        rule_arn: Some(nouns::rule_arn(cx, balancer, listener, &it.id)),
        transforms: Some(Vec::new()),
    }
}

pub fn default_rule(
    cx: &Context,
    snapshot: &Snapshot,
    balancer: &LoadBalancer,
    listener: &Listener,
) -> elbv2::Rule {
    let actions = actions(cx, snapshot, &listener.default_actions, listener.action_order);
    let id = nouns::default_rule(listener);
    elbv2::Rule {
        actions: Some(actions),
        conditions: Some(Vec::new()),
        is_default: Some(true),
        priority: Some("default".to_owned()),
        rule_arn: Some(nouns::rule_arn(cx, balancer, listener, &id)),
        transforms: Some(Vec::new()),
    }
}

fn actions(
    cx: &Context,
    snapshot: &Snapshot,
    all: &[Action],
    order: Option<u32>,
) -> Vec<elbv2::Action> {
    let order = order.and_then(|order| i32::try_from(order).ok());
    let one = |action| elbv2::Action { order, ..show_action(cx, snapshot, action) };
    all.iter().map(one).collect()
}

fn show_action(cx: &Context, snapshot: &Snapshot, action: &Action) -> elbv2::Action {
    let some = |text: &String| Some(text.clone());
    match action {
        Action::Forward(forward) => {
            // A group can't go while an action leads to it.
            let arn = |id: &TargetGroupId| {
                snapshot.get::<TargetGroup>(id.as_str()).map(|it| it.arn(&cx.locality))
            };
            let tuple = |(id, weight): &(TargetGroupId, u32)| elbv2::TargetGroupTuple {
                target_group_arn: arn(id),
                weight: i32::try_from(*weight).ok(),
            };
            let only = match forward.groups.as_slice() {
                [(id, _)] => arn(id),
                _ => None,
            };
            elbv2::Action {
                r#type: Some(elbv2::ActionTypeEnum::Forward),
                target_group_arn: only,
                forward_config: Some(elbv2::ForwardActionConfig {
                    target_groups: Some(forward.groups.iter().map(tuple).collect()),
                    target_group_stickiness_config: Some(elbv2::TargetGroupStickinessConfig {
                        enabled: Some(forward.sticky_seconds.is_some()),
                        duration_seconds: forward
                            .sticky_seconds
                            .or(forward.unsticky_seconds)
                            .and_then(|seconds| i32::try_from(seconds).ok()),
                    }),
                }),
                ..Default::default()
            }
        }
        Action::Redirect(it) => elbv2::Action {
            r#type: Some(elbv2::ActionTypeEnum::Redirect),
            redirect_config: Some(elbv2::RedirectActionConfig {
                protocol: some(&it.protocol),
                host: some(&it.host),
                port: some(&it.port),
                path: some(&it.path),
                query: some(&it.query),
                status_code: Some(match it.status {
                    301 => elbv2::RedirectActionStatusCodeEnum::Http301,
                    _ => elbv2::RedirectActionStatusCodeEnum::Http302,
                }),
            }),
            ..Default::default()
        },
        Action::Fixed(it) => elbv2::Action {
            r#type: Some(elbv2::ActionTypeEnum::FixedResponse),
            fixed_response_config: Some(elbv2::FixedResponseActionConfig {
                status_code: Some(it.status.to_string()),
                content_type: it.content_type.clone(),
                message_body: (!it.body.is_empty()).then(|| it.body.clone()),
            }),
            ..Default::default()
        },
    }
}
