"""Calls that are not what the API expects: operations nobody serves, bodies that are no JSON,
members of the wrong type, members from a newer API. Each is answered in the protocol's own form,
quickly, and the next call is served as if nothing had been."""

import concurrent.futures

import pytest
from botocore.exceptions import ClientError

import raw


def test_an_operation_that_is_not_served_says_so(aws):
    with pytest.raises(ClientError) as caught:
        aws.ecs.execute_command(cluster="a", task="b", command="sh", interactive=True)
    error = caught.value.response["Error"]
    assert "ExecuteCommand" in error["Message"], error


def test_an_operation_that_does_not_exist(environment):
    answer = raw.call(environment, "ecs", "MakeCoffee", {})
    assert (answer.status, answer.code) == (400, "UnknownOperationException")


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"{}{}"])
def test_a_body_that_is_no_object(environment, body):
    answer = raw.call(environment, "ecs", "ListClusters", body)
    # An empty body is an empty structure to AWS's services.
    if answer.status != 200:
        assert (answer.status, answer.code) == (400, "SerializationException")
    else:
        assert body == b""


@pytest.mark.parametrize("operation, body", [
    ("ListClusters", {"maxResults": "ten"}),
    ("DescribeClusters", {"clusters": "default"}),
    ("DescribeClusters", {"clusters": [1]}),
    ("CreateCluster", {"clusterName": {"a": 1}}),
    ("RunTask", {"taskDefinition": "a", "count": 1.5}),
    ("RunTask", {"taskDefinition": "a", "enableExecuteCommand": "yes"}),
])
def test_a_member_of_the_wrong_type(environment, operation, body):
    answer = raw.call(environment, "ecs", operation, body)
    assert (answer.status, answer.code) == (400, "SerializationException")


def test_a_required_member_that_is_missing(environment):
    answer = raw.call(environment, "ecs", "RunTask", {})
    assert answer.status == 400
    assert answer.code in ("InvalidParameterException", "ClientException", "ValidationException")
    assert "taskdefinition" in answer.json["message"].lower().replace(" ", "")


def test_a_member_of_a_newer_api_is_no_error(environment):
    body = {"maxResults": 1, "fromTheFuture": {"a": [1, None]}}
    assert raw.call(environment, "ecs", "ListClusters", body).status == 200


def test_null_members_count_as_absent(environment):
    body = {"maxResults": None, "nextToken": None}
    assert raw.call(environment, "ecs", "ListClusters", body).status == 200


def test_a_deep_body_is_refused_and_kills_nobody(environment):
    body = b'{"clusters":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = raw.call(environment, "ecs", "DescribeClusters", body)
    assert (answer.status, answer.code) == (400, "SerializationException")
    assert raw.call(environment, "ecs", "ListClusters", {}).status == 200


def test_every_answer_has_a_request_id_of_its_own(environment):
    ids = {raw.call(environment, "ecs", "ListClusters", {}).headers["x-amzn-requestid"]
           for _ in range(5)}
    assert len(ids) == 5


def test_a_service_that_is_not_there_fails_fast_and_well_formed(aws):
    for service, call in (("iam", "list_users"), ("events", "list_rules")):
        with pytest.raises(ClientError) as caught:
            getattr(aws.make(service), call)()
        status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
        assert 400 <= status < 600


def test_many_at_once_are_all_answered(aws):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: aws.ecs.list_clusters(), range(200)))
    assert all("clusterArns" in answer for answer in answers)
