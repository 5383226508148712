"""The clients, as the tests see them: each lives in a driver process, one for every kind."""

import itertools
import json
import subprocess
import threading
import time
from pathlib import Path

from drivers.tagged import unwrap, wrap

HERE = Path(__file__).parent

PYTHON_4 = HERE / ".venv-py4/bin/python"
PYTHON_5 = HERE / ".venv-py5/bin/python"

DRIVERS = {
    "js2": ["node", HERE / "drivers/client.js", "2"],
    "js3": ["node", HERE / "drivers/client.js", "3"],
    "js4": ["node", HERE / "drivers/client.js", "4"],
    "py4": [PYTHON_4, HERE / "drivers/client.py", "sync"],
    "py4-async": [PYTHON_4, HERE / "drivers/client.py", "async"],
    "py5": [PYTHON_5, HERE / "drivers/client.py", "sync"],
    "py5-async": [PYTHON_5, HERE / "drivers/client.py", "async"],
}
KINDS = list(DRIVERS)

# "upgrade" is the client without any options, as its users start it: polling, then WebSocket.
MODES = ["websocket", "polling", "upgrade"]

# Every wait ends after this many seconds at the latest.
DEADLINE = 30

MESSAGES = ("data", "broadcast")


class Driver:
    """A process that hosts the clients of one kind."""

    def __init__(self, kind, environment=None):
        self.kind = kind
        self.process = subprocess.Popen(
            DRIVERS[kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.clients = Logs()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            self.clients[said["client"]].append((said["event"], unwrap(said["args"])))
        for log in list(self.clients.values()):
            log.end()

    def command(self, do, **details):
        self.process.stdin.write(json.dumps({"do": do, **details}) + "\n")
        self.process.stdin.flush()

    def close(self):
        # A driver ends when its input does, but a client may keep its process from ending.
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


class Logs(dict):
    def __missing__(self, client):
        self[client] = EventLog(client)
        return self[client]


class EventLog:
    """What one client has seen and no test has asked for yet, in the order it was seen."""

    def __init__(self, client):
        self.client = client
        self.events = []
        self.ended = False
        self.changed = threading.Condition()

    def append(self, event):
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def end(self):
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def take(self, name, matches):
        """Waits for the first event `name` that matches; returns its arguments."""
        return self.take_first(lambda event, args: event == name and matches(args), name)[1]

    def take_first(self, matches, what):
        """Waits for the first event that matches; returns its name and arguments."""
        with self.changed:
            return self.events.pop(self._find(matches, what))

    def take_messages_until(self, name, matches):
        """Waits like `take`, and returns the messages that came before."""
        with self.changed:
            position = self._find(lambda event, args: event == name and matches(args), name)
            before, after = self.events[:position], self.events[position + 1 :]
            self.events = [event for event in before if event[0] not in MESSAGES] + after
            return [event for event in before if event[0] in MESSAGES]

    def forget(self):
        with self.changed:
            self.events.clear()

    def _find(self, matches, what):
        deadline = time.monotonic() + DEADLINE
        position = 0
        while True:
            for position in range(position, len(self.events)):
                if matches(*self.events[position]):
                    return position
            position = len(self.events)
            assert not self.ended, f"the driver process of {self.client} has ended"
            in_time = self.changed.wait(deadline - time.monotonic())
            assert in_time, (
                f"{self.client} saw no such `{what}` within {DEADLINE} s, only {shortened(self.events)}"
            )


class Client:
    """One connection, or the attempt at one."""

    numbers = itertools.count(1)

    def __init__(
        self, driver, mode, url, parser="json", namespace="/", early=(), over=None, shown=None,
        cookies=False,
    ):
        self.driver = driver
        self.mode = mode
        self.name = f"{driver.kind}-{mode}"
        self.id = f"{self.name}-{next(self.numbers)}"
        self.log = driver.clients[self.id]
        more = {} if over is None else {"over": over.id}
        # Those in Python keep cookies unasked.
        if cookies and driver.kind.startswith("js"):
            more["cookies"] = True
        if shown is not None:
            how, *tokens = shown
            more["shown"] = {"how": how, "tokens": tokens}
        self._command(
            "connect",
            url=url,
            mode=mode,
            parser=parser,
            namespace=namespace,
            early=wrap(list(early)),
            **more,
        )

    def connected(self):
        """Waits until the connection stands, on the transport that was asked for."""
        self.wait_for("connect")
        transport = "polling" if self.mode == "polling" else "websocket"
        self.wait_for("transport", lambda args: args == [transport])
        return self

    def emit(self, event, *args):
        self._command("emit", event=event, args=wrap(list(args)))

    def call(self, event, *args):
        """Emits with an acknowledgement, and returns the way to wait for its arguments."""
        number = next(self.numbers)
        self._command("emit", event=event, args=wrap(list(args)), ack=number)
        return lambda: self.wait_for("ack", lambda args: args[0] == number)[1]

    def ask(self, event, *args):
        """Emits, and returns the arguments of the acknowledgement."""
        return self.call(event, *args)()

    def attempt(self, event, *args):
        """Asks; None if the connection is lost before there is an answer, or had been before: then it
        stands again, as some clients lose without a word what is emitted before."""
        number = next(self.numbers)
        self._command("emit", event=event, args=wrap(list(args)), ack=number)

        def decides(event, args):
            return event in ("disconnect", "failed") or (event == "ack" and args[0] == number)

        decided, details = self.log.take_first(decides, "answer or end")
        if decided == "disconnect":
            self.wait_for("connect")
        return details[1] if decided == "ack" else None

    def burst(self, room, count):
        """Publishes the numbers below `count`, as fast as the client can."""
        self._command("burst", room=room, count=count)

    def transport(self):
        """The name of the transport in use, in the client's own words."""
        self._command("transport")
        return self.wait_for("transport")[0]

    def wait_for(self, event, matches=lambda args: True):
        return self.log.take(event, matches)

    def disconnect(self):
        self._command("disconnect")

    def __repr__(self):
        return self.id

    def _command(self, do, **details):
        self.driver.command(do, client=self.id, **details)


def heard(clients):
    """What each client has received by now: messages in their order, as `(event, arguments)`.

    Each client publishes a last message to itself: what the broker queued for the client before
    that must arrive before it, so nothing is missed and nothing is waited for in vain.
    """
    fence = f"fence {next(Client.numbers)}"
    for client in clients:
        client.emit("subscribe", f"{fence} {client.id}")
        client.emit("publish", f"{fence} {client.id}", "passed")
        client.emit("unsubscribe", f"{fence} {client.id}")
    return {
        client: client.log.take_messages_until(
            "data", lambda args, room=f"{fence} {client.id}": args == [room, "passed"]
        )
        for client in clients
    }


def all_acknowledged(calls):
    """Waits for all, which must all have succeeded; a success has no arguments."""
    answers = [call() for call in calls]
    assert answers == [[] for _ in answers]


def shortened(value, length=600):
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"


