//! What CreateService and UpdateService bring, checked and made into the model. What a service
//! can't do yet is refused by name; nothing that would change what runs is dropped.

use crate::context::Context;
use crate::ecs::definition::{self, Stored, fargate, unhonoured};
use crate::ecs::names;
use crate::elbv2;
use crate::fault::{Fault, client, invalid_parameter};
use model::Document;
use model::balancing::{TargetGroup, TargetKind};
use model::discovery::DiscoveryService;
use model::limits::TASKS_PER_SERVICE_MAX;
use model::service::{
    DeploymentRules, PropagateTags, ServiceLoadBalancer, ServiceRegistryLink, ServiceTemplate,
};
use model::task_definition::{TaskDefinition, TaskDefinitionStatus};
use std::sync::Arc;
use store::Txn;
use store::kinds::task_definition_key;
use wire::ecs;

const MAXIMUM_PERCENT_DEFAULT: u32 = 200;
const MINIMUM_HEALTHY_PERCENT_DEFAULT: u32 = 100;
/// Source: API reference, CreateService (healthCheckGracePeriodSeconds): about 69 years.
const GRACE_SECONDS_MAX: i32 = i32::MAX;
const TARGET_GROUPS_MAX: usize = 5;

pub fn desired_count(given: i32) -> Result<u32, Fault> {
    u32::try_from(given)
        .ok()
        .filter(|count| *count <= TASKS_PER_SERVICE_MAX)
        .ok_or_else(|| invalid_parameter("desiredCount should be between 0 and 5000"))
}

pub fn grace(given: Option<i32>) -> Result<Option<u32>, Fault> {
    match given {
        None => Ok(None),
        Some(seconds @ 0..=GRACE_SECONDS_MAX) => Ok(u32::try_from(seconds).ok()),
        Some(_) => Err(invalid_parameter(
            "healthCheckGracePeriodSeconds should be between 0 and 2147483647",
        )),
    }
}

pub fn propagate(given: Option<&ecs::PropagateTags>) -> Result<Option<PropagateTags>, Fault> {
    match given {
        None | Some(ecs::PropagateTags::None) => Ok(None),
        Some(ecs::PropagateTags::Service) => Ok(Some(PropagateTags::Service)),
        Some(ecs::PropagateTags::TaskDefinition) => Ok(Some(PropagateTags::TaskDefinition)),
        Some(_) => {
            Err(invalid_parameter("propagateTags should be one of [TASK_DEFINITION,SERVICE,NONE]"))
        }
    }
}

pub fn controller(given: Option<&ecs::DeploymentController>) -> Result<(), Fault> {
    match given.and_then(|given| given.r#type.as_ref()) {
        None | Some(ecs::DeploymentControllerType::Ecs) => Ok(()),
        Some(other) => Err(client(format!(
            "Neargate does not support the deployment controller {} yet",
            other.as_str()
        ))),
    }
}

/// What neither call may ask for yet.
pub struct Unsupported<'a> {
    pub constraints: Option<&'a [ecs::PlacementConstraint]>,
    pub strategy: Option<&'a [ecs::PlacementStrategy]>,
    pub volumes: Option<&'a [ecs::ServiceVolumeConfiguration]>,
    pub lattice: Option<&'a [ecs::VpcLatticeConfiguration]>,
}

impl Unsupported<'_> {
    pub fn refuse(&self) -> Result<(), Fault> {
        let placed = |what: &str| {
            let text = format!("Placement {what} are not supported with FARGATE launch type.");
            Err(invalid_parameter(text))
        };
        if self.constraints.is_some_and(|list| !list.is_empty()) {
            return placed("constraints");
        }
        if self.strategy.is_some_and(|list| !list.is_empty()) {
            return placed("strategies");
        }
        let not_yet = |what: &str| Err(client(format!("Neargate does not support {what} yet")));
        if self.volumes.is_some_and(|list| !list.is_empty()) {
            return not_yet("volumeConfigurations");
        }
        if self.lattice.is_some_and(|list| !list.is_empty()) {
            return not_yet("vpcLatticeConfigurations");
        }
        Ok(())
    }
}

/// Service Connect is kept to be echoed: a service without its proxies works, under the names that
/// load balancers and Cloud Map give it.
pub fn connect(given: Option<&ecs::ServiceConnectConfiguration>) -> Option<Document> {
    let text = serde_json::to_string(given.filter(|connect| connect.enabled == Some(true))?);
    Some(Document::new(text.expect("these structures have string keys only")))
}

/// The rules as given over those there were. Source: API reference, DeploymentConfiguration.
pub fn rules(
    given: Option<ecs::DeploymentConfiguration>,
    before: Option<&DeploymentRules>,
) -> Result<DeploymentRules, Fault> {
    let mut rules = before.cloned().unwrap_or(DeploymentRules {
        maximum_percent: MAXIMUM_PERCENT_DEFAULT,
        minimum_healthy_percent: MINIMUM_HEALTHY_PERCENT_DEFAULT,
        circuit_breaker: false,
        rollback: false,
        document: Document::default(),
    });
    let Some(given) = given else { return Ok(rules) };
    match &given.strategy {
        None | Some(ecs::DeploymentStrategy::Rolling) => {}
        Some(other) => {
            let text =
                format!("Neargate does not support the deployment strategy {} yet", other.as_str());
            return Err(client(text));
        }
    }
    if given.lifecycle_hooks.as_ref().is_some_and(|hooks| !hooks.is_empty()) {
        return Err(client("Neargate does not support lifecycleHooks yet"));
    }
    let percent = |given: Option<i32>, what: &str| match given {
        None => Ok(None),
        Some(percent) => u32::try_from(percent).map(Some).map_err(|_| {
            invalid_parameter(format!("{what} must be an integer greater than or equal to 0"))
        }),
    };
    if let Some(maximum) = percent(given.maximum_percent, "maximumPercent")? {
        rules.maximum_percent = maximum;
    }
    if let Some(least) = percent(given.minimum_healthy_percent, "minimumHealthyPercent")? {
        rules.minimum_healthy_percent = least;
    }
    if rules.maximum_percent == 0 || rules.maximum_percent < rules.minimum_healthy_percent {
        return Err(invalid_parameter(
            "maximumPercent must be greater than 0 and not below minimumHealthyPercent.",
        ));
    }
    if rules.minimum_healthy_percent > 100 {
        return Err(invalid_parameter("minimumHealthyPercent must be at most 100."));
    }
    if let Some(breaker) = &given.deployment_circuit_breaker {
        rules.circuit_breaker = breaker.enable == Some(true);
        rules.rollback = breaker.rollback == Some(true);
    }
    let json = serde_json::to_string(&given).expect("wire types have string keys only");
    rules.document = Document::new(json);
    Ok(rules)
}

/// The definition a service is to run, active and fit for Fargate.
pub fn definition(cx: &Context, txn: &mut Txn, given: &str) -> Result<Arc<TaskDefinition>, Fault> {
    let name = names::task_definition(&cx.locality, given)?;
    let found = definition::find(txn.snapshot(), &name);
    let found = found.ok_or_else(|| client("TaskDefinition not found."))?;
    let key = task_definition_key(&found.family, found.revision);
    let found = txn.get::<TaskDefinition>(&key).unwrap_or(found);
    if found.status != TaskDefinitionStatus::Active {
        return Err(client("TaskDefinition is inactive"));
    }
    for_fargate(&Stored::from_document(&found.document))?;
    Ok(found)
}

fn for_fargate(stored: &Stored) -> Result<(), Fault> {
    match fargate::problem(stored) {
        None => Ok(()),
        Some(problem) => Err(invalid_parameter(format!(
            "Task definition does not support launch_type FARGATE. {problem}"
        ))),
    }
}

/// A definition that Fargate would refuse, or that would run wrongly for now, is not run. A service
/// of the latter kind is kept, as what describes it must find it; its tasks are not started, and
/// say why.
pub fn runnable(definition: &TaskDefinition) -> Result<(), Fault> {
    let stored = Stored::from_document(&definition.document);
    for_fargate(&stored)?;
    match unhonoured::first(&stored) {
        None => Ok(()),
        Some(field) => Err(client(format!(
            "Neargate does not support {field} yet, and the task would not run as defined without \
             it"
        ))),
    }
}

/// Load balancers by target group; classic ones have none.
pub fn load_balancers(
    given: Option<Vec<ecs::LoadBalancer>>,
    definition: &TaskDefinition,
) -> Result<Vec<ServiceLoadBalancer>, Fault> {
    let given = given.unwrap_or_default();
    if given.len() > TARGET_GROUPS_MAX {
        return Err(invalid_parameter("A service can have at most 5 target groups."));
    }
    let mut read = Vec::with_capacity(given.len());
    for one in given {
        let Some(target_group_arn) = one.target_group_arn else {
            return Err(invalid_parameter(
                "Classic Load Balancers are not supported for services with the awsvpc network \
                 mode. Specify a target group.",
            ));
        };
        if one.advanced_configuration.is_some() {
            return Err(client("Neargate does not support advancedConfiguration yet"));
        }
        read.push(ServiceLoadBalancer {
            target_group_arn,
            container_name: one.container_name.unwrap_or_default(),
            container_port: port(one.container_port).unwrap_or(0),
        });
    }
    check_containers(&read, definition)?;
    Ok(read)
}

/// What load balancers lead to has to be in the definition.
pub fn check_containers(
    all: &[ServiceLoadBalancer],
    definition: &TaskDefinition,
) -> Result<(), Fault> {
    for ServiceLoadBalancer { container_name: name, container_port: port, .. } in all {
        let container = definition.template.containers.iter().find(|c| c.name == *name);
        let Some(container) = container else {
            return Err(invalid_parameter(format!(
                "The container {name} does not exist in the task definition."
            )));
        };
        if !container.port_mappings.iter().any(|mapping| mapping.container_port == *port) {
            return Err(invalid_parameter(format!(
                "The container {name} did not have a container port {port} defined."
            )));
        }
    }
    Ok(())
}

pub fn registries(
    given: Option<Vec<ecs::ServiceRegistry>>,
) -> Result<Vec<ServiceRegistryLink>, Fault> {
    let given = given.unwrap_or_default();
    if given.len() > 1 {
        return Err(invalid_parameter("A service can have at most one service registry."));
    }
    let read = given.into_iter().map(|one| ServiceRegistryLink {
        registry_arn: one.registry_arn.unwrap_or_default(),
        port: port(one.port),
        container_name: one.container_name,
        container_port: port(one.container_port),
    });
    Ok(read.collect())
}

fn port(given: Option<i32>) -> Option<u16> {
    given.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

/// What takes tasks up has to be there.
pub fn check_targets(cx: &Context, txn: &mut Txn, template: &ServiceTemplate) -> Result<(), Fault> {
    for given in &template.load_balancers {
        check_target_group(cx, txn, &given.target_group_arn)?;
    }
    for given in &template.registries {
        let id = given.registry_arn.rsplit_once('/').map_or("", |(_, id)| id);
        if txn.get::<DiscoveryService>(id).is_none() {
            return Err(invalid_parameter(format!(
                "The service registry with registryArn {} does not exist.",
                given.registry_arn
            )));
        }
    }
    Ok(())
}

/// A group that can take a task's address, and that a load balancer leads to.
fn check_target_group(cx: &Context, txn: &mut Txn, arn: &str) -> Result<(), Fault> {
    let found = elbv2::target_group(cx, txn.snapshot(), arn).map_err(|_| {
        let text = format!("The target group with targetGroupArn {arn} does not exist.");
        invalid_parameter(text)
    })?;
    // Guarded, so that it can't go before the service is there.
    txn.get::<TargetGroup>(found.id.as_str());
    if found.kind != TargetKind::Ip {
        return Err(invalid_parameter(format!(
            "The provided target group {arn} has target type instance, which is incompatible with \
             the awsvpc network mode specified in the task definition."
        )));
    }
    if !elbv2::used(txn.snapshot()).contains_key(&found.id) {
        return Err(invalid_parameter(format!(
            "The target group with targetGroupArn {arn} does not have an associated load balancer."
        )));
    }
    Ok(())
}
