"""Security groups that hold, asked for through the API alone: two VPCs with the same range, two
subnets and three groups in each, a task of every kind. Every pair is tried in both directions by
TCP, UDP and ICMP from inside the tasks' own networks, and must be open just where the rules say.
Needs root, as it enters those networks."""

import itertools
import json
import pathlib
import subprocess
import sys

import pytest

from refusals import refused
from tasks import address, container
from waiting import until

SERVER = """
import socket, sys, threading
name = sys.argv[1].encode()
def tcp(port):
    with socket.create_server(("0.0.0.0", port)) as server:
        while True:
            stream, _ = server.accept()
            threading.Thread(target=talk, args=(stream,)).start()
def talk(stream):
    stream.sendall(name)
    while said := stream.recv(64):
        stream.sendall(said)
for port in (80, 81):
    threading.Thread(target=tcp, args=(port,)).start()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("0.0.0.0", 5000))
    while True:
        _, peer = server.recvfrom(64)
        server.sendto(name, peer)
"""
# Asks everybody everything at once, and prints who answered.
PROBES = """
import json, socket, struct, sys, threading
SECONDS = 2
def tcp(address, port):
    with socket.create_connection((address, port), SECONDS) as stream:
        return stream.recv(64).decode()
def udp(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        client.sendto(b"?", (address, port))
        return client.recv(64).decode()
def icmp(address, number):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as client:
        client.settimeout(SECONDS)
        check = ~(0x0800 + number) & 0xffff
        client.sendto(struct.pack("!BBHHH", 8, 0, check, number, 0), (address, 0))
        while True:
            got = client.recv(64)[20:]
            if got[0] == 0 and struct.unpack("!H", got[4:6])[0] == number:
                return "echo"
kinds, found, asking = {"tcp": tcp, "udp": udp, "icmp": icmp}, {}, []
def ask(probe):
    try:
        found[json.dumps(probe)] = kinds[probe[0]](probe[1], probe[2])
    except OSError:
        found[json.dumps(probe)] = None
for probe in json.loads(sys.argv[1]):
    asking.append(threading.Thread(target=ask, args=(probe,)))
    asking[-1].start()
for one in asking:
    one.join()
print(json.dumps(found))
"""
# Keeps one connection, and says a line whenever it is asked whether it still carries anything.
HOLD = """
import socket, sys
stream = socket.create_connection((sys.argv[1], 80), 5)
print(stream.recv(64).decode(), flush=True)
for _ in sys.stdin:
    stream.sendall(b"still there")
    print(stream.recv(64).decode(), flush=True)
"""


def rule(protocol, first=-1, last=-1, group=None, cidr=None):
    permission = {"IpProtocol": protocol, "FromPort": first, "ToPort": last}
    if group:
        permission["UserIdGroupPairs"] = [{"GroupId": group}]
    else:
        permission["IpRanges"] = [{"CidrIp": cidr}]
    return permission


class Member:
    """A task, and how its network is entered."""

    def __init__(self, vpc, kind, task, marker):
        self.name, self.vpc, self.kind = f"{vpc}-{kind}", vpc, kind
        self.address = address(task)
        self.pid = until(lambda: process_with(marker), 20, f"a process of {self.name}")

    def enter(self, script, *arguments, **more):
        command = ["nsenter", "-t", str(self.pid), "-n", sys.executable, "-c", script, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)

    def reach(self, probes):
        """Who answered, by probe."""
        with self.enter(PROBES, json.dumps(probes)) as running:
            told, _ = running.communicate(timeout=60)
        return {tuple(json.loads(probe)): word for probe, word in json.loads(told).items()}


def process_with(marker):
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    return int(entry.name)
            except OSError:
                continue
    return None


class Vpc:
    """A VPC with two subnets and the groups web, app and db."""

    def __init__(self, aws, name):
        self.ec2, self.name = aws.ec2, name
        self.id = self.ec2.create_vpc(CidrBlock="10.70.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            self.ec2.create_subnet(VpcId=self.id, CidrBlock=cidr)["Subnet"]["SubnetId"]
            for cidr in ("10.70.1.0/24", "10.70.2.0/24")]
        self.groups = {
            kind: self.ec2.create_security_group(
                VpcId=self.id, GroupName=kind, Description=kind)["GroupId"]
            for kind in ("web", "app", "db")}

    def allow(self, kind, *permissions):
        self.ec2.authorize_security_group_ingress(
            GroupId=self.groups[kind], IpPermissions=list(permissions))

    def revoke(self, kind, *permissions):
        self.ec2.revoke_security_group_ingress(
            GroupId=self.groups[kind], IpPermissions=list(permissions))

    def network(self, kind):
        subnet = self.subnets[0 if kind == "web" else 1]
        return {"awsvpcConfiguration": {
            "subnets": [subnet], "securityGroups": [self.groups[kind]],
            "assignPublicIp": "DISABLED"}}

    def remove(self):
        for group in self.groups.values():
            for found in self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]:
                if found["IpPermissions"]:
                    self.ec2.revoke_security_group_ingress(
                        GroupId=group, IpPermissions=found["IpPermissions"])
        for group in self.groups.values():
            self.ec2.delete_security_group(GroupId=group)
        for subnet in self.subnets:
            self.ec2.delete_subnet(SubnetId=subnet)
        self.ec2.delete_vpc(VpcId=self.id)


@pytest.fixture
def vpcs(aws, cluster):
    """Two that overlap; gone when the test's tasks are."""
    made = []
    try:
        made = [Vpc(aws, "one"), Vpc(aws, "two")]
        yield made
    finally:
        arns = aws.ecs.list_tasks(cluster=cluster.name)["taskArns"]
        for arn in arns:
            aws.ecs.stop_task(cluster=cluster.name, task=arn)
        if arns:
            cluster.until_stopped(*arns)
        for vpc in made:
            until(lambda: not vpc.ec2.describe_network_interfaces(Filters=[
                {"Name": "vpc-id", "Values": [vpc.id]}])["NetworkInterfaces"],
                20, "the tasks' interfaces are gone")
            vpc.remove()


@pytest.fixture
def members(cluster, vpcs, python):
    definition = cluster.register(container(python, stopTimeout=2))
    started = []
    for vpc, kind in itertools.product(vpcs, ("web", "app", "db")):
        marker = f"{cluster.name}-{vpc.name}-{kind}"
        command = ["-c", SERVER, f"{vpc.name}-{kind}", marker]
        answer = cluster.run(
            definition, networkConfiguration=vpc.network(kind),
            overrides={"containerOverrides": [{"name": "app", "command": command}]})
        assert answer["failures"] == []
        started.append((vpc.name, kind, answer["tasks"][0]["taskArn"], marker))
    cluster.until_running(*(arn for _, _, arn, _ in started))
    return [Member(vpc, kind, cluster.describe(arn), marker)
            for vpc, kind, arn, marker in started]


def probes_of(member, others, number):
    for other in others:
        yield from (("tcp", other.address, 80), ("tcp", other.address, 81),
                    ("udp", other.address, 5000), ("icmp", other.address, next(number)))


def check(members, is_open, number):
    """Every pair of a VPC, in both directions, by everything."""
    for member in members:
        others = [it for it in members if it.vpc == member.vpc and it is not member]
        found = member.reach(list(probes_of(member, others, number)))
        by_address = {it.address: it for it in others}
        for (kind, target, port), word in found.items():
            other = by_address[target]
            what = kind if kind == "icmp" else f"{kind}/{port}"
            expected = is_open(member, other, what)
            if expected:
                assert word == ("echo" if kind == "icmp" else other.name), (
                    member.name, other.name, what, word)
            else:
                assert word is None, (member.name, other.name, what, word)


def reaches(one, other, port):
    return one.reach([("tcp", other.address, port)])[("tcp", other.address, port)]


def change_while_held(one, web, app, db, opened, check):
    """The way from app to db closes for new connections, and another one opens: so every pair is
    found, and what was open before stays open."""
    with app.enter(HOLD, db.address, stdin=subprocess.PIPE) as held:
        try:
            assert held.stdout.readline().strip() == db.name
            one.revoke("db", rule("tcp", 80, 80, group=one.groups["app"]))
            one.allow("db", rule("tcp", 81, 81, group=one.groups["web"]))
            until(lambda: reaches(web, db, 81) and not reaches(app, db, 80), 20,
                  "the change is in effect")
            opened -= {("one", "app", "db", "tcp/80")}
            opened |= {("one", "web", "db", "tcp/81")}
            check()
            held.stdin.write("?\n")
            held.stdin.flush()
            assert held.stdout.readline().strip() == "still there"
        finally:
            held.kill()


def test_every_pair_is_open_just_where_the_rules_say(aws, vpcs, members):
    one, two = vpcs
    one.allow("web", rule("tcp", 80, 80, cidr="0.0.0.0/0"))
    one.allow("app", rule("tcp", 80, 81, group=one.groups["web"]),
              rule("udp", 5000, 5000, cidr="10.70.1.0/24"))
    one.allow("db", rule("tcp", 80, 80, group=one.groups["app"]),
              rule("icmp", 8, -1, group=one.groups["app"]))
    two.allow("db", rule("-1", group=two.groups["web"]))
    opened = {
        ("one", "app", "web", "tcp/80"), ("one", "db", "web", "tcp/80"),
        ("one", "web", "app", "tcp/80"), ("one", "web", "app", "tcp/81"),
        ("one", "web", "app", "udp/5000"),
        ("one", "app", "db", "tcp/80"), ("one", "app", "db", "icmp"),
        *(("two", "web", "db", what) for what in ("tcp/80", "tcp/81", "udp/5000", "icmp")),
    }
    number = itertools.count(1000)

    def is_open(one, other, what):
        return (one.vpc, one.kind, other.kind, what) in opened

    by_name = {it.name: it for it in members}
    web, app, db = (by_name[f"one-{kind}"] for kind in ("web", "app", "db"))

    # A rule takes effect a moment after the call, as on AWS.
    until(lambda: reaches(app, db, 80) and reaches(by_name["two-web"], by_name["two-db"], 80),
          20, "the rules are in effect")
    check(members, is_open, number)
    change_while_held(one, web, app, db, opened, lambda: check(members, is_open, number))
    # What tasks have can't be taken away from under them.
    refused("DependencyViolation", aws.ec2.delete_security_group, GroupId=one.groups["db"])
