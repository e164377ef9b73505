"""What happens to tasks and services as EventBridge would be told, read through the operator API by
`neargate events`."""

import json

import pytest

from conftest import Clients
from server import fresh
from tasks import shell
from waiting import until

HEALTHY = {"command": ["CMD-SHELL", "true"], "interval": 5, "retries": 1, "startPeriod": 0}


def events(server, *resources):
    """Those about these resources, the oldest first."""
    ran = server.run("events", "--data-dir", str(server.data_dir))
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    return [event for event in told if set(event["resources"]) & set(resources)]


def test_a_task_tells_of_its_life(server, cluster, busybox, account):
    arn = cluster.finish(shell(busybox, "exit 3"))["taskArn"]

    def ended():
        told = events(server, arn)
        return told if told and told[-1]["detail"]["lastStatus"] == "STOPPED" else None

    told = until(ended, 10, "the task's end is told")
    assert {event["detail-type"] for event in told} == {"ECS Task State Change"}
    assert {(it["source"], it["account"], it["version"]) for it in told} == {
        ("aws.ecs", account, "0")}
    statuses = [event["detail"]["lastStatus"] for event in told]
    order = ["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING",
             "DEPROVISIONING", "STOPPED"]
    places = [order.index(status) for status in statuses]
    assert places == sorted(places) and statuses[0] == "PROVISIONING"
    versions = [event["detail"]["version"] for event in told]
    assert versions == sorted(set(versions)), "told in order, none twice"
    last = told[-1]["detail"]
    assert last["taskArn"] == arn and last["containers"][0]["exitCode"] == 3
    assert last["stopCode"] == "EssentialContainerExited"
    # Moments are text in events.
    assert last["stoppedAt"].endswith("Z") and told[-1]["time"].endswith("Z")


def test_a_service_tells_of_its_deployments(server, cluster, busybox, aws):
    definition = cluster.register(
        shell(busybox, "trap 'exit 0' TERM; sleep 1000 & wait", healthCheck=HEALTHY,
              stopTimeout=2))["taskDefinitionArn"]
    service = aws.ecs.create_service(
        cluster=cluster.name, serviceName="web", desiredCount=1, taskDefinition=definition,
        launchType="FARGATE", networkConfiguration=cluster.network)["service"]

    def names():
        told = events(server, service["serviceArn"])
        return [(event["detail-type"], event["detail"]["eventName"]) for event in told]

    steady = ("ECS Service Action", "SERVICE_STEADY_STATE")
    until(lambda: steady in names(), 50, "a steady state is told")
    assert names() == [
        ("ECS Deployment State Change", "SERVICE_DEPLOYMENT_IN_PROGRESS"),
        ("ECS Deployment State Change", "SERVICE_DEPLOYMENT_COMPLETED"),
        steady,
    ]
    told = events(server, service["serviceArn"])
    assert told[0]["detail"]["deploymentId"] == service["deployments"][0]["id"]
    assert told[-1]["detail"]["clusterArn"] == service["clusterArn"]


@pytest.fixture
def alone():
    """A Neargate of its own, without an agent."""
    with fresh("events") as server:
        yield server.start("--no-agent")
        server.stop()


def test_nothing_is_told_twice_after_a_crash(alone):
    aws = Clients(alone.environment())
    aws.ecs.create_cluster(clusterName="default")
    container = {"name": "app", "image": "busybox", "essential": True}
    aws.ecs.register_task_definition(
        family="app", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256",
        memory="512", containerDefinitions=[container])
    subnets = [it["SubnetId"] for it in aws.ec2.describe_subnets()["Subnets"]]
    network = {"awsvpcConfiguration": {"subnets": subnets}}
    run = {"taskDefinition": "app", "launchType": "FARGATE", "networkConfiguration": network}
    first = aws.ecs.run_task(**run)["tasks"][0]["taskArn"]
    until(lambda: events(alone, first), 10, "the task is told of")
    alone.kill()
    alone.start("--no-agent")
    second = aws.ecs.run_task(**run)["tasks"][0]["taskArn"]
    until(lambda: events(alone, second), 10, "the next task is told of")
    told = [event["detail"]["version"] for event in events(alone, first)]
    assert told == sorted(set(told)), "each version of the first task once"
