"""The proxies under test, with the examples that we ship: only addresses and paths are others."""

import contextlib
import functools
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

from daemon import Daemon, free_ports

EXAMPLES = Path(__file__).parents[2] / "packaging/proxies"

# How long a proxy may take until it listens, and until it has ended.
WITHIN = 20

# What stands in the examples, and the node that it is here. Everything in 127/8 is this machine; a
# connection to either comes from 127.0.0.1, which is thereby the proxy's address.
NODES = {"10.0.0.11": "127.0.0.11", "10.0.0.12": "127.0.0.12", "10.0.0.13": "127.0.0.13"}
PROXY = {"10.0.0.1": "127.0.0.1"}


class Certificate:
    """A certificate for 127.0.0.1 that clients can be told to trust."""

    def __init__(self, folder):
        self.path, self.key = folder / "certificate.pem", folder / "key.pem"
        self.both = folder / "both.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
            + ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
            + ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
            + ["-out", self.path, "-keyout", self.key],
            check=True,
            capture_output=True,
        )
        self.both.write_bytes(self.path.read_bytes() + self.key.read_bytes())

    def environment(self):
        """What makes the client libraries trust it, each in its own way."""
        names = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"]
        return {**os.environ, **dict.fromkeys(names, str(self.path))}


class Site:
    """One proxy, and the nodes behind it."""

    def __init__(self, kind, folder, certificate, nodes=2, settings=(), patience=None, edit=None):
        self.kind, self.folder, self.certificate = kind, folder / kind, certificate
        self.folder.mkdir()
        self.example = (EXAMPLES / EXAMPLE[kind]).read_text()
        self.log = self.folder / "access.log"
        self.plain_port, self.port, *ports = free_ports(4)
        self.url = f"https://127.0.0.1:{self.port}"
        self.ports = dict(zip(["5000", "9091"], ports, strict=True))
        self.addresses = list(NODES.values())[:nodes]
        with contextlib.ExitStack() as stack:
            self.nodes = []
            for address in self.addresses:
                self.nodes.append(self._node(address, settings))
                # Tests that end a node do so themselves; here nobody is there to be waited for.
                stack.callback(self.nodes[-1].kill)
            text = self._with_its_nodes(edit(self.example) if edit else self.example)
            text = self._relocated(text)
            text = PREPARE[kind](self, text)
            if patience:
                text = changed(text, {"60s": patience})
            self.file = self.folder / EXAMPLE[kind]
            self.file.write_text(text)
            self.process = stack.enter_context(self._proxy())
            self.stack = stack.pop_all()

    def _node(self, address, settings):
        """A node with the configuration that the example's comment says."""
        toml = self._relocated(commented_toml(self.example)).replace(NODES["10.0.0.11"], address)
        toml = toml.replace("/etc/socketio-humble-broker/certificate.pem", str(self.certificate.path))
        toml = toml.replace("/etc/socketio-humble-broker/key.pem", str(self.certificate.key))
        file = self.folder / f"{address}.toml"
        file.write_text(toml)
        arguments = [argument for setting in settings for argument in ("--set", setting)]
        return Daemon("--config", file, "--host", address, *arguments, port=self.ports["5000"])

    def _relocated(self, text):
        for old, new in {**NODES, **PROXY}.items():
            text = re.sub(rf"{re.escape(old)}\b", new, text)
        for old, new in self.ports.items():
            text = re.sub(rf"\b{old}\b", str(new), text)
        return text

    def _with_its_nodes(self, text):
        if len(self.addresses) == 2:
            return text
        # A server is a line of its own, or one of several words.
        if len(self.addresses) == 3:
            (second,) = re.findall(r"^ *server (?:node2 )?10\.0\.0\.12:5000.*\n", text, flags=re.MULTILINE)
            third = second.replace("node2", "node3").replace("10.0.0.12", "10.0.0.13")
            return text.replace(second, second + third)
        text = re.sub(r"^ *server (node2 )?10\.0\.0\.12:5000.*\n", "", text, flags=re.MULTILINE)
        return text.replace(" 10.0.0.12:5000", "")

    @contextlib.contextmanager
    def _proxy(self):
        program = COMMAND[self.kind][0]
        assert shutil.which(program), f"{program} is missing: scripts/need.sh nginx haproxy caddy"
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [argument.format(file=self.file) for argument in COMMAND[self.kind]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                env={**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)},
            )
        try:
            self._listens(process)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(WITHIN)
            finally:
                process.kill()

    def _listens(self, process):
        # None of them tells when it is ready.
        deadline = time.monotonic() + WITHIN
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert time.monotonic() < deadline, f"{self.kind} does not listen after {WITHIN} s"
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"{self.kind} ended with {process.wait(0.02)}")

    def ask(self, method, target, body=None, headers=None, source="127.0.0.1"):
        """One request of a client at the address `source`: the status, and the body as text."""
        context = ssl.create_default_context(cafile=str(self.certificate.path))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=context, source_address=(source, 0), timeout=WITHIN
        )
        return exchange(connection, method, target, body, headers or {})

    def metric(self, node, name, labels=""):
        """The sum of a metric of a node, over what its labels say more."""
        status, text = self.of_operators(node, "/metrics")
        assert status == 200
        values = re.findall(rf"^{name}(?:{{.*{labels}.*}})? (\S+)$", text, flags=re.MULTILINE)
        return sum(map(float, values))

    def of_operators(self, node, target):
        connection = http.client.HTTPConnection(self.addresses[node], self.ports["9091"], timeout=WITHIN)
        return exchange(connection, "GET", target, None, {})

    def states(self):
        """What HAProxy thinks of each of its nodes."""
        lines = [line.split(",") for line in self._haproxy("show stat") if "," in line]
        status = lines[0].index("status")
        return [line[status] for line in lines if line[0] == "nodes" and line[1].startswith("node")]

    def node_of(self, session):
        """The node that HAProxy knows a session to live on."""
        for line in self._haproxy("show table nodes"):
            if f"key={session} " in line:
                return int(re.search(r"server_id=(\d)", line)[1]) - 1
        raise AssertionError(f"HAProxy does not know {session}")

    def _haproxy(self, command):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.connect(str(self.folder / "admin.sock"))
            asked.sendall(f"{command}\n".encode())
            with asked.makefile() as answer:
                return answer.readlines()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()


def exchange(connection, method, target, body, headers):
    with contextlib.closing(connection):
        # Who is told that a body is too large may find the connection closed before it is all sent: the
        # answer is there.
        with contextlib.suppress(ssl.SSLEOFError, BrokenPipeError, ConnectionResetError):
            connection.request(method, target, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


def commented_toml(example):
    """The broker's configuration in the comment at the top: the lines that are set in."""
    lines = re.findall(r"^#   (.*)$", example, flags=re.MULTILINE)
    assert "[server]" in lines and "[admin]" in lines
    return "\n".join(lines) + "\n"


def changed(text, changes):
    for old, new in changes.items():
        assert old in text, f"`{old}` is not in the example"
        text = text.replace(old, new)
    return text


def nginx(site, text):
    temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    folders = "".join(f"    {name}_temp_path {site.folder}/{name};\n" for name in temporary)
    return changed(
        text,
        {
            # Its workers read and write in the folder of the test.
            "user www-data;": "user root;",
            "/run/nginx.pid": f"{site.folder}/nginx.pid",
            "/var/log/nginx/error.log": "stderr",
            "/var/log/nginx/access.log": str(site.log),
            "listen 80;": f"listen 127.0.0.1:{site.plain_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{site.port} ssl;",
            "/etc/nginx/broker.example.pem": str(site.certificate.path),
            "/etc/nginx/broker.example.key": str(site.certificate.key),
            "http {\n": f"http {{\n{folders}",
        },
    )


def haproxy(site, text, opens_tls=True):
    text = changed(
        text,
        {
            "log /dev/log local0": "log stdout format raw local0",
            # These need root.
            "    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n": "",
            # As many file descriptors as that needs are not there everywhere.
            "maxconn 20000": "maxconn 400",
            "/run/haproxy/admin.sock": f"{site.folder}/admin.sock",
            "bind :443": f"bind 127.0.0.1:{site.port}",
        },
    )
    if not opens_tls:
        return text
    both = {"/etc/haproxy/broker.example.pem": str(site.certificate.both)}
    return changed(text, {"bind :80": f"bind 127.0.0.1:{site.plain_port}", **both})


def caddy(site, text):
    tls = f"tls {site.certificate.path} {site.certificate.key}"
    return changed(
        text,
        {
            "\tgrace_period 5s": f"\tgrace_period 1s\n\tadmin off\n\thttp_port {site.plain_port}",
            "broker.example {": f"https://127.0.0.1:{site.port} {{\n\t{tls}",
        },
    )


EXAMPLE = {
    "nginx": "nginx.conf",
    "haproxy": "haproxy.cfg",
    "haproxy-tcp": "haproxy-tcp.cfg",
    "caddy": "Caddyfile",
}
PREPARE = {
    "nginx": nginx,
    "haproxy": haproxy,
    "haproxy-tcp": functools.partial(haproxy, opens_tls=False),
    "caddy": caddy,
}
COMMAND = {
    "nginx": ["nginx", "-c", "{file}", "-g", "daemon off;"],
    "haproxy": ["haproxy", "-db", "-f", "{file}"],
    "haproxy-tcp": ["haproxy", "-db", "-f", "{file}"],
    "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", "{file}"],
}
KINDS = list(COMMAND)
