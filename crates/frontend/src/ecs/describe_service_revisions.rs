//! DescribeServiceRevisions: up to twenty revisions by ARN: what the tasks of a deployment are made
//! of.

use super::clusters;
use super::service::deployments;
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use wire::ecs::{DescribeServiceRevisionsRequest, DescribeServiceRevisionsResponse};

/// Source: API reference, DescribeServiceRevisions.
const REVISIONS_MAX: usize = 20;

pub async fn describe_service_revisions(
    cx: &Context,
    _caller: &Caller,
    input: DescribeServiceRevisionsRequest,
) -> Result<DescribeServiceRevisionsResponse, Fault> {
    let given = input.service_revision_arns.unwrap_or_default();
    if given.is_empty() || given.len() > REVISIONS_MAX {
        return Err(invalid_parameter("serviceRevisionArns should have 1 to 20 items."));
    }
    let snapshot = cx.store.snapshot();
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in &given {
        let (cluster, name, number) = deployments::parse(cx, "service-revision", arn)?;
        let known = deployments::folded(&snapshot, &cluster, &name);
        let shown = known.and_then(|(service, folded)| {
            let all = deployments::all(&folded);
            let one = all.into_iter().find(|one| one.revision_number.to_string() == number)?;
            Some(deployments::revision(cx, &service, one))
        });
        match shown {
            Some(shown) => found.push(shown),
            None => failures.push(clusters::missing(arn.clone())),
        }
    }
    Ok(DescribeServiceRevisionsResponse {
        service_revisions: Some(found),
        failures: Some(failures),
    })
}
