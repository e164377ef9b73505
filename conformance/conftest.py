"""What every test starts from: one `neargate up` with a fresh data folder for the whole session,
real clients that talk to it, and names of its own for each test. Every answer a boto3 client gets
is held against AWS's model (answers.py). Tests that can't pass yet stand in pending.txt; they run
all the same, and one that passes is an error until its line is struck."""

import json
import os
import pathlib
import signal
import subprocess
import uuid

import boto3
import botocore.config
import pytest

import answers
import images
import kernel
from registry import password
from server import fresh
from tasks import Cluster

PENDING = pathlib.Path(__file__).with_name("pending.txt")
DEADLINE_SECONDS = 60


def pytest_collection_modifyitems(items):
    """Marks the tests of pending.txt as expected to fail, strictly."""
    lines = (line.split("#")[0].strip() for line in PENDING.read_text().splitlines())
    pending = {line for line in lines if line}
    used = set()
    for item in items:
        file, _, name = item.nodeid.partition("::")
        named = {file, item.nodeid, f"{file}::{name.split('[')[0]}"} & pending
        if named:
            used |= named
            item.add_marker(pytest.mark.xfail(strict=True, reason="stands in pending.txt"))
    collected = {item.nodeid.partition("::")[0] for item in items}
    stale = {line for line in pending - used if line.partition("::")[0] in collected}
    gone = {line for line in pending if not PENDING.with_name(line.partition("::")[0]).exists()}
    whole = not any("::" in argument for argument in items[0].config.args) if items else False
    if (stale and whole and not items[0].config.option.keyword) or gone:
        raise pytest.UsageError(f"pending.txt names tests that do not exist: {stale | gone}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """A test that hangs fails at its deadline, with the stack of where it hung."""
    marker = item.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else DEADLINE_SECONDS

    def late(_signal, _frame):
        raise AssertionError(f"this test took longer than {seconds} s")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.fixture(scope="session")
def server():
    """The Neargate under test. When the session ends it must stop as it is told, leave nothing in
    the kernel and no task alive; its data folder is removed."""
    before = kernel.census()
    with fresh("conformance") as server:
        server.start()
        yield server
        # Plainly stopped, it would leave tasks running; the next one is told to take them along.
        if server.is_running():
            server.stop()
        server.start("--stop-tasks")
        server.stop()
        kernel.until_as(before, 30)


@pytest.fixture(scope="session")
def environment(server):
    return server.environment()


class Clients:
    """One boto3 client per service, by attribute: `aws.ecs.run_task(…)`."""

    def __init__(self, environment, **config):
        self._environment = environment
        self._config = config
        self._made = {}

    def __getattr__(self, service):
        if service not in self._made:
            self._made[service] = self.make(service)
        return self._made[service]

    def make(self, service, key=None, secret=None):
        environment = self._environment
        client = boto3.session.Session().client(
            service,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_DEFAULT_REGION"],
            aws_access_key_id=key or environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=secret or environment["AWS_SECRET_ACCESS_KEY"],
            # What fails once has failed: a retry would hide it.
            config=botocore.config.Config(retries={"total_max_attempts": 1}, **self._config),
        )
        answers.watch(client)
        return client


@pytest.fixture(scope="session")
def aws(environment):
    return Clients(environment)


class Cli:
    """The real aws CLI: `cli("ecs", "list-clusters")` gives the decoded answer."""

    def __init__(self, program, environment, *always):
        self.command = [program, *always]
        self.environment = {**os.environ, **environment, "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1"}

    def __call__(self, *arguments, check=True, text=False, seconds=60):
        ran = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if not check:
            return ran
        assert ran.returncode == 0, f"aws {arguments}: {ran.stderr}"
        return ran.stdout if text else json.loads(ran.stdout or "null")


def _aws_cli(major):
    """The path of the aws CLI of a major version: PyPI has 1, Debian has 2."""
    found = [f"{folder}/aws" for folder in os.environ["PATH"].split(":")]
    for program in [*found, "/usr/bin/aws"]:
        if os.access(program, os.X_OK):
            ran = subprocess.run([program, "--version"], capture_output=True, text=True)
            if f"aws-cli/{major}." in ran.stdout + ran.stderr:
                return program
    raise AssertionError(f"no aws CLI of version {major} is installed")


@pytest.fixture(scope="session")
def cli1(environment):
    return Cli(_aws_cli(1), environment)


@pytest.fixture(scope="session")
def cli2(environment):
    # Debian's is older than AWS_ENDPOINT_URL.
    return Cli(_aws_cli(2), environment, "--endpoint-url", environment["AWS_ENDPOINT_URL"])


@pytest.fixture(params=["v1", "v2"])
def cli(request, cli1, cli2):
    """Both, one after the other."""
    return {"v1": cli1, "v2": cli2}[request.param]


@pytest.fixture
def name():
    """A name nobody else has."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def account(aws):
    return aws.sts.get_caller_identity()["Account"]


@pytest.fixture(scope="session")
def network(aws):
    """A networkConfiguration of the default VPC."""
    defaults = [{"Name": "is-default", "Values": ["true"]}]
    vpc = aws.ec2.describe_vpcs(Filters=defaults)["Vpcs"][0]["VpcId"]
    mine = [{"Name": "vpc-id", "Values": [vpc]}]
    subnets = aws.ec2.describe_subnets(Filters=mine)["Subnets"]
    groups = aws.ec2.describe_security_groups(Filters=mine)["SecurityGroups"]
    return {
        "awsvpcConfiguration": {
            "subnets": [subnet["SubnetId"] for subnet in subnets],
            "securityGroups": [g["GroupId"] for g in groups if g["GroupName"] == "default"],
            "assignPublicIp": "DISABLED",
        }
    }


@pytest.fixture
def cluster(aws, network, name, account):
    """A cluster of this test; its tasks are stopped and it is deleted when the test is over."""
    cluster = Cluster(aws, network, name, account)
    aws.ecs.create_cluster(clusterName=name)
    yield cluster
    cluster.remove()


@pytest.fixture(scope="session")
def registry_password(aws):
    return password(aws.ecr)


def pushed(aws, name):
    """An image that was prepared, in a repository of its own."""
    made = aws.ecr.create_repository(repositoryName=f"conformance/{name}")
    uri = made["repository"]["repositoryUri"]
    images.push(name, uri, password(aws.ecr))
    return f"{uri}:latest"


@pytest.fixture(scope="session")
def busybox(aws):
    return pushed(aws, "busybox")


@pytest.fixture(scope="session")
def nginx(aws):
    return pushed(aws, "nginx")


@pytest.fixture(scope="session")
def python(aws):
    return pushed(aws, "python")


@pytest.fixture(scope="session")
def boto3_image(aws):
    return pushed(aws, "boto3")
