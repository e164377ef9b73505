"""Several instances of one control plane: machines that join with a token and are known by their
certificate from then on, tasks on different machines in one VPC, and what becomes of tasks when
agents, machines and the control plane go and come back. Needs root and makes its own machines."""

import itertools
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.httpsession
import pytest

import test_network_walls as walls
from balancing import PORT, Site
from conftest import Clients, pushed
from fleet import AGENTS_PORT, Bed
from tasks import Cluster, address, container
from test_deploy_storm import Wrk
from test_network_walls import Member, change_while_held, reaches, rule
from waiting import until

pytestmark = pytest.mark.deadline(120)

KINDS = ("web", "app", "db")
ZONES = ("us-east-1a", "us-east-1b")
# A request that takes longer counts as failed.
WRK_TIMEOUT_SECONDS = 6
# Everything that a task is told at 169.254.170.2, from a machine that isn't the control plane's.
INSIDE = """
import boto3, json, os, socket, urllib.request
def fetch(url):
    return json.load(urllib.request.urlopen(url, timeout=5))
told = fetch(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task")
print(json.dumps({
    "zone": told["AvailabilityZone"],
    "secret": os.environ["SECRET"],
    "role": boto3.client("sts").get_caller_identity()["Arn"],
    "clusters": len(boto3.client("ecs").list_clusters()["clusterArns"]),
    "name": socket.gethostbyname("peer.instances.test"),
}))
"""


class Fleet:
    """A control plane in zone a and agents in zones b and c, with clients and a default network."""

    def __init__(self, bed):
        self.bed = bed
        self.first = self.bed.machine("us-east-1a")
        self.server = self.first.up()
        self.second = self.bed.machine("us-east-1b").join(self.server)
        self.third = self.bed.machine("us-east-1c").join(self.server)
        self.aws = Clients(self.server.environment())
        self.account = self.aws.sts.get_caller_identity()["Account"]

    def instances(self):
        """The rows of `neargate instances`, by id."""
        printed = self.server.run("instances", "--data-dir", str(self.server.data_dir)).stdout
        rows = [line.split() for line in printed.splitlines()[1:]]
        return {row[0]: row for row in rows}

    def operate(self, *words, check=True):
        return self.server.run("instances", "--data-dir", str(self.server.data_dir), *words,
                               check=check)

    def token(self, **parameters):
        """A join token, made by a signed call of the operator API."""
        environment = self.server.environment()
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        url = f"{self.server.url}/neargate/v1/join-tokens?{query}"
        request = botocore.awsrequest.AWSRequest("POST", url)
        keys = botocore.credentials.Credentials(
            environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        botocore.auth.SigV4Auth(
            keys, "neargate", environment["AWS_DEFAULT_REGION"]).add_auth(request)
        answer = botocore.httpsession.URLLib3Session().send(request.prepare())
        assert answer.status_code == 200, answer.content
        return json.loads(answer.content)

    def zone_network(self, zone):
        """A networkConfiguration of the default VPC in one zone, so that the machine is known."""
        subnets = self.aws.ec2.describe_subnets(Filters=[
            {"Name": "availability-zone", "Values": [zone]},
            {"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
        return {"awsvpcConfiguration": {"subnets": [it["SubnetId"] for it in subnets]}}


@pytest.fixture(scope="module")
def fleet():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="neargate-fleet-"))
    bed = Bed(folder)
    try:
        made = Fleet(bed)
        yield made
        end(made)
    finally:
        bed.remove()
        for machine in bed.machines:
            log = machine.server.log_tail() if machine.server else machine.log_tail()
            print(f"--- {machine.netns}\n{log}")
        if str(folder) not in pathlib.Path("/proc/self/mountinfo").read_text():
            shutil.rmtree(folder)


def end(fleet):
    """Every agent ends as it is told, and nothing is left of it."""
    for machine in fleet.bed.machines[1:]:
        if machine.is_running():
            machine.stop()
    fleet.server.stop()
    for machine in fleet.bed.machines:
        until(lambda: not machine.left(), 30, f"nothing is left of {machine.left()}")


@pytest.fixture
def cluster(fleet, name):
    made = Cluster(fleet.aws, fleet.zone_network("us-east-1a"), name, fleet.account)
    fleet.aws.ecs.create_cluster(clusterName=name)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def image(fleet):
    """boto3 on python, pushed to the control plane; the agents pull it from there."""
    return pushed(fleet.aws, "boto3")


class Vpc(walls.Vpc):
    """One whose two subnets are in two zones, and so on two machines."""

    def __init__(self, aws, name):
        self.ec2, self.name = aws.ec2, name
        self.id = self.ec2.create_vpc(CidrBlock="10.70.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            self.ec2.create_subnet(
                VpcId=self.id, CidrBlock=f"10.70.{n}.0/24", AvailabilityZone=zone,
            )["Subnet"]["SubnetId"]
            for n, zone in enumerate(ZONES, 1)]
        self.groups = {
            kind: self.ec2.create_security_group(
                VpcId=self.id, GroupName=kind, Description=kind)["GroupId"]
            for kind in KINDS}

    def network(self, kind, zone):
        return {"awsvpcConfiguration": {
            "subnets": [self.subnets[zone]], "securityGroups": [self.groups[kind]],
            "assignPublicIp": "DISABLED"}}


@pytest.fixture
def vpcs(fleet, cluster):
    made = []
    try:
        made = [Vpc(fleet.aws, "one"), Vpc(fleet.aws, "two")]
        yield made
    finally:
        arns = fleet.aws.ecs.list_tasks(cluster=cluster.name)["taskArns"]
        for arn in arns:
            fleet.aws.ecs.stop_task(cluster=cluster.name, task=arn)
        if arns:
            cluster.until_stopped(*arns)
        for vpc in made:
            until(lambda: not vpc.ec2.describe_network_interfaces(Filters=[
                {"Name": "vpc-id", "Values": [vpc.id]}])["NetworkInterfaces"],
                20, "the tasks' interfaces are gone")
            vpc.remove()


def start_members(cluster, vpcs, image):
    definition = cluster.register(container(image, stopTimeout=2))
    started = []
    for vpc, kind, zone in itertools.product(vpcs, KINDS, range(len(ZONES))):
        marker = f"{cluster.name}-{vpc.name}-{kind}-{zone}"
        command = ["-c", walls.SERVER, f"{vpc.name}-{kind}-{zone}", marker]
        answer = cluster.run(
            definition, networkConfiguration=vpc.network(kind, zone),
            overrides={"containerOverrides": [{"name": "app", "command": command}]})
        assert answer["failures"] == []
        started.append((vpc.name, kind, zone, answer["tasks"][0]["taskArn"], marker))
    cluster.until_running(*(arn for *_, arn, _ in started))
    members = []
    for vpc, kind, zone, arn, marker in started:
        task = cluster.describe(arn)
        assert task["availabilityZone"] == ZONES[zone]
        member = Member(vpc, f"{kind}-{zone}", task, marker)
        member.kind = kind
        members.append(member)
    return members


def check(members, opened, number):
    """Every pair of a VPC, in both directions, by everything; whoever asks asks at once."""
    asked = []
    for member in members:
        others = [it for it in members if it.vpc == member.vpc and it is not member]
        probes = list(walls.probes_of(member, others, number))
        asked.append((member, others, member.enter(walls.PROBES, json.dumps(probes))))
    wrong = []
    for member, others, running in asked:
        with running:
            told, _ = running.communicate(timeout=60)
        by_address = {it.address: it for it in others}
        for probe, word in json.loads(told).items():
            kind, target, port = json.loads(probe)
            other = by_address[target]
            what = kind if kind == "icmp" else f"{kind}/{port}"
            is_open = (member.vpc, member.kind, other.kind, what) in opened
            expected = ("echo" if kind == "icmp" else other.name) if is_open else None
            if word != expected:
                wrong.append((member.name, other.name, what, word, expected))
    assert not wrong


def test_every_pair_is_open_just_where_the_rules_say(fleet, cluster, vpcs, image):
    one, two = vpcs
    one.allow("web", rule("tcp", 80, 80, cidr="0.0.0.0/0"))
    one.allow("app", rule("tcp", 80, 81, group=one.groups["web"]),
              rule("udp", 5000, 5000, group=one.groups["web"]))
    one.allow("db", rule("tcp", 80, 80, group=one.groups["app"]),
              rule("icmp", 8, -1, group=one.groups["app"]))
    two.allow("db", rule("-1", group=two.groups["web"]))
    everything = ("tcp/80", "tcp/81", "udp/5000", "icmp")
    opened = {
        *(("one", kind, "web", "tcp/80") for kind in KINDS),
        *(("one", "web", "app", what) for what in ("tcp/80", "tcp/81", "udp/5000")),
        ("one", "app", "db", "tcp/80"), ("one", "app", "db", "icmp"),
        *(("two", "web", "db", what) for what in everything),
    }
    members = start_members(cluster, vpcs, image)
    number = itertools.count(1000)
    by_name = {it.name: it for it in members}
    web, app, db = by_name["one-web-1"], by_name["one-app-0"], by_name["one-db-1"]

    until(lambda: reaches(app, db, 80), 20, "the rules are in effect")
    check(members, opened, number)
    change_while_held(one, web, app, db, opened, lambda: check(members, opened, number))


def large(image):
    """Serves 64 MiB by TCP."""
    return container(image, "-c", (
        "import socket\n"
        "with socket.create_server(('0.0.0.0', 80)) as server:\n"
        "    while True:\n"
        "        stream, _ = server.accept()\n"
        "        stream.sendall(bytes(64 << 20))\n"
        "        stream.close()\n"), stopTimeout=2)


def test_a_services_tasks_keep_apart_in_a_zone(fleet, cluster, image):
    """Two machines of one zone: neither has all of a service."""
    machine = fleet.bed.machine("us-east-1c").join(fleet.server)
    until(lambda: machine.instance in fleet.instances(), 10, "it is an instance")
    definition = cluster.register(sleeper(image))["taskDefinitionArn"]
    fleet.aws.ecs.create_service(
        cluster=cluster.name, serviceName="apart", desiredCount=4, launchType="FARGATE",
        taskDefinition=definition, networkConfiguration=fleet.zone_network("us-east-1c"))
    cluster.until_stable("apart")
    tasks = {it: int(fleet.instances()[it][5]) for it in (machine.instance, fleet.third.instance)}
    assert set(tasks.values()) == {2}, tasks
    fleet.aws.ecs.delete_service(cluster=cluster.name, service="apart", force=True)
    cluster.until_inactive("apart")
    until(lambda: fleet.instances()[machine.instance][5] == "0", 20, "it has no tasks")
    machine.stop()
    assert not machine.left()
    fleet.operate("forget", machine.instance)


# Says which zone it is in.
SERVE = f"""
import http.server, json, os, urllib.request
told = urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task")
zone = json.load(told)["AvailabilityZone"].encode()
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(zone)))
        self.end_headers()
        self.wfile.write(zone)
http.server.ThreadingHTTPServer(("", {PORT}), Answer).serve_forever()
"""


@pytest.fixture
def site(fleet, name):
    """A load balancer on the control plane's machine."""
    defaults = [{"Name": "group-name", "Values": ["default"]}]
    group = fleet.aws.ec2.describe_security_groups(Filters=defaults)["SecurityGroups"][0]
    subnets = [it for zone in ("a", "b", "c") for it in
               fleet.zone_network(f"us-east-1{zone}")["awsvpcConfiguration"]["subnets"]]
    network = {"subnets": subnets, "securityGroups": [group["GroupId"]]}
    site = Site(fleet.aws, {"awsvpcConfiguration": network}, name)
    yield site
    site.remove()


def site_from(fleet, site):
    """What the load balancer answers on its machine."""
    url = f"http://{site.dns_name}/"
    ran = subprocess.run([*fleet.first.enter, "curl", "-sS", "--max-time", "10", url],
                         capture_output=True, text=True)
    return ran.stdout


@pytest.fixture
def web(fleet, cluster, image, site):
    """A service with a task on each of the two other machines, behind the load balancer."""
    definition = cluster.register(container(
        image, "-c", SERVE, stopTimeout=2, portMappings=[{"containerPort": PORT}]))
    subnets = [fleet.zone_network(zone)["awsvpcConfiguration"]["subnets"][0]
               for zone in ("us-east-1b", "us-east-1c")]
    group = site.network["awsvpcConfiguration"]["securityGroups"]
    fleet.aws.ecs.create_service(
        cluster=cluster.name, serviceName="web", desiredCount=2, launchType="FARGATE",
        taskDefinition=definition["taskDefinitionArn"], **site.service(),
        networkConfiguration={"awsvpcConfiguration": {
            "subnets": subnets, "securityGroups": group}})
    site.until_states({"healthy": 2})
    yield "web"
    fleet.aws.ecs.delete_service(cluster=cluster.name, service="web", force=True)
    cluster.until_inactive("web")


def test_a_load_balancers_targets_are_anywhere(fleet, cluster, image, site, web):
    """It is served where `neargate up` is; its targets are on the two other machines."""
    def get():
        return site_from(fleet, site)

    until(lambda: get().startswith("us-east-1"), 20, "it answers")
    assert {get() for _ in range(10)} == {"us-east-1b", "us-east-1c"}
    # By its name, and so by its public address, from a task on another machine.
    asks = container(image, "-c", (
        "import urllib.request\n"
        f"print(urllib.request.urlopen('http://{site.dns_name}/', timeout=10).read())\n"))
    cluster.network = fleet.zone_network("us-east-1c")
    cluster.network["awsvpcConfiguration"]["assignPublicIp"] = "ENABLED"
    _, lines = cluster.logged(asks)
    assert "us-east-1" in lines["app"][0], lines


def test_a_drained_machine_is_left(fleet, cluster, image, site, web):
    """A service's task moves to another machine without a failed request; a task of nobody goes on;
    the machine takes tasks again when it is told so."""
    aws, drained = fleet.aws, fleet.third.instance
    definition = cluster.register(sleeper(image))["taskDefinitionArn"]
    cluster.network = fleet.zone_network("us-east-1c")
    [lone] = [it["taskArn"] for it in cluster.run(definition)["tasks"]]
    cluster.until_running(lone)

    def running():
        arns = aws.ecs.list_tasks(cluster=cluster.name, serviceName="web")["taskArns"]
        told = aws.ecs.describe_tasks(cluster=cluster.name, tasks=arns)["tasks"] if arns else []
        return {it["taskArn"]: it["availabilityZone"] for it in told
                if it["lastStatus"] == "RUNNING"}

    def left():
        return " ".join(fleet.instances()[drained][12:])

    before = running()
    [moved] = [arn for arn, zone in before.items() if zone == "us-east-1c"]
    assert left() == "-"
    with Wrk(f"http://{site.dns_name}/", fleet.first.enter, WRK_TIMEOUT_SECONDS) as wrk:
        until(lambda: "us-east-1c" in site_from(fleet, site), 20, "the task to move answers")
        said = fleet.operate("drain", drained).stdout
        assert "1 to move, 1 to end" in said and lone.rsplit("/", 1)[1] in said, said
        until(lambda: sorted(running().values()) == ["us-east-1b"] * 2, 60, "both run elsewhere")
        until(lambda: left() == "1 to end", 60, "the machine is left")
        assert {site_from(fleet, site) for _ in range(10)} == {"us-east-1b"}
    assert wrk.failed() == 0 and wrk.number(r"Non-2xx or 3xx responses: (\d+)") == 0, wrk.said
    assert wrk.number(r"(\d+) requests in") > 100, wrk.said
    ended = cluster.describe(moved)
    told = ended["lastStatus"], ended["stopCode"], ended["stoppedReason"]
    assert told == ("STOPPED", "ServiceSchedulerInitiated",
                    "Task stopped during instance draining"), ended
    [rollout] = cluster.describe_service("web")["deployments"]
    assert (rollout["rolloutState"], rollout["failedTasks"]) == ("COMPLETED", 0), rollout
    assert set(before) - {moved} < set(running()), "the other one was not touched"

    assert cluster.describe(lone)["lastStatus"] == "RUNNING"
    assert fleet.instances()[drained][4] == "DRAINING"
    fleet.operate("activate", drained)
    assert (fleet.instances()[drained][4], left()) == ("ACTIVE", "-")
    [more] = [it["taskArn"] for it in cluster.run(definition)["tasks"]]
    cluster.until_running(more)
    for task in (lone, more):
        aws.ecs.stop_task(cluster=cluster.name, task=task)


def test_what_a_task_is_told_elsewhere(fleet, cluster, image, name):
    aws = fleet.aws
    sd = Clients(fleet.server.environment(), inject_host_prefix=False).servicediscovery
    vpc = aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    made = sd.create_private_dns_namespace(Name="instances.test", Vpc=vpc["VpcId"])
    namespace = sd.get_operation(OperationId=made["OperationId"])["Operation"]["Targets"]
    service = sd.create_service(Name="peer", NamespaceId=namespace["NAMESPACE"], DnsConfig={
        "DnsRecords": [{"Type": "A", "TTL": 5}]})["Service"]["Id"]
    sd.register_instance(ServiceId=service, InstanceId="i", Attributes={
        "AWS_INSTANCE_IPV4": "10.1.2.3"})
    secret = aws.secretsmanager.create_secret(Name=name, SecretString="told to nobody")["ARN"]
    try:
        cluster.network = fleet.zone_network("us-east-1b")
        role = f"arn:aws:iam::{fleet.account}:role/remote"
        asks = container(image, "-c", INSIDE, secrets=[{"name": "SECRET", "valueFrom": secret}])
        task, lines = cluster.logged(asks, taskRoleArn=role)
        assert lines["app"], task
        told = json.loads(lines["app"][0])
        assert told["zone"] == task["availabilityZone"] == "us-east-1b"
        assert told["secret"] == "told to nobody"
        assert f"assumed-role/remote/{task['taskArn'].rsplit('/', 1)[1]}" in told["role"]
        assert told["clusters"] >= 1 and told["name"] == "10.1.2.3"
        # Large answers cross the tunnel between instances too.
        server = cluster.start(large(image))
        cluster.until_running(server)
        cluster.network = fleet.zone_network("us-east-1c")
        peer = address(cluster.describe(server))
        reads = container(image, "-c", (
            "import socket\n"
            f"stream, count = socket.create_connection(('{peer}', 80), 10), 0\n"
            "while data := stream.recv(1 << 16):\n"
            "    count += len(data)\n"
            "print(count)\n"))
        _, lines = cluster.logged(reads)
        assert lines["app"] == [str(64 << 20)]
    finally:
        sd.deregister_instance(ServiceId=service, InstanceId="i")
        sd.delete_service(Id=service)
        sd.delete_namespace(Id=namespace["NAMESPACE"])
        aws.secretsmanager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_tasks_live_on_without_agents_and_control_plane(fleet, cluster, image):
    cluster.network = fleet.zone_network("us-east-1b")
    script = (
        "import itertools, threading\n"
        "for n in itertools.count():\n"
        "    print(n, flush=True)\n"
        "    threading.Event().wait(0.2)\n")
    arn = cluster.start(container(image, "-c", script, stopTimeout=2,
                                  logConfiguration=cluster.logging()))
    cluster.until_running(arn)

    def lines():
        return [int(line) for line in cluster.lines(cluster.log_group, {"taskArn": arn}, "app")]

    def goes_on():
        seen = len(lines())
        until(lambda: len(lines()) > seen, 20, "the task goes on writing")

    goes_on()
    fleet.second.kill()
    until(lambda: fleet.instances()[fleet.second.instance][4] == "ACTIVE", 5, "no hasty verdict")
    fleet.second.start()
    goes_on()
    fleet.server.kill()
    fleet.first.up()
    goes_on()
    written = lines()
    assert written == list(range(len(written))), "no line is lost, and none is there twice"
    task = cluster.describe(arn)
    assert task["lastStatus"] == "RUNNING" and task["containers"][0]["lastStatus"] == "RUNNING"
    # It ends when it is told to, by the agent that found it.
    fleet.aws.ecs.stop_task(cluster=cluster.name, task=arn)
    cluster.until_stopped(arn)


def test_who_may_join(fleet):
    at = f"{fleet.first.address}:{AGENTS_PORT}"
    folder = ["--data-dir", str(fleet.server.data_dir)]
    token = fleet.server.run("token", *folder).stdout.split()[-1]
    machine = fleet.bed.machine(None)

    def refused(*words, why):
        ran = machine.run_agent(*words)
        assert ran.returncode == 1 and why in ran.stderr, ran.stderr

    refused(why="has joined no control plane")
    prefix, id, secret, authority = token.split(".")
    other = "f" * 32 if secret[0] != "f" else "0" * 32
    refused("--join", at, "--token", f"{prefix}.{id}.{other}.{authority}", why="not known here")
    strange = authority[::-1]
    refused("--join", at, "--token", f"{prefix}.{id}.{secret}.{strange}",
            why="is not the control plane that the token is of")
    refused("--join", f"{fleet.first.address}:1", "--token", token, why="cannot reach")
    machine.start("--join", at, "--token", token)
    joined = machine.instance
    until(lambda: joined in fleet.instances(), 10, "it is an instance")
    machine.stop()
    # The token is used; this machine needs none any more, and another one can't use it.
    machine.start("--token", token, "--join", at)
    assert machine.instance == joined
    machine.stop()
    spent = fleet.bed.machine(None)
    ran = spent.run_agent("--join", at, "--token", token)
    assert ran.returncode == 1 and "used as often as it may be" in ran.stderr
    # It is the instance of its certificate, and no other.
    (machine.data_dir / "agent" / "instance-id").write_text(fleet.second.instance)
    refused(why=f"the certificate is that of instance {joined}")
    (machine.data_dir / "agent" / "instance-id").write_text(joined)
    # A control plane with another authority is none of its business.
    certificate = machine.data_dir / "agent" / "authority.crt"
    before = certificate.read_bytes()
    certificate.write_bytes(other_authority())
    log = machine.log_path.stat().st_size
    machine.start()
    until(lambda: "is not the control plane that this machine joined" in
          machine.log_path.read_text()[log:], 10, "it says so")
    machine.stop()
    certificate.write_bytes(before)
    # Forgotten, its certificate opens nothing.
    fleet.operate("forget", joined)
    refused(why="forgotten")
    until(lambda: joined not in fleet.instances(), 20, "its record is gone")
    refused(why="forgotten")
    until(lambda: not machine.left(), 20, "nothing is left of it")


def test_a_certificate_is_renewed_when_half_is_over(fleet):
    machine = fleet.bed.machine(None).join(fleet.server)
    machine.stop()
    record = machine.data_dir / "agent" / "membership.json"
    certificate = machine.data_dir / "agent" / "agent.crt"
    before, told = certificate.read_text(), json.loads(record.read_text())
    day = 24 * 3600 * 1000
    record.write_text(json.dumps({
        **told, "joined_at": told["joined_at"] - 300 * day,
        "expires_at": told["joined_at"] + day}))
    machine.start()
    until(lambda: "certificate was renewed" in machine.log_path.read_text(), 10, "it is renewed")
    assert certificate.read_text() != before
    assert json.loads(record.read_text())["expires_at"] > told["joined_at"] + 300 * day
    machine.stop()
    # It is good for a session, too, and of the same instance.
    machine.start()
    assert machine.instance == told["instance"]
    until(lambda: fleet.instances()[machine.instance][4:6] == ["ACTIVE", "0"], 10, "it is back")
    machine.stop()
    until(lambda: fleet.instances()[machine.instance][5] == "(away)", 10, "it has gone")
    fleet.operate("forget", machine.instance)


def test_a_token_expires(fleet):
    made = fleet.token(validSeconds=1)
    machine = fleet.bed.machine(None)

    def expired():
        assert time.time() * 1000 < made["expiresAtMs"] + 20_000
        return time.time() * 1000 > made["expiresAtMs"]

    until(expired, 20, "the token's time is over")
    ran = machine.run_agent("--join", made["address"], "--token", made["token"])
    # Its record may be gone by now, which is no difference to anybody.
    assert ran.returncode == 1
    assert "has expired" in ran.stderr or "not known here" in ran.stderr
    assert not machine.left()


def other_authority():
    """A certificate like ours, of somebody else."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", "/dev/null", "-subj", "/CN=Neargate control plane", "-days", "2"],
        capture_output=True, check=True)
    return made.stdout


def test_a_machine_that_dies(fleet, cluster, image, site, web):
    """Its tasks are told stopped, a service's run elsewhere and no request to them fails meanwhile,
    and what it held can be given back."""
    aws = fleet.aws
    both = [fleet.zone_network(zone)["awsvpcConfiguration"]["subnets"][0]
            for zone in ("us-east-1b", "us-east-1c")]
    definition = cluster.register(sleeper(image))["taskDefinitionArn"]
    cluster.network = {"awsvpcConfiguration": {"subnets": both[:1]}}
    [lone] = [it["taskArn"] for it in cluster.run(definition)["tasks"]]
    cluster.until_running(lone)

    def tasks():
        arns = aws.ecs.list_tasks(cluster=cluster.name, serviceName="web")["taskArns"]
        return aws.ecs.describe_tasks(cluster=cluster.name, tasks=arns)["tasks"] if arns else []

    before = tasks()
    assert {it["availabilityZone"] for it in before} == {"us-east-1b", "us-east-1c"}
    [doomed] = [it["taskArn"] for it in before if it["availabilityZone"] == "us-east-1b"]
    with Wrk(f"http://{site.dns_name}/", fleet.first.enter, WRK_TIMEOUT_SECONDS) as wrk:
        until(lambda: "us-east-1b" in site_from(fleet, site), 20, "the doomed task answers")
        fleet.second.die()
        over = time.monotonic() + 2 * WRK_TIMEOUT_SECONDS
        until(lambda: site.states().get("healthy") == 1, 30, "the target is known to be gone")
        until(lambda: time.monotonic() > over, 30, "who waits for the dead has given up")
    assert wrk.failed() == 0 and wrk.number(r"Non-2xx or 3xx responses: (\d+)") == 0, wrk.said
    assert wrk.number(r"(\d+) requests in") > 100, wrk.said

    def replaced():
        running = [it for it in tasks() if it["lastStatus"] == "RUNNING"]
        return len(running) == 2 and {it["availabilityZone"] for it in running} == {"us-east-1c"}

    until(replaced, 90, "the service's tasks run on the other machine")
    for task, reason in ((doomed, "Task failed ELB health checks in"),
                         (lone, "The instance that the task ran on was lost.")):
        until(lambda task=task: cluster.describe(task)["lastStatus"] == "STOPPED", 90, "it stopped")
        ended = cluster.describe(task)
        assert ended["stoppedReason"].startswith(reason), ended
    assert fleet.instances()[fleet.second.instance][4] == "LOST"

    # Until somebody says that it never returns, its tasks' addresses are taken.
    interface = [{"Name": "addresses.private-ip-address", "Values": [address(ended)]}]
    assert aws.ec2.describe_network_interfaces(Filters=interface)["NetworkInterfaces"]
    fleet.operate("forget", fleet.second.instance)
    until(lambda: not aws.ec2.describe_network_interfaces(Filters=interface)["NetworkInterfaces"],
          20, "the address is free")
    until(lambda: fleet.second.instance not in fleet.instances(), 20, "its record is gone")

    # It returns all the same: it is told so, ends, and leaves nothing.
    fleet.second.boot()
    ran = fleet.second.run_agent(seconds=60)
    assert ran.returncode == 1 and "an operator has forgotten this instance" in ran.stderr
    until(lambda: not fleet.second.left(), 20, f"nothing is left: {fleet.second.left()}")

    # With a new token it is a new instance. One that is drained takes no more.
    gone = fleet.second.instance
    fleet.second.join(fleet.server)
    assert fleet.second.instance != gone
    fleet.operate("drain", fleet.third.instance)
    assert fleet.instances()[fleet.third.instance][4] == "DRAINING"
    cluster.network = {"awsvpcConfiguration": {"subnets": both}}
    more = cluster.run(definition, count=3)["tasks"]
    cluster.until_running(*(it["taskArn"] for it in more))
    assert {cluster.describe(it["taskArn"])["availabilityZone"] for it in more} == {"us-east-1b"}
    refused = fleet.operate("forget", fleet.third.instance, check=False)
    assert refused.returncode == 1 and "its agent is connected" in refused.stderr
    fleet.operate("activate", fleet.third.instance)


def sleeper(image):
    script = "import threading; threading.Event().wait(1000)"
    return container(image, "-c", script, stopTimeout=2, healthCheck={
        "command": ["CMD", "python3", "-c", ""], "interval": 5, "retries": 1, "startPeriod": 0})
