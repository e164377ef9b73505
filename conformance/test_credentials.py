"""Keys of a task's role: had with no configuration, good for our API while the task lives, of no
use to anybody else and never after."""

import json

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.httpsession
import pytest
from botocore.exceptions import ClientError

from tasks import container, exit_codes
from test_metadata import FETCH, run
from waiting import until

WHO = """
import boto3
print(json.dumps(boto3.client("sts").get_caller_identity()["Arn"]))
print(json.dumps(len(boto3.client("ecs").list_clusters()["clusterArns"])))
"""
# A test's way to look at what must not be seen: the keys go to the log.
SHOW = """
import time
base = "http://169.254.170.2" + os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
print(json.dumps([os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"], fetch(base)]))
"""


def caller(environment, keys, service="sts"):
    return boto3.session.Session().client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["Token"],
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


def operator(environment, keys):
    """The status of a call of the operator API."""
    url = environment["AWS_ENDPOINT_URL"] + "/neargate/v1/instances"
    request = botocore.awsrequest.AWSRequest("GET", url)
    credentials = botocore.credentials.Credentials(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["Token"])
    botocore.auth.SigV4Auth(
        credentials, "neargate", environment["AWS_DEFAULT_REGION"]).add_auth(request)
    return botocore.httpsession.URLLib3Session().send(request.prepare()).status_code


def start(cluster, image, script, **more):
    """Starts a task that logs; returns its ARN and how to read its lines."""
    arn = cluster.start(container(image, "-c", FETCH + script, logConfiguration=cluster.logging(),
                                  stopTimeout=2), **more)
    return arn, lambda: cluster.lines(cluster.log_group, {"taskArn": arn}, "app")


@pytest.fixture
def role(account):
    return f"arn:aws:iam::{account}:role/service/web"


@pytest.mark.deadline(120)
def test_boto3_needs_no_configuration(cluster, boto3_image, role, account):
    task, lines = run(cluster, boto3_image, WHO, taskRoleArn=role)
    who = f"arn:aws:sts::{account}:assumed-role/web/{task['taskArn'].rsplit('/', 1)[1]}"
    assert json.loads(lines[0]) == who
    assert json.loads(lines[1]) >= 1


def test_keys_are_good_while_the_task_lives(cluster, python, role, aws, environment, account):
    arn, lines = start(cluster, python, SHOW + "rest(1000)", taskRoleArn=role)
    cluster.until_running(arn)
    path, (status, body) = json.loads(until(lines, 20, "the task has its keys")[0])
    assert path.startswith("/v2/credentials/") and status == 200
    keys = json.loads(body)
    assert set(keys) == {"RoleArn", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    assert keys["RoleArn"] == role and keys["AccessKeyId"].startswith("ASIA")
    who = caller(environment, keys).get_caller_identity()
    id = arn.rsplit("/", 1)[1]
    assert who["Arn"] == f"arn:aws:sts::{account}:assumed-role/web/{id}"
    assert who["UserId"].startswith("AROA") and who["UserId"].endswith(f":{id}")
    assert caller(environment, keys, "ecs").list_clusters()["clusterArns"]

    # The operator's business is not a task's.
    assert operator(environment, keys) == 403

    # Each part alone is nothing.
    for change in ({"Token": keys["Token"][:-4] + "AAAA"}, {"SecretAccessKey": "x" * 40},
                   {"AccessKeyId": "ASIA" + "A" * 16}):
        with pytest.raises(ClientError) as caught:
            caller(environment, {**keys, **change}).get_caller_identity()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

    aws.ecs.stop_task(cluster=cluster.name, task=arn)
    cluster.until_stopped(arn)
    with pytest.raises(ClientError) as caught:
        caller(environment, keys).get_caller_identity()
    assert caught.value.response["Error"]["Code"] == "ExpiredToken"
    with pytest.raises(ClientError) as caught:
        caller(environment, keys, "ecs").list_clusters()
    assert caught.value.response["Error"]["Code"] == "ExpiredTokenException"


def test_a_neighbour_gets_none(cluster, python, role, aws):
    arn, lines = start(cluster, python, SHOW + "rest(1000)", taskRoleArn=role)
    cluster.until_running(arn)
    path, _ = json.loads(until(lines, 20, "the task has its keys")[0])
    script = f"""
print(json.dumps(fetch("http://169.254.170.2{path}")))
print(sorted(it for it in os.environ if it.startswith("AWS_")))
"""
    _, lines = run(cluster, python, script)
    status, body = json.loads(lines[0])
    assert status == 400 and json.loads(body)["code"] == "InvalidIdInRequest"
    # A task without a role is not sent to our API either.
    assert lines[1] == "['AWS_DEFAULT_REGION', 'AWS_EXECUTION_ENV', 'AWS_REGION']"


def test_the_overrides_role_wins(cluster, python, role, account):
    script = """
base = "http://169.254.170.2" + os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
print(json.loads(fetch(base)[1])["RoleArn"])
print(os.environ["AWS_ENDPOINT_URL"])
"""
    other = f"arn:aws:iam::{account}:role/other"
    _, lines = run(cluster, python, script, taskRoleArn=role, overrides={"taskRoleArn": other})
    assert lines == [other, "http://169.254.170.2:4566"]


def test_who_brings_an_endpoint_or_keys_keeps_them(cluster, python, role):
    script = 'print(os.environ.get("AWS_ENDPOINT_URL"))'
    for given, seen in (
        ({"AWS_ENDPOINT_URL": "http://own"}, "http://own"),
        ({"AWS_ACCESS_KEY_ID": "AKIAOWN", "AWS_SECRET_ACCESS_KEY": "x"}, "None"),
    ):
        variables = [{"name": name, "value": value} for name, value in given.items()]
        task, lines = cluster.logged(
            container(python, "-c", FETCH + script, environment=variables), taskRoleArn=role)
        assert exit_codes(task) == {"app": 0}
        assert lines["app"] == [seen]


@pytest.mark.deadline(120)
def test_keys_outlive_the_control_plane(cluster, python, role, aws, environment, server):
    script = """
import time
base = "http://169.254.170.2" + os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
seen = None
while True:
    try:
        status, body = fetch(base)
    except OSError:
        status, body = 0, ""
    if status == 200 and body != seen:
        seen = body
        print(json.dumps(json.loads(body)), flush=True)
    rest(0.2)
"""
    arn, lines = start(cluster, python, script, taskRoleArn=role)
    cluster.until_running(arn)
    first = json.loads(until(lines, 20, "the task has its keys")[0])
    server.kill()
    server.start()
    # Nothing was stored, and yet the keys are as good as before.
    assert caller(environment, first).get_caller_identity()["Arn"].endswith(arn.rsplit("/", 1)[1])
    more = until(lambda: lines()[1:], 30, "the task has keys of the new agent")
    assert caller(environment, json.loads(more[0])).get_caller_identity()
