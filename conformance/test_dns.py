"""What a task's resolver answers: names of addresses, Cloud Map's names as they change, and never
those of another VPC; and whom a task asks, as its VPC's DHCP options say."""

import json

import pytest

from tasks import address
from test_cloud_map import made, private_namespace, sd, service  # noqa: F401
from test_credentials import start
from test_metadata import run
from waiting import until

# Asks the resolver of /etc/resolv.conf; gives code and answers.
ASK = """
import random, socket, struct, time
SERVER = [l.split()[1] for l in open("/etc/resolv.conf") if l.startswith("nameserver")][0]
KINDS = {"A": 1, "CNAME": 5, "PTR": 12, "AAAA": 28, "SRV": 33}
def name(data, at):
    labels, end = [], None
    while True:
        n = data[at]
        if n & 0xc0:
            end = end or at + 2
            at = struct.unpack(">H", data[at:at + 2])[0] & 0x3fff
        elif n == 0:
            return ".".join(labels), end or at + 1
        else:
            labels.append(data[at + 1:at + 1 + n].decode())
            at += 1 + n
def ask(asked, kind="A", server=None, tcp=False, patience=5):
    q = struct.pack(">HHHHHH", random.randrange(65536), 0x100, 1, 0, 0, 0)
    q += b"".join(bytes([len(l)]) + l.encode() for l in asked.split(".")) + b"\\0"
    q += struct.pack(">HH", KINDS[kind], 1)
    if tcp:
        s = socket.create_connection((server or SERVER, 53), timeout=patience)
        s.sendall(struct.pack(">H", len(q)) + q)
        n = struct.unpack(">H", s.recv(2))[0]
        data = b""
        while len(data) < n: data += s.recv(n - len(data))
    else:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(patience)
        s.sendto(q, (server or SERVER, 53))
        data = s.recv(4096)
    code, count = data[3] & 15, struct.unpack(">H", data[6:8])[0]
    _, at = name(data, 12)
    at, found = at + 4, []
    for _ in range(count):
        _, at = name(data, at)
        kind, _, ttl, length = struct.unpack(">HHIH", data[at:at + 10])
        at += 10
        raw = data[at:at + length]
        if kind == 1: told = socket.inet_ntoa(raw)
        elif kind == 33: told = [*struct.unpack(">HHH", raw[:6]), name(data, at + 6)[0]]
        elif kind in (5, 12): told = name(data, at)[0]
        else: told = raw.hex()
        found.append(told)
        at += length
    return code, sorted(found, key=str)
"""


def asked(cluster, python, *questions, **more):
    """The answers, each code and records."""
    script = ASK + f"for it in {list(questions)!r}: print(json.dumps(ask(*it)))"
    task, lines = run(cluster, python, script, **more)
    return task, [json.loads(line) for line in lines]


def test_names_of_addresses(cluster, python):
    task, (own, synthetic, other, reverse, prefixed) = asked(
        cluster, python, ("ip-172-31-0-9.ec2.internal",),
        ("ip-172-31-7-7.eu-west-1.compute.internal",), ("ip-10-99-0-1.ec2.internal",),
        ("9.0.31.172.in-addr.arpa", "PTR"), ("data-169.254.170.2",))
    assert own == [0, ["172.31.0.9"]] and synthetic == [0, ["172.31.7.7"]]
    assert other == [3, []], "NXDOMAIN: not an address of the VPC"
    assert reverse == [0, ["ip-172-31-0-9.ec2.internal"]]
    assert prefixed == [0, ["169.254.170.2"]]


def test_a_tasks_own_name_by_the_systems_resolver(cluster, python):
    script = 'import socket; n = socket.gethostname(); print(n, socket.gethostbyname(n)); ' \
             'print(socket.gethostbyname(n.split(".")[0].replace("ip", "ip", 1)))'
    task, lines = run(cluster, python, script)
    assert lines[0].split()[1] == address(task)
    assert lines[1] == address(task), "found by the search domain"


def test_both_addresses_and_both_transports(cluster, python):
    question = "ip-172-31-0-9.ec2.internal"
    _, answers = asked(
        cluster, python, (question, "A", "169.254.169.253"), (question, "A", None, True),
        (question, "A", "169.254.169.253", True))
    assert answers == [[0, ["172.31.0.9"]]] * 3


def test_cloud_maps_names(cluster, python, aws, sd, made, name):  # noqa: F811
    zone = f"{name}.local"
    id = private_namespace(sd, made, aws, zone)
    records = [{"Type": "A", "TTL": 1}, {"Type": "SRV", "TTL": 1}]
    it = service(sd, made, Name="web", NamespaceId=id, HealthCheckCustomConfig={},
                 DnsConfig={"RoutingPolicy": "MULTIVALUE", "DnsRecords": records})
    for n in (1, 2):
        sd.register_instance(ServiceId=it["Id"], InstanceId=f"i-{n}", Attributes={
            "AWS_INSTANCE_IPV4": f"10.0.0.{n}", "AWS_INSTANCE_PORT": f"808{n}"})
    one = service(sd, made, Name="one", NamespaceId=id, DnsConfig={
        "RoutingPolicy": "WEIGHTED", "DnsRecords": [{"Type": "A", "TTL": 1}]})
    for n in range(12):
        sd.register_instance(ServiceId=one["Id"], InstanceId=f"i-{n}", Attributes={
            "AWS_INSTANCE_IPV4": f"10.0.1.{n}"})
    alias = service(sd, made, Name="alias", NamespaceId=id, DnsConfig={
        "RoutingPolicy": "WEIGHTED", "DnsRecords": [{"Type": "CNAME", "TTL": 1}]})
    sd.register_instance(ServiceId=alias["Id"], InstanceId="a", Attributes={
        "AWS_INSTANCE_CNAME": f"web.{zone}"})
    script = ASK + f"""
deadline = time.monotonic() + 10
while ask("alias.{zone}")[1] == [] and time.monotonic() < deadline: rest(0.05)
for it in (("WEB.{zone}",), ("web.{zone}", "SRV"), ("web.{zone}", "AAAA"), ("no.{zone}",),
           ("one.{zone}",), ("alias.{zone}",), ("i-1.web.{zone}",)):
    print(json.dumps(ask(*it)))
"""
    _, lines = run(cluster, python, script)
    web, srv, absent, unknown, weighted, aliased, host = (json.loads(line) for line in lines)
    assert web == [0, ["10.0.0.1", "10.0.0.2"]]
    assert srv == [0, [[1, 1, 8081, f"i-1.web.{zone}"], [1, 1, 8082, f"i-2.web.{zone}"]]]
    assert absent == [0, []], "there is the name, but not such a record"
    assert unknown == [3, []]
    assert weighted[0] == 0 and len(weighted[1]) == 1
    assert aliased == [0, ["10.0.0.1", "10.0.0.2", f"web.{zone}"]]
    assert host == [0, ["10.0.0.1"]]


@pytest.mark.deadline(90)
def test_a_change_is_told_to_a_task_that_runs(cluster, python, aws, sd, made, name):  # noqa: F811
    zone = f"{name}.local"
    id = private_namespace(sd, made, aws, zone)
    it = service(sd, made, Name="web", NamespaceId=id, HealthCheckCustomConfig={}, DnsConfig={
        "RoutingPolicy": "MULTIVALUE", "DnsRecords": [{"Type": "A", "TTL": 0}]})
    script = ASK + f"""
last = None
while True:
    told = ask("web.{zone}")
    if told != last:
        print(json.dumps(told), flush=True)
        last = told
    rest(0.05)
"""
    arn, lines = start(cluster, python, script)
    cluster.until_running(arn)

    def sees(expected):
        until(lambda: lines() and json.loads(lines()[-1]) == expected, 15, f"{expected}")

    sees([0, []])
    for n in (1, 2):
        sd.register_instance(ServiceId=it["Id"], InstanceId=f"i-{n}", Attributes={
            "AWS_INSTANCE_IPV4": f"10.0.0.{n}"})
    sees([0, ["10.0.0.1", "10.0.0.2"]])
    sd.update_instance_custom_health_status(
        ServiceId=it["Id"], InstanceId="i-1", Status="UNHEALTHY")
    sees([0, ["10.0.0.2"]])
    sd.deregister_instance(ServiceId=it["Id"], InstanceId="i-2")
    # None is healthy: all that are left are told.
    sees([0, ["10.0.0.1"]])


def test_discovery_from_inside_a_task(
        cluster, boto3_image, aws, sd, made, name, account):  # noqa: F811
    id = private_namespace(sd, made, aws, f"{name}.local")
    it = service(sd, made, Name="web", NamespaceId=id, DnsConfig={
        "DnsRecords": [{"Type": "A", "TTL": 1}]})
    sd.register_instance(ServiceId=it["Id"], InstanceId="a",
                         Attributes={"AWS_INSTANCE_IPV4": "10.0.0.1"})
    script = f"""
import boto3
# With its default settings the SDK puts data- before the endpoint's address.
answer = boto3.client("servicediscovery").discover_instances(
    NamespaceName="{name}.local", ServiceName="web")
print([it["InstanceId"] for it in answer["Instances"]])
"""
    _, lines = run(cluster, boto3_image, script,
                   taskRoleArn=f"arn:aws:iam::{account}:role/web")
    assert lines == ["['a']"]


@pytest.fixture
def place(aws, cluster):
    """A VPC of this test's own that the cluster's tasks run in; gives its id."""
    ec2 = aws.ec2
    vpc = ec2.create_vpc(CidrBlock="10.71.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.71.1.0/24")["Subnet"]["SubnetId"]
    network, cluster.network = cluster.network, {"awsvpcConfiguration": {
        "subnets": [subnet], "assignPublicIp": "DISABLED"}}
    made = []
    try:
        yield vpc, made
    finally:
        cluster.network = network
        arns = aws.ecs.list_tasks(cluster=cluster.name)["taskArns"]
        for arn in arns:
            aws.ecs.stop_task(cluster=cluster.name, task=arn)
        if arns:
            cluster.until_stopped(*arns)
        until(lambda: not ec2.describe_network_interfaces(Filters=[
            {"Name": "vpc-id", "Values": [vpc]}])["NetworkInterfaces"],
            20, "the tasks' interfaces are gone")
        ec2.delete_subnet(SubnetId=subnet)
        ec2.delete_vpc(VpcId=vpc)
        for options in made:
            ec2.delete_dhcp_options(DhcpOptionsId=options)


@pytest.mark.deadline(120)
def test_a_resolver_that_is_switched_off_is_silent_for_tasks_that_run(
        cluster, python, aws, place):
    vpc, _ = place
    script = ASK + """
last = None
while True:
    told = []
    for at in ((SERVER, False), (SERVER, True), ("169.254.169.253", False),
               ("169.254.169.253", True)):
        try:
            told.append(ask("ip-10-71-0-9.ec2.internal", "A", *at, patience=1)[1])
        except (OSError, struct.error):
            told.append(None)
    if told != last:
        print(json.dumps(told), flush=True)
        last = told
    rest(0.05)
"""
    arn, lines = start(cluster, python, script)
    cluster.until_running(arn)

    def sees(expected):
        until(lambda: lines() and json.loads(lines()[-1]) == expected, 20, f"{expected}")

    def switch(on):
        aws.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsSupport={"Value": on})

    sees([["10.71.0.9"]] * 4)
    switch(False)
    sees([None] * 4)
    # A task that starts meanwhile runs all the same, and is told whom it would ask.
    _, (shown,) = run(cluster, python, 'print(repr(open("/etc/resolv.conf").read()))')
    assert "nameserver 10.71.0.2" in shown
    switch(True)
    sees([["10.71.0.9"]] * 4)


# A name server that knows one name.
SERVE = r"""
import socket
from pathlib import Path
print(repr(Path("/etc/resolv.conf").read_text()))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 53))
print("ready", flush=True)
while True:
    q, peer = s.recvfrom(512)
    end = q.index(0, 12) + 5
    known = q[12:end - 4].lower() == b"\x02db\x04corp\x07example\0"
    told = known and q[end - 4:end - 2] == b"\0\1"
    head = q[:2] + (b"\x85\x80" if known else b"\x85\x83") + b"\0\1\0" + bytes([told, 0, 0, 0, 0])
    record = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x0a\x63\x63\x63" if told else b""
    s.sendto(head + q[12:end] + record, peer)
"""

LOOK = r"""
import socket
print(json.dumps([it.split() for it in open("/etc/resolv.conf").read().splitlines()]))
metadata = json.loads(fetch(os.environ["ECS_CONTAINER_METADATA_URI_V4"])[1])["Networks"][0]
print(json.dumps([metadata["DomainNameServers"], metadata.get("DomainNameSearchList", [])]))
try:
    print(socket.gethostbyname("db"))
except OSError as error:
    print("unknown")
"""


@pytest.mark.deadline(120)
def test_dhcp_options_say_whom_a_task_asks(cluster, python, aws, place):
    vpc, made = place
    ec2 = aws.ec2

    def look():
        _, (resolv, metadata, found) = run(cluster, python, LOOK)
        return json.loads(resolv), json.loads(metadata), found

    def associate(*configurations):
        made.append(ec2.create_dhcp_options(DhcpConfigurations=[
            {"Key": key, "Values": values} for key, values in configurations
        ])["DhcpOptions"]["DhcpOptionsId"])
        ec2.associate_dhcp_options(DhcpOptionsId=made[-1], VpcId=vpc)

    # The account's own options: Amazon's resolver, by the VPC's range.
    resolv, metadata, found = look()
    assert ["nameserver", "10.71.0.2"] in resolv and found == "unknown"
    assert metadata == [["10.71.0.2"], ["ec2.internal"]]

    arn, lines = start(cluster, python, SERVE)
    server = address(cluster.until_running(arn))
    until(lambda: "ready" in lines(), 20, "the name server listens")
    associate(("domain-name", ["corp.example"]), ("ntp-servers", ["10.71.0.123"]),
              ("domain-name-servers", [server, "AmazonProvidedDNS"]))
    resolv, metadata, found = look()
    assert resolv == [["nameserver", server], ["nameserver", "10.71.0.2"],
                      ["search", "corp.example"]]
    assert metadata == [[server, "10.71.0.2"], ["corp.example"]]
    assert found == "10.99.99.99", "found by the search domain, at the server of the options"

    associate(("domain-name", ["corp.example"]))
    resolv, _, found = look()
    assert resolv == [["nameserver", "169.254.169.253"], ["search", "corp.example"]]
    assert found == "unknown"

    ec2.associate_dhcp_options(DhcpOptionsId="default", VpcId=vpc)
    resolv, metadata, _ = look()
    assert resolv == [["nameserver", "169.254.169.253"]]
    assert metadata == [["169.254.169.253"], []]
    assert cluster.describe(arn)["lastStatus"] == "RUNNING"
