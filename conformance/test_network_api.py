"""The slice of EC2 that names things for awsvpcConfiguration: one default VPC with a subnet in each
zone and a default security group, all of which exist from the first start."""

import ipaddress

from refusals import refused
from tasks import address, container


DEFAULT = [{"Name": "is-default", "Values": ["true"]}]


def test_there_is_one_default_vpc(aws):
    vpcs = aws.ec2.describe_vpcs(Filters=DEFAULT)["Vpcs"]
    assert len(vpcs) == 1
    assert vpcs[0]["IsDefault"] is True and vpcs[0]["State"] == "available"
    assert vpcs[0]["VpcId"].startswith("vpc-")
    again = aws.ec2.describe_vpcs(VpcIds=[vpcs[0]["VpcId"]])["Vpcs"]
    assert again == vpcs
    refused("InvalidVpcID.NotFound", aws.ec2.describe_vpcs, VpcIds=["vpc-00000000000000000"])


def test_its_subnets_lie_in_all_zones_inside_it(aws):
    vpc = aws.ec2.describe_vpcs(Filters=DEFAULT)["Vpcs"][0]
    mine = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnets = aws.ec2.describe_subnets(Filters=mine)["Subnets"]
    zones = aws.ec2.describe_availability_zones()["AvailabilityZones"]
    assert {it["AvailabilityZone"] for it in subnets} == {it["ZoneName"] for it in zones}
    assert len(zones) == 3
    whole = ipaddress.ip_network(vpc["CidrBlock"])
    ranges = [ipaddress.ip_network(it["CidrBlock"]) for it in subnets]
    assert all(it.subnet_of(whole) for it in ranges)
    assert not any(a.overlaps(b) for a in ranges for b in ranges if a is not b)
    assert all(it["State"] == "available" and it["DefaultForAz"] for it in subnets)
    refused("InvalidSubnetID.NotFound", aws.ec2.describe_subnets,
            SubnetIds=["subnet-00000000000000000"])
    pages = list(aws.ec2.get_paginator("describe_subnets").paginate(
        Filters=mine, PaginationConfig={"PageSize": 5}))
    assert sum(len(page["Subnets"]) for page in pages) == len(subnets)


def test_it_has_a_default_security_group(aws):
    vpc = aws.ec2.describe_vpcs(Filters=DEFAULT)["Vpcs"][0]["VpcId"]
    groups = aws.ec2.describe_security_groups(Filters=[
        {"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}])
    group, = groups["SecurityGroups"]
    assert group["GroupId"].startswith("sg-")
    assert group["IpPermissionsEgress"][0]["IpProtocol"] == "-1"
    own, = group["IpPermissions"]
    assert [it["GroupId"] for it in own["UserIdGroupPairs"]] == [group["GroupId"]]
    refused("InvalidGroup.NotFound", aws.ec2.describe_security_groups,
            GroupIds=["sg-00000000000000000"])


def test_zones_and_regions(aws):
    zones = aws.ec2.describe_availability_zones()["AvailabilityZones"]
    assert {it["State"] for it in zones} == {"available"}
    region = aws.ec2.meta.region_name
    assert all(it["RegionName"] == region for it in zones)
    assert region in {it["RegionName"] for it in aws.ec2.describe_regions()["Regions"]}


def test_a_tasks_interface_is_visible_and_goes(cluster, busybox, aws):
    arn = cluster.start(container(busybox, "sleep", "1000", stopTimeout=2))
    task = cluster.until_running(arn)
    details = {it["name"]: it["value"] for it in task["attachments"][0]["details"]}
    interface_id = details["networkInterfaceId"]
    shown = aws.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface_id])
    interface, = shown["NetworkInterfaces"]
    assert interface["PrivateIpAddress"] == address(task)
    assert interface["SubnetId"] == details["subnetId"]
    assert interface["MacAddress"] == details["macAddress"]
    subnet = aws.ec2.describe_subnets(SubnetIds=[details["subnetId"]])["Subnets"][0]
    assert ipaddress.ip_address(address(task)) in ipaddress.ip_network(subnet["CidrBlock"])
    assert task["availabilityZone"] == subnet["AvailabilityZone"]
    aws.ecs.stop_task(cluster=cluster.name, task=arn)
    cluster.until_stopped(arn)
    refused("InvalidNetworkInterfaceID.NotFound", aws.ec2.describe_network_interfaces,
            NetworkInterfaceIds=[interface_id])
