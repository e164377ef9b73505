//! CreateService: records the wish and its first deployment. Starting tasks is the reconciler's.

use super::placement::{self, Launch};
use super::service::{self, read};
use super::{client_token, clusters, names, tags};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use model::service::{Service, ServiceProgress, ServiceStatus, ServiceTemplate, WantedDeployment};
use model::{ClusterName, DeploymentId, ServiceName, nineteen_digits};
use std::sync::Arc;
use store::Txn;
use store::kinds::service_key;
use wire::ecs::{self, CreateServiceRequest, CreateServiceResponse};

/// Source: botocore's documentation of clientToken in CreateService.
const CLIENT_TOKEN_CHARS_MAX: usize = 36;

pub async fn create_service(
    cx: &Context,
    caller: &Caller,
    mut input: CreateServiceRequest,
) -> Result<CreateServiceResponse, Fault> {
    let cluster = names::cluster(&cx.locality, input.cluster.as_deref())?;
    let name = input.service_name.as_deref().unwrap_or("");
    if !names::is_name(name) {
        return Err(invalid_parameter("Invalid service name."));
    }
    let name = ServiceName::from(name);
    let token = take_token(&mut input)?;
    check(&input)?;
    let made = cx
        .transact(|txn| {
            clusters::active_in(txn, &cluster)?;
            if let Some(there) = there(txn, &cluster, &name, token.as_ref())? {
                return Ok(there);
            }
            let service = Arc::new(make(cx, caller, txn, &cluster, &name, &input, token.clone())?);
            txn.delete::<ServiceProgress>(&service_key(&cluster, &name));
            txn.put_arc(Arc::clone(&service));
            Ok(service)
        })
        .await?;
    Ok(CreateServiceResponse { service: Some(service::changed(cx, &made)) })
}

fn take_token(input: &mut CreateServiceRequest) -> Result<Option<(String, String)>, Fault> {
    let Some(text) = input.client_token.take().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    client_token::check(&text)?;
    if text.len() > CLIENT_TOKEN_CHARS_MAX {
        return Err(invalid_parameter("clientToken must have at most 36 characters."));
    }
    let fingerprint = client_token::fingerprint(input);
    Ok(Some((text, fingerprint)))
}

fn check(input: &CreateServiceRequest) -> Result<(), Fault> {
    read::controller(input.deployment_controller.as_ref())?;
    match &input.scheduling_strategy {
        None | Some(ecs::SchedulingStrategy::Replica) => {}
        Some(_) => {
            return Err(invalid_parameter(
                "The daemon scheduling strategy is not supported with the Fargate launch type.",
            ));
        }
    }
    if input.task_definition.as_deref().unwrap_or("").is_empty() {
        return Err(invalid_parameter("TaskDefinition can not be blank."));
    }
    let unsupported = read::Unsupported {
        constraints: input.placement_constraints.as_deref(),
        strategy: input.placement_strategy.as_deref(),
        volumes: input.volume_configurations.as_deref(),
        lattice: input.vpc_lattice_configurations.as_deref(),
    };
    unsupported.refuse()
}

/// The service that a repetition of its own creation means; a fault if the name is taken.
fn there(
    txn: &mut Txn,
    cluster: &ClusterName,
    name: &ServiceName,
    token: Option<&(String, String)>,
) -> Result<Option<Arc<Service>>, Fault> {
    let key = service_key(cluster, name);
    let Some(known) = txn.get::<Service>(&key) else { return Ok(None) };
    let progress = txn.get::<ServiceProgress>(&key);
    match plan::service::status(&known, progress.as_deref()) {
        ServiceStatus::Inactive => Ok(None),
        ServiceStatus::Draining => {
            Err(invalid_parameter("Unable to Start a service that is still Draining."))
        }
        ServiceStatus::Active if token.is_some() && known.client_token.as_ref() == token => {
            Ok(Some(known))
        }
        ServiceStatus::Active => Err(invalid_parameter("Creation of service was not idempotent.")),
    }
}

fn make(
    cx: &Context,
    caller: &Caller,
    txn: &mut Txn,
    cluster: &ClusterName,
    name: &ServiceName,
    input: &CreateServiceRequest,
    token: Option<(String, String)>,
) -> Result<Service, Fault> {
    let Some(count) = input.desired_count else {
        return Err(invalid_parameter("desiredCount must be specified for the REPLICA strategy."));
    };
    let record = clusters::active_in(txn, cluster)?;
    let definition = read::definition(cx, txn, input.task_definition.as_deref().unwrap_or(""))?;
    let given = input.capacity_provider_strategy.as_deref();
    let launch = placement::launch(&record, input.launch_type.as_ref(), given)?;
    let mut network = placement::network(input.network_configuration.clone())?;
    placement::check_network(txn, &mut network)?;
    let (launch_type, strategy) = match launch {
        Launch::Fargate => (Some("FARGATE".to_owned()), Vec::new()),
        Launch::Providers(items) => (None, items),
    };
    let template = ServiceTemplate {
        family: definition.family.clone(),
        revision: definition.revision,
        launch_type,
        strategy,
        platform_version: placement::platform_version(input.platform_version.as_deref())?,
        network,
        enable_execute_command: input.enable_execute_command == Some(true),
        load_balancers: read::load_balancers(input.load_balancers.clone(), &definition)?,
        registries: read::registries(input.service_registries.clone())?,
        connect: read::connect(input.service_connect_configuration.as_ref()),
    };
    read::check_targets(cx, txn, &template)?;
    let now = cx.now();
    let off = Some(&ecs::AvailabilityZoneRebalancing::Disabled);
    Ok(Service {
        name: name.clone(),
        cluster: cluster.clone(),
        status: ServiceStatus::Active,
        desired_count: read::desired_count(count)?,
        wanted: WantedDeployment {
            id: DeploymentId::mint(cx.random()),
            revision_number: nineteen_digits(cx.random()),
            template: Arc::new(template),
            asked_at: now,
        },
        rules: read::rules(input.deployment_configuration.clone(), None)?,
        health_check_grace_period_seconds: read::grace(input.health_check_grace_period_seconds)?,
        az_rebalancing: input.availability_zone_rebalancing.as_ref() != off,
        propagate_tags: read::propagate(input.propagate_tags.as_ref())?,
        enable_managed_tags: input.enable_ecs_managed_tags == Some(true),
        tags: tags::RULES.read(input.tags.clone())?,
        created_at: now,
        created_by: caller.principal_arn.to_string(),
        abort: None,
        client_token: token,
    })
}
