//! What AWS works out of a task definition and shows beside it: `requiresAttributes` and
//! `compatibilities`. Nobody decides on them here; clients and their diffs read them.

use super::fargate;
use super::stored::Stored;
use wire::ecs;

const CAPABILITY: &str = "com.amazonaws.ecs.capability.";

/// The attributes a container instance would need. Source: published output of the real service.
pub fn required(definition: &Stored) -> Vec<ecs::Attribute> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for container in definition.containers() {
        if let Some(driver) =
            container.log_configuration.as_ref().and_then(|log| log.log_driver.as_ref())
        {
            add(format!("{CAPABILITY}logging-driver.{driver}"));
            if *driver == ecs::LogDriver::Awslogs && definition.execution_role_arn.is_some() {
                add("ecs.capability.execution-role-awslogs".to_owned());
            }
            add(format!("{CAPABILITY}docker-remote-api.1.19"));
        }
        if container.image.as_deref().is_some_and(|image| image.contains(".dkr.ecr.")) {
            add(format!("{CAPABILITY}ecr-auth"));
            if definition.execution_role_arn.is_some() {
                add("ecs.capability.execution-role-ecr-pull".to_owned());
            }
        }
        let ordered = container.depends_on.as_ref().is_some_and(|list| !list.is_empty())
            || container.start_timeout.is_some()
            || container.stop_timeout.is_some();
        if ordered {
            add("ecs.capability.container-ordering".to_owned());
        }
        if container.health_check.is_some() {
            add("ecs.capability.container-health-check".to_owned());
            add(format!("{CAPABILITY}docker-remote-api.1.24"));
        }
        if container.privileged == Some(true) {
            add(format!("{CAPABILITY}privileged-container"));
        }
    }
    if definition.task_role_arn.is_some() {
        let host = definition.network_mode == Some(ecs::NetworkMode::Host);
        let suffix = if host { "-network-host" } else { "" };
        add(format!("{CAPABILITY}task-iam-role{suffix}"));
    }
    add(format!("{CAPABILITY}docker-remote-api.1.18"));
    if definition.is_awsvpc() {
        add("ecs.capability.task-eni".to_owned());
    }
    names
        .into_iter()
        .map(|name| ecs::Attribute { name: Some(name), ..Default::default() })
        .collect()
}

/// Where the definition could run, whatever it asked for.
pub fn compatibilities(definition: &Stored) -> Vec<ecs::Compatibility> {
    let mut all = Vec::with_capacity(2);
    if !definition.is_awsvpc() {
        all.push(ecs::Compatibility::External);
    }
    all.push(ecs::Compatibility::Ec2);
    if fargate::problem(definition).is_none() {
        all.push(ecs::Compatibility::Fargate);
    }
    all
}
