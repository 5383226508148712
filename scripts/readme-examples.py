#!/usr/bin/env python3
"""Runs the examples of the README against a real daemon, as a reader would.

Takes each ```js and ```python block of README.md, replaces nothing in it but the port, and expects
that it prints the message it publishes and ends by itself. Those of ```python nodes have two daemons, and
a server of Redis between them. The daemon is $BROKER_BIN.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/interop"))
from redis_server import RedisServer  # noqa: E402

CLIENTS = ROOT / "target" / "readme"
# What a reader who follows the README installs, at the versions that we have tried.
JS = "socket.io-client@4.8"
PYTHON = "python-socketio[client]==5.*"
PORT = "5000"
NODES = ["5001", "5002"]
# Seconds; far longer than anything here takes, as machines are busy.
DEADLINE = 60
INSTALL_DEADLINE = 600


def blocks(text, language):
    """The contents of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def expected(block):
    """What an example must print: the message that it publishes."""
    published = re.search(r"""["']publish["'],\s*\(?\s*["'][^"']+["'],\s*["']([^"']+)["']""", block)
    if not published:
        sys.exit(f"an example publishes nothing that can be looked for:\n{block}")
    return published.group(1)


def install(marker, wanted, *commands):
    """Runs the commands, unless they have been run for just this."""
    marker = CLIENTS / marker
    if marker.exists() and marker.read_text() == wanted:
        return
    CLIENTS.mkdir(parents=True, exist_ok=True)
    for command in commands:
        subprocess.run(command, cwd=CLIENTS, check=True, timeout=INSTALL_DEADLINE)
    marker.write_text(wanted)


def install_js():
    """Installs the JS client; npm takes the folder with a package.json as the project."""
    CLIENTS.mkdir(parents=True, exist_ok=True)
    (CLIENTS / "package.json").write_text('{"private": true}\n')
    npm = shutil.which("npm") or sys.exit("there is no npm")
    install("installed-js", JS, [npm, "install", "--no-audit", "--no-fund", "--silent", JS])
    return [shutil.which("node") or sys.exit("there is no node")]


def install_python():
    """Installs the Python client in an environment of its own."""
    install(
        "installed-python",
        PYTHON,
        [sys.executable, "-m", "venv", "--clear", "venv"],
        ["venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", PYTHON],
    )
    return [str(CLIENTS / "venv" / "bin" / "python")]


class Daemon:
    """A daemon on a free port, which tells it as it tells a service manager."""

    def __init__(self, program, *more):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "notify")
        notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notifications.bind(path)
        notifications.settimeout(DEADLINE)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HUMBLE_BROKER_")}
        environment["NOTIFY_SOCKET"] = path
        arguments = [program, "--host", "127.0.0.1", "--port", "0", *more]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stderr=self.log)
        try:
            lines = notifications.recv(4096).decode().splitlines()
        except TimeoutError:
            self.process.kill()
            sys.exit(f"the daemon did not say that it is ready:\n{self.logged()}")
        assert "READY=1" in lines, lines
        [address] = [line.removeprefix("X_LISTEN=") for line in lines if line.startswith("X_LISTEN=")]
        self.port = address.rpartition(":")[2]

    def stop(self):
        """Ends the daemon as an operator does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


def run(language, number, interpreter, block, ports):
    """Runs one example; whether it did what it should."""
    # Beside node_modules, where node looks for what is required.
    file = CLIENTS / f"example-{number}.{language}"
    for named, port in ports.items():
        block = block.replace(f":{named}", f":{port}")
    file.write_text(block)
    try:
        done = subprocess.run(
            [*interpreter, str(file)], cwd=CLIENTS, stdin=subprocess.DEVNULL, timeout=DEADLINE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as expired:
        output, code = (expired.stdout or b"").decode(), "still running"
    name = f"{language} example {number}"
    message = expected(block)
    if code == 0 and message in output:
        print(f"ok: {name} prints {message!r}")
        return True
    print(f"failed: {name}: exit {code}, {message!r} expected, printed:\n{output}")
    return False


def run_on_nodes(program, interpreter, found):
    """Runs the examples that take two daemons and what is between them."""
    if not found:
        sys.exit("README.md has no example of several nodes")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RedisServer(stack.enter_context(tempfile.TemporaryDirectory())))
        relay = ["--set", f"relay.redis.url={server.url}", "--set", "relay.required=true"]
        nodes = []
        for _ in NODES:
            nodes.append(Daemon(program, *relay))
            stack.callback(nodes[-1].stop)
        ports = dict(zip(NODES, [node.port for node in nodes]))
        return [run("python", f"nodes-{number}", interpreter, block, ports) for number, block in enumerate(found, 1)]


def main():
    program = os.environ.get("BROKER_BIN") or sys.exit("BROKER_BIN must name the program")
    readme = (ROOT / "README.md").read_text()
    examples = {"js": blocks(readme, "js"), "python": blocks(readme, "python")}
    for language, found in examples.items():
        if not found:
            sys.exit(f"README.md has no {language} example")
        for block in found:
            if PORT not in block:
                sys.exit(f"an example does not name port {PORT}:\n{block}")
    interpreters = {"js": install_js(), "python": install_python()}

    daemon = Daemon(program)
    try:
        results = [
            run(language, number, interpreters[language], block, {PORT: daemon.port})
            for language, found in examples.items()
            for number, block in enumerate(found, 1)
        ]
    finally:
        code = daemon.stop()
    results.append(code == 0)
    results += run_on_nodes(program, interpreters["python"], blocks(readme, "python nodes"))
    print("ok: the daemon exits with 0" if code == 0 else f"failed: the daemon exits with {code}")
    failed = results.count(False)
    if failed:
        print(f"the daemon's log:\n{daemon.logged()}")
    print(f"{results.count(True)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
