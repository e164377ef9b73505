"""Several machines on one: each a network namespace with an address of its own on a bridge, which
stands in a namespace, too, so that nothing of this machine's own network is touched but for one
cable by which the tests' clients reach the endpoint. On one runs `neargate up`, on the others
`neargate agent`."""

import os
import pathlib
import re
import secrets
import shlex
import signal
import subprocess

from server import Server, binary
from waiting import until

API_PORT = 4566
AGENTS_PORT = 4567
READY_SECONDS = 30
STOP_SECONDS = 45


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


class Bed:
    """The bridge, and the range of its addresses."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.name = f"tb{secrets.token_hex(3)}"
        self.range = f"10.213.{secrets.randbelow(250)}"
        self.machines = []
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "add", "hub", "type", "bridge")
        ip("-n", self.name, "link", "set", "hub", "up")
        ip("link", "add", self.name, "type", "veth", "peer", "name", "clients", "netns", self.name)
        ip("-n", self.name, "link", "set", "clients", "master", "hub", "up")
        ip("addr", "add", f"{self.range}.254/24", "dev", self.name)
        ip("link", "set", self.name, "up")

    def machine(self, zone):
        made = Machine(self, len(self.machines) + 1, zone)
        self.machines.append(made)
        return made

    def remove(self):
        """What still runs on the machines ends with them."""
        for machine in self.machines:
            machine.remove()
        ip("link", "del", self.name, check=False)
        ip("netns", "del", self.name, check=False)


class Machine:
    """One of them. An agent has a data folder and a process, as a server has."""

    def __init__(self, bed, number, zone):
        self.bed, self.zone = bed, zone
        self.netns = f"{bed.name}-{number}"
        self.address = f"{bed.range}.{number}"
        self.data_dir = bed.folder / f"machine-{number}"
        self.log_path = bed.folder / f"machine-{number}.log"
        self.process = None
        self.server = None
        self.plug_in()

    def plug_in(self):
        bed, cable = self.bed.name, f"to-{self.netns[-6:]}"
        ip("netns", "add", self.netns)
        ip("-n", self.netns, "link", "set", "lo", "up")
        ip("-n", bed, "link", "add", cable, "type", "veth",
           "peer", "name", "eth0", "netns", self.netns)
        ip("-n", bed, "link", "set", cable, "master", "hub", "up")
        ip("-n", self.netns, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.netns, "link", "set", "eth0", "up")

    @property
    def enter(self):
        # `ip netns exec` would hide the control groups.
        return ["nsenter", f"--net=/run/netns/{self.netns}"]

    def up(self):
        """`neargate up` here; it listens for agents."""
        if self.server is None:
            self.server = Server(self.data_dir, API_PORT, self.address, self.enter)
        self.server.start("--listen-agents", f"{self.address}:{AGENTS_PORT}", "--zone", self.zone)
        return self.server

    def agent_command(self, *more):
        zone = ["--zone", self.zone] if self.zone else []
        return [*self.enter, binary(), "agent", "--data-dir", str(self.data_dir), *zone, *more]

    def start(self, *more):
        """`neargate agent` here, until it says that it is an instance."""
        before = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.agent_command(*more), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def ready():
            said = self.log_path.read_text(errors="replace")[before:]
            assert self.process.poll() is None, f"the agent ended: {said}"
            return re.search(r"This machine is instance (\w+)", said)

        self.instance = until(ready, READY_SECONDS, "the agent says which instance it is")[1]
        return self

    def run_agent(self, *more, seconds=30):
        """An agent that is expected to end by itself."""
        return subprocess.run(self.agent_command(*more), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=seconds)

    def join(self, server):
        """Joins with a token made for it, as the printed command says."""
        printed = server.run("token", "--data-dir", str(server.data_dir)).stdout
        words = shlex.split(printed)
        assert words[:2] == ["neargate", "agent"]
        return self.start(*words[2:])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS)
        assert status == 0, f"`agent` ended with {status} on SIGTERM:\n{self.log_tail()}"

    def kill(self):
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def log_tail(self):
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-40:])

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def tag(self):
        """What the agent's things in the kernel are called after."""
        path = self.data_dir / "agent" / "tag"
        return path.read_text() if path.exists() else None

    def pids(self):
        """Everything that runs on this machine: in its network, or in the agent's groups."""
        try:
            ours = os.stat(f"/run/netns/{self.netns}").st_ino
        except FileNotFoundError:
            ours = None
        tag, found = self.tag, []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if os.stat(entry / "ns" / "net").st_ino == ours or (
                        tag and f"neargate-{tag}" in (entry / "cgroup").read_text()):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def die(self):
        """As if its power were cut: nothing of it runs, and its address answers no more."""
        ip("-n", self.netns, "link", "set", "eth0", "down", check=False)

        def dead():
            for pid in self.pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if self.process is not None:
                self.process.poll()
            return not self.pids()

        until(dead, 20, "nothing runs on the machine")

    def boot(self):
        """Its network is there again."""
        ip("-n", self.netns, "link", "set", "eth0", "up")

    def left(self):
        """What is in the kernel that should be gone when the agent is, and its tasks."""
        mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        found = [line.split()[4] for line in mounts if f"{self.data_dir}/" in line]
        found += [f"process {pid}" for pid in self.pids()]
        for folder, _, _ in os.walk("/sys/fs/cgroup"):
            if self.tag and f"neargate-{self.tag}" in folder:
                found.append(folder)
        links = subprocess.run([*self.enter, "cat", "/proc/net/dev"], capture_output=True,
                               text=True).stdout.splitlines()[2:]
        names = (line.split(":")[0].strip() for line in links)
        found += [name for name in names if name not in ("lo", "eth0")]
        routes = ip("-n", self.netns, "route", check=False).stdout.splitlines()
        return found + [route for route in routes if " via " in route]

    def remove(self):
        if self.process is not None or self.server is not None:
            self.die()
        ip("netns", "del", self.netns, check=False)
