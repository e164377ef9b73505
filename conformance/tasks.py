"""A cluster of one test, with what tests do over and over: register a task definition with the
least that Fargate asks for, run it, wait with boto3's own waiters, read its log. Whatever a test
started is stopped when it ends."""

from botocore.exceptions import WaiterError

# boto3's waiters look every 6 seconds by default; ours are worth a closer look.
WAIT = {"Delay": 0.1, "MaxAttempts": 400}
EXECUTION_ROLE = "arn:aws:iam::{account}:role/ecsTaskExecutionRole"


def container(image, *command, name="app", **more):
    """A container definition; with a command, that is run instead of the image's."""
    definition = {"name": name, "image": image, "essential": True, **more}
    if command:
        definition["command"] = list(command)
    return definition


def shell(image, script, name="app", **more):
    """A container that runs a shell script."""
    return container(image, "/bin/sh", "-c", script, name=name, **more)


def awslogs(group, region, **options):
    """A container's logConfiguration; streams are named `p/<container>/<task>`."""
    return {"logDriver": "awslogs", "options": {
        "awslogs-group": group, "awslogs-region": region, "awslogs-stream-prefix": "p", **options}}


class Cluster:
    """One cluster, and what was made for it."""

    def __init__(self, aws, network, name, account):
        self.aws = aws
        # Fargate asks for one where an image comes from ECR and where logs go to awslogs.
        self.execution_role = EXECUTION_ROLE.format(account=account)
        self.network = network
        self.name = name
        self.log_group = f"/conformance/{name}"
        self.log_groups = set()

    def register(self, *containers, family=None, cpu="256", memory="512", **more):
        """Registers and returns the task definition."""
        return self.aws.ecs.register_task_definition(
            family=family or self.name,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu=cpu,
            memory=memory,
            containerDefinitions=list(containers),
            **{"executionRoleArn": self.execution_role, **more},
        )["taskDefinition"]

    def run(self, task_definition, **more):
        """RunTask; returns the whole answer."""
        if isinstance(task_definition, dict):
            task_definition = task_definition["taskDefinitionArn"]
        return self.aws.ecs.run_task(
            cluster=self.name,
            taskDefinition=task_definition,
            **{"launchType": "FARGATE", "networkConfiguration": self.network, **more},
        )

    def start(self, *containers, overrides=None, **more):
        """Registers and runs one task; returns its ARN."""
        definition = self.register(*containers, **more)
        answer = self.run(definition, **({"overrides": overrides} if overrides else {}))
        assert answer["failures"] == []
        return answer["tasks"][0]["taskArn"]

    def describe(self, arn, **more):
        answer = self.aws.ecs.describe_tasks(cluster=self.name, tasks=[arn], **more)
        assert answer["failures"] == [], answer
        return answer["tasks"][0]

    def until_running(self, *arns):
        waiter = self.aws.ecs.get_waiter("tasks_running")
        try:
            waiter.wait(cluster=self.name, tasks=list(arns), WaiterConfig=WAIT)
        except WaiterError as error:
            # Why is what one wants to know next.
            told = self.aws.ecs.describe_tasks(cluster=self.name, tasks=list(arns))["tasks"]
            reasons = [(it["lastStatus"], it.get("stoppedReason"), it["containers"]) for it in told]
            raise AssertionError(f"not all RUNNING: {reasons}") from error
        return self.describe(arns[0])

    def until_stopped(self, *arns):
        waiter = self.aws.ecs.get_waiter("tasks_stopped")
        waiter.wait(cluster=self.name, tasks=list(arns), WaiterConfig=WAIT)
        return self.describe(arns[0])

    def until_inactive(self, service):
        waiter = self.aws.ecs.get_waiter("services_inactive")
        waiter.wait(cluster=self.name, services=[service], WaiterConfig=WAIT)

    def until_stable(self, service):
        """boto3's own notion of a stable service; returns it."""
        waiter = self.aws.ecs.get_waiter("services_stable")
        try:
            waiter.wait(cluster=self.name, services=[service], WaiterConfig=WAIT)
        except WaiterError as error:
            told = self.describe_service(service)
            raise AssertionError(f"not stable: {told}") from error
        return self.describe_service(service)

    def describe_service(self, service, **more):
        answer = self.aws.ecs.describe_services(cluster=self.name, services=[service], **more)
        assert answer["failures"] == [], answer
        return answer["services"][0]

    def finish(self, *containers, **more):
        """Starts a task that ends by itself; returns how it ended."""
        return self.until_stopped(self.start(*containers, **more))

    def logged(self, *containers, **more):
        """Like `finish`, with every container logging; returns the task and, by container, the
        lines it wrote."""
        configuration = self.logging()
        task = self.finish(
            *({**it, "logConfiguration": configuration} for it in containers),
            **more,
        )
        group = self.log_group
        return task, {it["name"]: self.lines(group, task, it["name"]) for it in containers}

    def logging(self):
        """A container's logConfiguration: to a group of this cluster's, which is made."""
        if self.log_group not in self.log_groups:
            self.aws.logs.create_log_group(logGroupName=self.log_group)
            self.log_groups.add(self.log_group)
        return awslogs(self.log_group, self.aws.logs.meta.region_name)

    def lines(self, group, task, container):
        stream = f"p/{container}/{task['taskArn'].rsplit('/', 1)[1]}"
        pages = self.aws.logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, logStreamNames=[stream]
        )
        return [event["message"] for page in pages for event in page["events"]]

    def remove(self):
        """Deletes every service, stops every task, waits for that, and deletes what was made."""
        ecs = self.aws.ecs
        pages = ecs.get_paginator("list_services").paginate(cluster=self.name)
        services = [arn for page in pages for arn in page["serviceArns"]]
        for arn in services:
            if self.describe_service(arn)["status"] == "ACTIVE":
                ecs.delete_service(cluster=self.name, service=arn, force=True)
        for arn in services:
            self.until_inactive(arn)
        arns = ecs.list_tasks(cluster=self.name)["taskArns"]
        arns += ecs.list_tasks(cluster=self.name, desiredStatus="STOPPED")["taskArns"]
        for arn in arns:
            ecs.stop_task(cluster=self.name, task=arn, reason="the test is over")
        if arns:
            self.until_stopped(*arns)
        ecs.delete_cluster(cluster=self.name)
        for group in self.log_groups:
            self.aws.logs.delete_log_group(logGroupName=group)


def exit_codes(task):
    """By container."""
    return {it["name"]: it.get("exitCode") for it in task["containers"]}


def address(task):
    """The task's private IPv4 address."""
    details = {it["name"]: it["value"] for it in task["attachments"][0]["details"]}
    return details["privateIPv4Address"]
