"""Images from anywhere: other registries with and without credentials, by tag and digest and
through indexes; connections that break; everything that can be wrong with a registry, told as ECS
tells it; and pull-through caches."""

import json
import shutil
import socket
import subprocess

import pytest

import images
import other_registry
from other_registry import OtherRegistry
from tasks import exit_codes, shell
from waiting import until


@pytest.fixture(scope="module")
def other():
    with OtherRegistry(images.layout("busybox")) as registry:
        yield registry


@pytest.fixture
def credentials(aws, name):
    """The ARN of a secret with what the other registry wants."""
    value = {"username": other_registry.USER, "password": other_registry.PASSWORD}
    made = aws.secretsmanager.create_secret(Name=name, SecretString=json.dumps(value))
    yield made["ARN"]
    aws.secretsmanager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_any_registry_by_tag_and_digest(cluster, other):
    task = cluster.finish(shell(other.image("open"), "exit 4"))
    assert exit_codes(task) == {"app": 4}
    assert task["containers"][0]["imageDigest"] == other.digest
    task = cluster.finish(shell(other.image("open", other.digest), "exit 5"))
    assert exit_codes(task) == {"app": 5}


def test_an_index_is_followed_to_this_machines_platform(cluster, other):
    task = cluster.finish(shell(other.image("index"), "exit 6"))
    assert exit_codes(task) == {"app": 6}


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_repository_credentials(cluster, other, credentials, kind):
    with_them = shell(other.image(kind), "exit 7",
                      repositoryCredentials={"credentialsParameter": credentials})
    assert exit_codes(cluster.finish(with_them)) == {"app": 7}
    # That the image is here now is no reason to give it to who may not have it.
    task = cluster.finish(shell(other.image(kind), "exit 0"))
    assert "pull access denied" in reason(task)


def test_a_connection_that_breaks_is_resumed(cluster, tmp_path):
    # Layers that are here already would not be fetched.
    with OtherRegistry(fresh_layout(tmp_path)) as other:
        task = cluster.finish(shell(other.image("breaks"), "exit 8"))
        assert exit_codes(task) == {"app": 8}
        assert len(other.broken) == 3, "it did break, at other places each time"


def reason(task):
    assert task["stopCode"] == "TaskFailedToStart", task
    assert task["stoppedReason"].startswith("CannotPullContainerError: "), task["stoppedReason"]
    return task["stoppedReason"]


@pytest.mark.parametrize("kind, words", [
    ("unknown", "failed to resolve ref {image}: {image}: not found"),
    ("denied", "pull access denied for {repository}, repository does not exist or may require "
               "'docker login': denied: you are not on the list"),
    ("basic", "pull access denied for {repository}, repository does not exist or may require "
              "'docker login': unauthorized: authentication required"),
    # It asked for an hour's pause: there was one request, and a HEAD is answered without words.
    ("busy", "429 Too Many Requests - Server message: toomanyrequests: Too Many Requests"),
    ("foreign", "image Manifest does not contain descriptor matching platform 'linux/amd64'"),
    ("page", "malformed"),
])
def test_what_is_wrong_is_told_in_ecs_words(cluster, other, kind, words):
    image = other.image(kind)
    said = reason(cluster.finish(shell(image, "exit 0")))
    assert words.format(image=image, repository=image.rsplit(":", 1)[0]) in said


def test_an_unknown_tag(cluster, other):
    image = other.image("open", "nope")
    said = reason(cluster.finish(shell(image, "exit 0")))
    assert said == (
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to "
        f"resolve ref {image}: {image}: not found"
    )


def test_a_registry_that_is_not_there(cluster):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        image = f"{host}/app:v1"
        said = reason(cluster.finish(shell(image, "exit 0")))
    assert (
        f"The task cannot pull {image} from the registry {host}. There is a connection issue "
        "between the task and the registry. Check your task network configuration."
    ) in said
    assert "connection refused" in said


@pytest.mark.parametrize("kind, words", [
    ("liar", "unexpected commit digest"),
    ("short", "unexpected commit size"),
])
def test_layers_that_lie(cluster, kind, words, tmp_path):
    # A layer that no test has pulled, or it would not be fetched.
    with OtherRegistry(fresh_layout(tmp_path)) as other:
        said = reason(cluster.finish(shell(other.image(kind), "exit 0")))
        assert words in said and "failed commit on ref" in said
        # And nothing of it stays: the honest one runs.
        assert exit_codes(cluster.finish(shell(other.image("open"), "exit 9"))) == {"app": 9}


def fresh_layout(folder):
    """Busybox with a layer of its own."""
    made = folder / "oci"
    shutil.copytree(images.layout("busybox"), made)
    bundle = folder / "bundle"
    for step in (
        ["unpack", "--image", f"{made}:latest", str(bundle)],
        ["repack", "--image", f"{made}:latest", str(bundle)],
        ["gc", "--layout", str(made)],
    ):
        if step[0] == "repack":
            noise = subprocess.run(["head", "-c", "300000", "/dev/urandom"], capture_output=True)
            (bundle / "rootfs" / "noise").write_bytes(noise.stdout)
        subprocess.run(["umoci", *step], check=True, capture_output=True)
    shutil.rmtree(bundle)
    return made


@pytest.fixture
def cache(aws, name, other):
    """The prefix of a pull-through cache of the other registry."""
    aws.ecr.create_pull_through_cache_rule(
        ecrRepositoryPrefix=name, upstreamRegistryUrl=other.host
    )
    yield name
    aws.ecr.delete_pull_through_cache_rule(ecrRepositoryPrefix=name)
    for repository in aws.ecr.describe_repositories()["repositories"]:
        if repository["repositoryName"].startswith(f"{name}/"):
            aws.ecr.delete_repository(repositoryName=repository["repositoryName"], force=True)


def test_a_pull_through_cache_serves_tasks(aws, cluster, other, cache, account):
    region = aws.ecr.meta.region_name
    image = f"{account}.dkr.ecr.{region}.amazonaws.com/{cache}/open/app:v1"
    task = cluster.finish(shell(image, "exit 3"))
    assert exit_codes(task) == {"app": 3}
    # The repository came with it, and holds what the upstream has.
    details = aws.ecr.describe_images(repositoryName=f"{cache}/open/app")["imageDetails"]
    assert [(it["imageDigest"], it["imageTags"]) for it in details] == [(other.digest, ["v1"])]
    missing = reason(cluster.finish(shell(image.replace(":v1", ":nope"), "exit 0")))
    assert missing.endswith("not found")


def test_a_pull_through_cache_serves_other_clients_without_its_upstream(
    aws, name, registry_password, server, tmp_path
):
    with OtherRegistry(fresh_layout(tmp_path)) as other:
        rule = {"ecrRepositoryPrefix": name, "upstreamRegistryUrl": other.host}
        aws.ecr.create_pull_through_cache_rule(**rule)
        ours = f"127.0.0.1:{server.port}/{name}/index/app:v1"
        skopeo_copy(ours, registry_password, tmp_path / "first")
        assert len(other.asked("/blobs/")) == len(set(other.asked("/blobs/")))
        before = len(other.requests)
        skopeo_copy(ours, registry_password, tmp_path / "second")
        assert len(other.requests) == before, "everything was here"
        other.close()
        skopeo_copy(ours, registry_password, tmp_path / "third")
    aws.ecr.delete_pull_through_cache_rule(ecrRepositoryPrefix=name)
    aws.ecr.delete_repository(repositoryName=f"{name}/index/app", force=True)


def test_a_pull_through_cache_with_credentials(
    aws, name, other, registry_password, server, tmp_path
):
    value = {"username": other_registry.USER, "accessToken": other_registry.PASSWORD}
    secret = f"ecr-pullthroughcache/{name}"
    arn = aws.secretsmanager.create_secret(Name=secret, SecretString=json.dumps(value))["ARN"]
    aws.ecr.create_pull_through_cache_rule(
        ecrRepositoryPrefix=name, upstreamRegistryUrl=other.host, credentialArn=arn
    )
    skopeo_copy(f"127.0.0.1:{server.port}/{name}/bearer/app:v1", registry_password, tmp_path / "it")
    aws.ecr.delete_pull_through_cache_rule(ecrRepositoryPrefix=name)
    aws.secretsmanager.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    aws.ecr.delete_repository(repositoryName=f"{name}/bearer/app", force=True)


def skopeo_copy(reference, password, to):
    ran = subprocess.run(
        ["skopeo", "copy", "--insecure-policy", "--src-tls-verify=false",
         "--src-creds", f"AWS:{password}", f"docker://{reference}", f"oci:{to}:latest"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )
    assert ran.returncode == 0, ran.stderr


def test_an_operator_sees_and_removes_images(cluster, server, tmp_path):
    with OtherRegistry(fresh_layout(tmp_path)) as other:
        image = other.image("open")
        arn = cluster.start(shell(image, "trap 'exit 0' TERM; while :; do sleep 0.1; done"))
        cluster.until_running(arn)
        task = arn.rsplit("/", 1)[1]
        row = image_row(server, image)
        assert row.endswith(task), row
        assert other.digest[:19] in row and "linux/amd64" in row
        # Not under the task's feet.
        assert other.digest not in neargate(server, "images", "prune")
        assert image_row(server, image)
        cluster.aws.ecs.stop_task(cluster=cluster.name, task=arn)
        cluster.until_stopped(arn)
        # The agent lets go of the task a moment after it has stopped.
        until(lambda: other.digest in neargate(server, "images", "prune"), 20, "it is removed")
        assert image_row(server, image) is None


def image_row(server, image):
    lines = neargate(server, "images").splitlines()
    return next((line for line in lines if line.startswith(image)), None)


def neargate(server, *arguments):
    ran = server.run(*arguments[:1], "--data-dir", str(server.data_dir), *arguments[1:])
    return ran.stdout
