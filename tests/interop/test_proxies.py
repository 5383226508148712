"""Behind nginx, HAProxy and Caddy, with the examples of packaging/proxies, over TLS."""

import base64
import contextlib
import http.client
import json
import re
import signal
import subprocess
import time

import pytest
import websocket

import clients
import proxies
from clients import MODES, Client, Driver, all_acknowledged, heard
from daemon import BINARY
from proxies import Certificate, Site, exchange

POLLING = "/socket.io/?EIO=4&transport=polling"
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
NAMES = [f"{kind}-{mode}" for kind in clients.KINDS for mode in MODES]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def trusting(certificate):
    """Drivers whose clients trust the certificate, and check it."""
    drivers = {kind: Driver(kind, certificate.environment()) for kind in clients.KINDS}
    yield drivers
    for driver in drivers.values():
        driver.close()


@pytest.fixture(params=proxies.KINDS)
def site(request, tmp_path, certificate):
    """Starts the proxy and its nodes."""
    sites = []

    def site(**options):
        sites.append(Site(request.param, tmp_path, certificate, **options))
        return sites[-1]

    yield site
    for started in sites:
        started.__exit__()


def connect_all(trusting, url):
    crowd = [Client(trusting[kind], mode, url) for kind in clients.KINDS for mode in MODES]
    return [client.connected() for client in crowd]


def assert_exchange(crowd, room):
    """Everyone hears everyone: in the room, and by broadcast."""
    all_acknowledged([client.call("subscribe", room) for client in crowd])
    for client in crowd:
        assert client.ask("publish", room, {"from": client.id, "bytes": b"\x00\xff"}) == []
        assert client.ask("broadcast", client.id) == []
    for client, received in heard(crowd).items():
        expected = []
        for other in crowd:
            expected.append(("data", [room, {"from": other.id, "bytes": b"\x00\xff"}]))
            if other is not client:
                expected.append(("broadcast", [other.id]))
        assert received == expected, client


class Session:
    """A session that polls, by hand, from an address."""

    def __init__(self, site, source="127.0.0.1"):
        self.site, self.source = site, source
        status, text = site.ask("GET", POLLING, source=source)
        assert status == 200, text
        self.id = json.loads(text[1:])["sid"]
        self.target = f"{POLLING}&sid={self.id}"
        assert self.say("40") == 200
        assert self.poll()[0] == 200

    def say(self, text):
        return self.site.ask("POST", self.target, text.encode(), source=self.source)[0]

    def poll(self):
        return self.site.ask("GET", self.target, source=self.source)

    def subscribe_and_publish(self):
        return self.say(f'42["subscribe","{self.id}"]\x1e42["publish","{self.id}",1]')

    def hears_itself(self):
        assert self.subscribe_and_publish() == 200
        assert self.poll() == (200, f'42["data","{self.id}",1]')


def test_clients_of_every_kind_talk_over_every_transport(site, trusting):
    site = site(nodes=1)
    crowd = connect_all(trusting, site.url)
    assert_exchange(crowd, "room")
    large = "x" * 900_000
    publisher = crowd[NAMES.index("js4-polling")]
    assert publisher.ask("publish", "room", large) == []
    for client, received in heard(crowd).items():
        assert received == [("data", ["room", large])], client
    for client in crowd:
        client.disconnect()
    # Session ids are secrets, and in no log.
    if site.kind in ["nginx", "haproxy"]:
        log = site.log.read_text()
        assert "/socket.io/" in log and "sid=" not in log and "EIO" not in log


def test_heartbeats_keep_connections_that_say_nothing_else(trusting, tmp_path, certificate):
    """Everything takes a tenth of its time, but the proxies' patience: that has its margin too."""
    printed = subprocess.run([BINARY, "--print-default-config"], capture_output=True, text=True, check=True)
    shipped = dict(re.findall(r'^(ping_\w+) = "(\d+)s"$', printed.stdout, flags=re.MULTILINE))
    assert int(shipped["ping_interval"]) + int(shipped["ping_timeout"]) < 60

    heartbeat = ["socketio.ping_interval=2500ms", "socketio.ping_timeout=2s"]
    with contextlib.ExitStack() as stack:
        # At once, as most of it is waiting.
        crowds, silent, ports = {}, [], []
        for kind in proxies.KINDS:
            options = {"nodes": 1, "settings": heartbeat, "patience": "6s"}
            site = stack.enter_context(Site(kind, tmp_path, certificate, **options))
            crowds[kind] = connect_all(trusting, site.url)
            ports.append(site.port)
        # Last, as nobody answers their heartbeats until all are there.
        for port in ports:
            url = f"wss://127.0.0.1:{port}{WEBSOCKET}"
            silent.append(
                websocket.create_connection(url, timeout=10, sslopt={"ca_certs": str(certificate.path)})
            )
            assert silent[-1].recv().startswith("0{")
            silent[-1].send("40")
            assert silent[-1].recv().startswith("40{")
        # Longer than the proxies wait for somebody who says nothing at all.
        for _ in range(4):
            for client in silent:
                assert client.recv() == "2"
                client.send("3")
        for kind, crowd in crowds.items():
            assert_exchange(crowd, "room")
            assert gone(crowd) == [], kind
            for client in crowd:
                client.disconnect()


def gone(crowd):
    """Those that have lost a connection."""
    return [client for client in crowd if any(event == "disconnect" for event, _ in client.log.events)]


def test_only_what_clients_need_is_let_through(site):
    site = site(nodes=1)
    assert site.of_operators(0, "/readyz") == (200, "ok")
    assert site.ask("GET", POLLING)[0] == 200
    for target in ["/healthz", "/readyz", "/metrics", "/", "/socket.io/../metrics", "/socket.io/%2e%2e/readyz"]:
        status, text = site.ask("GET", target)
        assert (status, "humble_broker" in text, text == "ok") in [(404, False, False), (400, False, False)], target
    if site.kind != "haproxy-tcp":
        plain = http.client.HTTPConnection("127.0.0.1", site.plain_port, timeout=proxies.WITHIN)
        assert exchange(plain, "GET", POLLING, None, {})[0] == 308


def test_the_largest_body_passes_and_a_larger_one_does_not(site):
    site = site(nodes=1)
    session = Session(site)
    event = '42["publish","nobody","{}"]'
    fits = event.format("x" * (1_000_000 - len(event) + 2))
    assert len(fits) == 1_000_000
    assert session.say(fits) == 200
    session.hears_itself()
    too_large = event.format("x" * (1_000_001 - len(event) + 2)).encode()
    assert site.ask("POST", session.target, too_large)[0] == 413
    # In chunks, no proxy knows the length before the end.
    chunks = (too_large[at : at + 4096] for at in range(0, len(too_large), 4096))
    assert site.ask("POST", Session(site).target, chunks)[0] == 413


def test_limits_by_address_count_the_client_and_not_the_proxy(site):
    site = site(nodes=1, settings=["limits.connections_per_ip=3"])
    forged = {"X-Forwarded-For": "192.0.2.1"}
    for source in ["127.0.0.5", "127.0.0.6"]:
        for _ in range(3):
            assert site.ask("GET", POLLING, source=source)[0] == 200
        assert site.ask("GET", POLLING, source=source)[0] == 429
        assert site.ask("GET", POLLING, headers=forged, source=source)[0] == 429
        key = base64.b64encode(bytes(16)).decode()
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        upgrade["Sec-WebSocket-Key"] = key
        assert site.ask("GET", WEBSOCKET, headers=upgrade, source=source)[0] == 429
    assert site.ask("GET", POLLING, headers=forged, source="127.0.0.7")[0] == 200
    refused = "humble_broker_connections_refused_total"
    assert site.metric(0, refused, 'reason="connections_per_ip"') == 6


def test_a_node_that_stops_hands_its_clients_over(site, trusting):
    site = site(nodes=2)
    sessions = [Session(site, f"127.0.0.{number}") for number in range(20, 36)]
    for session in [*sessions, *sessions]:
        session.hears_itself()
    counts = connections(site)
    assert sum(counts) == len(sessions) and min(counts) > 0, counts

    crowd = connect_all(trusting, site.url)
    all_acknowledged([client.call("subscribe", client.id) for client in crowd])
    for client in crowd:
        assert client.ask("publish", client.id, "own") == []
    for client, received in heard(crowd).items():
        assert received == [("data", [client.id, "own"])], client

    # Where more of the crowd is; by address, it is all of it.
    crowded = [now - before for now, before in zip(connections(site), counts)]
    leaves = crowded.index(max(crowded))
    stop(site, sessions, leaves)
    lost = set()

    def answered(client):
        if client.attempt("subscribe", "room") == []:
            return True
        lost.add(client)
        return False

    for client in crowd:
        # Some have left their node, some are about to; their answer comes from the other.
        wait_until(lambda: answered(client), f"{client} is answered")
    assert len(lost) >= max(crowded), (lost, crowded)
    for client in crowd:
        client.log.forget()
    assert_exchange(crowd, "room")
    for client in crowd:
        client.disconnect()


def connections(site):
    return [site.metric(node, "humble_broker_connections") for node in range(len(site.nodes))]


def stop(site, sessions, leaves):
    """Stops a node, and waits until it has ended."""
    process = site.nodes[leaves].process
    if site.kind == "haproxy":
        there = [session for session in sessions if site.node_of(session.id) == leaves]
        assert there and all(session.subscribe_and_publish() == 200 for session in there)
    process.send_signal(signal.SIGTERM)
    if site.kind.startswith("haproxy"):
        state = "NOLB" if site.kind == "haproxy" else "DOWN"
        wait_until(lambda: site.states()[leaves].startswith(state), f"node {leaves} is {state}")
        assert site.of_operators(leaves, "/readyz") == (503, '["draining"]')
        before = site.metric(1 - leaves, "humble_broker_connections_total")
        for number in range(20, 36):
            Session(site, f"127.0.0.{number}").hears_itself()
        assert site.metric(1 - leaves, "humble_broker_connections_total") >= before + 16
        assert process.poll() is None, "all of this while it drains"
    if site.kind == "haproxy":
        # What it has accepted is delivered before it ends a session.
        for session in there:
            assert session.poll() == (200, f'42["data","{session.id}",1]')
            assert session.poll()[0] == 400
    assert process.wait(60) == 0


def wait_until(holds, what):
    deadline = time.monotonic() + clients.DEADLINE
    while not holds():
        assert time.monotonic() < deadline, f"{what}: still not"
        time.sleep(0.02)
