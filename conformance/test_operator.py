"""What an operator types: `env`, `ps`, `logs`, `instances`; where things lie and who may read them;
and what is said when something is in the way."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import urllib.request

import pytest
from botocore.exceptions import ClientError

import kernel
from conftest import Clients
from server import Server, binary, free_port, fresh
from tasks import shell
from waiting import until


@pytest.fixture
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="neargate-operator-"))
    yield path
    shutil.rmtree(path)


def up(*arguments, seconds=30, **more):
    """An `up` that is expected to refuse."""
    return subprocess.run([binary(), "up", *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=seconds, **more)


def test_env_is_for_eval(server, environment):
    assert environment["AWS_ENDPOINT_URL"] == server.url
    assert environment["AWS_DEFAULT_REGION"] == "us-east-1"
    command = f'eval "$({binary()} env --data-dir {server.data_dir})" && echo $AWS_ACCESS_KEY_ID'
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == environment["AWS_ACCESS_KEY_ID"]


def test_env_answers_as_soon_as_healthz_does():
    """What starts Neargate waits for /healthz, and asks for the credentials next."""
    with fresh("operator") as other:
        command = [binary(), "up", "--data-dir", str(other.data_dir),
                   "--listen", f"127.0.0.1:{other.port}"]
        other.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(other.is_healthy, 30, "/healthz answers 200")
        assert other.environment()["AWS_ENDPOINT_URL"] == other.url
        other.stop()


def test_secrets_are_for_their_owner_only(server):
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    files = [path for path in server.data_dir.iterdir() if path.is_file()]
    assert files
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_secret_is_not_logged(server, environment):
    assert environment["AWS_SECRET_ACCESS_KEY"] not in server.log_path.read_text()


def test_the_json_log_is_json(server):
    for line in server.log_path.read_text().splitlines():
        assert isinstance(json.loads(line), dict)


def test_ps_and_logs_and_instances(server, cluster, busybox):
    arn = cluster.start(shell(busybox, "echo seen; exec sleep 1000", stopTimeout=2,
                              logConfiguration=cluster.logging()))
    cluster.until_running(arn)
    task_id = arn.rsplit("/", 1)[1]
    listed = server.run("ps", "--data-dir", str(server.data_dir)).stdout
    line, = (line for line in listed.splitlines() if task_id in line)
    assert "RUNNING" in line

    def logged():
        return server.run("logs", "--data-dir", str(server.data_dir), task_id).stdout

    until(lambda: "seen" in logged(), 10, "`neargate logs` shows the line")
    instances = server.run("instances", "--data-dir", str(server.data_dir)).stdout
    assert len(instances.strip().splitlines()) >= 1


def test_a_port_in_use_is_named(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = up("--data-dir", str(folder / "d"), "--listen", f"127.0.0.1:{port}")
    assert refused.returncode != 0
    assert str(port) in refused.stderr and "in use" in refused.stderr, refused.stderr


def test_a_folder_that_is_served_already(server):
    refused = up("--data-dir", str(server.data_dir), "--listen", f"127.0.0.1:{free_port()}")
    assert refused.returncode != 0
    assert str(server.data_dir) in refused.stderr, refused.stderr
    assert server.is_healthy()


def test_a_folder_that_can_not_be_made(folder):
    (folder / "file").write_text("in the way")
    refused = up("--data-dir", str(folder / "file" / "d"), "--listen", f"127.0.0.1:{free_port()}")
    assert refused.returncode != 0
    assert str(folder / "file") in refused.stderr, refused.stderr


def test_without_root_it_says_so(folder):
    os.chmod(folder, 0o777)
    program = folder / "neargate"
    shutil.copy(binary(), program)
    program.chmod(0o755)
    ran = subprocess.run(
        [str(program), "up", "--data-dir", str(folder / "d"),
         "--listen", f"127.0.0.1:{free_port()}"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30,
        user=65534, group=65534, extra_groups=[])
    assert ran.returncode != 0
    assert "root" in ran.stderr, ran.stderr


def test_a_bad_option_is_refused():
    for bad in (["--listen", "nonsense"], ["--account-id", "12"], ["--log-format", "xml"]):
        refused = up(*bad)
        assert refused.returncode != 0
        assert refused.stderr.strip(), bad


def test_env_without_a_first_start_says_what_to_do(folder):
    ran = subprocess.run([binary(), "env", "--data-dir", str(folder / "d")],
                         capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    assert ran.returncode != 0
    assert "neargate up" in ran.stderr, ran.stderr


def test_account_and_region_are_what_the_operator_says():
    """A second Neargate beside the session's: the two must not disturb each other."""
    with fresh("operator") as other:
        other.start("--account-id", "123456789012", "--region", "eu-central-1")
        environment = other.environment()
        assert environment["AWS_DEFAULT_REGION"] == "eu-central-1"
        ran = subprocess.run(["aws", "sts", "get-caller-identity"], capture_output=True, text=True,
                             env={**os.environ, **environment}, timeout=60)
        assert json.loads(ran.stdout)["Account"] == "123456789012", ran.stderr
        other.stop()


def demo(folder, *more):
    return [binary(), "demo", "--data-dir", str(folder / "d"), *more]


@pytest.mark.deadline(180)
def test_the_demo_walks_all_six_steps_and_leaves_nothing(folder):
    """README's first command, twice on one folder; no request fails while a task is stopped and a
    version rolled out."""
    before = kernel.census()
    for _ in range(2):
        ran = subprocess.run(demo(folder), capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=80)
        assert ran.returncode == 0, (ran.stdout, ran.stderr)
        for shown in ("1. push ", "2. register", "3. create a cluster", "4. create a load balancer",
                      "5. create a service", "6. open http://neargate-demo-",
                      "Hello from version 1, task ", "took its place", "roll out version 2",
                      " env --data-dir ", "--keep"):
            assert shown in ran.stdout, (shown, ran.stdout)
        counted = re.search(r"(\d+) requests meanwhile, 0 failed: (\d+) × "
                            r"\"Hello from version 1\", (\d+) ×", ran.stdout)
        assert counted, ran.stdout
        all, first, second = map(int, counted.groups())
        assert all == first + second and min(first, second) > 10, ran.stdout
        # Both tasks are behind the name.
        assert len(set(re.findall(r"version 1, task (\w+)", ran.stdout))) == 2, ran.stdout
        kernel.until_as(before, 20)
        until(lambda: not kernel.loop_devices(folder), 20, "its disks are gone")


@pytest.mark.deadline(120)
def test_a_demo_that_is_kept_stays_until_it_is_interrupted(folder):
    before = kernel.census()
    process = subprocess.Popen(demo(folder, "--keep"), stdout=subprocess.PIPE, text=True,
                               stdin=subprocess.DEVNULL)
    try:
        said = ""
        while "Ctrl-C ends it" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        url = re.search(r"http://neargate-demo-\S+", said)[0]
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.read().startswith(b"Hello from version 2, task ")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        process.stdout.close()
    kernel.until_as(before, 20)


@pytest.mark.deadline(60)
def test_a_demo_that_cannot_run_says_why(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = subprocess.run(demo(folder, "--listen", where), capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=30)
    assert ran.returncode == 1
    assert f"cannot listen on {where}" in ran.stderr and "--listen" in ran.stderr, ran.stderr


@pytest.fixture
def small_disk(folder):
    """A file system of its own, small enough to fill."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "neargate-test", str(folder)],
                   check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.deadline(120)
def test_a_full_disk_is_told_and_survived(small_disk):
    other = Server(small_disk / "d")
    filler = small_disk / "filler"
    try:
        other.start("--no-agent")
        aws = Clients(other.environment())
        made = aws.ecs.create_cluster(clusterName="before")["cluster"]["clusterArn"]
        fill(filler)
        refused = None
        for number in range(200):
            try:
                tags = [{"key": f"k{it}", "value": "x" * 250} for it in range(40)]
                aws.ecs.create_cluster(clusterName=f"during-{number}", tags=tags)
            except ClientError as error:
                refused = error.response
                break
        assert refused, "the disk is full and still everything was acknowledged"
        assert refused["ResponseMetadata"]["HTTPStatusCode"] >= 500, refused
        # Reading needs no disk.
        assert made in aws.ecs.list_clusters()["clusterArns"]
        assert other.is_healthy() or other.is_running()
        filler.unlink()
        until(lambda: acknowledged(aws, "after"), 30, "with room again, writes are taken again")
        other.kill()
        other.start("--no-agent")
        names = {arn.rsplit("/", 1)[1] for arn in aws.ecs.list_clusters()["clusterArns"]}
        assert {"before", "after"} <= names
        other.stop()
    finally:
        if other.is_running():
            other.stop()


def fill(path):
    """Takes every byte that is left."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            # No space left: that was the aim.
            return


def acknowledged(aws, name):
    try:
        return aws.ecs.create_cluster(clusterName=name)
    except ClientError:
        return None
