"""Garbage: what no image needs any more goes, what one needs stays, while pushes go on. The
shortest grace of objects is minutes, so these tests make files old instead of waiting."""

import json
import os
import re
import threading
import time

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import raw
from registry import Registry, digest, noise
from waiting import until


@pytest.fixture
def repository(aws, server, registry_password, name):
    aws.ecr.create_repository(repositoryName=name)
    yield Registry(server.port, registry_password, name)
    aws.ecr.delete_repository(repositoryName=name, force=True)


def stored(server, of):
    """The file of content in the data folder."""
    digits = digest(of).removeprefix("sha256:")
    return server.data_dir / "blobs" / "sha256" / digits[:2] / digits


def make_old(server):
    day_ago = time.time() - 24 * 3600
    for folder, _, files in os.walk(server.data_dir / "blobs" / "sha256"):
        for file in files:
            os.utime(os.path.join(folder, file), (day_ago, day_ago))


def collect(server):
    """What `neargate registry gc` says: objects, their bytes, uploads, links."""
    ran = server.run("registry", "gc", "--data-dir", str(server.data_dir), "--grace-seconds", "1")
    words = re.fullmatch(
        r"(\d+) blobs and manifests removed, (\d+) bytes freed; \d+ stay\n"
        r"(\d+) abandoned uploads removed, \d+ bytes freed\n"
        r"(\d+) blobs taken out of repositories .*\n", ran.stdout)
    assert words, ran.stdout
    return tuple(int(word) for word in words.groups())


def test_what_no_image_needs_goes_and_the_rest_stays(aws, server, repository):
    kept = repository.push_image("kept")
    gone = repository.push_image("gone")
    loose = noise(5000)
    repository.push_blob(loose)
    upload = repository.begin()
    aws.ecr.batch_delete_image(repositoryName=repository.name,
                               imageIds=[{"imageDigest": digest(gone)}])
    assert stored(server, gone).exists() and stored(server, loose).exists()

    def went():
        make_old(server)
        collect(server)
        return not stored(server, gone).exists() and not stored(server, loose).exists()

    until(went, 30, "the blobs that nothing needs are gone")
    assert repository.call("GET", f"blobs/{digest(loose)}").status == 404
    assert repository.call("GET", upload.split("?")[0]).status == 404, "nobody went on with it"
    assert repository.call("GET", "manifests/kept").body == kept
    for layer in json.loads(kept)["layers"]:
        got = repository.call("GET", f"blobs/{layer['digest']}")
        assert got.status == 200 and digest(got.body) == layer["digest"]
    # What was collected can be pushed again.
    repository.push_blob(loose)
    assert repository.call("GET", f"blobs/{digest(loose)}").body == loose


def test_young_objects_are_spared(aws, server, repository):
    gone = repository.push_image("gone")
    aws.ecr.batch_delete_image(repositoryName=repository.name,
                               imageIds=[{"imageDigest": digest(gone)}])
    collect(server)
    assert stored(server, gone).exists()


def test_pushes_go_on_while_garbage_is_collected(server, repository):
    ended, pushed, failures = threading.Event(), [], []

    def push():
        while not ended.is_set():
            try:
                pushed.append(repository.push_image(f"v{len(pushed)}"))
            except Exception as failure:
                failures.append(failure)
                return

    pushing = threading.Thread(target=push)
    pushing.start()
    try:
        for _ in range(5):
            make_old(server)
            collect(server)
        until(lambda: len(pushed) > 20 or failures, 30, "20 images are pushed")
    finally:
        ended.set()
        pushing.join()
    assert not failures, failures
    for number, manifest in enumerate(pushed):
        assert repository.call("GET", f"manifests/v{number}").body == manifest


@pytest.mark.parametrize("query", ["graceSeconds=0", "graceSeconds=x", "other=1"])
def test_nonsense_is_refused(environment, query):
    url = f"{environment['AWS_ENDPOINT_URL']}/neargate/v1/registry/gc?{query}"
    request = AWSRequest(method="POST", url=url, data=b"")
    keys = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(keys, "neargate", environment["AWS_DEFAULT_REGION"]).add_auth(request)
    answer = raw.send(request)
    assert (answer.status, answer.json["code"]) == (400, "BadParameter")
