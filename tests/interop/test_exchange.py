"""Whatever one client sends, every other receives, whatever the versions and the transports."""

import pytest

from clients import KINDS, Client, all_acknowledged, heard, shortened
from values import LARGE, SMALL, expected, same

# Enough to fill queues; a poll response carries 16 packets.
BURST = 2000


def assert_heard(messages, publisher, subscriber, event, sent):
    """Asserts that `messages` are `event`, with the arguments of `sent`, one list for each."""
    exact = publisher.name.startswith("py") and subscriber.name.startswith("py")
    where = f"from {publisher} to {subscriber}"
    for (received_event, received), args in zip(messages, sent):
        assert received_event == event, where
        assert same(received, expected(args, subscriber.name), exact), (
            f"{where}: sent {shortened(args, 300)}, received {shortened(received, 300)}"
        )
    assert len(messages) == len(sent), f"{where}: the last was {shortened(messages[-1:], 300)}"


def test_the_transport_is_the_one_that_was_asked_for(client):
    assert client.transport() == ("polling" if client.mode == "polling" else "websocket")


def test_everyone_in_a_room_receives_what_a_client_publishes(client, crowd, full_room):
    all_acknowledged([client.call("publish", full_room, message) for message in SMALL])
    for subscriber, received in heard(crowd.values()).items():
        sent = [[full_room, message] for message in SMALL]
        assert_heard(received, client, subscriber, "data", sent)


def test_everyone_in_a_room_receives_large_messages(client, crowd, full_room):
    for message in LARGE:
        # One by one: some clients would send them all in one request, which is then too large.
        assert client.ask("publish", full_room, message) == []
    for subscriber, received in heard(crowd.values()).items():
        sent = [[full_room, message] for message in LARGE]
        assert_heard(received, client, subscriber, "data", sent)


def test_everyone_but_the_sender_receives_what_a_client_broadcasts(client, crowd):
    all_acknowledged([client.call("broadcast", message) for message in SMALL])
    for subscriber, received in heard(crowd.values()).items():
        sent = [] if subscriber is client else [[message] for message in SMALL]
        assert_heard(received, client, subscriber, "broadcast", sent)


@pytest.mark.parametrize(
    "name",
    ["js2-polling", "js3-upgrade", "js4-websocket", "py4-websocket", "py5-polling", "py5-async-upgrade"],
)
def test_a_burst_reaches_everyone_complete_and_in_order(crowd, full_room, name):
    crowd[name].burst(full_room, BURST)
    # Behind the burst in the publisher's order, so everything is published when it is answered.
    assert crowd[name].ask("unsubscribe", "nowhere") == []
    for subscriber, received in heard(crowd.values()).items():
        assert received == [("data", [full_room, number]) for number in range(BURST)], subscriber


@pytest.mark.parametrize("kind", KINDS)
def test_an_upgrade_in_the_middle_of_a_burst_loses_nothing(kind, crowd, drivers, daemon, room):
    publisher = crowd["js4-websocket"]
    subscriber = Client(drivers[kind], "upgrade", daemon.url, early=[["subscribe", room]])
    subscriber.wait_for("connect")
    assert subscriber.ask("subscribe", room) == []
    publisher.burst(room, BURST)
    assert publisher.ask("unsubscribe", "nowhere") == []
    subscriber.wait_for("transport", lambda args: args == ["websocket"])
    assert heard([subscriber])[subscriber] == [("data", [room, number]) for number in range(BURST)]
    subscriber.disconnect()
