//! From the caller's document to the template that decisions read: typed, defaults filled in,
//! nothing left that only AWS's wire knows.

use super::stored::{
    HEALTH_INTERVAL_SECONDS, HEALTH_RETRIES, HEALTH_TIMEOUT_SECONDS, RESTART_PERIOD_SECONDS, Stored,
};
use crate::ecs::size;
use model::limits::STOP_TIMEOUT_SECONDS_DEFAULT;
use model::task_definition as td;
use std::collections::BTreeMap;
use wire::ecs;

/// Ephemeral storage of a task that asks for none, in GiB. Source: developer guide,
/// fargate-task-storage.
pub const EPHEMERAL_STORAGE_GIB_DEFAULT: u32 = 20;
/// awslogs' buffer in non-blocking mode. Source: developer guide, using_awslogs (max-buffer-size).
const LOG_BUFFER_BYTES_DEFAULT: u64 = 10 * 1024 * 1024;
const CPU_ARCHITECTURE_DEFAULT: &str = "X86_64";

/// Checks have passed, so numbers are in range; what is negative all the same counts as 0.
fn unsigned(value: Option<i32>) -> Option<u32> {
    value.map(|value| u32::try_from(value).unwrap_or(0))
}

/// `non_blocking` is what awslogs does when the definition does not say: the account setting
/// `defaultLogDriverMode`.
pub fn template(definition: &Stored, non_blocking: bool) -> td::TaskTemplate {
    let platform = definition.runtime_platform.as_ref();
    let architecture = platform.and_then(|platform| platform.cpu_architecture.as_ref());
    let storage = definition.ephemeral_storage.as_ref().and_then(|storage| storage.size_in_gib);
    td::TaskTemplate {
        cpu_units: definition.cpu.as_deref().and_then(size::parse_cpu_units).unwrap_or(0),
        memory_mib: definition.memory.as_deref().and_then(size::parse_memory_mib).unwrap_or(0),
        ephemeral_storage_gib: unsigned(storage).unwrap_or(EPHEMERAL_STORAGE_GIB_DEFAULT),
        cpu_architecture: architecture
            .map_or(CPU_ARCHITECTURE_DEFAULT, |architecture| architecture.as_str())
            .to_owned(),
        task_role_arn: definition.task_role_arn.clone(),
        execution_role_arn: definition.execution_role_arn.clone(),
        containers: definition.containers().iter().map(|c| container(c, non_blocking)).collect(),
        volumes: definition.volumes().iter().filter_map(|volume| volume.name.clone()).collect(),
        unhonoured: super::unhonoured::first(definition),
    }
}

fn container(given: &ecs::ContainerDefinition, non_blocking: bool) -> td::ContainerTemplate {
    let linux = given.linux_parameters.as_ref();
    let capabilities = linux.and_then(|linux| linux.capabilities.as_ref());
    td::ContainerTemplate {
        name: given.name.clone().unwrap_or_default(),
        image: given.image.clone().unwrap_or_default(),
        cpu_units: unsigned(given.cpu).unwrap_or(0),
        memory_mib: unsigned(given.memory),
        memory_reservation_mib: unsigned(given.memory_reservation),
        essential: given.essential.unwrap_or(true),
        // An empty list means the image's own, as on AWS.
        entry_point: given.entry_point.clone().filter(|list| !list.is_empty()),
        command: given.command.clone().filter(|list| !list.is_empty()),
        environment: pairs(given.environment.as_deref()),
        secrets: secrets(given.secrets.as_deref()),
        unpinned: given.version_consistency == Some(ecs::VersionConsistency::Disabled),
        credentials_parameter: given
            .repository_credentials
            .as_ref()
            .and_then(|credentials| credentials.credentials_parameter.clone()),
        working_directory: given.working_directory.clone().filter(|text| !text.is_empty()),
        user: given.user.clone().filter(|text| !text.is_empty()),
        depends_on: given.depends_on.iter().flatten().map(dependency).collect(),
        health_check: given.health_check.as_ref().and_then(health_check),
        start_timeout_seconds: unsigned(given.start_timeout),
        stop_timeout_seconds: unsigned(given.stop_timeout).unwrap_or(STOP_TIMEOUT_SECONDS_DEFAULT),
        restart_policy: given.restart_policy.as_ref().map(restart_policy),
        ulimits: given.ulimits.iter().flatten().map(ulimit).collect(),
        readonly_root: given.readonly_root_filesystem.unwrap_or(false),
        mount_points: given.mount_points.iter().flatten().map(mount_point).collect(),
        volumes_from: given.volumes_from.iter().flatten().map(volume_from).collect(),
        init_process: linux.and_then(|linux| linux.init_process_enabled).unwrap_or(false),
        capabilities_add: capabilities.and_then(|c| c.add.clone()).unwrap_or_default(),
        capabilities_drop: capabilities.and_then(|c| c.drop.clone()).unwrap_or_default(),
        port_mappings: given.port_mappings.iter().flatten().filter_map(port_mapping).collect(),
        log: given.log_configuration.as_ref().and_then(|log| awslogs(log, non_blocking)),
        interactive: given.interactive.unwrap_or(false),
        pseudo_terminal: given.pseudo_terminal.unwrap_or(false),
        system_controls: given
            .system_controls
            .iter()
            .flatten()
            .filter_map(|control| Some((control.namespace.clone()?, control.value.clone()?)))
            .collect(),
        docker_labels: given.docker_labels.clone().unwrap_or_default(),
    }
}

/// The later of two equal names wins, as it does in a container's environment.
pub fn pairs(given: Option<&[ecs::KeyValuePair]>) -> BTreeMap<String, String> {
    let given = given.unwrap_or_default().iter();
    given
        .filter_map(|pair| Some((pair.name.clone()?, pair.value.clone().unwrap_or_default())))
        .collect()
}

/// Where the values of secret environment variables are to be looked up, by the variable's name.
fn secrets(given: Option<&[ecs::Secret]>) -> BTreeMap<String, String> {
    let given = given.unwrap_or_default().iter();
    given.filter_map(|secret| Some((secret.name.clone()?, secret.value_from.clone()?))).collect()
}

fn dependency(given: &ecs::ContainerDependency) -> td::Dependency {
    td::Dependency {
        container: given.container_name.clone().unwrap_or_default(),
        condition: match given.condition {
            Some(ecs::ContainerCondition::Complete) => td::DependencyCondition::Complete,
            Some(ecs::ContainerCondition::Success) => td::DependencyCondition::Success,
            Some(ecs::ContainerCondition::Healthy) => td::DependencyCondition::Healthy,
            // Required by the model and checked against its values.
            _ => td::DependencyCondition::Start,
        },
    }
}

/// None for `["NONE"]`, which turns the check off. A command that begins with neither CMD nor
/// CMD-SHELL is run directly, as Docker does.
fn health_check(given: &ecs::HealthCheck) -> Option<td::HealthCheck> {
    let mut command = given.command.clone().unwrap_or_default();
    match command.first().map(String::as_str) {
        Some("NONE") => return None,
        Some("CMD" | "CMD-SHELL") => {}
        _ => command.insert(0, "CMD".to_owned()),
    }
    let seconds = |value, default| unsigned(Some(value)).unwrap_or(default);
    Some(td::HealthCheck {
        command,
        interval_seconds: seconds(given.interval.unwrap_or(HEALTH_INTERVAL_SECONDS), 0),
        timeout_seconds: seconds(given.timeout.unwrap_or(HEALTH_TIMEOUT_SECONDS), 0),
        retries: seconds(given.retries.unwrap_or(HEALTH_RETRIES), 0),
        start_period_seconds: unsigned(given.start_period).unwrap_or(0),
    })
}

fn restart_policy(given: &ecs::ContainerRestartPolicy) -> td::RestartPolicy {
    let period = given.restart_attempt_period.unwrap_or(RESTART_PERIOD_SECONDS);
    td::RestartPolicy {
        enabled: given.enabled.unwrap_or(false),
        ignored_exit_codes: given.ignored_exit_codes.clone().unwrap_or_default(),
        attempt_period_seconds: unsigned(Some(period)).unwrap_or(0),
    }
}

fn ulimit(given: &ecs::Ulimit) -> td::Ulimit {
    let value = |limit: Option<i32>| u64::from(unsigned(limit).unwrap_or(0));
    td::Ulimit {
        name: given.name.as_ref().map_or("", ecs::UlimitName::as_str).to_owned(),
        soft: value(given.soft_limit),
        hard: value(given.hard_limit),
    }
}

fn mount_point(given: &ecs::MountPoint) -> td::MountPoint {
    td::MountPoint {
        volume: given.source_volume.clone().unwrap_or_default(),
        container_path: given.container_path.clone().unwrap_or_default(),
        read_only: given.read_only.unwrap_or(false),
    }
}

fn volume_from(given: &ecs::VolumeFrom) -> td::VolumeFrom {
    td::VolumeFrom {
        container: given.source_container.clone().unwrap_or_default(),
        read_only: given.read_only.unwrap_or(false),
    }
}

/// None for a range of ports: on awsvpc a mapping opens nothing, it only names a port for others to
/// find.
fn port_mapping(given: &ecs::PortMapping) -> Option<td::PortMapping> {
    let udp = given.protocol == Some(ecs::TransportProtocol::Udp);
    Some(td::PortMapping {
        container_port: u16::try_from(given.container_port?).ok()?,
        protocol: if udp { "udp" } else { "tcp" }.to_owned(),
        name: given.name.clone(),
    })
}

/// None for other drivers; RunTask refuses those.
fn awslogs(given: &ecs::LogConfiguration, non_blocking: bool) -> Option<td::LogConfiguration> {
    if given.log_driver != Some(ecs::LogDriver::Awslogs) {
        return None;
    }
    let options = given.options.as_ref();
    let option = |name: &str| options.and_then(|options| options.get(name)).cloned();
    let mode = option("mode");
    Some(td::LogConfiguration {
        group: option("awslogs-group").unwrap_or_default(),
        region: option("awslogs-region").unwrap_or_default(),
        stream_prefix: option("awslogs-stream-prefix").unwrap_or_default(),
        create_group: option("awslogs-create-group").as_deref() == Some("true"),
        non_blocking: match mode.as_deref() {
            Some("non-blocking") => true,
            Some("blocking") => false,
            _ => non_blocking,
        },
        buffer_bytes_max: option("max-buffer-size")
            .and_then(|text| parse_bytes(&text))
            .unwrap_or(LOG_BUFFER_BYTES_DEFAULT),
        multiline_pattern: option("awslogs-multiline-pattern"),
        datetime_format: option("awslogs-datetime-format"),
    })
}

/// Docker's way of writing sizes: `512k`, `25m`, `1g`, or bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (digits, unit) = match text.strip_suffix(['k', 'm', 'g']) {
        None => (text, 1),
        Some(digits) if text.ends_with('k') => (digits, 1 << 10),
        Some(digits) if text.ends_with('m') => (digits, 1 << 20),
        Some(digits) => (digits, 1 << 30),
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_sizes_are_written_dockers_way() {
        for (text, bytes) in [
            ("25m", Some(25 << 20)),
            ("512K", Some(512 << 10)),
            ("1g", Some(1 << 30)),
            ("4mb", Some(4 << 20)),
            ("1000", Some(1000)),
            ("0", None),
            ("m", None),
            ("", None),
            ("99999999999999g", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
    }
}
