"""RunTask to STOPPED, as clients see it: waiters that end, reasons that tell, tokens that make a
call safe to repeat, lists and pages."""

import platform

import pytest

from refusals import refused
from tasks import address, container, exit_codes, shell
from waiting import until

ORDER = ["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING",
         "DEPROVISIONING", "STOPPED"]


def sleeper(image):
    return container(image, "sleep", "1000", stopTimeout=2)


def test_a_task_runs_and_is_stopped(cluster, busybox, aws, account):
    definition = cluster.register(sleeper(busybox))
    answer = cluster.run(definition, startedBy="me")
    assert answer["failures"] == []
    task = answer["tasks"][0]
    region = aws.ecs.meta.region_name
    prefix = f"arn:aws:ecs:{region}:{account}:task/{cluster.name}/"
    assert task["taskArn"].startswith(prefix)
    assert len(task["taskArn"]) == len(prefix) + 32
    assert task["lastStatus"] == "PROVISIONING"
    assert task["desiredStatus"] == "RUNNING"
    assert task["launchType"] == "FARGATE"
    assert task["taskDefinitionArn"] == definition["taskDefinitionArn"]
    assert task["group"] == f"family:{cluster.name}"
    assert task["startedBy"] == "me"
    assert (task["cpu"], task["memory"]) == ("256", "512")
    assert [it["name"] for it in task["containers"]] == ["app"]
    assert task["containers"][0]["lastStatus"] == "PENDING"

    running = cluster.until_running(task["taskArn"])
    assert running["version"] > task["version"]
    assert running["platformVersion"] == "1.4.0"
    assert running["connectivity"] == "CONNECTED"
    assert running["createdAt"] <= running["pullStartedAt"] <= running["pullStoppedAt"]
    assert running["pullStoppedAt"] <= running["startedAt"]
    assert running["containers"][0]["lastStatus"] == "RUNNING"
    assert running["containers"][0]["runtimeId"]
    assert running["containers"][0]["imageDigest"].startswith("sha256:")
    interface = running["attachments"][0]
    assert (interface["type"], interface["status"]) == ("ElasticNetworkInterface", "ATTACHED")
    details = {it["name"]: it["value"] for it in interface["details"]}
    assert details["subnetId"] in cluster.network["awsvpcConfiguration"]["subnets"]
    assert details["networkInterfaceId"].startswith("eni-")
    assert details["macAddress"] and details["privateIPv4Address"]
    inner = running["containers"][0]["networkInterfaces"][0]
    assert inner["privateIpv4Address"] == details["privateIPv4Address"]

    stopping = aws.ecs.stop_task(cluster=cluster.name, task=task["taskArn"], reason="enough")
    assert stopping["task"]["desiredStatus"] == "STOPPED"
    stopped = cluster.until_stopped(task["taskArn"])
    assert stopped["stopCode"] == "UserInitiated"
    assert stopped["stoppedReason"] == "enough"
    assert stopped["stoppingAt"] <= stopped["executionStoppedAt"] <= stopped["stoppedAt"]
    # `sleep` does not handle SIGTERM as process 1, so SIGKILL ended it.
    assert exit_codes(stopped)["app"] in (137, 143)


def test_stopping_without_a_reason_and_twice(cluster, busybox, aws):
    arn = cluster.start(sleeper(busybox))
    aws.ecs.stop_task(cluster=cluster.name, task=arn)
    stopped = cluster.until_stopped(arn)
    assert stopped["stoppedReason"] == "Task stopped by user"
    again = aws.ecs.stop_task(cluster=cluster.name, task=arn, reason="again")["task"]
    assert again["stoppedReason"] == "Task stopped by user"
    assert again["lastStatus"] == "STOPPED"


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_an_essential_exit_ends_the_task(cluster, busybox, status):
    task = cluster.finish(shell(busybox, f"exit {status}"))
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"
    assert exit_codes(task) == {"app": status}


def test_the_status_never_goes_back(cluster, busybox):
    arn = cluster.start(shell(busybox, "exit 0"))
    seen = []
    while not seen or seen[-1] != "STOPPED":
        seen.append(cluster.describe(arn)["lastStatus"])
    places = [ORDER.index(status) for status in seen]
    assert places == sorted(places), seen


def test_the_running_waiter_fails_on_a_task_that_ends(cluster, busybox):
    arn = cluster.start(shell(busybox, "exit 0"))
    cluster.until_stopped(arn)
    with pytest.raises(AssertionError, match="not all RUNNING"):
        cluster.until_running(arn)


def test_ten_tasks_at_once_and_no_more(cluster, busybox):
    definition = cluster.register(shell(busybox, "exit 0"))
    tasks = cluster.run(definition, count=10)["tasks"]
    arns = [task["taskArn"] for task in tasks]
    assert len(set(arns)) == 10
    cluster.until_stopped(*arns)
    refused("InvalidParameterException", cluster.run, task_definition=definition, count=11)
    refused("InvalidParameterException", cluster.run, task_definition=definition, count=0)


def test_overrides_change_one_task_only(cluster, busybox):
    definition = container(busybox, environment=[{"name": "A", "value": "definition"},
                                                 {"name": "B", "value": "definition"}])
    overrides = {"containerOverrides": [{
        "name": "app", "command": ["/bin/sh", "-c", "test $A = override && test $B = definition"],
        "environment": [{"name": "A", "value": "override"}]}], "cpu": "512", "memory": "1024"}
    task = cluster.finish(definition, overrides=overrides)
    assert exit_codes(task) == {"app": 0}
    assert (task["cpu"], task["memory"]) == ("512", "1024")
    shown = task["overrides"]["containerOverrides"][0]
    assert shown["environment"] == [{"name": "A", "value": "override"}]


def test_overrides_that_fit_nothing_are_refused(cluster, busybox):
    definition = cluster.register(sleeper(busybox))
    nobody = {"containerOverrides": [{"name": "nobody", "command": ["true"]}]}
    refused("InvalidParameterException", cluster.run, task_definition=definition,
            overrides=nobody)
    long = {"containerOverrides": [{"name": "app", "command": ["x" * 9000]}]}
    refused("InvalidParameterException", cluster.run, task_definition=definition, overrides=long)
    size = {"cpu": "256", "memory": "8192"}
    refused("ClientException", cluster.run, task_definition=definition, overrides=size)


def test_a_missing_image_is_told(cluster, busybox):
    repository = busybox.rsplit(":", 1)[0]
    for image in (f"{repository}:never-pushed", f"{repository}-never-made:latest"):
        task = cluster.finish(container(image))
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"].startswith("CannotPullContainerError"), task
        assert "startedAt" not in task
        assert task["containers"][0].get("exitCode") is None


def test_a_missing_program_is_told(cluster, busybox):
    task = cluster.finish(container(busybox, "/no/such/program"))
    assert task["stopCode"] == "TaskFailedToStart"
    told = task["stoppedReason"] + task["containers"][0].get("reason", "")
    assert "CannotStartContainerError" in told and "/no/such/program" in told, task


def test_what_run_task_refuses(cluster, busybox, aws, name):
    definition = cluster.register(sleeper(busybox))
    arn = definition["taskDefinitionArn"]
    run = aws.ecs.run_task
    good = {"cluster": name, "taskDefinition": arn, "launchType": "FARGATE",
            "networkConfiguration": cluster.network}

    def but(**changes):
        return {k: v for k, v in {**good, **changes}.items() if v is not None}

    refused("ClusterNotFoundException", run, **but(cluster="nowhere"))
    refused("InvalidParameterException", run, **but(networkConfiguration=None))
    refused("ClientException", run, **but(taskDefinition="nothing:1"))
    refused("InvalidParameterException", run, **but(
        capacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}]))
    refused("InvalidParameterException", run, **but(networkConfiguration={
        "awsvpcConfiguration": {"subnets": ["subnet-00000000000000000"]}}))
    refused("InvalidParameterException", run, **but(networkConfiguration={
        "awsvpcConfiguration": {**cluster.network["awsvpcConfiguration"],
                                "securityGroups": ["sg-00000000000000000"]}}))
    refused("InvalidParameterException", run, **but(networkConfiguration={
        "awsvpcConfiguration": {"subnets": []}}))
    refused("PlatformUnknownException", run, **but(platformVersion="9.9.9"))
    aws.ecs.deregister_task_definition(taskDefinition=arn)
    refused("InvalidParameterException", run, "TaskDefinition is inactive", **but())


def test_terraforms_empty_strategy_counts_as_none(cluster, busybox):
    definition = cluster.register(shell(busybox, "exit 0"))
    answer = cluster.run(definition, capacityProviderStrategy=[])
    assert answer["failures"] == []
    cluster.until_stopped(answer["tasks"][0]["taskArn"])


def test_a_strategy_places_by_provider(cluster, busybox, aws):
    aws.ecs.put_cluster_capacity_providers(
        cluster=cluster.name, capacityProviders=["FARGATE", "FARGATE_SPOT"],
        defaultCapacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}])
    definition = cluster.register(shell(busybox, "exit 0"))
    task = aws.ecs.run_task(cluster=cluster.name, networkConfiguration=cluster.network,
                            taskDefinition=definition["taskDefinitionArn"])["tasks"][0]
    assert task["capacityProviderName"] == "FARGATE"
    cluster.until_stopped(task["taskArn"])


def test_a_client_token_makes_repeating_safe(cluster, busybox, name):
    definition = cluster.register(sleeper(busybox))
    first = cluster.run(definition, clientToken=name, count=2)["tasks"]
    again = cluster.run(definition, clientToken=name, count=2)["tasks"]
    arns = {task["taskArn"] for task in first}
    assert {task["taskArn"] for task in again} == arns
    listed = cluster.aws.ecs.list_tasks(cluster=cluster.name)["taskArns"]
    assert set(listed) == arns
    with pytest.raises(cluster.aws.ecs.exceptions.ConflictException) as caught:
        cluster.run(definition, clientToken=name, count=3)
    assert set(caught.value.response["resourceIds"]) == arns
    other = cluster.run(definition, clientToken=f"{name}-other")["tasks"]
    assert other[0]["taskArn"] not in arns


def test_bad_client_tokens_are_refused(cluster, busybox):
    definition = cluster.register(sleeper(busybox))
    for token in ("x" * 65, "with space"):
        refused("InvalidParameterException", cluster.run, task_definition=definition,
                clientToken=token)


def test_tasks_are_listed_by_what_they_are(cluster, busybox, aws, name):
    one = cluster.register(sleeper(busybox))
    other = cluster.register(shell(busybox, "exit 0"), family=f"{name}-other")
    running = cluster.run(one, startedBy="me")["tasks"][0]["taskArn"]
    ended = cluster.run(other)["tasks"][0]["taskArn"]
    cluster.until_running(running)
    cluster.until_stopped(ended)

    def listed(**filters):
        return aws.ecs.list_tasks(cluster=name, **filters)["taskArns"]

    assert listed() == [running]
    assert listed(desiredStatus="STOPPED") == [ended]
    assert listed(desiredStatus="PENDING") == []
    assert listed(startedBy="me") == [running]
    assert listed(startedBy="you") == []
    assert listed(family=name) == [running]
    assert listed(family=f"{name}-other", desiredStatus="STOPPED") == [ended]
    assert listed(launchType="FARGATE") == [running]
    assert listed(launchType="EC2") == []


def test_listing_honours_page_sizes(cluster, busybox, aws):
    definition = cluster.register(sleeper(busybox))
    arns = {task["taskArn"] for task in cluster.run(definition, count=3)["tasks"]}
    pages = list(aws.ecs.get_paginator("list_tasks").paginate(
        cluster=cluster.name, PaginationConfig={"PageSize": 1}))
    assert [len(page["taskArns"]) for page in pages] == [1, 1, 1]
    assert {page["taskArns"][0] for page in pages} == arns
    assert "nextToken" not in pages[-1]


def test_describing_what_is_not_there_is_a_failure(cluster, aws, account):
    wanted = "0123456789abcdef" * 2
    answer = aws.ecs.describe_tasks(cluster=cluster.name, tasks=[wanted])
    assert answer["tasks"] == []
    region = aws.ecs.meta.region_name
    arn = f"arn:aws:ecs:{region}:{account}:task/{cluster.name}/{wanted}"
    assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]
    refused("InvalidParameterException", aws.ecs.describe_tasks, cluster=cluster.name,
            tasks=[wanted] * 101)
    refused("InvalidParameterException", aws.ecs.stop_task, cluster=cluster.name, task=wanted)


def test_a_task_is_found_by_id_and_by_arn(cluster, busybox, aws):
    arn = cluster.start(sleeper(busybox))
    short = arn.rsplit("/", 1)[1]
    answer = aws.ecs.describe_tasks(cluster=cluster.name, tasks=[arn, short])
    assert {task["taskArn"] for task in answer["tasks"]} == {arn}


def test_each_task_has_an_address_of_its_own(cluster, busybox, aws):
    definition = cluster.register(sleeper(busybox))
    arns = [task["taskArn"] for task in cluster.run(definition, count=3)["tasks"]]
    cluster.until_running(*arns)
    tasks = aws.ecs.describe_tasks(cluster=cluster.name, tasks=arns)["tasks"]
    assert len({address(task) for task in tasks}) == 3


def test_a_size_no_instance_has_waits_with_its_reason_shown(cluster, busybox):
    definition = cluster.register(sleeper(busybox), cpu="16384", memory="122880")
    answer = cluster.run(definition)
    if answer["failures"]:
        assert answer["failures"][0]["reason"].startswith("RESOURCE:")
        return
    arn = answer["tasks"][0]["taskArn"]
    why = until(lambda: cluster.describe(arn)["containers"][0].get("reason"), 10, "a reason")
    assert why.startswith("RESOURCE:")
    assert cluster.describe(arn)["lastStatus"] == "PROVISIONING"


def test_an_architecture_no_instance_has_waits_with_its_reason_shown(cluster, busybox, server):
    wanted = "X86_64" if platform.machine() in ("aarch64", "arm64") else "ARM64"
    arn = cluster.start(sleeper(busybox), runtimePlatform={"cpuArchitecture": wanted})
    why = f"no instance of architecture {wanted} takes tasks"
    until(lambda: cluster.describe(arn)["containers"][0].get("reason") == why, 10, why)
    waiting = cluster.describe(arn)
    assert waiting["lastStatus"] == "PROVISIONING" and "stoppedReason" not in waiting
    listed = server.run("ps", "--data-dir", str(server.data_dir)).stdout
    line, = (line for line in listed.splitlines() if arn.rsplit("/", 1)[1] in line)
    assert line.rstrip().endswith(why)
    cluster.aws.ecs.stop_task(cluster=cluster.name, task=arn)
    stopped = cluster.until_stopped(arn)
    assert stopped["stoppedReason"] == "Task stopped by user"
    assert "reason" not in stopped["containers"][0]
