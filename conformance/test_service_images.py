"""What an image's tag means is settled once for a deployment: all of its tasks run the same, also
those that come after the tag was moved. Source: ECS developer guide, container image resolution."""

import images
from tasks import container
from waiting import until


def digests(cluster, deployment):
    """What the deployment's tasks found, those that ended too."""
    arns = [
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in cluster.aws.ecs.list_tasks(
            cluster=cluster.name, startedBy=deployment, desiredStatus=status)["taskArns"]
    ]
    found = [cluster.describe(arn)["containers"][0].get("imageDigest") for arn in arns]
    return [digest for digest in found if digest]


def test_a_moved_tag_is_for_the_next_deployment(cluster, aws, registry_password, name):
    made = aws.ecr.create_repository(repositoryName=f"conformance/{name}")
    uri = made["repository"]["repositoryUri"]
    first = images.push("busybox", uri, registry_password)
    ecs = aws.ecs

    def create(service, **more):
        template = container(f"{uri}:latest", "sleep", "1000", stopTimeout=2, **more)
        made = ecs.create_service(
            cluster=cluster.name, serviceName=service, desiredCount=1, launchType="FARGATE",
            taskDefinition=cluster.register(template, family=f"{name}-{service}")[
                "taskDefinitionArn"],
            networkConfiguration=cluster.network)["service"]
        return made["deployments"][0]["id"]

    settled, unsettled = create("settled"), create("unsettled", versionConsistency="disabled")
    for service in ("settled", "unsettled"):
        cluster.until_stable(service)
    assert digests(cluster, settled) == digests(cluster, unsettled) == [first]
    second = images.push("nginx", uri, registry_password)
    assert second != first
    for service in ("settled", "unsettled"):
        ecs.update_service(cluster=cluster.name, service=service, desiredCount=2)
    until(lambda: len(digests(cluster, settled)) == 2, 30, "another task of the same image")
    assert digests(cluster, settled) == [first, first]
    until(lambda: second in digests(cluster, unsettled), 30, "the tag is looked up again")
    forced = ecs.update_service(
        cluster=cluster.name, service="settled", forceNewDeployment=True)["service"]
    anew = forced["deployments"][0]["id"]
    until(lambda: digests(cluster, anew), 30, "a task of the new deployment")
    assert set(digests(cluster, anew)) == {second}
