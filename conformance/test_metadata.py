"""What a task is told of itself at 169.254.170.2: metadata and statistics in the developer guide's
words, its protection, its names; and what it is not told: anything of its neighbours."""

import ipaddress
import json

from tasks import address, container, exit_codes, shell
from waiting import until

# Prints a URL's status and body, one line each, as the last two lines.
FETCH = """\
import http.client, json, os, sys, urllib.parse
from time import sleep as rest
def fetch(url, method="GET", body=None):
    at = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname, at.port or 80, timeout=10)
    connection.request(method, at.path or "/", body)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()
"""


def run(cluster, python, script, **more):
    """The lines that a Python script printed inside a task."""
    task, lines = cluster.logged(container(python, "-c", FETCH + script), **more)
    assert exit_codes(task) == {"app": 0}, (task, lines)
    return task, lines["app"]


def told(cluster, python, path, variable="ECS_CONTAINER_METADATA_URI_V4", **more):
    script = f'print(json.dumps(fetch(os.environ["{variable}"] + "{path}")))'
    task, lines = run(cluster, python, script, **more)
    status, body = json.loads(lines[-1])
    return task, status, json.loads(body)


def test_a_task_is_told_of_itself(cluster, python, aws):
    task, status, body = told(cluster, python, "/task", tags=[])
    assert status == 200
    region = aws.ecs.meta.region_name
    assert body["Cluster"] == task["clusterArn"]
    assert body["TaskARN"] == task["taskArn"]
    assert body["Family"] == cluster.name and body["Revision"] == "1"
    assert body["DesiredStatus"] == "RUNNING" and body["KnownStatus"] == "RUNNING"
    assert body["Limits"] == {"CPU": 0.25, "Memory": 512}
    assert body["LaunchType"] == "FARGATE"
    assert body["AvailabilityZone"] == task["availabilityZone"]
    assert "-az" in body["AvailabilityZoneID"]
    assert body["PullStartedAt"] <= body["PullStoppedAt"]
    only, = body["Containers"]
    shown, = task["containers"]
    assert only["DockerId"] == shown["runtimeId"]
    assert only["Name"] == only["DockerName"] == "app"
    assert only["Image"] == python
    assert only["ImageID"] == shown["imageDigest"]
    assert only["ContainerARN"] == shown["containerArn"]
    assert only["KnownStatus"] == "RUNNING" and only["Type"] == "NORMAL"
    assert only["Labels"] == {
        "com.amazonaws.ecs.cluster": task["clusterArn"],
        "com.amazonaws.ecs.container-name": "app",
        "com.amazonaws.ecs.task-arn": task["taskArn"],
        "com.amazonaws.ecs.task-definition-family": cluster.name,
        "com.amazonaws.ecs.task-definition-version": "1",
    }
    assert only["LogDriver"] == "awslogs"
    stream = f"p/app/{task['taskArn'].rsplit('/', 1)[1]}"
    assert only["LogOptions"]["awslogs-stream"] == stream
    assert only["LogOptions"]["awslogs-region"] == region
    network, = only["Networks"]
    assert network["NetworkMode"] == "awsvpc"
    assert network["IPv4Addresses"] == [address(task)]
    details = {it["name"]: it["value"] for it in task["attachments"][0]["details"]}
    assert network["MACAddress"] == details["macAddress"]
    assert network["PrivateDNSName"] == details["privateDnsName"]
    subnet = aws.ec2.describe_subnets(SubnetIds=[details["subnetId"]])["Subnets"][0]
    assert network["IPv4SubnetCIDRBlock"] == subnet["CidrBlock"]
    block = ipaddress.ip_network(subnet["CidrBlock"])
    assert network["SubnetGatewayIpv4Address"] == f"{block[1]}/{block.prefixlen}"
    vpc = aws.ec2.describe_vpcs(VpcIds=[subnet["VpcId"]])["Vpcs"][0]
    assert network["DomainNameServers"] == [str(ipaddress.ip_network(vpc["CidrBlock"])[2])]


def test_a_container_is_told_of_itself_by_both_versions(cluster, python):
    for variable in ("ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_URI"):
        task, status, body = told(cluster, python, "", variable=variable)
        assert status == 200
        assert body["DockerId"] == task["containers"][0]["runtimeId"]
        assert ("MACAddress" in body["Networks"][0]) == variable.endswith("V4")


def test_statistics_are_real(cluster, python):
    script = """
x = bytearray(24 * 2**20)
for _ in range(2_000_000): pass
base = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
print(json.dumps([fetch(base + "/stats"), fetch(base + "/task/stats")]))
"""
    task, lines = run(cluster, python, script)
    (status, one), (all_status, every) = json.loads(lines[-1])
    assert status == all_status == 200
    one, every = json.loads(one), json.loads(every)
    id = task["containers"][0]["runtimeId"]
    assert list(every) == [id] and one["id"] == id and one["name"] == "app"
    cpu, before = one["cpu_stats"], one["precpu_stats"]
    assert cpu["cpu_usage"]["total_usage"] > 20_000_000
    assert cpu["cpu_usage"]["total_usage"] >= before["cpu_usage"]["total_usage"]
    assert cpu["system_cpu_usage"] > before["system_cpu_usage"] and cpu["online_cpus"] >= 1
    assert one["preread"] < one["read"]
    assert one["memory_stats"]["usage"] > 24 * 2**20
    assert one["memory_stats"]["limit"] == 512 * 2**20
    assert one["pids_stats"]["current"] >= 1
    assert every[id]["networks"]["eth0"]["rx_bytes"] > one["networks"]["eth0"]["rx_bytes"] > 0
    assert every[id]["networks"]["eth0"]["tx_packets"] > 0
    assert one["network_rate_stats"]["rx_bytes_per_sec"] >= 0


def test_tags_are_told_where_asked_for(cluster, python):
    script = """
base = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
print(json.dumps([fetch(base + "/taskWithTags")[1], fetch(base + "/task")[1]]))
"""
    definition = cluster.register(
        container(python, "-c", FETCH + script, logConfiguration=cluster.logging()))
    arn = cluster.run(definition, tags=[{"key": "k", "value": "v"}])["tasks"][0]["taskArn"]
    lines = cluster.lines(cluster.log_group, cluster.until_stopped(arn), "app")
    tagged, plain = (json.loads(it) for it in json.loads(lines[-1]))
    assert tagged["TaskTags"] == {"k": "v"}
    assert "TaskTags" not in plain


def test_what_is_not_there_is_refused_in_the_agents_words(cluster, python):
    script = """
base = "http://169.254.170.2"
for path in ("/v4/bad", "/v4/bad/task", "/v4/bad/stats", "/v3/bad", "/x", "/v2/credentials/bad",
             "/v2/credentials/", "/api/bad/task-protection/v1/state"):
    print(json.dumps(fetch(base + path)))
"""
    _, lines = run(cluster, python, script)
    answers = [json.loads(line) for line in lines]
    no_container = "unable to get container ID from request: unable to get docker ID from v3 " \
                   "endpoint ID: bad"
    no_task = "unable to get task arn from request: unable to get task Arn from v3 endpoint ID: bad"
    assert answers[0] == [404, json.dumps(f"V4 container metadata handler: {no_container}")]
    assert answers[1] == [404, json.dumps(f"V4 task metadata handler: {no_task}")]
    assert answers[2] == [404, json.dumps(f"V4 container stats handler: {no_task}")]
    assert answers[3] == [400, json.dumps(f"V3 container metadata handler: {no_container}")]
    assert answers[4] == [404, "404 page not found\n"]
    assert answers[5][0] == 400 and json.loads(answers[5][1]) == {
        "code": "InvalidIdInRequest", "HTTPErrorCode": 400,
        "message": "CredentialsV2Request: Credentials not found"}
    assert json.loads(answers[6][1])["code"] == "NoIdInRequest"
    assert answers[7][0] == 404
    assert json.loads(answers[7][1])["error"]["Code"] == "ResourceNotFoundException"


def test_a_neighbour_is_not_told(cluster, busybox, python):
    arn = cluster.start(container(busybox, "sleep", "1000", stopTimeout=2))
    neighbour = cluster.until_running(arn)
    id = neighbour["containers"][0]["runtimeId"]
    script = f"""
print(fetch("http://169.254.170.2/v4/{id}")[0], fetch("http://169.254.170.2/v4/{id}/task")[0])
def tcp(port):
    import socket
    try:
        socket.create_connection(("{address(neighbour)}", port), timeout=2).close()
        return "open"
    except OSError:
        return "closed"
print(tcp(80), tcp(4566))
"""
    _, lines = run(cluster, python, script)
    assert lines == ["404 404", "closed closed"]


def test_a_task_that_asks_too_much_is_slowed_down_and_only_it(cluster, python):
    script = """
base = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
at = urllib.parse.urlsplit(base)
import time
began = time.monotonic()
connection = http.client.HTTPConnection(at.hostname, 80, timeout=10)
codes = []
for _ in range(400):
    connection.request("GET", at.path)
    answer = connection.getresponse()
    answer.read()
    codes.append(answer.status)
passed = time.monotonic() - began
allowed = codes.count(200)
print(codes[:50] == [200] * 50, 429 in codes, allowed <= 60 + 40 * passed + 1)
"""
    _, lines = run(cluster, python, script)
    assert lines == ["True True True"]


def test_names_of_its_own(cluster, busybox):
    task, lines = cluster.logged(
        shell(busybox, "hostname; cat /etc/resolv.conf; echo --; cat /etc/hosts"))
    details = {it["name"]: it["value"] for it in task["attachments"][0]["details"]}
    name = details["privateDnsName"]
    assert name == f"ip-{address(task).replace('.', '-')}.{name.split('.', 1)[1]}"
    lines = lines["app"]
    assert lines[0] == name
    resolver = lines[1:lines.index("--")]
    assert f"search {name.split('.', 1)[1]}" in resolver
    servers = [it.split()[1] for it in resolver if it.startswith("nameserver")]
    assert len(servers) == 1
    hosts = lines[lines.index("--"):]
    assert any(it.split()[:1] == [address(task)] and name in it.split() for it in hosts)


def test_protection_is_for_tasks_of_services(cluster, python, account):
    script = """
uri = os.environ["ECS_AGENT_URI"] + "/task-protection/v1/state"
print(json.dumps([fetch(uri), fetch(uri, "PUT", '{"ProtectionEnabled":true}'),
                  fetch(uri, "PUT", '{"No":1}'), fetch(uri, "PUT", '{}')]))
"""
    task, lines = run(cluster, python, script)
    answers = json.loads(lines[-1])
    assert answers[0][0] == 403, "without a role there is nobody to ask as"
    assert json.loads(answers[0][1])["error"]["Code"] == "AccessDeniedException"
    role = f"arn:aws:iam::{account}:role/task"
    task, lines = run(cluster, python, script, taskRoleArn=role)
    answers = [(status, json.loads(body)) for status, body in json.loads(lines[-1])]
    alone = {"failure": {"Arn": task["taskArn"], "Detail": None, "Reason": "TASK_NOT_VALID"}}
    assert answers[0] == (200, alone) and answers[1] == (200, alone)
    assert answers[2][0] == 400
    assert answers[2][1]["error"]["Code"] == "InvalidParameterException"
    assert "ProtectionEnabled" in answers[3][1]["error"]["Message"]


def test_a_services_task_protects_itself(cluster, python, account, aws):
    script = """
import time
uri = os.environ["ECS_AGENT_URI"] + "/task-protection/v1/state"
while True:
    status, body = fetch(uri, "PUT", '{"ProtectionEnabled":true,"ExpiresInMinutes":60}')
    if "protection" in json.loads(body): break
    rest(0.2)
rest(1000)
"""
    definition = cluster.register(
        container(python, "-c", FETCH + script, stopTimeout=2),
        taskRoleArn=f"arn:aws:iam::{account}:role/task")
    aws.ecs.create_service(
        cluster=cluster.name, serviceName="s", desiredCount=1, launchType="FARGATE",
        taskDefinition=definition["taskDefinitionArn"], networkConfiguration=cluster.network)

    def protected():
        arns = aws.ecs.list_tasks(cluster=cluster.name, serviceName="s")["taskArns"]
        if not arns:
            return None
        answer = aws.ecs.get_task_protection(cluster=cluster.name, tasks=arns)
        return [it for it in answer["protectedTasks"] if it["protectionEnabled"]]

    one, = until(protected, 40, "the task is protected")
    assert one["expirationDate"] is not None
    answer = aws.ecs.update_task_protection(
        cluster=cluster.name, tasks=[one["taskArn"]], protectionEnabled=False)
    assert answer["protectedTasks"] == [
        {"taskArn": one["taskArn"], "protectionEnabled": False}] and answer["failures"] == []
