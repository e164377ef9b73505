"""Somebody else's registry: a little one on loopback that serves an OCI layout under several names,
and is a different kind of trouble under each of them. Nothing in it is ours."""

import base64
import hashlib
import http.server
import json
import threading

ERRORS = {
    401: ("UNAUTHORIZED", "authentication required"),
    403: ("DENIED", "you are not on the list"),
    404: ("MANIFEST_UNKNOWN", "manifest unknown"),
    429: ("TOOMANYREQUESTS", "You have reached your pull rate limit."),
}
USER, PASSWORD, TOKEN = "somebody", "s3cret", "a-token-of-theirs"


class OtherRegistry:
    """`with OtherRegistry(layout) as registry: registry.image("open")` is a name to pull."""

    def __init__(self, layout):
        self.layout = layout
        index = json.loads((layout / "index.json").read_text())
        self.digest = index["manifests"][0]["digest"]
        self.media_type = index["manifests"][0]["mediaType"]
        self.requests = []
        self.broken = set()

    def __enter__(self):
        registry = self

        class Handler(_Handler):
            other = registry

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.server = None

    @property
    def host(self):
        return f"127.0.0.1:{self.server.server_address[1]}"

    def image(self, name, version="v1"):
        separator = "@" if version.startswith("sha256:") else ":"
        return f"{self.host}/{name}/app{separator}{version}"

    def blob(self, digest):
        return (self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()

    def manifest(self):
        return self.blob(self.digest)

    def index(self, *platforms):
        """An index in which the image is said to be for these platforms."""
        entry = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest())}
        manifests = []
        for platform in platforms:
            os, architecture, *variant = platform.split("/")
            said = {"os": os, "architecture": architecture}
            said |= {"variant": variant[0]} if variant else {}
            manifests.append({**entry, "platform": said})
        kind = "application/vnd.oci.image.index.v1+json"
        whole = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
        return kind, json.dumps(whole).encode()

    def asked(self, what):
        return [path for path in self.requests if what in path]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    other: OtherRegistry

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.other.requests.append(f"{self.command} {path}")
        if path == "/token":
            return self.token(query)
        _, v2, name, app, kind, what = (path.split("/", 5) + [""] * 6)[:6]
        if v2 != "v2" or app != "app" or name == "unknown":
            return self.refuse(404)
        if not self.allowed(name):
            return self.refuse(401)
        if name == "denied":
            return self.refuse(403)
        if name == "busy":
            return self.refuse(429, **{"Retry-After": "3600"})
        if kind == "manifests":
            return self.manifest(name, what)
        return self.blob(name, what)

    def allowed(self, name):
        sent = self.headers.get("Authorization")
        if name == "basic":
            return sent == _basic()
        return name != "bearer" or sent == f"Bearer {TOKEN}"

    def token(self, query):
        if self.headers.get("Authorization") != _basic() or "scope=" not in query:
            return self.refuse(401)
        return self.answer(200, json.dumps({"token": TOKEN, "expires_in": 300}).encode())

    def manifest(self, name, what):
        kind, content = self.other.media_type, self.other.manifest()
        if name == "index" and what != self.other.digest:
            kind, content = self.other.index("linux/arm64/v8", "linux/amd64")
        if name == "foreign":
            kind, content = self.other.index("windows/amd64", "linux/s390x")
        if name == "page":
            kind, content = "text/html", b"<html>Please log in to the Wi-Fi</html>"
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        if what not in ("v1", digest):
            return self.refuse(404)
        headers = {"Docker-Content-Digest": digest, "Content-Type": kind}
        return self.answer(200, content, **headers)

    def blob(self, name, digest):
        content = self.other.blob(digest)
        is_layer = len(content) > 100_000
        if is_layer and name == "liar":
            content = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
        if is_layer and name == "short":
            content = content[:-1]
        start = 0
        if ranged := self.headers.get("Range"):
            start = int(ranged.removeprefix("bytes=").rstrip("-"))
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        status = 206 if ranged else 200
        rest = content[start:]
        if is_layer and name == "breaks" and len(self.other.broken) < 3:
            self.other.broken.add(start)
            self.answer(status, rest, cut=len(rest) // 3, **headers)
            self.close_connection = True
            return None
        return self.answer(status, rest, **headers)

    def refuse(self, status, **headers):
        code, message = ERRORS[status]
        if status == 401:
            here = f"http://{self.headers['Host']}"
            kind = f'Bearer realm="{here}/token",service="other"'
            basic = "/basic/" in self.path
            headers["WWW-Authenticate"] = 'Basic realm="other"' if basic else kind
        content = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        return self.answer(status, content, **headers)

    def answer(self, status, content, cut=None, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            if status == 206 or name != "Content-Range":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content if cut is None else content[:cut])


def _basic():
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
