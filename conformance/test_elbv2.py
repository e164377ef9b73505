"""The ELBv2 API through boto3 and the aws CLI: what Terraform and scripts make, read and switch on.
What a load balancer does with requests is in test_balancer_*.py."""

import pytest
from botocore.exceptions import WaiterError

from refusals import refused
from waiting import until

SLOW = {"Delay": 0.2, "MaxAttempts": 100}


class Made:
    """Makes load balancers' parts in the default VPC and unmakes them in the end."""

    def __init__(self, aws, network, name):
        self.elb, self.ec2, self.name = aws.elbv2, aws.ec2, name
        self.subnets = network["awsvpcConfiguration"]["subnets"][:2]
        self.groups = network["awsvpcConfiguration"]["securityGroups"]
        told = self.ec2.describe_subnets(SubnetIds=self.subnets)["Subnets"]
        self.vpc, self.ranges = told[0]["VpcId"], [it["CidrBlock"] for it in told]
        self.balancers, self.target_groups = [], []

    def balancer(self, suffix="", **more):
        more = {"Subnets": self.subnets, **more}
        made = self.elb.create_load_balancer(Name=self.name + suffix, **more)["LoadBalancers"][0]
        self.balancers.append(made["LoadBalancerArn"])
        return made

    def group(self, suffix="", **more):
        more = {"Protocol": "HTTP", "Port": 80, "TargetType": "ip", "VpcId": self.vpc, **more}
        made = self.elb.create_target_group(Name=self.name + suffix, **more)["TargetGroups"][0]
        self.target_groups.append(made["TargetGroupArn"])
        return made

    def listener(self, balancer, *actions, **more):
        actions = actions or [fixed("404")]
        more = {"Protocol": "HTTP", "Port": 80, **more}
        made = self.elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"], DefaultActions=list(actions), **more)
        return made["Listeners"][0]

    def rule(self, listener, priority, *conditions, actions=None, **more):
        return self.elb.create_rule(
            ListenerArn=listener["ListenerArn"], Priority=priority, Conditions=list(conditions),
            Actions=actions or [fixed("200")], **more)["Rules"][0]

    def interfaces(self, balancer):
        path = balancer["LoadBalancerArn"].split("loadbalancer/")[1]
        wanted = [{"Name": "description", "Values": [f"ELB {path}"]}]
        return self.ec2.describe_network_interfaces(Filters=wanted)["NetworkInterfaces"]

    def unmake(self):
        for arn in self.balancers:
            self.elb.delete_load_balancer(LoadBalancerArn=arn)
        for arn in self.target_groups:
            self.elb.delete_target_group(TargetGroupArn=arn)


@pytest.fixture
def made(aws, network, name):
    made = Made(aws, network, name)
    yield made
    made.unmake()


def forward(group, **more):
    return {"Type": "forward", "TargetGroupArn": group["TargetGroupArn"], **more}


def fixed(status, **more):
    return {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": status, **more}}


def path(*values):
    return {"Field": "path-pattern", "Values": list(values)}


def attributes(answer):
    return {it["Key"]: it["Value"] for it in answer["Attributes"]}


def test_a_load_balancer_from_its_making_to_its_end(made, aws, name, account):
    elb = made.elb
    balancer = made.balancer(Tags=[{"Key": "a", "Value": "b"}])
    assert balancer["State"]["Code"] == "provisioning"
    arn = balancer["LoadBalancerArn"]
    assert f":{account}:loadbalancer/app/{name}/" in arn
    assert balancer["Scheme"] == "internet-facing" and balancer["Type"] == "application"
    assert balancer["IpAddressType"] == "ipv4" and balancer["VpcId"] == made.vpc
    assert balancer["SecurityGroups"] == made.groups
    assert balancer["CanonicalHostedZoneId"] and balancer["CreatedTime"]
    assert balancer["DNSName"].startswith(f"{name}-")
    assert balancer["DNSName"].endswith(".elb.amazonaws.com")
    zones = {it["SubnetId"] for it in balancer["AvailabilityZones"]}
    assert zones == set(made.subnets)
    for waiter in ("load_balancer_exists", "load_balancer_available"):
        elb.get_waiter(waiter).wait(LoadBalancerArns=[arn], WaiterConfig=SLOW)
    [told] = elb.describe_load_balancers(Names=[name])["LoadBalancers"]
    assert told["State"]["Code"] == "active"
    assert elb.describe_tags(ResourceArns=[arn])["TagDescriptions"] == [
        {"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "b"}]}]
    assert elb.describe_capacity_reservation(LoadBalancerArn=arn)["CapacityReservationState"] == []
    interfaces = made.interfaces(balancer)
    assert {it["SubnetId"] for it in interfaces} == set(made.subnets)
    for it in interfaces:
        assert it["RequesterManaged"] and it["RequesterId"] == "amazon-elb"
        assert it["Status"] == "in-use" and it["InterfaceType"] == "interface"
        assert it["Attachment"]["InstanceOwnerId"] == "amazon-elb"
        assert it["Association"]["PublicIp"]
        refused("InvalidParameterValue", made.ec2.delete_network_interface,
                NetworkInterfaceId=it["NetworkInterfaceId"])
    elb.delete_load_balancer(LoadBalancerArn=arn)
    elb.get_waiter("load_balancers_deleted").wait(LoadBalancerArns=[arn], WaiterConfig=SLOW)
    elb.delete_load_balancer(LoadBalancerArn=arn)
    assert made.interfaces(balancer) == []
    refused("LoadBalancerNotFound", elb.describe_load_balancers, LoadBalancerArns=[arn],
            saying="One or more load balancers not found")
    refused("LoadBalancerNotFound", elb.describe_load_balancers, Names=[name],
            saying=f"Load balancers '[{name}]' not found")


def test_the_same_again_is_the_same(made, name):
    balancer = made.balancer(Scheme="internal")
    again = made.balancer(Scheme="internal")
    assert again["LoadBalancerArn"] == balancer["LoadBalancerArn"]
    assert again["DNSName"].startswith(f"internal-{name}-")
    refused("DuplicateLoadBalancerName", made.balancer)
    assert "Association" not in made.interfaces(balancer)[0]
    group = made.group()
    assert made.group()["TargetGroupArn"] == group["TargetGroupArn"]
    refused("DuplicateTargetGroupName", made.group, Port=81)
    refused("DuplicateTargetGroupName", made.group, HealthCheckPath="/up")
    listener = made.listener(balancer, forward(group))
    assert made.listener(balancer, forward(group))["ListenerArn"] == listener["ListenerArn"]
    refused("DuplicateListener", lambda: made.listener(balancer, fixed("200")),
            saying="A listener already exists on this port for this load balancer")


def test_where_a_load_balancer_stands_is_checked(made):
    refused("ValidationError", made.balancer, Subnets=made.subnets[:1],
            saying="At least two subnets in two different Availability Zones must be specified")
    refused("SubnetNotFound", made.balancer, Subnets=["subnet-0123456789abcdef0", made.subnets[0]])
    refused("InvalidConfigurationRequest", made.balancer, SecurityGroups=["sg-0123456789abcdef0"],
            saying="One or more security groups are invalid")
    refused("ValidationError", made.balancer, IpAddressType="dualstack", saying="IPv6")
    refused("ValidationError", made.balancer, suffix="-", saying="cannot begin or end")
    refused("ValidationError", made.balancer, suffix="-" + "x" * 32, saying="32")
    vpc = made.ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnets = []
    try:
        zones = made.ec2.describe_availability_zones()["AvailabilityZones"][:2]
        for number, zone in enumerate(zones):
            made_subnet = made.ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.77.{number}.0/24", AvailabilityZone=zone["ZoneName"])
            subnets.append(made_subnet["Subnet"]["SubnetId"])
        refused("InvalidSubnet", made.balancer, Subnets=subnets,
                saying=f"VPC {vpc} has no internet gateway")
        refused("InvalidConfigurationRequest", made.balancer,
                Subnets=[subnets[0], made.subnets[1]], saying="same VPC")
        made.balancer(Subnets=subnets, Scheme="internal")
        refused("DependencyViolation", made.ec2.delete_subnet, SubnetId=subnets[0])
        made.elb.delete_load_balancer(LoadBalancerArn=made.balancers.pop())
    finally:
        for subnet in subnets:
            made.ec2.delete_subnet(SubnetId=subnet)
        made.ec2.delete_vpc(VpcId=vpc)


def test_a_load_balancer_moves_and_is_guarded_by_others(made, name):
    elb, ec2 = made.elb, made.ec2
    every = [{"Name": "vpc-id", "Values": [made.vpc]}]
    third = [it["SubnetId"] for it in ec2.describe_subnets(Filters=every)["Subnets"]
             if it["SubnetId"] not in made.subnets][0]
    balancer = made.balancer()
    arn = balancer["LoadBalancerArn"]
    before = {it["NetworkInterfaceId"] for it in made.interfaces(balancer)}
    moved = elb.set_subnets(LoadBalancerArn=arn, Subnets=[made.subnets[0], third])
    assert {it["SubnetId"] for it in moved["AvailabilityZones"]} == {made.subnets[0], third}
    after = {it["NetworkInterfaceId"] for it in made.interfaces(balancer)}
    assert len(after) == 2 and len(before & after) == 1
    refused("ValidationError", elb.set_subnets, LoadBalancerArn=arn, Subnets=[third])
    group = ec2.create_security_group(GroupName=name, Description="x", VpcId=made.vpc)["GroupId"]
    try:
        told = elb.set_security_groups(LoadBalancerArn=arn, SecurityGroups=[group])
        assert told["SecurityGroupIds"] == [group]
        for it in made.interfaces(balancer):
            assert [one["GroupId"] for one in it["Groups"]] == [group]
        refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
        elb.set_security_groups(LoadBalancerArn=arn, SecurityGroups=made.groups)
    finally:
        ec2.delete_security_group(GroupId=group)
    told = elb.set_ip_address_type(LoadBalancerArn=arn, IpAddressType="ipv4")
    assert told["IpAddressType"] == "ipv4"


def test_attributes_of_a_load_balancer(made):
    elb = made.elb
    arn = made.balancer()["LoadBalancerArn"]
    told = attributes(elb.describe_load_balancer_attributes(LoadBalancerArn=arn))
    assert told["idle_timeout.timeout_seconds"] == "60"
    assert told["routing.http.desync_mitigation_mode"] == "defensive"
    assert told["load_balancing.cross_zone.enabled"] == "true"
    assert told["access_logs.s3.bucket"] == ""

    def change(**given):
        pairs = [{"Key": key.replace("__", "."), "Value": value} for key, value in given.items()]
        return elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=pairs)

    told = attributes(
        change(idle_timeout__timeout_seconds="5", deletion_protection__enabled="true"))
    assert told["idle_timeout.timeout_seconds"] == "5"
    refused("OperationNotPermitted", elb.delete_load_balancer, LoadBalancerArn=arn,
            saying="deletion protection is enabled")
    change(deletion_protection__enabled="false")
    refused("ValidationError", change, idle_timeout__timeout_seconds="4001")
    refused("ValidationError", change, nothing="x", saying="is not recognized")


def test_target_groups_and_their_health_checks(made, name):
    elb = made.elb
    group = made.group()
    arn = group["TargetGroupArn"]
    assert group["TargetGroupName"] == name and group["ProtocolVersion"] == "HTTP1"
    assert group["HealthCheckPath"] == "/" and group["Matcher"] == {"HttpCode": "200"}
    assert group["HealthCheckPort"] == "traffic-port" and group["HealthCheckEnabled"] is True
    assert (group["HealthCheckIntervalSeconds"], group["HealthCheckTimeoutSeconds"]) == (30, 5)
    assert (group["HealthyThresholdCount"], group["UnhealthyThresholdCount"]) == (5, 2)
    assert group["LoadBalancerArns"] == [] and group["IpAddressType"] == "ipv4"
    changed = elb.modify_target_group(
        TargetGroupArn=arn, HealthCheckPath="/up", HealthCheckPort="81",
        Matcher={"HttpCode": "200-299,404"})["TargetGroups"][0]
    assert changed["HealthCheckPath"] == "/up" and changed["HealthCheckPort"] == "81"
    assert changed["HealthCheckIntervalSeconds"] == 30
    refused("ValidationError", elb.modify_target_group, TargetGroupArn=arn,
            HealthCheckTimeoutSeconds=30)
    refused("ValidationError", made.group, suffix="-x", VpcId="vpc-0123456789abcdef0",
            saying="is not found")
    refused("ValidationError", made.group, suffix="-x", TargetType="lambda", saying="lambda")
    refused("ValidationError", made.group, suffix="-x", Protocol="UDP", saying="UDP")
    grpc = made.group("-g", ProtocolVersion="GRPC")
    assert grpc["Matcher"] == {"GrpcCode": "12"}
    tcp = made.group("-t", Protocol="TCP", Port=6379)
    assert tcp["HealthCheckProtocol"] == "TCP" and "Matcher" not in tcp
    assert "ProtocolVersion" not in tcp and "HealthCheckPath" not in tcp
    told = attributes(elb.describe_target_group_attributes(TargetGroupArn=arn))
    assert told["deregistration_delay.timeout_seconds"] == "300"
    assert told["stickiness.type"] == "lb_cookie"
    told = attributes(elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[
        {"Key": "deregistration_delay.timeout_seconds", "Value": "0"},
        {"Key": "stickiness.enabled", "Value": "true"}]))
    assert told["deregistration_delay.timeout_seconds"] == "0"
    assert told["stickiness.enabled"] == "true"
    app_cookie = [{"Key": "stickiness.type", "Value": "app_cookie"}]
    refused("InvalidConfigurationRequest", elb.modify_target_group_attributes, TargetGroupArn=arn,
            Attributes=app_cookie)
    told = attributes(elb.describe_target_group_attributes(TargetGroupArn=tcp["TargetGroupArn"]))
    assert told["stickiness.type"] == "source_ip"
    missing = arn[:-16] + "0" * 16
    refused("TargetGroupNotFound", elb.describe_target_groups, TargetGroupArns=[missing],
            saying="One or more target groups not found")
    refused("ValidationError", elb.describe_target_groups, TargetGroupArns=["web"],
            saying="'web' is not a valid target group ARN")


def test_a_group_in_use_stays_and_belongs_to_one_load_balancer(made):
    elb = made.elb
    group, first, second = made.group(), made.balancer(), made.balancer("-2")
    arn = group["TargetGroupArn"]
    listener = made.listener(first, fixed("404"))
    made.rule(listener, 1, path("/a"), actions=[forward(group)])
    [told] = elb.describe_target_groups(LoadBalancerArn=first["LoadBalancerArn"])["TargetGroups"]
    assert told["LoadBalancerArns"] == [first["LoadBalancerArn"]]
    refused("ResourceInUse", elb.delete_target_group, TargetGroupArn=arn,
            saying="is currently in use by a listener or a rule")
    refused("TargetGroupAssociationLimit", lambda: made.listener(second, forward(group)))
    tcp = made.group("-t", Protocol="TCP")
    refused("IncompatibleProtocols", lambda: made.listener(second, forward(tcp)))
    refused("ValidationError", lambda: made.listener(second, Protocol="TCP"), saying="HTTP, HTTPS")
    refused("TargetGroupNotFound", lambda: made.listener(
        second, {"Type": "forward", "TargetGroupArn": arn[:-16] + "0" * 16}))
    elb.delete_listener(ListenerArn=listener["ListenerArn"])
    elb.delete_target_group(TargetGroupArn=arn)


def test_listeners_say_what_they_do(made):
    elb = made.elb
    balancer, blue, green = made.balancer(), made.group("-b"), made.group("-g")
    weighted = {"Type": "forward", "Order": 1, "ForwardConfig": {
        "TargetGroups": [{"TargetGroupArn": blue["TargetGroupArn"], "Weight": 9},
                         {"TargetGroupArn": green["TargetGroupArn"], "Weight": 1}],
        "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 60}}}
    listener = made.listener(balancer, weighted)
    assert listener["DefaultActions"] == [weighted]
    weighted["ForwardConfig"]["TargetGroupStickinessConfig"]["Enabled"] = False
    off = elb.modify_listener(ListenerArn=listener["ListenerArn"], DefaultActions=[weighted])
    assert off["Listeners"][0]["DefaultActions"] == [weighted]
    assert (listener["Port"], listener["Protocol"]) == (80, "HTTP")
    redirect = {"Type": "redirect", "RedirectConfig": {
        "Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}
    arn = listener["ListenerArn"]
    changed = elb.modify_listener(
        ListenerArn=arn, Port=8080, DefaultActions=[redirect])["Listeners"][0]
    assert changed["Port"] == 8080
    assert changed["DefaultActions"][0]["RedirectConfig"] == {
        "Protocol": "HTTPS", "Port": "443", "Host": "#{host}", "Path": "/#{path}",
        "Query": "#{query}", "StatusCode": "HTTP_301"}
    one = made.listener(balancer, forward(blue))
    assert one["DefaultActions"][0]["TargetGroupArn"] == blue["TargetGroupArn"]
    assert one["DefaultActions"][0]["ForwardConfig"]["TargetGroups"] == [
        {"TargetGroupArn": blue["TargetGroupArn"], "Weight": 1}]
    refused("DuplicateListener", elb.modify_listener, ListenerArn=arn, Port=80)
    loop = {"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_302"}}
    refused("InvalidLoadBalancerAction", elb.modify_listener, ListenerArn=arn,
            DefaultActions=[loop], saying="loop")
    oidc = {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": {
        "Issuer": "https://x", "AuthorizationEndpoint": "https://x", "TokenEndpoint": "https://x",
        "UserInfoEndpoint": "https://x", "ClientId": "x", "ClientSecret": "x"}}
    refused("InvalidLoadBalancerAction", elb.modify_listener, ListenerArn=arn,
            DefaultActions=[oidc, {**fixed("200"), "Order": 2}], saying="authenticate-oidc")
    told = attributes(elb.describe_listener_attributes(ListenerArn=arn))
    assert told["routing.http.response.server.enabled"] == "true"
    frames = "routing.http.response.x_frame_options.header_value"
    server = [{"Key": "routing.http.response.server.enabled", "Value": "false"},
              {"Key": frames, "Value": "DENY"}]
    told = attributes(elb.modify_listener_attributes(ListenerArn=arn, Attributes=server))
    assert told["routing.http.response.server.enabled"] == "false" and told[frames] == "DENY"
    refused("ValidationError", elb.modify_listener_attributes, ListenerArn=arn,
            Attributes=[{"Key": frames, "Value": "DENY\r\nX-More: 1"}])
    refused("ListenerNotFound", elb.describe_listeners, ListenerArns=[arn[:-16] + "0" * 16],
            saying="One or more listeners not found")


def test_rules_with_every_condition(made):
    elb = made.elb
    listener = made.listener(made.balancer())
    arn = listener["ListenerArn"]
    conditions = [
        {"Field": "host-header", "HostHeaderConfig": {"Values": ["*.example.com"]}},
        {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/api/*"]}},
        {"Field": "http-header",
         "HttpHeaderConfig": {"HttpHeaderName": "X-Team", "Values": ["blue *"]}},
        {"Field": "query-string", "QueryStringConfig": {
            "Values": [{"Key": "stage", "Value": "beta"}, {"Value": "on"}]}},
    ]
    rule = made.rule(listener, 10, *conditions, Tags=[{"Key": "k", "Value": "v"}])
    shown = {it["Field"]: it for it in rule["Conditions"]}
    assert shown["host-header"]["Values"] == ["*.example.com"]
    assert shown["host-header"]["HostHeaderConfig"] == {"Values": ["*.example.com"]}
    for given in conditions[2:]:
        assert shown[given["Field"]] == given
    others = [
        {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["GET", "HEAD"]}},
        {"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}},
    ]
    assert made.rule(listener, 5, *others)["Conditions"] == others
    regex = {"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["^/v[0-9]+/"]}}
    [told] = made.rule(listener, 7, regex)["Conditions"]
    assert told["PathPatternConfig"] == {"RegexValues": ["^/v[0-9]+/"]}
    told = elb.describe_rules(ListenerArn=arn)["Rules"]
    assert [it["Priority"] for it in told] == ["5", "7", "10", "default"]
    assert [it["IsDefault"] for it in told] == [False, False, False, True]
    refused("PriorityInUse", lambda: made.rule(listener, 10, path("/x")),
            saying="Priority '10' is currently in use")
    refused("ValidationError", lambda: made.rule(listener, 11, path(*"/1 /2 /3 /4 /5 /6".split())),
            saying="'5' condition values")
    cookie = {"Field": "cookie", "Values": ["a"]}
    refused("ValidationError", lambda: made.rule(listener, 11, cookie))
    swapped = elb.set_rule_priorities(RulePriorities=[
        {"RuleArn": told[0]["RuleArn"], "Priority": 10},
        {"RuleArn": told[2]["RuleArn"], "Priority": 5}])["Rules"]
    assert {it["RuleArn"]: it["Priority"] for it in swapped} == {
        told[0]["RuleArn"]: "10", told[2]["RuleArn"]: "5"}
    changed = elb.modify_rule(RuleArn=told[1]["RuleArn"], Conditions=[path("/new")],
                              Actions=[fixed("503", MessageBody="later")])["Rules"][0]
    assert changed["Conditions"][0]["Values"] == ["/new"]
    assert changed["Actions"][0]["FixedResponseConfig"]["MessageBody"] == "later"
    for call in (elb.delete_rule, lambda **it: elb.modify_rule(Actions=[fixed("200")], **it)):
        refused("OperationNotPermitted", call, RuleArn=told[3]["RuleArn"])
    elb.delete_rule(RuleArn=told[1]["RuleArn"])
    refused("RuleNotFound", elb.describe_rules, RuleArns=[told[1]["RuleArn"]])


def test_targets_by_hand(made):
    elb = made.elb
    group = made.group()
    arn = group["TargetGroupArn"]
    base = made.ranges[0].rsplit(".", 1)[0]
    first, second = f"{base}.250", f"{base}.251"

    def states(*ids):
        asked = {"Targets": [{"Id": id} for id in ids]} if ids else {}
        told = elb.describe_target_health(TargetGroupArn=arn, **asked)["TargetHealthDescriptions"]
        health = {it["Target"]["Id"]: it["TargetHealth"] for it in told}
        return {id: (it["State"], it.get("Reason")) for id, it in health.items()}

    elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": first}, {"Id": second, "Port": 81}])
    unused = ("unused", "Target.NotInUse")
    assert states() == {first: unused, second: unused}
    assert states(f"{base}.252") == {f"{base}.252": ("unused", "Target.NotRegistered")}
    [told] = elb.describe_target_health(
        TargetGroupArn=arn, Targets=[{"Id": second}], Include=["All"])["TargetHealthDescriptions"]
    assert told["Target"]["Port"] == 81 and told["HealthCheckPort"] == "81"
    assert told["Target"]["AvailabilityZone"]
    assert told["TargetHealth"]["Description"].startswith("Target group is not configured")
    balancer = made.balancer()
    made.listener(balancer, forward(group))
    until(lambda: {it[0] for it in states().values()} <= {"initial", "unhealthy"}, 20,
          "targets that are in use are checked")
    elb.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": first}, {"Id": "10.0.0.1"}])
    until(lambda: states().get(first, ("draining",))[0] == "draining", 5, "it drains")
    until(lambda: first not in states(), 30, "nobody is in the way of a target that drains")
    elb.get_waiter("target_deregistered").wait(
        TargetGroupArn=arn, Targets=[{"Id": first}], WaiterConfig=SLOW)
    for bad, zone in (("8.8.8.8", "all"), ("192.168.1.1", None), ("web", None), ("i-01234", None)):
        more = {"AvailabilityZone": zone} if zone else {}
        refused("ValidationError", elb.register_targets, TargetGroupArn=arn,
                Targets=[{"Id": bad, **more}])
    elb.register_targets(TargetGroupArn=arn, Targets=[
        {"Id": "192.168.1.1", "AvailabilityZone": "all"}])
    machines = made.group("-i", TargetType="instance")
    refused("InvalidTarget", elb.register_targets, TargetGroupArn=machines["TargetGroupArn"],
            Targets=[{"Id": "i-0123456789abcdef0"}])
    with pytest.raises(WaiterError):
        elb.get_waiter("target_in_service").wait(
            TargetGroupArn=arn, WaiterConfig={"Delay": 0.1, "MaxAttempts": 2})


def test_every_list_has_pages(made):
    elb = made.elb
    balancer, _second = made.balancer(), made.balancer("-2")
    groups = [made.group("-1"), made.group("-2")]
    listener = made.listener(balancer)
    made.listener(balancer, Port=81)
    made.rule(listener, 1, path("/a"))
    made.rule(listener, 2, path("/b"))
    of = {"LoadBalancerArn": balancer["LoadBalancerArn"]}
    for operation, key, result, arguments in [
        ("describe_load_balancers", "LoadBalancerArn", "LoadBalancers", {}),
        ("describe_target_groups", "TargetGroupArn", "TargetGroups", {}),
        ("describe_listeners", "ListenerArn", "Listeners", of),
        ("describe_rules", "RuleArn", "Rules", {"ListenerArn": listener["ListenerArn"]}),
        ("describe_account_limits", "Name", "Limits", {}),
        ("describe_ssl_policies", "Name", "SslPolicies", {}),
    ]:
        whole = getattr(elb, operation)(**arguments)[result]
        pages = list(elb.get_paginator(operation).paginate(
            **arguments, PaginationConfig={"PageSize": 1}))
        paged = [it[key] for page in pages for it in page[result]]
        assert len(pages) == len(whole) >= 2, operation
        assert paged == [it[key] for it in whole], operation
    marker = elb.describe_target_groups(PageSize=1)["NextMarker"]
    refused("ValidationError", elb.describe_load_balancers, Marker=marker)
    assert len(groups) == 2


def test_tags_of_everything(made):
    elb = made.elb
    listener = made.listener(made.balancer())
    rule = made.rule(listener, 1, path("/a"))
    arns = [made.balancers[0], made.group()["TargetGroupArn"], listener["ListenerArn"],
            rule["RuleArn"]]
    elb.add_tags(ResourceArns=arns, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    elb.remove_tags(ResourceArns=arns, TagKeys=["a"])
    told = elb.describe_tags(ResourceArns=arns)["TagDescriptions"]
    assert [it["ResourceArn"] for it in told] == arns
    assert all(it["Tags"] == [{"Key": "b", "Value": "2"}] for it in told)
    many = [{"Key": f"k{number}", "Value": "v"} for number in range(50)]
    refused("TooManyTags", elb.add_tags, ResourceArns=arns[:1], Tags=many)
    twice = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]
    refused("DuplicateTagKeys", elb.add_tags, ResourceArns=arns[:1], Tags=twice)
    refused("LoadBalancerNotFound", elb.add_tags, ResourceArns=[arns[0][:-16] + "0" * 16],
            Tags=many[:1])


def test_a_network_load_balancer(made):
    elb, ec2 = made.elb, made.ec2
    address = ec2.allocate_address(Domain="vpc")
    try:
        balancer = made.balancer(
            Type="network", Subnets=[],
            SubnetMappings=[{"SubnetId": made.subnets[0],
                             "AllocationId": address["AllocationId"]}])
        assert "/net/" in balancer["LoadBalancerArn"]
        [zone] = balancer["AvailabilityZones"]
        assert zone["LoadBalancerAddresses"] == [
            {"IpAddress": address["PublicIp"], "AllocationId": address["AllocationId"]}]
        [interface] = made.interfaces(balancer)
        assert interface["InterfaceType"] == "network_load_balancer"
        taken = {"SubnetId": made.subnets[0], "AllocationId": address["AllocationId"]}
        refused("ResourceInUse", made.balancer, suffix="-2", Type="network", Subnets=[],
                SubnetMappings=[taken])
        group = made.group(Protocol="TCP", Port=5432)
        listener = made.listener(balancer, forward(group), Protocol="TCP", Port=5432)
        assert listener["Protocol"] == "TCP"
        refused("InvalidConfigurationRequest",
                lambda: made.listener(balancer, Protocol="TCP", Port=81))
        for protocol in ("TLS", "UDP"):
            refused("ValidationError",
                    lambda: made.listener(balancer, forward(group), Protocol=protocol, Port=81),
                    saying=protocol)
        refused("InvalidConfigurationRequest", lambda: made.rule(listener, 1, path("/a")))
        refused("InvalidConfigurationRequest", elb.set_security_groups,
                LoadBalancerArn=balancer["LoadBalancerArn"], SecurityGroups=made.groups)
        elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
        [told] = ec2.describe_addresses(AllocationIds=[address["AllocationId"]])["Addresses"]
        assert "AssociationId" not in told
    finally:
        made.unmake()
        made.balancers, made.target_groups = [], []
        ec2.release_address(AllocationId=address["AllocationId"])


def test_the_cli_waits_for_what_it_asks(made, cli):
    arn = made.balancer()["LoadBalancerArn"]
    cli("elbv2", "wait", "load-balancer-exists", "--load-balancer-arns", arn, text=True)
    cli("elbv2", "wait", "load-balancer-available", "--load-balancer-arns", arn, text=True)
    told = cli("elbv2", "describe-load-balancers", "--load-balancer-arns", arn)
    assert told["LoadBalancers"][0]["State"] == {"Code": "active"}
    cli("elbv2", "delete-load-balancer", "--load-balancer-arn", arn, text=True)
    cli("elbv2", "wait", "load-balancers-deleted", "--load-balancer-arns", arn, text=True)
