//! Services: how one is found and shown. What callers want is one record, how far it has come
//! another; `plan::service::fold` puts them together, so that what a call answers already has the
//! deployment it began.

pub mod deployments;
pub mod read;

use super::{names, strategy, time};
use crate::context::Context;
use crate::fault::{Fault, invalid_parameter};
use crate::tagging;
use model::arn::Locality;
use model::facts::TaskStatus;
use model::service::{
    Deployment, PropagateTags, Rollout, Service, ServiceProgress, ServiceStatus, ServiceTemplate,
};
use model::task::{NetworkRequest, Task};
use model::{ClusterName, ServiceName};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::kinds::{service_key, service_prefix, task_prefix};
use store::{Snapshot, Txn};
use wire::ecs;

pub fn not_found() -> Fault {
    ecs::ErrorCode::ServiceNotFoundException.fault("Service not found.")
}

fn not_active() -> Fault {
    ecs::ErrorCode::ServiceNotActiveException.fault("Service was not ACTIVE.")
}

/// A service by name or ARN (`service/cluster/name`, or `service/name` of the old format).
pub fn name(
    locality: &Locality,
    cluster: &ClusterName,
    given: Option<&str>,
) -> Result<ServiceName, Fault> {
    let text = given.unwrap_or("");
    let malformed = || invalid_parameter("Invalid identifier: Unexpected number of separators");
    let name = if text.starts_with("arn:") {
        let arn = names::ours(locality, text)?;
        let rest = match arn.kind_and_rest() {
            Some(("service", rest)) => rest,
            Some((kind, _)) => {
                return Err(invalid_parameter(format!("Unsupported resource type: {kind}")));
            }
            None => return Err(malformed()),
        };
        match rest.split_once('/') {
            None => rest,
            Some((of, name)) if of == cluster.as_str() => name,
            Some((of, _)) => {
                return Err(invalid_parameter(format!(
                    "Invalid identifier: Identifier is for cluster {of}. Your cluster is {cluster}"
                )));
            }
        }
    } else {
        text
    };
    if text.is_empty() {
        return Err(invalid_parameter("Service can not be blank."));
    }
    if !names::is_name(name) {
        return Err(invalid_parameter("Invalid service name."));
    }
    Ok(ServiceName::from(name))
}

/// The active service of this key; a transaction then depends on it staying as it is.
pub fn active_in(
    txn: &mut Txn,
    cluster: &ClusterName,
    name: &ServiceName,
) -> Result<(Arc<Service>, Option<Arc<ServiceProgress>>), Fault> {
    let key = service_key(cluster, name);
    let service = txn.get::<Service>(&key).ok_or_else(not_found)?;
    let progress = txn.snapshot().get::<ServiceProgress>(&key).map(|found| found.value);
    match plan::service::status(&service, progress.as_deref()) {
        ServiceStatus::Active => Ok((service, progress)),
        ServiceStatus::Draining | ServiceStatus::Inactive => Err(not_active()),
    }
}

/// How many services of a cluster are there; those that are draining count too.
pub fn count(snapshot: &Snapshot, cluster: &ClusterName) -> usize {
    let prefix = service_prefix(cluster);
    let services = snapshot.scan::<Service>(&prefix);
    services.filter(|(key, _)| !is_inactive(snapshot, key)).count()
}

pub fn is_inactive(snapshot: &Snapshot, key: &str) -> bool {
    let progress = snapshot.get::<ServiceProgress>(key);
    progress.is_some_and(|progress| progress.inactive_at.is_some())
}

/// Running and pending tasks by what started them.
#[derive(Default)]
pub struct Tally {
    by_deployment: BTreeMap<String, (i32, i32)>,
}

impl Tally {
    pub fn of(snapshot: &Snapshot, service: &Service) -> Self {
        let mut tally = Self::default();
        let group = service.group();
        for (_, task) in snapshot.scan::<Task>(&task_prefix(&service.cluster)) {
            if task.group != group {
                continue;
            }
            let by = task.started_by.clone().unwrap_or_default();
            let counts = tally.by_deployment.entry(by).or_default();
            match task.last_status() {
                TaskStatus::Running => counts.0 += 1,
                TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating => {
                    counts.1 += 1;
                }
                _ => {}
            }
        }
        tally
    }

    fn at(&self, deployment: &Deployment) -> (i32, i32) {
        self.by_deployment.get(deployment.id.as_str()).copied().unwrap_or_default()
    }

    fn all(&self) -> (i32, i32) {
        let counts = self.by_deployment.values();
        counts.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }
}

pub fn arn(cx: &Context, service: &Service) -> String {
    cx.locality.service(&service.cluster, &service.name)
}

pub fn network(network: &NetworkRequest) -> ecs::NetworkConfiguration {
    let assign = match network.assign_public_ip {
        true => ecs::AssignPublicIp::Enabled,
        false => ecs::AssignPublicIp::Disabled,
    };
    ecs::NetworkConfiguration {
        awsvpc_configuration: Some(ecs::AwsVpcConfiguration {
            subnets: Some(network.subnets.iter().map(ToString::to_string).collect()),
            security_groups: Some(
                network.security_groups.iter().map(ToString::to_string).collect(),
            ),
            assign_public_ip: Some(assign),
        }),
    }
}

pub fn load_balancers(template: &ServiceTemplate) -> Vec<ecs::LoadBalancer> {
    let shown = template.load_balancers.iter().map(|given| ecs::LoadBalancer {
        target_group_arn: Some(given.target_group_arn.clone()),
        container_name: Some(given.container_name.clone()),
        container_port: Some(given.container_port.into()),
        ..Default::default()
    });
    shown.collect()
}

pub fn registries(template: &ServiceTemplate) -> Vec<ecs::ServiceRegistry> {
    let shown = template.registries.iter().map(|given| ecs::ServiceRegistry {
        registry_arn: Some(given.registry_arn.clone()),
        port: given.port.map(Into::into),
        container_name: given.container_name.clone(),
        container_port: given.container_port.map(Into::into),
    });
    shown.collect()
}

/// How a service is launched, as it is echoed: a launch type or a strategy, never both.
fn launch(template: &ServiceTemplate) -> Launched {
    let strategy = (!template.strategy.is_empty()).then(|| strategy::show(&template.strategy));
    Launched { launch_type: template.launch_type.as_deref().map(Into::into), strategy }
}

struct Launched {
    launch_type: Option<ecs::LaunchType>,
    strategy: Option<Vec<ecs::CapacityProviderStrategyItem>>,
}

fn deployment(
    cx: &Context,
    service: &Service,
    deployment: &Deployment,
    is_primary: bool,
    tally: &Tally,
) -> ecs::Deployment {
    let template = &deployment.template;
    let (running, pending) = tally.at(deployment);
    let desired = match is_primary {
        true => i32::try_from(service.desired_count).unwrap_or(i32::MAX),
        false => running + pending,
    };
    let launched = launch(template);
    ecs::Deployment {
        id: Some(deployment.id.to_string()),
        status: Some(if is_primary { "PRIMARY" } else { "ACTIVE" }.to_owned()),
        task_definition: Some(cx.locality.task_definition(&template.family, template.revision)),
        desired_count: Some(desired),
        pending_count: Some(pending),
        running_count: Some(running),
        failed_tasks: i32::try_from(deployment.failed_tasks).ok(),
        created_at: Some(time(deployment.created_at)),
        updated_at: Some(time(deployment.updated_at)),
        capacity_provider_strategy: launched.strategy,
        launch_type: launched.launch_type,
        platform_version: Some(template.platform_version.clone()),
        platform_family: Some("Linux".to_owned()),
        network_configuration: Some(network(&template.network)),
        rollout_state: Some(deployment.rollout.as_str().into()),
        rollout_state_reason: Some(deployment.rollout_reason.clone()),
        service_connect_configuration: connect(template),
        ..Default::default()
    }
}

fn connect(template: &ServiceTemplate) -> Option<ecs::ServiceConnectConfiguration> {
    serde_json::from_str(template.connect.as_ref()?.as_str()).ok()
}

fn configuration(service: &Service) -> ecs::DeploymentConfiguration {
    let rules = &service.rules;
    let given: ecs::DeploymentConfiguration =
        serde_json::from_str(rules.document.as_str()).unwrap_or_default();
    ecs::DeploymentConfiguration {
        deployment_circuit_breaker: Some(ecs::DeploymentCircuitBreaker {
            enable: Some(rules.circuit_breaker),
            rollback: Some(rules.rollback),
        }),
        maximum_percent: i32::try_from(rules.maximum_percent).ok(),
        minimum_healthy_percent: i32::try_from(rules.minimum_healthy_percent).ok(),
        strategy: Some(ecs::DeploymentStrategy::Rolling),
        bake_time_in_minutes: Some(given.bake_time_in_minutes.unwrap_or(0)),
        ..given
    }
}

/// What the calls that change a service answer with.
pub fn changed(cx: &Context, service: &Service) -> ecs::Service {
    let snapshot = cx.store.snapshot();
    let progress = snapshot.get::<ServiceProgress>(&service_key(&service.cluster, &service.name));
    show(cx, &snapshot, service, progress.as_deref(), true)
}

pub fn show(
    cx: &Context,
    snapshot: &Snapshot,
    service: &Service,
    progress: Option<&ServiceProgress>,
    with_tags: bool,
) -> ecs::Service {
    let status = plan::service::status(service, progress);
    let folded = plan::service::fold(service, progress);
    let tally = Tally::of(snapshot, service);
    let (running, pending) = tally.all();
    let primary = &folded.deployments[0];
    let template = &primary.template;
    let launched = launch(template);
    let shown = folded.deployments.iter().enumerate();
    // A service that is gone has none.
    let shown = shown.filter(|_| status != ServiceStatus::Inactive);
    let deployments = shown.map(|(at, d)| deployment(cx, service, d, at == 0, &tally)).collect();
    let events = folded.events.iter().map(|event| ecs::ServiceEvent {
        id: Some(event.id.clone()),
        created_at: Some(time(event.at)),
        message: Some(event.message.clone()),
    });
    let rebalancing = rebalancing(service);
    let grace = service.health_check_grace_period_seconds;
    ecs::Service {
        service_arn: Some(arn(cx, service)),
        service_name: Some(service.name.to_string()),
        cluster_arn: Some(cx.locality.cluster(&service.cluster)),
        status: Some(status.as_str().to_owned()),
        desired_count: i32::try_from(service.desired_count).ok(),
        running_count: Some(running),
        pending_count: Some(pending),
        task_definition: Some(cx.locality.task_definition(&template.family, template.revision)),
        launch_type: launched.launch_type,
        capacity_provider_strategy: launched.strategy,
        platform_version: Some(template.platform_version.clone()),
        platform_family: Some("Linux".to_owned()),
        network_configuration: Some(network(&template.network)),
        load_balancers: Some(load_balancers(template)),
        service_registries: Some(registries(template)),
        deployments: Some(deployments),
        deployment_configuration: Some(configuration(service)),
        deployment_controller: Some(ecs::DeploymentController {
            r#type: Some(ecs::DeploymentControllerType::Ecs),
        }),
        events: Some(events.collect()),
        health_check_grace_period_seconds: grace.and_then(|seconds| i32::try_from(seconds).ok()),
        availability_zone_rebalancing: Some(rebalancing),
        scheduling_strategy: Some(ecs::SchedulingStrategy::Replica),
        created_at: Some(time(service.created_at)),
        created_by: Some(service.created_by.clone()),
        current_service_deployment: deployments::current(cx, service, &folded),
        current_service_revisions: Some(deployments::revisions(cx, service, &folded, &tally)),
        enable_ecs_managed_tags: Some(service.enable_managed_tags),
        enable_execute_command: Some(template.enable_execute_command),
        placement_constraints: Some(Vec::new()),
        placement_strategy: Some(Vec::new()),
        propagate_tags: Some(propagation(service)),
        role_arn: (!template.load_balancers.is_empty()).then(|| service_role(cx)),
        tags: Some(if with_tags { tagging::show(&service.tags) } else { Vec::new() }),
        ..Default::default()
    }
}

fn rebalancing(service: &Service) -> ecs::AvailabilityZoneRebalancing {
    match service.az_rebalancing {
        true => ecs::AvailabilityZoneRebalancing::Enabled,
        false => ecs::AvailabilityZoneRebalancing::Disabled,
    }
}

fn propagation(service: &Service) -> ecs::PropagateTags {
    match service.propagate_tags {
        None => ecs::PropagateTags::None,
        Some(PropagateTags::Service) => ecs::PropagateTags::Service,
        Some(PropagateTags::TaskDefinition) => ecs::PropagateTags::TaskDefinition,
    }
}

fn service_role(cx: &Context) -> String {
    format!(
        "arn:aws:iam::{}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
        cx.locality.account
    )
}

/// Whether a rollout is over one way or the other.
fn is_over(rollout: Rollout) -> bool {
    matches!(rollout, Rollout::Completed | Rollout::Failed)
}
