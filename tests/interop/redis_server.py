"""A real server of Redis, on loopback, that keeps nothing."""

import contextlib
import shutil
import socket
import subprocess
import time

from daemon import free_ports

# How long the server may take to answer first, and to end.
WITHIN = 30


class RedisServer:
    def __init__(self, directory):
        program = shutil.which("redis-server")
        assert program, "redis-server is missing: install it, as scripts/need.sh does"
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(directory)]
        self.command = [program, *options]
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + WITHIN
        while not self._answers():
            assert self.process.poll() is None, "redis-server has ended"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def _answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), WITHIN) as asked:
            asked.sendall(b"PING\r\n")
            return asked.recv(64) == b"+PONG\r\n"
        return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(WITHIN)
        finally:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
