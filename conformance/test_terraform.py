"""Terraform's real provider against our endpoint: apply, a plan that finds nothing to do, destroy.
The provider is no package of Python's: where it is not on the machine (a plugin directory named by
NEARGATE_TERRAFORM_PLUGINS, or one of Terraform's own), there are no tests here, and pytest's
summary says so in a warning."""

import json
import os
import pathlib
import shutil
import subprocess
import urllib.error
import urllib.request
import warnings

import pytest

import images
from refusals import refused
from test_acm import Authority

CONFIGURATIONS = pathlib.Path(__file__).with_name("terraform")
PROVIDER = "registry.terraform.io/hashicorp/aws"
PLACES = ["/opt/tf-plugins", "~/.terraform.d/plugins", "/usr/local/share/terraform/plugins"]
SECONDS = 240


def plugins():
    """The folder that `terraform init -plugin-dir` is given, or None."""
    named = os.environ.get("NEARGATE_TERRAFORM_PLUGINS")
    for place in [named] if named else PLACES:
        folder = pathlib.Path(place).expanduser()
        if any(folder.glob(f"{PROVIDER}/*/*/terraform-provider-aws*")):
            return folder
    return None


class Terraform:
    """One configuration with a state of its own."""

    def __init__(self, folder, environment, **variables):
        self.folder = folder
        # The endpoint and a key are all that it is told.
        self.environment = {
            **os.environ,
            **environment,
            **{f"TF_VAR_{key}": value for key, value in variables.items()},
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            # One endpoint has no instance metadata to look for.
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self("init", f"-plugin-dir={plugins()}")

    def __call__(self, command, *arguments, codes=(0,)):
        ran = subprocess.run(
            ["terraform", command, "-no-color", "-input=false", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert ran.returncode in codes, f"terraform {command}: {ran.stdout[-6000:]}\n{ran.stderr}"
        return ran

    def output(self, name):
        ran = subprocess.run(
            ["terraform", "output", "-no-color", "-raw", name],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=True)
        return ran.stdout


@pytest.fixture
def terraform(environment, name, tmp_path):
    """Gives `terraform("network")`: that configuration, destroyed when the test is over."""
    made = []

    def make(configuration, **variables):
        folder = tmp_path / configuration
        shutil.copytree(CONFIGURATIONS / configuration, folder)
        region = environment["AWS_DEFAULT_REGION"]
        made.append(Terraform(folder, environment, name=name, region=region, **variables))
        return made[-1]

    yield make
    for one in made:
        one("destroy", "-auto-approve")


@pytest.mark.deadline(2 * SECONDS)
def a_network_is_applied_found_unchanged_and_destroyed(terraform, aws):
    run = terraform("network")
    run("apply", "-auto-approve")
    vpc = run.output("vpc_id")
    mine = [{"Name": "vpc-id", "Values": [vpc]}]
    assert len(aws.ec2.describe_subnets(Filters=mine)["Subnets"]) == 9
    nat, = aws.ec2.describe_nat_gateways(Filters=mine)["NatGateways"]
    assert nat["State"] == "available"
    # 2 would mean that something is to be changed.
    run("plan", "-detailed-exitcode")
    run("destroy", "-auto-approve")
    refused("InvalidVpcID.NotFound", aws.ec2.describe_vpcs, VpcIds=[vpc])
    assert aws.ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"] == []


@pytest.mark.deadline(SECONDS)
def images_and_secrets_are_applied_found_unchanged_and_destroyed(terraform, aws, name):
    run = terraform("images_and_secrets")
    run("apply", "-auto-approve")
    value = aws.secretsmanager.get_secret_value(SecretId=run.output("secret"))["SecretString"]
    assert json.loads(value) == {"user": "ada"}
    run("plan", "-detailed-exitcode")
    run("destroy", "-auto-approve")
    refused("ResourceNotFoundException", aws.secretsmanager.describe_secret, SecretId=f"{name}/db")
    refused("RepositoryNotFoundException", aws.ecr.describe_repositories,
            repositoryNames=[f"{name}/web"])


@pytest.mark.deadline(2 * SECONDS)
def load_balancers_are_applied_found_unchanged_changed_and_destroyed(
        terraform, aws, name, tmp_path):
    certificate, key = Authority(tmp_path).sign("web.example.com")
    pem = {"certificate": certificate.decode(), "key": key.decode()}
    run = terraform("load_balancing", **pem)
    run("apply", "-auto-approve")
    arn = run.output("arn")
    told = aws.elbv2.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]
    assert told["State"]["Code"] == "active"
    run("plan", "-detailed-exitcode")
    run("apply", "-auto-approve", "-var=path=/ready")
    run("plan", "-detailed-exitcode", "-var=path=/ready")
    run("destroy", "-auto-approve")
    refused("LoadBalancerNotFound", aws.elbv2.describe_load_balancers, Names=[name])
    refused("TargetGroupNotFound", aws.elbv2.describe_target_groups, Names=[f"{name}-b"])


@pytest.mark.deadline(3 * SECONDS)
def a_service_is_applied_found_unchanged_rolled_over_and_destroyed(
        terraform, aws, name, nginx, registry_password):
    run = terraform("ecs", image=nginx)
    run("apply", "-auto-approve")
    url = run.output("url")
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"hello from nginx\n"
    with pytest.raises(urllib.error.HTTPError) as teapot:
        urllib.request.urlopen(f"{url}teapot", timeout=10)
    assert teapot.value.code == 418
    run("plan", "-detailed-exitcode")
    cluster = run.output("cluster")
    before, = aws.ecs.describe_services(cluster=cluster, services=["web"])["services"]
    repository = nginx.rpartition(":")[0]
    images.push("nginx", repository, registry_password, tag="next")
    run.environment["TF_VAR_image"] = f"{repository}:next"
    run("apply", "-auto-approve")
    after, = aws.ecs.describe_services(cluster=cluster, services=["web"])["services"]
    assert after["taskDefinition"] != before["taskDefinition"]
    assert [it["rolloutState"] for it in after["deployments"]] == ["COMPLETED"]
    run("plan", "-detailed-exitcode")
    vpc = run.output("vpc_id")
    run("destroy", "-auto-approve")
    refused("InvalidVpcID.NotFound", aws.ec2.describe_vpcs, VpcIds=[vpc])
    refused("LoadBalancerNotFound", aws.elbv2.describe_load_balancers, Names=[name])
    kept, = aws.ecs.describe_clusters(clusters=[cluster])["clusters"]
    assert kept["status"] == "INACTIVE"


if shutil.which("terraform") and plugins():
    test_load_balancers_are_applied_found_unchanged_changed_and_destroyed = (
        load_balancers_are_applied_found_unchanged_changed_and_destroyed)
    test_a_network_is_applied_found_unchanged_and_destroyed = (
        a_network_is_applied_found_unchanged_and_destroyed)
    test_images_and_secrets_are_applied_found_unchanged_and_destroyed = (
        images_and_secrets_are_applied_found_unchanged_and_destroyed)
    test_a_service_is_applied_found_unchanged_rolled_over_and_destroyed = (
        a_service_is_applied_found_unchanged_rolled_over_and_destroyed)
else:
    warnings.warn(
        "NOT TESTED: Terraform. There is no terraform, or no plugin directory with its AWS "
        "provider; NEARGATE_TERRAFORM_PLUGINS names one.", stacklevel=1)
