"""Certificates: made with openssl, imported, used by listeners, and what is refused."""

import subprocess

import pytest

from refusals import refused
from test_elbv2 import Made, fixed


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """Signs certificates, with files in a folder of the test's."""

    def __init__(self, folder):
        self.folder = folder
        self.key, self.certificate = folder / "ca.key", folder / "ca.pem"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out",
                self.certificate, "-days", 2, "-subj", "/O=Example/CN=Example CA")

    def sign(self, name, *algorithm):
        """PEM of a certificate for this name and of its key."""
        key, request, certificate, more = (
            self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem", "ext"))
        openssl("req", "-newkey", *(algorithm or ["rsa:2048"]), "-nodes", "-keyout", key, "-out",
                request, "-subj", f"/CN={name}")
        more.write_text(f"subjectAltName=DNS:{name},DNS:*.{name}\n"
                        "keyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-days", 1, "-extfile", more, "-out", certificate)
        return certificate.read_bytes(), key.read_bytes()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def imported(aws):
    """Imports; what was imported goes in the end."""
    arns = []

    def run(certificate, key, **more):
        made = aws.acm.import_certificate(Certificate=certificate, PrivateKey=key, **more)
        arn = made["CertificateArn"]
        arns.append(arn)
        return arn

    yield run
    for arn in set(arns):
        aws.acm.delete_certificate(CertificateArn=arn)


CURVE = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]


def test_a_certificate_is_imported_and_told_again(aws, authority, imported, account):
    acm, chain = aws.acm, authority.certificate.read_bytes()
    certificate, key = authority.sign("rsa.example.com")
    arn = imported(certificate, key, CertificateChain=chain, Tags=[{"Key": "a", "Value": "b"}])
    assert f":{account}:certificate/" in arn
    told = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert told["DomainName"] == "rsa.example.com" and told["Status"] == "ISSUED"
    assert told["SubjectAlternativeNames"] == ["rsa.example.com", "*.rsa.example.com"]
    assert told["Type"] == "IMPORTED" and told["KeyAlgorithm"] == "RSA_2048"
    assert told["Issuer"] == "Example CA" and told["Subject"] == "CN=rsa.example.com"
    assert told["SignatureAlgorithm"] == "SHA256WITHRSA" and told["InUseBy"] == []
    assert told["KeyUsages"] == [{"Name": "DIGITAL_SIGNATURE"}]
    assert told["ExtendedKeyUsages"][0]["Name"] == "TLS_WEB_SERVER_AUTHENTICATION"
    assert told["NotBefore"] < told["NotAfter"]
    got = acm.get_certificate(CertificateArn=arn)
    assert got["Certificate"].strip() == certificate.decode().strip()
    assert got["CertificateChain"].strip() == chain.decode().strip()
    assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [
        {"Key": "a", "Value": "b"}]
    acm.add_tags_to_certificate(CertificateArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    acm.remove_tags_from_certificate(CertificateArn=arn, Tags=[{"Key": "a"}])
    assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [
        {"Key": "c", "Value": "d"}]
    curve = imported(*authority.sign("ec.example.com", *CURVE), CertificateChain=chain)
    # Only RSA keys are listed unless others are asked for.
    listed = [it["CertificateArn"] for it in acm.list_certificates()["CertificateSummaryList"]]
    assert arn in listed and curve not in listed
    pages = acm.get_paginator("list_certificates").paginate(
        Includes={"keyTypes": ["RSA_2048", "EC_prime256v1"]}, PaginationConfig={"PageSize": 1})
    pages = [page["CertificateSummaryList"] for page in pages]
    assert {arn, curve} <= {it["CertificateArn"] for page in pages for it in page}
    assert all(len(page) == 1 for page in pages)
    assert imported(*authority.sign("rsa.example.com"), CertificateArn=arn) == arn
    refused("ResourceNotFoundException", acm.describe_certificate,
            CertificateArn=arn[:-4] + "0000")
    refused("InvalidParameterException", acm.request_certificate, DomainName="example.com")


def test_what_does_not_belong_together_is_refused(aws, authority):
    acm = aws.acm
    certificate, key = authority.sign("one.example.com")
    other, other_key = authority.sign("two.example.com", *CURVE)
    for arguments in (
        {"Certificate": certificate, "PrivateKey": other_key},
        {"Certificate": other, "PrivateKey": key},
        {"Certificate": certificate + other, "PrivateKey": key},
        {"Certificate": key, "PrivateKey": key},
        {"Certificate": certificate, "PrivateKey": key, "CertificateChain": other},
    ):
        refused("ValidationException", acm.import_certificate, **arguments)


def test_a_listener_with_certificates(aws, authority, imported, network, name):
    elb, acm = aws.elbv2, aws.acm
    first = imported(*authority.sign("a.example.com"))
    second = imported(*authority.sign("b.example.com", *CURVE))
    made = Made(aws, network, name)
    try:
        balancer = made.balancer()
        https = {"Protocol": "HTTPS", "Port": 443}
        refused("ValidationError", lambda: made.listener(balancer, **https),
                saying="A certificate must be specified for HTTPS listeners")
        refused("CertificateNotFound", lambda: made.listener(
            balancer, Certificates=[{"CertificateArn": first[:-4] + "0000"}], **https))
        refused("SSLPolicyNotFound", lambda: made.listener(
            balancer, SslPolicy="nothing", Certificates=[{"CertificateArn": first}], **https))
        listener = made.listener(
            balancer, fixed("200"), Certificates=[{"CertificateArn": first}], **https)
        assert listener["Certificates"] == [{"CertificateArn": first}]
        assert listener["SslPolicy"] == "ELBSecurityPolicy-2016-08"
        assert listener["MutualAuthentication"]["Mode"] == "off"
        arn = listener["ListenerArn"]
        elb.add_listener_certificates(ListenerArn=arn, Certificates=[{"CertificateArn": second}])
        pages = elb.get_paginator("describe_listener_certificates").paginate(
            ListenerArn=arn, PaginationConfig={"PageSize": 1})
        told = [it for page in pages for it in page["Certificates"]]
        assert told == [{"CertificateArn": first, "IsDefault": True},
                        {"CertificateArn": second, "IsDefault": False}]
        used = acm.describe_certificate(CertificateArn=second)["Certificate"]["InUseBy"]
        assert used == [balancer["LoadBalancerArn"]]
        refused("ResourceInUseException", acm.delete_certificate, CertificateArn=second)
        refused("OperationNotPermitted", elb.remove_listener_certificates, ListenerArn=arn,
                Certificates=[{"CertificateArn": first}])
        elb.remove_listener_certificates(
            ListenerArn=arn, Certificates=[{"CertificateArn": second}])
        policy = "ELBSecurityPolicy-TLS13-1-2-2021-06"
        changed = elb.modify_listener(
            ListenerArn=arn, SslPolicy=policy, Certificates=[{"CertificateArn": second}])
        [changed] = changed["Listeners"]
        assert changed["SslPolicy"] == policy
        assert changed["Certificates"] == [{"CertificateArn": second}]
        [told] = elb.describe_ssl_policies(Names=[policy])["SslPolicies"]
        assert told["SslProtocols"] == ["TLSv1.2", "TLSv1.3"]
    finally:
        made.unmake()
