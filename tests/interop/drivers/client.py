"""One process that drives any number of clients of the python-socketio it was started with.

Usage: python client.py sync|async. Commands come as JSON lines on stdin, what the clients see goes
as JSON lines to stdout; README.md lists both.
"""

import asyncio
import importlib.metadata
import inspect
import json
import os
import queue
import sys
import threading
import urllib.parse

import engineio
import socketio
from tagged import unwrap, wrap

ASYNC = sys.argv[1] == "async"
VERSION = int(importlib.metadata.version("python-socketio").partition(".")[0])

clients = {}
stdout = threading.Lock()


class InOrder(engineio.Client):
    """Engine.IO's threaded client, with one thread for all messages instead of one for each.

    By itself, the threaded client hands every packet to a thread of its own, so that messages, and
    even the parts of a binary message, may overtake each other inside the client. What is to be
    seen here is the order in which the broker sent them.
    """

    messages = None

    def start_background_task(self, target, *args, **kwargs):
        if target != self.handlers.get("message"):
            return super().start_background_task(target, *args, **kwargs)
        if self.messages is None:
            self.messages = queue.SimpleQueue()
            threading.Thread(target=self.take_messages, daemon=True).start()
        self.messages.put((target, args))
        return None

    def take_messages(self):
        while True:
            target, args = self.messages.get()
            target(*args)


class Client(socketio.Client):
    def _engineio_client_class(self):
        return InOrder


async def connect(client, url, mode, parser, namespace, early, shown=None):
    options = {"serializer": "msgpack"} if parser == "msgpack" else {}
    sio = socketio.AsyncClient(**options) if ASYNC else Client(**options)
    clients[client] = sio
    watch(client, sio, namespace, early)
    options = {} if mode == "upgrade" else {"transports": [mode]}
    if VERSION == 5:
        # One second, the default, is short for a busy machine.
        options["wait_timeout"] = 20
    if shown is not None:
        url = show(shown["how"], shown["tokens"], url, options)
    await in_background(sio.connect, url, **options)
    report(client, "transport", sio.transport())


def show(how, tokens, url, options):
    """Has a token shown; one after the other, if there are several and the client asks each time."""

    def following():
        return tokens.pop(0) if len(tokens) > 1 else tokens[0]

    match how:
        case "auth":
            options["auth"] = lambda: {"token": following()}
        case "header":
            options["headers"] = {"Authorization": f"Bearer {following()}"}
        case "query":
            return f"{url}?token={urllib.parse.quote(following())}"
    return url


async def emit(client, event, args, ack=None):
    callback = None if ack is None else lambda *answer: report(client, "ack", ack, list(answer))
    await settled(clients[client].emit(event, tuple(unwrap(args)), callback=callback))


async def burst(client, room, count):
    """Publishes as fast as the client can."""
    for number in range(count):
        await settled(clients[client].emit("publish", (room, number)))


async def disconnect(client):
    await in_background(clients.pop(client).disconnect)


def watch(client, sio, namespace, early):
    def connected():
        for event, *args in early:
            sio.emit(event, tuple(unwrap(args)))
        report(client, "connect")

    async def connected_async():
        for event, *args in early:
            await sio.emit(event, tuple(unwrap(args)))
        report(client, "connect")

    def on(event, handler):
        sio.on(event, handler, namespace=namespace)

    def reporter(event):
        return lambda *args: report(client, event, *args)

    on("connect", connected_async if ASYNC else connected)
    for event in ["disconnect", "connect_error", "data", "broadcast"]:
        on(event, reporter(event))
    if VERSION == 5:
        on("*", lambda event, *args: report(client, event, *args))


def report(client, event, *args):
    line = json.dumps({"client": client, "event": event, "args": wrap(list(args))})
    with stdout:
        print(line, flush=True)


async def reported(call, command):
    """One client's failure is told to the test, and leaves the others alone."""
    try:
        await call(**command)
    except socketio.exceptions.SocketIOError as error:
        report(command["client"], "failed", f"{call.__name__}: {error}")


async def settled(result):
    return await result if inspect.isawaitable(result) else result


async def in_background(call, *args, **kwargs):
    """For calls that wait for the broker: other clients of this process go on meanwhile."""
    await (call(*args, **kwargs) if ASYNC else asyncio.to_thread(call, *args, **kwargs))


async def main():
    tasks = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        match command.pop("do"):
            case "emit":
                await reported(emit, command)
            case "burst":
                await reported(burst, command)
            case "transport":
                report(command["client"], "transport", clients[command["client"]].transport())
            case "connect":
                tasks.add(asyncio.create_task(reported(connect, command)))
            case "disconnect":
                tasks.add(asyncio.create_task(reported(disconnect, command)))
    # Threads of connected clients would keep the process.
    os._exit(0)


asyncio.run(main())
