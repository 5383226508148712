"""Back ends that emit over a server of Redis, and that server: all are the real programs."""

import json
import pickle
import subprocess
import time
from pathlib import Path

import redis
import socketio

from drivers.tagged import wrap
from redis_server import WITHIN, RedisServer

HERE = Path(__file__).parent


class Redis(RedisServer):
    """A server of Redis, and who asks it what is subscribed to."""

    def __init__(self, directory):
        super().__init__(directory)
        self.client = redis.Redis.from_url(self.url)

    def subscribers(self, channel):
        return self.client.pubsub_numsub(channel)[0][1]

    def subscribed(self, channel, count):
        """Waits until so many subscribe to a channel."""
        deadline = time.monotonic() + WITHIN
        while self.subscribers(channel) != count:
            assert time.monotonic() < deadline, f"{channel} has {self.subscribers(channel)} subscribers"
            time.sleep(0.01)

    def stop(self):
        self.client.close()
        super().stop()


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
