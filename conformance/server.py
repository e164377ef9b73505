"""One `neargate up` under test: started on a free port with a data folder of its own, ready when it
says so, stopped the way an operator stops it. It is told nothing but its command line, and asked
for its credentials as a user asks: `neargate env`."""

import contextlib
import http.client
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile

import kernel
from waiting import until

READY_SECONDS = 30
STOP_SECONDS = 45
ROOT = pathlib.Path(__file__).resolve().parent.parent


def binary():
    """The binary under test: NEARGATE_BIN, or the newest debug build."""
    named = os.environ.get("NEARGATE_BIN")
    if named:
        return named
    built = [*ROOT.glob("target/*/debug/neargate"), *ROOT.glob("target/debug/neargate")]
    if not built:
        raise AssertionError("no neargate binary: set NEARGATE_BIN or run `cargo build`")
    return str(max(built, key=lambda path: path.stat().st_mtime))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A data folder and, between `start` and `stop`, the process that serves it: on this machine,
    or on one made of a network namespace (fleet.py), which commands enter by `enter`."""

    def __init__(self, data_dir, port=None, host="127.0.0.1", enter=()):
        self.data_dir = pathlib.Path(data_dir)
        self.port = port or free_port()
        self.host, self.enter = host, list(enter)
        self.log_path = self.data_dir.with_name(self.data_dir.name + ".log")
        self.process = None

    @property
    def url(self):
        return f"http://{self.host}:{self.port}"

    def start(self, *more):
        listen = f"{self.host}:{self.port}"
        command = [*self.enter, binary(), "up", "--data-dir", str(self.data_dir)]
        command += ["--listen", listen]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--log-format", "json", *more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._ready, READY_SECONDS, f"{self.url}/healthz answers 200")
        # That `env` answers as soon as /healthz does is one test's promise, not every test's need.
        until(self._has_environment, READY_SECONDS, "`neargate env` answers")
        return self

    def _has_environment(self):
        command = [binary(), "env", "--data-dir", str(self.data_dir)]
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"`up` ended with {self.process.returncode}:\n{self.log_tail()}")
        return self.is_healthy()

    def is_healthy(self):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self):
        """SIGTERM, as an operator or init would; ends with status 0 or it is a failure."""
        self.process.send_signal(signal.SIGTERM)
        self._ended(STOP_SECONDS)
        status = self.process.returncode
        assert status == 0, f"`up` ended with {status} on SIGTERM:\n{self.log_tail()}"

    def kill(self):
        self.process.kill()
        self._ended(STOP_SECONDS)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def _ended(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"`up` did not end in {seconds} s:\n{self.log_tail()}") from None

    def log_tail(self):
        if not self.log_path.exists():
            return "(no log)"
        told = self.log_path.read_text(errors="replace").splitlines()[-40:]
        balancer = self.data_dir / "balancer" / "log"
        if balancer.exists():
            told += ["(its balancer)", *balancer.read_text(errors="replace").splitlines()[-20:]]
        return "\n".join(told)

    def run(self, *arguments, check=True, seconds=30):
        """Another command of the binary, such as `neargate ps`."""
        command = [binary(), *arguments]
        ran = subprocess.run(
            command,
            env={**os.environ, **self.environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if check and ran.returncode != 0:
            raise AssertionError(f"{command} ended with {ran.returncode}: {ran.stderr}")
        return ran

    def environment(self):
        """What `eval "$(neargate env)"` would set."""
        command = [binary(), "env", "--data-dir", str(self.data_dir)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert ran.returncode == 0, f"{command}: {ran.stderr}"
        words = shlex.split(ran.stdout, comments=True)
        pairs = [re.fullmatch(r"([A-Z_]+)=(.*);?", word) for word in words]
        return {pair[1]: pair[2].rstrip(";") for pair in pairs if pair}


@contextlib.contextmanager
def fresh(name, kind=Server):
    """One that isn't started yet, with a folder of its own; neither is left, whatever comes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"neargate-{name}-"))
    server = kind(folder / "data")
    try:
        yield server
    finally:
        if server.is_running():
            server.kill()
        print(server.log_tail())
        # A mount left behind is a failure already; what lies under it is not ours to delete.
        if not any(str(folder) in line for line in kernel.mounts()):
            shutil.rmtree(folder)
