//! The records of `model` as the store keeps them: for each its kind, its version and its key. Keys
//! sort in the order in which lists are answered, and what is listed together shares a prefix.

use crate::record::{Kinds, Record};
use model::account::{AccessKey, AccountSetting, ClientToken};
use model::balancing::{
    BalancingChanges, Certificate, Listener, LoadBalancer, Rule, Target, TargetGroup, TargetHealth,
};
use model::cluster::Cluster;
use model::discovery::{
    DiscoveryInstance, DiscoveryOperation, DiscoveryService, Namespace, NamespacePlace,
};
use model::event::{Event, EventCursor};
use model::iam::{ManagedPolicy, Role};
use model::image::{
    BlobLink, ImagePull, ImageTag, LifecycleEvaluation, LifecyclePolicy, LifecyclePreview,
    Manifest, PullThroughCacheRule, RegistryDocument, Repository, RepositoryPolicy,
};
use model::instance::{Allocation, Instance};
use model::join::{AgentCertificate, JoinToken};
use model::logs::{LogGroup, LogStream};
use model::metrics::{Alarm, AlarmState};
use model::network::{
    Address, AddressPool, DhcpOptions, InternetGateway, ManagedPrefixList, NatGateway, NetworkAcl,
    NetworkInterface, PublicPool, RouteTable, SecurityGroup, Subnet, Vpc, VpcEndpoint,
};
use model::scaling::{ScalableTarget, ScalingPolicy, ScalingProgress, ScheduledAction};
use model::secret::{Parameter, ParameterVersion, Secret, SecretVersion};
use model::service::{Service, ServiceProgress};
use model::task::Task;
use model::task_definition::{TaskDefinition, TaskDefinitionFamily};
use model::{
    ClusterName, Digest, DiscoveryServiceId, Family, ListenerId, LoadBalancerId, RepositoryName,
    RuleId, ServiceName, TargetGroupId, TaskDefinitionRevision, TaskId,
};

/// Every kind there is.
pub fn all() -> Kinds {
    Kinds::new()
        .with::<AccessKey>()
        .with::<AccountSetting>()
        .with::<Address>()
        .with::<AddressPool>()
        .with::<AgentCertificate>()
        .with::<Alarm>()
        .with::<AlarmState>()
        .with::<Allocation>()
        .with::<BalancingChanges>()
        .with::<BlobLink>()
        .with::<Certificate>()
        .with::<ClientToken>()
        .with::<Cluster>()
        .with::<DhcpOptions>()
        .with::<DiscoveryInstance>()
        .with::<DiscoveryOperation>()
        .with::<DiscoveryService>()
        .with::<Event>()
        .with::<EventCursor>()
        .with::<ImagePull>()
        .with::<ImageTag>()
        .with::<Instance>()
        .with::<InternetGateway>()
        .with::<JoinToken>()
        .with::<LifecycleEvaluation>()
        .with::<LifecyclePolicy>()
        .with::<LifecyclePreview>()
        .with::<Listener>()
        .with::<LoadBalancer>()
        .with::<LogGroup>()
        .with::<LogStream>()
        .with::<ManagedPolicy>()
        .with::<ManagedPrefixList>()
        .with::<Manifest>()
        .with::<Namespace>()
        .with::<NamespacePlace>()
        .with::<NatGateway>()
        .with::<NetworkAcl>()
        .with::<NetworkInterface>()
        .with::<Parameter>()
        .with::<ParameterVersion>()
        .with::<PublicPool>()
        .with::<PullThroughCacheRule>()
        .with::<RegistryDocument>()
        .with::<Repository>()
        .with::<RepositoryPolicy>()
        .with::<Role>()
        .with::<RouteTable>()
        .with::<ScalableTarget>()
        .with::<ScalingPolicy>()
        .with::<ScalingProgress>()
        .with::<ScheduledAction>()
        .with::<Secret>()
        .with::<SecretVersion>()
        .with::<Rule>()
        .with::<SecurityGroup>()
        .with::<Service>()
        .with::<ServiceProgress>()
        .with::<Subnet>()
        .with::<Target>()
        .with::<TargetGroup>()
        .with::<TargetHealth>()
        .with::<Task>()
        .with::<TaskDefinition>()
        .with::<TaskDefinitionFamily>()
        .with::<Vpc>()
        .with::<VpcEndpoint>()
}

/// Tasks of a cluster share the prefix `task_prefix(cluster)`.
pub fn task_key(cluster: &ClusterName, id: &TaskId) -> String {
    format!("{cluster}/{id}")
}

pub fn task_prefix(cluster: &ClusterName) -> String {
    format!("{cluster}/")
}

/// Targets of a group share the prefix `target_prefix(group)`; a target's health has its key.
pub fn target_key(group: &TargetGroupId, id: &str, port: u16) -> String {
    format!("{group}/{id}:{port}")
}

pub fn target_prefix(group: &TargetGroupId) -> String {
    format!("{group}/")
}

/// Listeners of a load balancer share the prefix `listener_prefix(balancer)`.
pub fn listener_key(balancer: &LoadBalancerId, id: &ListenerId) -> String {
    format!("{balancer}/{id}")
}

pub fn listener_prefix(balancer: &LoadBalancerId) -> String {
    format!("{balancer}/")
}

/// Rules of a listener share the prefix `rule_prefix(listener)`.
pub fn rule_key(listener: &ListenerId, id: &RuleId) -> String {
    format!("{listener}/{id}")
}

pub fn rule_prefix(listener: &ListenerId) -> String {
    format!("{listener}/")
}

/// Services of a cluster share the prefix `service_prefix(cluster)`; a service's progress has the
/// service's key.
pub fn service_key(cluster: &ClusterName, name: &ServiceName) -> String {
    format!("{cluster}/{name}")
}

pub fn service_prefix(cluster: &ClusterName) -> String {
    format!("{cluster}/")
}

/// A scalable target and its progress have the service's key; its policies and scheduled actions
/// share the prefix `scaling_prefix`.
pub fn scaling_key(cluster: &ClusterName, service: &ServiceName, name: &str) -> String {
    format!("{cluster}/{service}/{name}")
}

pub fn scaling_prefix(cluster: &ClusterName, service: &ServiceName) -> String {
    format!("{cluster}/{service}/")
}

/// Events sort as they happened.
pub fn event_key(sequence: u64) -> String {
    format!("{sequence:020}")
}

/// Revisions of a family share the prefix `task_definition_prefix(family)` and sort by number.
pub fn task_definition_key(family: &Family, revision: TaskDefinitionRevision) -> String {
    format!("{family}/{:010}", revision.0)
}

pub fn task_definition_prefix(family: &Family) -> String {
    format!("{family}/")
}

pub fn client_token_key(scope: &str, token: &str) -> String {
    format!("{scope}/{token}")
}

/// `principal` of None is the account's default.
pub fn account_setting_key(name: &str, principal: Option<&str>) -> String {
    format!("{name}/{}", principal.unwrap_or("default"))
}

/// Streams of a group share the prefix `log_stream_prefix(group)`. Names may hold `/`, never `:`.
pub fn log_stream_key(group: &str, stream: &str) -> String {
    format!("{group}:{stream}")
}

pub fn log_stream_prefix(group: &str) -> String {
    format!("{group}:")
}

/// Everything of a repository in one kind shares the prefix `repository_prefix(repository)`.
/// Repository names and tags hold no `@`.
pub fn manifest_key(repository: &RepositoryName, digest: &Digest) -> String {
    format!("{repository}@{digest}")
}

pub fn image_tag_key(repository: &RepositoryName, tag: &str) -> String {
    format!("{repository}@{tag}")
}

pub fn blob_link_key(repository: &RepositoryName, digest: &Digest) -> String {
    format!("{repository}@{digest}")
}

pub fn repository_prefix(repository: &RepositoryName) -> String {
    format!("{repository}@")
}

/// Instances of a Cloud Map service share the prefix `discovery_instance_prefix(service)`.
pub fn discovery_instance_key(service: &DiscoveryServiceId, id: &str) -> String {
    format!("{service}/{id}")
}

pub fn discovery_instance_prefix(service: &DiscoveryServiceId) -> String {
    format!("{service}/")
}

/// IAM's names are unique whatever their case.
pub fn role_key(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Versions of a secret share the prefix `secret_version_prefix(secret)`. Names hold no `:`.
pub fn secret_version_key(secret: &str, version: &str) -> String {
    format!("{secret}:{version}")
}

pub fn secret_version_prefix(secret: &str) -> String {
    format!("{secret}:")
}

/// Versions of a parameter share a prefix and sort by number. Names hold no `:`.
pub fn parameter_version_key(parameter: &str, number: u64) -> String {
    format!("{parameter}:{number:010}")
}

pub fn parameter_version_prefix(parameter: &str) -> String {
    format!("{parameter}:")
}

/// The one pool of public addresses.
pub const PUBLIC_POOL_KEY: &str = "public";
/// The one place up to which events are told.
pub const EVENT_CURSOR_KEY: &str = "all";
/// The one count of load balancing's changes.
pub const BALANCING_CHANGES_KEY: &str = "all";

macro_rules! record {
    ($type:ty, $kind:literal, $version:literal, $record:ident => $key:expr) => {
        impl Record for $type {
            const KIND: &'static str = $kind;
            const VERSION: u8 = $version;

            fn key(&self) -> String {
                let $record = self;
                $key
            }
        }
    };
}

record!(AccessKey, "access-key", 1, r => r.id.to_string());
record!(AccountSetting, "account-setting", 1,
    r => account_setting_key(&r.name, r.principal_arn.as_deref()));
record!(Address, "address", 1, r => r.allocation.to_string());
record!(AddressPool, "address-pool", 1, r => r.subnet.to_string());
record!(AgentCertificate, "agent-certificate", 1, r => r.fingerprint.clone());
record!(Alarm, "alarm", 1, r => r.name.clone());
record!(AlarmState, "alarm-state", 1, r => r.alarm.clone());
record!(Allocation, "allocation", 1, r => r.instance.to_string());
record!(BalancingChanges, "balancing-changes", 1, _changes => BALANCING_CHANGES_KEY.to_owned());
record!(BlobLink, "blob-link", 1, r => blob_link_key(&r.repository, &r.digest));
record!(Certificate, "certificate", 1, r => r.arn.clone());
record!(ClientToken, "client-token", 1, r => client_token_key(&r.scope, &r.token));
record!(Cluster, "cluster", 1, r => r.name.to_string());
record!(DhcpOptions, "dhcp-options", 1, r => r.id.to_string());
record!(DiscoveryInstance, "discovery-instance", 1,
    r => discovery_instance_key(&r.service, &r.id));
record!(DiscoveryOperation, "discovery-operation", 1, r => r.id.clone());
record!(DiscoveryService, "discovery-service", 1, r => r.id.to_string());
record!(Event, "event", 1, r => event_key(r.sequence));
record!(EventCursor, "event-cursor", 1, _cursor => EVENT_CURSOR_KEY.to_owned());
record!(ImagePull, "image-pull", 1, r => manifest_key(&r.repository, &r.digest));
record!(ImageTag, "image-tag", 1, r => image_tag_key(&r.repository, &r.tag));
record!(Instance, "instance", 1, r => r.id.to_string());
record!(JoinToken, "join-token", 1, r => r.id.clone());
record!(LifecycleEvaluation, "lifecycle-evaluation", 1, r => r.repository.to_string());
record!(LifecyclePolicy, "lifecycle-policy", 1, r => r.repository.to_string());
record!(LifecyclePreview, "lifecycle-preview", 1, r => r.repository.to_string());
record!(InternetGateway, "internet-gateway", 1, r => r.id.to_string());
record!(Listener, "listener", 1, r => listener_key(&r.load_balancer, &r.id));
record!(LoadBalancer, "load-balancer", 1, r => r.id.to_string());
record!(LogGroup, "log-group", 1, r => r.name.clone());
record!(LogStream, "log-stream", 1, r => log_stream_key(&r.group, &r.name));
record!(ManagedPolicy, "managed-policy", 1, r => r.arn.clone());
record!(ManagedPrefixList, "prefix-list", 1, r => r.id.to_string());
record!(Manifest, "manifest", 1, r => manifest_key(&r.repository, &r.digest));
record!(Namespace, "namespace", 1, r => r.id.to_string());
record!(NamespacePlace, "namespace-place", 1, r => r.place.clone());
record!(NatGateway, "nat-gateway", 1, r => r.id.to_string());
record!(NetworkAcl, "network-acl", 1, r => r.id.to_string());
record!(NetworkInterface, "interface", 1, r => r.id.to_string());
record!(Parameter, "parameter", 1, r => r.name.clone());
record!(ParameterVersion, "parameter-version", 1,
    r => parameter_version_key(&r.parameter, r.number));
record!(PullThroughCacheRule, "pull-through-cache-rule", 1, r => r.prefix.clone());
record!(RegistryDocument, "registry-document", 1, r => r.name.clone());
record!(PublicPool, "public-pool", 1, _pool => PUBLIC_POOL_KEY.to_owned());
record!(Repository, "repository", 1, r => r.name.to_string());
record!(RepositoryPolicy, "repository-policy", 1, r => r.repository.to_string());
record!(Role, "role", 1, r => role_key(&r.name));
record!(Rule, "listener-rule", 1, r => rule_key(&r.listener, &r.id));
record!(ScalableTarget, "scalable-target", 1, r => service_key(&r.cluster, &r.service));
record!(ScalingPolicy, "scaling-policy", 1, r => scaling_key(&r.cluster, &r.service, &r.name));
record!(ScalingProgress, "scaling-progress", 1, r => service_key(&r.cluster, &r.service));
record!(ScheduledAction, "scheduled-action", 1,
    r => scaling_key(&r.cluster, &r.service, &r.name));
record!(Secret, "secret", 1, r => r.name.clone());
record!(SecretVersion, "secret-version", 1, r => secret_version_key(&r.secret, &r.id));
record!(RouteTable, "route-table", 1, r => r.id.to_string());
record!(SecurityGroup, "security-group", 1, r => r.id.to_string());
record!(Service, "service", 1, r => service_key(&r.cluster, &r.name));
record!(ServiceProgress, "service-progress", 1, r => service_key(&r.cluster, &r.name));
record!(Subnet, "subnet", 1, r => r.id.to_string());
record!(Target, "target", 1, r => target_key(&r.group, &r.id, r.port));
record!(TargetGroup, "target-group", 1, r => r.id.to_string());
record!(TargetHealth, "target-health", 1, r => target_key(&r.group, &r.id, r.port));
record!(Task, "task", 1, r => task_key(&r.cluster, &r.id));
record!(TaskDefinition, "task-definition", 1, r => task_definition_key(&r.family, r.revision));
record!(TaskDefinitionFamily, "family", 1, r => r.family.to_string());
record!(Vpc, "vpc", 1, r => r.id.to_string());
record!(VpcEndpoint, "vpc-endpoint", 1, r => r.id.to_string());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_sort_by_number_and_families_do_not_mix() {
        let key =
            |family: &str, n| task_definition_key(&Family::from(family), TaskDefinitionRevision(n));
        assert!(key("web", 9) < key("web", 10));
        assert!(!key("web-2", 1).starts_with(&task_definition_prefix(&Family::from("web"))));
    }
}
