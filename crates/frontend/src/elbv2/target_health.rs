//! DescribeTargetHealth: what balancers found, in ELB's words. `unused` and `draining` follow from
//! the records of actions and targets; the rest is what the balancer reported.
//! Source: user guide, "Health checks for your target groups" (target health status, reason codes).

use super::{nouns, targets, usage};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::balancing::{
    BalancerKind, LoadBalancer, Target, TargetGroup, TargetHealth, TargetState,
};
use store::Snapshot;
use store::kinds::{target_key, target_prefix};
use wire::Choice;
use wire::elbv2;
use wire::elbv2::{
    DescribeTargetHealthInput, DescribeTargetHealthInputIncludeEnum, DescribeTargetHealthOutput,
    TargetDescription, TargetHealthDescription, TargetHealthReasonEnum as Reason,
    TargetHealthStateEnum as State,
};

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: DescribeTargetHealthInput,
) -> Result<DescribeTargetHealthOutput, Fault> {
    let arn = input.target_group_arn.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    let group = nouns::target_group(cx, &snapshot, &arn)?;
    let used = usage::used(&snapshot);
    let users = used.get(&group.id);
    let mut balancers =
        users.into_iter().flatten().filter_map(|id| snapshot.get::<LoadBalancer>(id.as_str()));
    let by_application = balancers.any(|it| it.kind == BalancerKind::Application);
    let wants_anomalies = input.include.is_some_and(|all| {
        let wanted = |it: &DescribeTargetHealthInputIncludeEnum| {
            matches!(it.as_str(), "AnomalyDetection" | "All")
        };
        all.iter().any(wanted)
    });
    let look = Look {
        snapshot: &snapshot,
        group: &group,
        is_used: users.is_some(),
        anomalies: wants_anomalies && by_application,
    };
    let all: Vec<_> =
        snapshot.scan::<Target>(&target_prefix(&group.id)).map(|(_, it)| it).collect();
    let mut shown = Vec::new();
    match input.targets.filter(|targets| !targets.is_empty()) {
        None => shown.extend(all.iter().map(|target| look.registered(target))),
        Some(asked) => {
            for one in asked {
                let port = targets::port(&one);
                let known = all.iter().filter(|it| {
                    Some(&it.id) == one.id.as_ref() && port.is_none_or(|port| port == it.port)
                });
                let found: Vec<_> = known.map(|target| look.registered(target)).collect();
                if found.is_empty() {
                    shown.push(look.unknown(one));
                }
                shown.extend(found);
            }
        }
    }
    Ok(DescribeTargetHealthOutput { target_health_descriptions: Some(shown) })
}

struct Look<'a> {
    snapshot: &'a Snapshot,
    group: &'a TargetGroup,
    is_used: bool,
    anomalies: bool,
}

impl Look<'_> {
    fn registered(&self, target: &Target) -> TargetHealthDescription {
        let key = target_key(&target.group, &target.id, target.port);
        let found = self.snapshot.get::<TargetHealth>(&key).map(|found| found.value);
        let check = self.group.health_check.port.unwrap_or(target.port);
        TargetHealthDescription {
            administrative_override: Some(elbv2::AdministrativeOverride {
                state: Some(elbv2::TargetAdministrativeOverrideStateEnum::NoOverride),
                reason: Some(
                    elbv2::TargetAdministrativeOverrideReasonEnum::AdministrativeOverrideNoOverride,
                ),
                description: Some("No override is currently active on target".to_owned()),
            }),
            anomaly_detection: self.anomalies.then_some(elbv2::AnomalyDetection {
                result: Some(elbv2::AnomalyResultEnum::Normal),
                mitigation_in_effect: Some(elbv2::MitigationInEffectEnum::No),
            }),
            health_check_port: Some(check.to_string()),
            target: Some(TargetDescription {
                id: Some(target.id.clone()),
                port: Some(i32::from(target.port)),
                availability_zone: target.zone.clone(),
                quic_server_id: None,
            }),
            target_health: Some(state(target, self.is_used, found.as_deref())),
        }
    }

    fn unknown(&self, asked: TargetDescription) -> TargetHealthDescription {
        let port = targets::port(&asked).unwrap_or(self.group.port);
        TargetHealthDescription {
            health_check_port: Some(self.group.health_check.port.unwrap_or(port).to_string()),
            target: Some(TargetDescription { port: Some(i32::from(port)), ..asked }),
            target_health: Some(health(
                State::Unused,
                Reason::TargetNotRegistered,
                "Target is not registered to the target group",
            )),
            ..Default::default()
        }
    }
}

fn health(state: State, reason: Reason, description: &str) -> elbv2::TargetHealth {
    elbv2::TargetHealth {
        state: Some(state),
        reason: Some(reason),
        description: Some(description.to_owned()),
    }
}

fn state(target: &Target, is_used: bool, found: Option<&TargetHealth>) -> elbv2::TargetHealth {
    if target.draining_since.is_some() {
        let text = "Target deregistration is in progress";
        return health(State::Draining, Reason::TargetDeregistrationInProgress, text);
    }
    if !is_used {
        let text = "Target group is not configured to receive traffic from the load balancer";
        return health(State::Unused, Reason::TargetNotInUse, text);
    }
    // What was found before it registered again is not about this registration.
    let found = found.filter(|found| found.since >= target.registered_at);
    let Some(found) = found else {
        let text = "Target registration is in progress";
        return health(State::Initial, Reason::ElbRegistrationInProgress, text);
    };
    let reason = found.reason.as_deref().map(Reason::parse);
    let description = found.description.clone();
    match found.state {
        TargetState::Healthy => {
            elbv2::TargetHealth { state: Some(State::Healthy), reason, description }
        }
        TargetState::Unhealthy => elbv2::TargetHealth {
            state: Some(State::Unhealthy),
            reason: reason.or(Some(Reason::TargetFailedHealthChecks)),
            description: description.or_else(|| Some("Health checks failed".to_owned())),
        },
        TargetState::Initial => elbv2::TargetHealth {
            state: Some(State::Initial),
            reason: reason.or(Some(Reason::ElbInitialHealthChecking)),
            description: description
                .or_else(|| Some("Initial health checks in progress".to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{TargetGroupId, Timestamp};
    use std::net::Ipv4Addr;

    #[test]
    fn a_state_follows_from_records() {
        let target = Target {
            group: TargetGroupId::from("0123456789abcdef"),
            id: "10.0.0.4".to_owned(),
            address: Ipv4Addr::new(10, 0, 0, 4),
            port: 80,
            zone: None,
            task: None,
            registered_at: Timestamp(10),
            draining_since: None,
        };
        let found = |state, since| TargetHealth {
            group: target.group.clone(),
            id: target.id.clone(),
            port: 80,
            state,
            reason: None,
            description: None,
            since: Timestamp(since),
            drained: false,
        };
        let say = |target: &Target, used, found: Option<&TargetHealth>| {
            let it = state(target, used, found);
            let reason = it.reason.map(|it| it.as_str().to_owned()).unwrap_or_default();
            (it.state.map(|it| it.as_str().to_owned()).unwrap_or_default(), reason)
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let healthy = found(TargetState::Healthy, 10);
        assert_eq!(say(&target, true, Some(&healthy)), pair("healthy", ""));
        assert_eq!(say(&target, false, Some(&healthy)), pair("unused", "Target.NotInUse"));
        let early = found(TargetState::Healthy, 9);
        let registering = pair("initial", "Elb.RegistrationInProgress");
        assert_eq!(say(&target, true, Some(&early)), registering);
        assert_eq!(say(&target, true, None), registering);
        let first = found(TargetState::Initial, 10);
        assert_eq!(say(&target, true, Some(&first)), pair("initial", "Elb.InitialHealthChecking"));
        let bad = found(TargetState::Unhealthy, 12);
        assert_eq!(say(&target, true, Some(&bad)), pair("unhealthy", "Target.FailedHealthChecks"));
        let draining = Target { draining_since: Some(Timestamp(12)), ..target.clone() };
        let leaving = pair("draining", "Target.DeregistrationInProgress");
        assert_eq!(say(&draining, true, Some(&healthy)), leaving);
    }
}
