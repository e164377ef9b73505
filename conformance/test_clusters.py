"""Clusters: made once per name, described with what was asked for, listed page by page, and deleted
only when no task is left in them. Also the capacity providers, which hang on clusters."""

import pytest
from botocore.exceptions import ClientError

from refusals import refused
from tasks import container


def test_a_cluster_is_made_with_what_aws_shows(aws, name, account):
    made = aws.ecs.create_cluster(clusterName=name, tags=[{"key": "team", "value": "blue"}])
    cluster = made["cluster"]
    region = aws.ecs.meta.region_name
    assert cluster["clusterArn"] == f"arn:aws:ecs:{region}:{account}:cluster/{name}"
    assert cluster["clusterName"] == name
    assert cluster["status"] == "ACTIVE"
    for count in ("runningTasksCount", "pendingTasksCount", "activeServicesCount",
                  "registeredContainerInstancesCount"):
        assert cluster[count] == 0, count
    assert cluster["capacityProviders"] == []
    assert cluster["defaultCapacityProviderStrategy"] == []
    assert cluster["tags"] == [{"key": "team", "value": "blue"}]
    aws.ecs.delete_cluster(cluster=name)


def test_making_it_twice_gives_the_same_cluster(aws, name):
    first = aws.ecs.create_cluster(clusterName=name)["cluster"]["clusterArn"]
    assert aws.ecs.create_cluster(clusterName=name)["cluster"]["clusterArn"] == first
    listed = [arn for page in aws.ecs.get_paginator("list_clusters").paginate()
              for arn in page["clusterArns"]]
    assert listed.count(first) == 1
    aws.ecs.delete_cluster(cluster=first)


def test_without_a_name_it_is_called_default(aws):
    assert aws.ecs.create_cluster()["cluster"]["clusterName"] == "default"
    assert aws.ecs.describe_clusters()["clusters"][0]["clusterName"] == "default"
    assert aws.ecs.list_tasks()["taskArns"] == []
    aws.ecs.delete_cluster(cluster="default")


@pytest.mark.parametrize("bad", ["with space", "x" * 256, "a/b", "ümlaut"])
def test_a_bad_name_is_refused(aws, bad):
    refused("InvalidParameterException", aws.ecs.create_cluster, clusterName=bad)


def test_describe_gives_what_include_names(aws, name):
    aws.ecs.create_cluster(
        clusterName=name,
        tags=[{"key": "a", "value": "b"}],
        settings=[{"name": "containerInsights", "value": "enabled"}],
    )

    def described(*include):
        answer = aws.ecs.describe_clusters(clusters=[name], include=list(include))
        assert answer["failures"] == []
        return answer["clusters"][0]

    assert described().get("tags", []) == []
    assert described().get("settings", []) == []
    assert described("TAGS")["tags"] == [{"key": "a", "value": "b"}]
    insights = {"name": "containerInsights", "value": "enabled"}
    assert described("SETTINGS")["settings"] == [insights]
    statistics = {it["name"]: it["value"] for it in described("STATISTICS")["statistics"]}
    assert statistics["runningFargateTasksCount"] == "0"
    aws.ecs.delete_cluster(cluster=name)


def test_an_unknown_cluster_is_a_failure_not_an_error(aws, name, account):
    answer = aws.ecs.describe_clusters(clusters=[name])
    arn = f"arn:aws:ecs:{aws.ecs.meta.region_name}:{account}:cluster/{name}"
    assert answer["clusters"] == []
    assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]


def test_an_unknown_cluster_is_an_error_elsewhere(aws, name):
    refused("ClusterNotFoundException", aws.ecs.list_tasks, cluster=name)
    refused("ClusterNotFoundException", aws.ecs.delete_cluster, cluster=name)
    refused("ClusterNotFoundException", aws.ecs.describe_tasks, cluster=name, tasks=["a" * 32])
    refused("ClusterNotFoundException", aws.ecs.update_cluster, cluster=name, settings=[])


def test_listing_honours_page_sizes(aws, name):
    names = [f"{name}-{number}" for number in range(3)]
    made = {aws.ecs.create_cluster(clusterName=it)["cluster"]["clusterArn"] for it in names}
    pages = list(aws.ecs.get_paginator("list_clusters").paginate(
        PaginationConfig={"PageSize": 1}))
    assert all(len(page["clusterArns"]) <= 1 for page in pages)
    listed = [arn for page in pages for arn in page["clusterArns"]]
    assert made <= set(listed)
    assert len(listed) == len(set(listed))
    for it in names:
        aws.ecs.delete_cluster(cluster=it)


def test_a_made_up_page_token_is_refused(aws):
    refused("InvalidParameterException", aws.ecs.list_clusters, nextToken="made-up")


def test_a_deleted_cluster_is_inactive_and_not_listed(aws, name):
    arn = aws.ecs.create_cluster(clusterName=name)["cluster"]["clusterArn"]
    assert aws.ecs.delete_cluster(cluster=arn)["cluster"]["status"] == "INACTIVE"
    assert arn not in aws.ecs.list_clusters()["clusterArns"]
    assert aws.ecs.describe_clusters(clusters=[name])["clusters"][0]["status"] == "INACTIVE"
    again = aws.ecs.create_cluster(clusterName=name)["cluster"]
    assert (again["clusterArn"], again["status"]) == (arn, "ACTIVE")
    aws.ecs.delete_cluster(cluster=name)


def test_a_cluster_with_tasks_is_not_deleted(cluster, busybox):
    arn = cluster.start(container(busybox, "sleep", "1000", stopTimeout=2))
    cluster.until_running(arn)
    refused("ClusterContainsTasksException", cluster.aws.ecs.delete_cluster, cluster=cluster.name)
    counted = cluster.aws.ecs.describe_clusters(clusters=[cluster.name])["clusters"][0]
    assert counted["runningTasksCount"] == 1


def test_settings_change(aws, name):
    aws.ecs.create_cluster(clusterName=name)
    setting = {"name": "containerInsights", "value": "enhanced"}
    changed = aws.ecs.update_cluster_settings(cluster=name, settings=[setting])
    assert changed["cluster"]["settings"] == [setting]
    refused("InvalidParameterException", aws.ecs.update_cluster_settings, cluster=name,
            settings=[{"name": "containerInsights", "value": "perhaps"}])
    logging = {"executeCommandConfiguration": {"logging": "DEFAULT"}}
    aws.ecs.update_cluster(cluster=name, configuration=logging)
    shown = aws.ecs.describe_clusters(clusters=[name], include=["SETTINGS", "CONFIGURATIONS"])
    assert shown["clusters"][0]["configuration"] == logging
    assert shown["clusters"][0]["settings"] == [setting]
    aws.ecs.delete_cluster(cluster=name)


def test_fargates_capacity_providers_exist(aws):
    answer = aws.ecs.describe_capacity_providers(capacityProviders=["FARGATE", "FARGATE_SPOT"])
    assert {(it["name"], it["status"]) for it in answer["capacityProviders"]} == {
        ("FARGATE", "ACTIVE"), ("FARGATE_SPOT", "ACTIVE")}
    assert answer["failures"] == []
    every = {it["name"] for it in aws.ecs.describe_capacity_providers()["capacityProviders"]}
    assert {"FARGATE", "FARGATE_SPOT"} <= every
    missing = aws.ecs.describe_capacity_providers(capacityProviders=["nobody"])
    assert missing["capacityProviders"] == []
    assert missing["failures"][0]["reason"] == "MISSING"


def test_capacity_providers_are_attached_to_a_cluster(aws, name):
    aws.ecs.create_cluster(clusterName=name)
    strategy = [{"capacityProvider": "FARGATE", "weight": 1, "base": 1},
                {"capacityProvider": "FARGATE_SPOT", "weight": 4, "base": 0}]
    put = aws.ecs.put_cluster_capacity_providers
    put(cluster=name, capacityProviders=["FARGATE", "FARGATE_SPOT"],
        defaultCapacityProviderStrategy=strategy)
    shown = aws.ecs.describe_clusters(clusters=[name])["clusters"][0]
    assert sorted(shown["capacityProviders"]) == ["FARGATE", "FARGATE_SPOT"]
    assert shown["defaultCapacityProviderStrategy"] == strategy
    refused("InvalidParameterException", put, cluster=name, capacityProviders=["nobody"],
            defaultCapacityProviderStrategy=[])
    refused("InvalidParameterException", put, cluster=name, capacityProviders=["FARGATE"],
            defaultCapacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}])
    # Terraform detaches this way before it destroys.
    emptied = put(cluster=name, capacityProviders=[], defaultCapacityProviderStrategy=[])
    assert emptied["cluster"]["capacityProviders"] == []
    aws.ecs.delete_cluster(cluster=name)


def test_errors_are_the_clients_own_classes(aws, name):
    with pytest.raises(aws.ecs.exceptions.ClusterNotFoundException) as caught:
        aws.ecs.list_tasks(cluster=name)
    assert isinstance(caught.value, ClientError)
    assert caught.value.response["Error"]["Message"] == "Cluster not found."
