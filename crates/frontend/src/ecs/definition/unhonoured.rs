//! Fields that are part of a definition but not honoured yet. A task without its environment files,
//! or with its logs going nowhere, would run wrongly and look right: RunTask refuses those by name.
//! What changes nothing that a container could notice is accepted and listed in the gap file.

use super::stored::Stored;
use wire::ecs;

/// What RunTask refuses, for the gap file.
pub const REFUSED_AT_RUN_TASK: &[&str] = &[
    "containerDefinitions.credentialSpecs",
    "containerDefinitions.environmentFiles",
    "containerDefinitions.firelensConfiguration",
    "containerDefinitions.logConfiguration.logDriver (other than awslogs)",
    "containerDefinitions.logConfiguration.secretOptions",
    "containerDefinitions.resourceRequirements",
    "containerDefinitions.systemControls",
    "pidMode",
    "proxyConfiguration",
    "runtimePlatform.operatingSystemFamily (other than LINUX)",
];

fn filled<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

/// The first field that keeps the definition from being run.
pub fn first(definition: &Stored) -> Option<String> {
    if definition.proxy_configuration.is_some() {
        return Some("proxyConfiguration".to_owned());
    }
    if definition.pid_mode.is_some() {
        return Some("pidMode".to_owned());
    }
    let platform = definition.runtime_platform.as_ref();
    match platform.and_then(|platform| platform.operating_system_family.as_ref()) {
        None | Some(ecs::OSFamily::Linux) => {}
        Some(family) => return Some(format!("runtimePlatform.operatingSystemFamily {family}")),
    }
    definition.containers().iter().find_map(|container| {
        let field = of_container(container)?;
        Some(format!("{field} (container '{}')", container.name.as_deref().unwrap_or("")))
    })
}

fn of_container(container: &ecs::ContainerDefinition) -> Option<String> {
    let log = container.log_configuration.as_ref();
    let refused = [
        (filled(container.environment_files.as_ref()), "environmentFiles"),
        (container.firelens_configuration.is_some(), "firelensConfiguration"),
        (filled(container.resource_requirements.as_ref()), "resourceRequirements"),
        (filled(container.credential_specs.as_ref()), "credentialSpecs"),
        (filled(container.system_controls.as_ref()), "systemControls"),
        (
            log.is_some_and(|log| filled(log.secret_options.as_ref())),
            "logConfiguration.secretOptions",
        ),
    ];
    if let Some((_, field)) = refused.iter().find(|(set, _)| *set) {
        return Some((*field).to_owned());
    }
    match log.and_then(|log| log.log_driver.as_ref()) {
        None | Some(ecs::LogDriver::Awslogs) => None,
        Some(driver) => Some(format!("logConfiguration.logDriver {driver}")),
    }
}
