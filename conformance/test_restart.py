"""The control plane and the agent may stop, crash and come back: what was acknowledged is there,
what ran goes on running, what ended meanwhile is told, and nothing is run twice."""

import pytest

import kernel
from tasks import container, exit_codes, shell
from waiting import until


def sleepers():
    """The processes that run what these tests run, by id."""
    return {pid for pid, command in kernel.processes().items() if "sleep 1000" in command}


def restart(server, how):
    if how == "SIGTERM":
        server.stop()
    else:
        server.kill()
    server.start()


@pytest.mark.deadline(120)
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_a_running_task_goes_on(server, cluster, busybox, how):
    arn = cluster.start(container(busybox, "sleep", "1000", stopTimeout=2))
    before = cluster.until_running(arn)
    alive = sleepers()
    assert alive
    restart(server, how)
    cluster.until_running(arn)
    after = cluster.describe(arn)
    assert after["startedAt"] == before["startedAt"]
    assert after["containers"][0]["runtimeId"] == before["containers"][0]["runtimeId"]
    assert alive <= sleepers()
    cluster.aws.ecs.stop_task(cluster=cluster.name, task=arn)
    cluster.until_stopped(arn)


@pytest.mark.deadline(120)
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_what_ended_meanwhile_is_told(server, cluster, busybox, how):
    arn = cluster.start(shell(busybox, "sleep 3; exit 21"))
    cluster.until_running(arn)
    if how == "SIGTERM":
        server.stop()
    else:
        server.kill()
    alive = {pid for pid, command in kernel.processes().items() if "sleep 3" in command}
    until(lambda: not alive & set(kernel.processes()), 20, "the container ends without us")
    server.start()
    task = cluster.until_stopped(arn)
    assert exit_codes(task) == {"app": 21}
    assert task["stopCode"] == "EssentialContainerExited"


@pytest.mark.deadline(120)
def test_what_was_acknowledged_is_there(server, aws, name):
    aws.ecs.create_cluster(clusterName=name, tags=[{"key": "a", "value": "b"}])
    server.kill()
    server.start()
    shown = aws.ecs.describe_clusters(clusters=[name], include=["TAGS"])["clusters"][0]
    assert (shown["status"], shown["tags"]) == ("ACTIVE", [{"key": "a", "value": "b"}])
    aws.ecs.delete_cluster(cluster=name)


@pytest.mark.deadline(240)
def test_crashes_while_tasks_start_and_stop(server, cluster, busybox):
    """Tasks that end by themselves, started around five crashes: each is told once, as it was."""
    definition = cluster.register(shell(busybox, "exit 4"))
    arns = []
    for round_number in range(5):
        token = f"{cluster.name}-{round_number}"
        tasks = cluster.run(definition, count=3, clientToken=token)["tasks"]
        server.kill()
        server.start()
        again = cluster.run(definition, count=3, clientToken=token)["tasks"]
        assert {it["taskArn"] for it in again} == {it["taskArn"] for it in tasks}
        arns += [it["taskArn"] for it in tasks]
    cluster.until_stopped(*arns)
    told = cluster.aws.ecs.describe_tasks(cluster=cluster.name, tasks=arns)["tasks"]
    assert len(told) == 15
    for task in told:
        assert task["stopCode"] in ("EssentialContainerExited", "TaskFailedToStart"), task
    ended = [task for task in told if task["stopCode"] == "EssentialContainerExited"]
    assert all(exit_codes(task) == {"app": 4} for task in ended)
    # A task whose start was cut off may be told as failed; not all of them were.
    assert ended, [task.get("stoppedReason") for task in told]


@pytest.mark.deadline(120)
def test_a_stopped_task_leaves_nothing_behind(cluster, busybox):
    # The first task makes what all tasks share.
    cluster.finish(shell(busybox, "exit 0"))
    before = kernel.census()
    arn = cluster.start(container(busybox, "sleep", "1000", stopTimeout=2))
    cluster.until_running(arn)
    assert kernel.census() - before
    cluster.aws.ecs.stop_task(cluster=cluster.name, task=arn)
    cluster.until_stopped(arn)
    kernel.until_as(before, 20)


def test_log_lines_survive_a_crash_once(server, cluster, busybox):
    script = "i=0; while [ $i -lt 40 ]; do echo n $i; i=$((i+1)); sleep 0.1; done"
    arn = cluster.start(shell(busybox, script, logConfiguration=cluster.logging()))
    cluster.until_running(arn)
    server.kill()
    server.start()
    task = cluster.until_stopped(arn)
    assert cluster.lines(cluster.log_group, task, "app") == [f"n {number}" for number in range(40)]
