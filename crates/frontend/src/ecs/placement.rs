//! Where and how a task is to be launched, as RunTask's parameters say: launch type or capacity
//! providers, platform version, and the network it is to be in.

use super::strategy;
use crate::fault::{Fault, invalid_parameter};
use crate::limits::{SECURITY_GROUPS_PER_TASK_MAX, SUBNETS_PER_TASK_MAX};
use model::cluster::{CapacityProviderStrategyItem, Cluster};
use model::network::{SecurityGroup, Subnet};
use model::task::NetworkRequest;
use model::{SecurityGroupId, SubnetId, VpcId};
use store::Txn;
use wire::ecs;

/// What LATEST means. Source: developer guide, platform-fargate.
const PLATFORM_VERSION_LATEST: &str = "1.4.0";
const PLATFORM_VERSIONS: [&str; 2] = ["1.3.0", PLATFORM_VERSION_LATEST];
/// The group of a VPC that is meant when none is named.
const DEFAULT_GROUP_NAME: &str = "default";

/// How tasks are launched.
#[derive(Clone, PartialEq, Debug)]
pub enum Launch {
    Fargate,
    Providers(Vec<CapacityProviderStrategyItem>),
}

pub fn launch(
    cluster: &Cluster,
    launch_type: Option<&ecs::LaunchType>,
    given: Option<&[ecs::CapacityProviderStrategyItem]>,
) -> Result<Launch, Fault> {
    // An empty list is what some clients send for none.
    let given = given.filter(|items| !items.is_empty());
    match (launch_type, given) {
        (Some(_), Some(_)) => Err(invalid_parameter(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove \
             one and try again.",
        )),
        (Some(ecs::LaunchType::Fargate), None) => Ok(Launch::Fargate),
        (Some(_), None) => Err(no_container_instances()),
        (None, Some(_)) => {
            let items = strategy::read(given, &cluster.capacity_providers)?;
            strategy::launchable(&items)?;
            Ok(Launch::Providers(items))
        }
        (None, None) => match strategy::default_of(cluster) {
            Some(items) => Ok(Launch::Providers(items.to_vec())),
            // Without either, AWS means EC2.
            None => Err(no_container_instances()),
        },
    }
}

fn no_container_instances() -> Fault {
    invalid_parameter("No Container Instances were found in your cluster.")
}

pub fn platform_version(given: Option<&str>) -> Result<String, Fault> {
    match given {
        None | Some("" | "LATEST") => Ok(PLATFORM_VERSION_LATEST.to_owned()),
        Some(version) if PLATFORM_VERSIONS.contains(&version) => Ok(version.to_owned()),
        Some(_) => {
            let code = ecs::ErrorCode::PlatformUnknownException;
            Err(code.fault("The specified platform does not exist."))
        }
    }
}

/// The network as asked for; what it names is looked up by `check_network`.
pub fn network(given: Option<ecs::NetworkConfiguration>) -> Result<NetworkRequest, Fault> {
    let missing = || {
        let text = "Network Configuration must be provided when networkMode 'awsvpc' is specified.";
        invalid_parameter(text)
    };
    let given = given.and_then(|given| given.awsvpc_configuration).ok_or_else(missing)?;
    let subnets = given.subnets.unwrap_or_default();
    if subnets.is_empty() {
        return Err(invalid_parameter("subnets can not be empty."));
    }
    if subnets.len() > SUBNETS_PER_TASK_MAX {
        return Err(invalid_parameter("subnets can have at most 16 items."));
    }
    let groups = given.security_groups.unwrap_or_default();
    if groups.len() > SECURITY_GROUPS_PER_TASK_MAX {
        return Err(invalid_parameter("securityGroups can have at most 5 items."));
    }
    Ok(NetworkRequest {
        subnets: subnets.into_iter().map(SubnetId::from).collect(),
        security_groups: groups.into_iter().map(SecurityGroupId::from).collect(),
        assign_public_ip: given.assign_public_ip == Some(ecs::AssignPublicIp::Enabled),
    })
}

/// Everything named exists and lies in one VPC; without groups the VPC's default group is meant.
pub fn check_network(txn: &mut Txn, network: &mut NetworkRequest) -> Result<(), Fault> {
    let mut vpc: Option<VpcId> = None;
    for id in &network.subnets {
        let subnet = txn.get::<Subnet>(id.as_str()).ok_or_else(|| {
            invalid_parameter(format!(
                "Error retrieving subnet information for [{id}]: The subnet ID '{id}' does not \
                 exist (ErrorCode: InvalidSubnetID.NotFound)"
            ))
        })?;
        if vpc.get_or_insert_with(|| subnet.vpc.clone()) != &subnet.vpc {
            return Err(invalid_parameter("All subnets must belong to the same VPC."));
        }
    }
    let vpc = vpc.expect("there is at least one subnet");
    for id in &network.security_groups {
        let group = txn.get::<SecurityGroup>(id.as_str()).ok_or_else(|| {
            invalid_parameter(format!(
                "Error retrieving security group information for [{id}]: The security group '{id}' \
                 does not exist (ErrorCode: InvalidGroup.NotFound)"
            ))
        })?;
        if group.vpc != vpc {
            let text = format!("Security group {id} does not appear to belong to the VPC {vpc}.");
            return Err(invalid_parameter(text));
        }
    }
    if network.security_groups.is_empty() {
        let snapshot = txn.snapshot();
        let default = snapshot
            .scan::<SecurityGroup>("")
            .find(|(_, group)| group.vpc == vpc && group.name == DEFAULT_GROUP_NAME);
        network.security_groups.extend(default.map(|(_, group)| group.id.clone()));
    }
    Ok(())
}
