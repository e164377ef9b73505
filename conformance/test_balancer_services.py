"""Services behind load balancers: their tasks are targets while they run, healthy when the balancer
finds them so, drained before they are stopped; the balancer's process outlives the control plane
and is replaced when it dies."""

import os
import re
import shutil
import signal
import threading

import pytest

import kernel
from balancing import PORT, Load, Site
from server import binary
from tasks import shell
from waiting import until

# Says a word, and its host's name; /cgi-bin/slow takes its time.
SERVE = f"""
mkdir -p /tmp/www/cgi-bin
echo "$WORD $(hostname)" > /tmp/www/index.html
printf '#!/bin/sh\\necho Content-Type: text/plain\\necho\\nsleep 3\\necho slow\\n' \
    > /tmp/www/cgi-bin/slow
chmod +x /tmp/www/cgi-bin/slow
exec httpd -f -p {PORT} -h /tmp/www
"""


@pytest.fixture
def site(aws, network, name):
    site = Site(aws, network, name)
    yield site
    site.remove()


class Web:
    """A service of one cluster behind a site."""

    def __init__(self, cluster, image, site):
        self.cluster, self.image, self.site, self.ecs = cluster, image, site, cluster.aws.ecs

    def register(self, word, script=SERVE, **more):
        container = shell(
            self.image, script, stopTimeout=2,
            environment=[{"name": "WORD", "value": word},
                         {"name": "OF", "value": self.cluster.name}],
            portMappings=[{"containerPort": PORT}], **more)
        return self.cluster.register(container)["taskDefinitionArn"]

    def create(self, count=2, word="one", **more):
        definition = more.pop("taskDefinition", None) or self.register(word)
        return self.ecs.create_service(
            cluster=self.cluster.name, serviceName="web", desiredCount=count,
            taskDefinition=definition, launchType="FARGATE",
            networkConfiguration=self.cluster.network, **self.site.service(), **more)["service"]

    def update(self, **more):
        return self.ecs.update_service(cluster=self.cluster.name, service="web", **more)["service"]

    def tasks(self):
        arns = self.ecs.list_tasks(cluster=self.cluster.name, serviceName="web")["taskArns"]
        return [self.cluster.describe(arn) for arn in arns]

    def until_rolled(self, seconds=50):
        def complete():
            service = self.cluster.describe_service("web")
            states = [it["rolloutState"] for it in service["deployments"]]
            return service if states == ["COMPLETED"] else None

        return until(complete, seconds, "the rollout completes")

    def said(self):
        return [it["message"] for it in self.cluster.describe_service("web")["events"]]

    def until_said(self, text, seconds=40):
        until(lambda: any(text in it for it in self.said()), seconds, f"an event says {text!r}")


@pytest.fixture
def web(site, cluster, busybox):
    """The cluster is made after the site and goes before it: what drains needs its balancer."""
    return Web(cluster, busybox, site)


def httpds(web):
    """The process ids of the servers in a service's tasks."""
    found = []
    for pid, command in kernel.processes().items():
        if command.startswith("httpd -f -p"):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environ:
                    if f"OF={web.cluster.name}".encode() in environ.read().split(b"\0"):
                        found.append(pid)
            except OSError:
                # It ended while we looked.
                continue
    return found


def balancers(server):
    of = f"neargate balancer --data-dir {server.data_dir} "
    return {pid for pid, command in kernel.processes().items() if command.startswith(of)}


def counted(web, pattern):
    """The sum of what a service's events count."""
    found = [re.search(pattern, message) for message in web.said()]
    return sum(int(match[1]) for match in found if match)


def test_a_url_opens_and_a_killed_task_is_replaced(web, site):
    made = web.create()
    assert made["loadBalancers"] == site.service()["loadBalancers"]
    web.cluster.until_stable("web")
    site.until_states({"healthy": 2})
    status, body = site.get()
    assert status == 200 and body.startswith("one ")
    bodies = {site.get()[1] for _ in range(8)}
    assert len(bodies) == 2, "both tasks answer"
    web.until_rolled()
    group = site.target_group
    assert counted(web, rf"registered (\d) targets in \(target-group {re.escape(group)}\)") == 2
    before = {it["taskArn"] for it in web.tasks()}
    victim = httpds(web)[0]
    os.kill(victim, signal.SIGKILL)

    def replaced():
        now = {it["taskArn"] for it in web.tasks() if it["lastStatus"] == "RUNNING"}
        return len(now) == 2 and now != before

    until(replaced, 30, "another task runs")
    site.until_states({"healthy": 2})
    assert site.get()[0] == 200
    web.until_said(f"(service web) deregistered 1 targets in (target-group {group})", 5)


@pytest.mark.deadline(120)
def test_a_rollout_under_load_fails_no_request(web, site):
    web.create()
    web.until_rolled()
    with Load(site) as load:
        until(lambda: load.served > 50, 20, "requests are served")
        web.update(taskDefinition=web.register("two"))
        web.until_rolled()
        seen = load.served
        until(lambda: load.served > seen + 50, 20, "requests go on")
    assert load.failures == []
    assert {body.split()[0] for body in load.bodies} == {"one", "two"}
    assert site.get()[1].startswith("two ")
    said = "\n".join(web.said())
    assert "(service web) has begun draining connections on" in said
    assert "(service web) has stopped" in said


def test_requests_under_way_are_over_before_a_task_is_stopped(web, site):
    web.create(count=1)
    web.until_rolled()
    answers = []
    slow = threading.Thread(target=lambda: answers.append(site.get("/cgi-bin/slow", timeout=30)))
    slow.start()
    until(lambda: [it for it in kernel.processes().values() if it == "sleep 3"], 10, "it is slow")
    task = web.tasks()[0]["taskArn"]
    web.ecs.stop_task(cluster=web.cluster.name, task=task)
    statuses = set()

    def stopped():
        status = web.cluster.describe(task)["lastStatus"]
        statuses.add(status)
        return status == "STOPPED"

    until(stopped, 30, "the task stops")
    slow.join(30)
    assert answers == [(200, "slow\n")]
    assert "DEACTIVATING" in statuses, statuses
    site.until_states({"healthy": 1})


@pytest.mark.deadline(120)
def test_targets_that_fail_their_checks_break_the_circuit(web, site):
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    first = web.create(count=1, deploymentConfiguration=breaker)["taskDefinition"]
    web.until_rolled()
    wrong = web.register("wrong", f"mkdir /tmp/www; exec httpd -f -p {PORT} -h /tmp/www")
    with Load(site, clients=2) as load:
        web.update(taskDefinition=wrong)
        web.until_said("(service web) rolling back to deployment", 90)
        assert web.until_rolled()["taskDefinition"] == first
    assert load.failures == []
    said = "\n".join(web.said())
    reason = "due to (reason Health checks failed with these codes: [404])"
    assert f"(port {PORT}) is unhealthy in (target-group {site.target_group}) {reason}" in said
    stopped = web.ecs.list_tasks(cluster=web.cluster.name, desiredStatus="STOPPED")["taskArns"]
    reasons = {web.cluster.describe(arn)["stoppedReason"] for arn in stopped}
    assert f"Task failed ELB health checks in (target-group {site.target_group})" in reasons


@pytest.mark.deadline(120)
def test_the_balancer_outlives_the_control_plane_and_is_replaced_when_it_dies(web, site, server):
    web.create()
    web.until_rolled()
    before = balancers(server)
    assert len(before) == 1
    with Load(site) as load:
        until(lambda: load.served > 20, 20, "requests are served")
        server.kill()
        seen = load.served
        until(lambda: load.served > seen + 100, 20, "requests go on without a control plane")
        server.start()
        assert balancers(server) == before, "the same process"
        # It is told again what to serve.
        web.update(desiredCount=3)
        site.until_states({"healthy": 3})
    assert load.failures == []
    os.kill(before.pop(), signal.SIGKILL)
    until(lambda: len(balancers(server)) == 1, 10, "another balancer is there")
    site.until_states({"healthy": 3})
    until(lambda: site.status() == 200, 10, "it serves")


@pytest.mark.deadline(120)
def test_a_balancer_of_another_build_is_relieved(web, site, server, monkeypatch, tmp_path):
    web.create()
    web.until_rolled()
    before = balancers(server)
    other = tmp_path / "neargate"
    shutil.copy(binary(), other)
    with Load(site) as load:
        until(lambda: load.served > 20, 20, "requests are served")
        server.stop()
        with monkeypatch.context() as patch:
            patch.setenv("NEARGATE_BIN", str(other))
            server.start()
        until(lambda: balancers(server) - before, 20, "the next balancer is there")
        until(lambda: not balancers(server) & before, 40, "the one before has ended")
        seen = load.served
        until(lambda: load.served > seen + 50, 20, "requests go on")
        web.update(desiredCount=3)
        site.until_states({"healthy": 3})
    assert load.failures == []
    server.stop()
    server.start()


def test_without_load_balancers_there_is_no_balancer(server, aws, network, name):
    site = Site(aws, network, name)
    until(lambda: balancers(server), 10, "a balancer is there")
    until(lambda: site.status() == 503, 10, "it serves, and has no target")
    site.remove()
    others = aws.elbv2.describe_load_balancers()["LoadBalancers"]
    assert others == []
    until(lambda: not balancers(server), 15, "the balancer has ended")
