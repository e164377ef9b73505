"""Cloud Map through boto3: namespaces, services, instances, and who is found, with the errors that
clients switch on."""

import pytest
from botocore.exceptions import ClientError

from conftest import Clients
from refusals import refused


@pytest.fixture(scope="session")
def sd(environment):
    # DiscoverInstances has a host name of its own, `data-…`, which an address can't have.
    return Clients(environment, inject_host_prefix=False).servicediscovery


@pytest.fixture
def made(sd):
    """What a test makes, unmade in the end, instances first."""
    services, namespaces = [], []
    yield services, namespaces
    for id in services:
        for it in sd.list_instances(ServiceId=id)["Instances"]:
            sd.deregister_instance(ServiceId=id, InstanceId=it["Id"])
        sd.delete_service(Id=id)
    for id in namespaces:
        sd.delete_namespace(Id=id)


def finished(sd, answer, kind, target):
    """The target's id of an operation that has succeeded."""
    operation = sd.get_operation(OperationId=answer["OperationId"])["Operation"]
    assert operation["Status"] == "SUCCESS" and operation["Type"] == kind
    return operation["Targets"][target]


def http_namespace(sd, made, name, **more):
    answer = sd.create_http_namespace(Name=name, **more)
    id = finished(sd, answer, "CREATE_NAMESPACE", "NAMESPACE")
    made[1].append(id)
    return id


def private_namespace(sd, made, aws, name, **more):
    vpc = aws.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    answer = sd.create_private_dns_namespace(Name=name, Vpc=vpc, **more)
    id = finished(sd, answer, "CREATE_NAMESPACE", "NAMESPACE")
    made[1].append(id)
    return id


def service(sd, made, **more):
    it = sd.create_service(**more)["Service"]
    made[0].append(it["Id"])
    return it


def test_an_http_namespace(sd, made, name, account):
    id = http_namespace(sd, made, name, Description="d", Tags=[{"Key": "a", "Value": "b"}])
    assert id.startswith("ns-")
    it = sd.get_namespace(Id=id)["Namespace"]
    assert (it["Name"], it["Type"], it["Description"]) == (name, "HTTP", "d")
    assert it["Properties"]["HttpProperties"]["HttpName"] == name
    assert it["Arn"].endswith(f":{account}:namespace/{id}") and it["ServiceCount"] == 0
    assert sd.list_tags_for_resource(ResourceARN=it["Arn"])["Tags"] == [{"Key": "a", "Value": "b"}]
    sd.tag_resource(ResourceARN=it["Arn"], Tags=[{"Key": "c", "Value": "d"}])
    sd.untag_resource(ResourceARN=it["Arn"], TagKeys=["a"])
    assert sd.list_tags_for_resource(ResourceARN=it["Arn"])["Tags"] == [{"Key": "c", "Value": "d"}]
    finished(sd, sd.update_http_namespace(Id=id, Namespace={"Description": "e"}),
             "UPDATE_NAMESPACE", "NAMESPACE")
    assert sd.get_namespace(Id=id)["Namespace"]["Description"] == "e"
    found = sd.list_namespaces(Filters=[{"Name": "NAME", "Values": [name], "Condition": "EQ"}])
    assert [it["Id"] for it in found["Namespaces"]] == [id]


def test_a_namespace_is_made_once(sd, made, name):
    id = http_namespace(sd, made, name, CreatorRequestId="r")
    with pytest.raises(ClientError) as caught:
        sd.create_http_namespace(Name=name, CreatorRequestId="other")
    assert caught.value.response["Error"]["Code"] == "NamespaceAlreadyExists"
    assert caught.value.response["NamespaceId"] == id
    again = sd.create_http_namespace(Name=name, CreatorRequestId="r")
    assert finished(sd, again, "CREATE_NAMESPACE", "NAMESPACE") == id


def test_a_private_namespace_belongs_to_a_vpc(sd, made, aws, name):
    id = private_namespace(sd, made, aws, f"{name}.local",
                           Properties={"DnsProperties": {"SOA": {"TTL": 42}}})
    it = sd.get_namespace(Id=id)["Namespace"]
    assert it["Type"] == "DNS_PRIVATE"
    assert it["Properties"]["DnsProperties"]["SOA"] == {"TTL": 42}
    assert it["Properties"]["DnsProperties"]["HostedZoneId"].startswith("Z")
    refused("InvalidInput", sd.create_private_dns_namespace, Name=f"{name}.other", Vpc="vpc-0")
    refused("InvalidInput", sd.create_private_dns_namespace, Name="-- not a name --", Vpc="vpc-0")


def test_what_is_in_use_is_not_deleted(sd, made, name):
    id = http_namespace(sd, made, name)
    it = service(sd, made, Name="web", NamespaceId=id)
    assert it["Type"] == "HTTP" and it["InstanceCount"] == 0 and it["NamespaceId"] == id
    refused("ResourceInUse", sd.delete_namespace, Id=id)
    sd.register_instance(ServiceId=it["Id"], InstanceId="i", Attributes={"a": "b"})
    refused("ResourceInUse", sd.delete_service, Id=it["Id"])
    with pytest.raises(ClientError) as caught:
        sd.create_service(Name="web", NamespaceId=id)
    assert caught.value.response["Error"]["Code"] == "ServiceAlreadyExists"
    assert caught.value.response["ServiceId"] == it["Id"]


def test_what_is_not_there(sd):
    refused("NamespaceNotFound", sd.get_namespace, Id="ns-none")
    refused("NamespaceNotFound", sd.delete_namespace, Id="ns-none")
    refused("NamespaceNotFound", sd.create_service, Name="x", NamespaceId="ns-none")
    refused("NamespaceNotFound", sd.discover_instances, NamespaceName="none", ServiceName="x")
    refused("ServiceNotFound", sd.get_service, Id="srv-none")
    refused("ServiceNotFound", sd.register_instance, ServiceId="srv-none", InstanceId="i",
            Attributes={"a": "b"})
    refused("OperationNotFound", sd.get_operation, OperationId="none")
    refused("ResourceNotFoundException", sd.list_tags_for_resource,
            ResourceARN="arn:aws:servicediscovery:us-east-1:000000000000:namespace/ns-none")


def test_discovery_by_health_and_attributes(sd, made, name):
    id = http_namespace(sd, made, name)
    it = service(sd, made, Name="web", NamespaceId=id, HealthCheckCustomConfig={})
    for instance, colour in (("a", "red"), ("b", "red"), ("c", "blue")):
        answer = sd.register_instance(ServiceId=it["Id"], InstanceId=instance, Attributes={
            "AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80", "colour": colour})
        assert finished(sd, answer, "REGISTER_INSTANCE", "INSTANCE") == instance

    def found(**more):
        answer = sd.discover_instances(NamespaceName=name, ServiceName="web", **more)
        return sorted(it["InstanceId"] for it in answer["Instances"])

    assert found() == ["a", "b", "c"]
    assert found(QueryParameters={"colour": "red"}) == ["a", "b"]
    assert found(OptionalParameters={"colour": "blue"}) == ["c"]
    assert found(OptionalParameters={"colour": "green"}) == ["a", "b", "c"]
    assert len(found(MaxResults=2)) == 2
    before = sd.discover_instances_revision(NamespaceName=name, ServiceName="web")
    sd.update_instance_custom_health_status(
        ServiceId=it["Id"], InstanceId="a", Status="UNHEALTHY")
    after = sd.discover_instances_revision(NamespaceName=name, ServiceName="web")
    assert after["InstancesRevision"] > before["InstancesRevision"]
    assert found() == ["b", "c"] and found(HealthStatus="UNHEALTHY") == ["a"]
    assert found(HealthStatus="ALL") == ["a", "b", "c"]
    status = sd.get_instances_health_status(ServiceId=it["Id"])["Status"]
    assert status == {"a": "UNHEALTHY", "b": "HEALTHY", "c": "HEALTHY"}
    for instance in ("b", "c"):
        sd.update_instance_custom_health_status(
            ServiceId=it["Id"], InstanceId=instance, Status="UNHEALTHY")
    assert found() == ["a", "b", "c"] and found(HealthStatus="HEALTHY") == []
    assert {it["HealthStatus"] for it in sd.discover_instances(
        NamespaceName=name, ServiceName="web")["Instances"]} == {"UNHEALTHY"}


def test_instances_are_listed_page_by_page(sd, made, name):
    id = http_namespace(sd, made, name)
    it = service(sd, made, Name="web", NamespaceId=id)
    for n in range(5):
        sd.register_instance(ServiceId=it["Id"], InstanceId=f"i-{n}", Attributes={"n": str(n)})
    pages = sd.get_paginator("list_instances").paginate(
        ServiceId=it["Id"], PaginationConfig={"PageSize": 2})
    assert [i["Id"] for page in pages for i in page["Instances"]] == [f"i-{n}" for n in range(5)]
    assert sd.get_instance(ServiceId=it["Id"], InstanceId="i-3")["Instance"]["Attributes"] == {
        "n": "3"}
    refused("InstanceNotFound", sd.get_instance, ServiceId=it["Id"], InstanceId="none")
    refused("InstanceNotFound", sd.deregister_instance, ServiceId=it["Id"], InstanceId="none")
    refused("CustomHealthNotFound", sd.update_instance_custom_health_status,
            ServiceId=it["Id"], InstanceId="i-1", Status="HEALTHY")
    refused("InvalidInput", sd.list_instances, ServiceId=it["Id"], NextToken="nonsense")
    assert sd.get_service(Id=it["Id"])["Service"]["InstanceCount"] == 5


def test_records_say_what_instances_must_bring(sd, made, aws, name):
    id = private_namespace(sd, made, aws, f"{name}.local")
    records = [{"Type": "A", "TTL": 10}, {"Type": "SRV", "TTL": 20}]
    it = service(sd, made, Name="web", NamespaceId=id,
                 DnsConfig={"RoutingPolicy": "MULTIVALUE", "DnsRecords": records})
    assert it["DnsConfig"]["DnsRecords"] == records and it["Type"] == "DNS_HTTP"
    refused("InvalidInput", sd.register_instance, ServiceId=it["Id"], InstanceId="i",
            Attributes={"AWS_INSTANCE_IPV4": "10.0.0.1"})
    refused("InvalidInput", sd.register_instance, ServiceId=it["Id"], InstanceId="i",
            Attributes={"AWS_INSTANCE_IPV4": "10.0.0.256", "AWS_INSTANCE_PORT": "1"})
    refused("InvalidInput", sd.create_service, Name="x", NamespaceId=id)
    refused("InvalidInput", sd.create_service, Name="x", NamespaceId=id, DnsConfig={
        "RoutingPolicy": "MULTIVALUE", "DnsRecords": [{"Type": "CNAME", "TTL": 1}]})
    answer = sd.update_service(Id=it["Id"], Service={
        "Description": "d", "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 99}]}})
    assert finished(sd, answer, "UPDATE_SERVICE", "SERVICE") == it["Id"]
    now = sd.get_service(Id=it["Id"])["Service"]
    assert now["DnsConfig"]["DnsRecords"] == [{"Type": "A", "TTL": 99}]
    sd.update_service_attributes(ServiceId=it["Id"], Attributes={"k": "v"})
    told = sd.get_service_attributes(ServiceId=it["Id"])["ServiceAttributes"]
    assert told["Attributes"] == {"k": "v"}


def test_the_cli_is_answered(cli1, sd, made, name):
    made[1].append(sd.get_operation(OperationId=cli1(
        "servicediscovery", "create-http-namespace", "--name", name)["OperationId"],
    )["Operation"]["Targets"]["NAMESPACE"])
    assert name in [it["Name"] for it in cli1("servicediscovery", "list-namespaces")["Namespaces"]]
