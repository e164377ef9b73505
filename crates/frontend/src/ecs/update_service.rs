//! UpdateService: changes the wish; what is not named stays. A new deployment begins when what the
//! tasks are made of changes, or when one is forced. Source: API reference, UpdateService.

use super::placement::{self, Launch};
use super::service::{self, read};
use super::{clusters, names};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use model::cluster::Cluster;
use model::service::{Service, ServiceTemplate, WantedDeployment};
use model::task_definition::TaskDefinition;
use model::{DeploymentId, nineteen_digits};
use std::sync::Arc;
use store::Txn;
use store::kinds::task_definition_key;
use wire::ecs::{self, UpdateServiceRequest, UpdateServiceResponse};

pub async fn update_service(
    cx: &Context,
    _caller: &Caller,
    input: UpdateServiceRequest,
) -> Result<UpdateServiceResponse, Fault> {
    let cluster = names::cluster(&cx.locality, input.cluster.as_deref())?;
    let name = service::name(&cx.locality, &cluster, input.service.as_deref())?;
    read::controller(input.deployment_controller.as_ref())?;
    let unsupported = read::Unsupported {
        constraints: input.placement_constraints.as_deref(),
        strategy: input.placement_strategy.as_deref(),
        volumes: input.volume_configurations.as_deref(),
        lattice: input.vpc_lattice_configurations.as_deref(),
    };
    unsupported.refuse()?;
    let updated = cx
        .transact(|txn| {
            let record = clusters::active_in(txn, &cluster)?;
            let (known, progress) = service::active_in(txn, &cluster, &name)?;
            // After a rollback the tasks are made of what the service went back to.
            let folded = plan::service::fold(&known, progress.as_deref());
            let template = Arc::clone(&folded.deployments[0].template);
            let mut changed = (*known).clone();
            wish(&mut changed, &input)?;
            let new = template_of(cx, txn, &record, &template, &input)?;
            if new != *template || input.force_new_deployment == Some(true) {
                read::check_targets(cx, txn, &new)?;
                changed.wanted = WantedDeployment {
                    id: DeploymentId::mint(cx.random()),
                    revision_number: nineteen_digits(cx.random()),
                    template: Arc::new(new),
                    asked_at: cx.now(),
                };
            }
            let changed = Arc::new(changed);
            txn.put_arc(Arc::clone(&changed));
            Ok(changed)
        })
        .await?;
    Ok(UpdateServiceResponse { service: Some(service::changed(cx, &updated)) })
}

/// What changes without a new deployment.
fn wish(service: &mut Service, input: &UpdateServiceRequest) -> Result<(), Fault> {
    if let Some(count) = input.desired_count {
        service.desired_count = read::desired_count(count)?;
    }
    let given = input.deployment_configuration.clone();
    service.rules = read::rules(given, Some(&service.rules))?;
    if let Some(seconds) = read::grace(input.health_check_grace_period_seconds)? {
        service.health_check_grace_period_seconds = Some(seconds);
    }
    match &input.availability_zone_rebalancing {
        None => {}
        Some(ecs::AvailabilityZoneRebalancing::Enabled) => service.az_rebalancing = true,
        Some(_) => service.az_rebalancing = false,
    }
    if input.propagate_tags.is_some() {
        service.propagate_tags = read::propagate(input.propagate_tags.as_ref())?;
    }
    if let Some(managed) = input.enable_ecs_managed_tags {
        service.enable_managed_tags = managed;
    }
    Ok(())
}

fn template_of(
    cx: &Context,
    txn: &mut Txn,
    cluster: &Cluster,
    before: &ServiceTemplate,
    input: &UpdateServiceRequest,
) -> Result<ServiceTemplate, Fault> {
    let mut new = before.clone();
    let definition = match input.task_definition.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => read::definition(cx, txn, text)?,
        None => {
            let key = task_definition_key(&before.family, before.revision);
            let found = txn.get::<TaskDefinition>(&key);
            found.ok_or_else(|| invalid_parameter("TaskDefinition not found."))?
        }
    };
    new.family.clone_from(&definition.family);
    new.revision = definition.revision;
    if let Some(items) = input.capacity_provider_strategy.as_deref() {
        match items.is_empty() {
            // An empty list goes back to the launch type.
            true if input.force_new_deployment == Some(true) => {
                new.launch_type = Some("FARGATE".to_owned());
                new.strategy.clear();
            }
            true => {}
            false => {
                if let Launch::Providers(items) = placement::launch(cluster, None, Some(items))? {
                    new.launch_type = None;
                    new.strategy = items;
                }
            }
        }
    }
    if let Some(version) = input.platform_version.as_deref() {
        new.platform_version = placement::platform_version(Some(version))?;
    }
    if input.network_configuration.is_some() {
        new.network = placement::network(input.network_configuration.clone())?;
        placement::check_network(txn, &mut new.network)?;
    }
    if let Some(enable) = input.enable_execute_command {
        new.enable_execute_command = enable;
    }
    if input.load_balancers.is_some() {
        new.load_balancers = read::load_balancers(input.load_balancers.clone(), &definition)?;
    } else {
        read::check_containers(&new.load_balancers, &definition)?;
    }
    if input.service_registries.is_some() {
        new.registries = read::registries(input.service_registries.clone())?;
    }
    if input.service_connect_configuration.is_some() {
        new.connect = read::connect(input.service_connect_configuration.as_ref());
    }
    Ok(new)
}
