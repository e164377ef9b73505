//! DescribeServiceDeployments: up to twenty deployments by ARN.

use super::clusters;
use super::service::{Tally, deployments};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use wire::ecs::{DescribeServiceDeploymentsRequest, DescribeServiceDeploymentsResponse};

/// Source: API reference, DescribeServiceDeployments.
const DEPLOYMENTS_MAX: usize = 20;

pub async fn describe_service_deployments(
    cx: &Context,
    _caller: &Caller,
    input: DescribeServiceDeploymentsRequest,
) -> Result<DescribeServiceDeploymentsResponse, Fault> {
    let given = input.service_deployment_arns.unwrap_or_default();
    if given.is_empty() || given.len() > DEPLOYMENTS_MAX {
        return Err(invalid_parameter("serviceDeploymentArns should have 1 to 20 items."));
    }
    let snapshot = cx.store.snapshot();
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in &given {
        let (cluster, name, number) = deployments::parse(cx, "service-deployment", arn)?;
        let known = deployments::folded(&snapshot, &cluster, &name);
        let shown = known.and_then(|(service, folded)| {
            let all = deployments::all(&folded);
            let one = all.into_iter().find(|one| deployments::is_numbered(one, &number))?;
            let tally = Tally::of(&snapshot, &service);
            Some(deployments::show(cx, &service, &folded, one, &tally))
        });
        match shown {
            Some(shown) => found.push(shown),
            None => failures.push(clusters::missing(arn.clone())),
        }
    }
    Ok(DescribeServiceDeploymentsResponse {
        service_deployments: Some(found),
        failures: Some(failures),
    })
}
