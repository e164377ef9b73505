//! Amazon Elastic Container Service: a file for each operation, named after it, and beside them
//! what several share: how things are named, paged, tagged and shown.

mod client_token;
mod clusters;
mod definition;
mod family_queues;
mod names;
mod overrides;
mod page;
mod placement;
mod service;
mod settings;
mod size;
mod strategy;
mod tagged;
mod tags;
mod tasks;

mod create_cluster;
mod create_service;
mod delete_account_setting;
mod delete_cluster;
mod delete_service;
mod delete_task_definitions;
mod deregister_task_definition;
mod describe_capacity_providers;
mod describe_clusters;
mod describe_service_deployments;
mod describe_service_revisions;
mod describe_services;
mod describe_task_definition;
mod describe_tasks;
mod list_account_settings;
mod list_clusters;
mod list_service_deployments;
mod list_services;
mod list_services_by_namespace;
mod list_tags_for_resource;
mod list_task_definition_families;
mod list_task_definitions;
mod list_tasks;
mod put_account_setting;
mod put_account_setting_default;
mod put_cluster_capacity_providers;
mod register_task_definition;
mod run_task;
mod stop_service_deployment;
mod stop_task;
mod tag_resource;
mod task_protection;
mod task_sets;
mod untag_resource;
mod update_cluster;
mod update_cluster_settings;
mod update_service;

use crate::dispatch::{Route, route};

pub use definition::unhonoured as gap;
pub use family_queues::FamilyQueues;
pub use tasks::show as show_task;

pub const ROUTES: &[Route] = &[
    route!(
        ecs,
        CreateClusterRequest,
        create_cluster::create_cluster,
        ignores [
            "configuration (echoed; no ExecuteCommand, no managed storage yet)",
            "serviceConnectDefaults (echoed; no services yet)",
            "settings.containerInsights (echoed; no metrics yet)",
        ]
    ),
    route!(ecs, DeleteAccountSettingRequest, delete_account_setting::delete_account_setting),
    route!(ecs, DeleteClusterRequest, delete_cluster::delete_cluster),
    route!(ecs, DeleteTaskDefinitionsRequest, delete_task_definitions::delete_task_definitions),
    route!(
        ecs,
        DeregisterTaskDefinitionRequest,
        deregister_task_definition::deregister_task_definition
    ),
    route!(
        ecs,
        DescribeCapacityProvidersRequest,
        describe_capacity_providers::describe_capacity_providers
    ),
    route!(ecs, DescribeClustersRequest, describe_clusters::describe_clusters),
    route!(ecs, DescribeTaskDefinitionRequest, describe_task_definition::describe_task_definition),
    route!(ecs, DescribeTasksRequest, describe_tasks::describe_tasks),
    route!(ecs, GetTaskProtectionRequest, task_protection::get_task_protection),
    route!(ecs, ListAccountSettingsRequest, list_account_settings::list_account_settings),
    route!(ecs, ListClustersRequest, list_clusters::list_clusters),
    route!(ecs, ListTagsForResourceRequest, list_tags_for_resource::list_tags_for_resource),
    route!(
        ecs,
        ListTaskDefinitionFamiliesRequest,
        list_task_definition_families::list_task_definition_families
    ),
    route!(ecs, ListTaskDefinitionsRequest, list_task_definitions::list_task_definitions),
    route!(ecs, ListTasksRequest, list_tasks::list_tasks),
    route!(
        ecs,
        PutAccountSettingRequest,
        put_account_setting::put_account_setting,
        ignores["name (all but containerInsights and defaultLogDriverMode)"]
    ),
    route!(
        ecs,
        PutAccountSettingDefaultRequest,
        put_account_setting_default::put_account_setting_default
    ),
    route!(
        ecs,
        PutClusterCapacityProvidersRequest,
        put_cluster_capacity_providers::put_cluster_capacity_providers
    ),
    route!(
        ecs,
        RegisterTaskDefinitionRequest,
        register_task_definition::register_task_definition,
        ignores [
            "containerDefinitions.dockerLabels",
            "containerDefinitions.interactive",
            "containerDefinitions.logConfiguration.options.awslogs-region (kept here all the same)",
            "containerDefinitions.portMappings.appProtocol",
            "containerDefinitions.portMappings.containerPortRange",
            "containerDefinitions.pseudoTerminal",
            "enableFaultInjection",
            "executionRoleArn (no roles are assumed yet)",
        ]
    ),
    route!(
        ecs,
        RunTaskRequest,
        run_task::run_task,
        ignores [
            "enableExecuteCommand (echoed; there is no ExecuteCommand yet)",
            "networkConfiguration.awsvpcConfiguration.assignPublicIp (no public addresses yet)",
            "referenceId",
        ]
    ),
    route!(
        ecs,
        CreateServiceRequest,
        create_service::create_service,
        ignores [
            "availabilityZoneRebalancing (echoed; tasks are spread when they start, not moved)",
            "deploymentConfiguration.alarms (echoed; a deployment does not look at them yet)",
            "deploymentConfiguration.bakeTimeInMinutes (echoed)",
            "deploymentConfiguration.canaryConfiguration (echoed; the strategy is ROLLING)",
            "deploymentConfiguration.linearConfiguration (echoed; the strategy is ROLLING)",
            "enableExecuteCommand (echoed; there is no ExecuteCommand yet)",
            "loadBalancers.advancedConfiguration",
            "role",
            "serviceConnectConfiguration (echoed; no proxies yet)",
        ]
    ),
    route!(ecs, DeleteServiceRequest, delete_service::delete_service),
    route!(
        ecs,
        DescribeServiceDeploymentsRequest,
        describe_service_deployments::describe_service_deployments
    ),
    route!(
        ecs,
        DescribeServiceRevisionsRequest,
        describe_service_revisions::describe_service_revisions
    ),
    route!(ecs, DescribeServicesRequest, describe_services::describe_services),
    route!(ecs, ListServiceDeploymentsRequest, list_service_deployments::list_service_deployments),
    route!(ecs, ListServicesRequest, list_services::list_services),
    route!(
        ecs,
        UpdateServiceRequest,
        update_service::update_service,
        ignores [
            "availabilityZoneRebalancing (echoed; tasks are spread when they start, not moved)",
            "deploymentConfiguration.alarms (echoed; a deployment does not look at them yet)",
            "deploymentConfiguration.bakeTimeInMinutes (echoed)",
            "deploymentConfiguration.canaryConfiguration (echoed; the strategy is ROLLING)",
            "deploymentConfiguration.linearConfiguration (echoed; the strategy is ROLLING)",
            "enableExecuteCommand (echoed; there is no ExecuteCommand yet)",
            "loadBalancers.advancedConfiguration",
            "serviceConnectConfiguration (echoed; no proxies yet)",
        ]
    ),
    route!(
        ecs,
        ListServicesByNamespaceRequest,
        list_services_by_namespace::list_services_by_namespace
    ),
    route!(ecs, CreateTaskSetRequest, task_sets::create),
    route!(ecs, DeleteTaskSetRequest, task_sets::delete),
    route!(ecs, DescribeTaskSetsRequest, task_sets::describe),
    route!(ecs, UpdateServicePrimaryTaskSetRequest, task_sets::update_primary),
    route!(ecs, UpdateTaskSetRequest, task_sets::update),
    route!(ecs, StopServiceDeploymentRequest, stop_service_deployment::stop_service_deployment),
    route!(ecs, StopTaskRequest, stop_task::stop_task),
    route!(ecs, TagResourceRequest, tag_resource::tag_resource),
    route!(ecs, UntagResourceRequest, untag_resource::untag_resource),
    route!(ecs, UpdateClusterRequest, update_cluster::update_cluster),
    route!(ecs, UpdateClusterSettingsRequest, update_cluster_settings::update_cluster_settings),
    route!(ecs, UpdateTaskProtectionRequest, task_protection::update_task_protection),
];

/// A moment as the wire has it.
fn time(at: model::Timestamp) -> wire::Timestamp {
    wire::Timestamp::from_unix_ms(at.0)
}
