"""What the kernel of this machine holds of ours, read from /proc and /sys: links, cgroups, mounts
and processes. Tests compare it before and after, because what a task leaves behind nobody else
removes."""

import os
import pathlib

NAME = "neargate"
LINK_PREFIX = "ng"


def census():
    return mounts() | links() | cgroups() | processes()


def mounts():
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return {f"mount {line.split()[4]}" for line in lines}


def links():
    names = os.listdir("/sys/class/net")
    return {f"link {name}" for name in names if name.startswith(LINK_PREFIX)}


def cgroups():
    folders = (folder for folder, _, _ in os.walk("/sys/fs/cgroup"))
    return {f"cgroup {folder}" for folder in folders if NAME in folder}


def processes():
    """Ours by name (the zygote's begins with ours, too) and those in our cgroups."""
    found = set()
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
            found.add(f"process {folder.name}: {command}")
    return found


def zygotes():
    """The processes that supervisors are forked from: one, which a restart replaces by another."""
    return {line for line in processes() if " zygote " in line}
