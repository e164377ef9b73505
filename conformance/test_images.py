"""Images people really run: nginx and python out of Debian's packages, beside the static busybox
that the other tests use; named in the ways that task definitions name them."""

import pytest

from tasks import address, container, exit_codes, shell


@pytest.mark.deadline(180)
def test_nginx_serves(cluster, nginx, busybox):
    server = container(nginx, name="nginx", essential=False, portMappings=[{"containerPort": 80}])
    del server["essential"]
    client = shell(busybox, "until wget -qO- http://127.0.0.1/ 2>/dev/null; do sleep 0.1; done",
                   dependsOn=[{"containerName": "nginx", "condition": "START"}])
    task, lines = cluster.logged(server, client)
    assert lines["app"] == ["hello from nginx"]
    assert any('"GET / HTTP/1.1" 200' in line for line in lines["nginx"]), lines["nginx"]
    assert exit_codes(task) == {"nginx": 0, "app": 0}


@pytest.mark.deadline(180)
def test_python_runs(cluster, python):
    program = "import sys, json; print(json.dumps({'major': sys.version_info[0]})); sys.exit(3)"
    task, lines = cluster.logged(container(python, "-c", program))
    assert lines["app"] == ['{"major": 3}']
    assert exit_codes(task) == {"app": 3}


@pytest.mark.deadline(180)
def test_python_serves_another_task(cluster, python, busybox):
    """One task reaches another by its address, within the default security group."""
    serving = cluster.start(container(python, "-m", "http.server", "8000", stopTimeout=2))
    host = address(cluster.until_running(serving))
    ask = f"wget -qO /dev/null http://{host}:8000/ 2>/dev/null"
    script = f"until {ask}; do sleep 0.1; done; echo reached"
    task, lines = cluster.logged(shell(busybox, script), family=f"{cluster.name}-client")
    assert lines["app"] == ["reached"]


def test_an_image_by_digest(cluster, busybox, aws):
    repository = busybox.rsplit(":", 1)[0]
    name = repository.split("/", 1)[1]
    digest = aws.ecr.describe_images(repositoryName=name)["imageDetails"][0]["imageDigest"]
    task = cluster.finish(shell(f"{repository}@{digest}", "exit 0"))
    assert exit_codes(task) == {"app": 0}
    assert task["containers"][0]["imageDigest"] == digest


def test_the_name_ecr_would_give(cluster, busybox, account, aws):
    """Task definitions written for AWS name the registry of the account; that is ours."""
    name = busybox.split("/", 1)[1]
    image = f"{account}.dkr.ecr.{aws.ecr.meta.region_name}.amazonaws.com/{name}"
    assert exit_codes(cluster.finish(shell(image, "exit 0"))) == {"app": 0}


def test_a_task_pins_the_image_it_started_with(cluster, busybox):
    task = cluster.finish(shell(busybox, "exit 0"))
    assert task["containers"][0]["image"] == busybox
    assert task["containers"][0]["imageDigest"].startswith("sha256:")
