"""Services that scale: Application Auto Scaling as clients see it, CloudWatch's metrics and alarms,
and one service that really scales out because its task burns CPU. The latter runs on a Neargate of
its own, whose minutes of metrics last five seconds."""

import datetime

import pytest

import kernel
from conftest import Clients, pushed
from refusals import refused
from server import fresh
from tasks import Cluster, shell
from waiting import until

SCOPE = {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount"}
CPU = "ECSServiceAverageCPUUtilization"
MINUTE_SECONDS = 5


@pytest.fixture
def scaling(aws):
    return aws.__getattr__("application-autoscaling")


@pytest.fixture
def service(cluster, busybox, aws):
    """A service without tasks; its resource id."""
    definition = cluster.register(shell(busybox, "sleep 1000"))["taskDefinitionArn"]
    aws.ecs.create_service(
        cluster=cluster.name, serviceName="web", desiredCount=0, taskDefinition=definition,
        launchType="FARGATE", networkConfiguration=cluster.network)
    return f"service/{cluster.name}/web"


def tracking(metric=CPU, target=75.0, **more):
    return {
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": target,
            "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
            **more,
        },
    }


def test_a_target_its_policies_and_its_actions(scaling, service, aws, account):
    made = scaling.register_scalable_target(
        **SCOPE, ResourceId=service, MinCapacity=0, MaxCapacity=4, Tags={"team": "a"})
    arn = made["ScalableTargetARN"]
    target, = scaling.describe_scalable_targets(
        ServiceNamespace="ecs", ResourceIds=[service])["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 4)
    assert target["RoleARN"] == (
        f"arn:aws:iam::{account}:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/"
        "AWSServiceRoleForApplicationAutoScaling_ECSService")
    assert set(target["SuspendedState"].values()) == {False}
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"team": "a"}

    put = scaling.put_scaling_policy(
        **SCOPE, PolicyName="cpu", ResourceId=service,
        **tracking(ScaleOutCooldown=60, ScaleInCooldown=300))
    assert put["PolicyARN"].endswith(f":resource/ecs/{service}:policyName/cpu")
    names = [alarm["AlarmName"] for alarm in put["Alarms"]]
    assert [name.startswith(f"TargetTracking-{service}-Alarm") for name in names] == [True, True]
    alarms = aws.cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    rules = {a["ComparisonOperator"]: (a["Threshold"], a["EvaluationPeriods"]) for a in alarms}
    assert rules == {"GreaterThanThreshold": (75.0, 3), "LessThanThreshold": (67.5, 15)}
    assert all(alarm["AlarmActions"] == [put["PolicyARN"]] for alarm in alarms)
    steps = {
        "AdjustmentType": "ChangeInCapacity",
        "Cooldown": 60,
        "StepAdjustments": [
            {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0,
             "ScalingAdjustment": 1},
            {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 2},
        ],
    }
    scaling.put_scaling_policy(**SCOPE, PolicyName="steps", ResourceId=service,
                               StepScalingPolicyConfiguration=steps)
    pages = scaling.get_paginator("describe_scaling_policies").paginate(
        ServiceNamespace="ecs", ResourceId=service, PaginationConfig={"PageSize": 1})
    found = {it["PolicyName"]: it for page in pages for it in page["ScalingPolicies"]}
    assert found["cpu"]["TargetTrackingScalingPolicyConfiguration"] == (
        tracking(ScaleOutCooldown=60, ScaleInCooldown=300)[
            "TargetTrackingScalingPolicyConfiguration"])
    assert found["steps"]["StepScalingPolicyConfiguration"] == steps
    assert found["steps"]["Alarms"] == []

    scaling.put_scheduled_action(
        **SCOPE, ResourceId=service, ScheduledActionName="night", Schedule="cron(0 22 * * ? *)",
        ScalableTargetAction={"MinCapacity": 0, "MaxCapacity": 1})
    action, = scaling.describe_scheduled_actions(
        ServiceNamespace="ecs", ResourceId=service)["ScheduledActions"]
    assert action["Schedule"] == "cron(0 22 * * ? *)"
    assert action["ScalableTargetAction"] == {"MinCapacity": 0, "MaxCapacity": 1}

    scaling.deregister_scalable_target(**SCOPE, ResourceId=service)
    assert aws.cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"] == []
    assert scaling.describe_scaling_policies(
        ServiceNamespace="ecs", ResourceId=service)["ScalingPolicies"] == []
    refused("ObjectNotFoundException", scaling.deregister_scalable_target,
            **SCOPE, ResourceId=service)


def test_what_scaling_refuses(scaling, service):
    refused("ValidationException", scaling.register_scalable_target,
            **SCOPE, ResourceId="service/none/web", MinCapacity=0, MaxCapacity=1)
    refused("ValidationException", scaling.register_scalable_target,
            ServiceNamespace="dynamodb", ResourceId="table/orders", MinCapacity=1, MaxCapacity=2,
            ScalableDimension="dynamodb:table:ReadCapacityUnits")
    refused("ObjectNotFoundException", scaling.put_scaling_policy,
            **SCOPE, PolicyName="cpu", ResourceId=service, **tracking())
    scaling.register_scalable_target(**SCOPE, ResourceId=service, MinCapacity=0, MaxCapacity=1)
    refused("ValidationException", scaling.put_scheduled_action, **SCOPE, ResourceId=service,
            ScheduledActionName="a", Schedule="every day",
            ScalableTargetAction={"MinCapacity": 1})
    scaling.put_scaling_policy(**SCOPE, PolicyName="cpu", ResourceId=service, **tracking())
    refused("ValidationException", scaling.put_scaling_policy,
            **SCOPE, PolicyName="second", ResourceId=service, **tracking())
    refused("ResourceNotFoundException", scaling.list_tags_for_resource,
            ResourceARN="arn:aws:application-autoscaling:us-east-1:000000000000:"
                        "scalable-target/0ec5nothing")
    assert scaling.describe_scalable_targets(ServiceNamespace="dynamodb")["ScalableTargets"] == []


def test_bounds_hold_at_once_and_an_action_moves_them(scaling, service, aws, cluster):
    scaling.register_scalable_target(**SCOPE, ResourceId=service, MinCapacity=1, MaxCapacity=2)
    until(lambda: cluster.describe_service("web")["desiredCount"] == 1, 20,
          "the minimum capacity is enforced")
    in_a_moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)
    scaling.put_scheduled_action(
        **SCOPE, ResourceId=service, ScheduledActionName="now",
        Schedule=f"at({in_a_moment:%Y-%m-%dT%H:%M:%S})",
        ScalableTargetAction={"MinCapacity": 0, "MaxCapacity": 0})
    until(lambda: cluster.describe_service("web")["desiredCount"] == 0, 20,
          "the scheduled action sets the maximum to none")
    activities = scaling.describe_scaling_activities(
        ServiceNamespace="ecs", ResourceId=service)["ScalingActivities"]
    assert [it["Cause"] for it in activities] == [
        "maximum capacity was set to 0",
        "scheduled action name now was triggered",
        "minimum capacity was set to 1",
    ]
    assert activities[0]["Description"] == "Setting desired count to 0."
    assert activities[0]["StatusMessage"] == (
        "Successfully set desired count to 0. Change successfully fulfilled by ecs.")
    scaling.deregister_scalable_target(**SCOPE, ResourceId=service)


def test_metrics_of_ones_own(aws, name):
    now = datetime.datetime.now(datetime.UTC)
    for value in (1.0, 3.0):
        aws.cloudwatch.put_metric_data(Namespace=name, MetricData=[{
            "MetricName": "Orders", "Dimensions": [{"Name": "Shop", "Value": "a"}],
            "Value": value, "Unit": "Count", "Timestamp": now}])
    listed = aws.cloudwatch.list_metrics(Namespace=name)["Metrics"]
    assert listed == [{"Namespace": name, "MetricName": "Orders",
                       "Dimensions": [{"Name": "Shop", "Value": "a"}]}]
    span = {"StartTime": now - datetime.timedelta(minutes=5),
            "EndTime": now + datetime.timedelta(minutes=5)}
    point, = aws.cloudwatch.get_metric_statistics(
        Namespace=name, MetricName="Orders", Dimensions=listed[0]["Dimensions"], **span,
        Period=60, Statistics=["Sum", "Average", "Maximum"])["Datapoints"]
    assert (point["Sum"], point["Average"], point["Maximum"]) == (4.0, 2.0, 3.0)
    assert point["Unit"] == "Count" and point["Timestamp"] <= now
    result, = aws.cloudwatch.get_metric_data(**span, MetricDataQueries=[{
        "Id": "orders", "MetricStat": {"Metric": listed[0], "Period": 60, "Stat": "Sum"}}])[
            "MetricDataResults"]
    assert (result["Values"], result["StatusCode"]) == ([4.0], "Complete")
    refused("InvalidParameterValue", aws.cloudwatch.put_metric_data, Namespace="AWS/ECS",
            MetricData=[{"MetricName": "CPUUtilization", "Value": 1.0}])


def test_alarms_of_ones_own(aws, name, cli):
    aws.cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace="Shop", MetricName="Orders", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1.0, ComparisonOperator="GreaterThanThreshold",
        Tags=[{"Key": "team", "Value": "a"}])
    alarm, = aws.cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert alarm["StateValue"] == "INSUFFICIENT_DATA" and alarm["ActionsEnabled"]
    tags = aws.cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "a"}]
    aws.cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    # The CLIs speak the query protocol, where boto3 speaks JSON.
    told = cli("cloudwatch", "describe-alarms", "--alarm-names", name)["MetricAlarms"]
    assert [it["StateReason"] for it in told] == ["a test"]
    aws.cloudwatch.delete_alarms(AlarmNames=[name])
    assert aws.cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []
    refused("ResourceNotFound", aws.cloudwatch.set_alarm_state,
            AlarmName=name, StateValue="OK", StateReason="gone")


@pytest.fixture
def quick():
    """A Neargate whose minutes are short: clients of it, and a busybox image in its registry."""
    before = kernel.census()
    with fresh("scaling") as server:
        server.start("--metric-minute-seconds", str(MINUTE_SECONDS), "--stop-tasks")
        yield Clients(server.environment())
        server.stop()
        kernel.until_as(before, 30)


def _network(aws):
    vpc = aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])
    mine = [{"Name": "vpc-id", "Values": [vpc["Vpcs"][0]["VpcId"]]}]
    subnets = [it["SubnetId"] for it in aws.ec2.describe_subnets(Filters=mine)["Subnets"]]
    return {"awsvpcConfiguration": {"subnets": subnets, "assignPublicIp": "DISABLED"}}


@pytest.mark.deadline(180)
def test_a_task_that_burns_cpu_scales_its_service_out(quick):
    aws, name = quick, "burning"
    account = aws.sts.get_caller_identity()["Account"]
    cluster = Cluster(aws, _network(aws), name, account)
    aws.ecs.create_cluster(clusterName=name)
    busy = shell(pushed(aws, "busybox"), "trap 'exit 0' TERM; (while :; do :; done) & wait",
                 stopTimeout=2)
    definition = cluster.register(busy)["taskDefinitionArn"]
    aws.ecs.create_service(
        cluster=name, serviceName="web", desiredCount=1, taskDefinition=definition,
        launchType="FARGATE", networkConfiguration=cluster.network)
    scaling = aws.__getattr__("application-autoscaling")
    resource = f"service/{name}/web"
    scaling.register_scalable_target(**SCOPE, ResourceId=resource, MinCapacity=1, MaxCapacity=2)
    scaling.put_scaling_policy(
        **SCOPE, PolicyName="cpu", ResourceId=resource, **tracking(target=20.0))
    until(lambda: cluster.describe_service("web")["desiredCount"] == 2, 120,
          "the service is scaled out")
    until(lambda: cluster.describe_service("web")["runningCount"] == 2, 30,
          "the second task runs")
    activity, = scaling.describe_scaling_activities(
        ServiceNamespace="ecs", ResourceId=resource)["ScalingActivities"]
    assert activity["Cause"].endswith("in state ALARM triggered policy cpu")
    assert activity["Description"] == "Setting desired count to 2."
    alarms = aws.cloudwatch.describe_alarms(StateValue="ALARM")["MetricAlarms"]
    assert any("-AlarmHigh-" in alarm["AlarmName"] for alarm in alarms)
    now = datetime.datetime.now(datetime.UTC)
    points = aws.cloudwatch.get_metric_statistics(
        Namespace="AWS/ECS", MetricName="CPUUtilization", Period=60, Statistics=["Average"],
        Dimensions=[{"Name": "ClusterName", "Value": name},
                    {"Name": "ServiceName", "Value": "web"}],
        StartTime=now - datetime.timedelta(minutes=5), EndTime=now)["Datapoints"]
    assert max(point["Average"] for point in points) > 20.0
