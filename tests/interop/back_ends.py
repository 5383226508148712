"""Back ends that emit over a server of Redis, and that server: all are the real programs."""

import json
import pickle
import shutil
import subprocess
import time
from pathlib import Path

import redis
import socketio

from daemon import free_ports
from drivers.tagged import wrap

HERE = Path(__file__).parent

# How long the server may take to answer first, and a back end to have emitted.
WITHIN = 30


class Redis:
    """A server of Redis, on loopback, that keeps nothing."""

    def __init__(self, directory):
        program = shutil.which("redis-server")
        assert program, "redis-server is missing: install it, as scripts/need.sh does"
        (port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{port}/0"
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(directory)]
        self.process = subprocess.Popen(
            [program, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self.client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + WITHIN
        while not self._answers():
            assert self.process.poll() is None, "redis-server has ended"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def _answers(self):
        try:
            return self.client.ping()
        except redis.ConnectionError:
            return False

    def subscribers(self, channel):
        return self.client.pubsub_numsub(channel)[0][1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.process.terminate()
        try:
            self.process.wait(WITHIN)
        finally:
            self.process.kill()
            self.process.wait()


class Node:
    """A back end on Node, which is both: an emitter, and a server with the adapter."""

    def __init__(self, url, key="socket.io"):
        command = ["node", HERE / "drivers/emitter.js", url, key]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def command(self, do, **details):
        """Has it do something, and returns its answer, which comes when Redis has it."""
        self.process.stdin.write(json.dumps({"do": do, **details}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the back end has ended"
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


class FromNode:
    """One of the two ways to emit from Node."""

    exact = False

    def __init__(self, node, way):
        self.node, self.way = node, way

    def emit(self, event, *args, to=(), except_=(), flags=(), namespace="/", times=0):
        self.node.command(
            "emit",
            **{"from": self.way, "to": list(to), "except": list(except_), "flags": list(flags)},
            namespace=namespace,
            event=event,
            args=wrap(list(args)),
            times=times,
        )


class FromPython:
    """A process of Python that only emits."""

    exact = True

    def __init__(self, url, channel="socketio"):
        self.manager = socketio.RedisManager(url, channel=channel, write_only=True)

    def emit(self, event, *args, to=(), except_=(), flags=(), namespace="/", times=0):
        assert not flags, "it has none"
        more = {"room": to[0] if len(to) == 1 else list(to) or None, "namespace": namespace}
        if except_:
            more["skip_sid"] = list(except_)
        for number in range(times) if times else [None]:
            numbered = args if number is None else (*args, number)
            self.manager.emit(event, numbered, **more)


def publish_pickled(server, channel, event, *args):
    """What python-socketio published before version 5.14."""
    message = {"method": "emit", "event": event, "data": list(args), "namespace": "/", "room": None}
    server.client.publish(channel, pickle.dumps(message))
