"""Roles and policies: kept as they were given, told again, and refused in IAM's words. And roles
that are assumed."""

import json

import pytest
from botocore.exceptions import ClientError

from refusals import refused
from test_credentials import caller

TRUST = {"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow", "Action": "sts:AssumeRole",
    "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]}
ALLOW = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["s3:Get*"], "Resource": "arn:aws:s3:::b/ü*"}]}
EXECUTION = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"


@pytest.fixture
def role(aws, name):
    """A role of this test; whatever hangs on it goes with it."""
    made = aws.iam.create_role(RoleName=name, Path="/team/", Description="d",
                               AssumeRolePolicyDocument=json.dumps(TRUST),
                               Tags=[{"Key": "a", "Value": "b"}])["Role"]
    yield made
    for it in aws.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        aws.iam.detach_role_policy(RoleName=name, PolicyArn=it["PolicyArn"])
    for it in aws.iam.list_role_policies(RoleName=name)["PolicyNames"]:
        aws.iam.delete_role_policy(RoleName=name, PolicyName=it)
    aws.iam.delete_role(RoleName=name)


@pytest.fixture
def policy(aws, name):
    made = aws.iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(ALLOW))["Policy"]
    yield made
    for it in aws.iam.list_policy_versions(PolicyArn=made["Arn"])["Versions"]:
        if not it["IsDefaultVersion"]:
            aws.iam.delete_policy_version(PolicyArn=made["Arn"], VersionId=it["VersionId"])
    aws.iam.delete_policy(PolicyArn=made["Arn"])


def test_a_role_is_told_as_it_was_given(aws, role, name, account):
    assert role["Arn"] == f"arn:aws:iam::{account}:role/team/{name}"
    assert role["RoleId"].startswith("AROA") and len(role["RoleId"]) == 21
    told = aws.iam.get_role(RoleName=name.upper())["Role"]
    assert told["AssumeRolePolicyDocument"] == TRUST
    assert told["Description"] == "d" and told["MaxSessionDuration"] == 3600
    assert told["Tags"] == [{"Key": "a", "Value": "b"}]
    aws.iam.tag_role(RoleName=name, Tags=[{"Key": "c", "Value": "d"}])
    aws.iam.untag_role(RoleName=name, TagKeys=["a"])
    assert aws.iam.list_role_tags(RoleName=name)["Tags"] == [{"Key": "c", "Value": "d"}]
    other = {**TRUST, "Statement": []}
    aws.iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(other))
    assert aws.iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == other
    listed = aws.iam.get_paginator("list_roles").paginate(
        PathPrefix="/team/", PaginationConfig={"PageSize": 1})
    assert name in [it["RoleName"] for page in listed for it in page["Roles"]]
    assert aws.iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"] == []


def test_refusals_of_roles(aws, role, name):
    refused("EntityAlreadyExists", aws.iam.create_role, RoleName=name,
            AssumeRolePolicyDocument=json.dumps(TRUST))
    refused("NoSuchEntity", aws.iam.get_role, RoleName="none", saying="cannot be found")
    refused("MalformedPolicyDocument", aws.iam.create_role, RoleName=f"{name}-x",
            AssumeRolePolicyDocument="{no")
    refused("InvalidInput", aws.iam.tag_role, RoleName=name, Tags=[{"Key": "aws:x", "Value": "y"}])
    aws.iam.attach_role_policy(RoleName=name, PolicyArn=EXECUTION)
    refused("DeleteConflict", aws.iam.delete_role, RoleName=name)


def test_policies_hang_on_roles(aws, role, policy, name):
    aws.iam.attach_role_policy(RoleName=name, PolicyArn=policy["Arn"])
    aws.iam.attach_role_policy(RoleName=name, PolicyArn=EXECUTION)
    told = aws.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert {it["PolicyName"] for it in told} == {name, "AmazonECSTaskExecutionRolePolicy"}
    assert aws.iam.get_policy(PolicyArn=policy["Arn"])["Policy"]["AttachmentCount"] == 1
    refused("DeleteConflict", aws.iam.delete_policy, PolicyArn=policy["Arn"])
    refused("NoSuchEntity", aws.iam.attach_role_policy, RoleName=name,
            PolicyArn="arn:aws:iam::aws:policy/None")
    aws.iam.put_role_policy(RoleName=name, PolicyName="in", PolicyDocument=json.dumps(ALLOW))
    inline = aws.iam.get_role_policy(RoleName=name, PolicyName="in")
    assert inline["PolicyDocument"] == ALLOW and inline["RoleName"] == name
    assert aws.iam.list_role_policies(RoleName=name)["PolicyNames"] == ["in"]
    refused("NoSuchEntity", aws.iam.get_role_policy, RoleName=name, PolicyName="out")
    aws.iam.detach_role_policy(RoleName=name, PolicyArn=policy["Arn"])
    refused("NoSuchEntity", aws.iam.detach_role_policy, RoleName=name, PolicyArn=policy["Arn"])


def test_a_policy_has_versions(aws, policy):
    arn = policy["Arn"]
    assert policy["DefaultVersionId"] == "v1" and policy["PolicyId"].startswith("ANPA")
    first = aws.iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]
    assert first["Document"] == ALLOW and first["IsDefaultVersion"]
    for _ in range(4):
        aws.iam.create_policy_version(
            PolicyArn=arn, PolicyDocument=json.dumps(TRUST), SetAsDefault=True)
    refused("LimitExceeded", aws.iam.create_policy_version, PolicyArn=arn,
            PolicyDocument=json.dumps(TRUST))
    refused("DeleteConflict", aws.iam.delete_policy_version, PolicyArn=arn, VersionId="v5")
    aws.iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    aws.iam.set_default_policy_version(PolicyArn=arn, VersionId="v3")
    told = aws.iam.get_paginator("list_policy_versions").paginate(
        PolicyArn=arn, PaginationConfig={"PageSize": 1})
    versions = [(it["VersionId"], it["IsDefaultVersion"]) for p in told for it in p["Versions"]]
    assert versions == [("v5", False), ("v4", False), ("v3", True), ("v1", False)]
    refused("NoSuchEntity", aws.iam.get_policy_version, PolicyArn=arn, VersionId="v2")


@pytest.mark.parametrize("path", [
    "service-role/AmazonECSTaskExecutionRolePolicy",
    "AmazonEC2ContainerRegistryReadOnly",
    "CloudWatchLogsFullAccess",
    "service-role/AmazonEC2ContainerServiceRole",
    "service-role/AmazonECSInfrastructureRolePolicyForVolumes",
    "AmazonECSInfrastructureRolePolicyForLoadBalancers",
])
def test_policies_of_aws_are_there(aws, path):
    told = aws.iam.get_policy(PolicyArn=f"arn:aws:iam::aws:policy/{path}")["Policy"]
    version = aws.iam.get_policy_version(
        PolicyArn=told["Arn"], VersionId=told["DefaultVersionId"])["PolicyVersion"]
    assert version["Document"]["Statement"]


def test_a_role_is_assumed_while_it_is_there(aws, environment, name, account):
    made = aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST),
                               MaxSessionDuration=7200)["Role"]
    answer = aws.sts.assume_role(RoleArn=made["Arn"], RoleSessionName="one", DurationSeconds=7200)
    assert answer["AssumedRoleUser"]["AssumedRoleId"] == f"{made['RoleId']}:one"
    keys = {**answer["Credentials"], "Token": answer["Credentials"]["SessionToken"]}
    who = caller(environment, keys).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{account}:assumed-role/{name}/one"
    assert who["UserId"] == f"{made['RoleId']}:one"
    for seconds in (3601, 7201):
        with pytest.raises(ClientError) as caught:
            caller(environment, keys).assume_role(
                RoleArn=made["Arn"], RoleSessionName="two", DurationSeconds=seconds)
        assert caught.value.response["Error"]["Code"] == "ValidationError"
    aws.iam.delete_role(RoleName=name)
    with pytest.raises(ClientError) as caught:
        caller(environment, keys).get_caller_identity()
    assert caught.value.response["Error"]["Code"] == "ExpiredToken"
    # Another role of the same name is not the one that was assumed.
    aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    with pytest.raises(ClientError):
        caller(environment, keys).get_caller_identity()
    aws.iam.delete_role(RoleName=name)
    refused("AccessDenied", aws.sts.assume_role, RoleArn=made["Arn"], RoleSessionName="one",
            saying="is not authorized to perform: sts:AssumeRole")
