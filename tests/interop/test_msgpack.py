"""The exchange again, between the clients that can speak MessagePack."""

import pytest

from clients import MODES, all_acknowledged, heard
from daemon import Daemon
from test_exchange import assert_heard
from values import MSGPACK_LARGE, MSGPACK_SMALL

KINDS = ["js3", "js4", "py5", "py5-async"]


@pytest.fixture(scope="module")
def msgpack_crowd(connect_all):
    with Daemon("--set", "socketio.parser=msgpack") as daemon:
        clients = connect_all(daemon.url, kinds=KINDS, parser="msgpack")
        all_acknowledged([client.call("subscribe", "room") for client in clients.values()])
        yield clients
        for client in clients.values():
            client.disconnect()


@pytest.fixture(params=[f"{kind}-{mode}" for kind in KINDS for mode in MODES])
def client(request, msgpack_crowd):
    return msgpack_crowd[request.param]


def test_everyone_in_a_room_receives_what_a_client_publishes(client, msgpack_crowd):
    all_acknowledged([client.call("publish", "room", message) for message in MSGPACK_SMALL])
    for message in MSGPACK_LARGE:
        # One by one: some clients would send them all in one request, which is then too large.
        assert client.ask("publish", "room", message) == []
    for subscriber, received in heard(msgpack_crowd.values()).items():
        sent = [["room", message] for message in MSGPACK_SMALL + MSGPACK_LARGE]
        assert_heard(received, client, subscriber, "data", sent)


def test_everyone_but_the_sender_receives_what_a_client_broadcasts(client, msgpack_crowd):
    all_acknowledged([client.call("broadcast", message) for message in MSGPACK_SMALL])
    for subscriber, received in heard(msgpack_crowd.values()).items():
        sent = [] if subscriber is client else [[message] for message in MSGPACK_SMALL]
        assert_heard(received, client, subscriber, "broadcast", sent)
