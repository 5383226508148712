"""The daemon ends; clients of every kind come back by themselves."""

import signal
import threading

import pytest

from balancer import Balancer
from clients import all_acknowledged, heard
from daemon import Daemon, free_ports

# After these, a client stays away: what it takes for the server's decision.
FINAL_REASONS = ["io server disconnect", "server disconnect"]


def assert_exchange(everyone):
    """Everyone hears everyone, in a room that they have left or lost."""
    all_acknowledged([client.call("subscribe", "room") for client in everyone])
    for client in everyone:
        assert client.ask("publish", "room", client.id) == []
    for client, received in heard(everyone).items():
        assert received == [("data", ["room", other.id]) for other in everyone], client


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_after_a_restart_every_client_comes_back_by_itself(connect_all, with_signal):
    [port] = free_ports(1)
    with Daemon(port=port) as first:
        clients = connect_all(first.url)
        everyone = list(clients.values())
        all_acknowledged([client.call("subscribe", "room") for client in everyone])
        assert first.stop(with_signal) == 0
    for client in everyone:
        reason = client.wait_for("disconnect")
        assert not any(final in reason for final in FINAL_REASONS), f"{client}: {reason}"

    with Daemon(port=port):
        for client in everyone:
            client.wait_for("connect")
        assert_exchange(everyone)
        for client in everyone:
            client.disconnect()


def test_what_was_acknowledged_before_the_end_is_delivered(connect_all):
    [port] = free_ports(1)
    with Daemon(port=port) as first:
        clients = connect_all(first.url)
        everyone = list(clients.values())
        all_acknowledged([client.call("subscribe", "room") for client in everyone])
        publisher = clients["js4-websocket"]
        all_acknowledged([publisher.call("publish", "room", number) for number in range(101)])
        assert first.stop() == 0
    for client in everyone:
        received = client.log.take_messages_until("data", lambda args: args == ["room", 100])
        assert received == [("data", ["room", number]) for number in range(100)], client

    # They are back before they leave: otherwise they would try for as long as the tests run.
    with Daemon(port=port):
        for client in everyone:
            client.wait_for("connect")
            client.disconnect()


def test_every_client_comes_back_to_a_second_node_while_the_first_drains(connect_all):
    with Daemon() as first, Daemon() as second, Balancer([first.url, second.url]) as balancer:
        clients = connect_all(balancer.url)
        everyone = list(clients.values())
        assert (first.sessions(), second.sessions()) == (len(everyone), 0)
        all_acknowledged([client.call("subscribe", "room") for client in everyone])
        publisher = clients["js4-websocket"]
        all_acknowledged([publisher.call("publish", "room", number) for number in range(101)])
        codes = []
        stopping = threading.Thread(target=lambda: codes.append(first.stop()))
        stopping.start()
        for client in everyone:
            reason = client.wait_for("disconnect")
            assert not any(final in reason for final in FINAL_REASONS), f"{client}: {reason}"
            client.wait_for("connect")
        stopping.join()
        assert codes == [0]
        assert second.sessions() == len(everyone)
        for client in everyone:
            received = client.log.take_messages_until("data", lambda args: args == ["room", 100])
            assert received == [("data", ["room", number]) for number in range(100)], client

        assert_exchange(everyone)
        for client in everyone:
            client.disconnect()
