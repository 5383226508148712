"""Three nodes with a relay over Redis, behind nginx and HAProxy: clients that poll stay with their node, and
reach those of the others. What docs/relay.md says of stickiness is what is tried."""

import contextlib
import itertools
import re
from pathlib import Path

import pytest

from clients import Client, Driver, all_acknowledged, heard
from proxies import Certificate, Site, changed
from networks import Network
from back_ends import Redis

DOCUMENT = (Path(__file__).parents[2] / "docs/relay.md").read_text()
ADDRESS = "        hash $remote_addr consistent;\n"
POLLING = "/socket.io/?EIO=4&transport=polling"

# Clients of both versions of Engine.IO.
KINDS = ["js4", "py5", "js2", "py4"]
# Those that keep cookies: JavaScript outside of browsers does from version 4.7 on.
WITH_COOKIES = ["js4", "py5", "py4"]
# Networks after which some node still without a client is no chance any more.
NETWORKS = 60


def documented(language, word):
    """The lines of the document in that language whose first, a comment, has that word."""
    blocks = re.findall(rf"^```{language}\n(# .*)\n([^`]*)^```", DOCUMENT, flags=re.MULTILINE)
    (found,) = [lines for comment, lines in blocks if word in comment]
    return found


def nginx_by_cookie(text):
    in_http, in_upstream = documented("nginx", "cookie").split("\n\n")
    return changed(text, {ADDRESS: in_upstream, "    upstream broker {\n": f"{in_http}\n    upstream broker {{\n"})


def without_table(text):
    """The example of HAProxy without what keeps sessions at their node."""
    start, end = text.index("    stick-table"), text.index("    stick store-response")
    end = text.index("\n", end) + 1
    return text[:start] + text[end:]


def haproxy_by_cookie(text):
    text = changed(without_table(text), {"    balance leastconn\n": documented("haproxy", "cookie")})
    text, count = re.subn(r"^( *server (node\d) .*)$", r"\1 cookie \2", text, flags=re.MULTILINE)
    assert count == 2
    return text


def haproxy_by_address(text):
    return changed(without_table(text), {"    balance leastconn\n": documented("haproxy", "address")})


def nginx_in_turns(text):
    return changed(text, {ADDRESS: ""})


def haproxy_in_turns(text):
    return changed(without_table(text), {"balance leastconn": "balance roundrobin"})


WAYS = {
    "nginx by address": ("nginx", None, KINDS),
    "nginx by cookie": ("nginx", nginx_by_cookie, WITH_COOKIES),
    "haproxy by session": ("haproxy", None, KINDS),
    "haproxy by cookie": ("haproxy", haproxy_by_cookie, WITH_COOKIES),
    "haproxy by address": ("haproxy", haproxy_by_address, KINDS),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def trusting(certificate):
    drivers = {kind: Driver(kind, certificate.environment()) for kind in KINDS}
    yield drivers
    for driver in drivers.values():
        driver.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def started(tmp_path, certificate, server):
    """Starts three nodes and a proxy."""
    with contextlib.ExitStack() as stack:

        def started(kind, edit):
            settings = [f"relay.redis.url={server.url}", f"relay.redis.prefix={tmp_path.name}", "relay.required=true"]
            site = Site(kind, tmp_path, certificate, nodes=3, settings=settings, edit=edit)
            return stack.enter_context(site)

        yield started


@pytest.mark.parametrize("way", WAYS)
def test_clients_that_poll_stay_with_their_node_and_reach_those_of_others(way, started, trusting, server, tmp_path):
    kind, edit, kinds = WAYS[way]
    site = started(kind, edit)
    with contextlib.ExitStack() as stack:
        crowd = []
        for number in itertools.count(20):
            network = stack.enter_context(Network(f"127.0.1.{number}", site.port))
            for name in kinds:
                client = Client(trusting[name], "polling", network.url, cookies="cookie" in way)
                crowd.append(client.connected())
            if min(connections(site)) > 0 and len(crowd) >= 3 * len(kinds):
                break
            assert number < 20 + NETWORKS, connections(site)
        assert sum(connections(site)) == len(crowd)
        all_acknowledged([client.call("subscribe", "room") for client in crowd])
        server.subscribed(f"{tmp_path.name}:text:room", 3)
        for client in crowd:
            assert client.ask("publish", "room", client.id) == []
            assert client.ask("broadcast", client.id) == []
        for client in crowd:
            awaited = {("data", client.id) for client in crowd}
            awaited |= {("broadcast", other.id) for other in crowd if other is not client}
            for event, sender in sorted(awaited):
                expected = ["room", sender] if event == "data" else [sender]
                client.wait_for(event, lambda args: args == expected)
        # Nothing twice, and nobody has lost a connection meanwhile.
        assert [(client, messages) for client, messages in heard(crowd).items() if messages] == []
        lost = [client for client in crowd if any(event == "disconnect" for event, _ in client.log.events)]
        assert lost == []
        assert sum(site.metric(node, "humble_broker_connections_total") for node in range(3)) == len(crowd)
        for client in crowd:
            client.disconnect()


def connections(site):
    return [site.metric(node, "humble_broker_connections") for node in range(len(site.nodes))]


@pytest.mark.parametrize("kind, edit", [("nginx", nginx_in_turns), ("haproxy", haproxy_in_turns)])
def test_without_stickiness_polling_fails(kind, edit, started, trusting):
    site = started(kind, edit)
    statuses = []
    for _ in range(12):
        status, text = site.ask("GET", POLLING)
        assert status == 200
        session = re.search(r'"sid":"([^"]+)"', text)[1]
        statuses.append(site.ask("POST", f"{POLLING}&sid={session}", b"40")[0])
    # Somebody may be lucky.
    assert statuses.count(400) >= 4 and set(statuses) <= {200, 400}, statuses
    client = Client(trusting["js4"], "polling", site.url)
    client.wait_for("connect_error")
    client.disconnect()
