//! RunTask: commits tasks that nothing has placed yet, together with the client token, in one
//! transaction. Everything else follows from the tasks being there.

use super::client_token::{self, Token};
use super::definition::{self, Stored, fargate, unhonoured};
use super::placement::{self, Launch};
use super::{clusters, names, overrides, strategy, tags, tasks};
use crate::context::{Caller, Context};
use crate::fault::{Fault, client, invalid_parameter};
use crate::limits::STARTED_BY_CHARS_MAX;
use model::cluster::Cluster;
use model::container::ContainerState;
use model::facts::{Facts, InterfaceFact, TargetFact};
use model::limits::RUN_TASK_COUNT_MAX;
use model::task::{NetworkRequest, Task, TaskOverrides};
use model::task_definition::{TaskDefinition, TaskDefinitionStatus, TaskTemplate};
use model::{ClusterName, ContainerId, Document, Tags, TaskId, Timestamp};
use std::sync::Arc;
use store::Txn;
use store::kinds::task_definition_key;
use wire::ecs::{self, RunTaskRequest, RunTaskResponse};

/// Runtime ids end in a number of ten digits.
const RUNTIME_NUMBER_MAX: u128 = 10_000_000_000;

pub async fn run_task(
    cx: &Context,
    _caller: &Caller,
    mut input: RunTaskRequest,
) -> Result<RunTaskResponse, Fault> {
    let cluster = names::cluster(&cx.locality, input.cluster.as_deref())?;
    let token = take_token(&mut input, &cluster)?;
    let request = Request::read(cx, cluster, input)?;
    let made = cx.transact(|txn| request.commit(cx, txn, token.as_ref())).await?;
    let snapshot = cx.store.snapshot();
    let shown = made.iter().map(|task| tasks::show(cx, &snapshot, task, true)).collect();
    Ok(RunTaskResponse { tasks: Some(shown), failures: Some(Vec::new()) })
}

fn take_token(input: &mut RunTaskRequest, cluster: &ClusterName) -> Result<Option<Token>, Fault> {
    let Some(text) = input.client_token.take() else { return Ok(None) };
    client_token::check(&text)?;
    // Taken out above: the same call with another token is another call.
    let fingerprint = client_token::fingerprint(input);
    Ok(Some(Token { scope: format!("RunTask/{cluster}"), text, fingerprint }))
}

/// A call that has been read and checked as far as that goes without the store.
struct Request {
    cluster: ClusterName,
    definition: names::DefinitionName,
    count: usize,
    group: Option<String>,
    launch_type: Option<ecs::LaunchType>,
    strategy: Option<Vec<ecs::CapacityProviderStrategyItem>>,
    platform_version: String,
    network: Option<ecs::NetworkConfiguration>,
    overrides: Option<ecs::TaskOverride>,
    started_by: Option<String>,
    tags: Tags,
    managed_tags: bool,
    propagate_tags: bool,
    enable_execute_command: bool,
    now: Timestamp,
}

impl Request {
    fn read(cx: &Context, cluster: ClusterName, input: RunTaskRequest) -> Result<Self, Fault> {
        let text = input.task_definition.as_deref().unwrap_or("");
        let definition = names::task_definition(&cx.locality, text)?;
        refuse_placement(&input)?;
        let count = u32::try_from(input.count.unwrap_or(1)).unwrap_or(0);
        if !(1..=RUN_TASK_COUNT_MAX).contains(&count) {
            return Err(invalid_parameter("count should be between 1 and 10"));
        }
        let long = |text: &String| text.chars().count() > STARTED_BY_CHARS_MAX;
        if input.started_by.as_ref().is_some_and(long) {
            return Err(invalid_parameter("startedBy length should be at most 128"));
        }
        let group = input.group.filter(|group| !group.is_empty());
        // Tasks of services are told by their group. Source: API reference, RunTask (group).
        if group.as_ref().is_some_and(|group| group.starts_with("service:")) {
            return Err(invalid_parameter("Invalid namespace for group."));
        }
        let propagate_tags = match input.propagate_tags {
            None | Some(ecs::PropagateTags::None) => false,
            Some(ecs::PropagateTags::TaskDefinition) => true,
            Some(_) => {
                let text = "propagateTags should be one of [TASK_DEFINITION,NONE] for RunTask";
                return Err(invalid_parameter(text));
            }
        };
        Ok(Self {
            cluster,
            definition,
            count: count as usize,
            group,
            launch_type: input.launch_type,
            strategy: input.capacity_provider_strategy,
            platform_version: placement::platform_version(input.platform_version.as_deref())?,
            network: input.network_configuration,
            overrides: input.overrides,
            started_by: input.started_by.filter(|text| !text.is_empty()),
            tags: tags::read(input.tags.as_deref())?,
            managed_tags: input.enable_ecs_managed_tags == Some(true),
            propagate_tags,
            enable_execute_command: input.enable_execute_command == Some(true),
            now: cx.now(),
        })
    }

    /// May run several times; ids are drawn anew each time.
    fn commit(
        &self,
        cx: &Context,
        txn: &mut Txn,
        token: Option<&Token>,
    ) -> Result<Vec<Arc<Task>>, Fault> {
        let cluster = clusters::active_in(txn, &self.cluster)?;
        if let Some(token) = token {
            let arn = |id: &TaskId| cx.locality.task(&self.cluster, id);
            if let Some(tasks) = client_token::used(txn, token, &self.cluster, self.now, arn)? {
                return Ok(tasks);
            }
        }
        let definition = self.definition(txn)?;
        let launch =
            placement::launch(&cluster, self.launch_type.as_ref(), self.strategy.as_deref())?;
        runnable(&definition)?;
        let mut network = placement::network(self.network.clone())?;
        placement::check_network(txn, &mut network)?;
        let read = overrides::read(self.overrides.clone(), &definition.template)?;
        let effective = plan::effective(&definition.template, &read.0);
        overrides::check_effective(&effective)?;
        let draft = Draft {
            request: self,
            definition: &definition,
            effective: &effective,
            overrides: &read,
            network: &network,
            tags: self.all_tags(&cluster, &definition)?,
        };
        let tasks: Vec<Arc<Task>> =
            self.providers(&launch).into_iter().map(|p| Arc::new(draft.task(cx, p))).collect();
        for task in &tasks {
            txn.put_arc(Arc::clone(task));
        }
        if let Some(token) = token {
            client_token::remember(txn, token, &tasks, self.now);
        }
        Ok(tasks)
    }

    /// The transaction depends on the definition staying as it is: one that is being deregistered
    /// is not run.
    fn definition(&self, txn: &mut Txn) -> Result<Arc<TaskDefinition>, Fault> {
        let found = definition::find(txn.snapshot(), &self.definition);
        let found = found.ok_or_else(|| client("TaskDefinition not found."))?;
        let key = task_definition_key(&found.family, found.revision);
        let found = txn.get::<TaskDefinition>(&key).unwrap_or(found);
        match found.status {
            TaskDefinitionStatus::Active => Ok(found),
            TaskDefinitionStatus::Inactive | TaskDefinitionStatus::DeleteInProgress => {
                Err(invalid_parameter("TaskDefinition is inactive"))
            }
        }
    }

    /// The capacity provider of each task; None for the launch type FARGATE.
    fn providers(&self, launch: &Launch) -> Vec<Option<String>> {
        match launch {
            Launch::Fargate => vec![None; self.count],
            Launch::Providers(items) => {
                strategy::assign(items, self.count).into_iter().map(Some).collect()
            }
        }
    }

    /// The call's own tags win over the definition's; AWS's own come beside them.
    fn all_tags(&self, cluster: &Cluster, definition: &TaskDefinition) -> Result<Tags, Fault> {
        let mut all = if self.propagate_tags { definition.tags.clone() } else { Tags::new() };
        all.extend(self.tags.clone());
        tags::check_count(&all)?;
        if self.managed_tags {
            all.insert(tags::CLUSTER_NAME.to_owned(), cluster.name.to_string());
        }
        Ok(all)
    }
}

fn refuse_placement(input: &RunTaskRequest) -> Result<(), Fault> {
    let refused = [
        (input.placement_constraints.as_ref().is_some_and(|l| !l.is_empty()), "constraints"),
        (input.placement_strategy.as_ref().is_some_and(|l| !l.is_empty()), "strategies"),
    ];
    if let Some((_, what)) = refused.iter().find(|(set, _)| *set) {
        return Err(invalid_parameter(format!(
            "Placement {what} are not supported with FARGATE launch type."
        )));
    }
    if input.volume_configurations.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(client("Neargate does not support volumeConfigurations yet"));
    }
    Ok(())
}

/// A definition that Fargate would refuse, or that would run wrongly for now, is not run.
fn runnable(definition: &TaskDefinition) -> Result<(), Fault> {
    let stored = Stored::from_document(&definition.document);
    if let Some(problem) = fargate::problem(&stored) {
        return Err(invalid_parameter(format!(
            "Task definition does not support launch_type FARGATE. {problem}"
        )));
    }
    match unhonoured::first(&stored) {
        None => Ok(()),
        Some(field) => Err(client(format!(
            "Neargate does not support {field} yet, and the task would not run as defined without"
        ))),
    }
}

/// What the tasks of one call have in common.
struct Draft<'a> {
    request: &'a Request,
    definition: &'a TaskDefinition,
    effective: &'a TaskTemplate,
    overrides: &'a (TaskOverrides, Document),
    network: &'a NetworkRequest,
    tags: Tags,
}

impl Draft<'_> {
    fn task(&self, cx: &Context, provider: Option<String>) -> Task {
        let request = self.request;
        let id = TaskId::mint(cx.random());
        let containers = self.definition.template.containers.iter();
        let containers = containers.map(|container| {
            let number = cx.random() % RUNTIME_NUMBER_MAX;
            let runtime_id = format!("{id}-{number:010}");
            let container_id = ContainerId::mint(cx.random());
            ContainerState::new(container.name.clone(), container_id, runtime_id)
        });
        let containers = containers.collect();
        let default_group = || format!("family:{}", self.definition.family);
        Task {
            cluster: request.cluster.clone(),
            family: self.definition.family.clone(),
            revision: self.definition.revision,
            overrides: self.overrides.0.clone(),
            overrides_document: self.overrides.1.clone(),
            cpu_units: self.effective.cpu_units,
            memory_mib: self.effective.memory_mib,
            ephemeral_storage_gib: self.effective.ephemeral_storage_gib,
            cpu_architecture: self.effective.cpu_architecture.clone(),
            launch_type: provider.is_none().then(|| "FARGATE".to_owned()),
            capacity_provider: provider,
            platform_version: request.platform_version.clone(),
            group: request.group.clone().unwrap_or_else(default_group),
            started_by: request.started_by.clone(),
            enable_execute_command: request.enable_execute_command,
            tags: self.tags.clone(),
            network: self.network.clone(),
            facts: Facts::new(InterfaceFact::Wanted, TargetFact::NotNeeded),
            stop: None,
            waiting: None,
            interface: None,
            containers,
            version: 1,
            created_at: request.now,
            placed_at: None,
            pull_started_at: None,
            pull_stopped_at: None,
            connectivity_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            stopped_at: None,
            id,
        }
    }
}
