"""A service is rolled out ten times, one image is broken and rolled back by itself, tasks and the
control plane are killed with SIGKILL, and all the while requests come in. None may fail but one
whose own connection was cut: by a task that was killed while it worked on it."""

import collections
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from balancing import Load, Site
from tasks import container
from waiting import until

TASKS = 3
CLIENTS = 4
WRK_CONNECTIONS = 4
# How long after a kill a request may fail of it.
CUT_SECONDS = 2
NOWHERE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/nowhere:none"


@pytest.fixture
def site(aws, network, name):
    site = Site(aws, network, name)
    yield site
    site.remove()


class Storm:
    def __init__(self, cluster, image, site):
        self.cluster, self.image, self.site, self.ecs = cluster, image, site, cluster.aws.ecs
        self.revision = 0
        self.killed_at = []

    def register(self, image=None):
        """Another revision each time."""
        self.revision += 1
        made = container(
            image or self.image, portMappings=[{"containerPort": 80}], stopTimeout=5,
            environment=[{"name": "REVISION", "value": str(self.revision)}])
        made.pop("command", None)
        return self.cluster.register(made)["taskDefinitionArn"]

    def create(self):
        breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
        self.ecs.create_service(
            cluster=self.cluster.name, serviceName="web", desiredCount=TASKS,
            taskDefinition=self.register(), launchType="FARGATE",
            networkConfiguration=self.cluster.network, deploymentConfiguration=breaker,
            **self.site.service(port=80))
        self.until_rolled()

    def update(self, definition):
        self.ecs.update_service(
            cluster=self.cluster.name, service="web", taskDefinition=definition)

    def until_rolled(self, seconds=60):
        def complete():
            service = self.cluster.describe_service("web")
            states = [it["rolloutState"] for it in service["deployments"]]
            return service if states == ["COMPLETED"] else None

        return until(complete, seconds, "the rollout completes")

    def kill_a_task(self):
        """SIGKILL to every process of a task that serves."""
        victims = until(self._of_a_running_task, 20, "a task that runs has processes")
        self.killed_at.append(time.monotonic())
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                # Its master went first and took it along.
                continue
        self.killed_at.append(time.monotonic())

    def _of_a_running_task(self):
        arns = self.ecs.list_tasks(cluster=self.cluster.name, serviceName="web")["taskArns"]
        told = self.ecs.describe_tasks(cluster=self.cluster.name, tasks=arns)["tasks"]
        running = [it["taskArn"] for it in told if it["lastStatus"] == "RUNNING"]
        # One that has stopped since has none any more.
        found = (processes(arn.rsplit("/", 1)[1]) for arn in running)
        return next((pids for pids in found if pids), None)

    def is_cut(self, failed_at):
        return any(0 <= failed_at - at <= CUT_SECONDS for at in self.killed_at)


def processes(task):
    """Those of a task's containers: what it runs, not what watches over it."""
    found = []
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            groups = (folder / "cgroup").read_text()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            # It ended while we looked.
            continue
        if task in groups and b"nginx" in command:
            found.append(int(folder.name))
    return found


class Wrk:
    """The load generator from Debian, until the end of the storm."""

    def __init__(self, url, enter=(), timeout_seconds=2):
        self.command = [*enter, "wrk", "-t", "1", "-c", str(WRK_CONNECTIONS), "-d", "600s",
                        "--timeout", f"{timeout_seconds}s", url]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.said = self.process.communicate(timeout=30)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def number(self, pattern):
        found = re.search(pattern, self.said)
        return int(found[1]) if found else 0

    def failed(self):
        cut = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)",
                        self.said)
        return sum(int(it) for it in cut.groups()) if cut else 0


@pytest.fixture
def storm(site, cluster, nginx):
    return Storm(cluster, nginx, site)


@pytest.mark.deadline(300)
def test_no_request_fails_while_everything_else_does(storm, site, server):
    storm.create()
    rounds = collections.Counter()
    with Wrk(f"http://{site.dns_name}/") as wrk, Load(site, clients=CLIENTS) as load:
        until(lambda: load.served > 100, 30, "requests are served")
        for round_number in range(1, 11):
            storm.update(storm.register())
            if round_number in (3, 7):
                # The next one comes while this one is under way.
                rounds["overtaken"] += 1
                continue
            if round_number in (4, 9):
                storm.kill_a_task()
                rounds["task killed"] += 1
            if round_number in (5, 8):
                server.kill()
                seen = load.served
                until(lambda seen=seen: load.served > seen + 100, 20, "requests go on")
                server.start()
                rounds["control plane killed"] += 1
            storm.until_rolled()
            if round_number == 6:
                good = storm.cluster.describe_service("web")["taskDefinition"]
                storm.update(storm.register(NOWHERE))
                rolled_back = "(service web) rolling back to deployment"

                def told(rolled_back=rolled_back):
                    events = storm.cluster.describe_service("web")["events"]
                    return any(rolled_back in it["message"] for it in events)

                until(told, 60, "the broken image is given up")
                assert storm.until_rolled()["taskDefinition"] == good
                rounds["rolled back"] += 1
        site.until_states({"healthy": TASKS})
        seen = load.served
        until(lambda: load.served > seen + 100, 20, "requests go on")
    wanted = {"overtaken": 2, "task killed": 2, "control plane killed": 2, "rolled back": 1}
    assert rounds == wanted
    foreign = [failure for failure in load.failures if not storm.is_cut(failure.at)]
    assert foreign == [], f"{len(load.failures)} of {load.served} failed"
    assert len(load.failures) <= CLIENTS * rounds["task killed"]
    # wrk tells no times: what failed of it must fit what the kills can have cut.
    failed = wrk.failed() + wrk.number(r"Non-2xx or 3xx responses: (\d+)")
    assert failed <= WRK_CONNECTIONS * rounds["task killed"], wrk.said
    assert wrk.number(r"(\d+) requests in") > 1000, wrk.said
    print(f"{load.served} requests of {CLIENTS} clients, {len(load.failures)} cut; {wrk.said}")
