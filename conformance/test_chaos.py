"""kill -9, two hundred times, at random, of every kind of process there is, while tasks start and
stop: no task may be lost, run twice or stay stuck, and nothing may stay in the kernel. Each task
writes one line when it begins, so running twice would show; each call is repeated with its client
token until it is acknowledged, so losing what was acknowledged would show too."""

import os
import pathlib
import random
import signal
import threading

import pytest
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

import kernel
from tasks import shell
from waiting import until

KILLS = 200
TASKS_AT_ONCE = 12
# All that is needed to see the same kills again, as far as the kernel's own scheduling lets us.
SEED = int(os.environ.get("NEARGATE_TEST_SEED") or random.randrange(2**32))


class Load(threading.Thread):
    """Starts tasks that end by themselves and tasks that are stopped, until told to end."""

    def __init__(self, cluster, short, long):
        super().__init__()
        self.cluster = cluster
        self.definitions = [short, long]
        self.started = []
        self.stopped = set()
        self.error = None
        self.over = threading.Event()

    def run(self):
        try:
            while not self.over.is_set():
                self.step(len(self.started))
        except BaseException as error:
            # Told by the test itself, in its own thread.
            self.error = error

    def step(self, number):
        arn = self.acknowledged(
            self.cluster.run, task_definition=self.definitions[number % 2],
            clientToken=f"{self.cluster.name}-{number}")["tasks"][0]["taskArn"]
        assert arn not in self.started, f"two calls gave one task: {arn}"
        self.started.append(arn)
        if number % 2 == 1:
            self.stop(random.choice(self.started[1::2]))
        while not self.over.is_set() and len(self.unfinished()) >= TASKS_AT_ONCE:
            for long in self.started[1::2]:
                self.stop(long)

    def stop(self, arn):
        if arn not in self.stopped:
            self.acknowledged(self.cluster.aws.ecs.stop_task, cluster=self.cluster.name, task=arn)
            self.stopped.add(arn)

    def unfinished(self):
        listed = self.acknowledged(self.cluster.aws.ecs.list_tasks, cluster=self.cluster.name)
        return listed["taskArns"]

    def acknowledged(self, call, **arguments):
        """Repeats a call until it is answered; what is refused is an error."""
        def answer():
            try:
                return call(**arguments)
            except (ConnectionError, HTTPClientError):
                return None
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                    return None
                raise

        return until(answer, 60, f"{call} is answered")


def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def victims(server):
    """The processes that may die, by kind."""
    kinds = {"control plane": [server.process.pid], "zygote": [], "supervisor": []}
    for folder in pathlib.Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "comm").read_text().strip() == "neargate-zygote":
                mine = str(server.data_dir) in (folder / "cmdline").read_text()
                kind = "zygote" if parent(folder.name) == server.process.pid else "supervisor"
                kinds[kind] += [int(folder.name)] if mine else []
        except OSError:
            # It ended while we looked.
            continue
    return {kind: pids for kind, pids in kinds.items() if pids}


def kill_one(server, chance):
    """Kills one process of a random kind; the control plane comes back as a service manager would
    bring it back."""
    kinds = victims(server)
    kind = chance.choice(sorted(kinds))
    if kind == "control plane":
        server.kill()
        server.start()
        return kind
    try:
        os.kill(chance.choice(kinds[kind]), signal.SIGKILL)
    except ProcessLookupError:
        # It ended by itself a moment before; that is no kill.
        return None
    if not server.is_running():
        server.start()
    return kind


@pytest.mark.deadline(900)
def test_kills_at_random(server, cluster, busybox):
    print(f"NEARGATE_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    # The first task makes what all tasks share.
    cluster.finish(shell(busybox, "exit 0"))
    before = kernel.census()
    logging = cluster.logging()
    definitions = [
        cluster.register(shell(busybox, script, logConfiguration=logging, stopTimeout=2))
        for script in ("echo begin; exit 4", "echo begin; trap 'exit 5' TERM; sleep 1000 & wait")
    ]
    load = Load(cluster, *definitions)
    load.start()
    killed = []
    try:
        while len(killed) < KILLS:
            tasks = len(load.started)
            kind = kill_one(server, chance)
            killed += [kind] if kind else []
            assert load.error is None, load.error
            if kind == "control plane":
                # Else nothing but start and die would happen.
                until(lambda: len(load.started) > tasks or load.error, 60, "one task is started")
    finally:
        load.over.set()
        load.join()
    if not server.is_running():
        server.start()
    assert load.error is None, load.error
    check_all(cluster, load)
    print({kind: killed.count(kind) for kind in killed}, len(load.started), "tasks")
    kernel.until_as(before, 30)


def check_all(cluster, load):
    """Every task that was acknowledged is there, ends, and began at most once."""
    for arn in load.started[1::2]:
        load.stop(arn)
    ended = []
    for start in range(0, len(load.started), 100):
        arns = load.started[start:start + 100]
        cluster.until_stopped(*arns)
        answer = cluster.aws.ecs.describe_tasks(cluster=cluster.name, tasks=arns)
        assert answer["failures"] == []
        ended += answer["tasks"]
    assert len(ended) == len(load.started)
    pages = cluster.aws.logs.get_paginator("filter_log_events").paginate(
        logGroupName=cluster.log_group)
    begun = [event["logStreamName"] for page in pages for event in page["events"]
             if event["message"] == "begin"]
    twice = {stream for stream in begun if begun.count(stream) > 1}
    assert not twice, twice
    whole = 0
    for task in ended:
        assert task["stopCode"], task
        code = task["containers"][0].get("exitCode")
        if task["stopCode"] == "EssentialContainerExited" and code == 4:
            whole += 1
            stream = f"p/app/{task['taskArn'].rsplit('/', 1)[1]}"
            assert stream in begun, task
    assert whole, "not one task ran to its end"
