//! DescribeAccountLimits and DescribeCapacityReservation.

use super::{nouns, page};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::elbv2;

/// The quotas that are held here. Source: user guides, quotas.
const LIMITS: &[(&str, u32)] = &[
    ("application-load-balancers", 50),
    ("certificates-per-application-load-balancer", 25),
    ("condition-values-per-alb-rule", 5),
    ("listeners-per-application-load-balancer", 50),
    ("listeners-per-network-load-balancer", 50),
    ("network-load-balancers", 50),
    ("rules-per-application-load-balancer", 100),
    ("target-groups", 3000),
    ("target-groups-per-action-on-application-load-balancer", 5),
    ("target-groups-per-application-load-balancer", 100),
    ("targets-per-target-group", 1000),
];

pub async fn describe_limits(
    _cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeAccountLimitsInput,
) -> Result<elbv2::DescribeAccountLimitsOutput, Fault> {
    let limits = LIMITS.iter().map(|(name, max)| elbv2::Limit {
        name: Some((*name).to_owned()),
        max: Some(max.to_string()),
    });
    let key = |it: &elbv2::Limit| it.name.clone().unwrap_or_default();
    let request = ["DescribeAccountLimits"];
    let (limits, next_marker) =
        page(&request, limits.collect(), key, input.marker.as_deref(), input.page_size)?;
    Ok(elbv2::DescribeAccountLimitsOutput { limits: Some(limits), next_marker })
}

/// Nobody can reserve capacity: none is.
pub async fn describe_capacity_reservation(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeCapacityReservationInput,
) -> Result<elbv2::DescribeCapacityReservationOutput, Fault> {
    let arn = input.load_balancer_arn.unwrap_or_default();
    nouns::load_balancer(cx, &cx.store.snapshot(), &arn)?;
    Ok(elbv2::DescribeCapacityReservationOutput {
        capacity_reservation_state: Some(Vec::new()),
        decrease_requests_remaining: Some(2),
        last_modified_time: None,
        minimum_load_balancer_capacity: None,
    })
}
