"""The registry: repositories and images through the ECR API, pushed and pulled with skopeo, and
what docker's login would send. Only who holds a token gets in."""

import datetime
import json
import subprocess
import urllib.parse

import pytest

import images
from refusals import refused


@pytest.fixture
def repository(aws, name):
    made = aws.ecr.create_repository(repositoryName=name)["repository"]
    yield made
    aws.ecr.delete_repository(repositoryName=name, force=True)


def skopeo(*arguments, check=True):
    ran = subprocess.run(["skopeo", *arguments], capture_output=True, text=True,
                         stdin=subprocess.DEVNULL, timeout=60)
    if check:
        assert ran.returncode == 0, f"skopeo {arguments}: {ran.stderr}"
    return ran


def test_a_repository_is_made_shown_and_deleted(aws, name, account):
    made = aws.ecr.create_repository(repositoryName=name)["repository"]
    region = aws.ecr.meta.region_name
    assert made["repositoryArn"] == f"arn:aws:ecr:{region}:{account}:repository/{name}"
    assert made["registryId"] == account
    assert made["repositoryUri"].endswith(f"/{name}")
    assert made["imageTagMutability"] == "MUTABLE"
    refused("RepositoryAlreadyExistsException", aws.ecr.create_repository, repositoryName=name)
    shown = aws.ecr.describe_repositories(repositoryNames=[name])["repositories"]
    assert shown == [made]
    aws.ecr.delete_repository(repositoryName=name)
    refused("RepositoryNotFoundException", aws.ecr.describe_repositories, repositoryNames=[name])
    refused("RepositoryNotFoundException", aws.ecr.delete_repository, repositoryName=name)


def test_bad_names_are_refused(aws):
    for bad in ("UPPER", "a//b", "-a", "a" * 257):
        refused("InvalidParameterException", aws.ecr.create_repository, repositoryName=bad)


def test_repositories_are_listed_page_by_page(aws, name):
    names = [f"{name}/{it}" for it in "abc"]
    for it in names:
        aws.ecr.create_repository(repositoryName=it)
    pages = list(aws.ecr.get_paginator("describe_repositories").paginate(
        PaginationConfig={"PageSize": 1}))
    assert all(len(page["repositories"]) == 1 for page in pages)
    listed = [page["repositories"][0]["repositoryName"] for page in pages]
    assert set(names) <= set(listed)
    for it in names:
        aws.ecr.delete_repository(repositoryName=it)


def test_the_token_lives_and_names_the_registry(aws, repository):
    data = aws.ecr.get_authorization_token()["authorizationData"][0]
    now = datetime.datetime.now(datetime.timezone.utc)
    assert data["expiresAt"] > now + datetime.timedelta(hours=1)
    host = urllib.parse.urlsplit(data["proxyEndpoint"]).netloc
    assert repository["repositoryUri"].split("/")[0] == host


def test_the_cli_logs_in(cli, registry_password, repository):
    password = cli("ecr", "get-login-password", text=True).strip()
    image = f"docker://{repository['repositoryUri']}"
    ran = skopeo("list-tags", "--tls-verify=false", "--creds", f"AWS:{password}", image,
                 check=False)
    assert "unauthorized" not in ran.stderr.lower(), ran.stderr
    assert "authentication" not in ran.stderr.lower(), ran.stderr


def test_an_image_is_pushed_and_pulled_whole(aws, repository, registry_password, tmp_path):
    uri = repository["repositoryUri"]
    digest = images.push("busybox", uri, registry_password, tag="v1")
    shown = aws.ecr.describe_images(repositoryName=repository["repositoryName"])["imageDetails"]
    assert [(it["imageDigest"], it["imageTags"]) for it in shown] == [(digest, ["v1"])]
    assert shown[0]["imageSizeInBytes"] > 100_000 and shown[0]["imagePushedAt"]

    credentials = ["--src-tls-verify=false", "--src-creds", f"AWS:{registry_password}"]
    skopeo("copy", "--insecure-policy", *credentials, f"docker://{uri}@{digest}",
           f"oci:{tmp_path}/back:v1")
    index = json.loads((tmp_path / "back" / "index.json").read_text())
    assert index["manifests"][0]["digest"] == digest
    inspected = json.loads(skopeo("inspect", "--tls-verify=false", "--creds",
                                  f"AWS:{registry_password}", f"docker://{uri}:v1").stdout)
    assert inspected["Digest"] == digest
    assert inspected["RepoTags"] == ["v1"]


def test_pushing_again_uploads_nothing_twice(aws, repository, registry_password):
    uri = repository["repositoryUri"]
    first = images.push("busybox", uri, registry_password, tag="v1")
    assert images.push("busybox", uri, registry_password, tag="v2") == first
    shown = aws.ecr.describe_images(repositoryName=repository["repositoryName"])["imageDetails"]
    assert [sorted(it["imageTags"]) for it in shown] == [["v1", "v2"]]


def test_images_are_listed_fetched_and_deleted(aws, repository, registry_password):
    name = repository["repositoryName"]
    digest = images.push("busybox", repository["repositoryUri"], registry_password, tag="v1")
    listed = aws.ecr.list_images(repositoryName=name)["imageIds"]
    assert listed == [{"imageDigest": digest, "imageTag": "v1"}]
    got = aws.ecr.batch_get_image(repositoryName=name, imageIds=[{"imageTag": "v1"},
                                                                 {"imageTag": "none"}])
    assert got["images"][0]["imageId"] == listed[0]
    assert json.loads(got["images"][0]["imageManifest"])["schemaVersion"] == 2
    assert [it["failureCode"] for it in got["failures"]] == ["ImageNotFound"]
    gone = aws.ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": digest}])
    assert gone["failures"] == [] and len(gone["imageIds"]) == 1
    assert aws.ecr.list_images(repositoryName=name)["imageIds"] == []


@pytest.mark.deadline(180)
def test_images_are_listed_page_by_page(aws, repository, registry_password):
    name = repository["repositoryName"]
    for image in ("busybox", "python"):
        images.push(image, repository["repositoryUri"], registry_password, tag=image)
    one = {"PageSize": 1}
    pages = list(aws.ecr.get_paginator("list_images").paginate(
        repositoryName=name, PaginationConfig=one))
    assert [len(page["imageIds"]) for page in pages] == [1, 1]
    assert {page["imageIds"][0]["imageTag"] for page in pages} == {"busybox", "python"}
    pages = list(aws.ecr.get_paginator("describe_images").paginate(
        repositoryName=name, PaginationConfig=one))
    assert [len(page["imageDetails"]) for page in pages] == [1, 1]


def test_a_repository_with_images_needs_force(aws, name, registry_password):
    made = aws.ecr.create_repository(repositoryName=name)["repository"]
    images.push("busybox", made["repositoryUri"], registry_password)
    refused("RepositoryNotEmptyException", aws.ecr.delete_repository, repositoryName=name)
    aws.ecr.delete_repository(repositoryName=name, force=True)


def test_no_push_without_a_repository(repository, registry_password, name):
    uri = repository["repositoryUri"].replace(name, f"{name}-never")
    with pytest.raises(AssertionError, match="does not exist in the registry"):
        images.push("busybox", uri, registry_password)


@pytest.mark.parametrize("credentials", ["AWS:wrong", "nobody:wrong"])
def test_no_entry_without_the_token(repository, credentials):
    ran = skopeo("list-tags", "--tls-verify=false", "--creds", credentials,
                 f"docker://{repository['repositoryUri']}", check=False)
    assert ran.returncode != 0
    ran = skopeo("list-tags", "--tls-verify=false", "--no-creds",
                 f"docker://{repository['repositoryUri']}", check=False)
    assert ran.returncode != 0
