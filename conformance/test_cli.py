"""The whole day of a user with nothing but the aws CLI, as the README tells it: from a cluster to
a line in a log. The other files look closer; this one sees that the pieces fit the CLI's own
habits."""

import json


def test_a_day_with_the_cli(cli, cli2, name, busybox, aws):
    cli("ecs", "create-cluster", "--cluster-name", name)
    account = cli("sts", "get-caller-identity")["Account"]
    group = f"/cli/{name}"
    cli("logs", "create-log-group", "--log-group-name", group)
    containers = [{
        "name": "app", "image": busybox, "command": ["/bin/sh", "-c", "echo from the cli; exit 9"],
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": group, "awslogs-region": "us-east-1",
            "awslogs-stream-prefix": "p"}}}]
    made = cli("ecs", "register-task-definition", "--family", name, "--network-mode", "awsvpc",
               "--requires-compatibilities", "FARGATE", "--cpu", "256", "--memory", "512",
               "--execution-role-arn", f"arn:aws:iam::{account}:role/execution",
               "--container-definitions", json.dumps(containers))
    assert made["taskDefinition"]["revision"] == 1
    subnet = cli("ec2", "describe-subnets", "--query", "Subnets[0].SubnetId")
    ran = cli("ecs", "run-task", "--cluster", name, "--task-definition", name,
              "--launch-type", "FARGATE", "--network-configuration",
              f"awsvpcConfiguration={{subnets=[{subnet}]}}")
    arn = ran["tasks"][0]["taskArn"]
    aws.ecs.get_waiter("tasks_stopped").wait(
        cluster=name, tasks=[arn], WaiterConfig={"Delay": 0.2, "MaxAttempts": 200})
    # The CLI's own waiter ends at once on what is so already.
    cli("ecs", "wait", "tasks-stopped", "--cluster", name, "--tasks", arn)
    query = "tasks[0].containers[0].exitCode"
    told = cli("ecs", "describe-tasks", "--cluster", name, "--tasks", arn, "--query", query)
    assert told == 9
    assert "from the cli" in cli2("logs", "tail", group, "--format", "short", text=True)
    listed = cli("ecs", "list-tasks", "--cluster", name, "--desired-status", "STOPPED",
                 "--max-items", "1")
    assert listed["taskArns"] == [arn]
    cli("ecs", "deregister-task-definition", "--task-definition", f"{name}:1")
    cli("ecs", "delete-cluster", "--cluster", name)
    cli("logs", "delete-log-group", "--log-group-name", group)


def test_an_error_reaches_the_terminal(cli):
    ran = cli("ecs", "list-tasks", "--cluster", "never-made", check=False)
    assert ran.returncode in (254, 255)
    assert "ClusterNotFoundException" in ran.stderr
    assert "Cluster not found." in ran.stderr
