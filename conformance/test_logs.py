"""The logs service: groups, streams and events through its API, what awslogs writes into it, and
`aws logs tail --follow`, which is how people watch a task."""

import selectors
import subprocess
import time

import pytest
from botocore.exceptions import ClientError

from refusals import refused
from tasks import awslogs, shell
from waiting import until


@pytest.fixture
def group(aws, name):
    path = f"/conformance/{name}"
    aws.logs.create_log_group(logGroupName=path, tags={"a": "b"})
    yield path
    aws.logs.delete_log_group(logGroupName=path)


@pytest.fixture
def stream(aws, group):
    aws.logs.create_log_stream(logGroupName=group, logStreamName="s")
    return "s"


def now():
    return int(time.time() * 1000)


def put(aws, group, stream, *messages):
    start = now()
    events = [{"timestamp": start + i, "message": it} for i, it in enumerate(messages)]
    aws.logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    return events


def test_groups_are_made_shown_and_deleted(aws, name):
    path = f"/conformance/{name}"
    aws.logs.create_log_group(logGroupName=path)
    refused("ResourceAlreadyExistsException", aws.logs.create_log_group, logGroupName=path)
    shown = aws.logs.describe_log_groups(logGroupNamePrefix=path)["logGroups"]
    assert [it["logGroupName"] for it in shown] == [path]
    assert shown[0]["arn"].endswith(f":log-group:{path}:*")
    assert "retentionInDays" not in shown[0]
    aws.logs.delete_log_group(logGroupName=path)
    assert aws.logs.describe_log_groups(logGroupNamePrefix=path)["logGroups"] == []
    refused("ResourceNotFoundException", aws.logs.delete_log_group, logGroupName=path)


def test_retention_comes_and_goes(aws, group):
    def retention():
        shown = aws.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
        return shown.get("retentionInDays")

    aws.logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    assert retention() == 7
    refused("InvalidParameterException", aws.logs.put_retention_policy, logGroupName=group,
            retentionInDays=8)
    aws.logs.delete_retention_policy(logGroupName=group)
    assert retention() is None


def test_groups_are_listed_page_by_page(aws, name):
    paths = [f"/conformance/{name}/{number}" for number in range(3)]
    for path in paths:
        aws.logs.create_log_group(logGroupName=path)
    pages = list(aws.logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix=f"/conformance/{name}/", PaginationConfig={"PageSize": 1}))
    assert [len(page["logGroups"]) for page in pages] == [1, 1, 1]
    assert [page["logGroups"][0]["logGroupName"] for page in pages] == paths
    for path in paths:
        aws.logs.delete_log_group(logGroupName=path)


def test_streams_are_made_listed_and_deleted(aws, group):
    for it in ("b", "a", "c"):
        aws.logs.create_log_stream(logGroupName=group, logStreamName=it)
    refused("ResourceAlreadyExistsException", aws.logs.create_log_stream, logGroupName=group,
            logStreamName="a")
    pages = list(aws.logs.get_paginator("describe_log_streams").paginate(
        logGroupName=group, PaginationConfig={"PageSize": 1}))
    assert [page["logStreams"][0]["logStreamName"] for page in pages] == ["a", "b", "c"]
    aws.logs.delete_log_stream(logGroupName=group, logStreamName="b")
    shown = aws.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="b")
    assert shown["logStreams"] == []
    refused("ResourceNotFoundException", aws.logs.delete_log_stream, logGroupName=group,
            logStreamName="b")


def test_events_come_back_in_order(aws, group, stream):
    sent = put(aws, group, stream, "one", "two", "three")
    got = aws.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
    assert [(it["timestamp"], it["message"]) for it in got["events"]] == [
        (it["timestamp"], it["message"]) for it in sent]
    assert all(it["ingestionTime"] for it in got["events"])
    # At the end the token repeats: that is how clients know.
    more = aws.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True,
                                   nextToken=got["nextForwardToken"])
    assert more["events"] == []
    assert more["nextForwardToken"] == got["nextForwardToken"]
    put(aws, group, stream, "four")
    again = aws.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True,
                                    nextToken=more["nextForwardToken"])
    assert [it["message"] for it in again["events"]] == ["four"]


def test_reading_from_the_tail_and_backwards(aws, group, stream):
    put(aws, group, stream, "one", "two", "three")
    last = aws.logs.get_log_events(logGroupName=group, logStreamName=stream, limit=1,
                                   startFromHead=False)
    assert [it["message"] for it in last["events"]] == ["three"]
    before = aws.logs.get_log_events(logGroupName=group, logStreamName=stream, limit=1,
                                     nextToken=last["nextBackwardToken"])
    assert [it["message"] for it in before["events"]] == ["two"]


def test_a_stream_that_is_not_there(aws, group, name):
    refused("ResourceNotFoundException", aws.logs.get_log_events, logGroupName=group,
            logStreamName="never")
    refused("ResourceNotFoundException", aws.logs.get_log_events,
            logGroupName=f"/never/{name}", logStreamName="never")
    refused("ResourceNotFoundException", aws.logs.put_log_events, logGroupName=group,
            logStreamName="never", logEvents=[{"timestamp": now(), "message": "x"}])


def test_a_stream_shows_its_first_and_last_event(aws, group, stream):
    shown = aws.logs.describe_log_streams(logGroupName=group)["logStreams"][0]
    assert "firstEventTimestamp" not in shown
    sent = put(aws, group, stream, "one", "two")
    shown = aws.logs.describe_log_streams(logGroupName=group)["logStreams"][0]
    assert shown["firstEventTimestamp"] == sent[0]["timestamp"]
    assert shown["lastEventTimestamp"] == sent[1]["timestamp"]
    assert shown["lastIngestionTime"]


def test_bad_events_are_refused(aws, group, stream):
    send = aws.logs.put_log_events
    backwards = [{"timestamp": now(), "message": "b"}, {"timestamp": now() - 1000, "message": "a"}]
    refused("InvalidParameterException", send, logGroupName=group, logStreamName=stream,
            logEvents=backwards)
    old = [{"timestamp": 1000, "message": "from 1970"}]
    answer = send(logGroupName=group, logStreamName=stream, logEvents=old)
    assert answer["rejectedLogEventsInfo"]["tooOldLogEventEndIndex"] == 1
    ahead = [{"timestamp": now() + 3 * 3600 * 1000, "message": "from tomorrow"}]
    answer = send(logGroupName=group, logStreamName=stream, logEvents=ahead)
    assert answer["rejectedLogEventsInfo"]["tooNewLogEventStartIndex"] == 0


def test_filtering_over_streams(aws, group):
    for it in ("a", "b"):
        aws.logs.create_log_stream(logGroupName=group, logStreamName=it)
        put(aws, group, it, f"{it} ERROR broke", f"{it} fine")

    def filtered(**more):
        pages = aws.logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, PaginationConfig={"PageSize": 1}, **more)
        return sorted(event["message"] for page in pages for event in page["events"])

    assert filtered() == ["a ERROR broke", "a fine", "b ERROR broke", "b fine"]
    assert filtered(filterPattern="ERROR") == ["a ERROR broke", "b ERROR broke"]
    assert filtered(filterPattern='"ERROR broke"') == ["a ERROR broke", "b ERROR broke"]
    assert filtered(filterPattern="ERROR -broke") == []
    assert filtered(filterPattern="?fine ?nothing") == ["a fine", "b fine"]
    assert filtered(logStreamNames=["a"]) == ["a ERROR broke", "a fine"]
    assert filtered(logStreamNamePrefix="b") == ["b ERROR broke", "b fine"]
    assert filtered(startTime=now() + 60_000) == []


def test_filtering_drops_its_token_at_the_end(aws, group, stream):
    put(aws, group, stream, "one")
    answer = aws.logs.filter_log_events(logGroupName=group)
    while "nextToken" in answer:
        answer = aws.logs.filter_log_events(logGroupName=group, nextToken=answer["nextToken"])
    assert "nextToken" not in answer


def test_tags_of_a_group(aws, group):
    shown = aws.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    arn = shown["arn"].removesuffix(":*")
    assert aws.logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b"}
    aws.logs.tag_resource(resourceArn=arn, tags={"c": "d"})
    aws.logs.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert aws.logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"c": "d"}


def follow(cli2, group):
    return subprocess.Popen(
        [*cli2.command, "logs", "tail", group, "--follow", "--format", "short", "--since", "1h"],
        env={**cli2.environment, "PYTHONUNBUFFERED": "1"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)


def read_until(process, wanted, seconds=45):
    """Reads lines until one holds `wanted`."""
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    deadline = time.monotonic() + seconds
    seen = []
    while time.monotonic() < deadline:
        if selector.select(timeout=1):
            line = process.stdout.readline()
            assert line, f"`aws logs tail` ended: {seen}"
            seen.append(line)
            if wanted in line:
                return seen
    raise AssertionError(f"no line with {wanted!r} in {seconds} s: {seen}")


@pytest.mark.deadline(120)
def test_the_cli_follows_a_running_task(cluster, busybox, aws, cli2, group):
    logging = awslogs(group, aws.logs.meta.region_name)
    script = "i=0; while true; do i=$((i+1)); echo line $i; sleep 1; done"
    arn = cluster.start(shell(busybox, f"trap exit TERM; {script}", logConfiguration=logging))
    cluster.until_running(arn)
    process = follow(cli2, group)
    try:
        seen = read_until(process, "line 8")
        numbers = [int(line.split("line ")[1]) for line in seen if "line " in line]
        assert numbers == list(range(1, len(numbers) + 1)), seen
    finally:
        process.kill()
        process.wait()


def test_streams_are_named_after_the_task(cluster, busybox, aws):
    task, lines = cluster.logged(shell(busybox, "echo out; echo err >&2"))
    assert sorted(lines["app"]) == ["err", "out"]
    group = f"/conformance/{cluster.name}"
    streams = aws.logs.describe_log_streams(logGroupName=group)["logStreams"]
    task_id = task["taskArn"].rsplit("/", 1)[1]
    assert [it["logStreamName"] for it in streams] == [f"p/app/{task_id}"]


@pytest.mark.parametrize("create", [True, False])
def test_a_missing_group_is_made_only_when_asked(cluster, busybox, aws, create):
    group = f"/conformance/{cluster.name}/missing"
    options = {"awslogs-create-group": "true"} if create else {}
    logging = awslogs(group, aws.logs.meta.region_name, **options)
    task = cluster.finish(shell(busybox, "echo x", logConfiguration=logging))
    if create:
        assert cluster.lines(group, task, "app") == ["x"]
        aws.logs.delete_log_group(logGroupName=group)
    else:
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"].startswith("ResourceInitializationError"), task


STACK = r"""
echo "INFO 2026-11-21 all is well"
echo "ERROR 2026-11-21 it broke"; echo "  at one"; echo "  at two"
echo "INFO 2026-11-21 it goes on"
"""


@pytest.mark.parametrize("option, value", [
    ("awslogs-multiline-pattern", "^(INFO|ERROR)"), ("awslogs-datetime-format", "%Y-%m-%d")])
def test_lines_that_belong_together_are_one_event(cluster, busybox, aws, group, option, value):
    logging = awslogs(group, aws.logs.meta.region_name, **{option: value})
    # One that ended, and one that says nothing more while it runs.
    task = cluster.finish(shell(busybox, STACK, logConfiguration=logging))
    wanted = ["INFO 2026-11-21 all is well\n",
              "ERROR 2026-11-21 it broke\n  at one\n  at two\n", "INFO 2026-11-21 it goes on\n"]
    assert cluster.lines(group, task, "app") == wanted
    script = f"trap exit TERM; {STACK} while true; do sleep 0.1; done"
    arn = cluster.start(shell(busybox, script, logConfiguration=logging))
    described = aws.ecs.describe_tasks(cluster=cluster.name, tasks=[arn])["tasks"][0]
    until(lambda: _said(cluster, group, described) == wanted, 20, "the last event is told, too")


def _said(cluster, group, task):
    try:
        return cluster.lines(group, task, "app")
    except ClientError:
        return None


def test_options_that_make_no_pattern_are_told(cluster, busybox, aws, group):
    pattern = {"awslogs-multiline-pattern": "("}
    logging = awslogs(group, aws.logs.meta.region_name, **pattern)
    task = cluster.finish(shell(busybox, "true", logConfiguration=logging))
    reason = task["containers"][0]["reason"]
    assert reason.startswith("CannotStartContainerError: Error response from daemon: "), task
    assert "could not parse multiline pattern" in reason, reason
