"""Task definitions: Fargate's table of sizes, whole; what Fargate refuses and in which words; what
is filled in; and revisions, which rise for ever."""

import pytest

from refusals import refused
from tasks import EXECUTION_ROLE, awslogs, container

GIB = 1024
# Fargate's table: CPU units, and the memory sizes in MiB that go with them.
SIZES = {
    256: [512, 1 * GIB, 2 * GIB],
    512: range(1 * GIB, 4 * GIB + 1, GIB),
    1024: range(2 * GIB, 8 * GIB + 1, GIB),
    2048: range(4 * GIB, 16 * GIB + 1, GIB),
    4096: range(8 * GIB, 30 * GIB + 1, GIB),
    8192: range(16 * GIB, 60 * GIB + 1, 4 * GIB),
    16384: range(32 * GIB, 120 * GIB + 1, 8 * GIB),
    32768: [60 * GIB, 120 * GIB, 244 * GIB],
}
NO_SUCH_SIZE = "No Fargate configuration exists for given values"


@pytest.fixture
def register(aws, name):
    """Registers with Fargate's minimum and a test's changes; what is None is left out."""

    def register(containers=None, **changes):
        arguments = {
            "family": name,
            "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc",
            "cpu": "256",
            "memory": "512",
            "containerDefinitions": containers or [container("busybox")],
            **changes,
        }
        present = {key: value for key, value in arguments.items() if value is not None}
        return aws.ecs.register_task_definition(**present)["taskDefinition"]

    return register


@pytest.mark.parametrize("cpu", SIZES)
def test_every_size_of_the_table_is_taken(register, cpu):
    for memory in SIZES[cpu]:
        made = register(cpu=str(cpu), memory=str(memory))
        assert (made["cpu"], made["memory"]) == (str(cpu), str(memory))


@pytest.mark.parametrize("cpu", SIZES)
def test_sizes_beside_the_table_are_refused(register, cpu):
    sizes = list(SIZES[cpu])
    for memory in (sizes[0] - 1, sizes[0] // 2, sizes[0] + 1, sizes[-1] + GIB):
        refused("ClientException", register, NO_SUCH_SIZE, cpu=str(cpu), memory=str(memory))


@pytest.mark.parametrize("cpu, memory, kept", [
    (".25 vCPU", "0.5 GB", ("256", "512")),
    ("0.5 vcpu", "1GB", ("512", "1024")),
    ("1 vCPU", "2 GB", ("1024", "2048")),
    ("16 vCPU", "32 GB", ("16384", "32768")),
])
def test_sizes_in_words_are_kept_as_numbers(register, cpu, memory, kept):
    made = register(cpu=cpu, memory=memory)
    assert (made["cpu"], made["memory"]) == kept


def test_sizes_that_are_none_are_refused(register):
    refused("ClientException", register, "Invalid 'cpu' setting for task.", cpu="much")
    refused("ClientException", register, NO_SUCH_SIZE, cpu="300", memory="512")
    refused("ClientException", register, "memory", memory="lots")
    refused("ClientException", register, "'cpu' be defined at the task level", cpu=None)
    sized = [container("busybox", memory=128)]
    refused("ClientException", register, "'memory' be defined at the task level", memory=None,
            containers=sized)


@pytest.mark.parametrize("changes, saying", [
    ({"networkMode": "bridge"}, "awsvpc"),
    ({"networkMode": None}, "awsvpc"),
    ({"ipcMode": "host"}, "ipcMode"),
    ({"pidMode": "host"}, "pidMode"),
    ({"placementConstraints": [{"type": "memberOf", "expression": "x"}]},
     "Fargate compatible task definitions do not support constraints"),
    ({"volumes": [{"name": "v", "host": {"sourcePath": "/etc"}}]},
     "host.sourcePath should not be set for volumes in Fargate."),
    ({"ephemeralStorage": {"sizeInGiB": 20}}, "EphemeralStorage size should be at least 21"),
    ({"ephemeralStorage": {"sizeInGiB": 201}}, "at most 200"),
    ({"family": "with space"}, ""),
    ({"family": "x" * 256}, ""),
])
def test_what_fargate_refuses_of_a_task(register, changes, saying):
    refused("ClientException", register, saying, **changes)


@pytest.mark.parametrize("changes, saying", [
    ({"privileged": True}, "privileged"),
    ({"links": ["b"]}, "Links are not supported on container when networkMode=awsvpc"),
    ({"disableNetworking": True}, "Disable Networking is not supported"),
    ({"dnsServers": ["10.0.0.2"]}, "DNS servers are not supported"),
    ({"dnsSearchDomains": ["x"]}, "DNS search domains are not supported"),
    ({"extraHosts": [{"hostname": "a", "ipAddress": "10.0.0.1"}]}, "Extra hosts are"),
    ({"dockerSecurityOptions": ["label:x"]}, "dockerSecurityOptions"),
    ({"linuxParameters": {"capabilities": {"add": ["SYS_ADMIN"]}}}, "SYS_ADMIN"),
    ({"linuxParameters": {"devices": [{"hostPath": "/dev/fuse"}]}}, "devices"),
    ({"linuxParameters": {"sharedMemorySize": 64}}, "sharedMemorySize"),
    ({"linuxParameters": {"tmpfs": [{"containerPath": "/x", "size": 1}]}}, "tmpfs"),
    ({"linuxParameters": {"swappiness": 10}}, "swappiness"),
    ({"logConfiguration": {"logDriver": "syslog"}}, "syslog"),
    ({"cpu": 512}, ""),
    ({"memory": 1024}, ""),
    ({"mountPoints": [{"sourceVolume": "nowhere", "containerPath": "/x"}]}, "nowhere"),
    ({"volumesFrom": [{"sourceContainer": "nobody"}]}, "nobody"),
    ({"dependsOn": [{"containerName": "nobody", "condition": "START"}]}, "nobody"),
    ({"portMappings": [{"containerPort": 80, "hostPort": 8080}]}, ""),
    ({"startTimeout": 121}, ""),
    ({"stopTimeout": 121}, ""),
    ({"healthCheck": {"command": ["CMD-SHELL", "true"], "interval": 4}}, ""),
    ({"healthCheck": {"command": ["CMD-SHELL", "true"], "timeout": 61}}, ""),
    ({"healthCheck": {"command": ["CMD-SHELL", "true"], "retries": 11}}, ""),
    ({"healthCheck": {"command": ["CMD-SHELL", "true"], "startPeriod": 301}}, ""),
    ({"restartPolicy": {"enabled": True, "restartAttemptPeriod": 59}}, ""),
    ({"essential": False}, "essential"),
    ({"name": "with space"}, ""),
])
def test_what_fargate_refuses_of_a_container(register, changes, saying):
    bad = {**container("busybox"), **changes}
    refused("ClientException", register, saying, containers=[bad])


def test_awslogs_needs_an_execution_role(register, account):
    with_logs = [container("busybox", logConfiguration=awslogs("g", "us-east-1"))]
    refused("ClientException", register, containers=with_logs, saying=(
        "Fargate requires task definition to have execution role ARN to support log driver "
        "awslogs."))
    role = EXECUTION_ROLE.format(account=account)
    made = register(containers=with_logs, executionRoleArn=role)
    assert made["executionRoleArn"] == role


def test_containers_must_fit_together(register):
    def named(*names, **more):
        return [container("busybox", name=it, **more) for it in names]

    assert len(register(containers=named(*"abcdefghij"))["containerDefinitions"]) == 10
    refused("ClientException", register, containers=named(*"abcdefghijk"))
    refused("ClientException", register, containers=named("a", "a"))
    refused("ClientException", register, containers=named("a", "b", cpu=129))

    def depends(on, condition="START"):
        return {"dependsOn": [{"containerName": on, "condition": condition}]}

    circle = [container("busybox", name="a", **depends("b")),
              container("busybox", name="b", **depends("a"))]
    refused("ClientException", register, containers=circle)
    # An essential container that completes ends the task: nothing can come after it.
    after = [container("busybox", name="a"),
             container("busybox", name="b", **depends("a", "COMPLETE"))]
    refused("ClientException", register, containers=after)
    unchecked = [container("busybox", name="a"),
                 container("busybox", name="b", **depends("a", "HEALTHY"))]
    refused("ClientException", register, containers=unchecked)


def test_what_is_left_out_is_filled_in(register, name, account, aws):
    made = register(containers=[{"name": "app", "image": "busybox",
                                 "portMappings": [{"containerPort": 80}]}])
    region = aws.ecs.meta.region_name
    arn = f"arn:aws:ecs:{region}:{account}:task-definition/{name}:1"
    assert made["taskDefinitionArn"] == arn
    assert (made["family"], made["revision"], made["status"]) == (name, 1, "ACTIVE")
    assert made["requiresCompatibilities"] == ["FARGATE"]
    assert set(made["compatibilities"]) == {"EC2", "FARGATE"}
    assert made["networkMode"] == "awsvpc"
    assert made["volumes"] == [] and made["placementConstraints"] == []
    assert made["registeredAt"] and made["registeredBy"].startswith("arn:aws:")
    container_definition = made["containerDefinitions"][0]
    assert container_definition["essential"] is True
    assert container_definition["cpu"] == 0
    for empty in ("environment", "mountPoints", "volumesFrom", "systemControls"):
        assert container_definition[empty] == [], empty
    assert container_definition["portMappings"] == [
        {"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]


def test_everything_given_comes_back(register):
    given = {
        "name": "app", "image": "busybox:1", "cpu": 128, "memory": 256, "memoryReservation": 128,
        "essential": True, "entryPoint": ["/bin/sh", "-c"], "command": ["true"],
        "environment": [{"name": "A", "value": "1"}], "workingDirectory": "/tmp", "user": "1000",
        "readonlyRootFilesystem": True, "interactive": False, "pseudoTerminal": False,
        "startTimeout": 60, "stopTimeout": 10, "dockerLabels": {"a": "b"},
        "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 2048}],
        "linuxParameters": {"initProcessEnabled": True,
                            "capabilities": {"add": ["SYS_PTRACE"], "drop": ["NET_RAW"]}},
        "healthCheck": {"command": ["CMD-SHELL", "true"], "interval": 10, "timeout": 2,
                        "retries": 2, "startPeriod": 5},
        "restartPolicy": {"enabled": True, "ignoredExitCodes": [0], "restartAttemptPeriod": 60},
        "mountPoints": [{"sourceVolume": "v", "containerPath": "/v", "readOnly": True}],
        "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp", "name": "web",
                          "appProtocol": "http"}],
        "volumesFrom": [], "systemControls": [],
    }
    made = register(containers=[given], volumes=[{"name": "v"}],
                    ephemeralStorage={"sizeInGiB": 21}, taskRoleArn=EXECUTION_ROLE.format(
                        account="0" * 12), runtimePlatform={
                        "cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"})
    back = made["containerDefinitions"][0]
    assert {key: back.get(key) for key in given} == given
    assert made["ephemeralStorage"] == {"sizeInGiB": 21}
    assert made["volumes"][0]["name"] == "v"
    assert made["runtimePlatform"]["cpuArchitecture"] == "X86_64"


def test_health_checks_get_aws_defaults(register):
    checked = container("busybox", healthCheck={"command": ["CMD-SHELL", "true"]})
    back = register(containers=[checked])["containerDefinitions"][0]["healthCheck"]
    assert (back["interval"], back["timeout"], back["retries"]) == (30, 5, 3)


def test_revisions_rise_for_ever(register, aws, name):
    assert [register()["revision"] for _ in range(3)] == [1, 2, 3]

    def status(which):
        answer = aws.ecs.describe_task_definition(taskDefinition=which)
        return answer["taskDefinition"]["revision"], answer["taskDefinition"]["status"]

    assert status(name) == (3, "ACTIVE")
    assert status(f"{name}:2") == (2, "ACTIVE")
    gone = aws.ecs.deregister_task_definition(taskDefinition=f"{name}:3")["taskDefinition"]
    assert gone["status"] == "INACTIVE" and gone["deregisteredAt"]
    assert status(name) == (2, "ACTIVE")
    assert status(f"{name}:3") == (3, "INACTIVE")
    deleted = aws.ecs.delete_task_definitions(taskDefinitions=[f"{name}:3"])
    assert deleted["failures"] == []
    assert deleted["taskDefinitions"][0]["status"] == "DELETE_IN_PROGRESS"
    assert register()["revision"] == 4


def test_only_what_is_deregistered_can_be_deleted(register, aws, name):
    register()
    answer = aws.ecs.delete_task_definitions(taskDefinitions=[f"{name}:1"])
    assert answer["taskDefinitions"] == []
    assert len(answer["failures"]) == 1
    refused("InvalidParameterException", aws.ecs.delete_task_definitions,
            taskDefinitions=[f"{name}:{number}" for number in range(1, 12)])


def test_an_unknown_definition_is_refused(aws, name):
    refused("ClientException", aws.ecs.describe_task_definition,
            "Unable to describe task definition.", taskDefinition=name)
    refused("ClientException", aws.ecs.deregister_task_definition, taskDefinition=f"{name}:1")


def test_definitions_are_listed_by_family_order_and_status(register, aws, name):
    made = [register()["taskDefinitionArn"] for _ in range(3)]
    register(family=f"{name}-other")
    aws.ecs.deregister_task_definition(taskDefinition=made[1])

    def listed(**more):
        pages = aws.ecs.get_paginator("list_task_definitions").paginate(
            familyPrefix=name, PaginationConfig={"PageSize": 1}, **more)
        return [arn for page in pages for arn in page["taskDefinitionArns"]]

    assert listed() == [made[0], made[2]]
    assert listed(sort="DESC") == [made[2], made[0]]
    assert listed(status="INACTIVE") == [made[1]]


def test_families_are_listed_by_prefix_and_status(register, aws, name):
    register()
    register(family=f"{name}-b")
    aws.ecs.deregister_task_definition(taskDefinition=f"{name}-b:1")

    def families(**more):
        pages = aws.ecs.get_paginator("list_task_definition_families").paginate(
            familyPrefix=name, PaginationConfig={"PageSize": 1}, **more)
        return [family for page in pages for family in page["families"]]

    assert families() == [name, f"{name}-b"]
    assert families(status="ACTIVE") == [name]
    assert families(status="INACTIVE") == [f"{name}-b"]


def test_tags_are_shown_when_asked_for(register, aws, name):
    register(tags=[{"key": "a", "value": "b"}])
    plain = aws.ecs.describe_task_definition(taskDefinition=name)
    assert plain.get("tags", []) == []
    tagged = aws.ecs.describe_task_definition(taskDefinition=name, include=["TAGS"])
    assert tagged["tags"] == [{"key": "a", "value": "b"}]


def test_a_definition_above_64_kib_is_refused(register):
    big = [{"name": f"V{number}", "value": "x" * 1000} for number in range(70)]
    refused("ClientException", register, containers=[container("busybox", environment=big)])
