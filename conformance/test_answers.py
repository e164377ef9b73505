"""The checker itself: a check that can't fail would let every answer through, so it is shown
answers that are wrong in one way each, and must find just that. Needs no server."""

import json

import botocore.session
import pytest

import answers


@pytest.fixture(scope="module")
def operation():
    session = botocore.session.get_session()

    def find(service, name):
        return session.get_service_model(service).operation_model(name)

    return find


def respond(body, status=200, kind="application/x-amz-json-1.1", request_id="r"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": kind, "x-amzn-RequestId": request_id}
    return {"headers": headers, "body": data, "status_code": status}


GOOD = {"clusters": [{"clusterName": "a", "runningTasksCount": 1,
                      "tags": [{"key": "a", "value": "b"}]}], "failures": []}


def test_a_good_answer_passes(operation):
    assert answers.check(operation("ecs", "DescribeClusters"), respond(GOOD)) == []


@pytest.mark.parametrize("cluster, told", [
    ({"clusterNames": "a"}, "is not in Cluster"),
    ({"clusterName": 1}, "is no string"),
    ({"clusterName": None}, "is null"),
    ({"runningTasksCount": "1"}, "is no integer"),
    ({"runningTasksCount": True}, "is no integer"),
    ({"runningTasksCount": 2**31}, "is no integer"),
    ({"tags": {}}, "is no list"),
    ({"configuration": []}, "is no structure"),
    ({"settings": [{"name": "containerinsights"}]}, "is none of"),
])
def test_what_the_model_forbids_is_found(operation, cluster, told):
    faults = answers.check(operation("ecs", "DescribeClusters"), respond({"clusters": [cluster]}))
    assert len(faults) == 1 and told in faults[0], faults


def test_times_are_seconds(operation):
    describe = operation("ecs", "DescribeTasks")
    assert answers.check(describe, respond({"tasks": [{"createdAt": 1790000000.123}]})) == []
    for wrong in (1790000000123, "2026-01-01T00:00:00Z", True):
        assert len(answers.check(describe, respond({"tasks": [{"createdAt": wrong}]}))) == 1


def test_missing_members_are_found(operation):
    put = operation("ecs", "PutAccountSetting")
    assert answers.check(put, respond({"setting": {"name": "fargateFIPSMode"}})) == []
    found = answers.check(operation("logs", "ListTagsForResource"), respond({"tags": {"a": 1}}))
    assert len(found) == 1 and "is no string" in found[0]


def test_headers_are_looked_at(operation):
    describe = operation("ecs", "DescribeClusters")
    assert "content type" in answers.check(describe, respond(GOOD, kind="text/html"))[0]
    assert "RequestId" in answers.check(describe, respond(GOOD, request_id=""))[0]
    assert "not JSON" in answers.check(describe, respond(b"<html>"))[0]


@pytest.mark.parametrize("status, body, told", [
    (400, {"__type": "ClusterNotFoundException", "message": "x"}, None),
    (400, {"__type": "x#ClusterNotFoundException", "message": "x"}, None),
    (400, {"__type": "SerializationException", "message": "x"}, None),
    (500, {"__type": "ClusterNotFoundException", "message": "x"}, "status 500"),
    (500, {"__type": "ServerException", "message": "x"}, None),
    (400, {"__type": "ServerException", "message": "x"}, "status 400"),
    (400, {"__type": "NoSuchThingException", "message": "x"}, "has no error"),
    (400, {"__type": "ClusterNotFoundException"}, "no message"),
    (400, {"message": "x"}, "without a `__type`"),
    (400, {"__type": "ClusterNotFoundException", "message": "x", "why": 1}, "is not in"),
])
def test_errors_are_looked_at(operation, status, body, told):
    faults = answers.check(operation("ecs", "ListTasks"), respond(body, status))
    assert (faults == []) if told is None else (len(faults) == 1 and told in faults[0]), faults


IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult>{}</GetCallerIdentityResult>
<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""


def test_query_answers_are_looked_at(operation):
    identity = operation("sts", "GetCallerIdentity")

    def check(inside):
        return answers.check(identity, respond(IDENTITY.format(inside).encode(), kind="text/xml"))

    assert check("<Account>1</Account><Arn>arn:aws:iam::1:root</Arn>") == []
    assert "Accounts is not in" in check("<Accounts>1</Accounts>")[0]


VPCS = """<DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<requestId>r</requestId><vpcSet><item>{}</item></vpcSet></DescribeVpcsResponse>"""


@pytest.mark.parametrize("inside, told", [
    ("<vpcId>vpc-1</vpcId><isDefault>true</isDefault><state>available</state>", None),
    ("<isDefault>True</isDefault>", "is no boolean"),
    ("<state>fine</state>", "is none of"),
    ("<VpcId>vpc-1</VpcId>", "is not in"),
    ("<tagSet><member/></tagSet>", "not <item>"),
])
def test_ec2_answers_are_looked_at(operation, inside, told):
    response = respond(VPCS.format(inside).encode(), kind="text/xml")
    faults = answers.check(operation("ec2", "DescribeVpcs"), response)
    assert (faults == []) if told is None else (len(faults) == 1 and told in faults[0]), faults
