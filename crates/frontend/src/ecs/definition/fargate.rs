//! What Fargate refuses of a task definition, in AWS's words. A definition that requires FARGATE is
//! refused at once; any other one may be registered, and whether it could run on Fargate decides
//! its `compatibilities` and whether RunTask takes it. Source: ECS developer guide,
//! fargate-tasks-services (parameters that aren't valid); texts from published output of the real
//! service.

use super::stored::Stored;
use crate::ecs::size;
use wire::ecs;

/// Sizes of ephemeral storage that may be asked for, in GiB. Without asking it is 20.
const EPHEMERAL_STORAGE_GIB: std::ops::RangeInclusive<i32> = 21..=200;
/// Longest stop timeout, in seconds.
const STOP_TIMEOUT_SECONDS_MAX: i32 = 120;
/// Highest value of any ulimit.
const ULIMIT_MAX: i32 = 1_048_576;

fn unsupported(field: &str) -> String {
    format!("Fargate compatible task definitions do not support {field}")
}

/// Why this definition can't run on Fargate; None when it can.
pub fn problem(definition: &Stored) -> Option<String> {
    task(definition)
        .or_else(|| volumes(definition.volumes()))
        .or_else(|| definition.containers().iter().find_map(|c| container(definition, c)))
}

fn task(definition: &Stored) -> Option<String> {
    if !definition.is_awsvpc() {
        return Some("Fargate only supports network mode ‘awsvpc’.".to_owned());
    }
    if let Some(problem) = task_size(definition) {
        return Some(problem);
    }
    if definition.ipc_mode.is_some() {
        return Some(unsupported("ipcMode"));
    }
    match &definition.pid_mode {
        None | Some(ecs::PidMode::Task) => {}
        Some(mode) => {
            return Some(format!(
                "Tasks using the Fargate launch type do not support pidMode '{mode}'. The \
                 supported value for pidMode is 'task'."
            ));
        }
    }
    if definition.placement_constraints.as_ref().is_some_and(|list| !list.is_empty()) {
        return Some(unsupported("constraints"));
    }
    let storage = definition.ephemeral_storage.as_ref().and_then(|storage| storage.size_in_gib);
    match storage {
        Some(gib) if gib < *EPHEMERAL_STORAGE_GIB.start() => {
            Some("EphemeralStorage size should be at least 21".to_owned())
        }
        Some(gib) if gib > *EPHEMERAL_STORAGE_GIB.end() => {
            Some("EphemeralStorage size should be at most 200".to_owned())
        }
        _ => None,
    }
}

fn task_size(definition: &Stored) -> Option<String> {
    let missing = |what| format!("Fargate requires that '{what}' be defined at the task level.");
    let Some(cpu) = definition.cpu.as_deref() else { return Some(missing("cpu")) };
    let Some(memory) = definition.memory.as_deref() else { return Some(missing("memory")) };
    let exists = match (size::parse_cpu_units(cpu), size::parse_memory_mib(memory)) {
        (Some(cpu), Some(memory)) => size::exists(cpu, memory),
        _ => false,
    };
    (!exists).then(|| "No Fargate configuration exists for given values.".to_owned())
}

fn volumes(volumes: &[ecs::Volume]) -> Option<String> {
    volumes.iter().find_map(|volume| {
        if volume.host.as_ref().is_some_and(|host| host.source_path.is_some()) {
            return Some("host.sourcePath should not be set for volumes in Fargate.".to_owned());
        }
        if volume.docker_volume_configuration.is_some() {
            return Some(unsupported("dockerVolumeConfiguration"));
        }
        let fsx = volume.fsx_windows_file_server_volume_configuration.is_some();
        fsx.then(|| unsupported("fsxWindowsFileServerVolumeConfiguration"))
    })
}

fn filled<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

fn container(definition: &Stored, container: &ecs::ContainerDefinition) -> Option<String> {
    if container.privileged == Some(true) {
        return Some("Fargate requires that the 'privileged' setting be 'false'".to_owned());
    }
    let refused = [
        (filled(container.links.as_ref()), "links"),
        (container.disable_networking == Some(true), "disableNetworking"),
        (filled(container.dns_servers.as_ref()), "dnsServers"),
        (filled(container.dns_search_domains.as_ref()), "dnsSearchDomains"),
        (filled(container.extra_hosts.as_ref()), "extraHosts"),
        (filled(container.docker_security_options.as_ref()), "dockerSecurityOptions"),
    ];
    if let Some((_, field)) = refused.iter().find(|(set, _)| *set) {
        return Some(unsupported(field));
    }
    let gpu = |need: &ecs::ResourceRequirement| need.r#type == Some(ecs::ResourceType::Gpu);
    if container.resource_requirements.iter().flatten().any(gpu) {
        let text = "Tasks using the Fargate launch type do not support GPU resource requirements";
        return Some(text.to_owned());
    }
    if container.stop_timeout.is_some_and(|seconds| seconds > STOP_TIMEOUT_SECONDS_MAX) {
        let text = "Tasks using the Fargate launch type must have a container stop timeout of less \
                    than 120 seconds.";
        return Some(text.to_owned());
    }
    let high = |limit: &ecs::Ulimit| limit.hard_limit.is_some_and(|hard| hard > ULIMIT_MAX);
    if container.ulimits.iter().flatten().any(high) {
        return Some(format!("Fargate supports ulimits of at most {ULIMIT_MAX}"));
    }
    let linux = container.linux_parameters.as_ref();
    linux.and_then(linux_parameters).or_else(|| logging(definition, container))
}

fn linux_parameters(linux: &ecs::LinuxParameters) -> Option<String> {
    let refused = [
        (filled(linux.devices.as_ref()), "devices"),
        (linux.shared_memory_size.is_some(), "sharedMemorySize"),
        (filled(linux.tmpfs.as_ref()), "tmpfs"),
        (linux.max_swap.is_some(), "maxSwap"),
        (linux.swappiness.is_some(), "swappiness"),
    ];
    if let Some((_, field)) = refused.iter().find(|(set, _)| *set) {
        return Some(unsupported(field));
    }
    let added = linux.capabilities.iter().filter_map(|c| c.add.as_ref()).flatten();
    let other = added.into_iter().find(|name| *name != "SYS_PTRACE")?;
    Some(format!("{}: only SYS_PTRACE may be added", unsupported(&format!("capability {other}"))))
}

fn logging(definition: &Stored, container: &ecs::ContainerDefinition) -> Option<String> {
    let log = container.log_configuration.as_ref()?;
    let driver = log.log_driver.as_ref()?;
    let fargate = [ecs::LogDriver::Awslogs, ecs::LogDriver::Splunk, ecs::LogDriver::Awsfirelens];
    if !fargate.contains(driver) {
        return Some(format!(
            "{driver} is not a valid log driver. Must be one of [awslogs, splunk, awsfirelens]"
        ));
    }
    if *driver != ecs::LogDriver::Awslogs {
        return None;
    }
    if log.options.as_ref().is_none_or(|options| !options.contains_key("awslogs-stream-prefix")) {
        let text = "Fargate requires log configuration options to include awslogs-stream-prefix";
        return Some(format!("{text} to support log driver awslogs."));
    }
    definition.execution_role_arn.is_none().then(|| {
        let text = "Fargate requires task definition to have execution role ARN to support log";
        format!("{text} driver awslogs.")
    })
}
