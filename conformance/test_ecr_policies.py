"""What is set for repositories and the registry: lifecycle policies that really expire images, tag
mutability with exclusions, resource policies, registry settings, pull-through cache rules."""

import json

import pytest

import images
from refusals import refused
from waiting import until

EXPIRE_SECONDS = 30


@pytest.fixture
def repository(aws, name):
    made = aws.ecr.create_repository(repositoryName=name)["repository"]
    yield made
    aws.ecr.delete_repository(repositoryName=name, force=True)


def policy(**selection):
    return json.dumps({"rules": [{
        "rulePriority": 1, "description": "of a test of the conformance suite",
        "selection": selection, "action": {"type": "expire"}}]})


KEEP_ONE = policy(tagStatus="tagged", tagPatternList=["v*"], countType="imageCountMoreThan",
                  countNumber=1)


def copies(aws, repository, password, tags):
    """Different images, one for each tag, the first the oldest: one image's manifest, each with an
    annotation of its own."""
    name = repository["repositoryName"]
    first = images.push("busybox", repository["repositoryUri"], password, tag="base")
    got = aws.ecr.batch_get_image(repositoryName=name, imageIds=[{"imageDigest": first}])
    manifest = json.loads(got["images"][0]["imageManifest"])
    media_type = got["images"][0]["imageManifestMediaType"]
    digests = []
    for tag in tags:
        manifest["annotations"] = {"copy": tag}
        put = aws.ecr.put_image(repositoryName=name, imageManifest=json.dumps(manifest),
                                imageManifestMediaType=media_type, imageTag=tag)
        digests.append(put["image"]["imageId"]["imageDigest"])
    return digests


def tags_of(aws, name):
    listed = aws.ecr.list_images(repositoryName=name)["imageIds"]
    return sorted(it.get("imageTag", "") for it in listed)


def test_a_policy_expires_what_is_too_many(aws, repository, registry_password):
    name = repository["repositoryName"]
    old, _middle, _new = copies(aws, repository, registry_password, ["v1", "v2", "v3"])
    started = aws.ecr.start_lifecycle_policy_preview(
        repositoryName=name, lifecyclePolicyText=KEEP_ONE)
    assert started["status"] == "IN_PROGRESS"
    waiter = aws.ecr.get_waiter("lifecycle_policy_preview_complete")
    waiter.wait(repositoryName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 5})
    preview = aws.ecr.get_lifecycle_policy_preview(repositoryName=name)
    assert preview["summary"]["expiringImageTotalCount"] == 2
    assert [it["imageTags"] for it in preview["previewResults"]] == [["v1"], ["v2"]]
    assert preview["previewResults"][0]["imageDigest"] == old
    pages = aws.ecr.get_paginator("get_lifecycle_policy_preview").paginate(
        repositoryName=name, PaginationConfig={"PageSize": 1})
    assert [len(page["previewResults"]) for page in pages] == [1, 1]
    assert tags_of(aws, name) == ["base", "v1", "v2", "v3"], "a preview takes nothing"

    aws.ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=KEEP_ONE)
    until(lambda: tags_of(aws, name) == ["base", "v3"], EXPIRE_SECONDS, "v1 and v2 have expired")
    copies(aws, repository, registry_password, ["v4"])
    until(lambda: tags_of(aws, name) == ["base", "v4"], EXPIRE_SECONDS, "v3 after a push")
    got = aws.ecr.get_lifecycle_policy(repositoryName=name)
    assert json.loads(got["lifecyclePolicyText"]) == json.loads(KEEP_ONE)
    assert got["lastEvaluatedAt"].year > 2000
    gone = aws.ecr.delete_lifecycle_policy(repositoryName=name)
    assert gone["lifecyclePolicyText"] == KEEP_ONE
    refused("LifecyclePolicyNotFoundException", aws.ecr.get_lifecycle_policy, repositoryName=name)


def test_what_is_no_policy_is_refused(aws, repository):
    name = repository["repositoryName"]
    for text, says in (
        ("x" * 100, "Could not map policyString into LifecyclePolicy."),
        (policy(tagStatus="tagged", countType="imageCountMoreThan", countNumber=1),
         "tagPrefixList"),
        (policy(tagStatus="any", countType="sinceImagePushed", countNumber=1),
         "matched 0 out of 2"),
    ):
        message = refused("InvalidParameterException", aws.ecr.put_lifecycle_policy,
                          repositoryName=name, lifecyclePolicyText=text, saying=says)
        assert "Lifecycle policy validation failure" in message
    refused("LifecyclePolicyPreviewNotFoundException", aws.ecr.get_lifecycle_policy_preview,
            repositoryName=name)
    refused("LifecyclePolicyNotFoundException", aws.ecr.start_lifecycle_policy_preview,
            repositoryName=name)


def test_immutable_tags_but_for_some(aws, name, registry_password):
    filters = [{"filterType": "WILDCARD", "filter": "dev-*"}]
    made = aws.ecr.create_repository(
        repositoryName=name, imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=filters)["repository"]
    try:
        assert made["imageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
        assert made["imageTagMutabilityExclusionFilters"] == filters
        for tag in ("dev-1", "v1"):
            copies(aws, made, registry_password, [tag])
        got = aws.ecr.batch_get_image(
            repositoryName=name, imageIds=[{"imageTag": "v1"}])["images"][0]
        other = {**json.loads(got["imageManifest"]), "annotations": {"other": "one"}}
        put = {"repositoryName": name, "imageManifest": json.dumps(other),
               "imageManifestMediaType": got["imageManifestMediaType"]}
        refused("ImageTagAlreadyExistsException", aws.ecr.put_image, imageTag="v1", **put)
        aws.ecr.put_image(imageTag="dev-1", **put)
        with pytest.raises(AssertionError, match="immutable"):
            images.push("busybox", made["repositoryUri"], registry_password, tag="v1")
        changed = aws.ecr.put_image_tag_mutability(
            repositoryName=name, imageTagMutability="MUTABLE")
        assert "imageTagMutabilityExclusionFilters" not in changed
        images.push("busybox", made["repositoryUri"], registry_password, tag="v1")
        refused("InvalidParameterException", aws.ecr.put_image_tag_mutability, repositoryName=name,
                imageTagMutability="MUTABLE", imageTagMutabilityExclusionFilters=filters)
    finally:
        aws.ecr.delete_repository(repositoryName=name, force=True)


def test_policies_and_settings_are_kept_and_shown(aws, repository):
    name = repository["repositoryName"]
    text = json.dumps({"Version": "2012-10-17", "Statement": [{
        "Sid": "a", "Effect": "Allow", "Principal": "*", "Action": ["ecr:BatchGetImage"]}]})
    refused("RepositoryPolicyNotFoundException", aws.ecr.get_repository_policy, repositoryName=name)
    refused("InvalidParameterException", aws.ecr.set_repository_policy, repositoryName=name,
            policyText='{"Statement": []}')
    aws.ecr.set_repository_policy(repositoryName=name, policyText=text)
    assert json.loads(aws.ecr.get_repository_policy(repositoryName=name)["policyText"]) \
        == json.loads(text)
    aws.ecr.delete_repository_policy(repositoryName=name)
    refused("RepositoryPolicyNotFoundException", aws.ecr.delete_repository_policy,
            repositoryName=name)
    refused("RegistryPolicyNotFoundException", aws.ecr.get_registry_policy)
    aws.ecr.put_registry_policy(policyText=text)
    assert aws.ecr.get_registry_policy()["policyText"] == text
    aws.ecr.delete_registry_policy()
    rules = [{"scanFrequency": "SCAN_ON_PUSH",
              "repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}]}]
    assert aws.ecr.get_registry_scanning_configuration()["scanningConfiguration"]["rules"] == []
    aws.ecr.put_registry_scanning_configuration(scanType="BASIC", rules=rules)
    got = aws.ecr.get_registry_scanning_configuration()["scanningConfiguration"]
    assert got == {"scanType": "BASIC", "rules": rules}
    aws.ecr.put_registry_scanning_configuration(rules=[])
    replication = {"rules": [{"destinations": [{"region": "eu-west-1",
                                                "registryId": "000000000000"}]}]}
    aws.ecr.put_replication_configuration(replicationConfiguration=replication)
    assert aws.ecr.describe_registry()["replicationConfiguration"] == replication
    aws.ecr.put_replication_configuration(replicationConfiguration={"rules": []})


def test_pull_through_cache_rules(aws, name):
    ecr, prefix = aws.ecr, name[:20]
    credentials = json.dumps({"username": "u", "accessToken": "t"})
    secret = aws.secretsmanager.create_secret(
        Name=f"ecr-pullthroughcache/{name}", SecretString=credentials)["ARN"]
    try:
        made = ecr.create_pull_through_cache_rule(
            ecrRepositoryPrefix=prefix, upstreamRegistryUrl="registry-1.docker.io",
            credentialArn=secret)
        assert made["upstreamRegistry"] == "docker-hub"
        refused("PullThroughCacheRuleAlreadyExistsException", ecr.create_pull_through_cache_rule,
                ecrRepositoryPrefix=prefix, upstreamRegistryUrl="quay.io")
        for index in range(2):
            ecr.create_pull_through_cache_rule(
                ecrRepositoryPrefix=f"{prefix}/{index}x", upstreamRegistryUrl="quay.io",
                upstreamRepositoryPrefix="library")
        pages = list(ecr.get_paginator("describe_pull_through_cache_rules").paginate(
            PaginationConfig={"PageSize": 1}))
        rules = [rule for page in pages for rule in page["pullThroughCacheRules"]]
        mine = [it for it in rules if it["ecrRepositoryPrefix"].startswith(prefix)]
        assert len(mine) == 3 and mine[0]["credentialArn"] == secret
        assert ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix=prefix)["isValid"]
        aws.secretsmanager.put_secret_value(SecretId=secret, SecretString="no JSON")
        checked = ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix=prefix)
        assert not checked["isValid"] and "accessToken" in checked["failure"]
        refused("SecretNotFoundException", ecr.update_pull_through_cache_rule,
                ecrRepositoryPrefix=prefix, credentialArn=secret.replace(name, "never"))
        for rule in mine:
            ecr.delete_pull_through_cache_rule(ecrRepositoryPrefix=rule["ecrRepositoryPrefix"])
        refused("PullThroughCacheRuleNotFoundException", ecr.delete_pull_through_cache_rule,
                ecrRepositoryPrefix=prefix)
    finally:
        aws.secretsmanager.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
