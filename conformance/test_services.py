"""Services as clients see them: kept at their count, rolled forward, rolled back, deleted. Tasks
have a health check, so that a rollout need not wait the 40 seconds that an unchecked task must run
before it counts as healthy."""

import pytest

from conftest import Clients
from refusals import refused
from tasks import address, container, shell
from waiting import until

HEALTHY = {"command": ["CMD-SHELL", "true"], "interval": 5, "retries": 1, "startPeriod": 0}


def sleeper(image, script="trap 'exit 0' TERM; sleep 1000 & wait", health=HEALTHY, **more):
    return shell(image, script, stopTimeout=2, healthCheck=health, **more)


@pytest.fixture
def services(cluster, busybox, aws):
    return Services(cluster, busybox, aws)


class Services:
    """Makes services of one cluster."""

    def __init__(self, cluster, image, aws):
        self.cluster, self.image, self.ecs = cluster, image, aws.ecs

    def register(self, **more):
        return self.cluster.register(sleeper(self.image, **more))["taskDefinitionArn"]

    def create(self, name="web", count=2, **more):
        return self.ecs.create_service(
            cluster=self.cluster.name,
            serviceName=name,
            desiredCount=count,
            **{
                "taskDefinition": more.pop("taskDefinition", None) or self.register(),
                "launchType": "FARGATE",
                "networkConfiguration": self.cluster.network,
                **more,
            },
        )["service"]

    def update(self, name="web", **more):
        return self.ecs.update_service(cluster=self.cluster.name, service=name, **more)["service"]

    def tasks(self, name="web", **more):
        found = self.ecs.list_tasks(cluster=self.cluster.name, serviceName=name, **more)
        return found["taskArns"]

    def described(self, name="web"):
        arns = self.tasks(name)
        if not arns:
            return []
        return self.ecs.describe_tasks(cluster=self.cluster.name, tasks=arns)["tasks"]

    def until_rolled(self, name="web", seconds=50):
        """The rollout is complete: one deployment, COMPLETED."""

        def complete():
            service = self.cluster.describe_service(name)
            deployments = service["deployments"]
            states = [it["rolloutState"] for it in deployments]
            return service if states == ["COMPLETED"] else None

        return until(complete, seconds, f"the rollout of {name} completes")


def test_a_service_keeps_its_tasks_running(services, cluster, account):
    made = services.create()
    assert (made["status"], made["desiredCount"], made["runningCount"]) == ("ACTIVE", 2, 0)
    assert made["deployments"][0]["status"] == "PRIMARY"
    assert made["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert made["deployments"][0]["failedTasks"] == 0
    assert made["loadBalancers"] == [] and made["serviceRegistries"] == []
    assert made["propagateTags"] == "NONE" and made["schedulingStrategy"] == "REPLICA"
    assert made["deploymentController"] == {"type": "ECS"}
    assert made["serviceArn"].endswith(f":{account}:service/{cluster.name}/web")
    stable = cluster.until_stable("web")
    assert (stable["runningCount"], stable["pendingCount"]) == (2, 0)
    tasks = services.described()
    assert {it["group"] for it in tasks} == {"service:web"}
    assert {it["startedBy"] for it in tasks} == {made["deployments"][0]["id"]}
    assert made["deployments"][0]["id"].startswith("ecs-svc/")

    killed = tasks[0]["taskArn"]
    services.ecs.stop_task(cluster=cluster.name, task=killed)
    replaced = until(
        lambda: set(services.tasks()) - {it["taskArn"] for it in tasks},
        10,
        "a task takes the place of the one that was stopped",
    )
    cluster.until_running(*replaced)
    assert killed not in services.tasks()


def test_events_say_what_happened(services, cluster):
    services.create(count=1)
    service = services.until_rolled()
    messages = [it["message"] for it in service["events"]]
    assert messages[0] == "(service web) has reached a steady state."
    assert any(it.startswith("(service web) has started 1 tasks: (task ") for it in messages)
    deployment = service["deployments"][0]
    assert deployment["rolloutStateReason"] == f"ECS deployment {deployment['id']} completed."
    assert f"(service web) (deployment {deployment['id']}) deployment completed." in messages


def test_scaling_starts_and_stops_tasks(services, cluster):
    services.create(count=1)
    cluster.until_stable("web")
    assert services.update(desiredCount=3)["desiredCount"] == 3
    assert cluster.until_stable("web")["runningCount"] == 3
    services.update(desiredCount=0)
    assert cluster.until_stable("web")["runningCount"] == 0
    stopped = services.ecs.list_tasks(
        cluster=cluster.name, serviceName="web", desiredStatus="STOPPED"
    )["taskArns"]
    ended = services.ecs.describe_tasks(cluster=cluster.name, tasks=stopped)["tasks"]
    assert {it["stopCode"] for it in ended} == {"ServiceSchedulerInitiated"}
    reasons = {it["stoppedReason"] for it in ended}
    assert len(reasons) == 1
    assert reasons.pop().startswith("Scaling activity initiated by (deployment ecs-svc/")


def test_a_new_definition_rolls_out_without_a_gap(services, cluster):
    first = services.create()
    services.until_rolled()
    definition = services.register(script="trap 'exit 0' TERM; echo two; sleep 1000 & wait")
    updated = services.update(taskDefinition=definition)
    assert [it["status"] for it in updated["deployments"]] == ["PRIMARY", "ACTIVE"]
    assert updated["taskDefinition"] == definition
    healthy = []

    def rolled():
        service = cluster.describe_service("web")
        told = services.described()
        healthy.append(sum(it["healthStatus"] == "HEALTHY" for it in told))
        return [it["rolloutState"] for it in service["deployments"]] == ["COMPLETED"]

    until(rolled, 50, "the rollout completes")
    assert min(healthy) >= 2, healthy
    assert {it["taskDefinitionArn"] for it in services.described()} == {definition}
    history = services.ecs.list_service_deployments(cluster=cluster.name, service="web")
    assert [it["status"] for it in history["serviceDeployments"]] == ["SUCCESSFUL", "SUCCESSFUL"]
    arns = [it["serviceDeploymentArn"] for it in history["serviceDeployments"]]
    told = services.ecs.describe_service_deployments(serviceDeploymentArns=arns)
    assert told["failures"] == []
    revision = told["serviceDeployments"][0]["targetServiceRevision"]["arn"]
    told = services.ecs.describe_service_revisions(serviceRevisionArns=[revision])
    assert told["serviceRevisions"][0]["taskDefinition"] == definition
    assert first["deployments"][0]["id"] != updated["deployments"][0]["id"]


def test_forcing_a_deployment_replaces_the_tasks(services, cluster):
    services.create(count=1)
    services.until_rolled()
    before = set(services.tasks())
    assert len(services.update()["deployments"]) == 1, "nothing changed, nothing is rolled"
    assert len(services.update(forceNewDeployment=True)["deployments"]) == 2
    services.until_rolled()
    assert not before & set(services.tasks())


def test_a_broken_image_rolls_back(services, cluster):
    services.create(
        deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    )
    good = services.until_rolled()
    kept = set(services.tasks())
    broken = cluster.register(container("127.0.0.1:1/nothing:here", "true"))["taskDefinitionArn"]
    services.update(taskDefinition=broken)
    back = until(
        lambda: (it := cluster.describe_service("web"))["taskDefinition"] != broken and it,
        30,
        "the service rolls back",
    )
    assert back["deployments"][0]["id"] == good["deployments"][0]["id"]
    service = services.until_rolled()
    assert service["taskDefinition"] == good["taskDefinition"]
    assert kept <= set(services.tasks()), "the tasks that ran were left alone"
    messages = [it["message"] for it in service["events"]]
    assert f"(service web) rolling back to deployment {good['deployments'][0]['id']}." in messages
    history = services.ecs.list_service_deployments(cluster=cluster.name, service="web")
    assert history["serviceDeployments"][0]["status"] == "ROLLBACK_SUCCESSFUL"


def test_an_unhealthy_task_is_replaced(services, cluster):
    # Each task is healthy until it is told otherwise by a file of its own making.
    health = {**HEALTHY, "command": ["CMD-SHELL", "test ! -e /sick"]}
    script = "trap 'exit 0' TERM; [ -e /first ] || sleep 8 && touch /sick; sleep 1000 & wait"
    definition = services.register(script=script, health=health)
    services.create(count=1, taskDefinition=definition)
    cluster.until_stable("web")
    first = services.tasks()[0]
    replaced = until(
        lambda: any(it != first for it in services.tasks()), 40, "the sick task is replaced"
    )
    assert replaced
    told = until(
        lambda: (it := cluster.describe(first))["desiredStatus"] == "STOPPED" and it,
        40,
        "the sick task is stopped",
    )
    assert told["stoppedReason"] == "Task failed container health checks"


def test_deleting_drains_and_frees_the_name(services, cluster):
    services.create(count=1)
    cluster.until_stable("web")
    ecs, here = services.ecs, {"cluster": cluster.name}
    refused(
        "InvalidParameterException", ecs.delete_service, "scaled above 0", service="web", **here
    )
    saying = "while Services are active"
    refused("ClusterContainsServicesException", ecs.delete_cluster, saying, **here)
    deleted = services.ecs.delete_service(cluster=cluster.name, service="web", force=True)
    assert deleted["service"]["status"] == "DRAINING"
    cluster.until_inactive("web")
    assert services.ecs.list_services(cluster=cluster.name)["serviceArns"] == []
    refused("ServiceNotActiveException", services.update, desiredCount=1)
    services.create(count=0)
    assert cluster.describe_service("web")["status"] == "ACTIVE"


def test_creating_twice(services):
    definition = services.register()
    token = {"clientToken": "once", "taskDefinition": definition, "count": 0}
    first = services.create(**token)
    again = services.create(**token)
    assert first["deployments"][0]["id"] == again["deployments"][0]["id"]
    refused("InvalidParameterException", services.create, "not idempotent", count=0)


def test_refusals(services, cluster, aws):
    ecs = aws.ecs
    refused("ServiceNotFoundException", services.update, name="nobody", desiredCount=1)
    nowhere = {"cluster": "nowhere", "services": ["web"]}
    refused("ClusterNotFoundException", ecs.describe_services, **nowhere)
    told = ecs.describe_services(cluster=cluster.name, services=["nobody"])
    assert told["services"] == [] and told["failures"][0]["reason"] == "MISSING"
    for wrong in [
        {"count": -1},
        {"count": 5001},
        {"name": "no spaces"},
        {"schedulingStrategy": "DAEMON"},
        {"deploymentConfiguration": {"maximumPercent": 50, "minimumHealthyPercent": 100}},
        {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-none"]}}},
        {
            "loadBalancers": [
                {"targetGroupArn": "arn:none", "containerName": "app", "containerPort": 80}
            ]
        },
    ]:
        refused("InvalidParameterException", services.create, **wrong)
    saying = "TaskDefinition not found"
    refused("ClientException", services.create, saying, taskDefinition="nothing:7")


def test_lists_are_paged(services, cluster):
    definition = services.register()
    for n in range(12):
        services.create(f"s{n:02}", count=0, taskDefinition=definition)
    first = services.ecs.list_services(cluster=cluster.name)
    assert len(first["serviceArns"]) == 10 and first["nextToken"]
    pages = services.ecs.get_paginator("list_services").paginate(
        cluster=cluster.name, PaginationConfig={"PageSize": 1}
    )
    names = [arn.rsplit("/", 1)[1] for page in pages for arn in page["serviceArns"]]
    assert names == [f"s{n:02}" for n in range(12)]


def test_tags_reach_tasks_when_they_are_to(services, cluster):
    tags = [{"key": "team", "value": "a"}]
    made = services.create(
        count=1, tags=tags, propagateTags="SERVICE", enableECSManagedTags=True
    )
    assert made["tags"] == tags
    cluster.until_stable("web")
    task = cluster.describe(services.tasks()[0], include=["TAGS"])
    told = {it["key"]: it["value"] for it in task["tags"]}
    assert told["team"] == "a" and told["aws:ecs:serviceName"] == "web"
    services.ecs.tag_resource(resourceArn=made["serviceArn"], tags=[{"key": "b", "value": "2"}])
    told = cluster.describe_service("web", include=["TAGS"])["tags"]
    assert {it["key"] for it in told} == {"team", "b"}


@pytest.fixture
def cloud_map(environment):
    """DiscoverInstances would be asked of `data-127.0.0.1`, which is nobody's name."""
    return Clients(environment, inject_host_prefix=False).servicediscovery


@pytest.fixture
def registry(aws, cloud_map, name):
    """A Cloud Map service in a private namespace of the default VPC."""
    vpc = aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    operation = cloud_map.create_private_dns_namespace(Name=f"{name}.test", Vpc=vpc["VpcId"])

    def made():
        told = cloud_map.get_operation(OperationId=operation["OperationId"])["Operation"]
        return told["Status"] == "SUCCESS" and told["Targets"]["NAMESPACE"]

    namespace = until(made, 10, "the namespace is made")
    records = [{"Type": "A", "TTL": 5}]
    service = cloud_map.create_service(
        Name="web", NamespaceId=namespace, DnsConfig={"DnsRecords": records}
    )["Service"]
    yield {"arn": service["Arn"], "namespace": f"{name}.test"}
    cloud_map.delete_service(Id=service["Id"])
    cloud_map.delete_namespace(Id=namespace)


def test_tasks_are_found_in_cloud_map_while_they_run(services, cluster, registry, cloud_map):
    def found():
        told = cloud_map.discover_instances(
            NamespaceName=registry["namespace"], ServiceName="web"
        )
        return {it["InstanceId"]: it["Attributes"] for it in told["Instances"]}

    services.create(serviceRegistries=[{"registryArn": registry["arn"]}])
    cluster.until_stable("web")
    tasks = {it["taskArn"].rsplit("/", 1)[1]: it for it in services.described()}
    assert found().keys() == tasks.keys()
    for id, attributes in found().items():
        assert attributes["AWS_INSTANCE_IPV4"] == address(tasks[id])
        assert attributes["ECS_SERVICE_NAME"] == "web"
    services.update(desiredCount=0)
    cluster.until_stable("web")
    assert found() == {}
    services.ecs.delete_service(cluster=cluster.name, service="web")
    cluster.until_inactive("web")
    wrong = [{"registryArn": registry["arn"] + "x"}]
    refused(
        "InvalidParameterException", services.create, "does not exist", serviceRegistries=wrong
    )
