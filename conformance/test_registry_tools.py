"""What people push and pull with: docker with a daemon of its own, podman, buildah and skopeo. What
goes in with one comes out with another, and they show ECR's words when they are refused."""

import hashlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

import images
from registry import Registry, digest, image, noise, path_of, with_digest
from waiting import until

MEBIBYTE = 1024 * 1024


class Tools:
    """The tools, each with a folder of its own, and what they log in with."""

    def __init__(self, folder, port, password):
        self.folder = folder
        self.host = f"127.0.0.1:{port}"
        self.password = password
        self.docker_socket = f"unix://{folder}/docker/d.sock"

    def run(self, *command, check=True, seconds=120, text=None):
        home = {"HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}
        given = {"input": text} if text is not None else {"stdin": subprocess.DEVNULL}
        ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds,
                             env={**os.environ, **home}, **given)
        if check:
            assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
        return ran

    def docker(self, *arguments, **more):
        return self.run("docker", "-H", self.docker_socket, *arguments, **more)

    def podman(self, *arguments, **more):
        place = self.folder / "podman"
        return self.run("podman", "--root", f"{place}/root", "--runroot", f"{place}/run",
                        "--tmpdir", f"{place}/tmp", "--cgroup-manager=cgroupfs",
                        "--events-backend=file", "--storage-driver=vfs", *arguments, **more)

    def buildah(self, *arguments, **more):
        place = self.folder / "buildah"
        return self.run("buildah", "--root", f"{place}/root", "--runroot", f"{place}/run",
                        "--storage-driver=vfs", *arguments, **more)

    def skopeo(self, *arguments, **more):
        return self.run("skopeo", *arguments, **more)

    @property
    def credentials(self):
        return f"AWS:{self.password}"


@pytest.fixture(scope="module")
def tools(server, registry_password):
    folder = Path(tempfile.mkdtemp(prefix="neargate-tools-"))
    try:
        yield Tools(folder, server.port, registry_password)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def docker(tools):
    """A docker daemon that leaves this machine's network alone."""
    root = tools.folder / "docker"
    root.mkdir()
    log_path = tools.folder / "dockerd.log"
    with open(log_path, "ab") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", f"{root}/data", "--exec-root", f"{root}/exec",
             "--pidfile", f"{root}/pid", "-H", tools.docker_socket, "--bridge=none",
             "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def answers():
        assert daemon.poll() is None, log_path.read_text()
        return tools.docker("version", check=False).returncode == 0

    try:
        until(answers, 60, "the docker daemon answers")
        tools.docker("login", "-u", "AWS", "--password-stdin", tools.host, text=tools.password)
        yield tools.docker
    finally:
        daemon.terminate()
        daemon.wait(60)


@pytest.fixture
def repository(aws, server, registry_password, name):
    aws.ecr.create_repository(repositoryName=name)
    yield Registry(server.port, registry_password, name)
    aws.ecr.delete_repository(repositoryName=name, force=True)


def layers(manifest):
    return [layer["digest"] for layer in json.loads(manifest)["layers"]]


def built(tools, repository, content):
    """An image of one file, on disk as a docker archive."""
    folder = Path(tempfile.mkdtemp(dir=tools.folder))
    (folder / "file").write_bytes(content)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /file\nCMD [\"/file\"]\n")
    return folder


@pytest.mark.deadline(180)
def test_docker_pushes_and_pulls(tools, docker, repository):
    name = f"{tools.host}/{repository.name}:v1"
    docker("build", "-q", "-t", name, str(built(tools, repository, noise(300_000))))
    first = docker("inspect", "-f", "{{.Id}}", name).stdout
    pushed = docker("push", name).stdout
    manifest = repository.call("GET", "manifests/v1")
    assert digest(manifest.body) in pushed
    assert manifest.headers["content-type"].startswith("application/vnd.docker.distribution")
    docker("rmi", name)
    docker("pull", name)
    assert docker("inspect", "-f", "{{.Id}}", name).stdout == first
    by_digest = f"{tools.host}/{repository.name}@{digest(manifest.body)}"
    docker("pull", by_digest)
    shown = json.loads(docker("manifest", "inspect", "--insecure", name).stdout)
    assert shown == manifest.json()
    again = docker("push", name).stdout
    assert "Layer already exists" in again, again


@pytest.mark.deadline(180)
def test_docker_mounts_what_is_in_another_repository(aws, tools, docker, repository):
    other = f"{repository.name}/other"
    aws.ecr.create_repository(repositoryName=other)
    try:
        one, two = f"{tools.host}/{repository.name}:v1", f"{tools.host}/{other}:v1"
        docker("build", "-q", "-t", one, str(built(tools, repository, noise(300_000))))
        docker("push", one)
        docker("tag", one, two)
        assert "Mounted from" in docker("push", two).stdout
    finally:
        aws.ecr.delete_repository(repositoryName=other, force=True)


@pytest.mark.deadline(180)
def test_docker_shows_ecrs_words(aws, tools, docker, repository):
    aws.ecr.put_image_tag_mutability(repositoryName=repository.name,
                                     imageTagMutability="IMMUTABLE")
    name = f"{tools.host}/{repository.name}:v1"
    docker("build", "-q", "-t", name, str(built(tools, repository, noise())))
    docker("push", name)
    docker("build", "-q", "-t", name, str(built(tools, repository, noise())))
    refused = docker("push", name, check=False)
    assert refused.returncode != 0 and "cannot be overwritten because" in refused.stderr, refused
    absent = f"{tools.host}/{repository.name}-absent:v1"
    docker("tag", name, absent)
    refused = docker("push", absent, check=False)
    said = f"The repository with name '{repository.name}-absent' does not exist in the registry"
    assert refused.returncode != 0 and said in refused.stderr, refused


@pytest.mark.deadline(180)
@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_the_others_push_and_pull(tools, repository, tool):
    """Built by one, pushed in either format, pulled again and compared."""
    run = getattr(tools, tool)
    folder = built(tools, repository, noise(300_000))
    for media, tag in [("oci", "v1"), ("docker", "v2")]:
        name = f"{tools.host}/{repository.name}:{tag}"
        run("build", "--isolation=chroot", "--format", media, "-q", "-t", name, str(folder))
        run("push", "--tls-verify=false", "--creds", tools.credentials, name)
        manifest = repository.call("GET", f"manifests/{tag}")
        assert media in manifest.headers["content-type"], manifest
        run("rmi", name)
        run("pull", "--tls-verify=false", "--creds", tools.credentials, name)


@pytest.mark.deadline(180)
def test_an_image_of_umoci_comes_back_as_it_went(tools, repository):
    """Made in an OCI layout, pushed and pulled by skopeo, unpacked again and compared."""
    place = Path(tempfile.mkdtemp(dir=tools.folder))
    made, back, content = place / "made", place / "back", noise(300_000)
    tools.run("umoci", "init", "--layout", str(made))
    tools.run("umoci", "new", "--image", f"{made}:v1")
    tools.run("umoci", "unpack", "--image", f"{made}:v1", str(place / "bundle"))
    (place / "bundle/rootfs/file").write_bytes(content)
    tools.run("umoci", "repack", "--image", f"{made}:v1", str(place / "bundle"))
    name = f"docker://{tools.host}/{repository.name}:v1"
    tools.skopeo("copy", "--insecure-policy", "--dest-tls-verify=false", "--dest-creds",
                 tools.credentials, f"oci:{made}:v1", name)
    tools.skopeo("copy", "--insecure-policy", "--src-tls-verify=false", "--src-creds",
                 tools.credentials, name, f"oci:{back}:v1")
    tools.run("umoci", "unpack", "--image", f"{back}:v1", str(place / "again"))
    assert (place / "again/rootfs/file").read_bytes() == content


@pytest.mark.deadline(180)
def test_an_index_of_two_platforms(tools, repository):
    """Made by podman as a manifest list, copied whole by skopeo, and one platform of it picked."""
    name = f"{tools.host}/{repository.name}:all"
    tools.podman("manifest", "create", "all")
    for platform in ("linux/amd64", "linux/arm64"):
        folder = built(tools, repository, noise())
        tools.podman("build", "--isolation=chroot", "-q", "--platform", platform,
                     "--manifest", "all", str(folder))
    tools.podman("manifest", "push", "--all", "--tls-verify=false", "--creds", tools.credentials,
                 "all", f"docker://{name}")
    index = repository.call("GET", "manifests/all").json()
    found = {entry["platform"]["architecture"]: entry["digest"] for entry in index["manifests"]}
    assert set(found) == {"amd64", "arm64"}
    login = ["--src-tls-verify=false", "--src-creds", tools.credentials,
             "--dest-tls-verify=false", "--dest-creds", tools.credentials]
    tools.skopeo("copy", "--insecure-policy", "--all", *login, f"docker://{name}",
                 f"docker://{name}-copy")
    assert repository.call("GET", "manifests/all-copy").json() == index
    tools.skopeo("copy", "--insecure-policy", "--override-arch", "arm64", *login[:3],
                 f"docker://{name}", f"oci:{tools.folder}/arm:v1")
    copied = json.loads((tools.folder / "arm" / "index.json").read_text())
    assert copied["manifests"][0]["digest"] == found["arm64"]


@pytest.mark.deadline(180)
def test_the_same_layers_pushed_by_many_at_once(tools, repository):
    layout = images.layout("busybox")
    name = f"docker://{tools.host}/{repository.name}"

    def push(number):
        ran = tools.skopeo("copy", "--insecure-policy", "--dest-tls-verify=false", "--dest-creds",
                           tools.credentials, f"oci:{layout}:latest", f"{name}:v{number}",
                           check=False)
        if ran.returncode != 0:
            failures.append(ran.stderr)

    failures = []
    pushes = [threading.Thread(target=push, args=[number]) for number in range(8)]
    for each in pushes:
        each.start()
    for each in pushes:
        each.join()
    assert failures == []
    manifests = {repository.call("GET", f"manifests/v{number}").body for number in range(8)}
    assert len(manifests) == 1
    for layer in layers(manifests.pop()):
        got = repository.call("GET", f"blobs/{layer}")
        assert got.status == 200 and digest(got.body) == layer


def memory_kib(pid):
    """The most memory a process has had, beside what it shares."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


@pytest.mark.deadline(300)
def test_a_large_blob_is_streamed(server, repository):
    """Sent and fetched in pieces, both ways: it is never in the server's memory."""
    size = int(os.environ.get("NEARGATE_LARGE_BLOB_MIB", "256"))
    piece = noise(MEBIBYTE)
    whole = hashlib.sha256()
    most, pid = memory_kib(server.process.pid), server.process.pid
    before = most

    def pieces():
        nonlocal most
        for number in range(size):
            content = number.to_bytes(8) + piece[8:]
            whole.update(content)
            if number % 16 == 0:
                most = max(most, memory_kib(pid))
            yield content

    location = path_of(repository.begin())
    sent = repository.call("PATCH", location, pieces(), Content_Type="application/octet-stream")
    assert sent.status == 202 and sent.headers["range"] == f"0-{size * MEBIBYTE - 1}", sent
    wanted = f"sha256:{whole.hexdigest()}"
    assert repository.call("PUT", f"{location}?digest={wanted}", b"").status == 201
    found = hashlib.sha256()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", f"/v2/{repository.name}/blobs/{wanted}",
                       headers=repository.authorization)
    response = connection.getresponse()
    while content := response.read(MEBIBYTE):
        found.update(content)
        most = max(most, memory_kib(pid))
    connection.close()
    assert f"sha256:{found.hexdigest()}" == wanted
    assert most - before < 64 * 1024, f"{before} KiB became {most} KiB"


def test_a_slow_client_holds_up_nobody(server, repository):
    """Half an upload that does not go on: others push the same blob meanwhile."""
    content = noise(100_000)
    location = path_of(repository.begin())
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("PATCH", location)
    for header, value in repository.authorization.items():
        connection.putheader(header, value)
    connection.putheader("Content-Length", str(len(content)))
    connection.endheaders(content[:50_000])
    try:
        repository.push_blob(content)
        manifest = image(b"{}", [content], repository)
        assert repository.put_manifest("v1", manifest).status == 201
        assert repository.call("GET", f"blobs/{digest(content)}").body == content
    finally:
        connection.close()
    # It may go on where it stands once the server has seen that it is gone.
    def standing():
        status = repository.call("GET", location)
        return status.status == 204 and int(status.headers["range"].partition("-")[2]) + 1

    start = until(standing, 30, "the upload can be gone on with")
    assert start in (1, 50_000)
    start = 0 if start == 1 else start
    done = repository.call("PUT", with_digest(location, content), content[start:])
    assert done.status == 201
