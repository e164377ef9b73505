"""What the kernel of this machine holds of ours, read from /proc and /sys: mounts, links, routes,
cgroups and processes; and the machine's hosts file, which we write in. Tests compare it before and
after, because what a task leaves behind nobody else removes."""

import collections
import os
import pathlib

from waiting import until

NAME = "neargate"
LINK_PREFIX = "ng"


def census():
    """How often each thing is there. Processes count by what they run, so that one which a restart
    has replaced is still one."""
    commands = (f"process {command}" for command in processes().values())
    return collections.Counter(
        [*mounts(), *links(), *routes(), *cgroups(), *commands, *hosts()])


def until_as(before, seconds):
    """Waits until nothing is there that was not there before; fails with a list of what is."""
    left = collections.Counter()

    def clean():
        nonlocal left
        now = census()
        # What others wrote in the hosts file must not go, either.
        gone = [it for it in before - now if it.startswith("hosts") and f"# {NAME} " not in it]
        left = now - before + collections.Counter(f"gone: {it}" for it in gone)
        return not left

    try:
        until(clean, seconds, "the kernel is as before")
    except AssertionError:
        raise AssertionError(f"left in the kernel after {seconds} s: {sorted(left)}") from None


def mounts():
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return [f"mount {line.split()[4]}" for line in lines]


def hosts():
    """The lines of /etc/hosts, with how each ends."""
    path = pathlib.Path("/etc/hosts")
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [f"hosts {line.decode(errors='replace')!r}" for line in lines]


def loop_devices(folder):
    """Disks of tasks' file systems whose files are, or were, in this folder."""
    files = pathlib.Path("/sys/block").glob("loop*/loop/backing_file")
    return [file for file in map(_text, files) if file.startswith(f"{folder}/")]


def _text(path):
    try:
        return path.read_text()
    except OSError:
        # It ended while it was looked at.
        return ""


def links():
    names = os.listdir("/sys/class/net")
    return [f"link {name}" for name in names if name.startswith(LINK_PREFIX)]


def routes():
    """By which a runtime says that the pool of public addresses is not there: 198.19.0.0/17, with
    a metric that is higher than any that others give."""
    lines = pathlib.Path("/proc/net/route").read_text().splitlines()[1:]
    found = [(it[1], int(it[6]), it[7]) for it in map(str.split, lines)]
    return [f"route {metric}" for to, metric, mask in found
            if (to, mask) == ("000013C6", "0080FFFF") and metric >= 1 << 31]


def cgroups():
    folders = (folder for folder, _, _ in os.walk("/sys/fs/cgroup"))
    return [f"cgroup {folder}" for folder in folders if NAME in folder]


def processes():
    """The command lines, by process id, of those that carry our name (the zygote's begins with it)
    and those that live in our cgroups."""
    found = {}
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            name = (folder / "comm").read_text()
            groups = (folder / "cgroup").read_text()
            command = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            # It ended while we looked.
            continue
        if name.startswith(NAME) or NAME in groups:
            found[int(folder.name)] = command
    return found
