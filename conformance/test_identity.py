"""Who calls: only requests signed with the administrator's key are answered, whatever is wrong with
the others they learn the same thing from, and each protocol tells it in its own form."""

import datetime

import botocore.auth
import pytest
from botocore.exceptions import ClientError

import raw

UNKNOWN_KEY = "AKIAIOSFODNN7EXAMPLE"


def error_of(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return status, response["Error"]["Code"], response["Error"]["Message"]


def test_the_caller_is_told_who_it_is(aws, cli):
    identity = aws.sts.get_caller_identity()
    assert len(identity["Account"]) == 12 and identity["Account"].isdigit()
    assert f":{identity['Account']}:" in identity["Arn"]
    assert identity["UserId"]
    told = cli("sts", "get-caller-identity")
    assert told == {key: identity[key] for key in ("UserId", "Account", "Arn")}


@pytest.mark.parametrize("service, call, told", [
    ("ecs", "list_clusters", (400, "InvalidSignatureException")),
    ("logs", "describe_log_groups", (400, "InvalidSignatureException")),
    ("ecr", "describe_repositories", (400, "InvalidSignatureException")),
    ("sts", "get_caller_identity", (403, "SignatureDoesNotMatch")),
    ("ec2", "describe_vpcs", (401, "AuthFailure")),
])
def test_a_wrong_secret_and_an_unknown_key_are_refused_alike(aws, service, call, told):
    wrong = error_of(getattr(aws.make(service, secret="wrong" * 8), call))
    unknown = error_of(getattr(aws.make(service, key=UNKNOWN_KEY), call))
    assert wrong[:2] == told
    # Which keys exist is nobody's business.
    assert wrong == unknown


def test_an_unsigned_call_is_refused(environment):
    answer = raw.call(environment, "ecs", "ListClusters", {}, sign=False)
    assert (answer.status, answer.code) == (400, "MissingAuthenticationTokenException")
    assert answer.headers["x-amzn-requestid"]


def test_a_body_changed_on_the_way_is_refused(environment):
    def tamper(request):
        request.data = request.data.replace(b"blue", b"evil")

    answer = raw.call(environment, "ecs", "CreateCluster", {"clusterName": "blue"}, tamper=tamper)
    assert (answer.status, answer.code) == (400, "InvalidSignatureException")


def test_another_operation_than_was_signed_is_refused(environment):
    def tamper(request):
        del request.headers["X-Amz-Target"]
        request.headers["X-Amz-Target"] = f"{raw.TARGETS['ecs']}.DeleteCluster"

    body = {"cluster": "default"}
    answer = raw.call(environment, "ecs", "DescribeClusters", body, tamper=tamper)
    assert (answer.status, answer.code) == (400, "InvalidSignatureException")


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_signature_of_another_time_is_refused(environment, monkeypatch, minutes):
    then = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    then += datetime.timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: then)
    answer = raw.call(environment, "ecs", "ListClusters", {})
    assert (answer.status, answer.code) == (400, "InvalidSignatureException")


def test_a_signature_for_another_service_is_refused(environment, monkeypatch):
    monkeypatch.setitem(raw.TARGETS, "s3", raw.TARGETS["ecs"])
    answer = raw.call(environment, "s3", "ListClusters", {})
    assert answer.status in (400, 403, 404)
    assert "clusterArns" not in answer.body.decode()


def test_the_secret_is_nowhere_in_the_answers(environment):
    answer = raw.call(environment, "ecs", "ListClusters", {}, secret="wrong" * 8)
    assert environment["AWS_SECRET_ACCESS_KEY"].encode() not in answer.body
