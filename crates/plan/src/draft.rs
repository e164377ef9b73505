//! A task as it is made: everything RunTask and a service's reconciler have to know to write one
//! down. Nothing has placed it yet; all its facts are at their beginning.

use model::container::ContainerState;
use model::facts::{Facts, InterfaceFact, TargetFact};
use model::task::{NetworkRequest, Task, TaskOverrides};
use model::task_definition::TaskTemplate;
use model::{
    ClusterName, ContainerId, Document, Family, Tags, TaskDefinitionRevision, TaskId, Timestamp,
};

/// Runtime ids end in a number of ten digits.
const RUNTIME_NUMBER_MAX: u128 = 10_000_000_000;

/// What tasks made together have in common.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    pub cluster: &'a ClusterName,
    pub family: &'a Family,
    pub revision: TaskDefinitionRevision,
    /// Of the definition, overrides applied.
    pub template: &'a TaskTemplate,
    pub overrides: &'a TaskOverrides,
    /// `TaskOverride` as it will be echoed.
    pub overrides_document: &'a Document,
    pub platform_version: &'a str,
    pub group: &'a str,
    pub started_by: Option<&'a str>,
    pub enable_execute_command: bool,
    pub tags: &'a Tags,
    pub network: &'a NetworkRequest,
    /// Whether a load balancer or a service registry has to take it up.
    pub target: TargetFact,
    pub now: Timestamp,
}

impl Draft<'_> {
    /// `provider` is its capacity provider; None for the launch type FARGATE. `mint` gives random
    /// bits for what has a name of its own.
    pub fn task(
        &self,
        id: TaskId,
        provider: Option<String>,
        mint: &mut dyn FnMut() -> u128,
    ) -> Task {
        let containers = self.template.containers.iter();
        let containers = containers.map(|container| {
            let number = mint() % RUNTIME_NUMBER_MAX;
            let runtime_id = format!("{id}-{number:010}");
            let container_id = ContainerId::mint(mint());
            ContainerState::new(container.name.clone(), container_id, runtime_id)
        });
        let containers = containers.collect();
        Task {
            cluster: self.cluster.clone(),
            family: self.family.clone(),
            revision: self.revision,
            overrides: self.overrides.clone(),
            overrides_document: self.overrides_document.clone(),
            cpu_units: self.template.cpu_units,
            memory_mib: self.template.memory_mib,
            ephemeral_storage_gib: self.template.ephemeral_storage_gib,
            cpu_architecture: self.template.cpu_architecture.clone(),
            launch_type: provider.is_none().then(|| "FARGATE".to_owned()),
            capacity_provider: provider,
            platform_version: self.platform_version.to_owned(),
            group: self.group.to_owned(),
            started_by: self.started_by.map(str::to_owned),
            enable_execute_command: self.enable_execute_command,
            tags: self.tags.clone(),
            network: self.network.clone(),
            facts: Facts::new(InterfaceFact::Wanted, self.target),
            stop: None,
            waiting: None,
            interface: None,
            containers,
            version: 1,
            created_at: self.now,
            placed_at: None,
            pull_started_at: None,
            pull_stopped_at: None,
            connectivity_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            images: std::collections::BTreeMap::new(),
            deregistered_at: None,
            protected_until: None,
            stopped_at: None,
            id,
        }
    }
}
