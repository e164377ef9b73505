"""`neargate image import`: a user's first image on a machine without docker. What is imported is
run as a task and its log read; what can't be imported is refused with what would help."""

import io
import json
import pathlib
import shutil
import subprocess
import tarfile

import pytest

import images
from server import Server, binary
from tasks import container, exit_codes, shell


@pytest.fixture
def repository(aws, name):
    """A name; whatever is imported under it is deleted when the test is over."""
    yield name
    made = aws.ecr.describe_repositories()["repositories"]
    if name in [it["repositoryName"] for it in made]:
        aws.ecr.delete_repository(repositoryName=name, force=True)


@pytest.fixture
def importing(server):
    """`importing(source, name, …)`: the command; returns what it wrote to standard output."""

    def run(*arguments, check=True, **more):
        command = [binary(), "image", "import", "--data-dir", str(server.data_dir)]
        ran = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True,
                             timeout=60, **({"stdin": subprocess.DEVNULL} | more))
        if not check:
            return ran
        assert ran.returncode == 0, ran.stderr
        assert "\r" not in ran.stderr, "no bars where there is no terminal"
        return ran.stdout.strip()

    return run


def refused(ran, *said):
    assert ran.returncode == 1, ran.stdout
    assert ran.stdout == ""
    assert ran.stderr.startswith("neargate: ") and ran.stderr.count("\n") == 1, ran.stderr
    for words in said:
        assert words in ran.stderr


def busybox():
    return pathlib.Path(shutil.which("busybox")).resolve()


@pytest.fixture
def folder(tmp_path):
    """A small root file system with a shell in it."""
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox(), root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("busybox")
    (root / "bin" / "cat").hardlink_to(root / "bin" / "busybox")
    (root / "etc").mkdir()
    (root / "etc" / "greeting").write_text("hello from a folder\n")
    return root


def test_a_folder_becomes_a_task(importing, cluster, folder, repository):
    image = importing(folder, f"{repository}:v1", "--entrypoint", '["/bin/sh", "-c"]',
                      "--cmd", "cat /etc/greeting; pwd; echo $COLOUR", "--env", "COLOUR=red",
                      "--workdir", "/etc")
    assert image.endswith(f"/{repository}:v1")
    task, lines = cluster.logged(container(image))
    assert lines["app"] == ["hello from a folder", "/etc", "red"]
    assert exit_codes(task) == {"app": 0}


def test_the_same_folder_is_the_same_image(importing, folder, repository, aws):
    for tag in ("one", "two"):
        importing(folder, f"{repository}:{tag}")
    details = aws.ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert len(details) == 1
    assert sorted(details[0]["imageTags"]) == ["one", "two"]


def test_a_static_program_becomes_a_task(importing, cluster, tmp_path, repository):
    program = tmp_path / "busybox"
    shutil.copy(busybox(), program)
    image = importing(program, repository, "--cmd", "echo", "--cmd", "hello from a program")
    task, lines = cluster.logged(container(image))
    assert lines["app"] == ["hello from a program"]
    assert exit_codes(task) == {"app": 0}


@pytest.fixture
def archives(tmp_path):
    """The busybox image as skopeo writes it, in each form."""
    source = f"oci:{images.layout('busybox')}:latest"
    forms = {
        "docker-archive": tmp_path / "docker.tar",
        "oci-archive": tmp_path / "oci.tar",
        "oci": tmp_path / "layout",
    }
    for form, path in forms.items():
        name = ":busybox:latest" if form == "docker-archive" else ""
        ran = subprocess.run(["skopeo", "copy", "--insecure-policy", source,
                              f"{form}:{path}{name}"], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
    return forms


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_an_archive_becomes_a_task(importing, cluster, archives, form, repository, aws):
    image = importing(archives[form], repository)
    script = "echo $FROM_IMAGE; test $(readlink /bin/ls) = busybox"
    task, lines = cluster.logged(shell(image, script))
    assert lines["app"] == ["yes"]
    assert exit_codes(task) == {"app": 0}
    if form != "docker-archive":
        # Word for word, so that signatures and pinned digests stay true.
        index = json.loads((images.layout("busybox") / "index.json").read_text())
        detail = aws.ecr.describe_images(repositoryName=repository)["imageDetails"][0]
        if len(index["manifests"]) == 1:
            assert detail["imageDigest"] == index["manifests"][0]["digest"]


def test_an_archive_comes_through_a_pipe_and_compressed(importing, archives, repository, aws):
    whole = archives["docker-archive"]
    with open(whole, "rb") as stream:
        importing("-", f"{repository}:piped", stdin=stream)
    subprocess.run(["gzip", "-k", str(whole)], check=True)
    importing(f"{whole}.gz", f"{repository}:zipped")
    details = aws.ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert len(details) == 1, "the same image"


def test_a_root_file_system_becomes_a_task(importing, cluster, folder, tmp_path, repository):
    path = tmp_path / "root.tar"
    subprocess.run(["tar", "-cf", str(path), "-C", str(folder), "."], check=True)
    image = importing(path, repository)
    task, lines = cluster.logged(shell(image, "cat /etc/greeting"))
    assert lines["app"] == ["hello from a folder"]
    assert exit_codes(task) == {"app": 0}


def test_skopeo_pulls_what_was_imported(importing, folder, repository, registry_password, tmp_path):
    image = importing(folder, repository)
    subprocess.run(["skopeo", "copy", "--insecure-policy", "--src-tls-verify=false",
                    "--src-creds", f"AWS:{registry_password}", f"docker://{image}",
                    f"oci:{tmp_path}/copy:latest"], check=True, capture_output=True)


def test_bad_sources_are_refused_by_what_is_wrong(importing, tmp_path, repository, aws):
    def bad(content, *said):
        path = tmp_path / "source"
        path.write_bytes(content)
        refused(importing(path, repository, check=False), *said)

    refused(importing(tmp_path / "none", repository, check=False), "No such file or directory")
    (tmp_path / "empty").mkdir()
    refused(importing(tmp_path / "empty", repository, check=False), "is empty")
    bad(b"", "is empty")
    buffer = io.BytesIO()
    tarfile.open(fileobj=buffer, mode="w").close()
    bad(buffer.getvalue(), "the archive is empty")
    bad(b"hello " * 1000, "neither a program nor an archive")
    bad(b"#!/bin/sh\n", "script", "interpreter")
    bad(b"\x7fELF\x01\x01" + bytes(100), "32-bit")
    bad(b"\xfd7zXZ\0" + bytes(100), "xz -d")
    # Nothing was made for any of them.
    made = aws.ecr.describe_repositories()["repositories"]
    assert repository not in [it["repositoryName"] for it in made]


def test_a_dynamic_program_is_refused_with_what_it_lacks(importing, repository):
    dynamic = pathlib.Path("/bin/cat").resolve()
    told = subprocess.run(["ldd", str(dynamic)], capture_output=True, text=True).stdout
    assert "libc.so.6" in told
    ran = importing(dynamic, repository, check=False)
    refused(ran, "dynamically linked", "ld-linux", "libc.so.6", "--force")
    assert importing(dynamic, repository, "--force").endswith(f"/{repository}:latest")


def test_bad_names_are_refused_before_anything_is_read(importing, folder):
    for name, said in [("UPPER", "no name of a repository"), ("a:", "no tag"),
                       ("a@sha256:00", "digest"), ("other.example:5000/a", "no name")]:
        refused(importing(folder, name, check=False), said)


def test_an_immutable_tag_is_refused_in_ecrs_words(importing, folder, repository, aws):
    aws.ecr.create_repository(repositoryName=repository, imageTagMutability="IMMUTABLE")
    importing(folder, f"{repository}:1")
    (folder / "etc" / "more").write_text("more")
    ran = importing(folder, f"{repository}:1", check=False)
    refused(ran.__class__(ran.args, ran.returncode, ran.stdout, ran.stderr.splitlines(True)[-1]),
            "immutable")


def test_without_a_server_it_says_how_to_start_one(folder, tmp_path):
    data = tmp_path / "data"
    command = [binary(), "image", "import", "--data-dir", str(data), str(folder), "name"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
    refused(ran, "no Neargate is running", "neargate up")
    other = Server(data)
    other.start("--no-agent")
    other.kill()
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
    refused(ran, "no Neargate answers")
