"""A load balancer's name opens: on this machine with plain curl and in a browser, in tasks of every
VPC, and only where its security groups and its scheme let it. Everything is gone when it is."""

import json
import pathlib
import shutil
import subprocess

import pytest

from conftest import Clients
from server import Server
from tasks import address, container
from test_dns import ASK
from test_metadata import run
from waiting import until

HOSTS = pathlib.Path("/etc/hosts")
# curl's exit codes.
NO_SUCH_NAME, REFUSED, TIMED_OUT = 6, 7, 28
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# Serves files of nobody: a word to every request.
SERVER = """
import http.server, sys
class Word(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Word).serve_forever()
"""
# Opens each URL once, and prints what came.
OPEN = """
import urllib.request
def open_one(url):
    try:
        return urllib.request.urlopen(url, timeout=3).read().decode()
    except OSError as failure:
        return type(failure).__name__
"""


def curl(url, *more):
    """Exit code and output, as a user with a shell sees them; nothing but the name is given."""
    ran = subprocess.run(
        ["curl", "--silent", "--noproxy", "*", "--max-time", "3", *more, url],
        capture_output=True, text=True, timeout=30)
    return ran.returncode, ran.stdout


def opens(url, word, *more):
    last = None

    def is_so():
        nonlocal last
        last = curl(url, *more)
        return last == (0, word)

    try:
        until(is_so, 20, f"{url} opens and says {word!r}")
    except AssertionError as failure:
        raise AssertionError(f"{failure}: {last}, {HOSTS.read_text()}") from None


def lines_of(name):
    return [line.split()[0] for line in HOSTS.read_text().splitlines() if name in line]


def others_lines():
    """Of everybody but Neargates, of which there may be several."""
    lines = HOSTS.read_bytes().splitlines()
    return [line for line in lines if b"# neargate " not in line]


class World:
    """What a test makes; gone in the opposite order."""

    def __init__(self, aws, name):
        self.aws, self.ec2, self.elb, self.name = aws, aws.ec2, aws.elbv2, name
        self.undo = []
        vpcs = self.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])
        self.vpc = vpcs["Vpcs"][0]["VpcId"]
        mine = [{"Name": "vpc-id", "Values": [self.vpc]}]
        found = self.ec2.describe_subnets(Filters=mine)["Subnets"]
        self.subnets = [subnet["SubnetId"] for subnet in found][:2]

    def other_vpc(self):
        """With a way out; its id and its subnet's."""
        ec2 = self.ec2
        vpc = ec2.create_vpc(CidrBlock="10.71.0.0/16")["Vpc"]["VpcId"]
        self.undo.append(lambda: ec2.delete_vpc(VpcId=vpc))
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.71.1.0/24")["Subnet"]["SubnetId"]
        self.undo.append(lambda: ec2.delete_subnet(SubnetId=subnet))
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.undo.append(lambda: ec2.delete_internet_gateway(InternetGatewayId=gateway))
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        self.undo.append(
            lambda: ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc))
        mine = [{"Name": "vpc-id", "Values": [vpc]}]
        table = ec2.describe_route_tables(Filters=mine)["RouteTables"][0]["RouteTableId"]
        ec2.create_route(
            RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        return vpc, subnet

    def group(self, *ports, source=None, vpc=None):
        """A security group that lets these ports in, from everywhere or from another group."""
        name = f"{self.name}-{len(self.undo)}"
        group = self.ec2.create_security_group(
            VpcId=vpc or self.vpc, GroupName=name, Description=name)["GroupId"]
        self.undo.append(lambda: self.ec2.delete_security_group(GroupId=group))
        for port in ports:
            self.let_in(group, port, source)
        return group

    def let_in(self, group, port, source=None):
        permission = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port}
        if source:
            permission["UserIdGroupPairs"] = [{"GroupId": source}]
        else:
            permission["IpRanges"] = [{"CidrIp": "0.0.0.0/0"}]
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])

    def balancer(self, word, group, ports=(80,), scheme="internet-facing"):
        """A load balancer that says a word on these ports."""
        made = self.elb.create_load_balancer(
            Name=f"{word}-{self.name[-8:]}", Subnets=self.subnets, SecurityGroups=[group],
            Scheme=scheme)["LoadBalancers"][0]
        arn = made["LoadBalancerArn"]
        self.undo.append(lambda: self.delete(arn))
        for port in ports:
            self.listen(arn, port, [{"Type": "fixed-response", "FixedResponseConfig": {
                "StatusCode": "200", "ContentType": "text/html", "MessageBody": word}}])
        self.elb.get_waiter("load_balancer_available").wait(
            LoadBalancerArns=[arn], WaiterConfig={"Delay": 0.1, "MaxAttempts": 200})
        return made

    def listen(self, balancer, port, actions):
        self.elb.create_listener(
            LoadBalancerArn=balancer, Protocol="HTTP", Port=port, DefaultActions=actions)

    def delete(self, arn):
        """And all of its interfaces, before anything they are in is."""
        self.elb.delete_load_balancer(LoadBalancerArn=arn)
        until(lambda: not self.interfaces(arn), 20, "the load balancer's interfaces are gone")

    def interfaces(self, arn):
        what = "ELB " + arn.split(":loadbalancer/")[1]
        every = self.ec2.describe_network_interfaces()["NetworkInterfaces"]
        return [one for one in every if one["Description"] == what]

    def remove(self):
        while self.undo:
            self.undo.pop()()


@pytest.fixture
def world(aws, name, request):
    world = World(aws, name)
    # A cluster's tasks are in what is removed here.
    has_tasks = "cluster" in request.fixturenames
    cluster = request.getfixturevalue("cluster") if has_tasks else None
    try:
        yield world
    finally:
        if cluster:
            stop_tasks(aws, cluster)
        world.remove()


def stop_tasks(aws, cluster):
    arns = aws.ecs.list_tasks(cluster=cluster.name)["taskArns"]
    for arn in arns:
        aws.ecs.stop_task(cluster=cluster.name, task=arn)
    if arns:
        cluster.until_stopped(*arns)
    ids = {arn.rsplit("/", 1)[1] for arn in arns}

    def gone():
        every = aws.ec2.describe_network_interfaces()["NetworkInterfaces"]
        return not any(id in json.dumps(one, default=str) for one in every for id in ids)

    until(gone, 20, "the tasks' interfaces are gone")


def awsvpc(subnet, group, public=False):
    return {"awsvpcConfiguration": {
        "subnets": [subnet], "securityGroups": [group],
        "assignPublicIp": "ENABLED" if public else "DISABLED"}}


def test_two_names_open_on_this_machine_both_on_port_80(world):
    before = others_lines()
    group = world.group(80)
    balancers = {word: world.balancer(word, group) for word in ("one", "two")}
    for word, balancer in balancers.items():
        name = balancer["DNSName"]
        assert name.endswith(".us-east-1.elb.amazonaws.com")
        opens(f"http://{name}/", word)
        opens(f"http://{name.upper()}/", word)
        shown = {one["Association"]["PublicIp"]
                 for one in world.interfaces(balancer["LoadBalancerArn"])}
        assert set(lines_of(name)) == shown and len(shown) == 2
        # Each of its addresses serves, not only the one that curl takes first.
        for ip in shown:
            assert curl(f"http://{name}/", "--connect-to", f"::{ip}") == (0, word)
    assert others_lines() == before
    # One goes, and the other stays.
    gone, stays = balancers["one"], balancers["two"]
    public = lines_of(gone["DNSName"])[0]
    world.delete(gone["LoadBalancerArn"])
    until(lambda: not lines_of(gone["DNSName"]), 10, "its lines are gone")
    assert curl(f"http://{gone['DNSName']}/")[0] == NO_SUCH_NAME
    # Whoever the machine's other networks lead to may answer there now, but not what is gone.
    until(lambda: curl(f"http://{public}/")[1] != "one", 10, "its address answers no more")
    opens(f"http://{stays['DNSName']}/", "two")


def test_security_groups_hold_for_balancers(world):
    group, other = world.group(80), world.group(8081)
    balancer = world.balancer("one", group, ports=(80, 8081))
    url = f"http://{balancer['DNSName']}"
    opens(f"{url}/", "one")
    assert curl(f"{url}:8081/")[0] == TIMED_OUT, "nobody opened that port"
    world.let_in(group, 8081)
    opens(f"{url}:8081/", "one")
    # No listener at all: the group lets in, and nobody is there.
    world.let_in(group, 8082)
    until(lambda: curl(f"{url}:8082/")[0] == REFUSED, 20, "a port without a listener is refused")
    # Other groups, other rules.
    world.elb.set_security_groups(
        LoadBalancerArn=balancer["LoadBalancerArn"], SecurityGroups=[other])
    until(lambda: curl(f"{url}/")[0] == TIMED_OUT, 20, "its groups are others")
    opens(f"{url}:8081/", "one")


@pytest.mark.deadline(120)
def test_an_internal_one_is_open_inside_its_vpc_only(world, cluster, python):
    group = world.group(80)
    inner = world.balancer("inner", group, scheme="internal")
    outer = world.balancer("outer", group)
    names = [inner["DNSName"], outer["DNSName"]]
    assert names[0].startswith("internal-inner-") and lines_of(names[0]) == []
    opens(f"http://{names[1]}/", "outer")
    interfaces = world.interfaces(inner["LoadBalancerArn"])
    assert all("Association" not in one for one in interfaces)
    private = sorted(one["PrivateIpAddress"] for one in interfaces)
    assert curl(f"http://{names[0]}/")[0] == NO_SUCH_NAME
    for ip in private:
        # Of several servers on a machine another may have the route to the default VPC's range.
        assert curl(f"http://{ip}/")[0] in (REFUSED, TIMED_OUT), "the machine is no part of its VPC"
    public = sorted(lines_of(names[1]))
    script = ASK + OPEN + f"""
for it in {names!r}:
    print(json.dumps([ask(it), open_one(f"http://{{it}}/")]))
print(json.dumps(ask({names[1]!r}, "AAAA")))
print(json.dumps([open_one(f"http://{{ip}}/") for ip in {private!r}]))
"""
    vpc, subnet = world.other_vpc()
    near = awsvpc(world.subnets[0], world.group(), public=True)
    far = awsvpc(subnet, world.group(vpc=vpc), public=True)
    for network, is_near in ((near, True), (far, False)):
        cluster.network = network
        _, lines = run(cluster, python, script)
        to_inner, to_outer, other_kind, by_address = map(json.loads, lines)
        # Whoever the machine's other networks lead to may answer there, but not what is in the VPC.
        assert to_inner[0] == [0, private]
        opened = {to_inner[1], *by_address}
        assert (opened == {"inner"}) if is_near else ("inner" not in opened), lines
        assert to_outer == [[0, public], "outer"]
        assert other_kind == [0, []], "it has no address of the other kind"


@pytest.mark.deadline(120)
def test_a_task_behind_it_lets_in_the_balancer_only(world, cluster, python):
    group = world.group(80)
    behind = world.group(8080, source=group)
    balancer = world.balancer("unused", group, ports=())
    target_group = world.elb.create_target_group(
        Name=f"web-{world.name[-8:]}", Protocol="HTTP", Port=8080, VpcId=world.vpc,
        TargetType="ip", HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2,
        HealthyThresholdCount=2)["TargetGroups"][0]["TargetGroupArn"]
    world.undo.insert(0, lambda: world.elb.delete_target_group(TargetGroupArn=target_group))
    world.listen(balancer["LoadBalancerArn"], 80,
                 [{"Type": "forward", "TargetGroupArn": target_group}])
    url = f"http://{balancer['DNSName']}/"
    # Without targets it says so.
    opens(url, "503", "--output", "/dev/null", "--write-out", "%{http_code}")
    cluster.network = awsvpc(world.subnets[1], behind)
    arn = cluster.start(container(python, "-c", SERVER, "behind", stopTimeout=2))
    task = cluster.until_running(arn)
    world.elb.register_targets(
        TargetGroupArn=target_group, Targets=[{"Id": address(task), "Port": 8080}])
    world.elb.get_waiter("target_in_service").wait(
        TargetGroupArn=target_group, WaiterConfig={"Delay": 0.1, "MaxAttempts": 400})
    opens(url, "behind")
    # A neighbour in the same subnet is not the balancer.
    script = OPEN + f"print(open_one('http://{address(task)}:8080/'), open_one('{url}'))"
    cluster.network = awsvpc(world.subnets[1], world.group(), public=True)
    _, lines = run(cluster, python, script)
    assert lines[0].endswith(" behind") and not lines[0].startswith("behind"), lines


@pytest.mark.deadline(120)
def test_lines_live_as_long_as_what_they_lead_to(tmp_path):
    own = Server(tmp_path / "data")
    before = others_lines()
    try:
        own.start()
        world = World(Clients(own.environment()), "t-lines-12345678")
        name = world.balancer("kept", world.group(80))["DNSName"]
        url = f"http://{name}/"
        opens(url, "kept")
        own.kill()
        assert lines_of(name) and curl(url) == (0, "kept"), "it is served on"
        own.start()
        opens(url, "kept")
        own.stop()
        assert not lines_of(name) and curl(url)[0] == NO_SUCH_NAME, "no task is left"
        own.start("--no-hosts-file")
        public = world.interfaces(name_of(world, name))[0]["Association"]["PublicIp"]
        opens(url, "kept", "--connect-to", f"::{public}")
        assert not lines_of(name)
        own.stop()
        own.start()
        opens(url, "kept")
        world.remove()
        until(lambda: not lines_of(name), 10, "its lines are gone")
    finally:
        if own.is_running():
            own.stop()
    assert others_lines() == before


def name_of(world, dns_name):
    """The ARN of the load balancer with this name."""
    every = world.elb.describe_load_balancers()["LoadBalancers"]
    return next(it["LoadBalancerArn"] for it in every if it["DNSName"] == dns_name)


@pytest.mark.deadline(120)
def test_a_real_browser_opens_the_name(world):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert browser, "no browser here: `apt-get install chromium-headless-shell`"
    balancer = world.balancer("shown", world.group(80))
    url = f"http://{balancer['DNSName']}/"
    opens(url, "shown")
    ran = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server",
         "--dump-dom", url], capture_output=True, text=True, timeout=90)
    assert "<body>shown</body>" in ran.stdout, (ran.stdout, ran.stderr)
