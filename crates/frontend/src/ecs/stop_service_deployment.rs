//! StopServiceDeployment: gives a rollout up that is under way, back to the newest deployment that
//! was complete.

use super::service::{self, deployments};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use model::service::{Abort, Rollout};
use wire::ecs::{self, StopServiceDeploymentRequest, StopServiceDeploymentResponse};

pub async fn stop_service_deployment(
    cx: &Context,
    _caller: &Caller,
    input: StopServiceDeploymentRequest,
) -> Result<StopServiceDeploymentResponse, Fault> {
    let arn = input.service_deployment_arn.unwrap_or_default();
    let rollback = match input.stop_type {
        None | Some(ecs::StopServiceDeploymentStopType::Rollback) => true,
        Some(ecs::StopServiceDeploymentStopType::Abort) => false,
        Some(_) => return Err(invalid_parameter("stopType should be one of [ABORT,ROLLBACK]")),
    };
    let (cluster, name, number) = deployments::parse(cx, "service-deployment", &arn)?;
    cx.transact(|txn| {
        let (known, progress) = service::active_in(txn, &cluster, &name)?;
        let folded = plan::service::fold(&known, progress.as_deref());
        let all = deployments::all(&folded);
        let one = all.iter().find(|one| deployments::is_numbered(one, &number));
        let one = one.ok_or_else(|| {
            ecs::ErrorCode::ServiceDeploymentNotFoundException
                .fault("The service deployment was not found.")
        })?;
        if one.rollout != Rollout::InProgress {
            return Err(ecs::ErrorCode::ConflictException
                .fault("The service deployment is not in progress."));
        }
        let mut changed = (*known).clone();
        changed.abort = Some(Abort { deployment: one.id.clone(), rollback });
        txn.put(changed);
        Ok(())
    })
    .await?;
    Ok(StopServiceDeploymentResponse { service_deployment_arn: Some(arn) })
}
