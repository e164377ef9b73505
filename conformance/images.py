"""Real images without a public registry: a static busybox, and nginx and python out of Debian's own
packages. Each is made once with umoci as an OCI layout and kept under target/test-images, so that
only the first run pays for it."""

import importlib
import os
import pathlib
import shutil
import subprocess

CACHE = pathlib.Path(
    os.environ.get("NEARGATE_TEST_CACHE")
    or pathlib.Path(__file__).resolve().parent.parent / "target" / "test-images"
)
# Part of the cache's names: raise it when what the images hold changes.
VERSION = 1

NGINX_CONF = """\
daemon off;
error_log /dev/stderr notice;
pid /tmp/nginx.pid;
events {}
http {
  access_log /dev/stdout;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  server { listen 80; location / { return 200 "hello from nginx\\n"; } }
}
"""


def layout(name):
    """The OCI layout of image `name`, tagged `latest`; made now if it is not there yet."""
    path = CACHE / f"{name}-{VERSION}"
    if path.exists():
        return path
    work = CACHE / f".{name}-{VERSION}-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        made = work / "oci"
        _umoci("init", "--layout", str(made))
        _umoci("new", "--image", f"{made}:latest")
        bundle = work / "bundle"
        _umoci("unpack", "--image", f"{made}:latest", str(bundle))
        config = RECIPES[name](bundle / "rootfs")
        _umoci("repack", "--image", f"{made}:latest", str(bundle))
        _umoci("config", "--image", f"{made}:latest", *config)
        _umoci("gc", "--layout", str(made))
        made.rename(path)
    finally:
        shutil.rmtree(work)
    return path


def push(name, repository_uri, password, tag="latest"):
    """Copies an image to a registry, as a pipeline would; returns its digest."""
    source = f"oci:{layout(name)}:latest"
    target = f"docker://{repository_uri}:{tag}"
    digest = CACHE / f".digest-{os.getpid()}"
    _run("skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false",
         "--dest-creds", f"AWS:{password}", "--digestfile", str(digest), source, target)
    text = digest.read_text().strip()
    digest.unlink()
    return text


def _busybox(rootfs):
    """One static binary and its links; a shell, an HTTP client and a server are among them."""
    folder = rootfs / "bin"
    folder.mkdir()
    binary = folder / "busybox"
    shutil.copy(pathlib.Path(shutil.which("busybox")).resolve(), binary)
    for applet in _run(str(binary), "--list").split():
        if applet != "busybox":
            (folder / applet).symlink_to("busybox")
    _skeleton(rootfs)
    (rootfs / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n")
    (rootfs / "etc" / "group").write_text("root:x:0:\napp:x:1000:\nextra:x:2000:app\n")
    return ["--config.env", "PATH=/bin", "--config.env", "FROM_IMAGE=yes",
            "--config.cmd", "/bin/sh", "--config.cmd", "-c", "--config.cmd", "echo hello"]


def _nginx(rootfs):
    _debian(rootfs, "nginx-light")
    (rootfs / "etc" / "nginx" / "nginx.conf").write_text(NGINX_CONF)
    for folder in ("var/log/nginx", "var/lib/nginx"):
        (rootfs / folder).mkdir(parents=True, exist_ok=True)
    return ["--config.env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "--config.entrypoint", "/usr/sbin/nginx", "--config.exposedports", "80/tcp",
            "--config.stopsignal", "SIGQUIT"]


def _python(rootfs):
    _debian(rootfs, "python3-minimal,libpython3.11-stdlib")
    return ["--config.env", "PATH=/usr/bin:/bin", "--config.env", "PYTHONUNBUFFERED=1",
            "--config.entrypoint", "/usr/bin/python3"]


def _boto3(rootfs):
    """Python with the AWS SDK of the suite itself, and the models of a few services."""
    config = _python(rootfs)
    target = rootfs / "usr/lib/python3/dist-packages"
    target.mkdir(parents=True, exist_ok=True)
    for package in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six"):
        source = pathlib.Path(importlib.import_module(package).__file__)
        if source.name != "__init__.py":
            shutil.copy(source, target / source.name)
            continue
        keep = {"ecs", "sts", "servicediscovery", "logs"}

        def models(folder, names, keep=keep):
            dropped = {it for it in names if it == "__pycache__"}
            if folder.endswith("botocore/data"):
                at = pathlib.Path(folder)
                dropped |= {it for it in names if (at / it).is_dir() and it not in keep}
            return dropped

        shutil.copytree(source.parent, target / package, ignore=models)
    return config


def _debian(rootfs, packages):
    """Unpacks packages without running their scripts, which need a running system."""
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{it}/*" for it in ("doc", "man", "locale")]
    shutil.rmtree(rootfs)
    _run("mmdebstrap", "--quiet", "--variant=extract", f"--include={packages},base-passwd",
         *excluded, "bookworm", str(rootfs))
    _skeleton(rootfs)
    for name in ("passwd", "group"):
        shutil.copy(rootfs / "usr/share/base-passwd" / f"{name}.master", rootfs / "etc" / name)


def _skeleton(rootfs):
    for folder in ("proc", "sys", "dev", "tmp", "run", "etc", "data"):
        (rootfs / folder).mkdir(exist_ok=True)
    (rootfs / "tmp").chmod(0o1777)


def _umoci(*arguments):
    return _run("umoci", *arguments)


def _run(*command):
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ran.returncode != 0:
        raise AssertionError(f"{command} ended with {ran.returncode}: {ran.stderr[-2000:]}")
    return ran.stdout


RECIPES = {"boto3": _boto3, "busybox": _busybox, "nginx": _nginx, "python": _python}
