//! What any task definition must satisfy, on Fargate or not, in AWS's words (from published output
//! of the real service where it is known). Checks run after defaults are filled in.

use super::stored::Stored;
use super::template::parse_bytes;
use crate::ecs::names::is_name;
use crate::ecs::size;
use crate::fault::{Fault, client};
use model::limits::CONTAINERS_PER_TASK_MAX;
use std::collections::{BTreeMap, BTreeSet};
use wire::ecs;

/// Bounds of a health check. Source: API reference, HealthCheck.
const HEALTH_INTERVAL_SECONDS: std::ops::RangeInclusive<i32> = 5..=300;
const HEALTH_TIMEOUT_SECONDS: std::ops::RangeInclusive<i32> = 2..=60;
const HEALTH_RETRIES: std::ops::RangeInclusive<i32> = 1..=10;
const HEALTH_START_PERIOD_SECONDS: std::ops::RangeInclusive<i32> = 0..=300;
/// Source: API reference, ContainerRestartPolicy.
const RESTART_PERIOD_SECONDS: std::ops::RangeInclusive<i32> = 60..=1800;
const IGNORED_EXIT_CODES_MAX: usize = 50;
/// Source: API reference, ContainerDefinition (startTimeout, stopTimeout).
const TIMEOUT_SECONDS_MIN: i32 = 2;
const START_TIMEOUT_SECONDS_MAX: i32 = 120;

pub fn check(definition: &Stored) -> Result<(), Fault> {
    containers(definition.containers())?;
    volumes(definition.volumes())?;
    if definition.inference_accelerators.is_some() {
        return Err(client("Unsupported field 'inferenceAccelerators'"));
    }
    for role in [&definition.task_role_arn, &definition.execution_role_arn] {
        let role = role.as_deref().unwrap_or_default();
        if role.starts_with("arn:") && !role.contains(":role/") {
            return Err(client("Role is not valid"));
        }
    }
    for container in definition.containers() {
        one(definition, container)?;
    }
    sums(definition)?;
    port_names(definition.containers())
}

fn containers(containers: &[ecs::ContainerDefinition]) -> Result<(), Fault> {
    if containers.is_empty() {
        return Err(client("Container list cannot be empty."));
    }
    if containers.len() > CONTAINERS_PER_TASK_MAX {
        return Err(client("Too many containers."));
    }
    let mut names = BTreeSet::new();
    for container in containers {
        let name = container.name.as_deref().unwrap_or("");
        if name.is_empty() {
            return Err(client("Container.name should not be null or empty."));
        }
        if !is_name(name) {
            return Err(client("Container.name contains invalid characters."));
        }
        if !names.insert(name) {
            return Err(client("Container names must be unique within a task definition"));
        }
        let image = container.image.as_deref().unwrap_or("");
        if image.is_empty() {
            return Err(client("Container.image should not be null or empty."));
        }
        if image.len() > 1024 || image.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(client("Container.image contains invalid characters."));
        }
    }
    if !containers.iter().any(|container| container.essential == Some(true)) {
        return Err(client("Task definition doesn't have any essential container."));
    }
    Ok(())
}

fn volumes(volumes: &[ecs::Volume]) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    for volume in volumes {
        let name = volume.name.as_deref().unwrap_or("");
        if !is_name(name) {
            return Err(client(
                "Volume.name should not be null or empty, nor have invalid characters.",
            ));
        }
        if !names.insert(name) {
            return Err(client("Volume names must be unique within a task definition"));
        }
        let unsupported = [
            (volume.efs_volume_configuration.is_some(), "efsVolumeConfiguration"),
            (volume.s3files_volume_configuration.is_some(), "s3filesVolumeConfiguration"),
            (volume.configured_at_launch == Some(true), "configuredAtLaunch"),
        ];
        if let Some((_, field)) = unsupported.iter().find(|(set, _)| *set) {
            return Err(client(format!("Neargate does not support {field} (volume '{name}') yet")));
        }
    }
    Ok(())
}

fn one(definition: &Stored, container: &ecs::ContainerDefinition) -> Result<(), Fault> {
    let name = container.name.as_deref().unwrap_or("");
    memory(definition, name, container)?;
    if definition.is_awsvpc() {
        awsvpc(container)?;
    }
    ports(definition, container)?;
    times(name, container)?;
    dependencies(definition.containers(), container)?;
    mounts(definition, container)?;
    if let Some(health) = &container.health_check {
        health_check(health)?;
    }
    capabilities(name, container)?;
    for limit in container.ulimits.iter().flatten() {
        let (soft, hard) = (limit.soft_limit.unwrap_or(0), limit.hard_limit.unwrap_or(0));
        let name = limit.name.as_ref().map_or("", ecs::UlimitName::as_str);
        if soft > hard || soft < 0 {
            return Err(client(format!("Soft limit exceeds hard limit for ulimit {name}")));
        }
    }
    for pair in container.environment.iter().flatten() {
        if pair.name.as_deref().unwrap_or("").is_empty() {
            return Err(client("Environment variable name should not be null or empty."));
        }
    }
    secrets(definition, container)?;
    logging(container)
}

/// Secret environment variables and the registry's user. Whether what they name is there is seen
/// when a task starts, as on ECS.
fn secrets(definition: &Stored, container: &ecs::ContainerDefinition) -> Result<(), Fault> {
    let secrets = container.secrets.as_deref().unwrap_or_default();
    if !secrets.is_empty() && definition.execution_role_arn.is_none() {
        return Err(client(
            "When you are specifying container secrets, you must also specify a value for \
             'executionRoleArn'.",
        ));
    }
    let plain = container.environment.iter().flatten().filter_map(|pair| pair.name.as_deref());
    let mut names: BTreeSet<&str> = plain.collect();
    for secret in secrets {
        let name = secret.name.as_deref().unwrap_or("");
        if name.is_empty() {
            return Err(client("Secret.name should not be null or empty."));
        }
        let value_from = secret.value_from.as_deref().unwrap_or("");
        if plan::value_from::parse(value_from).is_none_or(|_| value_from.is_empty()) {
            return Err(client(format!("Invalid 'valueFrom' setting for secret '{name}'.")));
        }
        if !names.insert(name) {
            return Err(client(format!(
                "The secret name must be unique and not shared with any new or existing \
                 environment variables set on the container, such as '{name}'."
            )));
        }
    }
    let Some(credentials) = &container.repository_credentials else { return Ok(()) };
    if credentials.credentials_parameter.as_deref().unwrap_or("").is_empty() {
        return Err(client("RepositoryCredentials.credentialsParameter should not be empty."));
    }
    match definition.execution_role_arn {
        Some(_) => Ok(()),
        None => Err(client(
            "When you are specifying repositoryCredentials, you must also specify a value for \
             'executionRoleArn'.",
        )),
    }
}

fn memory(
    definition: &Stored,
    name: &str,
    container: &ecs::ContainerDefinition,
) -> Result<(), Fault> {
    let invalid =
        |what: &str| Err(client(format!("Invalid setting for container '{name}'. {what}")));
    let of_task = definition.memory.as_deref().and_then(size::parse_memory_mib);
    let (hard, soft) = (container.memory, container.memory_reservation);
    if hard.is_none() && soft.is_none() && of_task.is_none() {
        return invalid("At least one of 'memory' or 'memoryReservation' must be specified.");
    }
    if hard.is_some_and(|mib| mib <= 0) || soft.is_some_and(|mib| mib <= 0) {
        return invalid("'memory' and 'memoryReservation' must be greater than 0.");
    }
    if container.cpu.is_some_and(|units| units < 0) {
        return invalid("'cpu' must not be negative.");
    }
    if let (Some(hard), Some(soft)) = (hard, soft)
        && hard < soft
    {
        return invalid("'memory' must be greater than or equal to 'memoryReservation'.");
    }
    let more = |mib: Option<i32>| match (mib, of_task) {
        (Some(mib), Some(of_task)) => i64::from(mib) > i64::from(of_task),
        _ => false,
    };
    for (mib, setting) in [(hard, "memory"), (soft, "memoryReservation")] {
        if more(mib) {
            return Err(client(format!(
                "The '{setting}' setting for container '{name}' is greater than for the task."
            )));
        }
    }
    Ok(())
}

fn sums(definition: &Stored) -> Result<(), Fault> {
    let of_task = definition.cpu.as_deref().and_then(size::parse_cpu_units);
    let sum: i64 = definition.containers().iter().map(|c| i64::from(c.cpu.unwrap_or(0))).sum();
    if of_task.is_some_and(|of_task| sum > i64::from(of_task)) {
        return Err(client(
            "The sum of all container 'cpu' values cannot be greater than the value of the task \
             'cpu'.",
        ));
    }
    let of_task = definition.memory.as_deref().and_then(size::parse_memory_mib);
    let soft = |c: &ecs::ContainerDefinition| i64::from(c.memory_reservation.unwrap_or(0));
    let sum: i64 = definition.containers().iter().map(soft).sum();
    if of_task.is_some_and(|of_task| sum > i64::from(of_task)) {
        return Err(client(
            "The sum of all container 'memoryReservation' values cannot be greater than the value \
             of the task 'memory'.",
        ));
    }
    Ok(())
}

fn awsvpc(container: &ecs::ContainerDefinition) -> Result<(), Fault> {
    fn filled<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    let refused = [
        (filled(container.links.as_ref()), "Links are"),
        (container.disable_networking == Some(true), "Disable Networking is"),
        (filled(container.dns_servers.as_ref()), "DNS servers are"),
        (filled(container.dns_search_domains.as_ref()), "DNS search domains are"),
        (filled(container.extra_hosts.as_ref()), "Extra hosts are"),
        (container.hostname.is_some(), "Hostname is"),
    ];
    match refused.iter().find(|(set, _)| *set) {
        None => Ok(()),
        Some((_, what)) => {
            let text = format!("{what} not supported on container when networkMode=awsvpc");
            Err(client(text))
        }
    }
}

fn ports(definition: &Stored, container: &ecs::ContainerDefinition) -> Result<(), Fault> {
    let valid = |port: i32| (1..=65535).contains(&port);
    let same =
        matches!(definition.network_mode, Some(ecs::NetworkMode::Awsvpc | ecs::NetworkMode::Host));
    for mapping in container.port_mappings.iter().flatten() {
        if mapping.container_port_range.is_some() {
            if mapping.container_port.is_some() || mapping.host_port.is_some() {
                return Err(client("cannot specify both single port and port range"));
            }
            continue;
        }
        let Some(port) = mapping.container_port else {
            return Err(client("Container port should not be null."));
        };
        if !valid(port) {
            return Err(client(format!("Invalid container port: {port}")));
        }
        let host = mapping.host_port.unwrap_or(0);
        if same && host != 0 && host != port {
            let mode = definition.network_mode.as_ref().map_or("", ecs::NetworkMode::as_str);
            return Err(client(format!(
                "When networkMode={mode}, the host ports and container ports in port mappings must \
                 match."
            )));
        }
        if host != 0 && !valid(host) {
            return Err(client(format!("Invalid host port: {host}")));
        }
    }
    Ok(())
}

fn port_names(containers: &[ecs::ContainerDefinition]) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    let mappings = containers.iter().flat_map(|c| c.port_mappings.iter().flatten());
    for name in mappings.filter_map(|mapping| mapping.name.as_deref()) {
        if !names.insert(name) {
            return Err(client(format!("port mapping name {name} is already used")));
        }
    }
    Ok(())
}

fn times(name: &str, container: &ecs::ContainerDefinition) -> Result<(), Fault> {
    for (what, seconds) in [("start", container.start_timeout), ("stop", container.stop_timeout)] {
        if seconds.is_some_and(|seconds| seconds < TIMEOUT_SECONDS_MIN) {
            return Err(client(format!(
                "Granular {what} timeout on container '{name}' must be at least 2 seconds."
            )));
        }
    }
    if container.start_timeout.is_some_and(|seconds| seconds > START_TIMEOUT_SECONDS_MAX) {
        return Err(client(format!(
            "Granular start timeout on container '{name}' must be at most 120 seconds."
        )));
    }
    let Some(policy) = &container.restart_policy else { return Ok(()) };
    if policy.restart_attempt_period.is_some_and(|s| !RESTART_PERIOD_SECONDS.contains(&s)) {
        return Err(client(format!(
            "the 'restartAttemptPeriod' setting for container '{name}' must be between 60 and 1800"
        )));
    }
    if policy.ignored_exit_codes.as_ref().is_some_and(|list| list.len() > IGNORED_EXIT_CODES_MAX) {
        return Err(client(format!(
            "the 'ignoredExitCodes' setting for container '{name}' must have at most 50 items"
        )));
    }
    Ok(())
}

fn dependencies(
    containers: &[ecs::ContainerDefinition],
    container: &ecs::ContainerDefinition,
) -> Result<(), Fault> {
    for dependency in container.depends_on.iter().flatten() {
        let on = dependency.container_name.as_deref().unwrap_or("");
        let Some(target) = containers.iter().find(|c| c.name.as_deref() == Some(on)) else {
            return Err(client(format!(
                "Cannot depend on container + '{on}' because it does not exist"
            )));
        };
        match dependency.condition {
            Some(ecs::ContainerCondition::Success | ecs::ContainerCondition::Complete)
                if target.essential == Some(true) =>
            {
                return Err(client(
                    "A dependency container with SUCCESS or COMPLETE condition cannot be an \
                     essential container",
                ));
            }
            Some(ecs::ContainerCondition::Healthy) if target.health_check.is_none() => {
                return Err(client(
                    "A dependency container with HEALTHY condition must have health check \
                     configured",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn mounts(definition: &Stored, container: &ecs::ContainerDefinition) -> Result<(), Fault> {
    for mount in container.mount_points.iter().flatten() {
        let volume = mount.source_volume.as_deref().unwrap_or("");
        if !definition.volumes().iter().any(|v| v.name.as_deref() == Some(volume)) {
            return Err(client(format!("Unknown volume '{volume}'")));
        }
        let path = mount.container_path.as_deref().unwrap_or("");
        if !path.starts_with('/') || path.contains('\0') || path.split('/').any(|p| p == "..") {
            return Err(client(format!("Invalid mount path '{path}' of volume '{volume}'")));
        }
    }
    for from in container.volumes_from.iter().flatten() {
        let source = from.source_container.as_deref().unwrap_or("");
        let known = definition.containers().iter().any(|c| c.name.as_deref() == Some(source));
        if !known || container.name.as_deref() == Some(source) {
            return Err(client(format!(
                "Invalid 'volumesFrom' setting. Unknown container: '{source}'"
            )));
        }
    }
    Ok(())
}

fn health_check(check: &ecs::HealthCheck) -> Result<(), Fault> {
    let command = check.command.as_deref().unwrap_or_default();
    if command.first().is_none_or(String::is_empty) {
        return Err(client("Health check command should not be null or empty."));
    }
    if matches!(command, [only] if only == "CMD" || only == "CMD-SHELL") {
        return Err(client("Health check command has nothing to run."));
    }
    for (name, value, range) in [
        ("interval", check.interval, HEALTH_INTERVAL_SECONDS),
        ("timeout", check.timeout, HEALTH_TIMEOUT_SECONDS),
        ("retries", check.retries, HEALTH_RETRIES),
        ("startPeriod", check.start_period, HEALTH_START_PERIOD_SECONDS),
    ] {
        if value.is_some_and(|value| !range.contains(&value)) {
            let (low, high) = (range.start(), range.end());
            return Err(client(format!(
                "Health check parameter '{name}' must be between {low} and {high}."
            )));
        }
    }
    Ok(())
}

/// Names as Docker has them, without `CAP_`. Source: API reference, KernelCapabilities.
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

fn capabilities(name: &str, container: &ecs::ContainerDefinition) -> Result<(), Fault> {
    let linux = container.linux_parameters.as_ref();
    let Some(given) = linux.and_then(|linux| linux.capabilities.as_ref()) else { return Ok(()) };
    let mut all = given.add.iter().chain(given.drop.iter()).flatten();
    match all.find(|capability| !CAPABILITIES.contains(&capability.as_str())) {
        None => Ok(()),
        Some(other) => Err(client(format!(
            "Invalid setting for container '{name}'. Unknown capability: {other}"
        ))),
    }
}

/// What awslogs takes. Source: developer guide, using_awslogs.
const AWSLOGS_OPTIONS: &[&str] = &[
    "awslogs-create-group",
    "awslogs-datetime-format",
    "awslogs-group",
    "awslogs-multiline-pattern",
    "awslogs-region",
    "awslogs-stream-prefix",
    "max-buffer-size",
    "mode",
];
const AWSLOGS_OPTIONS_REQUIRED: [&str; 2] = ["awslogs-region", "awslogs-group"];

fn logging(container: &ecs::ContainerDefinition) -> Result<(), Fault> {
    let Some(log) = &container.log_configuration else { return Ok(()) };
    if log.log_driver != Some(ecs::LogDriver::Awslogs) {
        return Ok(());
    }
    let none = BTreeMap::new();
    let options = log.options.as_ref().unwrap_or(&none);
    let is_missing = |name: &&str| options.get(*name).is_none_or(String::is_empty);
    let missing: Vec<&str> = AWSLOGS_OPTIONS_REQUIRED.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        let text = format!("Log driver awslogs requires options: {}", missing.join(", "));
        return Err(client(text));
    }
    let names = options.keys().map(String::as_str);
    let other: Vec<&str> = names.filter(|name| !AWSLOGS_OPTIONS.contains(name)).collect();
    if !other.is_empty() {
        let text = format!("Log driver awslogs disallows options: {}", other.join(", "));
        return Err(client(text));
    }
    let values: [(&str, fn(&str) -> bool); 3] = [
        ("awslogs-create-group", |value| matches!(value, "true" | "false")),
        ("mode", |value| matches!(value, "blocking" | "non-blocking")),
        ("max-buffer-size", |value| parse_bytes(value).is_some()),
    ];
    for (name, is_valid) in values {
        if options.get(name).is_some_and(|value| !is_valid(value)) {
            return Err(client(format!("Log driver awslogs: invalid value of option {name}")));
        }
    }
    Ok(())
}
