"""Images in S3-compatible storage: a server of the storage's protocol that checks signatures, from
PyPI, started here on a port of its own; and a Neargate that keeps its images in it."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from conftest import Clients
from registry import Registry, digest, noise, password, path_of, with_digest
from server import Server, binary, free_port, fresh
from waiting import until

KEYS = {"AWS_ACCESS_KEY_ID": "AKIASTORAGE", "AWS_SECRET_ACCESS_KEY": "s3cret/of+the=storage"}
MEBIBYTE = 1024 * 1024


class Storage:
    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        keys = {"NANIO_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
                "NANIO_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
        with open(self.folder / "storage.log", "ab") as log:
            self.process = subprocess.Popen(
                ["nanio", "serve", "--host", "127.0.0.1", "--port", str(self.port),
                 "--data-dir", str(self.folder / "buckets"), "--no-access-log"],
                env={**os.environ, **keys}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._answers, 30, "the storage answers")

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "storage.log").read_text()
        try:
            self.client().list_buckets()
        except Exception:
            return False
        return True

    def client(self):
        return boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}))

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Neargate(Server):
    def start(self, storage, *more):
        url = f"s3://images/deep/er?endpoint={storage.url}"
        before = {name: os.environ.get(name) for name in KEYS}
        os.environ.update(KEYS)
        try:
            return super().start("--no-agent", "--object-store", url, *more)
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


@pytest.fixture(scope="module")
def storage():
    folder = Path(tempfile.mkdtemp(prefix="neargate-storage-"))
    storage = Storage(folder)
    try:
        storage.start()
        storage.client().create_bucket(Bucket="images")
        yield storage
    finally:
        if storage.process and storage.process.poll() is None:
            storage.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def neargate(storage):
    with fresh("s3", Neargate) as neargate:
        neargate.start(storage)
        yield neargate
        neargate.stop()


@pytest.fixture
def repository(neargate, name):
    ecr = Clients(neargate.environment()).ecr
    ecr.create_repository(repositoryName=name)
    yield Registry(neargate.port, password(ecr), name)
    ecr.delete_repository(repositoryName=name, force=True)


def keys(storage):
    pages = storage.client().get_paginator("list_objects_v2").paginate(Bucket="images")
    return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}


def key(content):
    digits = digest(content).removeprefix("sha256:")
    return f"deep/er/sha256/{digits[:2]}/{digits}"


@pytest.mark.parametrize("size", [0, 1, 512, 8 * MEBIBYTE, 8 * MEBIBYTE + 1, 40 * MEBIBYTE])
def test_blobs_go_in_and_come_out(storage, repository, size):
    content = noise(size)
    repository.push_blob(content)
    got = repository.call("GET", f"blobs/{digest(content)}")
    assert got.status == 200 and got.body == content
    assert keys(storage)[key(content)] == size
    with storage.client().get_object(Bucket="images", Key=key(content))["Body"] as body:
        assert digest(body.read()) == digest(content)
    if size > 1:
        part = repository.call("GET", f"blobs/{digest(content)}", Range=f"bytes={size // 2}-")
        assert (part.status, part.body) == (206, content[size // 2:])
    leftover = storage.client().list_multipart_uploads(Bucket="images").get("Uploads", [])
    assert leftover == []


def test_images_go_in_and_come_out(storage, repository):
    manifest = repository.push_image("v1", layers=3)
    assert repository.call("GET", "manifests/v1").body == manifest
    assert key(manifest) in keys(storage)


def test_a_lie_never_gets_there(storage, repository):
    content = noise(9 * MEBIBYTE)
    before = keys(storage)
    lie = digest(b"another")
    refused = repository.call("PUT", f"{path_of(repository.begin())}?digest={lie}", content)
    assert (refused.status, refused.code()) == (400, "DIGEST_INVALID")
    assert keys(storage) == before


def test_a_storage_that_is_away_fails_that_push_and_comes_back(storage, neargate, repository):
    before = noise()
    repository.push_blob(before)
    content = noise()
    location = repository.begin()
    assert repository.call("PATCH", path_of(location), content).status == 202
    storage.stop()
    try:
        failed = repository.call("PUT", with_digest(location, content), b"")
        assert failed.status == 500 and failed.code() == "UNKNOWN"
        assert repository.call("HEAD", f"blobs/{digest(before)}").status == 200, "it is known"
        assert neargate.is_healthy()
    finally:
        storage.start()
    # The upload stands as it did: the client tries again and need not send the bytes again.
    again = repository.call("PUT", with_digest(location, content), b"")
    assert again.status == 201, again
    assert repository.call("GET", f"blobs/{digest(content)}").body == content


def test_images_outlive_a_restart(storage, neargate, repository):
    manifest = repository.push_image("v1")
    neargate.stop()
    neargate.start(storage)
    assert repository.call("GET", "manifests/v1").body == manifest


def up(data_dir, *more, **environment):
    command = [binary(), "up", "--no-agent", "--listen", "127.0.0.1:0", "--data-dir", str(data_dir)]
    return subprocess.run([*command, *more], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, env={**os.environ, **environment})


def test_what_can_not_work_is_said_at_once(storage, tmp_path):
    url = f"s3://images/other?endpoint={storage.url}"
    without = {name: "" for name in KEYS}
    ran = up(tmp_path / "a", "--object-store", url, **without)
    assert ran.returncode != 0 and "AWS_ACCESS_KEY_ID" in ran.stderr
    wrong = {**KEYS, "AWS_SECRET_ACCESS_KEY": "wrong"}
    ran = up(tmp_path / "b", "--object-store", url, **wrong)
    assert ran.returncode != 0 and "403 SignatureDoesNotMatch" in ran.stderr, ran.stderr
    ran = up(tmp_path / "c", "--object-store", url.replace("images", "absent"), **KEYS)
    assert ran.returncode != 0 and "404 NoSuchBucket" in ran.stderr, ran.stderr
    ran = up(tmp_path / "d", "--object-store", "/var/lib/elsewhere")
    assert ran.returncode != 0 and "s3://BUCKET" in ran.stderr


def test_a_data_folder_keeps_to_its_store(storage, neargate, repository):
    repository.push_image("v1")
    neargate.stop()
    try:
        ran = up(neargate.data_dir)
        assert ran.returncode != 0
        assert "are kept in s3://images/deep/er, not in folder" in ran.stderr, ran.stderr
    finally:
        neargate.start(storage)
