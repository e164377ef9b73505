"""Tags on every resource that carries them, and the account settings: who set what, for whom, and
what holds in effect."""

import pytest

from refusals import refused
from tasks import container


@pytest.fixture(params=["cluster", "task-definition", "task"])
def resource(request, cluster, busybox, aws):
    """The ARN of one resource of each kind."""
    if request.param == "cluster":
        return aws.ecs.describe_clusters(clusters=[cluster.name])["clusters"][0]["clusterArn"]
    definition = cluster.register(container(busybox, "sleep", "1000", stopTimeout=2))
    if request.param == "task-definition":
        return definition["taskDefinitionArn"]
    return cluster.run(definition)["tasks"][0]["taskArn"]


def tags_of(aws, arn):
    listed = aws.ecs.list_tags_for_resource(resourceArn=arn)["tags"]
    return {tag["key"]: tag["value"] for tag in listed}


def test_tags_come_change_and_go(aws, resource):
    assert tags_of(aws, resource) == {}
    aws.ecs.tag_resource(resourceArn=resource, tags=[{"key": "a", "value": "1"},
                                                     {"key": "b", "value": "2"}])
    aws.ecs.tag_resource(resourceArn=resource, tags=[{"key": "b", "value": "3"}])
    assert tags_of(aws, resource) == {"a": "1", "b": "3"}
    aws.ecs.untag_resource(resourceArn=resource, tagKeys=["a", "never-there"])
    assert tags_of(aws, resource) == {"b": "3"}


def test_fifty_tags_are_the_limit_and_aws_is_reserved(aws, cluster):
    arn = aws.ecs.describe_clusters(clusters=[cluster.name])["clusters"][0]["clusterArn"]
    fifty = [{"key": f"k{number}", "value": ""} for number in range(50)]
    aws.ecs.tag_resource(resourceArn=arn, tags=fifty)
    refused("InvalidParameterException", aws.ecs.tag_resource, resourceArn=arn,
            tags=[{"key": "one-more", "value": ""}])
    refused("InvalidParameterException", aws.ecs.tag_resource, resourceArn=arn,
            tags=[{"key": "aws:mine", "value": ""}])
    assert len(tags_of(aws, arn)) == 50


def test_tagging_what_is_not_there_is_refused(aws, account):
    region = aws.ecs.meta.region_name
    arn = f"arn:aws:ecs:{region}:{account}:cluster/nowhere"
    for call in (aws.ecs.list_tags_for_resource,):
        refused("ClusterNotFoundException", call, resourceArn=arn)
    refused("InvalidParameterException", aws.ecs.list_tags_for_resource, resourceArn="no-arn")


def test_tags_propagate_to_tasks(cluster, busybox):
    definition = cluster.register(container(busybox, "true"), tags=[{"key": "a", "value": "1"}])
    answer = cluster.run(definition, propagateTags="TASK_DEFINITION",
                         tags=[{"key": "b", "value": "2"}], enableECSManagedTags=True)
    arn = answer["tasks"][0]["taskArn"]
    tags = tags_of(cluster.aws, arn)
    assert tags["a"] == "1"
    assert tags["b"] == "2"
    assert tags["aws:ecs:clusterName"] == cluster.name
    described = cluster.describe(arn, include=["TAGS"])
    assert {tag["key"]: tag["value"] for tag in described["tags"]} == tags
    assert cluster.describe(arn).get("tags", []) == []


def test_effective_settings_have_one_answer_each(aws):
    listed = aws.ecs.list_account_settings(effectiveSettings=True, name="containerInsights")
    assert len(listed["settings"]) == 1
    assert listed["settings"][0]["value"] == "disabled"
    every = [it["name"] for page in aws.ecs.get_paginator("list_account_settings").paginate(
        effectiveSettings=True, PaginationConfig={"PageSize": 1}) for it in page["settings"]]
    assert len(every) == len(set(every))
    assert {"taskLongArnFormat", "awsvpcTrunking", "containerInsights"} <= set(every)


def test_a_setting_is_put_and_deleted(aws):
    put = aws.ecs.put_account_setting(name="containerInsights", value="enabled")["setting"]
    assert (put["name"], put["value"]) == ("containerInsights", "enabled")

    def effective():
        listed = aws.ecs.list_account_settings(effectiveSettings=True, name="containerInsights")
        return listed["settings"][0]["value"]

    assert effective() == "enabled"
    aws.ecs.delete_account_setting(name="containerInsights")
    assert effective() == "disabled"
    aws.ecs.put_account_setting_default(name="containerInsights", value="enabled")
    assert effective() == "enabled"
    aws.ecs.put_account_setting_default(name="containerInsights", value="disabled")
    assert effective() == "disabled"


def test_a_setting_holds_for_new_clusters(aws, name):
    aws.ecs.put_account_setting(name="containerInsights", value="enabled")
    try:
        made = aws.ecs.create_cluster(clusterName=name)["cluster"]
        assert {"name": "containerInsights", "value": "enabled"} in made["settings"]
    finally:
        aws.ecs.delete_account_setting(name="containerInsights")
        aws.ecs.delete_cluster(cluster=name)


def test_a_bad_value_is_refused(aws):
    refused("InvalidParameterException", aws.ecs.put_account_setting, name="containerInsights",
            value="perhaps")
