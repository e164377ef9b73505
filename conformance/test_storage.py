"""Ephemeral storage, seen from inside a task: it has the size that was asked for, all containers
share it, and past it no space is left, while a neighbour goes on."""

import json

from tasks import container, exit_codes
from test_metadata import FETCH, run



def fill(gib, path="/filled"):
    """Takes so much of the disk without writing it; prints what came of it."""
    return f"""
import errno
with open("{path}", "w") as file:
    try:
        os.posix_fallocate(file.fileno(), 0, {gib} << 30)
        print("fits")
    except OSError as refused:
        print(os.strerror(refused.errno))
        file.truncate(0)
"""


def storage_told(cluster, python, script, **more):
    metrics = """
body = json.loads(fetch(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task")[1])
print(json.dumps(body["EphemeralStorageMetrics"]))
"""
    _, lines = run(cluster, python, script + metrics, **more)
    return lines[:-1], json.loads(lines[-1])


def test_a_task_has_20_gib_and_not_one_more(cluster, python):
    said, told = storage_told(cluster, python, fill(20))
    assert said == ["No space left on device"]
    assert told["Reserved"] == 20 << 10
    said, told = storage_told(cluster, python, fill(19))
    assert said == ["fits"]
    assert 19 << 10 <= told["Utilized"] <= 20 << 10


def test_more_is_had_by_asking(cluster, python):
    wanted = {"sizeInGiB": 40}
    said, told = storage_told(cluster, python, fill(39), ephemeralStorage=wanted)
    assert said == ["fits"] and told["Reserved"] == 40 << 10


def test_containers_share_it_and_neighbours_do_not(cluster, python):
    greedy = container(python, "-c", FETCH + fill(12), name="greedy")
    late = container(python, "-c", FETCH + fill(12), name="late", dependsOn=[
        {"containerName": "greedy", "condition": "COMPLETE"}])
    greedy["essential"] = False
    task, lines = cluster.logged(greedy, late)
    assert exit_codes(task) == {"greedy": 0, "late": 0}
    assert lines == {"greedy": ["fits"], "late": ["No space left on device"]}
    said, _ = storage_told(cluster, python, fill(19))
    assert said == ["fits"]
