"""VPCs and what is in them, made, changed and removed: EC2's answers, its refusals word for code,
filters, pages and tags. What walls and routes do to packets is not looked at here."""

import ipaddress
import uuid

import pytest

from conftest import Clients
from refusals import refused
from server import Server
from tasks import container

PUBLIC = ipaddress.ip_network("198.19.0.0/17")


class Network:
    """A VPC of one test; whatever is in it is removed when the test is over."""

    def __init__(self, ec2, name, cidr="10.20.0.0/16"):
        self.ec2 = ec2
        self.name = name
        self.id = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]

    @property
    def mine(self):
        return [{"Name": "vpc-id", "Values": [self.id]}]

    def subnet(self, cidr="10.20.1.0/24", **more):
        made = self.ec2.create_subnet(VpcId=self.id, CidrBlock=cidr, **more)
        return made["Subnet"]["SubnetId"]

    def group(self, name="web"):
        made = self.ec2.create_security_group(VpcId=self.id, GroupName=name, Description="a")
        return made["GroupId"]

    def gateway(self):
        made = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=made, VpcId=self.id)
        return made

    def remove(self):
        ec2 = self.ec2
        if not ec2.describe_vpcs(Filters=self.mine)["Vpcs"]:
            return
        for nat in ec2.describe_nat_gateways(Filters=self.mine)["NatGateways"]:
            if nat["State"] == "available":
                ec2.delete_nat_gateway(NatGatewayId=nat["NatGatewayId"])
        points = ec2.describe_vpc_endpoints(Filters=self.mine)["VpcEndpoints"]
        if points:
            ec2.delete_vpc_endpoints(VpcEndpointIds=[it["VpcEndpointId"] for it in points])
        for eni in ec2.describe_network_interfaces(Filters=self.mine)["NetworkInterfaces"]:
            ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
        for address in ec2.describe_addresses()["Addresses"]:
            if "AssociationId" not in address:
                ec2.release_address(AllocationId=address["AllocationId"])
        attached = [{"Name": "attachment.vpc-id", "Values": [self.id]}]
        for it in ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]:
            gateway = it["InternetGatewayId"]
            ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=self.id)
            ec2.delete_internet_gateway(InternetGatewayId=gateway)
        for subnet in ec2.describe_subnets(Filters=self.mine)["Subnets"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        for table in ec2.describe_route_tables(Filters=self.mine)["RouteTables"]:
            if not any(it["Main"] for it in table["Associations"]):
                ec2.delete_route_table(RouteTableId=table["RouteTableId"])
        for acl in ec2.describe_network_acls(Filters=self.mine)["NetworkAcls"]:
            if not acl["IsDefault"]:
                ec2.delete_network_acl(NetworkAclId=acl["NetworkAclId"])
        groups = ec2.describe_security_groups(Filters=self.mine)["SecurityGroups"]
        for group in groups:
            for call, rules in [
                (ec2.revoke_security_group_ingress, group["IpPermissions"]),
                (ec2.revoke_security_group_egress, group["IpPermissionsEgress"]),
            ]:
                if rules:
                    call(GroupId=group["GroupId"], IpPermissions=rules)
        for group in groups:
            if group["GroupName"] != "default":
                ec2.delete_security_group(GroupId=group["GroupId"])
        ec2.delete_vpc(VpcId=self.id)


@pytest.fixture
def vpc(aws, name):
    network = Network(aws.ec2, name)
    yield network
    network.remove()


def test_a_vpc_comes_with_its_table_acl_and_group(vpc):
    ec2 = vpc.ec2
    table, = ec2.describe_route_tables(Filters=vpc.mine)["RouteTables"]
    assert [it["Main"] for it in table["Associations"]] == [True]
    local, = table["Routes"]
    assert (local["GatewayId"], local["DestinationCidrBlock"]) == ("local", "10.20.0.0/16")
    acl, = ec2.describe_network_acls(Filters=vpc.mine)["NetworkAcls"]
    assert acl["IsDefault"] is True
    numbers = sorted((it["Egress"], it["RuleNumber"], it["RuleAction"]) for it in acl["Entries"])
    assert numbers == [(side, *rest) for side in (False, True)
                       for rest in [(100, "allow"), (32767, "deny")]]
    group, = ec2.describe_security_groups(Filters=vpc.mine)["SecurityGroups"]
    assert group["GroupName"] == "default"
    assert group["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == group["GroupId"]
    assert group["IpPermissionsEgress"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]
    for attribute, name, expected in [
        ("enableDnsSupport", "EnableDnsSupport", True),
        ("enableDnsHostnames", "EnableDnsHostnames", False),
        ("enableNetworkAddressUsageMetrics", "EnableNetworkAddressUsageMetrics", False),
    ]:
        found = ec2.describe_vpc_attribute(VpcId=vpc.id, Attribute=attribute)
        assert found[name]["Value"] is expected
    ec2.modify_vpc_attribute(VpcId=vpc.id, EnableDnsHostnames={"Value": True})
    found = ec2.describe_vpc_attribute(VpcId=vpc.id, Attribute="enableDnsHostnames")
    assert found["EnableDnsHostnames"]["Value"] is True
    for one, value in (("EnableDnsHostnames", False), ("EnableDnsSupport", False)):
        ec2.modify_vpc_attribute(VpcId=vpc.id, **{one: {"Value": value}})
    refused("InvalidParameterCombination", ec2.modify_vpc_attribute, "only while DNS support",
            VpcId=vpc.id, EnableDnsHostnames={"Value": True})
    ec2.delete_vpc(VpcId=vpc.id)
    refused("InvalidVpcID.NotFound", ec2.describe_vpcs, f"The vpc ID '{vpc.id}' does not exist",
            VpcIds=[vpc.id])
    for call, key in [(ec2.describe_route_tables, "RouteTables"),
                      (ec2.describe_network_acls, "NetworkAcls"),
                      (ec2.describe_security_groups, "SecurityGroups")]:
        assert call(Filters=vpc.mine)[key] == []


def test_ranges_of_vpcs_and_subnets(vpc):
    ec2 = vpc.ec2
    for bad in ["10.0.0.0/8", "10.0.0.0/29", "169.254.0.0/16", "198.19.0.0/20"]:
        refused("InvalidVpc.Range", ec2.create_vpc, CidrBlock=bad)
    refused("InvalidParameterValue", ec2.create_vpc, "not a valid CIDR block", CidrBlock="10.0")
    made = ec2.create_subnet(VpcId=vpc.id, CidrBlock="10.20.1.7/24")["Subnet"]
    assert made["CidrBlock"] == "10.20.1.0/24" and made["AvailableIpAddressCount"] == 251
    assert made["MapPublicIpOnLaunch"] is False and made["DefaultForAz"] is False
    refused("InvalidSubnet.Conflict", ec2.create_subnet, "conflicts with another subnet",
            VpcId=vpc.id, CidrBlock="10.20.1.128/25")
    refused("InvalidSubnet.Range", ec2.create_subnet, VpcId=vpc.id, CidrBlock="10.21.0.0/24")
    refused("InvalidSubnet.Range", ec2.create_subnet, VpcId=vpc.id, CidrBlock="10.20.2.0/29")
    refused("InvalidParameterValue", ec2.create_subnet, "availability zones",
            VpcId=vpc.id, CidrBlock="10.20.2.0/24", AvailabilityZone="mars-1a")
    refused("InvalidVpcID.NotFound", ec2.create_subnet,
            VpcId="vpc-00000000000000000", CidrBlock="10.20.2.0/24")
    more = ec2.associate_vpc_cidr_block(VpcId=vpc.id, CidrBlock="10.30.0.0/16")
    association = more["CidrBlockAssociation"]["AssociationId"]
    refused("InvalidVpc.Range", ec2.associate_vpc_cidr_block,
            VpcId=vpc.id, CidrBlock="10.30.128.0/17")
    inside = vpc.subnet("10.30.0.0/24")
    refused("OperationNotPermitted", ec2.disassociate_vpc_cidr_block, AssociationId=association)
    ec2.delete_subnet(SubnetId=inside)
    ec2.disassociate_vpc_cidr_block(AssociationId=association)
    shown, = ec2.describe_vpcs(VpcIds=[vpc.id])["Vpcs"]
    first, = shown["CidrBlockAssociationSet"]
    refused("OperationNotPermitted", ec2.disassociate_vpc_cidr_block, "primary",
            AssociationId=first["AssociationId"])
    ec2.modify_subnet_attribute(SubnetId=made["SubnetId"], MapPublicIpOnLaunch={"Value": True})
    shown, = ec2.describe_subnets(SubnetIds=[made["SubnetId"]])["Subnets"]
    assert shown["MapPublicIpOnLaunch"] is True


def test_nothing_is_deleted_while_it_is_in_use(vpc):
    ec2 = vpc.ec2
    subnet, gateway = vpc.subnet(), vpc.gateway()
    refused("DependencyViolation", ec2.delete_vpc, f"The vpc '{vpc.id}' has dependencies",
            VpcId=vpc.id)
    refused("DependencyViolation", ec2.delete_internet_gateway, InternetGatewayId=gateway)
    eni = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
    refused("DependencyViolation", ec2.delete_subnet, f"The subnet '{subnet}' has dependencies",
            SubnetId=subnet)
    ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
    table = ec2.create_route_table(VpcId=vpc.id)["RouteTable"]["RouteTableId"]
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    refused("DependencyViolation", ec2.delete_route_table, RouteTableId=table)
    ec2.disassociate_route_table(AssociationId=association)
    refused("InvalidAssociationID.NotFound", ec2.disassociate_route_table,
            AssociationId=association)
    ec2.delete_route_table(RouteTableId=table)
    refused("InvalidRouteTableID.NotFound", ec2.describe_route_tables, RouteTableIds=[table])
    main, = ec2.describe_route_tables(Filters=vpc.mine)["RouteTables"]
    refused("DependencyViolation", ec2.delete_route_table, RouteTableId=main["RouteTableId"])
    default, = ec2.describe_security_groups(Filters=vpc.mine)["SecurityGroups"]
    refused("CannotDelete", ec2.delete_security_group, GroupId=default["GroupId"])
    ec2.delete_subnet(SubnetId=subnet)
    refused("InvalidSubnetID.NotFound", ec2.delete_subnet, SubnetId=subnet)


def test_internet_gateways(vpc):
    ec2 = vpc.ec2
    gateway = vpc.gateway()
    shown, = ec2.describe_internet_gateways(InternetGatewayIds=[gateway])["InternetGateways"]
    assert shown["Attachments"] == [{"State": "available", "VpcId": vpc.id}]
    refused("Resource.AlreadyAssociated", ec2.attach_internet_gateway,
            InternetGatewayId=gateway, VpcId=vpc.id)
    second = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    refused("InvalidParameterValue", ec2.attach_internet_gateway,
            "already has an internet gateway attached", InternetGatewayId=second, VpcId=vpc.id)
    refused("Gateway.NotAttached", ec2.detach_internet_gateway,
            InternetGatewayId=second, VpcId=vpc.id)
    ec2.delete_internet_gateway(InternetGatewayId=second)
    refused("InvalidInternetGatewayID.NotFound", ec2.delete_internet_gateway,
            InternetGatewayId=second)


def routes(ec2, table):
    shown, = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    return {it.get("DestinationCidrBlock") or it["DestinationPrefixListId"]: it
            for it in shown["Routes"]}


def test_routes_and_what_becomes_of_their_targets(vpc):
    ec2 = vpc.ec2
    table = ec2.create_route_table(VpcId=vpc.id)["RouteTable"]["RouteTableId"]
    everywhere = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}
    loose = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    refused("InvalidParameterValue", ec2.create_route, "belong to different networks",
            GatewayId=loose, **everywhere)
    ec2.delete_internet_gateway(InternetGatewayId=loose)
    refused("InvalidGatewayID.NotFound", ec2.create_route, GatewayId=loose, **everywhere)
    gateway = vpc.gateway()
    ec2.create_route(GatewayId=gateway, **everywhere)
    route = routes(ec2, table)["0.0.0.0/0"]
    assert (route["GatewayId"], route["State"], route["Origin"]) == (
        gateway, "active", "CreateRoute")
    eni = ec2.create_network_interface(SubnetId=vpc.subnet())["NetworkInterface"]
    eni = eni["NetworkInterfaceId"]
    refused("RouteAlreadyExists", ec2.create_route, "0.0.0.0/0", NetworkInterfaceId=eni,
            **everywhere)
    ec2.replace_route(NetworkInterfaceId=eni, **everywhere)
    assert routes(ec2, table)["0.0.0.0/0"]["NetworkInterfaceId"] == eni
    ec2.delete_network_interface(NetworkInterfaceId=eni)
    assert routes(ec2, table)["0.0.0.0/0"]["State"] == "blackhole"
    refused("RouteAlreadyExists", ec2.create_route, RouteTableId=table, GatewayId=gateway,
            DestinationCidrBlock="10.20.0.0/16")
    refused("InvalidRoute.NotFound", ec2.delete_route, RouteTableId=table,
            DestinationCidrBlock="1.0.0.0/8")
    ec2.delete_route(**everywhere)
    refused("InvalidRoute.NotFound", ec2.replace_route, GatewayId=gateway, **everywhere)
    main, = ec2.describe_route_tables(Filters=[
        *vpc.mine, {"Name": "association.main", "Values": ["true"]}])["RouteTables"]
    old = main["Associations"][0]["RouteTableAssociationId"]
    ec2.replace_route_table_association(AssociationId=old, RouteTableId=table)
    main, = ec2.describe_route_tables(Filters=[
        *vpc.mine, {"Name": "association.main", "Values": ["true"]}])["RouteTables"]
    assert main["RouteTableId"] == table


def test_addresses_and_nat_gateways(vpc):
    ec2 = vpc.ec2
    subnet = vpc.subnet()
    address = ec2.allocate_address(Domain="vpc")
    assert ipaddress.ip_address(address["PublicIp"]) in PUBLIC
    allocation = address["AllocationId"]
    asked = {"SubnetId": subnet, "AllocationId": allocation}
    refused("Gateway.NotAttached", ec2.create_nat_gateway, **asked)
    vpc.gateway()
    token = str(uuid.uuid4())
    made = ec2.create_nat_gateway(ClientToken=token, **asked)["NatGateway"]
    again = ec2.create_nat_gateway(ClientToken=token, **asked)["NatGateway"]
    nat = made["NatGatewayId"]
    assert again["NatGatewayId"] == nat and made["State"] == "pending"
    refused("IdempotentParameterMismatch", ec2.create_nat_gateway, ClientToken=token,
            SubnetId=subnet, AllocationId="eipalloc-00000000000000000")
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat])
    shown, = ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"]
    own, = shown["NatGatewayAddresses"]
    assert own["PublicIp"] == address["PublicIp"]
    eni, = ec2.describe_network_interfaces(
        NetworkInterfaceIds=[own["NetworkInterfaceId"]])["NetworkInterfaces"]
    assert eni["InterfaceType"] == "nat_gateway" and eni["PrivateIpAddress"] == own["PrivateIp"]
    assert eni["Association"]["PublicIp"] == address["PublicIp"]
    held, = ec2.describe_addresses(AllocationIds=[allocation])["Addresses"]
    assert held["NetworkInterfaceId"] == own["NetworkInterfaceId"]
    refused("InvalidIPAddress.InUse", ec2.release_address, AllocationId=allocation)
    refused("AuthFailure", ec2.disassociate_address, AssociationId=held["AssociationId"])
    refused("Resource.AlreadyAssociated", ec2.create_nat_gateway, **asked)
    ec2.delete_nat_gateway(NatGatewayId=nat)
    ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[nat])
    refused("InvalidNetworkInterfaceID.NotFound", ec2.describe_network_interfaces,
            NetworkInterfaceIds=[own["NetworkInterfaceId"]])
    refused("InvalidAssociationID.NotFound", ec2.disassociate_address,
            AssociationId=held["AssociationId"])
    ec2.release_address(AllocationId=allocation)
    refused("InvalidAllocationID.NotFound", ec2.describe_addresses, AllocationIds=[allocation])
    refused("NatGatewayNotFound", ec2.describe_nat_gateways, NatGatewayIds=["nat-0000000000000"])


def test_an_address_moves_between_interfaces(vpc):
    ec2 = vpc.ec2
    subnet, _ = vpc.subnet(), vpc.gateway()
    first, second = (
        ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
        for _ in range(2))
    address = ec2.allocate_address()
    one = ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=first)
    refused("Resource.AlreadyAssociated", ec2.associate_address, AllowReassociation=False,
            AllocationId=address["AllocationId"], NetworkInterfaceId=second)
    two = ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=second)
    assert one["AssociationId"] != two["AssociationId"]
    with_it = [{"Name": "association.public-ip", "Values": [address["PublicIp"]]}]
    found, = ec2.describe_network_interfaces(Filters=with_it)["NetworkInterfaces"]
    assert found["NetworkInterfaceId"] == second
    refused("DependencyViolation", ec2.detach_internet_gateway, "mapped public address",
            VpcId=vpc.id, InternetGatewayId=ec2.describe_internet_gateways(Filters=[
                {"Name": "attachment.vpc-id", "Values": [vpc.id]}
            ])["InternetGateways"][0]["InternetGatewayId"])
    ec2.delete_network_interface(NetworkInterfaceId=second)
    shown, = ec2.describe_addresses(PublicIps=[address["PublicIp"]])["Addresses"]
    assert "AssociationId" not in shown
    ec2.release_address(AllocationId=address["AllocationId"])


def http(port=80, **peer):
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **peer}


def test_security_groups_and_their_rules(vpc):
    ec2 = vpc.ec2
    group = vpc.group()
    refused("InvalidGroup.Duplicate", ec2.create_security_group, "already exists for VPC",
            VpcId=vpc.id, GroupName="web", Description="a")
    for bad in ["default", "sg-web"]:
        refused("InvalidParameterValue", ec2.create_security_group,
                VpcId=vpc.id, GroupName=bad, Description="a")
    ranges = [{"CidrIp": "10.0.0.0/8", "Description": "inside"}, {"CidrIp": "1.2.3.4/32"}]
    added = ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[http(IpRanges=ranges)],
        TagSpecifications=[{"ResourceType": "security-group-rule",
                            "Tags": [{"Key": "a", "Value": "b"}]}])["SecurityGroupRules"]
    assert [it["CidrIpv4"] for it in added] == ["10.0.0.0/8", "1.2.3.4/32"]
    assert all(it["SecurityGroupRuleId"].startswith("sgr-") for it in added)
    assert added[0]["Tags"] == [{"Key": "a", "Value": "b"}]
    refused("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress,
            "peer: 1.2.3.4/32, TCP, from port: 80, to port: 80, ALLOW", GroupId=group,
            IpPermissions=[http(IpRanges=[{"CidrIp": "1.2.3.4/32"}])])
    refused("InvalidParameterValue", ec2.authorize_security_group_ingress, GroupId=group,
            IpPermissions=[http(70000, IpRanges=[{"CidrIp": "1.2.3.4/32"}])])
    refused("InvalidPermission.NotFound", ec2.revoke_security_group_ingress, GroupId=group,
            IpPermissions=[http(81, IpRanges=[{"CidrIp": "1.2.3.4/32"}])])
    refused("InvalidGroup.NotFound", ec2.authorize_security_group_ingress,
            "The security group 'sg-00000000000000000' does not exist",
            GroupId="sg-00000000000000000", IpPermissions=[http(IpRanges=ranges)])
    other = vpc.group("other")
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]}])
    refused("DependencyViolation", ec2.delete_security_group, f"resource {other} has a dependent",
            GroupId=other)
    rule = added[0]["SecurityGroupRuleId"]
    ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[{
        "SecurityGroupRuleId": rule, "SecurityGroupRule": {
            "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv4": "10.0.0.0/8"}}])
    shown, = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"]
    assert shown["FromPort"] == 443 and "Description" not in shown
    ec2.update_security_group_rule_descriptions_ingress(GroupId=group, IpPermissions=[
        http(443, IpRanges=[{"CidrIp": "10.0.0.0/8", "Description": "new"}])])
    shown, = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"]
    assert shown["Description"] == "new"
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[rule])
    refused("InvalidSecurityGroupRuleId.NotFound", ec2.describe_security_group_rules,
            SecurityGroupRuleIds=[rule])
    shown, = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert [it["CidrIp"] for it in shown["IpPermissions"][0]["IpRanges"]] == ["1.2.3.4/32"]
    refs = ec2.describe_security_group_references(GroupId=[group])
    assert refs["SecurityGroupReferenceSet"] == []
    found = ec2.get_security_groups_for_vpc(VpcId=vpc.id)["SecurityGroupForVpcs"]
    assert {it["GroupName"] for it in found} == {"default", "web", "other"}


def test_network_acls(vpc):
    ec2 = vpc.ec2
    subnet = vpc.subnet()
    default, = ec2.describe_network_acls(Filters=vpc.mine)["NetworkAcls"]
    refused("InvalidParameterValue", ec2.delete_network_acl, NetworkAclId=default["NetworkAclId"])
    association, = default["Associations"]
    assert association["SubnetId"] == subnet
    acl = ec2.create_network_acl(VpcId=vpc.id)["NetworkAcl"]["NetworkAclId"]
    entry = {"NetworkAclId": acl, "RuleNumber": 7, "Egress": False, "Protocol": "6",
             "RuleAction": "allow", "CidrBlock": "10.0.0.0/8",
             "PortRange": {"From": 80, "To": 81}}
    ec2.create_network_acl_entry(**entry)
    refused("NetworkAclEntryAlreadyExists", ec2.create_network_acl_entry, **entry)
    ec2.replace_network_acl_entry(**{**entry, "RuleAction": "deny"})
    refused("InvalidNetworkAclEntry.NotFound", ec2.replace_network_acl_entry,
            **{**entry, "Egress": True})
    shown, = ec2.describe_network_acls(NetworkAclIds=[acl])["NetworkAcls"]
    mine, = [it for it in shown["Entries"] if it["RuleNumber"] == 7]
    assert (mine["RuleAction"], mine["PortRange"]) == ("deny", {"From": 80, "To": 81})
    new = ec2.replace_network_acl_association(
        AssociationId=association["NetworkAclAssociationId"], NetworkAclId=acl)
    refused("InvalidAssociationID.NotFound", ec2.replace_network_acl_association,
            AssociationId=association["NetworkAclAssociationId"], NetworkAclId=acl)
    refused("DependencyViolation", ec2.delete_network_acl, NetworkAclId=acl)
    ec2.replace_network_acl_association(
        AssociationId=new["NewAssociationId"], NetworkAclId=default["NetworkAclId"])
    ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=7, Egress=False)
    refused("InvalidNetworkAclEntry.NotFound", ec2.delete_network_acl_entry,
            NetworkAclId=acl, RuleNumber=7, Egress=False)
    ec2.delete_network_acl(NetworkAclId=acl)
    refused("InvalidNetworkAclID.NotFound", ec2.describe_network_acls, NetworkAclIds=[acl])


def test_users_own_interfaces(vpc):
    ec2 = vpc.ec2
    subnet, group = vpc.subnet(), vpc.group()
    made = ec2.create_network_interface(
        SubnetId=subnet, Groups=[group], PrivateIpAddress="10.20.1.9", Description="mine",
        SecondaryPrivateIpAddressCount=2)["NetworkInterface"]
    eni = made["NetworkInterfaceId"]
    assert made["PrivateIpAddress"] == "10.20.1.9" and made["Status"] == "available"
    assert len(made["PrivateIpAddresses"]) == 3
    refused("InvalidIPAddress.InUse", ec2.create_network_interface, SubnetId=subnet,
            PrivateIpAddress="10.20.1.9")
    refused("InvalidParameterValue", ec2.create_network_interface, SubnetId=subnet,
            PrivateIpAddress="10.99.0.9")
    refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
    ec2.modify_network_interface_attribute(
        NetworkInterfaceId=eni, Description={"Value": "ours"})
    found = ec2.describe_network_interface_attribute(
        NetworkInterfaceId=eni, Attribute="description")
    assert found["Description"]["Value"] == "ours"
    refused("InvalidInstanceID.NotFound", ec2.attach_network_interface, NetworkInterfaceId=eni,
            InstanceId="i-00000000000000000", DeviceIndex=1)
    shown, = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]
    assert shown["AvailableIpAddressCount"] == 248
    ec2.get_waiter("network_interface_available").wait(NetworkInterfaceIds=[eni])
    ec2.delete_network_interface(NetworkInterfaceId=eni)
    refused("InvalidNetworkInterfaceID.NotFound", ec2.delete_network_interface,
            NetworkInterfaceId=eni)
    shown, = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]
    assert shown["AvailableIpAddressCount"] == 251


def test_prefix_lists(vpc):
    ec2 = vpc.ec2
    made = ec2.create_managed_prefix_list(
        PrefixListName="offices", AddressFamily="IPv4", MaxEntries=3,
        Entries=[{"Cidr": "10.1.0.0/16", "Description": "one"}])["PrefixList"]
    plist = made["PrefixListId"]
    try:
        assert made["Version"] == 1
        changed = ec2.modify_managed_prefix_list(
            PrefixListId=plist, CurrentVersion=1, AddEntries=[{"Cidr": "10.2.0.0/16"}],
            RemoveEntries=[{"Cidr": "10.1.0.0/16"}])["PrefixList"]
        assert changed["Version"] == 2
        refused("PrefixListVersionMismatch", ec2.modify_managed_prefix_list, PrefixListId=plist,
                CurrentVersion=1, AddEntries=[{"Cidr": "10.3.0.0/16"}])
        entries = ec2.get_managed_prefix_list_entries(PrefixListId=plist)["Entries"]
        assert entries == [{"Cidr": "10.2.0.0/16"}]
        group = vpc.group()
        ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[http(PrefixListIds=[{"PrefixListId": plist}])])
        refused("DependencyViolation", ec2.delete_managed_prefix_list, PrefixListId=plist)
        ec2.revoke_security_group_ingress(
            GroupId=group, IpPermissions=[http(PrefixListIds=[{"PrefixListId": plist}])])
    finally:
        ec2.delete_managed_prefix_list(PrefixListId=plist)
    refused("InvalidPrefixListID.NotFound", ec2.delete_managed_prefix_list, PrefixListId=plist)
    region = ec2.meta.region_name
    names = {it["PrefixListName"] for it in ec2.describe_prefix_lists()["PrefixLists"]}
    assert names == {f"com.amazonaws.{region}.{service}" for service in ("dynamodb", "s3")}


def test_endpoints(vpc):
    ec2 = vpc.ec2
    region = ec2.meta.region_name
    names = ec2.describe_vpc_endpoint_services()["ServiceNames"]
    assert f"com.amazonaws.{region}.ecr.dkr" in names
    table = ec2.create_route_table(VpcId=vpc.id)["RouteTable"]["RouteTableId"]
    s3 = ec2.create_vpc_endpoint(
        VpcId=vpc.id, ServiceName=f"com.amazonaws.{region}.s3", RouteTableIds=[table])
    s3 = s3["VpcEndpoint"]["VpcEndpointId"]
    plist, = ec2.describe_prefix_lists(Filters=[
        {"Name": "prefix-list-name", "Values": ["*.s3"]}])["PrefixLists"]
    assert routes(ec2, table)[plist["PrefixListId"]]["GatewayId"] == s3
    subnet = vpc.subnet()
    logs = ec2.create_vpc_endpoint(
        VpcId=vpc.id, ServiceName=f"com.amazonaws.{region}.logs", VpcEndpointType="Interface",
        SubnetIds=[subnet])["VpcEndpoint"]
    eni, = ec2.describe_network_interfaces(Filters=vpc.mine)["NetworkInterfaces"]
    assert logs["NetworkInterfaceIds"] == [eni["NetworkInterfaceId"]]
    assert eni["InterfaceType"] == "vpc_endpoint" and eni["RequesterManaged"] is True
    refused("DependencyViolation", ec2.delete_subnet, SubnetId=subnet)
    refused("InvalidServiceName", ec2.create_vpc_endpoint, VpcId=vpc.id,
            ServiceName=f"com.amazonaws.{region}.mars")
    gone = ec2.delete_vpc_endpoints(
        VpcEndpointIds=[s3, logs["VpcEndpointId"], "vpce-00000000000000000"])
    failed, = gone["Unsuccessful"]
    assert failed["Error"]["Code"] == "InvalidVpcEndpointId.NotFound"
    assert list(routes(ec2, table)) == ["10.20.0.0/16"]
    assert ec2.describe_network_interfaces(Filters=vpc.mine)["NetworkInterfaces"] == []
    refused("InvalidVpcEndpointId.NotFound", ec2.describe_vpc_endpoints, VpcEndpointIds=[s3])


def test_dhcp_options(vpc):
    ec2 = vpc.ec2
    made = ec2.create_dhcp_options(DhcpConfigurations=[
        {"Key": "domain-name", "Values": ["example.org"]},
        {"Key": "domain-name-servers", "Values": ["10.20.0.2", "10.20.0.3"]}])
    options = made["DhcpOptions"]["DhcpOptionsId"]
    ec2.associate_dhcp_options(DhcpOptionsId=options, VpcId=vpc.id)
    refused("DependencyViolation", ec2.delete_dhcp_options, DhcpOptionsId=options)
    ec2.associate_dhcp_options(DhcpOptionsId="default", VpcId=vpc.id)
    assert ec2.describe_vpcs(VpcIds=[vpc.id])["Vpcs"][0]["DhcpOptionsId"] == "default"
    ec2.delete_dhcp_options(DhcpOptionsId=options)
    refused("InvalidDhcpOptionID.NotFound", ec2.describe_dhcp_options, DhcpOptionsIds=[options])
    refused("InvalidParameterValue", ec2.create_dhcp_options,
            DhcpConfigurations=[{"Key": "colour", "Values": ["red"]}])
    for key, value in (("domain-name-servers", "dns.example"), ("domain-name", "a\nb"),
                       ("ntp-servers", "time.example")):
        refused("InvalidParameterValue", ec2.create_dhcp_options, key,
                DhcpConfigurations=[{"Key": key, "Values": [value]}])


def test_tags(vpc):
    ec2 = vpc.ec2
    subnet = ec2.create_subnet(VpcId=vpc.id, CidrBlock="10.20.1.0/24", TagSpecifications=[
        {"ResourceType": "subnet", "Tags": [{"Key": "Name", "Value": vpc.name}]}])["Subnet"]
    assert subnet["Tags"] == [{"Key": "Name", "Value": vpc.name}]
    refused("InvalidParameterValue", ec2.create_subnet, "taggable", VpcId=vpc.id,
            CidrBlock="10.20.2.0/24", TagSpecifications=[
                {"ResourceType": "vpc", "Tags": [{"Key": "a", "Value": "b"}]}])
    both = [vpc.id, subnet["SubnetId"]]
    ec2.create_tags(Resources=both, Tags=[{"Key": "team", "Value": vpc.name}])
    of_team = [{"Name": "tag:team", "Values": [vpc.name]}]
    assert [it["VpcId"] for it in ec2.describe_vpcs(Filters=of_team)["Vpcs"]] == [vpc.id]
    refused("InvalidID", ec2.create_tags, Resources=["vpc-0000", "nonsense"],
            Tags=[{"Key": "a", "Value": "b"}])
    refused("InvalidParameterValue", ec2.create_tags, "aws:", Resources=both,
            Tags=[{"Key": "aws:a", "Value": "b"}])
    mine = [{"Name": "value", "Values": [vpc.name]}]
    pages = list(ec2.get_paginator("describe_tags").paginate(
        Filters=mine, PaginationConfig={"PageSize": 5}))
    assert sorted(it["ResourceType"] for page in pages for it in page["Tags"]) == [
        "subnet", "subnet", "vpc"]
    ec2.delete_tags(Resources=both, Tags=[{"Key": "team", "Value": "another"}])
    assert len(ec2.describe_tags(Filters=mine)["Tags"]) == 3
    ec2.delete_tags(Resources=both, Tags=[{"Key": "team"}])
    assert len(ec2.describe_tags(Filters=mine)["Tags"]) == 1


def test_dry_runs_change_nothing(vpc):
    ec2 = vpc.ec2
    refused("DryRunOperation", ec2.create_subnet, VpcId=vpc.id, CidrBlock="10.20.1.0/24",
            DryRun=True)
    assert ec2.describe_subnets(Filters=vpc.mine)["Subnets"] == []
    refused("DryRunOperation", ec2.delete_vpc, VpcId=vpc.id, DryRun=True)
    assert ec2.describe_vpcs(VpcIds=[vpc.id])["Vpcs"]


# The smallest page each call takes, by EC2's model.
PAGED = [
    ("describe_vpcs", "Vpcs", 5),
    ("describe_subnets", "Subnets", 5),
    ("describe_route_tables", "RouteTables", 5),
    ("describe_internet_gateways", "InternetGateways", 5),
    ("describe_nat_gateways", "NatGateways", 5),
    ("describe_network_acls", "NetworkAcls", 5),
    ("describe_network_interfaces", "NetworkInterfaces", 5),
    ("describe_security_groups", "SecurityGroups", 5),
    ("describe_security_group_rules", "SecurityGroupRules", 5),
    ("describe_dhcp_options", "DhcpOptions", 5),
    ("describe_managed_prefix_lists", "PrefixLists", 1),
    ("describe_prefix_lists", "PrefixLists", 1),
    ("describe_vpc_endpoints", "VpcEndpoints", 1),
    ("describe_addresses_attribute", "Addresses", 1),
]


@pytest.mark.parametrize("operation,key,size", PAGED)
def test_pages_join_to_the_whole(aws, operation, key, size):
    whole = getattr(aws.ec2, operation)()[key]
    paginator = aws.ec2.get_paginator(operation)
    pages = list(paginator.paginate(PaginationConfig={"PageSize": size}))
    assert all(len(page[key]) <= size for page in pages)
    found = [it for page in pages for it in page[key]]
    order = lambda items: sorted(map(repr, items))  # noqa: E731
    assert order(found) == order(whole)


@pytest.fixture
def alone(tmp_path):
    """A Neargate of this test's own, whose default VPC may be taken apart."""
    server = Server(tmp_path / "data").start()
    try:
        yield server
        server.stop()
    finally:
        if server.is_running():
            server.kill()


def test_the_default_vpc_can_be_made_again(alone):
    ec2 = Clients(alone.environment()).ec2
    refused("DefaultVpcAlreadyExists", ec2.create_default_vpc)
    zone = ec2.describe_availability_zones()["AvailabilityZones"][2]["ZoneName"]
    refused("DefaultSubnetAlreadyExistsInAvailabilityZone", ec2.create_default_subnet,
            AvailabilityZone=zone)
    subnet, = ec2.describe_subnets(Filters=[
        {"Name": "availability-zone", "Values": [zone]}])["Subnets"]
    ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    made = ec2.create_default_subnet(AvailabilityZone=zone)["Subnet"]
    assert made["CidrBlock"] == subnet["CidrBlock"] and made["DefaultForAz"] is True
    assert made["MapPublicIpOnLaunch"] is True
    default, = ec2.describe_vpcs()["Vpcs"]
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    gateway, = ec2.describe_internet_gateways()["InternetGateways"]
    gateway = gateway["InternetGatewayId"]
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=default["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.delete_vpc(VpcId=default["VpcId"])
    refused("DefaultVpcDoesNotExist", ec2.create_default_subnet, AvailabilityZone=zone)
    alone.stop()
    alone.start()
    assert ec2.describe_vpcs()["Vpcs"] == []
    made = ec2.create_default_vpc()["Vpc"]
    assert made["IsDefault"] is True and made["CidrBlock"] == "172.31.0.0/16"
    assert len(ec2.describe_subnets()["Subnets"]) == 3
    table, = ec2.describe_route_tables()["RouteTables"]
    assert {it["State"] for it in table["Routes"]} == {"active"}


def test_a_tasks_public_address_is_shown_and_goes(cluster, busybox, aws, network):
    wanted = {"awsvpcConfiguration": {**network["awsvpcConfiguration"],
                                      "assignPublicIp": "ENABLED"}}
    definition = cluster.register(container(busybox, "sleep", "1000", stopTimeout=2))
    ran = cluster.run(definition, networkConfiguration=wanted)
    arn = ran["tasks"][0]["taskArn"]
    task = cluster.until_running(arn)
    details = {it["name"]: it["value"] for it in task["attachments"][0]["details"]}
    eni, = aws.ec2.describe_network_interfaces(
        NetworkInterfaceIds=[details["networkInterfaceId"]])["NetworkInterfaces"]
    public = eni["Association"]["PublicIp"]
    assert ipaddress.ip_address(public) in PUBLIC
    assert eni["Association"]["PublicDnsName"].startswith("ec2-198-19-")
    assert eni["RequesterManaged"] is True and eni["Status"] == "in-use"
    refused("InvalidParameterValue", aws.ec2.delete_network_interface, "currently in use",
            NetworkInterfaceId=eni["NetworkInterfaceId"])
    refused("DependencyViolation", aws.ec2.delete_subnet, SubnetId=eni["SubnetId"])
    aws.ecs.stop_task(cluster=cluster.name, task=arn)
    cluster.until_stopped(arn)
    refused("InvalidNetworkInterfaceID.NotFound", aws.ec2.describe_network_interfaces,
            NetworkInterfaceIds=[eni["NetworkInterfaceId"]])


def test_a_tasks_network_must_be_there_and_of_one_vpc(vpc, cluster, busybox, aws, network):
    ours = network["awsvpcConfiguration"]
    foreign = vpc.subnet()

    definition = cluster.register(container(busybox, "true"))

    def refuse(saying, **configuration):
        refused("InvalidParameterException", cluster.run, saying, task_definition=definition,
                networkConfiguration={"awsvpcConfiguration": configuration})

    refuse("All subnets must belong to the same VPC", subnets=[ours["subnets"][0], foreign])
    refuse("InvalidSubnetID.NotFound", subnets=["subnet-00000000000000000"])
    refuse("InvalidGroup.NotFound", subnets=[foreign], securityGroups=["sg-00000000000000000"])
    refuse("does not appear to belong", subnets=[foreign],
           securityGroups=ours["securityGroups"])
