//! What of a task definition came from its caller, defaults filled in as AWS echoes them. It is
//! kept as JSON beside the typed template: the template is what decisions read, this is what
//! DescribeTaskDefinition says.

use model::Document;
use serde::{Deserialize, Serialize};
use wire::ecs;

/// Defaults of a health check. Source: API reference, HealthCheck.
pub const HEALTH_INTERVAL_SECONDS: i32 = 30;
pub const HEALTH_TIMEOUT_SECONDS: i32 = 5;
pub const HEALTH_RETRIES: i32 = 3;
/// Default of `restartAttemptPeriod`. Source: API reference, ContainerRestartPolicy.
pub const RESTART_PERIOD_SECONDS: i32 = 300;

macro_rules! stored {
    ($($field:ident: $type:ty,)*) => {
        #[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct Stored {
            $(#[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }

        impl Stored {
            /// Takes what the caller gave, as it is.
            pub fn from_request(request: ecs::RegisterTaskDefinitionRequest) -> Self {
                Self { $($field: request.$field,)* }
            }

            /// The members of AWS's TaskDefinition that came from the caller.
            pub fn into_wire(self) -> ecs::TaskDefinition {
                ecs::TaskDefinition { $($field: self.$field,)* ..Default::default() }
            }
        }
    };
}

stored! {
    container_definitions: Vec<ecs::ContainerDefinition>,
    cpu: String,
    enable_fault_injection: bool,
    ephemeral_storage: ecs::EphemeralStorage,
    execution_role_arn: String,
    inference_accelerators: Vec<ecs::InferenceAccelerator>,
    ipc_mode: ecs::IpcMode,
    memory: String,
    network_mode: ecs::NetworkMode,
    pid_mode: ecs::PidMode,
    placement_constraints: Vec<ecs::TaskDefinitionPlacementConstraint>,
    proxy_configuration: ecs::ProxyConfiguration,
    requires_compatibilities: Vec<ecs::Compatibility>,
    runtime_platform: ecs::RuntimePlatform,
    task_role_arn: String,
    volumes: Vec<ecs::Volume>,
}

impl Stored {
    pub fn to_document(&self) -> Document {
        let json = serde_json::to_string(self).expect("wire types have string keys only");
        Document::new(json)
    }

    /// What `to_document` wrote, also by an older version: members that were added since are
    /// absent.
    pub fn from_document(document: &Document) -> Self {
        serde_json::from_str(document.as_str()).expect("the document was written by to_document")
    }

    pub fn containers(&self) -> &[ecs::ContainerDefinition] {
        self.container_definitions.as_deref().unwrap_or_default()
    }

    pub fn volumes(&self) -> &[ecs::Volume] {
        self.volumes.as_deref().unwrap_or_default()
    }

    pub fn is_awsvpc(&self) -> bool {
        self.network_mode == Some(ecs::NetworkMode::Awsvpc)
    }

    pub fn requires_fargate(&self) -> bool {
        let required = self.requires_compatibilities.as_deref().unwrap_or_default();
        required.contains(&ecs::Compatibility::Fargate)
    }

    /// Fills in what AWS fills in. `cpu` and `memory` come out as integers, however they were
    /// written.
    pub fn fill_defaults(&mut self) {
        let same_port =
            matches!(self.network_mode, Some(ecs::NetworkMode::Awsvpc | ecs::NetworkMode::Host));
        for container in self.container_definitions.iter_mut().flatten() {
            fill_container(container, same_port);
        }
        for volume in self.volumes.get_or_insert_default() {
            let bind = volume.docker_volume_configuration.is_none()
                && volume.efs_volume_configuration.is_none()
                && volume.fsx_windows_file_server_volume_configuration.is_none()
                && volume.s3files_volume_configuration.is_none()
                && volume.configured_at_launch != Some(true);
            if bind {
                volume.host.get_or_insert_default();
            }
        }
        self.placement_constraints.get_or_insert_default();
        self.enable_fault_injection.get_or_insert(false);
        // An empty list means the same as none, and AWS echoes none.
        self.requires_compatibilities.take_if(|list| list.is_empty());
        self.inference_accelerators.take_if(|list| list.is_empty());
    }
}

fn fill_container(container: &mut ecs::ContainerDefinition, same_port: bool) {
    container.cpu.get_or_insert(0);
    container.essential.get_or_insert(true);
    container.environment.get_or_insert_default();
    container.mount_points.get_or_insert_default();
    container.volumes_from.get_or_insert_default();
    container.system_controls.get_or_insert_default();
    for port in container.port_mappings.get_or_insert_default() {
        port.protocol.get_or_insert(ecs::TransportProtocol::Tcp);
        if let (None, Some(container_port)) = (port.host_port, port.container_port) {
            port.host_port = Some(if same_port { container_port } else { 0 });
        }
    }
    if let Some(check) = &mut container.health_check {
        check.interval.get_or_insert(HEALTH_INTERVAL_SECONDS);
        check.timeout.get_or_insert(HEALTH_TIMEOUT_SECONDS);
        check.retries.get_or_insert(HEALTH_RETRIES);
    }
    if let Some(policy) = &mut container.restart_policy {
        policy.restart_attempt_period.get_or_insert(RESTART_PERIOD_SECONDS);
    }
}
