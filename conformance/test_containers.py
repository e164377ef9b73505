"""What containers see and do: every field of a container definition that this suite's cluster
claims to honour is looked at from inside, by a real process that writes what it finds to its
log."""

import time

import pytest

from tasks import container, exit_codes, shell
from waiting import until


def after(name, condition):
    return {"dependsOn": [{"containerName": name, "condition": condition}]}


def logged(cluster, image, script, **more):
    """What one shell script wrote."""
    task, lines = cluster.logged(shell(image, script, **more))
    assert exit_codes(task) == {"app": 0}, (task, lines)
    return lines["app"]


def test_the_images_own_command_and_environment(cluster, busybox):
    task, lines = cluster.logged(container(busybox))
    assert lines["app"] == ["hello"]
    assert logged(cluster, busybox, "echo $FROM_IMAGE") == ["yes"]


def test_entry_point_command_environment_and_directory(cluster, busybox):
    definition = container(
        busybox, "echo $0 $1 $A; pwd", "one", "two", entryPoint=["/bin/sh", "-c"],
        environment=[{"name": "A", "value": "a b"}], workingDirectory="/data/deep")
    task, lines = cluster.logged(definition)
    assert lines["app"] == ["one two a b", "/data/deep"]


@pytest.mark.parametrize("user, shown", [
    ("1234", "1234:0"),
    ("1000", "1000:1000"),
    ("1000:2000", "1000:2000"),
    ("app", "1000:1000"),
    ("app:extra", "1000:2000"),
])
def test_the_user(cluster, busybox, user, shown):
    assert logged(cluster, busybox, "echo $(id -u):$(id -g)", user=user) == [shown]


def test_an_unknown_user_is_told(cluster, busybox):
    task = cluster.finish(container(busybox, "true", user="nobody-here"))
    assert task["stopCode"] == "TaskFailedToStart"
    assert "nobody-here" in task["stoppedReason"] + task["containers"][0].get("reason", "")


def test_containers_of_a_task_share_their_network(cluster, busybox):
    server = shell(busybox, "mkdir /tmp/w; echo found >/tmp/w/x; exec httpd -f -p 8080 -h /tmp/w",
                   name="server", essential=False, stopTimeout=2, healthCheck={
                       "command": ["CMD-SHELL", "wget -qO- http://127.0.0.1:8080/x"],
                       "interval": 5, "timeout": 2, "retries": 10})
    client = shell(busybox, "wget -qO- http://127.0.0.1:8080/x", **after("server", "HEALTHY"))
    task, lines = cluster.logged(server, client)
    assert lines["app"] == ["found"]


def test_conditions_order_containers(cluster, busybox):
    volumes = {"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}
    first = shell(busybox, "echo 1 >>/v/x", name="first", essential=False, **volumes)
    second = shell(busybox, "echo 2 >>/v/x; exit 3", name="second", essential=False, **volumes,
                   **after("first", "SUCCESS"))
    third = shell(busybox, "echo 3 >>/v/x; cat /v/x", **volumes, **after("second", "COMPLETE"))
    task, lines = cluster.logged(third, second, first, volumes=[{"name": "v"}])
    assert lines["app"] == ["1", "2", "3"]
    assert exit_codes(task) == {"first": 0, "second": 3, "app": 0}


def test_a_condition_that_can_not_come_true_ends_the_task(cluster, busybox):
    first = shell(busybox, "exit 1", name="first", essential=False)
    task = cluster.finish(first, container(busybox, "true", **after("first", "SUCCESS")))
    assert task["stopCode"] == "TaskFailedToStart"
    assert exit_codes(task)["app"] is None


def test_start_timeout_ends_a_wait(cluster, busybox):
    first = container(busybox, "sleep", "1000", name="first", essential=False, startTimeout=2)
    first["stopTimeout"] = 2
    task = cluster.finish(first, container(busybox, "true", **after("first", "COMPLETE")))
    assert task["stopCode"] == "TaskFailedToStart"


@pytest.mark.deadline(90)
def test_health_is_what_the_checks_say(cluster, busybox):
    check = {"command": ["CMD-SHELL", "test -e /tmp/well"], "interval": 5, "timeout": 2,
             "retries": 1}
    arn = cluster.start(shell(busybox, "trap exit TERM; touch /tmp/well; sleep 8; rm /tmp/well; "
                              "sleep 1000 & wait", healthCheck=check, stopTimeout=2))

    def health():
        task = cluster.describe(arn)
        return task["healthStatus"], task["containers"][0]["healthStatus"]

    cluster.until_running(arn)
    until(lambda: health() == ("HEALTHY", "HEALTHY"), 20, "the check passes")
    # Outside a service nobody replaces it: an unhealthy essential container is only shown.
    until(lambda: health() == ("UNHEALTHY", "UNHEALTHY"), 30, "the check fails")


def test_without_a_check_health_is_unknown(cluster, busybox):
    arn = cluster.start(container(busybox, "sleep", "1000", stopTimeout=2))
    assert cluster.until_running(arn)["healthStatus"] == "UNKNOWN"


def test_volumes_are_shared_and_go_with_the_task(cluster, busybox):
    mount = [{"sourceVolume": "v", "containerPath": "/v"}]
    reading = [{"sourceVolume": "v", "containerPath": "/v", "readOnly": True}]
    writer = shell(busybox, "echo shared >/v/x", name="writer", essential=False,
                   mountPoints=mount)
    script = "cat /v/x; touch /v/y 2>/dev/null || echo read-only"
    reader = shell(busybox, script, mountPoints=reading, **after("writer", "SUCCESS"))
    task, lines = cluster.logged(writer, reader, volumes=[{"name": "v"}])
    assert lines["app"][0] == "shared"
    assert lines["app"][-1] == "read-only"
    again, lines = cluster.logged(shell(busybox, "ls /v | wc -l", mountPoints=mount),
                                  volumes=[{"name": "v"}])
    assert lines["app"] == ["0"]


def test_volumes_from_another_container(cluster, busybox):
    writer = shell(busybox, "echo there >/v/x", name="writer", essential=False,
                   mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}])
    reader = shell(busybox, "cat /v/x", volumesFrom=[{"sourceContainer": "writer"}],
                   **after("writer", "SUCCESS"))
    task, lines = cluster.logged(writer, reader, volumes=[{"name": "v"}])
    assert lines["app"] == ["there"]


def test_a_read_only_root(cluster, busybox):
    script = "touch /x 2>/dev/null || echo read-only"
    assert logged(cluster, busybox, script, readonlyRootFilesystem=True) == ["read-only"]
    assert logged(cluster, busybox, "touch /x && echo writable") == ["writable"]


def test_ulimits(cluster, busybox):
    limits = [{"name": "nofile", "softLimit": 123, "hardLimit": 456}]
    script = "ulimit -Sn; ulimit -Hn"
    assert logged(cluster, busybox, script, ulimits=limits) == ["123", "456"]


def test_an_init_process_reaps(cluster, busybox):
    with_init = {"linuxParameters": {"initProcessEnabled": True}}
    assert logged(cluster, busybox, "test $$ = 1 && echo first || echo child") == ["first"]
    assert logged(cluster, busybox, "test $$ = 1 && echo first || echo child", **with_init) == [
        "child"]


def test_the_sandbox_is_narrow(cluster, busybox):
    lines = logged(cluster, busybox, "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' "
                   "/proc/self/status; cat /proc/kcore 2>&1 | wc -c; "
                   "(echo 1 >/proc/sys/kernel/panic) 2>/dev/null || echo refused; "
                   "ls /sys/class/net; hostname; ls /proc/1/root >/dev/null && echo own")
    status = dict(line.split(":") for line in lines[:4])
    effective = int(status["CapEff"].strip(), 16)
    # Docker's default set, which is Fargate's; SYS_ADMIN (21), NET_ADMIN (12), SYS_PTRACE (19) not.
    assert effective == 0xA80425FB, status
    assert int(status["CapBnd"].strip(), 16) == effective
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert "refused" in lines
    assert "eth0" in lines and "lo" in lines


def test_capabilities_as_on_fargate(cluster, busybox):
    def effective(**capabilities):
        line = logged(cluster, busybox, "grep CapEff /proc/self/status",
                      linuxParameters={"capabilities": capabilities})[0]
        return int(line.split(":")[1].strip(), 16)

    assert effective(add=["SYS_PTRACE"]) & 1 << 19
    assert not effective(drop=["NET_RAW"]) & 1 << 13
    assert effective(drop=["ALL"]) == 0


def test_memory_beyond_the_limit_kills_with_the_reason(cluster, busybox):
    hungry = shell(busybox, "x=x; while true; do x=$x$x; done", memory=32)
    task = cluster.finish(hungry)
    assert exit_codes(task) == {"app": 137}
    reason = task["containers"][0]["reason"]
    assert reason.startswith("OutOfMemoryError: container killed due to memory usage"), task


def test_the_task_has_no_more_than_its_size(cluster, busybox):
    hungry = shell(busybox, "x=x; while true; do x=$x$x; done")
    task = cluster.finish(hungry)
    assert exit_codes(task) == {"app": 137}


@pytest.mark.deadline(120)
def test_cpu_is_shared_out_by_size(cluster, busybox):
    # A quarter of a vCPU: for one second of computing about four must pass.
    script = (
        "begun=$(cut -d' ' -f1 /proc/uptime); i=0; "
        "while [ $i -lt 1000000 ]; do i=$((i+1)); done; "
        "times >/tmp/times; head -1 /tmp/times; cut -d' ' -f1 /proc/uptime; echo $begun"
    )
    times, ended, begun = logged(cluster, busybox, script)

    def seconds(text):
        minutes, rest = text.rstrip("s").split("m")
        return 60 * float(minutes) + float(rest)

    user, system = times.split()[:2]
    computed = seconds(user) + seconds(system)
    assert computed > 0.3, "too little work to tell"
    assert computed / (float(ended) - float(begun)) < 0.35


def test_a_stop_signal_is_heard(cluster, busybox, aws):
    group = shell(busybox, "trap 'echo bye; exit 7' TERM; sleep 1000 & wait")
    arn = cluster.start(group)
    cluster.until_running(arn)
    started = time.monotonic()
    aws.ecs.stop_task(cluster=cluster.name, task=arn)
    assert exit_codes(cluster.until_stopped(arn)) == {"app": 7}
    assert time.monotonic() - started < 15


def test_who_does_not_listen_is_killed_after_stop_timeout(cluster, busybox, aws):
    arn = cluster.start(shell(busybox, "trap '' TERM; while true; do sleep 1; done", stopTimeout=3))
    cluster.until_running(arn)
    started = time.monotonic()
    aws.ecs.stop_task(cluster=cluster.name, task=arn)
    assert exit_codes(cluster.until_stopped(arn)) == {"app": 137}
    assert 2.5 < time.monotonic() - started < 20


def test_stopping_goes_in_reverse_order(cluster, busybox):
    volumes = {"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}], "stopTimeout": 10}
    base = shell(busybox, "trap 'echo base; cat /v/x; exit 0' TERM; sleep 1000 & wait",
                 name="base", **volumes)
    app = shell(busybox, "trap 'echo app >/v/x; exit 0' TERM; sleep 1000 & wait", **volumes,
                **after("base", "START"))
    end = shell(busybox, "sleep 1", name="end", **after("app", "START"))
    task, lines = cluster.logged(base, app, end, volumes=[{"name": "v"}])
    assert lines["base"] == ["base", "app"]


@pytest.mark.deadline(150)
def test_a_restart_policy_restarts_one_container(cluster, busybox):
    script = "echo x >>/v/x; test $(wc -l </v/x) -ge 2 && exit 0; sleep 61; exit 1"
    restarting = shell(busybox, script, restartPolicy={
        "enabled": True, "ignoredExitCodes": [0], "restartAttemptPeriod": 60},
        mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}])
    arn = cluster.start(restarting, volumes=[{"name": "v"}])
    until(lambda: cluster.describe(arn)["lastStatus"] == "STOPPED", 120, "the second run ends")
    assert exit_codes(cluster.describe(arn)) == {"app": 0}


def test_a_non_essential_exit_leaves_the_task_running(cluster, busybox):
    side = shell(busybox, "exit 5", name="side", essential=False)
    arn = cluster.start(container(busybox, "sleep", "1000", stopTimeout=2), side)
    cluster.until_running(arn)
    until(lambda: exit_codes(cluster.describe(arn))["side"] == 5, 10, "the side container ended")
    assert cluster.describe(arn)["lastStatus"] == "RUNNING"


def test_names_resolve_inside(cluster, busybox):
    lines = logged(cluster, busybox, "cat /etc/hosts /etc/hostname /etc/resolv.conf; hostname -i")
    assert any("localhost" in line for line in lines)
    assert any(line.startswith("nameserver") for line in lines)


def test_output_without_a_final_newline_and_long_lines(cluster, busybox):
    lines = logged(cluster, busybox, "head -c 20000 /dev/zero | tr '\\0' x; echo; printf end")
    assert "".join(lines[:-1]) == "x" * 20000
    assert lines[-1] == "end"
