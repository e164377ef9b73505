//! Task metadata as the endpoint tells it: the assignment and the newest report, in ECS's words.
//! Source: developer guide, task-metadata-endpoint-v4-fargate-response and its examples; fields
//! these leave open are spelled as amazon-ecs-agent's types have them. One is missing: ClockDrift
//! is not measured here, and a number that is not measured is not told.

use crate::launch;
use model::Timestamp;
use model::container::{ContainerPhase, Health};
use model::facts::{ContainersFact, Desired};
use model::session::{Assignment, ContainerReport, TaskReport};
use model::task_definition::ContainerTemplate;
use runtime::StorageUsage;
use serde::Serialize;
use std::collections::BTreeMap;

/// CPU units that a container without its own is said to have. Source: the guide's examples.
const CPU_UNITS_LEAST: u32 = 2;

/// Which version of the endpoint is asked; the newer tells more of the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    V3,
    V4,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskDocument<'a> {
    cluster: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<&'a str>,
    #[serde(rename = "TaskARN")]
    task_arn: &'a str,
    family: &'a str,
    revision: String,
    desired_status: &'static str,
    known_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<TaskLimits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_stopped_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_stopped_at: Option<String>,
    availability_zone: &'a str,
    #[serde(rename = "AvailabilityZoneID", skip_serializing_if = "str::is_empty")]
    availability_zone_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_type: Option<&'a str>,
    containers: Vec<ContainerDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_tags: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral_storage_metrics: Option<StorageMetrics>,
    fault_injection_enabled: bool,
}

/// In MiB.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StorageMetrics {
    utilized: u64,
    reserved: u64,
}

#[derive(Serialize)]
struct TaskLimits {
    #[serde(rename = "CPU")]
    vcpus: f64,
    #[serde(rename = "Memory")]
    memory_mib: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerDocument<'a> {
    docker_id: &'a str,
    name: &'a str,
    docker_name: &'a str,
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<Port<'a>>,
    labels: BTreeMap<&'a str, String>,
    desired_status: &'static str,
    known_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    limits: ContainerLimits,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthDocument>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<Network<'a>>,
    #[serde(rename = "ContainerARN", skip_serializing_if = "Option::is_none")]
    container_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    log_options: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_driver: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshotter: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_count: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Port<'a> {
    container_port: u16,
    protocol: &'a str,
    host_port: u16,
}

#[derive(Serialize)]
struct ContainerLimits {
    #[serde(rename = "CPU")]
    cpu_units: u32,
    #[serde(rename = "Memory", skip_serializing_if = "Option::is_none")]
    memory_mib: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthDocument {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_since: Option<String>,
}

#[derive(Serialize)]
struct Network<'a> {
    #[serde(rename = "NetworkMode")]
    network_mode: &'static str,
    #[serde(rename = "IPv4Addresses")]
    ipv4_addresses: [String; 1],
    #[serde(flatten)]
    more: Option<NetworkDetails<'a>>,
}

/// What version 4 adds.
#[derive(Serialize)]
struct NetworkDetails<'a> {
    #[serde(rename = "AttachmentIndex")]
    attachment_index: u32,
    #[serde(rename = "MACAddress")]
    mac_address: &'a str,
    #[serde(rename = "IPv4SubnetCIDRBlock")]
    subnet_cidr_block: String,
    #[serde(rename = "DomainNameServers")]
    domain_name_servers: Vec<String>,
    #[serde(rename = "DomainNameSearchList")]
    domain_name_search_list: Vec<String>,
    #[serde(rename = "PrivateDNSName")]
    private_dns_name: &'a str,
    #[serde(rename = "SubnetGatewayIpv4Address")]
    subnet_gateway: String,
}

pub fn time(at: Timestamp) -> String {
    wire::Timestamp::from_unix_ms(at.0).iso8601(true)
}

fn desired(assignment: &Assignment, report: Option<&TaskReport>) -> &'static str {
    let ending = report.is_some_and(|r| r.containers_fact >= ContainersFact::Stopping);
    if assignment.desired == Desired::Stopped || ending { "STOPPED" } else { "RUNNING" }
}

pub fn task<'a>(
    version: Version,
    assignment: &'a Assignment,
    report: Option<&'a TaskReport>,
    with_tags: bool,
    storage: Option<StorageUsage>,
) -> TaskDocument<'a> {
    let template = &assignment.template;
    let times = report.map(|report| &report.times);
    let sized = template.cpu_units > 0 || template.memory_mib > 0;
    let told = |at| container(version, assignment, report, at);
    let containers = (0..template.containers.len()).filter_map(told).collect();
    TaskDocument {
        cluster: &assignment.cluster_arn,
        service_name: assignment.inside.service_name.as_deref(),
        task_arn: &assignment.task_arn,
        family: assignment.family.as_str(),
        revision: assignment.revision.to_string(),
        desired_status: desired(assignment, report),
        known_status: match report.map(|report| report.containers_fact) {
            None | Some(ContainersFact::Unseen) => "NONE",
            Some(ContainersFact::Accepted) => "CREATED",
            Some(ContainersFact::Running | ContainersFact::Stopping) => "RUNNING",
            Some(ContainersFact::Stopped) => "STOPPED",
        },
        limits: sized.then(|| TaskLimits {
            vcpus: f64::from(template.cpu_units) / 1024.0,
            memory_mib: template.memory_mib,
        }),
        pull_started_at: times.and_then(|times| times.pull_started_at).map(time),
        pull_stopped_at: times.and_then(|times| times.pull_stopped_at).map(time),
        execution_stopped_at: times.and_then(|times| times.execution_stopped_at).map(time),
        availability_zone: assignment.zone.as_str(),
        availability_zone_id: &assignment.inside.zone_id,
        launch_type: Some(assignment.launch_type.as_deref().unwrap_or("FARGATE")),
        containers,
        task_tags: with_tags.then_some(&assignment.inside.tags),
        ephemeral_storage_metrics: storage.map(|storage| StorageMetrics {
            utilized: storage.used_bytes.div_ceil(1 << 20),
            reserved: u64::from(template.ephemeral_storage_gib) << 10,
        }),
        fault_injection_enabled: false,
    }
}

/// The container at this place of the template.
pub fn container<'a>(
    version: Version,
    assignment: &'a Assignment,
    report: Option<&'a TaskReport>,
    at: usize,
) -> Option<ContainerDocument<'a>> {
    let template = assignment.template.containers.get(at)?;
    let seen = report.and_then(|r| r.containers.iter().find(|c| c.name == template.name));
    let phase = seen.map_or(ContainerPhase::Pending, |seen| seen.phase);
    let digest = seen.and_then(|seen| seen.image_digest.as_ref());
    let started_at = seen.and_then(|seen| seen.started_at).map(time);
    let ports = template.port_mappings.iter();
    Some(ContainerDocument {
        docker_id: assignment.inside.runtime_ids.get(at).map_or("", String::as_str),
        name: &template.name,
        docker_name: &template.name,
        image: &template.image,
        image_id: digest.map_or("", |digest| digest.as_str()),
        ports: ports
            .map(|port| Port {
                container_port: port.container_port,
                protocol: &port.protocol,
                host_port: port.container_port,
            })
            .collect(),
        labels: labels(assignment, template),
        desired_status: desired(assignment, report),
        known_status: match phase {
            ContainerPhase::Pending if digest.is_some() => "PULLED",
            ContainerPhase::Pending => "NONE",
            ContainerPhase::Running => "RUNNING",
            ContainerPhase::Stopped => "STOPPED",
        },
        exit_code: seen.and_then(|seen| seen.exit_code),
        limits: ContainerLimits {
            cpu_units: template.cpu_units.max(CPU_UNITS_LEAST),
            memory_mib: template.memory_mib,
        },
        // A container is made and started in one step here.
        created_at: started_at.clone(),
        started_at,
        finished_at: seen.and_then(|seen| seen.stopped_at).map(time),
        r#type: "NORMAL",
        health: template.health_check.as_ref().map(|_| health(seen)),
        networks: network(version, assignment).into_iter().collect(),
        container_arn: assignment.inside.container_arns.get(at).map(String::as_str),
        log_options: log_options(assignment, template),
        log_driver: template.log.as_ref().map(|_| "awslogs"),
        snapshotter: (version == Version::V4).then_some("overlayfs"),
        restart_count: template
            .restart_policy
            .as_ref()
            .filter(|policy| policy.enabled)
            .map(|_| seen.map_or(0, |seen| seen.restart_count)),
    })
}

fn health(seen: Option<&ContainerReport>) -> HealthDocument {
    HealthDocument {
        status: seen.map_or(Health::Unknown, |seen| seen.health).as_str(),
        status_since: seen.and_then(|seen| seen.health_at).map(time),
    }
}

fn labels<'a>(
    assignment: &'a Assignment,
    template: &'a ContainerTemplate,
) -> BTreeMap<&'a str, String> {
    let own = template.docker_labels.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let mut labels: BTreeMap<&str, String> = own.collect();
    labels.insert("com.amazonaws.ecs.cluster", assignment.cluster_arn.clone());
    labels.insert("com.amazonaws.ecs.container-name", template.name.clone());
    labels.insert("com.amazonaws.ecs.task-arn", assignment.task_arn.clone());
    labels.insert("com.amazonaws.ecs.task-definition-family", assignment.family.to_string());
    labels.insert("com.amazonaws.ecs.task-definition-version", assignment.revision.to_string());
    labels
}

fn log_options(
    assignment: &Assignment,
    template: &ContainerTemplate,
) -> BTreeMap<&'static str, String> {
    let Some(log) = &template.log else { return BTreeMap::new() };
    let mut options = BTreeMap::from([
        ("awslogs-group", log.group.clone()),
        ("awslogs-region", log.region.clone()),
        ("awslogs-stream", log.stream(&template.name, assignment.task.as_str())),
    ]);
    if log.create_group {
        options.insert("awslogs-create-group", "true".to_owned());
    }
    options
}

fn network(version: Version, assignment: &Assignment) -> Option<Network<'_>> {
    let (interface, subnet) = (assignment.interface.as_ref()?, assignment.subnet.as_ref()?);
    let resolving = launch::resolving(assignment).unwrap_or_default();
    let more = NetworkDetails {
        attachment_index: 0,
        mac_address: &interface.mac,
        subnet_cidr_block: subnet.cidr.to_string(),
        domain_name_servers: resolving.servers.iter().map(ToString::to_string).collect(),
        domain_name_search_list: resolving.search,
        private_dns_name: &interface.private_dns_name,
        subnet_gateway: format!("{}/{}", subnet.gateway, subnet.cidr.prefix),
    };
    Some(Network {
        network_mode: "awsvpc",
        ipv4_addresses: [interface.private_ip.to_string()],
        more: Some(more).filter(|_| version == Version::V4),
    })
}
