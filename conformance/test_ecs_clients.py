"""Tools that people drive ECS with, as they come from PyPI: ecs-deploy, Cloud Custodian, awslogs,
luigi, and the waiters of boto3 and the aws CLI."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

from tasks import WAIT
from test_services import Services, sleeper

# Beside the environment that the suite itself runs in; `cargo xtask test` makes both.
TOOLS = pathlib.Path(sys.prefix).with_name("test-clients")


@pytest.fixture(scope="session")
def tool(environment, tmp_path_factory):
    """Runs one of the tools; gives what it printed."""
    assert TOOLS.is_dir(), f"{TOOLS} is not there: `cargo xtask test build` makes it"
    home = tmp_path_factory.mktemp("home")

    def run(program, *arguments, check=True, seconds=100):
        ran = subprocess.run(
            [TOOLS / "bin" / program, *map(str, arguments)],
            env={**os.environ, **environment, "HOME": str(home), "AWS_MAX_ATTEMPTS": "1"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, cwd=home)
        told = f"{program} {arguments}\n{ran.stdout}\n{ran.stderr}"
        assert not check or ran.returncode == 0, told
        return ran.stdout + ran.stderr

    return run


@pytest.fixture
def services(cluster, busybox, aws):
    return Services(cluster, busybox, aws)


def environment_of(aws, definition):
    told = aws.ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
    pairs = told["containerDefinitions"][0].get("environment", [])
    return {it["name"]: it["value"] for it in pairs}


@pytest.mark.deadline(180)
def test_ecs_deploy_deploys_scales_runs_and_updates(tool, services, cluster, aws):
    first = services.create(count=1)["taskDefinition"]
    cluster.until_stable("web")
    said = tool("ecs", "deploy", cluster.name, "web", "-e", "app", "WORD", "two", "--timeout", 90)
    assert "Deployment successful" in said, said
    service = cluster.describe_service("web")
    second = service["taskDefinition"]
    assert second != first and environment_of(aws, second) == {"WORD": "two"}
    # The one before is deregistered, as ecs-deploy does unless told otherwise.
    told = aws.ecs.describe_task_definition(taskDefinition=first)["taskDefinition"]
    assert told["status"] == "INACTIVE"
    said = tool("ecs", "scale", cluster.name, "web", 2, "--timeout", 90)
    assert "Scaling successful" in said, said
    assert cluster.describe_service("web")["desiredCount"] == 2
    family = second.rsplit("/", 1)[1].split(":")[0]
    said = tool("ecs", "update", family, "-e", "app", "WORD", "three")
    assert "Creating new task definition revision" in said, said
    assert environment_of(aws, family) == {"WORD": "three"}
    network = cluster.network["awsvpcConfiguration"]
    where = [f"--subnet={network['subnets'][0]}", f"--securitygroup={network['securityGroups'][0]}"]
    said = tool("ecs", "run", cluster.name, family, 1, "-c", "app", "/bin/sh -c true",
                "--launchtype", "FARGATE", *where)
    assert "Successfully started 1 instances of task" in said, said
    arn = [line.strip("- ") for line in said.splitlines() if ":task/" in line][0]
    ended = cluster.until_stopped(arn)
    assert ended["containers"][0]["exitCode"] == 0
    diff = tool("ecs", "diff", family, 1, 3)
    assert "WORD" in diff


def test_ecs_deploy_says_when_a_deployment_fails(tool, services, cluster):
    services.create(count=1)
    cluster.until_stable("web")
    said = tool("ecs", "deploy", cluster.name, "web", "-i", "app", "nowhere.invalid/nothing:1",
                "--timeout", 20, "--no-rollback", check=False)
    assert "Deployment failed" in said, said


@pytest.mark.deadline(180)
def test_custodian_audits_tags_and_stops(tool, services, cluster, aws, tmp_path):
    services.create(count=1, tags=[{"key": "team", "value": "blue"}])
    cluster.until_stable("web")
    stray = cluster.start(sleeper(services.image))
    cluster.until_running(stray)
    arn = cluster.describe_service("web")["clusterArn"]
    policies = {"policies": [
        {"name": "clusters", "resource": "ecs", "filters": [{"clusterName": cluster.name}]},
        {"name": "owners", "resource": "ecs-service",
         "filters": [{"clusterArn": arn}, {"tag:owner": "absent"}, {"tag:team": "blue"}],
         "actions": [{"type": "tag", "key": "owner", "value": "nobody"}]},
        {"name": "strays", "resource": "ecs-task",
         "filters": [{"clusterArn": arn}, {"lastStatus": "RUNNING"},
                     {"type": "value", "key": "group", "op": "regex", "value": "family:.*"}],
         "actions": ["stop"]},
        {"name": "definitions", "resource": "ecs-task-definition",
         "filters": [{"family": cluster.name}]},
    ]}
    file, out = tmp_path / "policies.json", tmp_path / "out"
    file.write_text(json.dumps(policies))
    tool("custodian", "run", "--cache-period", 0, "-s", out, file)

    def found(policy):
        return json.loads((out / policy / "resources.json").read_text())

    assert [it["clusterName"] for it in found("clusters")] == [cluster.name]
    assert [it["serviceName"] for it in found("owners")] == ["web"]
    assert [it["taskArn"] for it in found("strays")] == [stray]
    assert {it["family"] for it in found("definitions")} == {cluster.name}
    service = cluster.describe_service("web", include=["TAGS"])
    assert {"key": "owner", "value": "nobody"} in service["tags"]
    assert cluster.until_stopped(stray)["stoppedReason"]
    assert cluster.describe_service("web")["runningCount"] == 1
    tool("custodian", "run", "--cache-period", 0, "-s", out, file)
    assert found("owners") == [] and found("strays") == []


def test_awslogs_reads_what_tasks_wrote(tool, cluster, busybox):
    from tasks import shell

    _, lines = cluster.logged(shell(busybox, "echo one; echo two"))
    assert lines["app"] == ["one", "two"]
    group = f"/conformance/{cluster.name}"
    assert group in tool("awslogs", "groups").splitlines()
    [stream] = tool("awslogs", "streams", group).split()
    read = tool("awslogs", "get", group, "ALL", "--start", "1h", "--no-color").splitlines()
    assert [line.split()[-1] for line in read] == ["one", "two"]
    assert all(line.startswith(f"{group} {stream}") for line in read)
    only = tool("awslogs", "get", group, stream, "--start", "1h", "--filter-pattern", "two",
                "--no-group", "--no-stream").split()
    assert only == ["two"]


@pytest.mark.deadline(120)
def test_luigi_runs_a_task_and_waits_for_it(tool, cluster, busybox, tmp_path):
    from tasks import shell

    definition = cluster.register(shell(busybox, "exit 7"))["taskDefinitionArn"]
    script = tmp_path / "pipeline.py"
    script.write_text(textwrap.dedent(f"""
        import luigi
        from luigi.contrib.ecs import ECSTask

        class Job(ECSTask):
            task_def_arn = {definition!r}
            cluster = {cluster.name!r}
            command = [{{"name": "app", "command": ["/bin/sh", "-c", "exit 0"]}}]
            run_task_kwargs = {{
                "launchType": "FARGATE", "networkConfiguration": {cluster.network!r}}}

            def complete(self):
                return bool(self.ecs_task_ids)

        assert luigi.build([Job()], local_scheduler=True)
    """))
    tool("python", script)
    [arn] = cluster.aws.ecs.list_tasks(
        cluster=cluster.name, desiredStatus="STOPPED")["taskArns"]
    ended = cluster.describe(arn)
    assert ended["lastStatus"] == "STOPPED" and ended["containers"][0]["exitCode"] == 0


@pytest.mark.deadline(120)
def test_waiters_of_services_return(services, cluster, aws, cli):
    services.create(count=1)
    of = ["--cluster", cluster.name, "--services", "web"]
    cli("ecs", "wait", "services-stable", *of, text=True)
    assert cluster.describe_service("web")["runningCount"] == 1
    aws.ecs.delete_service(cluster=cluster.name, service="web", force=True)
    waiter = aws.ecs.get_waiter("services_inactive")
    waiter.wait(cluster=cluster.name, services=["web"], WaiterConfig=WAIT)
    cli("ecs", "wait", "services-inactive", *of, text=True)
