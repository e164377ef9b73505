"""A site: a load balancer with one listener that leads to one target group, as Terraform or a
console would make them, and requests to it by its name. Removed whole when the test is over."""

import collections
import http.client
import threading
import time

from waiting import until

PORT = 8080


class Site:
    """`service` gives what CreateService needs to stand behind it."""

    def __init__(self, aws, network, name):
        self.aws, self.ec2, self.elb, self.name = aws, aws.ec2, aws.elbv2, name[-16:]
        self.network = network
        subnets = network["awsvpcConfiguration"]["subnets"][:2]
        self.vpc = self.ec2.describe_subnets(SubnetIds=subnets[:1])["Subnets"][0]["VpcId"]
        self.group = self.ec2.create_security_group(
            VpcId=self.vpc, GroupName=f"{name}-web", Description="the web")["GroupId"]
        permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
                      "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        self.ec2.authorize_security_group_ingress(GroupId=self.group, IpPermissions=[permission])
        default = network["awsvpcConfiguration"]["securityGroups"]
        made = self.elb.create_load_balancer(
            Name=self.name, Subnets=subnets, SecurityGroups=[self.group, *default])
        self.balancer = made["LoadBalancers"][0]["LoadBalancerArn"]
        self.dns_name = made["LoadBalancers"][0]["DNSName"]
        self.target_group = self.make_group(self.name)
        forward = [{"Type": "forward", "TargetGroupArn": self.target_group}]
        listener = self.elb.create_listener(
            LoadBalancerArn=self.balancer, Protocol="HTTP", Port=80, DefaultActions=forward)
        self.listener = listener["Listeners"][0]["ListenerArn"]

    def make_group(self, name, **more):
        made = self.elb.create_target_group(**{
            "Name": name, "Protocol": "HTTP", "Port": PORT, "VpcId": self.vpc,
            "TargetType": "ip", "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2,
            "HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2, **more})
        return made["TargetGroups"][0]["TargetGroupArn"]

    def service(self, container="app", port=PORT):
        return {"loadBalancers": [{"targetGroupArn": self.target_group,
                                   "containerName": container, "containerPort": port}]}

    def states(self):
        """How many targets are in which state."""
        told = self.elb.describe_target_health(TargetGroupArn=self.target_group)
        all = told["TargetHealthDescriptions"]
        return dict(collections.Counter(it["TargetHealth"]["State"] for it in all))

    def until_states(self, states, seconds=40):
        until(lambda: self.states() == states, seconds, f"targets are {states}")

    def get(self, path="/", timeout=10):
        """Status and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.dns_name, 80, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def status(self):
        """The status of one request; None when it is not served at all."""
        try:
            return self.get()[0]
        except OSError:
            return None

    def remove(self):
        self.elb.delete_load_balancer(LoadBalancerArn=self.balancer)
        self.elb.delete_target_group(TargetGroupArn=self.target_group)
        # Its interfaces hold the group until they are gone.
        until(lambda: self._group_is_gone(), 20, "the security group can be deleted")

    def _group_is_gone(self):
        try:
            self.ec2.delete_security_group(GroupId=self.group)
        except self.ec2.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "DependencyViolation":
                return False
            raise
        return True


Failure = collections.namedtuple("Failure", "at begun what")


class Load:
    """Several clients that send one request after the other, on connections they keep, from
    entering to leaving. A request that was not answered 200 is remembered with how it failed; a
    connection that the server closed between two requests is opened again, as every client does."""

    def __init__(self, site, clients=4, path="/"):
        self.site, self.path = site, path
        self.failures, self.bodies = [], collections.Counter()
        self.served = 0
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _send(self):
        connection = None
        while not self._over.is_set():
            begun = time.monotonic()
            fresh = connection is None
            try:
                if fresh:
                    connection = http.client.HTTPConnection(self.site.dns_name, 80, timeout=20)
                connection.request("GET", self.path)
                answer = connection.getresponse()
                body = answer.read().decode()
                failure = None if answer.status == 200 else f"{answer.status}: {body[:80]}"
                if answer.will_close:
                    connection.close()
                    connection = None
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as cut:
                connection.close()
                connection = None
                if not fresh:
                    # Closed while it was idle: nothing of this request was answered.
                    continue
                failure, body = repr(cut), ""
            except OSError as error:
                connection.close()
                connection = None
                failure, body = repr(error), ""
            with self._lock:
                if failure:
                    self.failures.append(Failure(time.monotonic(), begun, failure))
                else:
                    self.served += 1
                    self.bodies[body] += 1
