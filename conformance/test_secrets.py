"""Secrets Manager and Parameter Store through real clients, and what they are for: a container that
prints its secret, an image behind a user of its own, and a task that does not start without."""

import json
import uuid

import pytest

import images
from refusals import refused
from tasks import shell

FAILED = "ResourceInitializationError: unable to pull secrets or registry auth"


def holds(path, text):
    try:
        return text in path.read_bytes()
    except OSError:
        # A mount point of a namespace, or gone meanwhile.
        return False


@pytest.fixture
def secret(aws, name):
    """A secret of this test: a JSON object."""
    value = json.dumps({"user": "ada", "password": "engine-1843"})
    made = aws.secretsmanager.create_secret(Name=f"conformance/{name}", SecretString=value)
    yield made
    aws.secretsmanager.delete_secret(SecretId=made["ARN"], ForceDeleteWithoutRecovery=True)


def test_a_secret_lives_and_is_found(aws, secret, name):
    sm = aws.secretsmanager
    arn = secret["ARN"]
    assert arn.rsplit("-", 1)[0].endswith(f":secret:conformance/{name}")
    for given in (secret["Name"], arn, arn.rsplit("-", 1)[0]):
        got = sm.get_secret_value(SecretId=given)
        assert json.loads(got["SecretString"])["user"] == "ada"
        assert (got["ARN"], got["VersionStages"]) == (arn, ["AWSCURRENT"])
    put = sm.put_secret_value(SecretId=arn, SecretString="two")
    assert put["VersionStages"] == ["AWSCURRENT"]
    got = sm.get_secret_value(SecretId=arn, VersionStage="AWSPREVIOUS")
    assert got["VersionId"] == secret["VersionId"]
    shown = sm.describe_secret(SecretId=arn)
    assert shown["VersionIdsToStages"] == {put["VersionId"]: ["AWSCURRENT"],
                                           secret["VersionId"]: ["AWSPREVIOUS"]}
    binary = sm.put_secret_value(SecretId=arn, SecretBinary=b"\x00\xff", VersionStages=["RAW"])
    got = sm.get_secret_value(SecretId=arn, VersionId=binary["VersionId"])
    assert got["SecretBinary"] == b"\x00\xff"
    listed = sm.list_secrets(Filters=[{"Key": "name", "Values": [secret["Name"]]}])["SecretList"]
    assert [it["ARN"] for it in listed] == [arn]
    refused("ResourceNotFoundException", sm.get_secret_value, SecretId="never",
            saying="Secrets Manager can't find the specified secret.")


def test_a_deleted_secret_comes_back(aws, name):
    sm = aws.secretsmanager
    token = str(uuid.uuid4())
    arn = sm.create_secret(Name=name, SecretString="x", ClientRequestToken=token)["ARN"]
    again = sm.create_secret(Name=name, SecretString="x", ClientRequestToken=token)
    assert (again["ARN"], again["VersionId"]) == (arn, token)
    refused("ResourceExistsException", sm.create_secret, Name=name, SecretString="y")
    sm.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    refused("InvalidRequestException", sm.get_secret_value, SecretId=name,
            saying="marked for deletion")
    sm.restore_secret(SecretId=name)
    assert sm.get_secret_value(SecretId=name)["SecretString"] == "x"
    sm.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    refused("ResourceNotFoundException", sm.describe_secret, SecretId=name)
    assert len(sm.get_random_password(PasswordLength=20)["RandomPassword"]) == 20


def test_lists_come_page_by_page(aws, name):
    sm, ssm = aws.secretsmanager, aws.ssm
    for it in "abc":
        sm.create_secret(Name=f"{name}/{it}", SecretString=it)
        ssm.put_parameter(Name=f"/{name}/{it}", Value=it, Type="String")
    one = {"PageSize": 1}
    pages = sm.get_paginator("list_secrets").paginate(
        Filters=[{"Key": "name", "Values": [f"{name}/"]}], PaginationConfig=one)
    assert [len(page["SecretList"]) for page in pages] == [1, 1, 1]
    for operation, arguments in (
        ("get_parameters_by_path", {"Path": f"/{name}"}),
        ("describe_parameters", {"ParameterFilters": [{"Key": "Path", "Values": [f"/{name}"]}]}),
    ):
        pages = list(ssm.get_paginator(operation).paginate(**arguments, PaginationConfig=one))
        names = [it["Name"] for page in pages for it in page["Parameters"]]
        assert names == [f"/{name}/{it}" for it in "abc"], operation
    for it in "abc":
        sm.delete_secret(SecretId=f"{name}/{it}", ForceDeleteWithoutRecovery=True)
    gone = ssm.delete_parameters(Names=[f"/{name}/{it}" for it in "abc"])
    assert len(gone["DeletedParameters"]) == 3


def test_parameters_with_the_cli(cli, name):
    path = f"/{name}/pw"
    put = cli("ssm", "put-parameter", "--name", path, "--type", "SecureString", "--value", "one")
    assert (put["Version"], put["Tier"]) == (1, "Standard")
    ran = cli("ssm", "put-parameter", "--name", path, "--value", "two", check=False)
    assert "ParameterAlreadyExists" in ran.stderr
    cli("ssm", "put-parameter", "--name", path, "--value", "two", "--overwrite")
    cli("ssm", "label-parameter-version", "--name", path, "--parameter-version", "1",
        "--labels", "old")
    for selector, value in (("", "two"), (":1", "one"), (":old", "one")):
        got = cli("ssm", "get-parameter", "--name", path + selector, "--with-decryption")
        assert got["Parameter"]["Value"] == value
    sealed = cli("ssm", "get-parameter", "--name", path)["Parameter"]["Value"]
    assert sealed not in ("one", "two")
    history = cli("ssm", "get-parameter-history", "--name", path)["Parameters"]
    assert [(it["Version"], it["Labels"]) for it in history] == [(1, ["old"]), (2, [])]
    cli("ssm", "delete-parameter", "--name", path, text=True)
    ran = cli("ssm", "get-parameter", "--name", path, check=False)
    assert "ParameterNotFound" in ran.stderr


def test_the_public_parameter_that_modules_read(aws):
    got = aws.ssm.get_parameter(Name="/aws/service/aws-for-fluent-bit/stable")["Parameter"]
    assert "aws-for-fluent-bit" in got["Value"]


def test_a_container_prints_its_secret(aws, cluster, busybox, secret, name, server):
    sm = aws.secretsmanager
    arn = secret["ARN"]
    sm.put_secret_value(SecretId=arn, SecretString=json.dumps({"user": "grace", "port": 1906}))
    parameter = f"/{name}/token"
    aws.ssm.put_parameter(Name=parameter, Value="t0ken-value", Type="SecureString")
    try:
        secrets = [
            {"name": "WHOLE", "valueFrom": arn},
            {"name": "USER_NOW", "valueFrom": f"{arn}:user::"},
            {"name": "PORT", "valueFrom": f"{arn}:port::"},
            {"name": "USER_BEFORE", "valueFrom": f"{arn}:user:AWSPREVIOUS:"},
            {"name": "FIRST", "valueFrom": f"{arn}:password::{secret['VersionId']}"},
            {"name": "TOKEN", "valueFrom": parameter},
        ]
        script = 'echo "$WHOLE|$USER_NOW|$PORT|$USER_BEFORE|$FIRST|$TOKEN"'
        task, lines = cluster.logged(shell(busybox, script, secrets=secrets))
    finally:
        aws.ssm.delete_parameter(Name=parameter)
    whole = '{"user": "grace", "port": 1906}'
    assert lines["app"] == [f"{whole}|grace|1906|ada|engine-1843|t0ken-value"]
    assert task["containers"][0]["exitCode"] == 0
    # What a task is told is told to nobody else: not by the API, not in the log, not on the disk.
    shown = aws.ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])
    for text in (json.dumps(task, default=str), json.dumps(shown, default=str),
                 server.log_path.read_text(errors="replace")):
        assert "engine-1843" not in text and "t0ken-value" not in text
    data = server.data_dir
    kept = [it for it in data.rglob("*") if it.is_file() and "logs" not in it.parts]
    assert [str(it) for it in kept if holds(it, b"t0ken-value")] == []


@pytest.mark.parametrize("value_from,says", [
    ("{arn}:nokey::", "did not contain json key nokey"),
    ("{arn}::NOSTAGE:", "can't find the specified secret value for staging label: NOSTAGE"),
    ("arn:aws:secretsmanager:us-east-1:{account}:secret:never-AbCdEf",
     "failed to fetch secret arn:aws:secretsmanager:us-east-1:{account}:secret:never-AbCdEf from "
     "secrets manager: ResourceNotFoundException"),
    ("/never/there", "unable to retrieve secrets from ssm"),
])
def test_a_task_without_its_secret_does_not_start(cluster, busybox, secret, account, value_from,
                                                  says):
    value_from = value_from.format(arn=secret["ARN"], account=account)
    task = cluster.finish(shell(busybox, "echo never", secrets=[
        {"name": "S", "valueFrom": value_from}]))
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith(FAILED), task["stoppedReason"]
    assert says.format(account=account) in task["stoppedReason"]


def test_definitions_with_bad_secrets_are_refused(cluster, busybox):
    good = {"name": "S", "valueFrom": "p"}
    for more, says in (
        ({"secrets": [good], "environment": [{"name": "S", "value": "x"}]}, "must be unique"),
        ({"secrets": [good, good]}, "must be unique"),
        ({"secrets": [{"name": "S", "valueFrom": "arn:aws:s3:::bucket/key"}]}, "valueFrom"),
    ):
        definition = shell(busybox, "true", **more)
        refused("ClientException", lambda it=definition: cluster.register(it), saying=says)
    refused("ClientException", cluster.aws.ecs.register_task_definition, family=cluster.name,
            containerDefinitions=[{"name": "app", "image": busybox, "memory": 64,
                                   "secrets": [good]}], saying="executionRoleArn")


def test_an_image_is_pulled_as_the_user_of_a_secret(aws, cluster, busybox, registry_password, name):
    made = {}
    for which, password in (("good", registry_password), ("bad", "wrong")):
        value = json.dumps({"username": "AWS", "password": password})
        made[which] = aws.secretsmanager.create_secret(Name=f"{name}/{which}", SecretString=value)
    try:
        # A repository of its own, so that no pull of another test is shared.
        repository = aws.ecr.create_repository(repositoryName=name)["repository"]
        images.push("busybox", repository["repositoryUri"], registry_password)
        image = f"{repository['repositoryUri']}:latest"

        def container(which):
            credentials = {"credentialsParameter": made[which]["ARN"]}
            return shell(image, "exit 7", repositoryCredentials=credentials)

        task = cluster.finish(container("bad"))
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"].startswith("CannotPullContainerError"), task["stoppedReason"]
        task = cluster.finish(container("good"))
        assert task["containers"][0]["exitCode"] == 7, task.get("stoppedReason")
    finally:
        aws.ecr.delete_repository(repositoryName=name, force=True)
        for it in made.values():
            aws.secretsmanager.delete_secret(SecretId=it["ARN"], ForceDeleteWithoutRecovery=True)
