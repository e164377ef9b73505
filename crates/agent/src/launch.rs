//! From an assignment and an image to what the runtime is asked for. Docker's rules for what
//! overrides what: the definition's entry point replaces the image's and drops its command; the
//! definition's command replaces the image's; environment variables of the definition win over
//! ours, ours over the image's. Secret ones win over all: ECS refuses a name given both ways.

use model::credentials::Hidden;
use model::network::Resolving;
use model::session::Assignment;
use model::task_definition::{ContainerTemplate, HealthCheck, LogConfiguration};
use runtime::image::ImageConfig;
use runtime::{
    Cidr, ContainerLaunch, DnsSpec, HealthSpec, LogSpec, MountSpec, NetworkSpec, RootfsSpec,
    SandboxSpec, Ulimit, VolumesFrom, VpcId,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Why a container can't be launched although its image is here, in ECS's words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LaunchFault {
    #[error(
        "CannotStartContainerError: Error response from daemon: no command specified: neither the \
         task definition nor the image says what to run"
    )]
    NothingToRun,
    #[error(
        "ResourceInitializationError: unable to pull secrets or registry auth: the value of {name} \
         can't be had any more"
    )]
    SecretGone { name: String },
}

/// The VPC that the task has an interface in, its address there, and the VPC's first range.
pub fn network(assignment: &Assignment) -> Option<(VpcId, Ipv4Addr, Cidr)> {
    let (interface, subnet) = (assignment.interface.as_ref()?, assignment.subnet.as_ref()?);
    Some((interface.vpc.clone(), interface.private_ip, subnet.vpc_cidr))
}

/// Whom the task asks for names: as its VPC's DHCP options said when it was placed. A task that was
/// placed before they had effect has what AWS begins with: the VPC's own resolver, at its third
/// address, and names without a dot are looked for beside its own.
pub fn resolving(assignment: &Assignment) -> Option<Resolving> {
    let interface = assignment.interface.as_ref()?;
    let old = || {
        let server = assignment.subnet.as_ref()?.vpc_cidr.nth(2)?;
        let domain = interface.private_dns_name.split_once('.').map(|(_, it)| it.to_owned());
        Some(Resolving { servers: vec![server], search: domain.into_iter().collect() })
    };
    interface.resolving.clone().or_else(old)
}

/// What becomes its resolv.conf. Where VPCs are not served, the instance's own.
pub fn dns(assignment: &Assignment, served: bool, instance: &DnsSpec) -> DnsSpec {
    let Some(resolving) = resolving(assignment).filter(|_| served) else {
        return instance.clone();
    };
    DnsSpec {
        nameservers: resolving.servers.into_iter().map(Into::into).collect(),
        search: resolving.search,
        options: Vec::new(),
    }
}

/// `note` comes back from the runtime after a restart of the agent.
pub fn sandbox(assignment: &Assignment, dns: DnsSpec, note: String) -> SandboxSpec {
    let template = &assignment.template;
    let mut spec = SandboxSpec::new(assignment.task.clone());
    if let (Some(interface), Some(subnet)) = (&assignment.interface, &assignment.subnet) {
        // AWS: a task's host name is its private DNS name's.
        let name = interface.private_dns_name.clone();
        spec.hostname.clone_from(&name);
        spec.network = mac(&interface.mac).map(|mac| NetworkSpec {
            vpc: interface.vpc.clone(),
            address: interface.private_ip,
            prefix: subnet.cidr.prefix,
            gateway: subnet.gateway,
            mac,
            mtu: None,
        });
        spec.extra_hosts.push((name, interface.private_ip.into()));
    }
    spec.dns = dns;
    spec.cpu_units = Some(template.cpu_units).filter(|units| *units > 0);
    spec.memory_mib = Some(u64::from(template.memory_mib)).filter(|mib| *mib > 0);
    spec.volumes.clone_from(&template.volumes);
    spec.ephemeral_storage_gib = Some(template.ephemeral_storage_gib).filter(|gib| *gib > 0);
    spec.note = note;
    spec
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

pub fn container(
    assignment: &Assignment,
    template: &ContainerTemplate,
    config: &ImageConfig,
    layers: Vec<PathBuf>,
    attempt: u32,
    served: bool,
) -> Result<ContainerLaunch, LaunchFault> {
    let argv = argv(template, config);
    if argv.is_empty() {
        return Err(LaunchFault::NothingToRun);
    }
    // A container must not run without what it asked for and look right. At its start all values
    // were there; a later one of a restarted control plane may not be.
    let values = assignment.secrets.get(&template.name);
    let gone = |name: &&String| !values.is_some_and(|values| values.contains_key(*name));
    if let Some(name) = template.secrets.keys().find(gone) {
        return Err(LaunchFault::SecretGone { name: name.clone() });
    }
    let working_directory = template.working_directory.clone();
    Ok(ContainerLaunch {
        name: template.name.clone(),
        attempt,
        rootfs: RootfsSpec { layers, read_only: template.readonly_root },
        argv,
        env: environment(assignment, template, config, served),
        cwd: working_directory.or_else(|| given(&config.working_dir)),
        user: template.user.clone().or_else(|| given(&config.user)),
        cpu_units: Some(template.cpu_units).filter(|units| *units > 0),
        memory_mib: template.memory_mib.map(u64::from),
        memory_reservation_mib: template.memory_reservation_mib.map(u64::from),
        capabilities_add: template.capabilities_add.clone(),
        capabilities_drop: template.capabilities_drop.clone(),
        ulimits: template.ulimits.iter().map(ulimit).collect(),
        mounts: mounts(template),
        volumes_from: volumes_from(template),
        image_volumes: config.volumes.iter().cloned().collect(),
        init: template.init_process,
        health: template.health_check.as_ref().and_then(health),
        log: template.log.as_ref().map(log).unwrap_or_default(),
    })
}

fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn argv(template: &ContainerTemplate, config: &ImageConfig) -> Vec<String> {
    let given_entry = template.entry_point.as_ref().filter(|entry| !entry.is_empty());
    let given_command = template.command.as_ref().filter(|command| !command.is_empty());
    let entry = given_entry.unwrap_or(&config.entrypoint);
    let command = match (given_command, given_entry) {
        (Some(command), _) => command.as_slice(),
        (None, Some(_)) => &[],
        (None, None) => config.cmd.as_slice(),
    };
    entry.iter().chain(command).cloned().collect()
}

fn environment(
    assignment: &Assignment,
    template: &ContainerTemplate,
    config: &ImageConfig,
    served: bool,
) -> Vec<(String, String)> {
    let mut all = BTreeMap::new();
    for pair in &config.env {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        all.insert(name.to_owned(), value.to_owned());
    }
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    all.entry("PATH".to_owned()).or_insert_with(|| path.to_owned());
    // Source: ECS developer guide, environment variables of tasks on Fargate.
    let ours = [
        ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE"),
        ("AWS_REGION", &assignment.region),
        ("AWS_DEFAULT_REGION", &assignment.region),
    ];
    for (name, value) in ours {
        all.insert(name.to_owned(), value.to_owned());
    }
    if served {
        inside(assignment, template, &mut all);
    }
    all.extend(template.environment.clone());
    let secrets = assignment.secrets.get(&template.name);
    let secret = |(name, value): (&String, &Hidden)| (name.clone(), value.expose().to_owned());
    all.extend(secrets.into_iter().flatten().map(secret));
    all.into_iter().collect()
}

/// Where the endpoints in the task's network are. Source: developer guide,
/// task-metadata-endpoint-v4-fargate, task-scale-in-protection-endpoint, task-iam-roles.
fn inside(
    assignment: &Assignment,
    template: &ContainerTemplate,
    all: &mut BTreeMap<String, String>,
) {
    let base = format!("http://{}", crate::metadata::ADDRESS);
    let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
    let containers = assignment.template.containers.iter().zip(&assignment.inside.runtime_ids);
    if let Some((_, id)) = containers.into_iter().find(|(it, _)| it.name == template.name) {
        set("ECS_CONTAINER_METADATA_URI", format!("{base}/v3/{id}"));
        set("ECS_CONTAINER_METADATA_URI_V4", format!("{base}/v4/{id}"));
        set("ECS_AGENT_URI", format!("{base}/api/{id}"));
    }
    let Some(credentials) = &assignment.inside.credentials else { return };
    set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", format!("/v2/credentials/{credentials}"));
    // Keys of ours are good for our API only: whoever is given the one is given the other, but not
    // who brings keys of their own, which may be for AWS itself (ADR 0012).
    let key = "AWS_ACCESS_KEY_ID";
    let secrets = assignment.secrets.get(&template.name);
    let brings_keys = all.contains_key(key)
        || template.environment.contains_key(key)
        || secrets.is_some_and(|secrets| secrets.contains_key(key));
    if !brings_keys {
        let endpoint = format!("{base}:{}", crate::metadata::API_PORT);
        all.entry("AWS_ENDPOINT_URL".to_owned()).or_insert(endpoint);
    }
}

fn ulimit(limit: &model::task_definition::Ulimit) -> Ulimit {
    let number = |value: u64| i64::try_from(value).unwrap_or(-1);
    Ulimit { name: limit.name.clone(), soft: number(limit.soft), hard: number(limit.hard) }
}

fn mounts(template: &ContainerTemplate) -> Vec<MountSpec> {
    let each = template.mount_points.iter();
    each.map(|mount| MountSpec {
        volume: mount.volume.clone(),
        path: mount.container_path.clone(),
        read_only: mount.read_only,
    })
    .collect()
}

fn volumes_from(template: &ContainerTemplate) -> Vec<VolumesFrom> {
    let each = template.volumes_from.iter();
    each.map(|from| VolumesFrom { container: from.container.clone(), read_only: from.read_only })
        .collect()
}

/// None: the command is `NONE`, which switches the check off.
fn health(check: &HealthCheck) -> Option<HealthSpec> {
    let argv = match check.command.split_first()? {
        (kind, rest) if kind == "CMD-SHELL" => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")]
        }
        (kind, rest) if kind == "CMD" => rest.to_vec(),
        (kind, _) if kind == "NONE" => return None,
        _ => check.command.clone(),
    };
    let ms = |seconds: u32| u64::from(seconds) * 1000;
    Some(HealthSpec {
        argv,
        interval_ms: ms(check.interval_seconds),
        timeout_ms: ms(check.timeout_seconds),
        retries: check.retries,
        start_period_ms: ms(check.start_period_seconds),
    })
}

fn log(log: &LogConfiguration) -> LogSpec {
    LogSpec { blocking: !log.non_blocking, spool_bytes_max: log.buffer_bytes_max }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn entry_point_and_command_override_as_docker_does() {
        let image = ImageConfig {
            entrypoint: words("/entry"),
            cmd: words("default args"),
            ..ImageConfig::default()
        };
        let case = |entry: Option<&str>, command: Option<&str>| {
            let template = ContainerTemplate {
                entry_point: entry.map(words),
                command: command.map(words),
                ..ContainerTemplate::default()
            };
            argv(&template, &image).join(" ")
        };
        assert_eq!(case(None, None), "/entry default args");
        assert_eq!(case(None, Some("mine")), "/entry mine");
        assert_eq!(case(Some("/own"), None), "/own");
        assert_eq!(case(Some("/own"), Some("mine")), "/own mine");
        assert_eq!(case(Some(""), Some("")), "/entry default args");
    }

    #[test]
    fn a_mac_is_six_pairs() {
        assert_eq!(mac("02:00:0a:ff:10:01"), Some([2, 0, 10, 255, 16, 1]));
        for bad in ["", "02:00", "02:00:0a:ff:10:01:02", "02:00:0a:ff:10:zz"] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_shell_check_runs_in_a_shell() {
        let check = |words: &[&str]| HealthCheck {
            command: words.iter().map(|w| (*w).to_owned()).collect(),
            interval_seconds: 30,
            timeout_seconds: 5,
            retries: 3,
            start_period_seconds: 0,
        };
        let spec = health(&check(&["CMD-SHELL", "test -e /ok"])).expect("a check");
        assert_eq!(spec.argv, ["/bin/sh", "-c", "test -e /ok"]);
        let spec = health(&check(&["CMD", "/probe", "-x"])).expect("a check");
        assert_eq!(spec.argv, ["/probe", "-x"]);
        assert_eq!(health(&check(&["NONE"])), None);
    }
}
