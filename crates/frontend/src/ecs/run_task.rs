//! RunTask: commits tasks that nothing has placed yet, together with the client token, in one
//! transaction. Everything else follows from the tasks being there.

use super::client_token::{self, Token};
use super::definition;
use super::placement::{self, Launch};
use super::{clusters, names, overrides, service, tags, tasks};
use crate::context::{Caller, Context};
use crate::fault::{Fault, client, invalid_parameter};
use crate::limits::STARTED_BY_CHARS_MAX;
use model::cluster::Cluster;
use model::facts::TargetFact;
use model::limits::RUN_TASK_COUNT_MAX;
use model::task::Task;
use model::task_definition::{TaskDefinition, TaskDefinitionStatus};
use model::{ClusterName, Tags, TaskId, Timestamp};
use plan::draft::Draft;
use plan::strategy::assign;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Txn;
use store::kinds::task_definition_key;
use wire::ecs::{self, RunTaskRequest, RunTaskResponse};

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
            tags: tags::RULES.read(input.tags.clone())?,
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
        service::read::runnable(&definition)?;
        let mut network = placement::network(self.network.clone())?;
        placement::check_network(txn, &mut network)?;
        let read = overrides::read(self.overrides.clone(), &definition.template)?;
        let effective = plan::effective(&definition.template, &read.0);
        overrides::check_effective(&effective)?;
        let all_tags = self.all_tags(&cluster, &definition)?;
        let group = self.group.clone().unwrap_or_else(|| format!("family:{}", definition.family));
        let draft = Draft {
            cluster: &self.cluster,
            family: &definition.family,
            revision: definition.revision,
            template: &effective,
            overrides: &read.0,
            overrides_document: &read.1,
            platform_version: &self.platform_version,
            group: &group,
            started_by: self.started_by.as_deref(),
            enable_execute_command: self.enable_execute_command,
            tags: &all_tags,
            network: &network,
            target: TargetFact::NotNeeded,
            now: self.now,
        };
        let mut mint = || cx.random();
        let make = |provider| Arc::new(draft.task(TaskId::mint(mint()), provider, &mut mint));
        let tasks: Vec<Arc<Task>> = self.providers(&launch).into_iter().map(make).collect();
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
                assign(items, &BTreeMap::new(), self.count).into_iter().map(Some).collect()
            }
        }
    }

    /// The call's own tags win over the definition's; AWS's own come beside them.
    fn all_tags(&self, cluster: &Cluster, definition: &TaskDefinition) -> Result<Tags, Fault> {
        let mut all = if self.propagate_tags { definition.tags.clone() } else { Tags::new() };
        all.extend(self.tags.clone());
        tags::RULES.check_count(&all)?;
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
