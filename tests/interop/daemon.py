"""The daemon under test: the real binary, on loopback, told apart only by its command line."""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

BINARY = os.environ.get("BROKER_BIN") or str(
    Path(__file__).parents[2] / "target/test-release/socketio-humble-broker"
)

# How long the daemon may take to say that it is ready.
READY_WITHIN = 20
# `drain.timeout` as shipped: how long it may take to end.
ENDED_WITHIN = 25


class Daemon:
    def __init__(self, *arguments, port=0, environment=()):
        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/notify"
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.bind(path)
                # Standard error is inherited: pytest drains it and shows it with a failure.
                self.process = subprocess.Popen(
                    [BINARY, "--host", "127.0.0.1", "--port", str(port), *arguments],
                    env={**os.environ, **dict(environment), "NOTIFY_SOCKET": path},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
                try:
                    self.url = f"http://{self._address(notify)}"
                except BaseException:
                    self.kill()
                    raise

    def _address(self, notify):
        """Waits for `READY=1` and returns the address of `X_LISTEN`."""
        said = {}
        deadline = time.monotonic() + READY_WITHIN
        exited = os.pidfd_open(self.process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(notify, selectors.EVENT_READ)
                selector.register(exited, selectors.EVENT_READ)
                while said.get("READY") != "1" or "X_LISTEN" not in said:
                    events = selector.select(max(0, deadline - time.monotonic()))
                    ready = [key.fileobj for key, _ in events]
                    assert ready, f"the daemon was not ready within {READY_WITHIN} s; it said {said}"
                    assert notify in ready, f"the daemon ended with {self.process.wait()}"
                    message = notify.recv(4096).decode()
                    said.update(line.split("=", 1) for line in message.splitlines() if "=" in line)
        finally:
            os.close(exited)
        return said["X_LISTEN"]

    def sessions(self):
        """How many clients are connected, as its metrics say it."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=READY_WITHIN) as response:
            lines = response.read().decode().splitlines()
        counts = [line.split()[-1] for line in lines if line.startswith("humble_broker_connections{")]
        assert counts, "no such metric"
        return sum(map(int, counts))

    def metric(self, name):
        """One of its metrics; `name` is all that stands before the value."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=READY_WITHIN) as response:
            lines = response.read().decode().splitlines()
        values = [line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == name]
        assert len(values) == 1, f"no metric {name}"
        return float(values[0])

    def stop(self, with_signal=signal.SIGTERM):
        """Ends the daemon as an operator does, and returns its exit code."""
        self.process.send_signal(with_signal)
        return self.process.wait(ENDED_WITHIN)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            try:
                self.stop()
            finally:
                self.kill()


def free_ports(count):
    """Ports that nobody listens on, each another one: so all are held until all are known."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]
