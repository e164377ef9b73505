//! Service deployments and service revisions: the same deployments as DescribeServices shows, under
//! ARNs of their own and with those that are over. A deployment that was rolled back to keeps its
//! number.

use super::{Tally, arn, connect, is_over, launch, load_balancers, network, registries};
use crate::context::Context;
use crate::ecs::{names, time};
use crate::fault::{Fault, invalid_parameter};
use model::service::{Deployment, Rollout, Service, ServiceProgress};
use model::{ClusterName, ServiceName};
use std::sync::Arc;
use store::Snapshot;
use store::kinds::service_key;
use wire::ecs;

pub fn deployment_arn(cx: &Context, service: &Service, deployment: &Deployment) -> String {
    let id = deployment_number(deployment);
    let resource = format!("service-deployment/{}/{}/{id}", service.cluster, service.name);
    cx.locality.arn("ecs", &resource)
}

/// Deployment ids are `ecs-svc/NUMBER`; their ARNs have the number.
fn deployment_number(deployment: &Deployment) -> &str {
    let id = deployment.id.as_str();
    id.rsplit_once('/').map_or(id, |(_, number)| number)
}

pub fn revision_arn(cx: &Context, service: &Service, deployment: &Deployment) -> String {
    let number = deployment.revision_number;
    let resource = format!("service-revision/{}/{}/{number}", service.cluster, service.name);
    cx.locality.arn("ecs", &resource)
}

/// The deployment that goes on, if one does.
pub fn current(cx: &Context, service: &Service, folded: &ServiceProgress) -> Option<String> {
    let primary = folded.primary().filter(|primary| !is_over(primary.rollout))?;
    Some(deployment_arn(cx, service, primary))
}

pub fn revisions(
    cx: &Context,
    service: &Service,
    folded: &ServiceProgress,
    tally: &Tally,
) -> Vec<ecs::ServiceCurrentRevisionSummary> {
    let shown = folded.deployments.iter().enumerate().map(|(at, deployment)| {
        let (running, pending) = tally.at(deployment);
        let requested = i32::try_from(service.desired_count).unwrap_or(i32::MAX);
        ecs::ServiceCurrentRevisionSummary {
            arn: Some(revision_arn(cx, service, deployment)),
            requested_task_count: Some(if at == 0 { requested } else { 0 }),
            running_task_count: Some(running),
            pending_task_count: Some(pending),
        }
    });
    shown.collect()
}

/// Every deployment on record, the newest first.
pub fn all(folded: &ServiceProgress) -> Vec<&Deployment> {
    let mut all: Vec<_> = folded.deployments.iter().chain(&folded.finished).collect();
    all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    all
}

/// A service and a number of one of its deployments or revisions, out of such an ARN.
pub fn parse(
    cx: &Context,
    kind: &str,
    text: &str,
) -> Result<(ClusterName, ServiceName, String), Fault> {
    let found = names::ours(&cx.locality, text)?;
    let rest = match found.kind_and_rest() {
        Some((of, rest)) if of == kind => rest,
        Some((of, _)) => {
            return Err(invalid_parameter(format!("Unsupported resource type: {of}")));
        }
        None => return Err(bad_arn()),
    };
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        [cluster, service, number] => {
            Ok((ClusterName::from(*cluster), ServiceName::from(*service), (*number).to_owned()))
        }
        _ => Err(bad_arn()),
    }
}

fn bad_arn() -> Fault {
    invalid_parameter("Invalid identifier: Unexpected number of separators")
}

/// The service with its progress folded in.
pub fn folded(
    snapshot: &Snapshot,
    cluster: &ClusterName,
    name: &ServiceName,
) -> Option<(Arc<Service>, ServiceProgress)> {
    let key = service_key(cluster, name);
    let service = snapshot.get::<Service>(&key)?.value;
    let progress = snapshot.get::<ServiceProgress>(&key);
    let folded = plan::service::fold(&service, progress.as_deref());
    Some((service, folded))
}

pub fn is_numbered(deployment: &Deployment, number: &str) -> bool {
    deployment_number(deployment) == number
}

pub fn status(deployment: &Deployment) -> ecs::ServiceDeploymentStatus {
    use ecs::ServiceDeploymentStatus as Status;
    match (deployment.rollout, &deployment.rolled_back_to) {
        (Rollout::InProgress, _) => Status::InProgress,
        (Rollout::Completed, _) => Status::Successful,
        (Rollout::Failed, Some(_)) => Status::RollbackSuccessful,
        (Rollout::Failed, None) => Status::Stopped,
    }
}

pub fn brief(
    cx: &Context,
    service: &Service,
    deployment: &Deployment,
) -> ecs::ServiceDeploymentBrief {
    ecs::ServiceDeploymentBrief {
        service_deployment_arn: Some(deployment_arn(cx, service, deployment)),
        service_arn: Some(arn(cx, service)),
        cluster_arn: Some(cx.locality.cluster(&service.cluster)),
        created_at: Some(time(deployment.created_at)),
        started_at: Some(time(deployment.created_at)),
        finished_at: deployment.finished_at.map(time),
        target_service_revision_arn: Some(revision_arn(cx, service, deployment)),
        status: Some(status(deployment)),
        status_reason: is_over(deployment.rollout).then(|| deployment.rollout_reason.clone()),
    }
}

pub fn show(
    cx: &Context,
    service: &Service,
    folded: &ServiceProgress,
    deployment: &Deployment,
    tally: &Tally,
) -> ecs::ServiceDeployment {
    let (running, pending) = tally.at(deployment);
    let summary = |deployment: &Deployment, requested: u32| ecs::ServiceRevisionSummary {
        arn: Some(revision_arn(cx, service, deployment)),
        requested_task_count: i32::try_from(requested).ok(),
        running_task_count: Some(running),
        pending_task_count: Some(pending),
        ..Default::default()
    };
    let threshold = plan::service::breaker_threshold(service.desired_count);
    let monitored = match (service.rules.circuit_breaker, deployment.rollout) {
        (false, _) => ecs::ServiceDeploymentRollbackMonitorsStatus::Disabled,
        (true, Rollout::InProgress) => ecs::ServiceDeploymentRollbackMonitorsStatus::Monitoring,
        (true, Rollout::Failed) => ecs::ServiceDeploymentRollbackMonitorsStatus::Triggered,
        (true, Rollout::Completed) => {
            ecs::ServiceDeploymentRollbackMonitorsStatus::MonitoringComplete
        }
    };
    let back = deployment.rolled_back_to.as_ref();
    let back = back.and_then(|id| all(folded).into_iter().find(|known| known.id == *id));
    ecs::ServiceDeployment {
        service_deployment_arn: Some(deployment_arn(cx, service, deployment)),
        service_arn: Some(arn(cx, service)),
        cluster_arn: Some(cx.locality.cluster(&service.cluster)),
        created_at: Some(time(deployment.created_at)),
        started_at: Some(time(deployment.created_at)),
        finished_at: deployment.finished_at.map(time),
        updated_at: Some(time(deployment.updated_at)),
        source_service_revisions: Some(Vec::new()),
        target_service_revision: Some(summary(deployment, service.desired_count)),
        status: Some(status(deployment)),
        status_reason: is_over(deployment.rollout).then(|| deployment.rollout_reason.clone()),
        deployment_configuration: Some(super::configuration(service)),
        deployment_circuit_breaker: Some(ecs::ServiceDeploymentCircuitBreaker {
            status: Some(monitored),
            failure_count: i32::try_from(deployment.failed_in_a_row).ok(),
            threshold: i32::try_from(threshold).ok(),
        }),
        rollback: back.map(|back| ecs::Rollback {
            reason: Some(deployment.rollout_reason.clone()),
            started_at: deployment.finished_at.map(time),
            service_revision_arn: Some(revision_arn(cx, service, back)),
        }),
        ..Default::default()
    }
}

pub fn revision(cx: &Context, service: &Service, deployment: &Deployment) -> ecs::ServiceRevision {
    let template = &deployment.template;
    let launched = launch(template);
    ecs::ServiceRevision {
        service_revision_arn: Some(revision_arn(cx, service, deployment)),
        service_arn: Some(arn(cx, service)),
        cluster_arn: Some(cx.locality.cluster(&service.cluster)),
        task_definition: Some(cx.locality.task_definition(&template.family, template.revision)),
        capacity_provider_strategy: launched.strategy,
        launch_type: launched.launch_type,
        platform_version: Some(template.platform_version.clone()),
        platform_family: Some("Linux".to_owned()),
        network_configuration: Some(network(&template.network)),
        load_balancers: Some(load_balancers(template)),
        service_registries: Some(registries(template)),
        service_connect_configuration: connect(template),
        created_at: Some(time(deployment.created_at)),
        ..Default::default()
    }
}
