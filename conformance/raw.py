"""Requests that no well-behaved client would send: built by hand, signed with botocore's own
signer, sent as they are. For everything a user does, the suite uses real clients; this is for what
attackers and broken tools do."""

import http.client
import json
import urllib.parse

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

TARGETS = {
    "ecs": "AmazonEC2ContainerServiceV20141113",
    "ecr": "AmazonEC2ContainerRegistry_V20150921",
    "logs": "Logs_20140328",
}


class Answer:
    """Status, headers (lower case) and body of one answer."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {key.lower(): value for key, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json["__type"].split("#")[-1]


def call(environment, service, operation, body, sign=True, tamper=None, key=None, secret=None):
    """Calls a JSON operation with `body` (bytes, or a value to encode). `tamper` may change the
    request after it has been signed."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"{TARGETS[service]}.{operation}",
    }
    url = environment["AWS_ENDPOINT_URL"] + "/"
    request = AWSRequest(method="POST", url=url, data=data, headers=headers)
    if sign:
        credentials = Credentials(
            key or environment["AWS_ACCESS_KEY_ID"],
            secret or environment["AWS_SECRET_ACCESS_KEY"],
        )
        region = environment["AWS_DEFAULT_REGION"]
        SigV4Auth(credentials, service, region).add_auth(request)
    if tamper:
        tamper(request)
    return send(request)


def send(request):
    address = urllib.parse.urlsplit(request.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        path = address.path + (f"?{address.query}" if address.query else "")
        connection.request(request.method, path, request.data, dict(request.headers.items()))
        return Answer(connection.getresponse())
    finally:
        connection.close()
