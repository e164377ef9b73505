"""Listener rules and certificates as clients of the load balancer see them: every kind of condition
decides about real requests, redirects lead on, and each name gets its certificate."""

import http.client
import socket
import ssl

import pytest

from test_acm import CURVE, Authority
from test_elbv2 import Made, fixed, path
from waiting import until


@pytest.fixture
def made(aws, network, name):
    """As in test_elbv2, but that a security group lets everybody in."""
    made = Made(aws, network, name)
    group = made.ec2.create_security_group(
        GroupName=name, Description="everybody", VpcId=made.vpc)["GroupId"]
    ports = [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port,
              "IpRanges": [{"CidrIp": "0.0.0.0/0"}]} for port in (80, 443)]
    made.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=ports)
    made.open = [group, *made.groups]
    yield made
    made.unmake()
    made.ec2.delete_security_group(GroupId=group)


class Front:
    """A load balancer's listener on port 80, and requests to it."""

    def __init__(self, made, *actions):
        self.made = made
        self.balancer = made.balancer(SecurityGroups=made.open)
        self.name = self.balancer["DNSName"]
        self.listener = made.listener(self.balancer, *actions or [said("nobody")])
        until(self.is_open, 20, "the listener serves")

    def is_open(self):
        try:
            return self.ask()
        except OSError:
            return None

    def ask(self, path="/", method="GET", **headers):
        """Status, body and Location of one request."""
        connection = http.client.HTTPConnection(self.name, 80, timeout=10)
        try:
            connection.request(method, path, headers={
                key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.getheader("Location")
        finally:
            connection.close()

    def word(self, *arguments, **headers):
        return self.ask(*arguments, **headers)[1]

    def until_word(self, word, *arguments, **headers):
        until(lambda: self.word(*arguments, **headers) == word, 10, f"{arguments} gives {word}")


def said(word, status="200"):
    return fixed(status, MessageBody=word, ContentType="text/plain")


def test_answers_say_what_the_listener_has_them_say(made):
    front = Front(made)

    def headers():
        connection = http.client.HTTPConnection(front.name, 80, timeout=10)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            return answer.getheader("Server"), answer.getheader("X-Frame-Options")
        finally:
            connection.close()

    def told(frames, server):
        made.elb.modify_listener_attributes(
            ListenerArn=front.listener["ListenerArn"], Attributes=[
                {"Key": "routing.http.response.x_frame_options.header_value", "Value": frames},
                {"Key": "routing.http.response.server.enabled", "Value": server}])

    assert headers() == ("awselb/2.0", None)
    told("DENY", "false")
    until(lambda: headers() == (None, "DENY"), 10, "answers have what was given")
    told("", "true")
    until(lambda: headers() == ("awselb/2.0", None), 10, "answers are as they were")


def test_every_kind_of_condition_decides(made):
    front = Front(made)
    rules = [
        ("host", [{"Field": "host-header", "Values": ["*.example.com"]}]),
        ("path", [path("/img/*", "/?.txt")]),
        ("header", [{"Field": "http-header", "HttpHeaderConfig": {
            "HttpHeaderName": "X-Team", "Values": ["blue*"]}}]),
        ("query", [{"Field": "query-string", "QueryStringConfig": {
            "Values": [{"Key": "stage", "Value": "be?a"}]}}]),
        ("method", [{"Field": "http-request-method", "HttpRequestMethodConfig": {
            "Values": ["PUT"]}}]),
        ("regex", [{"Field": "path-pattern", "PathPatternConfig": {
            "RegexValues": ["^/v[0-9]+/(cats|dogs)$"]}}]),
        ("both", [path("/both"), {"Field": "http-header", "HttpHeaderConfig": {
            "HttpHeaderName": "X-Both", "Values": ["yes"]}}]),
        ("nowhere", [path("/source"), {"Field": "source-ip", "SourceIpConfig": {
            "Values": ["203.0.113.0/24"]}}]),
        ("source", [path("/source"), {"Field": "source-ip", "SourceIpConfig": {
            "Values": ["0.0.0.0/0"]}}]),
    ]
    for priority, (word, conditions) in enumerate(rules, 1):
        made.rule(front.listener, priority, *conditions, actions=[said(word)])
    front.until_word("source", "/source")
    assert front.word(Host="A.Example.Com") == "host"
    assert front.word(Host="example.com") == "nobody"
    assert front.word("/img/") == "path" and front.word("/a.txt") == "path"
    assert front.word("/IMG/") == "nobody"
    assert front.word(X_Team="BLUE-1") == "header" and front.word(X_Team="red") == "nobody"
    assert front.word("/x?a=b&Stage=beta") == "query" and front.word("/?stage=beeta") == "nobody"
    assert front.word("/", "PUT") == "method"
    assert front.word("/v12/dogs") == "regex" and front.word("/v12/dogs/") == "nobody"
    assert front.word("/both") == "nobody" and front.word("/both", X_Both="yes") == "both"


def test_a_rule_changes_and_goes_while_requests_come(made):
    front = Front(made)
    rule = made.rule(front.listener, 1, path("/a"), actions=[said("one", "201")])
    front.until_word("one", "/a")
    assert front.ask("/a")[0] == 201
    made.elb.modify_rule(RuleArn=rule["RuleArn"], Actions=[said("two")])
    front.until_word("two", "/a")
    before = made.rule(front.listener, 3, path("/a*"), actions=[said("three")])
    made.elb.set_rule_priorities(RulePriorities=[
        {"RuleArn": before["RuleArn"], "Priority": 1}, {"RuleArn": rule["RuleArn"], "Priority": 3}])
    front.until_word("three", "/a")
    made.elb.delete_rule(RuleArn=before["RuleArn"])
    front.until_word("two", "/a")
    made.elb.delete_rule(RuleArn=rule["RuleArn"])
    front.until_word("nobody", "/a")


def test_a_redirect_leads_on(made):
    front = Front(made, {"Type": "redirect", "RedirectConfig": {
        "Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}})
    status, _, location = front.ask("/a/b?c=d")
    assert (status, location) == (301, f"https://{front.name}:443/a/b?c=d")
    made.rule(front.listener, 1, path("/old/*"), actions=[{"Type": "redirect", "RedirectConfig": {
        "Path": "/new/#{path}", "Query": "from=old", "StatusCode": "HTTP_302"}}])
    until(lambda: front.ask("/old/x?y=z")[0] == 302, 10, "the rule holds")
    location = front.ask("/old/x?y=z")[2]
    assert location.endswith("/new/old/x?from=old"), location


def test_a_group_without_targets_is_unavailable(made):
    group = made.group()
    front = Front(made, {"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]})
    assert front.ask()[0] == 503


def test_each_name_gets_its_certificate(made, aws, tmp_path):
    authority = Authority(tmp_path)
    chain = authority.certificate.read_bytes()
    arns = []
    for name, kind in (("a.example.com", []), ("b.example.com", CURVE)):
        certificate, key = authority.sign(name, *kind)
        arns.append(aws.acm.import_certificate(
            Certificate=certificate, PrivateKey=key, CertificateChain=chain)["CertificateArn"])
    try:
        balancer = made.balancer(SecurityGroups=made.open)
        listener = made.listener(balancer, said("secret"), Protocol="HTTPS", Port=443,
                                 Certificates=[{"CertificateArn": arns[0]}])
        made.elb.add_listener_certificates(
            ListenerArn=listener["ListenerArn"], Certificates=[{"CertificateArn": arns[1]}])
        trusting = ssl.create_default_context(cafile=str(authority.certificate))

        def name_shown(asked):
            try:
                plain = socket.create_connection((balancer["DNSName"], 443), timeout=5)
                with plain, trusting.wrap_socket(plain, server_hostname=asked) as stream:
                    stream.sendall(f"GET / HTTP/1.1\r\nHost: {asked}\r\nConnection: close\r\n\r\n"
                                   .encode())
                    read = b"".join(iter(lambda: stream.recv(4096), b""))
                    assert read.startswith(b"HTTP/1.1 200") and read.endswith(b"secret"), read
                    subject = dict(pair[0] for pair in stream.getpeercert()["subject"])
                    return subject["commonName"]
            except OSError:
                return None

        for asked, shown in [("a.example.com", "a.example.com"),
                             ("b.example.com", "b.example.com"),
                             ("x.b.example.com", "b.example.com")]:
            until(lambda: name_shown(asked) == shown, 20, f"{asked} is shown {shown}")
    finally:
        made.unmake()
        made.balancers, made.target_groups = [], []
        for arn in arns:
            aws.acm.delete_certificate(CertificateArn=arn)
