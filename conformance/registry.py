"""The distribution protocol spoken by hand: a client that adds nothing and follows nothing, so that
a test sees each answer as it came. Content is random, so that nothing was ever there before."""

import base64
import hashlib
import http.client
import json
import os
import urllib.parse

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def password(ecr):
    """With which one logs in as AWS."""
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    assert user == "AWS"
    return password


def noise(size=512):
    return os.urandom(size)


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = body

    def json(self):
        return json.loads(self.body)

    def code(self):
        """The first error's code, of an answer in the specification's form."""
        return self.json()["errors"][0]["code"]

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:300]!r}"


class Registry:
    """One repository of a registry."""

    def __init__(self, port, password, name, user="AWS"):
        self.port = port
        self.name = name
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.authorization = {"Authorization": f"Basic {pair}"}

    def other(self, name):
        made = Registry(self.port, "", name)
        made.authorization = self.authorization
        return made

    def call(self, method, path, body=None, **headers):
        """A path that begins with a slash is taken as it is, others are the repository's. Header
        names have `_` for `-`."""
        if not path.startswith("/"):
            path = f"/v2/{self.name}/{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {**self.authorization, **named})
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()

    def begin(self):
        """The location of a new upload."""
        begun = self.call("POST", "blobs/uploads/", b"")
        assert begun.status == 202, begun
        return begun.headers["location"]

    def push_blob(self, content):
        pushed = self.call("POST", f"blobs/uploads/?digest={digest(content)}", content,
                           Content_Type="application/octet-stream")
        assert pushed.status == 201, pushed
        return digest(content)

    def put_manifest(self, reference, manifest, media_type=None):
        body = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        media_type = media_type or json.loads(body)["mediaType"]
        return self.call("PUT", f"manifests/{reference}", body, Content_Type=media_type)

    def push_image(self, tag=None, layers=1, **more):
        """The bytes of the manifest of a new image with one layer of its own at least."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "x": noise(8).hex()}).encode()
        manifest = image(config, [noise() for _ in range(layers)], self, **more)
        pushed = self.put_manifest(tag or digest(manifest), manifest)
        assert pushed.status == 201, pushed
        return manifest


def descriptor(content, media_type, **more):
    return {"mediaType": media_type, "digest": digest(content), "size": len(content), **more}


def image(config, layers, pushed_to=None, media_type=OCI_MANIFEST, **more):
    """The bytes of a manifest. Its blobs are pushed if it is told where."""
    docker = media_type == DOCKER_MANIFEST
    config_type, layer_type = (
        (DOCKER_CONFIG, DOCKER_LAYER) if docker else (OCI_CONFIG, OCI_LAYER))
    if pushed_to:
        for content in [config, *layers]:
            pushed_to.push_blob(content)
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config, more.pop("config_type", config_type)),
        "layers": [descriptor(layer, more.get("layer_type", layer_type)) for layer in layers],
    }
    more.pop("layer_type", None)
    return json.dumps({**manifest, **more}).encode()


def index(manifests, media_type=OCI_INDEX, **more):
    """The bytes of an index of manifests given as bytes."""
    def entry(n, manifest):
        of = json.loads(manifest)["mediaType"]
        platform = {"os": "linux", "architecture": ["amd64", "arm64"][n % 2]}
        return descriptor(manifest, of, platform=platform)

    entries = [entry(n, manifest) for n, manifest in enumerate(manifests)]
    made = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries, **more}
    return json.dumps(made).encode()


def path_of(location):
    """A location as a path, whether it came with a host or not."""
    parts = urllib.parse.urlsplit(location)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def with_digest(location, content):
    mark = "&" if "?" in location else "?"
    return f"{path_of(location)}{mark}digest={digest(content)}"
